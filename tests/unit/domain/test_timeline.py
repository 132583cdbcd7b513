"""The timeline: what happened, once each, in plain words, oldest first."""

from typing import get_args

import msgspec
import pytest
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    condition,
    event,
    fold,
    journal,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.capture import Capture, CaptureState, Transition
from milepost.domain.event import CATALOGUE
from milepost.domain.fact import fact_of
from milepost.domain.instant import parse_instant
from milepost.domain.record import Authorization, Note, Settlement, Snapshot, order_subject, tracker_subject
from milepost.domain.timeline import Noted, timeline
from milepost.domain.wording import (
    EVENT_TEXTS,
    MILESTONE_TEXTS,
    capture_text,
    condition_text,
    event_text,
    milestone_text,
)

T08, T09, T10, T12 = (f"2025-01-20T{h}:00:00Z" for h in ("08", "09", "10", "12"))
NEXT_DAY = "2025-01-21T09:00:00Z"

KEYS = [
    "occurredAt",
    "publishedAt",
    "receivedAt",
    "kind",
    "code",
    "deliveryId",
    "carrierCode",
    "trackingNumber",
    "text",
    "position",
]


def entries(*arrivals):
    folded = fold(*arrivals)
    return timeline(folded.facts, folded.trackers, folded.tracker_facts, folded.order.deliveries)


def told(*arrivals, kind=None):
    return [(e["kind"], e["code"]) for e in entries(*arrivals) if kind in (None, e["kind"])]


def settlement(outcome, position, at):
    about = (order_subject(ORDER), tracker_subject(*UPS))
    body = msgspec.json.encode(Settlement(position, outcome, 0, 3, "three unchanged answers", about))
    return Arrived("settlement", outcome, 0, body, "hydration")


def test_entries_stand_by_when_they_happened_not_by_when_they_were_heard_of():
    history = [
        event(DELIVERED, T12),
        order_answer(T12, package(state="DELIVERED", tracker=UPS)),
        tracker_answer(NEXT_DAY, UPS, scan("DELIVERED", T10), scan("IN_TRANSIT", T09)),
        event(SHIPPED, T08),
    ]
    expected = [
        ("event", SHIPPED),
        ("milestone", "IN_TRANSIT"),
        ("milestone", "DELIVERED"),
        ("event", DELIVERED),
        ("snapshot", "DELIVERED"),
    ]
    assert told(*history) == expected
    assert told(*reversed(history)) == expected


def test_an_entry_has_the_documented_keys_and_says_which_delivery_and_parcel():
    found = entries(
        order_answer(T08, package(tracker=UPS)),
        event(MILESTONE, T10, tracker=UPS),
        tracker_answer(T10, UPS, scan("IN_TRANSIT", T09)),
    )
    assert [list(e) for e in found] == [KEYS] * 2
    milestone, claim = found
    assert milestone == {
        "occurredAt": T09,
        "publishedAt": None,
        "receivedAt": T10,
        "kind": "milestone",
        "code": "IN_TRANSIT",
        "deliveryId": BOX,
        "carrierCode": UPS[0],
        "trackingNumber": UPS[1],
        "text": "The carrier has the parcel and it is on its way. Place: Reno, NV, US.",
        "position": 3,
    }
    assert (claim["kind"], claim["code"], claim["deliveryId"]) == ("event", MILESTONE, BOX)
    assert claim["publishedAt"] == T10


def test_each_milestone_stands_once_however_many_answers_show_it():
    seen = scan("IN_TRANSIT", T09)
    found = told(
        order_answer(T08, package(tracker=UPS)),
        tracker_answer(T10, UPS, seen),
        tracker_answer(T12, UPS, seen, scan("OUT_FOR_DELIVERY", T12)),
        order_answer(NEXT_DAY, package(state="IN_TRANSIT", tracker=UPS, milestones=[seen])),
        kind="milestone",
    )
    assert found == [("milestone", "IN_TRANSIT"), ("milestone", "OUT_FOR_DELIVERY")]


def test_a_milestone_that_vanished_says_so():
    found = entries(
        order_answer(T08, package(tracker=UPS)),
        tracker_answer(T10, UPS, scan("IN_TRANSIT", T08), scan("OUT_FOR_DELIVERY", T09)),
        tracker_answer(T12, UPS, scan("IN_TRANSIT", T08)),
    )
    (gone,) = [e for e in found if e["code"] == "OUT_FOR_DELIVERY"]
    assert "no longer show it" in gone["text"]


