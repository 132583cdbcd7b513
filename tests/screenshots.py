"""The README's pictures: `make screenshots` takes them anew, of a demo of its own, into docs/images.

It fills a hub with months of a few thousand deliveries, opens the pages in Chromium and keeps what they show. Servers
are on loopback, on free ports; the databases are in a folder that goes with the run.
"""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright
from tests.chromium import FLAGS, chromium
from tests.e2e.processes import MILEPOST, environment, started

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DESK, TALL, PHONE = (1280, 800), (1280, 1800), (390, 844)
SECRET = "a-secret-for-links-that-nobody-follows"
DEMO = "demo --size 3000 --seed 7 --port 0 --folder filled"
SHOTS: Mapping[str, tuple[str, tuple[int, int], str]] = {
    "order": ("/orders/{order}", DESK, "light"),
    "queues": ("/queues", DESK, "light"),
    "insights": ("/insights?period=90", TALL, "light"),
    "insights-dark": ("/insights?period=90", TALL, "dark"),
    "events": ("/events", DESK, "light"),
    "tracking": ("{page}", PHONE, "light"),
    "order-phone": ("/orders/{order}", PHONE, "dark"),
}
"""Of each picture: the page, the window, and the colours."""


async def take() -> None:
    """Take every picture."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="milepost-screenshots-") as folder:
        settings = {**environment(), "MILEPOST_TRACKING_SECRET": SECRET, "MILEPOST_SHOP_NAME": "Fern & Flint"}
        # Filled first, with its progress to be seen, which takes minutes.
        subprocess.run([str(MILEPOST), *DEMO.split(), "--no-stay"], cwd=folder, env=settings, check=True)
        with started(DEMO.split(), Path(folder), settings) as demo:
            url = re.search(r"http://[\d.:]+", demo.line("  hub  "))
            assert url is not None
            await _shoot(url[0])


async def _shoot(url: str) -> None:
    ids = await _ids(url)
    program, variables = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=list(FLAGS), env={**variables}
        )
        for name, (path, size, scheme) in SHOTS.items():
            await _picture(browser, url + path.format(**ids), IMAGES / f"{name}.png", size, scheme)
            print(f"docs/images/{name}.png")
        await browser.close()


async def _ids(url: str) -> dict[str, str]:
    """An order that there is something to say of, and its shopper's page."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        queued = (await client.get("/v1/queues/late?limit=50")).raise_for_status().json()["items"]
        orders = [(await client.get(f"/v1/orders/{item['orderId']}")).json() for item in queued[-12:]]
        telling = max(orders, key=lambda order: len(str(order)))["id"]
        link = (await client.post(f"/v1/orders/{telling}/tracking-link")).raise_for_status().json()
        return {"order": telling, "page": link["page"]}


async def _picture(browser: Browser, url: str, path: Path, size: tuple[int, int], scheme: Any) -> None:
    width, height = size
    async with await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
        page = await context.new_page()
        await page.goto(url)
        # Insights say how far they are while they load.
        await page.wait_for_selector("main h1")
        await page.wait_for_selector("main progress", state="detached", timeout=60_000)
        await page.screenshot(path=path)


if __name__ == "__main__":
    asyncio.run(take())
