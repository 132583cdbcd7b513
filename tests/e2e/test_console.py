"""Every page of the console, as `milepost demo --size` serves it: looked at on a desk and on a phone, light and
dark, and used with the keyboard, without a script, and on paper. The pictures stay in `.cache/screenshots`.

`SIGHTS` is what is looked at. A page that is in no sight fails the last test.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.chromium import browser as browser
from tests.e2e.looking import PICTURES, WINDOWS, expected, look, visit, watched
from tests.e2e.looking import axe as axe
from tests.e2e.processes import WAIT_S, environment, started

from milepost.web.console import HANDLERS
from milepost.web.console.pages import PLACES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

DEMO = "demo --size 300 --seed 7 --port 0 --folder played"
UNREADABLE = b'{"eventId": "cut of'


class Sight(NamedTuple):
    """A page to look at. `{…}` in its path is one of `ids_of`."""

    name: str
    path: str
    status: int = 200


SIGHTS = (
    Sight("front", "/"),
    Sight("front-searched", "/?q=Castillo"),
    Sight("front-nothing-found", "/?q=nobody%40example.com"),
    Sight("front-state", "/?state=IN_TRANSIT"),
    Sight("nowhere", "/no-such-page", 404),
    Sight("order", "/orders/{order}"),
    Sight("order-then", "/orders/{order}?asOf={then}"),
    Sight("order-why", "/orders/{order}/why"),
    Sight("order-record", "/orders/{order}/records/{record}"),
    Sight("order-reply", "/orders/{order}/reply?locale=es"),
    Sight("order-under-way", "/orders/{moving}"),
    Sight("tracker", "/trackers/{carrier}/{number}"),
    Sight("tracker-why", "/trackers/{carrier}/{number}/why"),
    Sight("queue", "/queues/{queue}"),
    Sight("queue-empty", "/queues/late"),
    Sight("insights-rows", "/insights/rows?which=all"),
    Sight("event", "/events/{event}"),
    Sight("quarantined", "/quarantine/{quarantined}"),
    Sight("subscriber", "/subscribers/{subscriber}"),
    Sight("subscriber-attempts", "/subscribers/{subscriber}/attempts"),
    Sight("subscriber-replay", "/subscribers/{subscriber}/replay?count=on"),
    Sight("attempt", "/attempts/{message}"),
    *(Sight(place.path.strip("/").replace("/", "-"), place.path) for place in PLACES if place.path != "/"),
)
ELSEWHERE = {"/sign-in", "/setup/", "/account", "/users/"}
"""Pages of people who sign in: tests/e2e/test_console_sign_in.py looks at them."""
NO_PAGES = re.compile(r"/assets/|csv$|^/deliveries/|^/events/live$")
"""Addresses whose answers nobody looks at: files, a way to the order's page, the inbox's stream."""


class Console(NamedTuple):
    """A running hub's address, and ids of what it has."""

    url: str
    ids: dict[str, str]

    def at(self, path: str) -> str:
        return self.url + path.format(**self.ids)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """One hub with four months of orders for all tests, a body that nobody can read, and a subscriber that no
    message reaches."""
    with started(DEMO.split(), tmp_path_factory.mktemp("console"), environment()) as demo:
        url = re.search(r"http://[\d.:]+", demo.line("  hub  "))
        assert url is not None
        async with httpx.AsyncClient(base_url=url[0], timeout=30.0) as client:
            yield Console(url[0], await ids_of(client))


