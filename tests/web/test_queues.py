"""Work queues by API: what is in them, in which order, as CSV, and what may be done about it, by whom."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from tests.web.world import HOUR, World, event, milestone, one_delivery, order, tracker

from milepost.domain.instant import Instant, format_instant
from milepost.domain.queue import NAMES, QueueItem
from milepost.store import Store
from milepost.web.paging import encode_cursor


class Asking:
    """Takes down what it is to ask."""

    def __init__(self) -> None:
        self.asked: dict[tuple[str, str], str] = {}

    async def ask(self, wanted: Mapping[tuple[str, str], str]) -> int:
        self.asked |= wanted
        return len(wanted)

    async def retry(self, business_product_id: str, target: str) -> None:
        raise AssertionError(target)


async def attempted(world: World, number: int, product: str = "bp-1", carrier: str = "UPS") -> None:
    """An order of which the carrier says that it could not deliver; the first began first."""
    order_id, tracking = f"order-{number}", f"1Z{number:03}"
    tried = milestone("DELIVERY_ATTEMPTED", f"2025-01-20T{number:02}:30:00Z")
    known = order(
        order_id, (f"delivery-{number}", "IN_TRANSIT", tracker(tried, carrier=carrier, number=tracking))
    )
    await world.answer("order", known, product, order_id=order_id)
    await world.answer(
        "packageTracker",
        tracker(tried, carrier=carrier, number=tracking),
        product,
        carrier_code=carrier,
        tracking_number=tracking,
    )


@pytest.fixture
async def filled(world: World) -> World:
    """Three attempts of bp-1, one of bp-2."""
    for number in (1, 2, 3):
        await attempted(world, number, carrier="UPS" if number != 2 else "USPS")
    await attempted(world, 4, "bp-2")
    await world.project()
    return world


async def entries(world: World, name: str = "attempted", **parameters: Any) -> list[dict[str, Any]]:
    answer = await world.get(f"/v1/queues/{name}", **parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def orders(world: World, name: str = "attempted", **parameters: Any) -> list[str]:
    return [entry["orderId"] for entry in await entries(world, name, **parameters)]


async def act(world: World, action: str, *ids: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"action": action, "ids": list(ids), **more}
    name = more.pop("queue", "attempted")
    body.pop("queue", None)
    given = {} if key is None else {"key": key}
    answer = await world.post(f"/v1/queues/{name}/actions", body, **given)
    document: dict[str, Any] = {"status": answer.status_code, **answer.json()}
    return document


async def test_every_queue_says_what_it_means_and_how_much_is_in_it(filled: World) -> None:
    answer = (await filled.get("/v1/queues")).json()
    assert [queue["name"] for queue in answer["items"]] == list(NAMES)
    queues = {queue["name"]: queue for queue in answer["items"]}
    one = queues["attempted"]
    assert (one["count"], one["more"], one["oldestSince"]) == (4, False, "2025-01-20T01:30:00Z")
    assert one["meaning"]
    assert one["advice"]
    assert (queues["late"]["count"], queues["late"]["oldestSince"]) == (0, None)
    bound = await filled.key("read", "bp-2")
    mine = {q["name"]: q["count"] for q in (await filled.get("/v1/queues", bound)).json()["items"]}
    assert mine["attempted"] == 1


async def test_what_began_first_comes_first_and_pages_follow_each_other(filled: World) -> None:
    assert await orders(filled) == ["order-1", "order-2", "order-3", "order-4"]
    seen, after = [], None
    for _ in range(4):
        given = {} if after is None else {"after": after}
        page = (await filled.get("/v1/queues/attempted", limit=1, **given)).json()
        seen += [entry["orderId"] for entry in page["items"]]
        after = page["next"]
    assert (seen, after) == (["order-1", "order-2", "order-3", "order-4"], None)
    (first, *_) = await entries(filled)
    assert first == {
        "id": first["id"],
        "queue": "attempted",
        "businessProductId": "bp-1",
        "orderId": "order-1",
        "deliveryId": "delivery-1",
        "carrierCode": "UPS",
        "trackingNumber": "1Z001",
        "captureId": None,
        "destinationRegion": "US-WA",
        "state": first["state"],
        "detail": "ATTEMPT_FAILED",
        "count": 1,
        "since": "2025-01-20T01:30:00Z",
        "mark": None,
    }


async def test_filters(filled: World) -> None:
    assert await orders(filled, carrier="usps") == ["order-2"]
    assert await orders(filled, region="US-WA", businessProductId="bp-1") == ["order-1", "order-2", "order-3"]
    assert await orders(filled, region="US-NV") == []
    assert await orders(filled, olderThanHours=9) == ["order-1", "order-2"]
    bound = await filled.key("read", "bp-2")
    assert [e["orderId"] for e in (await filled.get("/v1/queues/attempted", bound)).json()["items"]] == [
        "order-4"
    ]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"state": "odd"}, 400),
        ({"olderThanHours": -1}, 400),
        ({"format": "xml"}, 400),
        ({"limit": 0}, 400),
        ({"after": "odd"}, 400),
        ({"after": encode_cursor("queue/attempted", [2**62, "bp-1", "s"])}, 400),
        ({"after": encode_cursor("queue/attempted", [1, "bp-1", "a\0b"])}, 400),
        ({"after": encode_cursor("queue/late", [1, "bp-1", "s"])}, 400),
        ({"businessProductId": "none"}, 404),
    ],
)
async def test_what_is_no_question_is_refused(world: World, given: dict[str, Any], status: int) -> None:
    bound = await world.key("read", "bp-1")
    assert (await world.get("/v1/queues/attempted", bound, **given)).status_code == status
    assert (await world.get("/v1/queues/none", bound)).status_code == 404


async def test_csv_is_all_of_it_and_holds_no_formula(filled: World) -> None:
    await attempted(filled, 5, carrier='=HYPERLINK("http://evil.example")')
    await filled.project()
    async with filled.client() as client:
        asked = await client.get("/v1/queues/attempted", headers={"accept": "text/csv"})
    named = await filled.get("/v1/queues/attempted", format="csv")
    assert asked.content == named.content
    assert asked.headers["content-type"].startswith("text/csv")
    assert "attempted.csv" in asked.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(asked.text)))
    assert [row["orderId"] for row in rows] == [f"order-{n}" for n in (1, 2, 3, 4, 5)]
    assert rows[0]["trackingNumber"] == "1Z001"
    assert rows[4]["carrierCode"] == '\'=HYPERLINK("http://evil.example")'


async def test_csv_of_more_than_a_page(world: World) -> None:
    items = [
        QueueItem("late", "bp-1", f"order/o-{n}/delivery/d", Instant(n), f"o-{n}", "d") for n in range(1_203)
    ]
    found = {("bp-1", f"order/{item.order_id}"): [item] for item in items}
    await world.store.write(lambda tx: tx.queues.put(found))
    rows = list(csv.DictReader(io.StringIO((await world.get("/v1/queues/late", format="csv")).text)))
    assert [row["orderId"] for row in rows] == [item.order_id for item in items]


async def test_assigned_snoozed_handled_and_back(filled: World) -> None:
    one, two, three, _ = [entry["id"] for entry in await entries(filled)]
    assert (await act(filled, "assign", one, two, assignee="Ann"))["done"] == 2
    assert await orders(filled, assignee="Ann") == ["order-1", "order-2"]
    assert await orders(filled, assignee="nobody") == ["order-3", "order-4"]
    until = format_instant(Instant(filled.now + HOUR))
    assert (await act(filled, "snooze", one, until=until, text="calls back"))["done"] == 1
    assert (await act(filled, "handled", two, three, text="sent again"))["done"] == 2
    assert await orders(filled) == ["order-4"]
    assert await orders(filled, state="snoozed") == ["order-1"]
    assert await orders(filled, state="handled") == ["order-2", "order-3"]
    (mark,) = [e["mark"] for e in await entries(filled, state="snoozed")]
    assert mark == {
        "assignee": "Ann",
        "snoozedUntil": until,
        "handled": False,
        "reason": "calls back",
        "by": "API_KEY",
        "at": filled.at(),
    }
    filled.now = Instant(filled.now + HOUR)
    assert await orders(filled) == ["order-1", "order-4"], "its time has come"
    assert (await act(filled, "reopen", two))["done"] == 1
    assert await orders(filled) == ["order-1", "order-2", "order-4"]


async def test_what_was_handled_is_back_when_it_happens_again(filled: World) -> None:
    (first, *_) = await entries(filled)
    await act(filled, "handled", first["id"])
    twice = tracker(
        milestone("DELIVERY_ATTEMPTED", "2025-01-20T01:30:00Z"),
        milestone("DELIVERY_ATTEMPTED", "2025-01-20T09:30:00Z"),
        number="1Z001",
    )
    await filled.answer("packageTracker", twice, carrier_code="UPS", tracking_number="1Z001")
    await filled.project()
    back = (await entries(filled))[-1]
    assert (back["orderId"], back["count"], back["since"]) == ("order-1", 2, "2025-01-20T09:30:00Z")
    assert back["mark"] is None
    again = await act(filled, "handled", first["id"])
    assert (again["done"], again["gone"]) == (0, 1), "that one is over"


async def test_notes_stand_in_the_orders_timeline(filled: World) -> None:
    one, two, *_ = [entry["id"] for entry in await entries(filled)]
    assert (await act(filled, "note", one, two, text="left at the door"))["done"] == 2
    await filled.project()
    (note,) = (await filled.get("/v1/orders/order-2/notes")).json()["items"]
    assert (note["text"], note["deliveryId"], note["author"]) == (
        "left at the door",
        "delivery-2",
        "API_KEY",
    )


async def test_asking_again_asks_about_order_and_tracker(store: Store) -> None:
    asking = Asking()
    world = World(store, hydrator=asking)
    await attempted(world, 1)
    await world.project()
    (one,) = await entries(world)
    assert (await act(world, "ask", one["id"]))["done"] == 1
    assert asking.asked == {("bp-1", "order/order-1"): "", ("bp-1", "tracker/ups/1Z001"): "UPS"}
    silent = World(store)
    assert (await act(silent, "ask", one["id"]))["status"] == 409


async def test_what_is_outside_a_keys_reach_is_gone_like_what_never_was(filled: World) -> None:
    found = await entries(filled)
    bound = await filled.key("operate", "bp-2")
    said = await act(filled, "assign", *(entry["id"] for entry in found), key=bound, assignee="Eve")
    assert (said["done"], said["gone"]) == (1, 3)
    assert await orders(filled, assignee="Eve") == ["order-4"]
    nothing = encode_cursor("item", ["bp-1", "order/none", "attempted", "order/none", 0])
    assert (await act(filled, "assign", nothing, key=bound))["gone"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"action": "resend"},
        {"action": "burn"},
        {"action": "note"},
        {"action": "note", "text": "  "},
        {"action": "snooze"},
        {"action": "snooze", "until": "yesterday"},
        {"action": "snooze", "until": "2025-01-01T00:00:00Z"},
        {"action": "snooze", "until": "2031-01-01T00:00:00Z"},
        {"action": "assign", "ids": []},
        {"action": "assign", "ids": ["odd"]},
        {"action": "assign", "ids": [encode_cursor("item", ["bp-1", "o", "late", "s", 0])]},
        {"action": "assign", "ids": [encode_cursor("item", ["bp-1", "o", "attempted", "s", 2**63])]},
        {"action": "assign", "ids": ["x"] * 201},
        {"action": "assign", "who": "me"},
    ],
)
async def test_what_cannot_be_done_is_refused(filled: World, body: dict[str, Any]) -> None:
    ids = [entry["id"] for entry in await entries(filled)]
    answer = await filled.post("/v1/queues/attempted/actions", {"ids": ids, **body})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text
    assert await orders(filled, assignee="nobody") == ["order-1", "order-2", "order-3", "order-4"]


async def test_captures_are_read_from_their_ledger_and_released_from_the_queue(world: World) -> None:
    await one_delivery(world)
    held = await world.capture(state="HELD", reason="=odd", carrier_codes=("UPS",))
    for number in range(2, 6):
        await world.capture(f"delivery-{number}", state="HELD" if number != 3 else "READY")
    await world.capture("delivery-9", product="bp-2", state="HELD")
    queues = {q["name"]: q for q in (await world.get("/v1/queues")).json()["items"]}
    assert (queues["captures-held"]["count"], queues["captures-failed"]["count"]) == (5, 0)
    listed = await entries(world, "captures-held")
    assert [entry["deliveryId"] for entry in listed] == [f"delivery-{n}" for n in (1, 2, 4, 5, 9)]
    assert (listed[0]["captureId"], listed[0]["detail"], listed[0]["mark"]) == (held.id, "=odd", None)
    page = (await world.get("/v1/queues/captures-held", limit=2)).json()
    behind = await entries(world, "captures-held", after=page["next"])
    assert [entry["deliveryId"] for entry in (*page["items"], *behind)] == [e["deliveryId"] for e in listed]
    one, two = listed[0]["id"], listed[1]["id"]
    assert (await act(world, "assign", two, queue="captures-held", assignee="Ann"))["done"] == 1
    mine = await entries(world, "captures-held", assignee="Ann")
    assert [entry["deliveryId"] for entry in mine] == ["delivery-2"]
    assert await entries(world, "captures-held", carrier="ups") == listed[:1]
    assert await entries(world, "captures-held", region="US-WA") == []
    assert (await act(world, "release", one, queue="captures-held"))["done"] == 1
    assert (await act(world, "release", one, queue="captures-held"))["gone"] == 1
    assert held.id not in [entry["captureId"] for entry in await entries(world, "captures-held")]


async def test_a_capture_that_nobody_can_be_sent_says_why(world: World) -> None:
    failed = await world.capture(state="FAILED", reason="card refused")
    (one,) = await entries(world, "captures-failed")
    said = await act(world, "resend", one["id"], queue="captures-failed")
    assert (said["done"], said["gone"], [r["id"] for r in said["refused"]]) == (0, 0, [one["id"]])
    assert failed.id in said["refused"][0]["detail"]


async def test_an_orphan_and_a_code_that_nobody_knows(world: World) -> None:
    odd = tracker(milestone("BY_DRONE", "2025-01-20T10:00:00Z"), number="1Zodd")
    await world.answer("packageTracker", odd, carrier_code="UPS", tracking_number="1Zodd")
    await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", 9, "carrier/UPS/tracker/1Zodd"))
    await world.project()
    (orphan,) = await entries(world, "orphans")
    (code,) = await entries(world, "unmapped-codes")
    assert (orphan["orderId"], orphan["trackingNumber"], code["detail"]) == (None, "1Zodd", "BY_DRONE")
    assert (await act(world, "handled", orphan["id"], queue="orphans"))["done"] == 1
    assert await entries(world, "orphans") == []


async def test_what_people_did_goes_with_the_order(filled: World) -> None:
    (first, *_) = await entries(filled)
    await act(filled, "assign", first["id"], assignee="Ann")
    await filled.store.write(lambda tx: tx.queues.forget([("bp-1", "order/order-1")]))
    item = QueueItem("attempted", "bp-1", "order/order-1/delivery/delivery-1", Instant(0), "order-1")
    await filled.store.write(lambda tx: tx.queues.put({("bp-1", "order/order-1"): [replace(item, count=9)]}))
    assert (await entries(filled))[0]["mark"] is None
