"""Messages are whole, say nothing that is not the shopper's to read, and whatever an order holds stays text."""

import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.shopper.views import BRAND, LINKS, changed, message

from milepost.domain.instant import parse_instant
from milepost.domain.notification import KINDS
from milepost.shopper.composing import LOCALES, Composed, Links, compose
from milepost.shopper.parcels import MOST_PARCELS
from milepost.shopper.samples import SAMPLES, Sample, sample

EVERY = [(name, locale) for name in SAMPLES for locale in LOCALES]
EMPTY = {"br", "hr", "img", "input", "link", "meta"}
FETCHED = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "base", "form", "svg"}
STEPS = {
    "en": ("Ordered", "Shipped", "Out for delivery", "Delivered"),
    "es": ("Pedido", "Enviado", "En reparto", "Entregado"),
}


class Reader(HTMLParser):
    """Reads HTML strictly: every element is closed where it was opened, and no attribute stands twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"] and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def links(self) -> set[str]:
        return {value for _, name, value in self.attributes if name in ("href", "src")}


# ── What every message has ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "locale"), EVERY)
def test_a_message_is_whole(name: str, locale: str) -> None:
    made = message(name, locale=locale)
    read = Reader(made.html)
    assert (made.kind, made.locale) == (sample(name).notification.kind, locale)
    for text in (made.subject, made.preheader):
        assert text
        assert "\n" not in text
    assert ("html", "lang", locale) in read.attributes
    assert made.subject in read.texts
    assert made.document["data"]["headline"] in read.texts
    assert made.document["data"]["headline"] == made.text.splitlines()[0]
    for sentence in made.document["data"]["sentences"]:
        assert sentence in made.text.splitlines()
        assert sentence in read.texts
    for step in STEPS[locale]:
        assert step in made.text
        assert step in read.texts
    for item in made.document["data"]["deliveries"][0]["items"]:
        assert f"- {item['quantity']} × {item['title']}" in made.text
        assert {item["title"], f"× {item['quantity']}"} <= set(read.texts)
    assert {LINKS.tracking, LINKS.unsubscribe, f"mailto:{BRAND.support_email}", BRAND.shop_url} <= read.links
    assert all(str(link) in made.text for link in (LINKS.tracking, LINKS.unsubscribe, BRAND.support_email))


@pytest.mark.parametrize(("name", "locale"), EVERY)
def test_nothing_has_to_be_fetched(name: str, locale: str) -> None:
    made = message(name, locale=locale)
    read = Reader(made.html)
    assert set(read.tags) & FETCHED == set()
    assert not re.search(r"url\(|@import|@font-face|expression\(", made.html)
    assert {
        name for _, name, _ in read.attributes if name.startswith("on") or name in ("src", "background")
    } == set()
    assert all(link.startswith(("https://", "mailto:")) for link in read.links)


@pytest.mark.parametrize(("name", "locale"), EVERY)
def test_nothing_is_told_that_is_not_the_shoppers_to_read(name: str, locale: str) -> None:
    """The samples' views hold a carrier's message with a street, a place, a name, an address, a condition."""
    made = message(name, locale=locale)
    told = made.text + made.html + str(made.document)
    view = str(sample(name).order)
    for secret in (
        "Alex Sample",
        "alex@shopper.example",
        "Sample Street",
        "Sampleton",
        "OUT_OF_STOCK",
        "evidence",
    ):
        assert secret not in told
    assert "alex@shopper.example" in view


def test_a_condition_that_is_for_the_shop_is_not_told() -> None:
    def doubt(order: dict[str, Any]) -> None:
        order["deliveries"][0]["conditions"] = [
            {
                "code": "NEVER_SCANNED",
                "kind": None,
                "clearedAt": None,
                "evidence": {"note": "call the warehouse"},
            }
        ]

    made = message(changed("shipped", doubt))
    assert made == message("shipped")


def test_every_kind_has_a_sample() -> None:
    assert {sample(name).notification.kind for name in SAMPLES} == set(KINDS)


# ── Digests, and orders of other shapes ────────────────────────────────────────────────────────────────────


def test_a_digest_tells_of_each_delivery() -> None:
    made = message("digest")
    assert made.subject == "3 parcels from Fern & Flint are on their way"
    assert [f"Parcel {n} of 3" in made.text for n in (1, 2, 3)] == [True] * 3
    assert len(made.document["data"]["deliveries"]) == 3
    for text in ("UPS", "USPS", "Amazon", "Head lamp with red light", "Titanium camping stove"):
        assert text in made.text
        assert text in made.html


def test_what_everything_arrived_replaces_may_be_a_last_delivered() -> None:
    given = sample("all_delivered")
    last = replace(given.notification, kind="delivered")
    made = compose(last, given.order, kind="all_delivered", covers=(), locale="en", brand=BRAND, links=LINKS)
    assert made.kind == made.document["kind"] == "all_delivered"
    assert made.subject == "All parcels of your order from Fern & Flint were delivered"
    assert len(made.document["data"]["deliveries"]) == 2


def test_what_missed_its_promise_shows_only_a_later_estimate() -> None:
    def later(order: dict[str, Any]) -> None:
        order["deliveries"][0]["estimatedDelivery"] |= {
            "earliestDate": "2026-01-27",
            "latestDate": "2026-01-28",
        }

    missed, revised = message("estimate_missed"), message(changed("estimate_missed", later))
    assert missed.document["data"]["deliveries"][0]["estimatedDelivery"] is None
    assert revised.document["data"]["deliveries"][0]["estimatedDelivery"]["latest"] == "2026-01-28"
    for made in (missed, revised):
        assert "It should have arrived by Saturday, January 24 and has not." in made.text


@pytest.mark.parametrize(
    ("decided", "is_shown"), [("2026-01-25T11:59:00Z", True), ("2026-01-25T12:00:00Z", False)]
)
def test_an_estimate_that_is_over_everywhere_is_not_shown(decided: str, is_shown: bool) -> None:
    given = sample("exception")
    told = replace(given.notification, decided_at=parse_instant(decided))
    made = message(Sample(told, given.order))
    assert ("January\u00a024" in made.text) == is_shown


def test_a_delay_without_an_estimate_says_that_there_is_none() -> None:
    given = sample("delayed")
    told = replace(given.notification, decided_at=parse_instant("2026-02-01T00:00:00Z"))
    assert "There is no new date yet." in message(Sample(told, given.order)).text
    assert "There is no new date yet." not in message(given).text


def test_a_delivery_that_the_view_has_no_more_is_still_told_of() -> None:
    made = message(changed("shipped", lambda order: order["deliveries"].clear()))
    assert made.subject == "Your parcel from Fern & Flint is on its way"
    assert made.document["data"]["deliveries"] == []
    assert made.preheader == ""
    Reader(made.html)


def test_many_parcels_end() -> None:
    def many(order: dict[str, Any]) -> None:
        first = order["deliveries"][0]
        order["deliveries"] = [{**first, "id": f"{first['id']}-{n}"} for n in range(40)]

    given = changed("shipped", many)
    whole = Sample(replace(given.notification, delivery_id=""), given.order)
    made = message(whole)
    assert len(made.document["data"]["deliveries"]) == MOST_PARCELS
    assert "and 30 more parcels" in made.text
    assert "and 30 more parcels" in made.html
    assert "Parcel 10 of 40" in made.text


def test_no_mail_is_longer_than_gmail_shows() -> None:
    """102 kB; what comes after that, with the unsubscribe link, is behind a button."""

    def full(order: dict[str, Any]) -> None:
        first = order["deliveries"][0]
        (tracker,) = first["trackers"]
        goods = [{**order["lineItems"][0], "id": str(n), "title": "ñ" * 200} for n in range(60)]
        held = [{"id": item["id"], "quantity": "12", "unit": "ONE"} for item in goods]
        box = {**first, "lineItems": held, "trackers": [tracker, tracker]}
        order["lineItems"] = goods
        order["deliveries"] = [{**box, "id": f"{first['id']}-{n}"} for n in range(12)]

    given = changed("shipped", full)
    made = message(Sample(replace(given.notification, delivery_id=""), given.order))
    assert len(made.html.encode()) < 102_000
    assert "and 2 more parcels" in made.html
    assert "and 57 more items" in made.html


def test_an_order_is_called_what_the_shop_calls_it() -> None:
    assert "Order #1042" in message("shipped").text
    assert "Order S01-2048131-6650214" in message(changed("shipped", lambda o: o["aliases"].clear())).text


# ── Where it leads ─────────────────────────────────────────────────────────────────────────────────────────


def pressed(made: Composed) -> str:
    """The address of the button: the link that is filled."""
    found = re.search(r'<a class="fill" href="([^"]*)"', made.html)
    return "" if found is None else found[1]


def test_the_button_leads_where_it_helps() -> None:
    carrier = "https://carrier.example/ups/1Z679A7B0300000001"
    assert pressed(message("shipped")) == LINKS.tracking
    assert pressed(message("customer_action")) == carrier
    assert pressed(message("lost")) == "mailto:help@shop.example"
    assert pressed(message("lost", brand=replace(BRAND, support_email=None))) == LINKS.tracking
    nowhere = Links(None, None)
    assert pressed(message("shipped", links=nowhere)) == carrier
    assert pressed(message(changed("cancelled"), links=nowhere)) == ""


def test_without_links_there_are_none() -> None:
    made = message(
        "cancelled", brand=replace(BRAND, shop_url=None, support_email=None), links=Links(None, None)
    )
    assert Reader(made.html).links == set()
    assert "http" not in made.text
    assert made.document["links"] == {"tracking": None, "unsubscribe": None}


def test_an_unknown_language_is_english() -> None:
    assert message("shipped", locale="fr-CA") == message("shipped", locale="en")
    assert message("shipped", locale="es-MX") == message("shipped", locale="es")


def test_a_kind_that_there_is_not() -> None:
    given = sample("shipped")
    with pytest.raises(KeyError):
        compose(
            given.notification, given.order, kind="stalled", covers=(), locale="en", brand=BRAND, links=LINKS
        )


def test_the_document_for_a_webhook() -> None:
    made = message("attempt_failed")
    told = sample("attempt_failed").notification
    assert made.document == {
        "id": told.id,
        "kind": "attempt_failed",
        "ordinal": "2",
        "orderId": told.order_id,
        "deliveryId": told.delivery_id,
        "businessProductId": "bp-sample",
        "occurredAt": "2026-01-23T22:31:00Z",
        "locale": "en",
        "subject": made.subject,
        "text": made.text,
        "html": made.html,
        "data": {
            "preheader": "Enamel mug, forest green and 1 more item",
            "headline": "Your parcel could not be delivered",
            "sentences": [
                "UPS tried on Friday, January 23 and could not hand it over.",
                "That was attempt number 2.",
                "The carrier can tell you whether there will be another attempt, and what you can do.",
            ],
            "orderName": "#1042",
            "deliveries": [
                {
                    "deliveryId": told.delivery_id,
                    "items": [
                        {"title": "Enamel mug, forest green", "quantity": "2"},
                        {"title": "Titanium camping stove", "quantity": "1"},
                    ],
                    "moreItems": 0,
                    "steps": [
                        {"step": "ordered", "progress": "done"},
                        {"step": "shipped", "progress": "done"},
                        {"step": "outForDelivery", "progress": "done"},
                        {"step": "delivered", "progress": "ahead"},
                    ],
                    "estimatedDelivery": None,
                    "carriers": [
                        {
                            "carrierCode": "ups",
                            "trackingNumber": "1Z679A7B0300000001",
                            "trackingUrl": "https://carrier.example/ups/1Z679A7B0300000001",
                        }
                    ],
                }
            ],
        },
        "links": {"tracking": LINKS.tracking, "unsubscribe": LINKS.unsubscribe},
    }


# ── Whatever an order holds ────────────────────────────────────────────────────────────────────────────────

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x.png onerror=alert(1)>',
    "</style></td></table><!--",
    "]]>&amp;&#60;b&#62;",
    "{{ 7 * 7 }}{% include 'x' %}",
    "%(shop)s %s %",
    "a\r\nBcc: everybody@evil.example",
    "\u202egnirts\u2066 \x00\x1b[31m \ud800",
    "W" * 5_000,
    "",
    "日本語 العربية 🎁",
)


# What views make themselves, out of what they could read.
MADE = {"id", "state", "standing", "code", "zone", "localDate", "earliest", "latest", "raisedAt", "at"}
MADE |= {"occurredAt", "observedAt", "shippedAt", "deliveredAt", "earliestDate", "latestDate"}


def nasty(draw: random.Random, value: Any) -> Any:
    """A document with some of its texts replaced."""
    if isinstance(value, dict):
        return {k: v if k in MADE else nasty(draw, v) for k, v in value.items()}
    if isinstance(value, list):
        return [nasty(draw, each) for each in value]
    return draw.choice(NASTY) if isinstance(value, str) and draw.random() < 0.5 else value


def test_whatever_an_order_holds_stays_text() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    plain = {name: Reader(message(name).html) for name in SAMPLES}
    for _ in range(150):
        name = draw.choice(SAMPLES)
        given = sample(name)
        shop = replace(BRAND, shop_name=draw.choice(NASTY), shop_url=draw.choice(NASTY))
        made = message(Sample(given.notification, nasty(draw, given.order), given.covers), brand=shop)
        read = Reader(made.html)
        assert set(read.tags) <= set(plain[name].tags) | {"span", "table", "p", "br"}
        assert {key for _, key, _ in read.attributes} <= {key for _, key, _ in plain[name].attributes}
        assert all(link.startswith(("https://", "mailto:")) and "evil" not in link for link in read.links)
        assert "alert(1)</script>" not in made.html
        assert not re.search(
            r"[\x00-\x09\x0b-\x1f\ud800-\udfff\u202e\u2066]", made.subject + made.text + made.html
        )
        assert "\nBcc:" not in made.text
        assert len(made.subject) <= 200
        assert len(made.html) < 100_000


def test_a_title_with_markup_is_read_as_it_was_written() -> None:
    def retitle(order: dict[str, Any]) -> None:
        order["lineItems"][0]["title"] = "<script>alert('&amp;')</script>"

    made = message(changed("shipped", retitle))
    assert "<script>alert('&amp;')</script>" in Reader(made.html).texts
    assert "<script" not in made.html
    assert "- 2 × <script>alert('&amp;')</script>" in made.text