async def ids_of(client: httpx.AsyncClient) -> dict[str, str]:
    """What the sights name: an order with a parcel that went wrong and what belongs to it, one under way, and what
    is put into the hub here."""
    trouble = await first(client, "/v1/queues/exception")
    order = await read(client, f"/v1/orders/{trouble['orderId']}")
    timeline = await read(client, f"/v1/orders/{order['id']}/timeline")
    came = [entry for entry in timeline["items"] if entry["position"] is not None]
    delivery = next(each for each in order["deliveries"] if each["id"] == trouble["deliveryId"])
    moving = await first(client, "/v1/orders?state=IN_TRANSIT")
    newest = (await read(client, f"/v1/orders/{moving['id']}/timeline"))["items"][-1]["position"]
    await client.post("/webhooks/buy-with-prime", content=UNREADABLE)
    asked = {
        "name": "Warehouse",
        "url": "https://warehouse.example/milepost",
        "from": newest - 1,
    }
    subscriber = (await client.post("/v1/subscribers", json=asked)).raise_for_status().json()
    return {
        "order": order["id"],
        "then": came[len(came) // 2]["occurredAt"] or came[len(came) // 2]["receivedAt"],
        "event": str((await first(client, "/v1/events?limit=1"))["position"]),
        "record": str(came[0]["position"]),
        "moving": moving["id"],
        "queue": trouble["queue"],
        "carrier": delivery["trackers"][0]["carrierCode"],
        "number": delivery["trackers"][0]["trackingNumber"],
        "quarantined": str((await first(client, "/v1/quarantine"))["id"]),
        "subscriber": subscriber["id"],
        "message": (await first(client, f"/v1/attempts?subscriberId={subscriber['id']}"))["messageId"],
    }


async def first(client: httpx.AsyncClient, path: str) -> Any:
    """The first item of a list, once there is one."""
    async with asyncio.timeout(WAIT_S):
        while not (items := (await read(client, path))["items"]):
            await asyncio.sleep(0.1)
    return items[0]


async def read(client: httpx.AsyncClient, path: str) -> Any:
    return (await client.get(path)).raise_for_status().json()


async def test_every_page_looks_as_it_should(console: Console, browser: Browser, axe: str) -> None:
    wrong = []
    async with watched(browser, axe) as page:
        for sight in SIGHTS:
            try:
                await visit(page, console.at(sight.path), sight.name, status=sight.status)
            except (AssertionError, pytest.fail.Exception) as e:
                wrong.append(str(e))
    assert not wrong, "\n".join(wrong)


async def test_an_order_answers_without_being_scrolled(console: Console, browser: Browser, axe: str) -> None:
    """Where it is, when it comes, what went wrong and what the customer was told, on a desk."""
    async with watched(browser, axe) as page:
        for path in ("/orders/{order}", "/orders/{order}?asOf={then}", "/orders/{moving}"):
            await page.goto(console.at(path))
            answers = page.locator(".answer")
            assert await answers.count() == 4
            for answer in await answers.all():
                box = await answer.bounding_box()
                assert box is not None
                assert box["y"] + box["height"] < WINDOWS["desktop"]["height"], path


async def test_the_keyboard_is_enough(console: Console, browser: Browser, axe: str) -> None:
    async with watched(browser, axe) as page:
        await page.goto(console.at("/queues"))
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
        context.set_default_timeout(90_000)
        page = await context.new_page()
        await page.goto(console.at("/queues"))
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
        await page.goto(console.at("/orders/{order}"))
        await page.screenshot(path=PICTURES / "order.paper.png", full_page=True)
        assert await page.locator(".answer").first.is_visible()
        assert await page.locator("#messages").is_visible()
        for chrome in ("#note", "#then", "#reply", ".chips", ".asides a"):
            assert not await page.locator(chrome).first.is_visible(), chrome


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
    looked_at = ELSEWHERE | {re.sub(r"\{\w+\}|\?.*", "", sight.path) for sight in SIGHTS}
    missing = []
    for handler in HANDLERS:
        if "GET" in handler.http_methods:
            for path in sorted(handler.paths):
                plain = re.sub(r"\{[^}]*\}", "", path)
                if not NO_PAGES.search(path) and plain not in looked_at:
                    missing.append(path)
    assert missing == [], "put them into SIGHTS"
