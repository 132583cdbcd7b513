"""What is told of a view that changed: types, reasons and once-in-a-life, and captures due, held and let go."""

from typing import Any

import msgspec
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    Arrived,
    condition,
    event,
    fold,
    journal,
    order_answer,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.fact import fact_of
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.intent_data import LIMIT, fitted
from milepost.domain.record import told_subject
from milepost.domain.telling import Said, tell_order, tell_tracker
from milepost.domain.tracker import fold_tracker

NOW = parse_instant("2025-04-01T00:00:00Z")
AT = parse_instant("2025-03-31T00:00:00Z")


class Story:
    """An order's facts as they come, told after each."""

    def __init__(self) -> None:
        self.facts: list[Arrived] = []
        self.told: bytes | None = None

    def tell(self, *arrived: Arrived) -> list[str]:
        """What is told of these, in short; `said` keeps it whole."""
        self.facts += arrived
        self.said = tell_order(fold(*self.facts).document, self.told, AT, NOW)
        if self.said is None:
            return []
        self.told = self.said.standing
        return short(self.said)

    @property
    def capture(self) -> Any:
        assert self.said is not None
        (birth,) = self.said.births
        return birth.capture


def short(said: Said) -> list[str]:
    intents = [birth.shipped for birth in said.births] + list(said.intents)
    texts = [i.type if i.reason == "new" else f"{i.type} ({i.reason})" for i in intents]
    holds = [f"hold {h.reason}" if h.reason else "let go" for h in said.holds]
    return texts + holds


def known(state: str = "IN_TRANSIT", at: str = "2025-03-01T11:00:00Z", **more: Any) -> Arrived:
    return order_answer(at, package(BOX, state, tracker=UPS, items=[("item", "1")], **more))


def scans(at: str, *codes_and_times: tuple[str, str], **more: Any) -> Arrived:
    return tracker_answer(at, UPS, *(scan(code, when) for code, when in codes_and_times), **more)


PENDING = known("PENDING", "2025-02-28T00:00:00Z")
SHIP = event(SHIPPED, "2025-03-01T10:00:00Z")
ARRIVE = event(DELIVERED, "2025-03-05T10:00:00Z")


def test_a_delivery_from_beginning_to_end() -> None:
    story = Story()
    assert story.tell(PENDING) == ["order.updated"]
    assert story.tell(PENDING) == [], "nothing is new"
    assert story.tell(SHIP) == ["delivery.shipped", "order.updated"]
    assert (story.capture.state, story.capture.inferred) == ("READY", False)
    assert story.capture.line_items == ({"id": "item", "quantity": "1", "unit": "ONE"},)
    assert story.capture.carrier_codes == ("ups",)
    assert story.tell(ARRIVE) == ["delivery.delivered", "order.updated"]
    assert story.said is not None
    delivered, updated = story.said.intents
    assert delivered.at == parse_instant("2025-03-05T10:00:00Z")
    assert delivered.about == updated.about == (told_subject(f"order/{ORDER}"),)
    assert (delivered.order_id, delivered.delivery_id, delivered.carrier_codes) == (ORDER, BOX, ("ups",))
    assert updated.data["deliveries"][0]["deliveredAt"] == "2025-03-05T10:00:00Z"


def test_the_same_told_at_once_or_bit_by_bit_makes_the_same_standing() -> None:
    bits, once = Story(), Story()
    for fact in (PENDING, SHIP, known(), ARRIVE):
        bits.tell(fact)
    assert once.tell(PENDING, SHIP, known(), ARRIVE) == [
        "delivery.shipped (history_fill)",
        "delivery.delivered",
        "order.updated",
    ]
    assert once.told == bits.told


def test_delivered_first_is_shipped_too_and_the_ship_event_then_fills_history() -> None:
    story = Story()
    assert story.tell(PENDING, ARRIVE) == [
        "delivery.shipped (history_fill)",
        "delivery.delivered",
        "order.updated",
    ]
    assert story.capture.inferred
    assert story.tell(SHIP) == ["order.updated (history_fill)"]


def test_a_better_known_time_is_a_correction() -> None:
    story = Story()
    story.tell(PENDING, SHIP)
    moved = scans("2025-03-02T00:00:00Z", ("IN_TRANSIT", "2025-03-01T08:00:00Z"))
    assert story.tell(moved) == ["order.updated (correction)"]


def test_an_order_that_nobody_knows_holds_its_capture() -> None:
    story = Story()
    assert story.tell(SHIP) == ["delivery.shipped", "order.updated"]
    assert (story.capture.state, story.capture.reason) == ("HELD", "order_not_known")
    assert story.tell(known()) == ["order.updated", "let go"]
    assert story.said is not None
    (hold,) = story.said.holds
    assert hold.capture is not None
    assert hold.capture.line_items == ({"id": "item", "quantity": "1", "unit": "ONE"},)