def test_snapshots_stand_only_where_they_show_another_state():
    states = ["PENDING", "PENDING", "IN_TRANSIT", "IN_TRANSIT", "CANCELLED"]
    answers = [order_answer(f"2025-01-20T1{i}:00:00Z", package(state=s)) for i, s in enumerate(states)]
    expected = [("snapshot", "IN_TRANSIT"), ("snapshot", "CANCELLED")]
    assert told(*answers, kind="snapshot") == expected
    assert told(*reversed(answers), kind="snapshot") == expected


def test_events_that_nothing_is_folded_from_stand_there_too():
    found = entries(
        event("RETURN_STARTED", T08, path="return/r-1"),
        event("REFUND_REQUESTED", T09, path="refund/r-1"),
        event("PACKAGE_WEIGHED", T10),
    )
    assert [e["code"] for e in found] == ["RETURN_STARTED", "REFUND_REQUESTED", "PACKAGE_WEIGHED"]
    assert found[1]["text"] == "A refund was requested; the merchant must process it."
    assert found[2]["text"] == "Buy with Prime published PACKAGE_WEIGHED."


def test_a_conflicting_copy_stands_as_one():
    other = {"order": order_object(package(state="DELIVERED"))}
    assert told(event(DELIVERED, T08, id="e-1"), event(DELIVERED, T08, id="e-1", data=other)) == [
        ("event", DELIVERED),
        ("conflict", DELIVERED),
    ]


def test_conditions_stand_where_they_were_raised_and_where_they_were_cleared():
    tracker = tracker_subject(*UPS)
    found = entries(
        order_answer(T08, package(tracker=UPS)),
        condition("LATE", True, T09),
        condition("STALLED", True, T10, tracker),
        condition("LATE", False, T12),
    )
    assert [(e["occurredAt"], e["code"], e["deliveryId"], e["trackingNumber"]) for e in found] == [
        (T09, "LATE", BOX, None),
        (T10, "STALLED", BOX, UPS[1]),
        (T12, "LATE", BOX, None),
    ]
    assert found[2]["text"] == "No longer: The promised day has passed and the delivery is not there."


def test_a_contradiction_that_the_fold_found_stands_there():
    found = entries(
        event(SHIPPED, T08),
        event(CANCELLED, T10),
        order_answer(T12, package(state="CANCELLED", reason="CUSTOMER_REQUESTED")),
    )
    (contradiction,) = [e for e in found if e["kind"] == "condition"]
    assert contradiction["text"] == "The delivery was cancelled, yet it was moving."
    assert (contradiction["occurredAt"], contradiction["deliveryId"]) == (T10, BOX)


def test_settlements_name_what_they_settle():
    found = entries(
        order_answer(T08, package(tracker=UPS)),
        event(MILESTONE, T10, tracker=UPS),
        settlement("noNewMilestone", 2, T12),
    )
    (entry,) = [e for e in found if e["kind"] == "settlement"]
    assert entry["trackingNumber"] == UPS[1]
    assert entry["text"].endswith("three unchanged answers")


def test_another_orders_events_on_the_same_number_are_not_this_orders():
    folded = fold(order_answer(T08, package(tracker=UPS)))
    resource = f"carrier/{UPS[0]}/tracker/{UPS[1]}"
    arrived = event(MILESTONE, T10, tracker=UPS, path=resource, order="322-OTHER-ORDER0")
    theirs = [fact_of(record) for record in journal([arrived])]
    assert len(theirs) == 1
    assert timeline(folded.facts, folded.trackers, {tracker_subject(*UPS): theirs}) == []


def test_every_event_of_an_order_and_every_milestone_code_has_words_of_its_own():
    about_orders = {t.name for t in CATALOGUE if "order" in t.resource_form}
    assert about_orders - EVENT_TEXTS.keys() == set()
    texts = [*EVENT_TEXTS.values(), *MILESTONE_TEXTS.values()]
    assert all(text.endswith(".") for text in texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (milestone_text("LOST"), "lost"),
        (milestone_text("PACKAGE_RECEIVED_BY_DRONE", "PackageReceivedByDrone"), "PackageReceivedByDrone"),
        (event_text("PACKAGE_WEIGHED"), "PACKAGE_WEIGHED"),
        (condition_text("CONTRADICTION", "delivered_retracted"), "scanned it again"),
        (condition_text("CONTRADICTION", "of a new kind"), "contradict each other"),
        (condition_text("HAUNTED"), "HAUNTED"),
    ],
)
def test_bad_and_unknown_news_is_said_as_it_is(text, words):
    assert words in text


