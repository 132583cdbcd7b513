"""What the page makes of documents that somebody else wrote: hostile ones, broken ones; and its colours."""

import copy
import random
import re
from importlib import resources
from typing import Any

import msgspec
import pytest
from tests.unit.sandbox.asking import START
from tests.unit.sandbox.markup import Browser, saying
from tests.unit.transports.receiver import Receiver

from milepost.domain.attempt import Destination
from milepost.domain.instant import Instant
from milepost.sandbox.page.fault_list import GROUPS
from milepost.sandbox.page.order_details import details_of, row_of
from milepost.sandbox.page.wording import length, price, spoken, window, written
from milepost.sandbox.world import Step, WorldOrder, new_order, new_tracker

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;"


def hostile(value: Any, key: str = "") -> Any:
    """The document with every text that means nothing to the world replaced."""
    if isinstance(value, dict):
        return {k: hostile(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(each, key) for each in value]
    kept = ("id", "state", "code", "executionState", "carrierCode", "trackingNumber")
    if key == "trackingUrl":
        return "javascript:alert(1)"
    # Numbers and times have to be what they are: `put` refuses anything else.
    means_nothing = isinstance(value, str) and not value[:1].isdigit()
    return HOSTILE if means_nothing and key not in kept else value


def whole_order() -> dict[str, Any]:
    """An order with a tracker, a milestone, a refund and a return."""
    order = new_order(7, 1, START, 2)
    package = order["packageInformation"]["details"][0]
    package["state"] = "IN_TRANSIT"
    milestone = {
        "occurredAt": "2025-01-20T10:00:00Z",
        "status": {"code": "IN_TRANSIT", "message": {"locale": "en", "value": "It moves."}},
        "address": {"locality": "Reno", "region": "NV", "country": "US"},
    }
    package["packageTracker"] = {**new_tracker(7, package["id"], START), "milestones": [milestone]}
    entries = package["packageInformationDetailsFor"]["orderLineItems"]
    order["refunds"] = {
        "details": [
            {
                "id": "refund-1",
                "state": "REQUESTED",
                "updatedAt": "2025-01-20T10:00:00Z",
                "refundRequestReason": "ITEM_RETURNED",
                "refundTotal": {"totalAmount": {"amount": "1.00", "currencyCode": "USD"}},
                "refundFor": {"orderLineItems": entries, "causedBy": {"id": "return-1", "state": "CREATED"}},
            }
        ]
    }
    parcel = {"id": "parcel-1", "state": "IN_TRANSIT", "reason": None, "packageTracker": None}
    order["returns"] = {
        "details": [
            {
                "id": "return-1",
                "state": "CREATED",
                "returnLineItems": entries,
                "returnPackageDetails": [parcel],
            }
        ]
    }
    return order


async def test_hostile_text_is_escaped_everywhere(browser: Browser) -> None:
    """The parser fails on every element, handler and address that the text tries to bring in."""
    keeper, store = browser.sandbox.keeper, browser.sandbox.store
    # A slash would end the id in a resource: it is refused at the door.
    order_id = HOSTILE.replace("/", "\\")
    order = {**hostile(whole_order()), "id": order_id}
    product = keeper.business_product_id
    await keeper.put(product, order)
    async with Receiver(saying(500, HOSTILE)) as receiver:
        url = f"{receiver.url}/{HOSTILE}"
        settings = msgspec.json.encode({"url": url})
        destination = Destination(HOSTILE, "webhook", settings, endpoint=url)
        await store.write(lambda tx: tx.attempts.put_destination(destination))
        delivery_id = order["packageInformation"]["details"][0]["id"]
        await keeper.act(order_id, Step(START, delivery_id, milestone="DELAYED", locality=HOSTILE))
        await browser.sandbox.settle()
        await store.write(lambda tx: tx.attempts.disable(HOSTILE, HOSTILE))
    listed = await browser.get("/")
    (link,) = [link for link in listed.links if "order?id=" in link]
    shown = await browser.get(link)
    assert HOSTILE in shown.text
    assert "javascript:" not in "".join(shown.links)
    last = await store.read(lambda tx: tx.journal.last_position())
    event = await browser.get(f"/sandbox/published/event?position={last}")
    assert HOSTILE in event.text
    assert HOSTILE in (await browser.get("/sandbox/published/subscriptions")).text
    for path in ("/sandbox/order", "/sandbox/published/event", "/", "/sandbox/world"):
        for name in ("id", "position", "after", "moved", "product"):
            answer = await browser.http.get(path, params={name: HOSTILE})
            assert answer.status_code in (200, 400, 404)
            assert "<script" not in answer.text
            assert "<img" not in answer.text
    refused = await browser.post(
        "/sandbox/page/move", {"order": order_id, "do": HOSTILE, "value": HOSTILE}, 400
    )
    assert "<script>alert(1)" in refused.text


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_document_holds_is_shown_as_far_as_it_goes(seed: int) -> None:
    """Parts of an order are replaced by values of other types, one after another until little is left."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    values: tuple[Any, ...] = (
        None,
        [],
        {},
        "",
        "2025-13-45",
        0,
        -1.5,
        True,
        [None],
        ["x"],
        {"x": []},
        [[]],
        "é\ud800",
    )
    for _ in range(60):
        order = whole_order()
        for _ in range(draw.randrange(1, 12)):
            replace_one(order, draw, copy.deepcopy(draw.choice(values)))
        world = WorldOrder("bp-1", {**order, "id": "o-1"})
        for now in (START, Instant(START + 10**9)):
            assert details_of(world, now).id == "o-1"
            assert row_of(world, now).id == "o-1"


def replace_one(document: Any, draw: random.Random, value: Any) -> None:
    """Put a value in the place of some part of the document."""
    while True:
        keys: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = draw.choice(keys)
        below = document[key]
        if not isinstance(below, dict | list) or not below or draw.random() < 0.2:
            document[key] = value
            return
        document = below


def test_lengths_sums_and_windows_are_written_for_people() -> None:
    assert [length(n) for n in (0, 250, 90_000, 3_600_000, 93_784_000)] == [
        "no time",
        "250 ms",
        "1 min 30 s",
        "1 h",
        "1 d 2 h",
    ]
    assert price({"amount": "14.95", "currencyCode": "USD"}) == "$14.95"
    assert price({"amount": "14.95", "currencyCode": "EUR"}) == "14.95 EUR"
    assert price(None) == ""
    assert spoken("OUT_FOR_DELIVERY") == "Out for delivery"
    assert window("2025-01-22T13:00:00Z", "2025-01-23T23:00:00Z") == "Wed 22 Jan – Thu 23 Jan"
    assert window("2025-01-22", "2025-01-22") == "Wed 22 Jan"
    assert window("soon", None) == ""
    shown = written("2025-01-22T09:05:00-05:00")
    assert shown is not None
    assert shown.text == "Wed 22 Jan 2025, 14:05"
    unread = written("<tomorrow>")
    assert unread is not None
    assert (unread.iso, unread.text) == ("", "<tomorrow>")


def test_every_fault_says_what_it_does() -> None:
    for rows in GROUPS.values():
        assert all(label and about for label, about, _ in rows.values())


# ── Colours ────────────────────────────────────────────────────────────────────────────────────────────────


def style() -> str:
    return resources.files("milepost.sandbox.page").joinpath("page.css").read_text("utf-8")


def test_the_style_loads_nothing() -> None:
    assert "url(" not in style()
    assert "@import" not in style()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_everybody_can_read(scheme: str) -> None:
    """WCAG AA for text: 4.5 to 1."""
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in style().split("@media")[:2])
    colours = light if scheme == "light" else dark
    for ground in ("paper", "card", "wash"):
        for ink in ("ink", "quiet", "accent", "bad"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


def contrast(a: str, b: str) -> float:
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