def test_a_cancellation_without_movement_is_told_and_makes_no_capture() -> None:
    story = Story()
    assert story.tell(PENDING, event(CANCELLED, "2025-03-01T10:00:00Z")) == [
        "delivery.cancelled",
        "order.updated",
    ]
    assert story.said is not None
    assert story.said.births == []


def test_cancelled_but_moving_holds_until_the_reason_makes_it_a_normal_end() -> None:
    story = Story()
    story.tell(PENDING, SHIP)
    assert story.tell(event(CANCELLED, "2025-03-04T10:00:00Z")) == [
        "condition.raised",
        "order.updated",
        "hold cancelled_but_moving",
    ]
    confirmed = order_answer(
        "2025-03-04T11:00:00Z",
        package(BOX, "CANCELLED", reason="UNDELIVERABLE", tracker=UPS, items=[("item", "1")]),
    )
    assert story.tell(confirmed) == [
        "delivery.cancelled",
        "condition.cleared",
        "order.updated (correction)",
        "let go",
    ]


def test_evidence_that_did_not_happen_holds_and_what_happens_then_is_no_second_capture() -> None:
    story = Story()
    label = ("INFO_RECEIVED", "2025-03-01T07:00:00Z")
    early = scans("2025-03-01T09:00:00Z", label, ("IN_TRANSIT", "2025-03-01T08:00:00Z"))
    assert "delivery.shipped" in story.tell(PENDING, early)
    assert story.tell(scans("2025-03-01T10:00:00Z", label)) == [
        "order.updated (correction)",
        "hold evidence_withdrawn",
    ]
    assert story.tell(SHIP) == ["order.updated", "let go"]


def test_conditions_are_told_by_what_changed() -> None:
    story = Story()
    story.tell(PENDING, SHIP)
    late = condition("LATE", True, "2025-03-08T00:00:00Z", since="2025-03-07")
    assert story.tell(late) == ["condition.raised", "order.updated"]
    assert story.said is not None
    raised = story.said.intents[0]
    assert raised.at == parse_instant("2025-03-08T00:00:00Z")
    assert (raised.data["code"], raised.data["subject"], raised.data["orderId"]) == (
        "LATE",
        f"delivery/{BOX}",
        ORDER,
    )
    assert story.tell(condition("LATE", False, "2025-03-09T00:00:00Z")) == [
        "condition.cleared",
        "order.updated",
    ]
    assert story.said is not None
    assert story.said.intents[0].data["clearedAt"] == "2025-03-09T00:00:00Z"


def test_conditions_of_the_order_itself_are_told_with_its_subject() -> None:
    story = Story()
    story.tell(PENDING)
    expiring = condition("AUTHORIZATION_EXPIRING", True, "2025-03-08T00:00:00Z", subject=f"order/{ORDER}")
    assert story.tell(expiring) == ["condition.raised", "order.updated"]
    assert story.said is not None
    raised = story.said.intents[0]
    assert (raised.data["subject"], raised.data["orderId"], raised.delivery_id) == (
        f"order/{ORDER}",
        ORDER,
        None,
    )


def test_a_higher_count_is_told_again_and_cleared_once() -> None:
    story = Story()
    story.tell(PENDING, SHIP)
    assert "condition.raised" in story.tell(condition("PICKUP_AGING", True, "2025-03-08T00:00:00Z", count=1))
    assert "condition.raised" in story.tell(condition("PICKUP_AGING", True, "2025-03-09T00:00:00Z", count=2))
    told = story.tell(condition("PICKUP_AGING", False, "2025-03-10T00:00:00Z"))
    assert told.count("condition.cleared") == 1
    assert "condition.raised" not in told


def test_a_delivery_that_an_order_no_longer_shows_is_not_told_anew_when_it_comes_back() -> None:
    told = tell_order(fold(known(), SHIP).document, None, AT, NOW)
    assert told is not None
    without = fold(known(), SHIP).document
    without = {**without, "deliveries": [], "state": "PENDING"}
    gone = tell_order(without, told.standing, AT, NOW)
    assert gone is not None
    assert short(gone) == ["order.updated (correction)", "hold evidence_withdrawn"]
    assert gone.holds[0].capture is None
    back = tell_order(fold(known(), SHIP).document, gone.standing, AT, NOW)
    assert back is not None
    assert short(back) == ["order.updated", "let go"]


def test_two_deliveries_are_told_each_for_itself() -> None:
    both = order_answer("2025-03-01T11:00:00Z", package(BOX, "IN_TRANSIT"), package(SECOND_BOX, "PENDING"))
    story = Story()
    assert story.tell(both) == ["delivery.shipped", "order.updated"]
    assert story.tell(event(SHIPPED, "2025-03-02T10:00:00Z", SECOND_BOX)) == [
        "delivery.shipped",
        "order.updated",
    ]
    assert story.capture.delivery_id == SECOND_BOX


