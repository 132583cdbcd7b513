"""What a shopper sees: mails of every kind, in every language, as a real mail server took them, rendered by Chromium
on a phone and on a desk, light and dark.

Each is looked at in the page itself: no text that is hard to read, nothing wider than the window, nothing asked of
any server. The pictures stay in `run/screenshots/mails`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, Page, Request
from tests.chromium import browser as browser
from tests.legibility import LEGIBLE
from tests.smtp_server import MailServer

from milepost.domain.instant import parse_instant
from milepost.shopper.composing import LOCALES, Brand, Composed, Links, compose
from milepost.shopper.samples import SAMPLES, Sample, sample
from milepost.transports.email import EmailChannel, parse_smtp_url
from milepost.transports.mail_message import parse_sender

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
"""Fetching Chromium may take a while, once on a machine."""

PICTURES = Path(__file__).parent.parent.parent / "run" / "screenshots" / "mails"
NOW = parse_instant("2026-01-23T18:00:00Z")
SHOPPER = "alex@shopper.example"
BRAND = Brand("Fern & Flint", "https://shop.example", "#2457a6", "help@shop.example", "https://hub.example")
LINKS = Links("https://hub.example/track/to.ken", "https://hub.example/unsubscribe/to.ken")
SHAPES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
COLORS = ("#ffe600", "#101010", "#ffffff", "#e11d48", "#7fb069", "#808080")
"""Of shops: each is hard to read on something."""
EVIL = '</td><script>document.title = "taken"</script><img src="https://evil.example/x" onerror="document.title=1">'

SELF_CONTAINED = """() => {
  const found = [];
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  for (const card of document.querySelectorAll('.card')) {
    if (card.getBoundingClientRect().width > 600) found.push('the card is wider than 600');
  }
  for (const image of document.images) if (!image.alt) found.push('an image without alt');
  if (document.querySelector('script, link, iframe, img, video, object')) found.push('something to be fetched');
  const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number);
  if (0.2126 * red + 0.7152 * green + 0.0722 * blue > 160 === dark) found.push('not the colours of the scheme');
  return { found, title: document.title, language: document.documentElement.lang };
}"""
"""What holds for mails, and for a page that must work without anything beside it."""


async def looked_at(page: Page) -> dict[str, Any]:
    """What is wrong with it, how many texts it has, its title and its language."""
    read, own = await page.evaluate(LEGIBLE), await page.evaluate(SELF_CONTAINED)
    return {**own, "found": read["found"] + own["found"], "seen": read["seen"]}


def composed(given: Sample, locale: str, brand: Brand = BRAND) -> Composed:
    return compose(
        given.notification,
        given.order,
        kind=given.notification.kind,
        covers=given.covers,
        locale=locale,
        brand=brand,
        links=LINKS,
    )


def hostile() -> Sample:
    """An order whose goods and carrier try to be more than text."""
    given = sample("shipped")
    titles = iter((EVIL, "W" * 300, "{{ 7 * 7 }} %(shop)s <b>", "&lt;ok&gt;"))
    items = [{**item, "title": next(titles)} for item in given.order["lineItems"]]
    (delivery,) = given.order["deliveries"]
    (tracker,) = delivery["trackers"]
    tracker = {
        **tracker,
        "trackingUrl": "javascript:alert(1)",
        "carrierCode": EVIL,
        "trackingNumber": "9" * 200,
    }
    held = [{"id": item["id"], "quantity": "1", "unit": "ONE"} for item in items]
    delivery = {**delivery, "trackers": [tracker], "lineItems": held}
    return Sample(given.notification, {**given.order, "lineItems": items, "deliveries": [delivery]})


class Read(NamedTuple):
    """What a mail program shows of a mail."""

    subject: str
    text: str
    html: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mails() -> Mapping[str, Read]:
    """By name and language, as the server took them."""
    messages = {f"{name}.{locale}": composed(sample(name), locale) for name in SAMPLES for locale in LOCALES}
    for number, color in enumerate(COLORS):
        messages[f"hostile-{number}.en"] = composed(hostile(), "en", replace(BRAND, color=color))
    async with MailServer() as server, AsyncExitStack() as stack:
        sender = parse_sender("Fern & Flint <orders@shop.example>", None)
        channel = EmailChannel(parse_smtp_url(server.url), sender, lambda: NOW)
        stack.push_async_callback(channel.close)
        for message in messages.values():
            outcome = await channel.send(sample("shipped").notification, message, SHOPPER, LINKS.unsubscribe)
            assert outcome.result == "sent", outcome
        took = await server.got(len(messages))
        read = [Read(mail.message["subject"], mail.text, mail.html) for mail in took]
    return dict(zip(messages, read, strict=True))


@pytest.mark.parametrize(("width", "scheme"), SHAPES)
async def test_mails_can_be_read(
    mails: Mapping[str, Read], browser: Browser, width: int, scheme: Any
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong: dict[str, list[str]] = {}
    async with window(browser, width, scheme) as (page, asked):
        for name, mail in mails.items():
            await page.set_content(mail.html)
            await page.screenshot(path=PICTURES / f"{name}.{width}.{scheme}.png", full_page=True)
            seen = await looked_at(page)
            found = [*seen["found"], *(["hardly any text"] if seen["seen"] < 12 else [])]
            if (seen["title"], seen["language"]) != (mail.subject, name.rpartition(".")[2]):
                found.append(f"titled {seen['title']!r}, in {seen['language']!r}")
            if found:
                wrong[name] = found
    assert wrong == {}
    assert asked == [], "a mail must ask nobody for anything"


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("<p style='color: #888'>pale</p>", "contrast 3.54: pale"),
        ("<p style='color: rgba(0, 0, 0, 0.4)'>thin</p>", "contrast 2.85: thin"),
        ("<p style='font-size: 9px'>tiny</p>", "small: tiny"),
        ("<p style='width: 500px; text-align: right'>wide</p>", "cut off: wide"),
        ("<div style='width: 500px'>&nbsp;</div>", "508 wide"),
        ("<div class='card' style='width: 601px'>x</div>", "the card is wider than 600"),
        ("<img src='http://127.0.0.1:9/x.png'>", "something to be fetched"),
    ],
)
async def test_what_is_wrong_is_found(browser: Browser, fault: str, found: str) -> None:
    """The look itself can fail."""
    async with window(browser, 390, "light") as (page, asked):
        await page.set_content(f"<body style='background: #fff'>{fault}</body>")
        seen = await looked_at(page)
    assert found in seen["found"]
    assert asked == (["http://127.0.0.1:9/x.png"] if "img" in fault else [])


@asynccontextmanager
async def window(browser: Browser, width: int, scheme: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page, and the addresses that it asked for anything."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async with await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme
    ) as context:
        context.set_default_timeout(90_000)
        context.on("request", note)
        yield await context.new_page(), asked


async def test_text_and_html_say_the_same(mails: Mapping[str, Read]) -> None:
    """The links of the HTML part are in the text part, and so is the headline."""
    for name, mail in mails.items():
        assert LINKS.unsubscribe is not None
        assert LINKS.unsubscribe in mail.text, name
        assert LINKS.unsubscribe in mail.html, name
        assert mail.text.splitlines()[0] in mail.html.replace("&#39;", "'"), name


async def test_no_mail_tells_what_is_not_the_shoppers_to_read(mails: Mapping[str, Read]) -> None:
    """The samples hold a street in the carrier's messages, a place in the scans, the shopper's name and address."""
    for name, mail in mails.items():
        for secret in ("Sample Street", "Sampleton", "Alex", SHOPPER, "OUT_OF_STOCK", "javascript:"):
            assert secret not in mail.text + mail.html, name
