"""The seeded world and its transition table: only what is documented happens, and a seed says what."""

import copy
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.errors import Conflict, Invalid, MilepostError, NotFound
from milepost.domain.instant import MINUTE, Instant, parse_instant
from milepost.domain.record import Record
from milepost.sandbox.events import event_body, render
from milepost.sandbox.planning import plan_life
from milepost.sandbox.publication import Publication
from milepost.sandbox.reading import complete
from milepost.sandbox.scenarios import named
from milepost.sandbox.transitions import REASONS, advance, find_package, summary_state
from milepost.sandbox.world import Step, WorldOrder, business_product_of, new_order

START = parse_instant("2025-01-20T12:00:00Z")
SEEDS = Path(__file__).parents[2] / "seeds"
STATES = ("PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED")
ALL_REASONS = ("", "CUSTOMER_REQUESTED", "UNFULFILLABLE", "UNDELIVERABLE")

orders = st.builds(new_order, st.integers(0, 50), st.integers(0, 200), st.just(START))


def in_state(state: str) -> tuple[dict[str, Any], str]:
    """An order whose first package is in this state, and that package's id."""
    order = new_order(1, 1, START)
    package = order["packageInformation"]["details"][0]
    package["state"] = state
    return order, package["id"]


def delivered(seed: int = 1, number: int = 1, packages: int = 2) -> tuple[dict[str, Any], list[Publication]]:
    """An order that lived the standard scenario to its end, and everything published on the way."""
    world = WorldOrder(business_product_of(seed), new_order(seed, number, START, packages))
    order, published = world.order, list[Publication]()
    for step in plan_life(world, seed, named("standard"), START).plan:
        order, more = advance(order, step, seed)
        published.extend(more)
    return order, published


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(orders)
def test_ids_have_the_documented_shapes(order: dict[str, Any]) -> None:
    assert re.fullmatch(r"322-[A-Z0-9]{4}-[A-Z0-9]{6}", order["id"])
    for item in order["lineItems"]:
        assert re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]{10}", item["id"])
    for detail in order["packageInformation"]["details"]:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", detail["id"])
    assert 1 <= len(order["packageInformation"]["details"]) <= 3


@given(orders)
def test_packages_hold_exactly_what_was_ordered(order: dict[str, Any]) -> None:
    ordered = {item["id"]: item["amount"]["value"] for item in order["lineItems"]}
    packed = dict.fromkeys(ordered, 0)
    for detail in order["packageInformation"]["details"]:
        entries = detail["packageInformationDetailsFor"]["orderLineItems"]
        assert entries
        for entry in entries:
            packed[entry["lineItem"]["id"]] += entry["amount"]["value"]
    assert packed == ordered


def test_one_line_is_split_over_packages_and_packages_share_lines() -> None:
    worlds = [new_order(3, n, START) for n in range(60)]
    holders = [
        [
            sum(
                e["lineItem"]["id"] == item["id"] for e in d["packageInformationDetailsFor"]["orderLineItems"]
            )
            for d in order["packageInformation"]["details"]
        ]
        for order in worlds
        for item in order["lineItems"]
    ]
    assert any(sum(h) > 1 for h in holders)
    assert {len(order["packageInformation"]["details"]) for order in worlds} == {1, 2, 3}


@given(st.integers(0, 1_000), st.integers(0, 1_000))
def test_the_same_seed_makes_the_same_order(seed: int, number: int) -> None:
    assert new_order(seed, number, START) == new_order(seed, number, START)
    assert new_order(seed, number, START)["id"] != new_order(seed + 1, number, START)["id"]


# ── Transitions ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
@pytest.mark.parametrize("reason", ALL_REASONS)
def test_only_documented_transitions_happen(before: str, after: str, reason: str) -> None:
    order, delivery_id = in_state(before)
    step = Step(START, delivery_id, state=after, reason=reason)
    reasons = REASONS.get((before, after))
    if reasons is None:
        with pytest.raises(Conflict):
            advance(order, step, 1)
    elif (reason in reasons) if reasons else not reason:
        moved, published = advance(order, step, 1)
        package = find_package(moved, delivery_id)
        assert (package["state"], package["reason"]) == (after, reason or None)
        assert published
    else:
        with pytest.raises(Invalid):
            advance(order, step, 1)