# ── Trackers ───────────────────────────────────────────────────────────────────────────────────────────────


class Parcel:
    """A tracker's answers as they come, told after each."""

    def __init__(self) -> None:
        self.facts: list[Arrived] = []
        self.told: bytes | None = None

    def tell(self, *arrived: Arrived) -> list[str]:
        self.facts += arrived
        records = facts_of(self.facts)
        self.said = tell_tracker(fold_tracker("bp", *UPS, records).document, self.told, AT)
        if self.said is None:
            return []
        self.told = self.said.standing
        return short(self.said)


def facts_of(facts: list[Arrived]) -> list[Any]:
    return [fact_of(record) for record in journal(facts)]


MOVED = ("IN_TRANSIT", "2025-03-01T08:00:00Z")
THERE = ("DELIVERED", "2025-03-03T08:00:00Z")


def test_a_tracker_from_beginning_to_end() -> None:
    parcel = Parcel()
    assert parcel.tell(event(MILESTONE, "2025-03-01T09:00:00Z", tracker=UPS)) == ["condition.raised"], (
        "ORPHAN"
    )
    assert parcel.tell(scans("2025-03-01T09:00:00Z", MOVED)) == ["tracker.updated"]
    assert parcel.tell(scans("2025-03-02T09:00:00Z", MOVED)) == []
    assert parcel.tell(scans("2025-03-03T09:00:00Z", MOVED, THERE)) == ["tracker.updated"]
    assert parcel.said is not None
    (told,) = parcel.said.intents
    assert told.about == (told_subject(f"tracker/ups/{UPS[1]}"),)
    assert [m["code"] for m in told.data["milestones"]] == ["IN_TRANSIT", "DELIVERED"]
    late = scans("2025-03-04T09:00:00Z", ("IN_TRANSIT", "2025-03-01T20:00:00Z"), MOVED, THERE)
    assert parcel.tell(late) == ["tracker.updated (history_fill)"]


def test_a_reopened_parcel_is_a_correction() -> None:
    parcel = Parcel()
    parcel.tell(scans("2025-03-03T09:00:00Z", MOVED, THERE))
    again = scans("2025-03-04T10:00:00Z", MOVED, THERE, ("OUT_FOR_DELIVERY", "2025-03-04T09:00:00Z"))
    told = parcel.tell(again)
    assert "tracker.updated (correction)" in told
    assert "condition.raised" in told


def test_a_milestone_that_vanishes_is_a_correction() -> None:
    parcel = Parcel()
    parcel.tell(scans("2025-03-03T09:00:00Z", MOVED, THERE))
    assert parcel.tell(scans("2025-03-03T10:00:00Z", MOVED)) == ["tracker.updated (correction)"]


def test_an_orphan_that_is_adopted_is_none_any_more() -> None:
    parcel = Parcel()
    parcel.tell(scans("2025-03-01T09:00:00Z", MOVED))
    assert parcel.tell(known()) == ["condition.cleared"]
    assert parcel.said is not None
    assert parcel.said.intents[0].about == (told_subject(f"order/{ORDER}"),)


# ── Size ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_told_always_fits() -> None:
    boxes = [
        package(f"box-{n}", "IN_TRANSIT", items=[(f"i-{n}-{m}", "1") for m in range(20)]) for n in range(60)
    ]
    said = tell_order(fold(order_answer("2025-03-01T11:00:00Z", *boxes)).document, None, AT, NOW)
    assert said is not None
    intents = [*said.intents, *(birth.shipped for birth in said.births)]
    assert max(len(msgspec.json.encode(intent)) for intent in intents) < LIMIT + 1_000
    assert intents[0].data["truncated"] is True
    assert len(said.births) == 60


def test_data_is_cut_only_where_it_is_too_large() -> None:
    assert fitted({"a": [1, 2]}) == {"a": [1, 2]}
    cut = fitted({"a": ["x" * 90_000], "b": 1})
    assert cut == {"a": ["x" * 300], "b": 1, "truncated": True}


def test_nothing_of_the_shopper_is_told() -> None:
    shopper = {"contact": {"name": "Ann Example", "email": "ann@example.com"}}
    facts = order_answer("2025-03-01T11:00:00Z", package(BOX, "DELIVERED", tracker=UPS), customer=shopper)
    said = tell_order(fold(facts, SHIP).document, None, AT, NOW)
    assert said is not None
    told = msgspec.json.encode([*said.intents, *said.births])
    assert b"Ann" not in told
    assert b"ann@" not in told


def test_times_are_of_the_fact_else_of_the_newest() -> None:
    said = tell_order(fold(known(), SHIP).document, None, Instant(7), NOW)
    assert said is not None
    (birth,) = said.births
    assert birth.shipped.at == parse_instant("2025-03-01T10:00:00Z")
    assert said.intents[-1].at == 7
