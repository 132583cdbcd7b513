"""Captures by the API: lists, one of them, and what may be done to it in which state."""

import re
from typing import Any

import msgspec
import pytest
from tests.web.world import HOUR, START, World, event, one_delivery, order, tracker

from milepost.domain.capture import Capture, capture_id
from milepost.domain.instant import DAY, Instant, format_instant
from milepost.domain.intent import CAPTURE_READY, Intent
from milepost.store import NewRecord
from milepost.web import capture_lists
from milepost.web.capture_lists import CaptureItem
from milepost.web.captures import CaptureDocument
from milepost.web.paging import Page

ID = capture_id("bp-1", "order-1", "delivery-1")
STATES = ("READY", "SENT", "FAILED", "HELD", "ACKED", "VOID")


async def ids(world: World, path: str = "/v1/captures", **parameters: Any) -> list[str]:
    """The ids of every page of a list, two items a page."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = await world.get(path, limit=2, **parameters, **after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def every_state(world: World) -> dict[str, str]:
    """A capture in each state, oldest first: state to id."""
    made = [await world.capture(f"delivery-{state}", state=state) for state in STATES]
    return {capture.state: capture.id for capture in made}


async def told(world: World, capture: Capture) -> Capture:
    """The capture as it is once subscribers were told of it: with the position of its intent."""
    intent = Intent(CAPTURE_READY, world.now, "new", {}, ("told/order/order-1",), "order-1", "delivery-1")
    body = msgspec.json.encode(intent)
    record = NewRecord("intent", "bp-1", CAPTURE_READY, world.now, world.now, "projector", body)
    position = (await world.store.write(lambda tx: tx.journal.add([record])))[0]
    known = msgspec.structs.replace(capture, position=position)
    await world.store.write(lambda tx: tx.ledger.put_captures([known]))
    return known


async def test_captures_are_listed_by_state_oldest_first(world: World) -> None:
    made = await every_state(world)
    assert await ids(world) == list(made.values())
    for state, capture in made.items():
        assert await ids(world, state=state) == [capture]


async def test_what_shipped_and_nobody_collected_is_a_list(world: World) -> None:
    made = await every_state(world)
    assert await ids(world, unacknowledged=True) == [made[s] for s in ("READY", "SENT", "FAILED", "HELD")]
    assert await ids(world, unacknowledged=True, state="SENT") == [made["SENT"]]
    assert await ids(world, unacknowledged=True, state="ACKED") == []


async def test_the_captures_of_an_order_are_found_also_when_its_view_is_gone(world: World) -> None:
    await one_delivery(world, "bp-2", "order-2")
    await world.capture()
    more = [(await world.capture(f"delivery-{n}", order_id="order-2", product="bp-2")).id for n in (2, 3)]
    mine = [capture_id("bp-2", "order-2", "delivery-1"), *more]
    assert await ids(world, orderId="order-2") == mine
    await world.store.write(lambda tx: tx.views.remove([("order", "bp-2", "order-2")]))
    assert await ids(world, orderId="order-2") == mine
    assert await ids(world, orderId="order-2", businessProductId="bp-2", state="READY") == mine
    assert await ids(world, orderId="order-2", state="ACKED") == []
    assert await ids(world, orderId="order-2", businessProductId="bp-1") == []
    assert await ids(world, orderId="nobody") == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"state": "LOST"}, "state"),
        ({"state": "NOT_READY"}, "state"),
        ({"orderId": "order-1", "expired": True}, "expired"),
        ({"after": "x"}, "after"),
        ({"expired": True, "after": "x"}, "after"),
    ],
)
async def test_what_makes_no_list_is_refused(world: World, parameters: dict[str, Any], field: str) -> None:
    answer = await world.get("/v1/captures", **parameters)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        400,
        "invalid_request",
        field,
    )


async def test_documents_are_what_their_description_says(world: World) -> None:
    await one_delivery(world)
    await world.capture()
    for path, shape in (("/v1/captures", Page[CaptureItem]), (f"/v1/captures/{ID}", CaptureDocument)):
        shown = await world.get(path)
        described = msgspec.json.decode(shown.content, type=shape, strict=True)
        assert msgspec.to_builtins(described) == shown.json()


async def test_an_unknown_capture_is_404(world: World) -> None:
    for name in ("cap_0", "%00", ID):
        answer = await world.get(f"/v1/captures/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_orders_and_deliveries_show_their_captures(world: World) -> None:
    await one_delivery(world)
    await world.capture(state="HELD", reason="cancelled_but_moving")
    shown = (await world.get("/v1/deliveries/delivery-1")).json()["capture"]
    assert (shown["id"], shown["state"], shown["reason"]) == (ID, "HELD", "cancelled_but_moving")
    (delivery,) = (await world.get("/v1/orders/order-1")).json()["deliveries"]
    assert delivery["capture"] == shown


async def test_a_delivery_that_has_not_shipped_is_not_ready_under_the_id_that_it_will_have(
    world: World,
) -> None:
    await world.answer("order", order("order-1", ("delivery-1", "PENDING", None)), order_id="order-1")
    await world.project()
    shown = (await world.get("/v1/deliveries/delivery-1")).json()["capture"]
    assert shown == {"id": ID, "state": "NOT_READY", "reason": None, "readyAt": None, "sentAt": None}


async def test_as_of_shows_a_capture_as_its_history_has_it(world: World) -> None:
    await one_delivery(world)
    before = world.at()
    world.now = Instant(world.now + HOUR)
    await world.capture()
    ready = world.at()
    world.now = Instant(world.now + HOUR)
    assert (await world.post(f"/v1/captures/{ID}/hold", {"reason": "fraud check"})).status_code == 200
    for as_of, state in ((before, "NOT_READY"), (ready, "READY"), (world.at(), "HELD")):
        shown = (await world.get("/v1/deliveries/delivery-1", asOf=as_of)).json()["capture"]
        assert shown["state"] == state, as_of


# ── Moving them ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "state"),
    [("acknowledge", "ACKED"), ("fail", "FAILED"), ("hold", "HELD"), ("void", "VOID")],
)
async def test_a_capture_is_moved_and_again_changes_nothing(world: World, verb: str, state: str) -> None:
    await world.capture()
    key = await world.key("operate", "bp-1")
    first = await world.post(f"/v1/captures/{ID}/{verb}", {"reason": "by hand"}, key)
    assert (first.status_code, first.json()["state"]) == (200, state)
    step = first.json()["history"][-1]
    assert (step["by"], step["reason"], step["state"]) == ("key_0001", "by hand", state)
    world.now = Instant(world.now + HOUR)
    again = await world.post(f"/v1/captures/{ID}/{verb}", key=key)
    assert again.json() == first.json()


async def test_a_held_capture_goes_back_to_where_it_was(world: World) -> None:
    await told(world, await world.capture(state="SENT"))
    await world.post(f"/v1/captures/{ID}/hold")
    released = await world.post(f"/v1/captures/{ID}/release")
    assert (released.status_code, released.json()["state"]) == (200, "SENT")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", ["acknowledge", "fail", "hold", "release", "void"])
async def test_what_the_table_forbids_is_a_conflict_that_names_the_way_out(
    world: World, state: str, verb: str
) -> None:
    await told(world, await world.capture(state=state))
    allowed = (await world.get(f"/v1/captures/{ID}")).json()["actions"]
    answer = await world.post(f"/v1/captures/{ID}/{verb}")
    if answer.status_code == 200:
        assert verb in allowed or answer.json()["state"] == state
        return
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["state"]) == (409, "conflict", state)
    assert verb not in allowed
    assert problem["actions"] == allowed
    for way_out in allowed:
        assert way_out in problem["detail"]
    assert (await world.get(f"/v1/captures/{ID}")).json()["state"] == state


async def test_acknowledged_is_the_end(world: World) -> None:
    await told(world, await world.capture(state="ACKED"))
    assert (await world.get(f"/v1/captures/{ID}")).json()["actions"] == []
    for verb in ("fail", "hold", "release", "void", "resend"):
        answer = await world.post(f"/v1/captures/{ID}/{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), verb


async def test_what_nobody_was_told_cannot_be_told_again(world: World) -> None:
    await told(world, await world.capture())
    answer = await world.post(f"/v1/captures/{ID}/resend")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_reason_that_is_too_long_or_a_word_that_is_unknown_is_refused(world: World) -> None:
    await world.capture()
    for body in ({"reason": "x" * 501}, {"why": "x"}, {"reason": 1}, []):
        answer = await world.post(f"/v1/captures/{ID}/hold", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
    assert (await world.post(f"/v1/captures/{ID}/refund")).status_code == 404


async def test_a_capture_of_another_business_product_cannot_be_moved(world: World) -> None:
    await world.capture()
    foreign = await world.key("admin", "bp-2")
    for verb in ("acknowledge", "resend"):
        assert (await world.post(f"/v1/captures/{ID}/{verb}", key=foreign)).status_code == 404


# ── Expired before it shipped ──────────────────────────────────────────────────────────────────────────────


async def authorized(world: World, order_id: str, before: Instant, *deliveries: tuple[str, str]) -> None:
    """An order with these deliveries (id, state), to be collected for before then."""
    packages = [
        (delivery, state, tracker(number=f"1Z-{delivery}") if state != "PENDING" else None)
        for delivery, state in deliveries
    ]
    if packages:
        await world.answer("order", order(order_id, *packages), order_id=order_id)
    told = await world.put(
        f"/v1/orders/{order_id}/authorization?businessProductId=bp-1",
        {"captureBefore": format_instant(before)},
    )
    assert told.status_code == 200, told.text
    await world.project()


async def expired(world: World, **parameters: Any) -> list[tuple[str, str | None, str]]:
    """Every page's (order id, delivery id, state)."""
    found: list[tuple[str, str | None, str]] = []
    after: dict[str, str] = {}
    while True:
        page = (await world.get("/v1/captures", expired=True, **({"limit": 2} | parameters), **after)).json()
        found += [(item["orderId"], item["deliveryId"], item["state"]) for item in page["items"]]
        assert all(item["expiredBeforeShipped"] for item in page["items"])
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