def test_a_cancellation_is_followed_by_a_refund_request_for_what_was_in_it() -> None:
    order, delivery_id = in_state("PENDING")
    moved, published = advance(order, Step(START, delivery_id, state="CANCELLED", reason="UNFULFILLABLE"), 1)
    assert [p.type for p in published] == ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]
    (refund,) = moved["refunds"]["details"]
    assert published[1].resource == (("order", order["id"]), ("refund", refund["id"]))
    entries = find_package(order, delivery_id)["packageInformationDetailsFor"]["orderLineItems"]
    assert refund["refundFor"]["orderLineItems"] == entries
    prices = {i["id"]: float(i["product"]["price"]["amount"]) for i in order["lineItems"]}
    expected = sum(prices[e["lineItem"]["id"]] * e["amount"]["value"] for e in entries)
    assert float(refund["refundTotal"]["totalAmount"]["amount"]) == pytest.approx(expected)


def test_the_terminal_milestone_delivers_the_package() -> None:
    order, delivery_id = in_state("IN_TRANSIT")
    moved, published = advance(order, Step(START, delivery_id, "DELIVERED"), 1)
    assert [p.type for p in published] == ["PACKAGE_TRACKER_MILESTONE_CHANGED", "PACKAGE_DELIVERED"]
    assert find_package(moved, delivery_id)["state"] == "DELIVERED"


@pytest.mark.parametrize(
    ("states", "summary"),
    [
        (["PENDING", "DELIVERED"], "PENDING"),
        (["IN_TRANSIT", "DELIVERED"], "IN_TRANSIT"),
        (["DELIVERED", "CANCELLED"], "DELIVERED"),
        (["CANCELLED", "CANCELLED"], "CANCELLED"),
    ],
)
def test_the_summary_follows_the_documented_rule(states: list[str], summary: str) -> None:
    assert summary_state(states) == summary


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(START, "nobody", state="IN_TRANSIT"), NotFound),
        (Step(START, "", "RECEIVED_BY_DRONE"), Invalid),
        (Step(START, "", "DELIVERED"), Conflict),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(step: Step, error: type[MilepostError]) -> None:
    order, delivery_id = in_state("PENDING")
    before = copy.deepcopy(order)
    with pytest.raises(error):
        advance(order, msgspec.structs.replace(step, delivery_id=step.delivery_id or delivery_id), 1)
    assert order == before


def test_an_unknown_code_and_movement_of_what_is_not_shipped_are_an_odd_carriers() -> None:
    order, delivery_id = in_state("PENDING")
    moved, _ = advance(order, Step(START, delivery_id, "OutForDelivery", odd=True), 1)
    package = find_package(moved, delivery_id)
    assert package["state"] == "PENDING"
    assert package["packageTracker"]["latestMilestone"]["status"]["code"] == "OutForDelivery"
    moved, published = advance(order, Step(START, delivery_id, "BY_DRONE", odd=True), 1)
    assert [p.type for p in published] == ["PACKAGE_TRACKER_MILESTONE_CHANGED"]


@pytest.mark.parametrize("state", ["DELIVERED", "CANCELLED"])
def test_a_scan_of_a_finished_package_is_published_and_moves_nothing(state: str) -> None:
    order, delivery_id = in_state(state)
    moved, published = advance(order, Step(START, delivery_id, "OUT_FOR_DELIVERY"), 1)
    assert [p.type for p in published] == ["PACKAGE_TRACKER_MILESTONE_CHANGED"]
    assert find_package(moved, delivery_id)["state"] == state


def test_nothing_moves_before_fulfilment_is_started_but_for_a_cancellation() -> None:
    order, delivery_id = in_state("PENDING")
    order["metadata"]["executionState"] = "NOT_STARTED"
    for step in (Step(START, delivery_id, "IN_TRANSIT"), Step(START, delivery_id, state="IN_TRANSIT")):
        with pytest.raises(Conflict, match="not started"):
            advance(order, step, 1)
    advance(order, Step(START, delivery_id, state="CANCELLED", reason="CUSTOMER_REQUESTED"), 1)
    order, published = advance(order, Step(START, "", fulfilment=True), 1)
    assert (order["metadata"]["executionState"], published) == ("STARTED", [])
    with pytest.raises(Conflict, match="already"):
        advance(order, Step(START, "", fulfilment=True), 1)


