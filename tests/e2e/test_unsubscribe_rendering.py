"""The page on which a shopper ends mails, in Chromium without scripts: a real hub serves it, and its buttons are
pressed on a phone and on a desk, light and dark. The pictures stay in `run/screenshots/unsubscribe`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from tests.chromium import browser as browser
from tests.e2e.running import Client, running_hub
from tests.e2e.test_mail_rendering import looked_at

from milepost.domain.choosing import GROUPS
from milepost.domain.contact import make_unsubscribe, read_choices
from milepost.domain.instant import DAY, Instant
from milepost.hub import now

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURES = Path(__file__).parent.parent.parent / "run" / "screenshots" / "unsubscribe"
SHAPES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
SECRET = "s" * 32
NOTHING_LISTENS = "http://127.0.0.1:9"
SHOP = {"shop_name": "Fern & Flint", "shop_color": "#ffe600", "support_email": "help@shop.example"}
OWN = "something to be fetched"
"""What `looked_at` says of the icon, which is an empty one in the page itself."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder = tmp_path_factory.mktemp("unsubscribe")
    async with running_hub(folder, NOTHING_LISTENS, tracking_secret=SECRET, **SHOP) as client:
        yield client


class Shopper:
    """Who presses the buttons, and what is kept of it."""

    def __init__(self, hub: Client, page: Page, name: str) -> None:
        self._hub, self._name = hub, name
        self.page = page
        self.recipient = f"rcp_{name}"
        expires = Instant(now() + DAY)
        self.link = f"{hub.base}/unsubscribe/{make_unsubscribe(SECRET, 'bp-1', self.recipient, expires)}"

    async def off(self) -> tuple[str, ...]:
        key = ("bp-1", self.recipient)
        stored = await self._hub.hub.store.read(lambda tx: tx.notifications.choices([key]))
        return read_choices(stored.values()).off

    async def look(self, state: str) -> str:
        """What the page's heading says; it is photographed, and nothing may be wrong with it."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{state}.{self._name}.png", full_page=True)
        seen = await looked_at(self.page)
        assert [each for each in seen["found"] if each != OWN] == [], state
        heading = await self.page.locator("h1").text_content()
        assert heading is not None
        return heading


@pytest.mark.parametrize(("width", "scheme"), SHAPES)
async def test_a_shopper_picks_ends_and_takes_back(
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
        context.on("request", lambda request: asked.add(request.url.split("?")[0]))
        shopper = Shopper(hub, await context.new_page(), f"{width}.{scheme}")
        page = shopper.page
        await page.goto(shopper.link)
        asking = await shopper.look("asking")
        assert asking == (
            "¿Dejar de recibir correos sobre tus pedidos?"
            if width == 390
            else "Stop mails about your orders?"
        )
        assert await shopper.off() == (), "looking changes nothing"

        await page.locator("input[value=dates]").uncheck()
        await page.locator("form").nth(1).locator("button").click()
        assert await page.locator("[role=status]").count() == 1
        await shopper.look("saved")
        assert set(await shopper.off()) == set(GROUPS["dates"])

        await page.locator("form").nth(0).locator("button").click()
        assert await page.locator("input:checked").count() == 0
        assert await shopper.look("silent") != asking
        assert "all" in await shopper.off()

        await page.locator("input[value=delivered]").check()
        await page.locator("select").select_option("en")
        await page.locator("form").nth(0).locator("button").click()
        assert await page.locator("input:checked").count() == 1
        assert await shopper.look("again") == "Mails about your orders"
        assert "all" not in await shopper.off()
        await page.goto(shopper.link + "x")
        await shopper.look("no-link")
    assert asked == {shopper.link, shopper.link + "x"}, "it loads nothing"