@pytest.mark.parametrize("looked_at", [1, 2, 3, 2_000])
@pytest.mark.parametrize("limit", [1, 2, 500])
async def test_what_expired_before_it_shipped_is_a_list(
    world: World, monkeypatch: pytest.MonkeyPatch, looked_at: int, limit: int
) -> None:
    """Waiting ones first, then those that shipped too late; whatever the page, each once."""
    monkeypatch.setattr(capture_lists, "LOOKED_AT", looked_at)
    soon, late = Instant(START - HOUR), Instant(START + 30 * DAY)
    await authorized(world, "order-1", soon, ("d-1", "PENDING"), ("d-2", "IN_TRANSIT"), ("d-3", "PENDING"))
    await authorized(world, "order-2", late, ("d-4", "PENDING"))
    await authorized(world, "order-3", soon)
    await authorized(world, "order-4", soon, ("d-5", "IN_TRANSIT"))
    await authorized(world, "order-5", soon, ("d-6", "CANCELLED"))
    long_ago = Instant(soon - DAY)
    await world.capture("d-2", state="SENT", ready_at=long_ago)
    await world.capture("d-5", order_id="order-4", state="READY")
    await world.capture("d-7", order_id="order-4", state="ACKED")
    waiting = [
        ("order-1", "d-1", "NOT_READY"),
        ("order-1", "d-3", "NOT_READY"),
        ("order-3", None, "NOT_READY"),
    ]
    shipped = [("order-4", "d-5", "READY")]
    assert await expired(world, limit=limit) == [*waiting, *shipped]
    assert await expired(world, limit=limit, state="NOT_READY") == waiting
    assert await expired(world, limit=limit, state="READY") == shipped
    assert await expired(world, limit=limit, state="ACKED") == [("order-4", "d-7", "ACKED")]
    assert await expired(world, limit=limit, businessProductId="bp-2") == []


async def test_a_cursor_of_one_list_is_no_cursor_of_the_other(world: World) -> None:
    await every_state(world)
    following = (await world.get("/v1/captures", limit=2)).json()["next"]
    assert (await world.get("/v1/captures", expired=True, after=following)).status_code == 400


async def test_captures_say_until_when_they_may_be_collected(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", 1, "order/order-1/delivery/delivery-1"))
    await authorized(world, "order-1", Instant(START + DAY))
    await world.capture()
    shown = (await world.get(f"/v1/captures/{ID}")).json()
    assert shown["captureBefore"] == format_instant(Instant(START + DAY))
    assert shown["expiredBeforeShipped"] is False
    assert re.fullmatch(r"cap_[0-9a-f]{30}", shown["id"])
