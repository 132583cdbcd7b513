"""Every page of the console, as `milepost demo` serves it: looked at on a desk and on a phone, light and dark, and
used with the keyboard, without a script, and on paper. The pictures stay in `.cache/screenshots`.

`SIGHTS` is what is looked at. A page that is in no sight fails the last test.
"""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.chromium import browser as browser
from tests.e2e.looking import PICTURES, WINDOWS, expected, look, visit, watched
from tests.e2e.looking import axe as axe
from tests.e2e.processes import environment, started

from milepost.web.console import HANDLERS
from milepost.web.console.pages import PLACES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

DEMO = "demo --seconds 6 --orders 5 --port 0 --sandbox-port 0 --folder played"


class Sight(NamedTuple):
    """A page to look at. `{…}` in its path is an id from the API (`IDS`)."""

    name: str
    path: str
    status: int = 200


SIGHTS = (
    Sight("front", "/"),
    Sight("front-searched", "/?q=Sample"),
    Sight("nowhere", "/no-such-page", 404),
    *(Sight(place.path.strip("/").replace("/", "-"), place.path) for place in PLACES if place.path != "/"),
)
IDS: dict[str, tuple[str, str]] = {
    "order": ("/v1/orders?limit=1", "id"),
    "event": ("/v1/events?limit=1", "position"),
}
"""By their names in paths: a list of the API and which key of its first item."""
NO_PAGES = re.compile(r"/assets/|\.csv$|/fragments?/")
"""Addresses whose answers nobody looks at by themselves."""


class Console(NamedTuple):
    """A running hub's address, and ids of what it has."""

    url: str
    ids: dict[str, str]

    def at(self, path: str) -> str:
        return self.url + path.format(**self.ids)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """One demo for all tests, once its world was played."""
    with started(DEMO.split(), tmp_path_factory.mktemp("console"), environment()) as demo:
        demo.line("Staying up")
        url = re.search(r"http://[\d.:]+", demo.line("  hub  "))
        assert url is not None
        async with httpx.AsyncClient(base_url=url[0]) as client:
            ids = {}
            for name, (path, key) in IDS.items():
                items = (await client.get(path)).raise_for_status().json()["items"]
                ids[name] = str(items[0][key])
        yield Console(url[0], ids)


async def test_every_page_looks_as_it_should(console: Console, browser: Browser, axe: str) -> None:
    wrong = []
    async with watched(browser, axe) as page:
        for sight in SIGHTS:
            try:
                await visit(page, console.at(sight.path), sight.name, status=sight.status)
            except (AssertionError, pytest.fail.Exception) as e:
                wrong.append(str(e))
    assert not wrong, "\n".join(wrong)


async def test_the_keyboard_is_enough(console: Console, browser: Browser, axe: str) -> None:
    async with watched(browser, axe) as page:
        await page.goto(console.at("/"))
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "content"
        await page.keyboard.press("/")
        typed = page.locator("input[type=search]:focus")
        await page.keyboard.type("a/b")
        assert await typed.input_value() == "a/b", "in a box it is a letter"
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?q=a%2Fb")


async def test_the_menu_of_a_phone_opens_without_a_script(console: Console, browser: Browser) -> None:
    async with await browser.new_context(viewport=WINDOWS["phone"], java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(console.at("/"))
        menu = page.get_by_role("navigation", name="Main")
        assert not await menu.is_visible()
        await page.get_by_role("button", name="Menu").click()
        assert await menu.is_visible()
        await page.screenshot(path=PICTURES / "menu.phone.light.png")
        assert not await page.locator("[data-theme-switch]").is_visible(), "it needs a script"
        await page.keyboard.press("Escape")
        assert not await menu.is_visible()
        await page.get_by_label("Find an order or a parcel").first.fill("nobody@example.com")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?q=nobody%40example.com")


async def test_the_colours_that_were_chosen_stay(console: Console, browser: Browser, axe: str) -> None:
    async with watched(browser, axe, color_scheme="light") as page:
        await page.goto(console.at("/"))
        grounds = []
        for choice in ("Dark", "Light", "As the system is set"):
            await page.get_by_role("button", name=choice).click()
            await page.reload()
            chosen = page.locator("[data-theme-choice][aria-pressed=true]")
            assert await chosen.get_attribute("aria-label") == choice
            grounds.append(await page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        assert grounds[0] != grounds[1] == grounds[2]


async def test_on_paper_there_is_only_what_is_to_be_read(
    console: Console, browser: Browser, axe: str
) -> None:
    async with watched(browser, axe, color_scheme="dark") as page:
        await page.goto(console.at("/"))
        await page.emulate_media(media="print")
        assert await page.locator("h1").first.is_visible()
        for chrome in (".top", ".menu", ".open-door"):
            assert not await page.locator(chrome).is_visible()
        ink, paper = await page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
        )
        assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")


async def test_the_look_itself_can_fail(console: Console, browser: Browser, axe: str) -> None:
    """Faults that were put into a page are found, each by its name."""
    async with watched(browser, axe) as page:
        await page.goto(console.at("/"))
        await page.evaluate(FAULTS)
        with expected(page, "http://192.0.2.1"), pytest.raises(pytest.fail.Exception) as raised:
            await look(page, "faults")
    said = str(raised.value)
    for fault in (
        "contrast",
        "too wide",
        "wide",
        "clipped",
        "no icon: no-such-icon",
        "small target",
        "axe, image-alt",
    ):
        assert fault in said, fault
    assert "asked http://192.0.2.1" in said
    assert "Content Security Policy" in said


FAULTS = """() => {
  const main = document.querySelector('main');
  main.innerHTML += `<p class="pale">pale letters on the ground</p>
    <div class="table" aria-label="Broad"><table><tr><td class="broad">x</td></tr></table></div>
    <p class="cut">letters that are cut off here</p><img src="http://192.0.2.1/x.png">
    <svg class="icon"><use href="${document.querySelector('use').getAttribute('href').split('#')[0]}#no-such-icon">
    </use></svg><button class="low">low</button>`;
  const style = (name, rules) => Object.assign(main.querySelector(name).style, rules);
  style('.pale', { color: '#aaaaaa', background: '#ffffff' });
  style('.broad', { minWidth: '3000px', display: 'block' });
  style('.cut', { width: '40px', overflow: 'hidden', whiteSpace: 'nowrap' });
  style('.low', { height: '14px', minHeight: '0' });
  style('img', { width: '2000px' });
}"""


async def test_every_page_is_looked_at() -> None:
    """Each address that is read with GET and answers with a page is in a sight."""
    looked_at = {re.sub(r"\{\w+\}|\?.*", "", sight.path) for sight in SIGHTS}
    missing = []
    for handler in HANDLERS:
        if "GET" in handler.http_methods:
            for path in sorted(handler.paths):
                plain = re.sub(r"\{[^}]*\}", "", path)
                if not NO_PAGES.search(path) and plain not in looked_at:
                    missing.append(path)
    assert missing == [], "put them into SIGHTS"