def test_a_pending_package_splits_into_several_with_ids_of_their_own() -> None:
    order, delivery_id = in_state("PENDING")
    entries = find_package(order, delivery_id)["packageInformationDetailsFor"]["orderLineItems"]
    whole = {e["lineItem"]["id"]: e["amount"]["value"] for e in entries}
    first, *rest = whole.items()
    one = ((first[0], 1),)
    other = tuple((item, n) for item, n in ((first[0], first[1] - 1), *rest) if n)
    moved, published = advance(order, Step(START, delivery_id, split=(one, other)), 1)
    ids = [d["id"] for d in moved["packageInformation"]["details"]]
    before = [d["id"] for d in order["packageInformation"]["details"]]
    assert len(ids) == len(before) + 1
    assert delivery_id not in ids
    assert not published
    held = dict.fromkeys(whole, 0)
    for detail in moved["packageInformation"]["details"][:2]:
        for entry in detail["packageInformationDetailsFor"]["orderLineItems"]:
            held[entry["lineItem"]["id"]] += entry["amount"]["value"]
    assert held == whole


@pytest.mark.parametrize("parts", [((),), ((("nothing", 1),), (("nothing", 1),)), "too much"])
def test_a_split_holds_exactly_what_the_package_held(parts: Any) -> None:
    order, delivery_id = in_state("PENDING")
    entries = find_package(order, delivery_id)["packageInformationDetailsFor"]["orderLineItems"]
    all_of_it = tuple((e["lineItem"]["id"], e["amount"]["value"]) for e in entries)
    given = {"too much": (all_of_it, all_of_it)}.get(parts, parts)
    with pytest.raises(Invalid):
        advance(order, Step(START, delivery_id, split=given), 1)


def test_what_is_shipped_cannot_be_split() -> None:
    order, delivery_id = in_state("IN_TRANSIT")
    with pytest.raises(Conflict, match="pending"):
        advance(order, Step(START, delivery_id, split=((("a", 1),), (("b", 1),))), 1)


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────


def keys(value: Any) -> Any:
    """The shape of a document: its keys in their order, lists by their first element."""
    if isinstance(value, dict):
        return [(key, keys(inner)) for key, inner in value.items()]
    return [keys(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ["milestone", "in_transit", "delivered"])
def test_a_published_body_has_the_documented_keys_in_their_order(name: str) -> None:
    documented = msgspec.json.decode((SEEDS / f"{name}.webhook.json").read_bytes())
    order, published = delivered()
    publication = next(p for p in published if p.type == documented["eventDescriptor"])
    body = event_body(1, WorldOrder(business_product_of(1), order), 0, publication, START)
    record = Record(1, "event", "", publication.type, START, START, "sandbox", (), None, body)
    destination = Destination("subscription-1", "webhook", b"{}")
    message = Message("m", destination.id, 1, "pending", 0, START)
    document = msgspec.json.decode(render(record, destination, message))
    assert keys(document) == keys(documented)
    assert document["resources"][0].split("/")[::2] == documented["resources"][0].split("/")[::2]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["eventTime"])


def test_bytes_come_from_the_seed_and_nothing_else() -> None:
    def bodies(seed: int) -> list[bytes]:
        order, published = delivered(seed)
        world = WorldOrder(business_product_of(seed), order)
        return [event_body(seed, world, n, p, Instant(START + n * MINUTE)) for n, p in enumerate(published)]

    assert bodies(5) == bodies(5)
    assert not set(bodies(5)) & set(bodies(6))
    events = [parse_event(b) for b in bodies(5)]
    assert not any(e.flags for e in events)
    assert len({e.event_id for e in events}) == len(events)


# ── Documents given by callers ─────────────────────────────────────────────────────────────────────────────


def test_a_bare_document_is_completed() -> None:
    order = complete({"id": "order-id", "packageInformation": {"details": [{"id": "delivery-id"}]}})
    moved, published = advance(order, Step(START, "delivery-id", state="IN_TRANSIT"), 1)
    assert moved["packageInformation"]["summary"] == {"state": "IN_TRANSIT"}
    assert published[0].resource == (("order", "order-id"), ("delivery", "delivery-id"))


def test_packages_known_at_line_items_only_are_found() -> None:
    detail = {"id": "delivery-id", "state": "IN_TRANSIT"}
    order = complete({"id": "o", "lineItems": [{"id": "i", "packageInformation": {"details": [detail]}}]})
    assert find_package(order, "delivery-id")["state"] == "IN_TRANSIT"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": ""},
        {"id": 5},
        {"id": "o"},
        {"id": "o", "packageInformation": {"details": [{}]}},
        {"id": "o", "packageInformation": {"details": ["x"]}},
        {"id": "o", "lineItems": [{}], "packageInformation": {"details": [{"id": "d"}]}},
        {
            "id": "o",
            "packageInformation": {
                "details": [{"id": "d", "packageInformationDetailsFor": {"orderLineItems": [{}]}}]
            },
        },
    ],
)
def test_a_document_without_the_necessary_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        complete(document)
