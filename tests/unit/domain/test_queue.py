"""Which queues an order or a tracker is in, by its view document alone (tracking.md 9.7, 12)."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    Arrived,
    Folded,
    condition,
    event,
    fold,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.parcel import track
from tests.unit.domain.test_permutations import Generated, shuffled

from milepost.domain.instant import Instant, parse_instant
from milepost.domain.queue import (
    HANDLED,
    NAMES,
    OF_CAPTURES,
    Mark,
    QueueItem,
    items_of_order,
    items_of_tracker,
)
from milepost.domain.queue_guide import GUIDES

AT, LATER = "2025-01-21T12:00:00Z", "2025-01-22T12:00:00Z"
JOINED = order_answer("2025-01-20T10:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS))
SUBJECT = f"order/{ORDER}/delivery/{BOX}"


def items(*arrivals: Arrived) -> dict[str, QueueItem]:
    """What the order is in, by queue."""
    found = items_of_order(fold(*arrivals).document)
    assert len({(item.queue, item.subject) for item in found}) == len(found), "each once"
    return {item.queue: item for item in found}


@pytest.mark.parametrize(
    ("code", "queue"),
    [
        ("NEVER_SCANNED", "never-scanned"),
        ("LATE", "late"),
        ("WILL_BE_LATE", "will-be-late"),
        ("CONTRADICTION", "contradiction"),
    ],
)
def test_what_the_hub_says_of_a_delivery_is_in_its_queue_until_it_is_cleared(code: str, queue: str) -> None:
    raised = condition(code, True, AT)
    item = items(JOINED, raised)[queue]
    assert item == QueueItem(
        queue,  # type: ignore[arg-type]
        BP,
        SUBJECT,
        parse_instant(AT),
        ORDER,
        BOX,
        *UPS,
        state="UNKNOWN",
        detail=code,
    )
    assert queue not in items(JOINED, raised, condition(code, False, LATER))


@pytest.mark.parametrize(
    ("code", "queue", "evidence"),
    [
        ("STALLED", "stalled", {}),
        ("TRACKING_EXPIRED", "stalled", {}),
        ("PICKUP_AGING", "pickup-ageing", {"count": 2}),
        ("RETURN_UNCONFIRMED", "return-unconfirmed", {}),
    ],
)
def test_what_the_hub_says_of_a_tracker_is_its_deliverys_work(
    code: str, queue: str, evidence: dict[str, Any]
) -> None:
    moving = tracker_answer(AT, UPS, scan("IN_TRANSIT", AT))
    subject = f"tracker/{UPS[0]}/{UPS[1]}"
    about = condition(code, True, "2025-06-01T00:00:00Z", subject, **evidence)
    item = items(JOINED, moving, about)[queue]
    assert (item.subject, item.tracking_number, item.state) == (SUBJECT, UPS[1], "IN_TRANSIT")
    assert item.count == evidence.get("count", 1)


@pytest.mark.parametrize(
    ("code", "queue", "detail"),
    [
        ("DELIVERY_ATTEMPTED", "attempted", "ATTEMPT_FAILED"),
        ("CUSTOMER_ACTION", "customer-action", "CUSTOMER_ACTION"),
        ("EXCEPTION", "exception", "EXCEPTION"),
        ("LOST", "exception", "LOST"),
    ],
)
def test_what_the_carrier_says_is_work_until_the_parcel_is_there(code: str, queue: str, detail: str) -> None:
    reported = [scan("IN_TRANSIT", "2025-01-20T12:00:00Z"), scan(code, AT)]
    item = items(JOINED, tracker_answer(LATER, UPS, *reported))[queue]
    assert (item.since, item.detail) == (parse_instant(AT), detail)
    done = tracker_answer(LATER, UPS, *reported, scan("DELIVERED", LATER))
    assert items(JOINED, done, event(DELIVERED, LATER)) == {}


def test_a_delivery_that_could_not_be_made_is_an_exception_since_it_was_cancelled() -> None:
    gone = order_answer(LATER, package(BOX, "CANCELLED", reason="UNDELIVERABLE", tracker=UPS))
    item = items(JOINED, event(SHIPPED, "2025-01-20T09:00:00Z"), event(CANCELLED, AT), gone)["exception"]
    assert (item.detail, item.state, item.since) == ("UNDELIVERABLE", "UNKNOWN", parse_instant(AT))


def test_of_several_trackers_the_one_that_began_first_stands_for_the_delivery() -> None:
    both = order_answer("2025-01-20T11:00:00Z", package(BOX, "IN_TRANSIT", tracker=USPS))
    found = items(
        JOINED,
        both,
        tracker_answer(LATER, UPS, scan("EXCEPTION", LATER)),
        tracker_answer(LATER, USPS, scan("EXCEPTION", AT)),
    )
    assert (found["exception"].tracking_number, found["exception"].since) == (USPS[1], parse_instant(AT))


def test_each_delivery_is_work_of_its_own() -> None:
    two = order_answer(AT, package(BOX, "IN_TRANSIT"), package(SECOND_BOX, "IN_TRANSIT"))
    raised = [condition("LATE", True, AT, f"delivery/{box}") for box in (BOX, SECOND_BOX)]
    found = items_of_order(fold(two, *raised).document)
    assert [(item.queue, item.delivery_id) for item in found] == [("late", BOX), ("late", SECOND_BOX)]


def test_an_authorization_is_the_orders_work() -> None:
    raised = condition("AUTHORIZATION_EXPIRED", True, AT, f"order/{ORDER}")
    item = items(JOINED, raised)["authorization-expired"]
    assert (item.subject, item.delivery_id) == (f"order/{ORDER}", "")


def test_where_it_goes_is_told_by_the_last_scan_at_the_destination() -> None:
    start = scan("IN_TRANSIT", "2025-01-20T12:00:00Z")
    out, tried = scan("OUT_FOR_DELIVERY", AT), scan("DELIVERY_ATTEMPTED", LATER)
    assert items(JOINED, tracker_answer(LATER, UPS, start, scan("EXCEPTION", AT)))["exception"].region == ""
    tried["address"] = {"locality": "Lyon", "region": None, "country": "FR"}
    assert items(JOINED, tracker_answer(LATER, UPS, start, out, tried))["attempted"].region == "FR"


def test_a_parcel_without_an_order_and_unknown_codes_are_the_trackers_work() -> None:
    odd = tracker_answer(LATER, UPS, scan("IN_TRANSIT", AT), scan("BY_DRONE", AT), scan("BY_MULE", LATER))
    orphans = {item.queue: item for item in items_of_tracker(track(odd).document)}
    assert orphans.keys() == {"orphans", "unmapped-codes"}
    assert (orphans["unmapped-codes"].detail, orphans["unmapped-codes"].count) == ("BY_DRONE, BY_MULE", 2)
    assert orphans["orphans"].order_id == ""
    (adopted,) = items_of_tracker(track(odd, JOINED).document)
    assert (adopted.queue, adopted.order_id, adopted.delivery_id) == ("unmapped-codes", ORDER, BOX)


def test_every_queue_has_words_and_only_these() -> None:
    assert tuple(GUIDES) == NAMES
    assert OF_CAPTURES.keys() <= GUIDES.keys()
    for guide in GUIDES.values():
        assert guide.title
        assert guide.meaning.endswith(".")
        assert guide.advice.endswith(".")
        assert "assign" in guide.actions


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_is_in_queues_does_not_depend_on_the_order_of_arrival(seed: int) -> None:
    """But for when some conditions began: what came first is by when it came (`domain.canonical`)."""
    dice = random.Random(seed)
    history = Generated(dice).arrivals
    wanted = _timeless(fold(*history))
    for _ in range(3):
        assert _timeless(fold(*shuffled(history, dice))) == wanted


def _timeless(folded: Folded) -> list[QueueItem]:
    found = list(items_of_order(folded.document))
    for tracker in folded.trackers.values():
        found += items_of_tracker(tracker.document)
    return sorted((replace(item, since=Instant(0)) for item in found), key=str)


def test_a_mark_hides_until_its_time_or_until_it_gets_worse() -> None:
    assert Mark(assignee="Ann").hides_until(1) == 0
    assert Mark(snoozed_until=Instant(7)).hides_until(1) == 7
    handled = Mark(handled_count=2)
    assert [handled.hides_until(count) for count in (1, 2, 3)] == [HANDLED, HANDLED, 0]
