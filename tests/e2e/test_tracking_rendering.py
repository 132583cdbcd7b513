"""The shopper's page of an order, in Chromium without scripts: a real hub serves the order of every kind of message,
on a phone and on a desk, light and dark; one is found by its number. The pictures stay in `run/screenshots/tracking`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from tests.chromium import browser as browser
from tests.e2e.running import Client, running_hub
from tests.e2e.test_mail_rendering import EVIL, hostile, looked_at

from milepost.domain.instant import DAY, Instant
from milepost.domain.tracking_token import Link, make_token
from milepost.hub import now
from milepost.shopper.samples import SAMPLES, sample
from milepost.store import View

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
"""Fetching Chromium may take a while, once on a machine."""

PICTURES = Path(__file__).parent.parent.parent / "run" / "screenshots" / "tracking"
SHAPES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
SECRET = "s" * 32
NOTHING_LISTENS = "http://127.0.0.1:9"
SHOP = {"shop_name": "Fern & Flint", "shop_color": "#ffe600", "support_email": "help@shop.example"}
OWN = "something to be fetched"
"""What `looked_at` says of the icon, which is an empty one in the page itself."""
SHOPPER = {"name": "Alex Doe", "email": "alex@shopper.example"}
PRODUCT = "bp-sample"


def order_of(name: str) -> dict[str, Any]:
    given = hostile() if name == "hostile" else sample(name)
    return {**given.order, "id": f"order-{name}", "customer": SHOPPER}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder = tmp_path_factory.mktemp("tracking")
    orders = [order_of(name) for name in (*SAMPLES, "hostile")]
    views = [
        View("order", PRODUCT, o["id"], msgspec.json.encode(o), o["state"], terms=(o["id"].lower(),))
        for o in orders
    ]
    async with running_hub(folder, NOTHING_LISTENS, tracking_secret=SECRET, **SHOP) as client:
        await client.hub.store.write(lambda tx: tx.views.put(views))
        yield client


def link_to(hub: Client, name: str) -> str:
    token = make_token(SECRET, Link(PRODUCT, f"order-{name}", Instant(now() + DAY)))
    return f"{hub.base}/track/{token}"


async def look(page: Page, name: str) -> str:
    """What the page's heading says; it is photographed, and nothing may be wrong with it."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    seen = await looked_at(page)
    assert [each for each in seen["found"] if each != OWN] == [], name
    heading = await page.locator("h1").text_content()
    assert heading is not None
    return heading


@pytest.mark.parametrize(("width", "scheme"), SHAPES)
async def test_every_kind_of_order_can_be_read(
    hub: Client, browser: Browser, width: int, scheme: Any
) -> None:
    asked: set[str] = set()
    async with await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        locale="es-ES" if width == 390 else "en-GB",
        java_script_enabled=False,
    ) as context:
        context.set_default_timeout(90_000)
        context.on("request", lambda request: asked.add(request.url))
        page = await context.new_page()
        headings = {}
        for name in (*SAMPLES, "hostile"):
            answer = await page.goto(link_to(hub, name))
            assert answer is not None
            assert answer.status == 200
            headings[name] = await look(page, f"{name}.{width}.{scheme}")
        assert all(address.startswith(f"{hub.base}/track/") for address in asked), "it loads nothing"
        assert len(set(headings.values())) > 8
        await page.goto(link_to(hub, "hostile"))
        assert "<script>" in (await page.locator("main").inner_text())
        assert await page.locator("a[href^='javascript']").count() == 0
        assert EVIL[:20] not in await page.title()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
async def test_a_shopper_finds_an_order_by_its_number(
    hub: Client, browser: Browser, width: int, scheme: Any
) -> None:
    async with await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        locale="en-GB",
        java_script_enabled=False,
    ) as context:
        context.set_default_timeout(90_000)
        page = await context.new_page()
        await page.goto(f"{hub.base}/track")
        assert await look(page, f"lookup.{width}.{scheme}") == "Find your order"
        await page.get_by_label("Order number").fill(f"#ORDER-{'shipped' if width == 390 else 'lost'}")
        await page.get_by_label("Email address").fill("somebody@else.example")
        await page.get_by_role("button").click()
        assert await page.get_by_role("alert").count() == 1
        await look(page, f"lookup-unknown.{width}.{scheme}")
        await page.get_by_label("Email address").fill(" ALEX@shopper.example".strip())
        await page.get_by_role("button").click()
        assert "/track/" in page.url
        assert await look(page, f"looked-up.{width}.{scheme}") in ("On its way", "Lost")
        await page.get_by_role("link", name="Español").click()
        assert await page.locator("html").get_attribute("lang") == "es"
        await page.goto(f"{hub.base}/track/no.token")
        assert await look(page, f"no-link.{width}.{scheme}") == "This link does not work"