def test_a_recycled_numbers_other_parcel_is_not_this_orders():
    """Another order has the number half a year later: its scans, and where they were, stand in its own timeline."""
    own = order_answer(
        T08, package(BOX, "IN_TRANSIT", tracker=UPS), metadata={"createdAt": "2025-01-19T08:00:00Z"}
    )
    first = [scan("IN_TRANSIT", T09, "Reno"), scan("DELIVERED", T10, "Reno")]
    later = order_answer(
        "2025-07-01T08:00:00Z",
        package("box-of-other", "IN_TRANSIT", tracker=UPS),
        metadata={"createdAt": "2025-06-30T08:00:00Z"},
    )
    answered = msgspec.json.decode(later.body, type=Snapshot)
    another = {**answered.answer, "id": "order-of-other"}
    later = msgspec.structs.replace(
        later,
        body=msgspec.json.encode(
            msgspec.structs.replace(answered, answer=another, order_id="order-of-other")
        ),
    )
    scans = tracker_answer(
        "2025-07-02T08:00:00Z", UPS, *first, scan("IN_TRANSIT", "2025-07-01T12:00:00Z", "Boise")
    )
    places = [e["text"] for e in entries(own, later, scans) if e["kind"] == "milestone"]
    assert len(places) == 2
    assert all("Reno" in text for text in places)


# ── Captures, authorizations, notes ────────────────────────────────────────────────────────────────────────


def capture(*steps, at=T09):
    """A capture with these steps: (time, state, by, reason)."""
    history = tuple(Transition(parse_instant(when), *rest) for when, *rest in steps)
    evidence = ({"kind": "event", "at": at, "position": 1},)
    return Capture("cap_1", BP, ORDER, BOX, steps[-1][1], parse_instant(at), evidence, (), history)


def merged(*arrivals, captures=(), notes=()):
    folded = fold(*arrivals)
    deliveries = folded.order.deliveries
    return timeline(folded.facts, folded.trackers, folded.tracker_facts, deliveries, captures, notes)


def test_each_step_of_a_capture_stands_where_it_was_taken():
    made = capture(
        (T09, "READY", "projector", ""),
        (T09, "HELD", "key_1", "fraud check"),
        (T09, "READY", "key_1", ""),
        (T10, "ACKED", "sub_1", "its answer says so"),
    )
    found = merged(event(SHIPPED, T08), event(DELIVERED, NEXT_DAY), captures=[made])
    assert [e["code"] for e in found] == [SHIPPED, "READY", "HELD", "READY", "ACKED", DELIVERED]
    held, acked = found[2], found[4]
    assert held["text"] == "Payment is held back for now. By key_1. Reason: fraud check."
    assert (acked["deliveryId"], acked["position"], list(acked)) == (BOX, 1, KEYS)
    assert found[1]["text"] == "It shipped: payment may be collected."


def test_a_note_and_an_authorization_stand_where_they_were_told():
    told = Authorization(
        ORDER, parse_instant(NEXT_DAY), parse_instant(T10), (order_subject(ORDER),), parse_instant(T08)
    )
    arrived = Arrived("authorization", "authorization", told.at, msgspec.json.encode(told), "api")
    note = Note(ORDER, "The shopper called.", "ada", parse_instant(T12), (), BOX)
    found = merged(event(SHIPPED, T08), arrived, notes=[Noted(9, parse_instant(T12), note)])
    assert [(e["kind"], e["occurredAt"] or e["publishedAt"]) for e in found] == [
        ("event", T08),
        ("authorization", T10),
        ("note", T12),
    ]
    assert found[1]["text"] == f"Payment was authorised; it may be collected until {NEXT_DAY}."
    assert (found[2]["text"], found[2]["deliveryId"], found[2]["position"]) == (
        "ada: The shopper called.",
        BOX,
        9,
    )


@pytest.mark.parametrize("state", get_args(CaptureState))
def test_every_state_of_a_capture_has_a_sentence(state):
    assert capture_text(state).endswith(".")


def test_conditions_of_the_order_itself_stand_with_no_delivery():
    raised = condition("AUTHORIZATION_EXPIRED", True, T10, order_subject(ORDER), captureBefore=T10)
    (entry,) = [e for e in entries(event(SHIPPED, T08), raised) if e["kind"] == "condition"]
    assert (entry["code"], entry["deliveryId"], entry["trackingNumber"]) == (
        "AUTHORIZATION_EXPIRED",
        None,
        None,
    )
    assert entry["text"] == "Payment can no longer be collected, and something has not shipped."
