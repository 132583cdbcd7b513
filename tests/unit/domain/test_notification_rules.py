"""What becomes of a notification that is due: rules 6, 7, 9-14, 16 and 17 of tracking.md 11, scenarios 29 and 30."""

import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    SECOND_BOX,
    SHIPPED,
    THIRD_BOX,
    UPS,
    USPS,
    Arrived,
    condition,
    event,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.shop import EVERYTHING, POLICY, Shop, known, t

from milepost.domain.contact import Choices, Contact
from milepost.domain.instant import DAY, HOUR, MINUTE, Instant
from milepost.domain.notification import HISTORY, Notification, move
from milepost.domain.notification_policy import quiet_hours_from
from milepost.domain.notification_rules import Postpone, Send, Suppress, decide
from milepost.domain.notification_worth import was_told
from milepost.domain.record import tracker_subject

KNOWN = known("2025-03-03T08:00:00Z", package(BOX, "PENDING", tracker=UPS))
SHIP = event(SHIPPED, "2025-03-03T16:00:00Z")
PICKED_UP = ("IN_TRANSIT", "2025-03-03T09:00:00-08:00")
OUT = ("OUT_FOR_DELIVERY", "2025-03-05T08:00:00-08:00")
THERE = ("DELIVERED", "2025-03-05T12:00:00-08:00")


def scans(at: str, *codes: tuple[str, str], of: tuple[str, str] = UPS, **more: object) -> Arrived:
    return tracker_answer(at, of, *(scan(code, when) for code, when in codes), **more)


def shipped_shop(policy: object = POLICY, choices: Choices | None = None) -> Shop:
    shop = Shop(policy, choices)  # type: ignore[arg-type]
    shop.come("2025-03-03T16:00:00Z", KNOWN, SHIP)
    return shop


def asked(shop: Shop, notification: Notification, **changes: object) -> Send | Suppress | Postpone:
    """What the rules say at this moment, of the shop as it stands."""
    values = {
        "order": shop.order,
        "choices": shop.choices,
        "contact": Contact("ann@shopper.example"),
        "settings": shop.policy,
        "now": shop.now,
        **changes,
    }
    return decide(notification, list(shop.ledger.values()), **values)  # type: ignore[arg-type]


# ── 6: the hold, and what overtakes ────────────────────────────────────────────────────────────────────────


def test_rule_06_a_later_stage_within_the_hold_drops_the_earlier() -> None:
    shop = shipped_shop()
    shop.come(
        "2025-03-03T16:05:00Z",
        scans("2025-03-03T16:05:00Z", ("OUT_FOR_DELIVERY", "2025-03-03T08:04:00-08:00")),
    )
    shop.wait(30)
    assert shop.told == ["out_for_delivery/2025-03-03"]
    assert shop.fate("shipped") == ("SUPPRESSED", 6)


@pytest.mark.parametrize(("kind", "minutes"), [("shipped", 10), ("delivered", 30)])
def test_rule_06_it_is_held_so_long_and_no_longer(kind: str, minutes: int) -> None:
    shop = shipped_shop()
    if kind == "delivered":
        shop.wait(60)
        shop.come("2025-03-05T20:00:00Z", event(DELIVERED, "2025-03-05T20:00:00Z"))
    begun = shop.now
    shop.until(Instant(begun + minutes * MINUTE - 1))
    assert kind not in shop.told
    shop.until(Instant(begun + minutes * MINUTE))
    assert shop.told[-1] == kind


def test_rule_06_delivered_overtakes_everything() -> None:
    shop = shipped_shop()
    shop.wait(60)
    facts = (
        ("DELIVERY_ATTEMPTED", "2025-03-05T09:00:00-08:00"),
        ("CUSTOMER_ACTION", "2025-03-05T09:10:00-08:00"),
        ("DELAYED", "2025-03-05T09:20:00-08:00"),
    )
    shop.come("2025-03-05T19:58:00Z", scans("2025-03-05T19:58:00Z", PICKED_UP, OUT, *facts))
    shop.come("2025-03-05T20:01:00Z", scans("2025-03-05T20:01:00Z", PICKED_UP, OUT, *facts, THERE))
    shop.wait(60)
    assert shop.told == ["shipped", "delivered"]
    assert shop.fate("out_for_delivery", "2025-03-05") == ("SUPPRESSED", 6)
    assert shop.fate("attempt_failed", "1") == ("SUPPRESSED", 6)
    assert shop.fate("customer_action") == ("SUPPRESSED", 6)
    assert shop.fate("delayed") == ("SUPPRESSED", 7)


def test_rule_06_a_step_that_becomes_known_after_the_delivery_was_told_is_overtaken() -> None:
    """An event said that it was delivered; the tracker's answer, with the steps before that, came after the message.
    Nothing was reopened, so no person needs to look (rule 10)."""
    shop = shipped_shop()
    shop.wait(60)
    shop.come("2025-03-05T20:01:00Z", event(DELIVERED, "2025-03-05T20:01:00Z"))
    shop.wait(60)
    shop.come("2025-03-05T21:10:00Z", scans("2025-03-05T21:10:00Z", PICKED_UP, OUT, THERE))
    shop.wait(60)
    assert shop.told == ["shipped", "delivered"]
    assert shop.fate("out_for_delivery", "2025-03-05") == ("SUPPRESSED", 6)


def test_rule_06_many_stages_in_one_batch_tell_what_is_still_news() -> None:
    shop = Shop()
    attempt = ("DELIVERY_ATTEMPTED", "2025-03-05T11:00:00-08:00")
    ready = ("AVAILABLE_FOR_PICKUP", "2025-03-05T12:00:00-08:00")
    shop.come(
        "2025-03-05T20:10:00Z", KNOWN, SHIP, scans("2025-03-05T20:10:00Z", PICKED_UP, OUT, attempt, ready)
    )
    shop.wait(60)
    assert shop.told == ["ready_for_pickup"]
    assert {n.rule for n in shop.ledger.values() if n.state == "SUPPRESSED"} == {6, 17}


def test_rule_06_a_stage_that_is_told_to_nobody_overtakes_nothing() -> None:
    without = replace(POLICY, kinds=POLICY.kinds - {"out_for_delivery"})
    unwanted = [(POLICY, Choices((off,))) for off in ("out_for_delivery", "out_for_delivery/email")]
    for policy, choices in ((without, None), *unwanted):
        shop = shipped_shop(policy, choices)
        shop.come(
            "2025-03-03T16:05:00Z",
            scans("2025-03-03T16:05:00Z", ("OUT_FOR_DELIVERY", "2025-03-03T08:04:00-08:00")),
        )
        shop.wait(30)
        assert shop.told == ["shipped"]


def test_rule_06_what_ceased_to_be_so_is_not_told() -> None:
    shop = shipped_shop()
    shop.wait(60)
    shop.come(
        "2025-03-05T17:10:00Z",
        scans("2025-03-05T17:10:00Z", PICKED_UP, ("EXCEPTION", "2025-03-05T09:00:00-08:00")),
    )
    moves = ("IN_TRANSIT", "2025-03-05T09:10:00-08:00")
    shop.come(
        "2025-03-05T17:15:00Z",
        scans("2025-03-05T17:15:00Z", PICKED_UP, ("EXCEPTION", "2025-03-05T09:00:00-08:00"), moves),
    )
    shop.wait(60)
    assert shop.fate("exception") == ("SUPPRESSED", 6)
    shop.come(
        "2025-03-05T18:30:00Z",
        scans("2025-03-05T18:30:00Z", PICKED_UP, ("OUT_FOR_DELIVERY", "2025-03-05T10:20:00-08:00")),
    )
    shop.come("2025-03-05T18:32:00Z", scans("2025-03-05T18:32:00Z", PICKED_UP))
    shop.wait(60)
    assert shop.fate("out_for_delivery", "2025-03-05") == ("SUPPRESSED", 6)


def test_rule_06_a_delivery_that_is_gone_is_told_of_no_more() -> None:
    shop = Shop()
    shop.come("2025-03-03T16:00:00Z", KNOWN, event(CANCELLED, "2025-03-03T16:00:00Z"))
    assert asked(shop, shop.of("cancelled"), order={**shop.order, "deliveries": []}) == Suppress(
        6, "The order does not show this delivery any more."
    )


def test_rule_06_a_return_within_the_hold_overtakes_the_delivery() -> None:
    shop = shipped_shop()
    shop.wait(60)
    back = ("RETURN_TO_SENDER", "2025-03-05T12:10:00-08:00")
    shop.come("2025-03-05T20:11:00Z", scans("2025-03-05T20:11:00Z", PICKED_UP, THERE, back))
    shop.wait(60)
    assert shop.told == ["shipped", "returning"]


def test_rule_06_a_parcel_that_was_found_is_told_of_again() -> None:
    """LOST is soft (T6): once it moves, what comes is news, and the loss is not."""
    shop = shipped_shop()
    shop.wait(60)
    lost, found = ("LOST", "2025-03-05T06:00:00-08:00"), OUT
    shop.come("2025-03-05T15:00:00Z", scans("2025-03-05T15:00:00Z", PICKED_UP, lost))
    shop.wait(30)
    shop.come("2025-03-05T16:05:00Z", scans("2025-03-05T16:05:00Z", PICKED_UP, lost, found))
    shop.wait(30)
    assert shop.told == ["shipped", "lost", "out_for_delivery/2025-03-05"]


def test_rule_06_what_came_again_before_it_was_told_is_told_once() -> None:
    shop = Shop(QUIET)
    there, again = (
        ("DELIVERED", "2025-03-04T22:00:00-08:00"),
        ("OUT_FOR_DELIVERY", "2025-03-04T22:10:00-08:00"),
    )
    really = ("DELIVERED", "2025-03-04T22:30:00-08:00")
    shop.come("2025-03-05T06:05:00Z", KNOWN, SHIP, scans("2025-03-05T06:05:00Z", PICKED_UP, there))
    shop.come("2025-03-05T06:12:00Z", scans("2025-03-05T06:12:00Z", PICKED_UP, there, again))
    shop.come("2025-03-05T06:32:00Z", scans("2025-03-05T06:32:00Z", PICKED_UP, there, again, really))
    shop.until("2025-03-05T17:00:00Z")
    assert shop.told == ["delivered/2"]
    assert shop.fate("delivered") == ("SUPPRESSED", 6)


# ── 7: staleness ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "hours", "sent"),
    [("shipped", 119, True), ("shipped", 121, False), ("delivered", 71, True), ("delivered", 73, False)],
)
def test_rule_07_what_happened_too_long_ago_is_not_told(kind: str, hours: int, sent: bool) -> None:
    shop = shipped_shop()
    if kind == "delivered":
        shop.come("2025-03-03T17:00:00Z", event(DELIVERED, "2025-03-03T17:00:00Z"))
    notification = shop.of(kind)
    now = Instant(notification.occurred_at + hours * HOUR)
    decision = asked(shop, notification, now=now)
    assert isinstance(decision, Send) if sent else decision.rule == 7  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("now", "sent"),
    [("2025-03-06T07:59:00Z", True), ("2025-03-06T08:00:00Z", False)],
)
def test_rule_07_out_for_delivery_ends_with_the_day_where_the_parcel_goes(now: str, sent: bool) -> None:
    shop = shipped_shop()
    shop.come("2025-03-05T16:10:00Z", scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    decision = asked(shop, shop.of("out_for_delivery", "2025-03-05"), now=t(now))
    assert isinstance(decision, Send) if sent else decision.rule == 7  # type: ignore[union-attr]


def test_rule_07_a_day_of_23_hours_ends_earlier() -> None:
    shop = shipped_shop()
    out = ("OUT_FOR_DELIVERY", "2025-03-09T08:00:00-07:00")  # clocks went forward at 02:00
    shop.come("2025-03-09T15:10:00Z", scans("2025-03-09T15:10:00Z", PICKED_UP, out))
    late = shop.of("out_for_delivery", "2025-03-09")
    assert isinstance(asked(shop, late, now=t("2025-03-10T06:59:00Z")), Send)
    assert asked(shop, late, now=t("2025-03-10T07:00:00Z")).rule == 7  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["delayed", "estimate_missed"])
def test_rule_07_that_it_is_late_is_no_news_once_it_is_there(kind: str) -> None:
    shop = shipped_shop()
    shop.wait(60)
    facts = scans("2025-03-05T19:59:00Z", PICKED_UP, ("DELAYED", "2025-03-05T11:50:00-08:00"))
    if kind == "estimate_missed":
        facts = condition("LATE", True, "2025-03-05T19:59:00Z")
    shop.come("2025-03-05T20:00:00Z", facts)
    shop.come("2025-03-05T20:01:00Z", event(DELIVERED, "2025-03-05T20:01:00Z"))
    shop.wait(60)
    assert shop.fate(kind) == ("SUPPRESSED", 7)


# ── 9: estimates ───────────────────────────────────────────────────────────────────────────────────────────


def estimated(at: str, day: str) -> Arrived:
    return scans(at, PICKED_UP, estimatedDeliveryDate={"earliest": None, "latest": day})


def test_rule_09_at_most_one_move_in_24_hours_and_the_last_one_is_not_lost() -> None:
    shop = shipped_shop()
    shop.come("2025-03-03T18:00:00Z", estimated("2025-03-03T18:00:00Z", "2025-03-06"))
    shop.come("2025-03-04T18:00:00Z", estimated("2025-03-04T18:00:00Z", "2025-03-08"))
    shop.come("2025-03-04T22:00:00Z", estimated("2025-03-04T22:00:00Z", "2025-03-10"))
    shop.wait(60)
    assert shop.told == ["shipped", "estimate_moved/2025-03-08"]
    assert shop.fate("estimate_moved", "2025-03-10") == ("WAITING", 9)
    shop.wait(24 * 60)
    assert shop.told[-1] == "estimate_moved/2025-03-10"
    first, second = (n.sent_at for n in shop.sent[1:])
    assert first is not None
    assert second == first + DAY


def test_rule_09_a_digest_does_not_take_along_what_has_to_wait() -> None:
    def expected(at: str, of: tuple[str, str], day: str) -> Arrived:
        return scans(at, PICKED_UP, of=of, estimatedDeliveryDate={"earliest": None, "latest": day})

    shop = Shop()
    both = known(
        "2025-03-03T08:00:00Z",
        package(BOX, "IN_TRANSIT", tracker=UPS),
        package(SECOND_BOX, "IN_TRANSIT", tracker=USPS),
    )
    begun = "2025-03-03T18:00:00Z"
    shop.come(begun, both, expected(begun, UPS, "2025-03-06"), expected(begun, USPS, "2025-03-06"))
    shop.come("2025-03-04T18:00:00Z", expected("2025-03-04T18:00:00Z", UPS, "2025-03-08"))
    shop.until("2025-03-04T22:00:00Z")
    at = "2025-03-04T22:00:00Z"
    shop.come(at, expected(at, UPS, "2025-03-09"), expected(at, USPS, "2025-03-09"))
    shop.wait(30)
    moves = [n for n in shop.sent if n.kind == "estimate_moved"]
    assert [(n.delivery_id, n.covers) for n in moves] == [(BOX, ()), (SECOND_BOX, ())]
    shop.wait(24 * 60)
    last = shop.sent[-1]
    assert (last.delivery_id, last.ordinal) == (BOX, "2025-03-09")


def test_rule_09_an_estimate_that_moved_on_meanwhile_is_not_told() -> None:
    shop = shipped_shop()
    shop.come("2025-03-03T18:00:00Z", estimated("2025-03-03T18:00:00Z", "2025-03-06"))
    shop.come("2025-03-04T18:00:00Z", estimated("2025-03-04T18:00:00Z", "2025-03-08"))
    shop.come("2025-03-04T18:05:00Z", estimated("2025-03-04T18:05:00Z", "2025-03-09"))
    shop.wait(60)
    assert shop.told == ["shipped", "estimate_moved/2025-03-09"]
    assert shop.fate("estimate_moved", "2025-03-08") == ("SUPPRESSED", 9)


# ── 10: taken back ─────────────────────────────────────────────────────────────────────────────────────────

SCANNED_AGAIN = ("OUT_FOR_DELIVERY", "2025-03-06T09:00:00-08:00")
REALLY_THERE = ("DELIVERED", "2025-03-06T15:00:00-08:00")


def reopened(policy: object, *, told: bool = True) -> Shop:
    """Delivered at noon, told or not yet, and scanned by the carrier the next morning, or five minutes later."""
    shop = shipped_shop(policy)
    shop.wait(60)
    shop.come("2025-03-05T20:05:00Z", scans("2025-03-05T20:05:00Z", PICKED_UP, OUT, THERE))
    if told:
        shop.wait(60)
        assert shop.told == ["shipped", "delivered"]
        shop.come("2025-03-06T17:05:00Z", scans("2025-03-06T17:05:00Z", PICKED_UP, OUT, THERE, SCANNED_AGAIN))
    else:
        soon = ("OUT_FOR_DELIVERY", "2025-03-05T12:08:00-08:00")
        shop.come("2025-03-05T20:10:00Z", scans("2025-03-05T20:10:00Z", PICKED_UP, OUT, THERE, soon))
    return shop


def test_rule_10_a_reopened_delivery_tells_the_shopper_nothing() -> None:
    """Scenario 11."""
    shop = reopened(POLICY)
    shop.wait(60)
    assert shop.fate("correction") == ("SUPPRESSED", 10)
    assert shop.fate("out_for_delivery", "2025-03-06") == ("SUPPRESSED", 10)
    shop.come(
        "2025-03-06T23:05:00Z",
        scans("2025-03-06T23:05:00Z", PICKED_UP, OUT, THERE, SCANNED_AGAIN, REALLY_THERE),
    )
    shop.wait(60)
    assert shop.told == ["shipped", "delivered"]
    assert shop.fate("delivered", "2") == ("SUPPRESSED", 10)


def test_rule_10_the_real_delivery_is_told_once_after_a_correction_that_was_sent() -> None:
    shop = reopened(EVERYTHING)
    shop.wait(60)
    assert shop.told == ["shipped", "delivered", "correction"]
    shop.come(
        "2025-03-06T23:05:00Z",
        scans("2025-03-06T23:05:00Z", PICKED_UP, OUT, THERE, SCANNED_AGAIN, REALLY_THERE),
    )
    shop.wait(60)
    assert shop.told == ["shipped", "delivered", "correction", "delivered/2"]


def test_rule_10_one_that_was_taken_back_within_the_hold_is_told_when_it_is_there() -> None:
    shop = reopened(EVERYTHING, told=False)
    shop.wait(60)
    assert shop.fate("delivered") == ("SUPPRESSED", 10)
    assert shop.fate("correction") == ("SUPPRESSED", 10)
    soon = ("OUT_FOR_DELIVERY", "2025-03-05T12:08:00-08:00")
    there = ("DELIVERED", "2025-03-05T14:00:00-08:00")
    shop.come("2025-03-05T22:05:00Z", scans("2025-03-05T22:05:00Z", PICKED_UP, OUT, THERE, soon, there))
    shop.wait(60)
    assert shop.told[-1] == "delivered/2"
    assert "delivered" not in shop.told


def test_rule_10_a_correction_is_not_sent_once_it_is_delivered_after_all() -> None:
    shop = reopened(EVERYTHING)
    shop.come(
        "2025-03-06T17:08:00Z",
        scans(
            "2025-03-06T17:08:00Z",
            PICKED_UP,
            OUT,
            THERE,
            SCANNED_AGAIN,
            ("DELIVERED", "2025-03-06T09:06:00-08:00"),
        ),
    )
    shop.wait(60)
    assert shop.told == ["shipped", "delivered"]
    assert shop.fate("correction") == ("SUPPRESSED", 6)


def test_rule_10_one_that_was_told_with_everything_else_was_told() -> None:
    shop = Shop()
    both = known(
        "2025-03-03T08:00:00Z",
        package(BOX, "IN_TRANSIT", tracker=UPS),
        package(SECOND_BOX, "IN_TRANSIT", tracker=USPS),
    )
    shop.come("2025-03-05T20:05:00Z", both, SHIP, scans("2025-03-05T20:05:00Z", PICKED_UP, OUT, THERE))
    shop.come("2025-03-05T20:06:00Z", scans("2025-03-05T20:06:00Z", THERE, of=USPS))
    shop.wait(60)
    assert shop.fate("delivered", delivery=BOX) == ("SUPPRESSED", 11)
    shop.come("2025-03-06T17:05:00Z", scans("2025-03-06T17:05:00Z", PICKED_UP, OUT, THERE, SCANNED_AGAIN))
    shop.wait(60)
    assert shop.told[-1] == "all_delivered"
    assert shop.fate("out_for_delivery", "2025-03-06") == ("SUPPRESSED", 10)


def test_rule_10_another_time_of_delivery_is_no_second_message() -> None:
    shop = shipped_shop()
    shop.come("2025-03-05T20:05:00Z", scans("2025-03-05T20:05:00Z", PICKED_UP, THERE))
    shop.wait(60)
    later = ("DELIVERED", "2025-03-05T13:30:00-08:00")
    shop.come("2025-03-05T21:35:00Z", scans("2025-03-05T21:35:00Z", PICKED_UP, THERE, later))
    shop.wait(60)
    assert shop.told == ["shipped", "delivered"]


# ── 11: together ───────────────────────────────────────────────────────────────────────────────────────────

BOXES = (BOX, SECOND_BOX, THIRD_BOX)
THREE = known("2025-03-03T08:00:00Z", *(package(box, "PENDING") for box in BOXES))


def ship(at: str, box: str) -> Arrived:
    return event(SHIPPED, at, box)


@pytest.mark.parametrize("minutes", [(0, 0, 0), (0, 5, 9), (0, 25, 55), (0, 30, 119)])
def test_scenario_29_three_parcels_of_an_order_within_an_hour_are_one_digest(
    minutes: tuple[int, ...],
) -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE)
    for box, minute in zip(BOXES, minutes, strict=True):
        at = f"2025-03-03T{16 + minute // 60}:{minute % 60:02d}:00Z"
        shop.come(at, ship(at, box))
    shop.wait(180)
    (digest,) = shop.sent
    assert digest.kind == "shipped"
    others = [n for n in shop.ledger.values() if n.id != digest.id]
    assert sorted(digest.covers) == sorted(n.id for n in others)
    assert {(n.state, n.rule) for n in others} == {("SUPPRESSED", 11)}


def test_rule_11_what_comes_more_than_two_hours_later_is_told_by_itself() -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE)
    for box, at in zip(BOXES, ("16:00", "17:59", "18:01"), strict=True):
        shop.come(f"2025-03-03T{at}:00Z", ship(f"2025-03-03T{at}:00Z", box))
    shop.wait(180)
    assert [len(n.covers) for n in shop.sent] == [1, 0]
    assert shop.sent[0].sent_at is not None
    assert shop.sent[0].sent_at <= t("2025-03-03T18:10:00Z")


def test_rule_11_it_waits_only_while_another_may_follow() -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE)
    shop.come(
        "2025-03-03T16:00:00Z", ship("2025-03-03T16:00:00Z", BOX), ship("2025-03-03T16:00:00Z", SECOND_BOX)
    )
    shop.wait(15)
    assert shop.sent == []
    gone = event(CANCELLED, "2025-03-03T16:20:00Z", THIRD_BOX)
    shop.come("2025-03-03T16:20:00Z", gone)
    shop.until("2025-03-03T18:10:00Z")
    shipped = next(n for n in shop.sent if n.kind == "shipped")
    assert len(shipped.covers) == 1


def test_rule_11_one_that_is_overtaken_is_in_no_digest() -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE)
    shop.come("2025-03-03T16:00:00Z", *(ship("2025-03-03T16:00:00Z", box) for box in BOXES))
    shop.come("2025-03-03T16:05:00Z", event(DELIVERED, "2025-03-03T16:05:00Z", THIRD_BOX))
    shop.until("2025-03-03T16:30:00Z")
    (digest,) = shop.sent
    assert len(digest.covers) == 1
    assert shop.fate("shipped", delivery=THIRD_BOX) == ("SUPPRESSED", 6)


def test_rule_11_no_digest_before_the_hold_of_each_is_over() -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE)
    shop.come("2025-03-03T16:00:00Z", *(ship("2025-03-03T16:00:00Z", box) for box in BOXES[:2]))
    shop.come("2025-03-03T17:58:00Z", ship("2025-03-03T17:58:00Z", THIRD_BOX))
    shop.until("2025-03-03T18:07:00Z")
    assert shop.sent == []
    shop.come("2025-03-03T18:07:00Z", event(DELIVERED, "2025-03-03T18:07:00Z", THIRD_BOX))
    shop.wait(15)
    (digest,) = shop.sent
    assert len(digest.covers) == 1


def test_rule_11_that_everything_arrived_replaces_the_last_delivery() -> None:
    shop = Shop()
    both = known("2025-03-03T08:00:00Z", *(package(box, "PENDING") for box in (BOX, SECOND_BOX)))
    shop.come(
        "2025-03-03T16:00:00Z",
        both,
        ship("2025-03-03T16:00:00Z", BOX),
        ship("2025-03-03T16:00:00Z", SECOND_BOX),
    )
    shop.come("2025-03-04T16:00:00Z", event(DELIVERED, "2025-03-04T16:00:00Z", BOX))
    shop.come("2025-03-05T16:00:00Z", event(DELIVERED, "2025-03-05T16:00:00Z", SECOND_BOX))
    shop.wait(120)
    assert shop.told == ["shipped", "delivered", "all_delivered"]
    assert shop.sent[-1].covers == (shop.of("delivered", delivery=SECOND_BOX).id,)
    assert shop.fate("delivered", delivery=SECOND_BOX) == ("SUPPRESSED", 11)


def test_rule_11_where_nobody_wants_that_the_last_delivery_is_told() -> None:
    without = replace(POLICY, kinds=POLICY.kinds - {"all_delivered"})
    for policy, choices in ((without, None), (POLICY, Choices(("all_delivered",)))):
        shop = Shop(policy, choices)
        both = known("2025-03-03T08:00:00Z", *(package(box, "IN_TRANSIT") for box in (BOX, SECOND_BOX)))
        shop.come("2025-03-04T16:00:00Z", both, event(DELIVERED, "2025-03-04T16:00:00Z", BOX))
        shop.come("2025-03-05T16:00:00Z", event(DELIVERED, "2025-03-05T16:00:00Z", SECOND_BOX))
        shop.wait(120)
        assert shop.told[-2:] == ["delivered", "delivered"]


def test_rule_11_a_delivery_that_comes_after_everything_is_told_by_itself() -> None:
    shop = Shop()
    both = known("2025-03-03T08:00:00Z", *(package(box, "IN_TRANSIT") for box in (BOX, SECOND_BOX)))
    arrivals = [event(DELIVERED, "2025-03-04T16:00:00Z", box) for box in (BOX, SECOND_BOX)]
    shop.come("2025-03-04T16:00:00Z", both, *arrivals)
    shop.wait(120)
    assert shop.told == ["all_delivered"]
    assert len(shop.sent[0].covers) == 2
    shop.come("2025-03-05T16:00:00Z", ship("2025-03-05T16:00:00Z", THIRD_BOX))
    shop.come("2025-03-06T16:00:00Z", event(DELIVERED, "2025-03-06T16:00:00Z", THIRD_BOX))
    shop.wait(120)
    assert shop.told == ["all_delivered", "shipped", "delivered"]


def test_rule_11_a_cancelled_delivery_does_not_stop_everything() -> None:
    """Scenario 9."""
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", THREE, event(CANCELLED, "2025-03-03T08:00:00Z", THIRD_BOX))
    arrivals = [event(DELIVERED, "2025-03-04T16:00:00Z", box) for box in (BOX, SECOND_BOX)]
    shop.come("2025-03-04T16:00:00Z", *arrivals)
    shop.wait(120)
    assert shop.told == ["cancelled", "all_delivered"]


def test_rule_11_a_single_delivery_is_not_everything() -> None:
    shop = shipped_shop()
    shop.come("2025-03-05T16:00:00Z", event(DELIVERED, "2025-03-05T16:00:00Z"))
    assert "all_delivered" not in [n.kind for n in shop.ledger.values()]


# ── 12: not too many ───────────────────────────────────────────────────────────────────────────────────────


def eventful(policy: object) -> Shop:
    """A day on which much happens."""
    shop = shipped_shop(policy)
    path = [PICKED_UP]
    for at, code, when in (
        ("15:10", "OUT_FOR_DELIVERY", "07:00"),
        ("16:10", "EXCEPTION", "08:00"),
        ("17:10", "DELAYED", "09:00"),
        ("18:10", "DELIVERY_ATTEMPTED", "10:00"),
        ("19:10", "CUSTOMER_ACTION", "11:00"),
        ("20:10", "AVAILABLE_FOR_PICKUP", "12:00"),
    ):
        path.append((code, f"2025-03-05T{when}:00-08:00"))
        shop.come(f"2025-03-05T{at}:00Z", scans(f"2025-03-05T{at}:00Z", *path))
    shop.wait(60)
    return shop


def test_rule_12_an_order_has_so_many_messages_a_local_day_and_urgent_ones_besides() -> None:
    shop = eventful(POLICY)
    assert shop.told == [
        "shipped",
        "out_for_delivery/2025-03-05",
        "exception",
        "delayed",
        "attempt_failed/1",
        "customer_action",
    ]
    assert shop.fate("ready_for_pickup") == ("SUPPRESSED", 12)


def test_rule_12_the_next_local_day_counts_anew() -> None:
    shop = eventful(POLICY)
    shop.come("2025-03-06T07:30:00Z", condition("LATE", True, "2025-03-06T07:30:00Z"))  # 23:30 there
    shop.wait(20)
    assert shop.fate("estimate_missed") == ("SUPPRESSED", 12)
    late = condition("PICKUP_AGING", True, "2025-03-08T20:00:00Z", tracker_subject(*UPS), count=1, days=3)
    shop.come("2025-03-08T20:00:00Z", late)
    shop.wait(20)
    assert shop.told[-1] == "pickup_reminder/1"


def test_rule_12_one_that_was_not_sent_does_not_count() -> None:
    shop = eventful(replace(POLICY, per_day=4))
    assert "ready_for_pickup" in shop.told
    assert shop.fate("in_transit") == ("SUPPRESSED", 17)


# ── 13: preferences, channels, quiet hours ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("off", "channel"),
    [
        ((), "email"),
        (("shipped/email",), "webhook"),
        (("shipped/webhook",), "email"),
        (("delivered",), "email"),
        (("shipped",), None),
        (("shipped/email", "shipped/webhook"), None),
        (("all",), None),
    ],
)
def test_rule_13_preferences_by_kind_and_channel_and_the_next_channel(
    off: tuple[str, ...], channel: str | None
) -> None:
    shop = shipped_shop(replace(POLICY, channels=("email", "webhook")), Choices(off))
    shop.wait(20)
    assert shop.of("shipped").channel == channel
    if channel is None:
        assert shop.fate("shipped") == ("SUPPRESSED", 13)


def test_rule_13_without_an_address_the_next_channel_is_taken() -> None:
    shop = Shop(replace(POLICY, channels=("email", "webhook")))
    nobody = known("2025-03-03T08:00:00Z", package(), email=None)
    shop.come("2025-03-03T16:00:00Z", nobody, SHIP)
    shop.wait(20)
    assert shop.of("shipped").channel == "webhook"


def test_rule_13_the_locale_is_the_shoppers_else_the_shops() -> None:
    for choices, locale in ((Choices(), "en"), (Choices(locale="es"), "es")):
        shop = shipped_shop(POLICY, choices)
        shop.wait(20)
        assert shop.of("shipped").locale == locale


def test_rule_13_who_is_on_the_suppression_list_gets_nothing_by_any_channel() -> None:
    shop = shipped_shop(replace(POLICY, channels=("webhook", "email")), Choices(blocked="bounced"))
    shop.wait(20)
    assert shop.fate("shipped") == ("SUPPRESSED", 13)
    assert "bounced" not in shop.of("shipped").reason


QUIET = replace(POLICY, quiet_hours=quiet_hours_from("21:00-08:00"))


@pytest.mark.parametrize(
    ("shipped_at", "sent_at"),
    [
        ("2025-03-04T04:40:00Z", "2025-03-04T04:50:00Z"),  # 20:50 there
        ("2025-03-04T04:55:00Z", "2025-03-04T16:00:00Z"),  # 21:05 there
        ("2025-03-04T15:40:00Z", "2025-03-04T16:00:00Z"),  # 07:50 there
        ("2025-03-04T15:50:00Z", "2025-03-04T16:00:00Z"),  # 08:00 there
        ("2025-03-09T06:00:00Z", "2025-03-09T15:00:00Z"),  # the night in which clocks go forward
        ("2025-11-02T06:00:00Z", "2025-11-02T16:00:00Z"),  # the night in which they go back
    ],
)
def test_rule_13_quiet_hours_are_those_where_the_parcel_goes(shipped_at: str, sent_at: str) -> None:
    shop = Shop(QUIET)
    shop.come(shipped_at, known(shipped_at, package()), event(SHIPPED, shipped_at))
    shop.wait(24 * 60)
    assert shop.of("shipped").sent_at == t(sent_at)


def test_rule_13_what_is_overtaken_in_the_night_is_dropped_in_the_morning() -> None:
    shop = Shop(QUIET)
    shop.come("2025-03-05T07:00:00Z", KNOWN, event(SHIPPED, "2025-03-05T07:00:00Z"))
    shop.come(
        "2025-03-05T15:00:00Z",
        scans("2025-03-05T15:00:00Z", ("OUT_FOR_DELIVERY", "2025-03-05T06:50:00-08:00")),
    )
    shop.wait(120)
    assert shop.told == ["out_for_delivery/2025-03-05"]


def test_rule_13_urgent_ones_come_through_at_night() -> None:
    shop = Shop(QUIET)
    action = ("CUSTOMER_ACTION", "2025-03-04T22:00:00-08:00")
    shop.come("2025-03-05T06:10:00Z", KNOWN, SHIP, scans("2025-03-05T06:10:00Z", PICKED_UP, action))
    shop.wait(20)
    assert shop.told == ["customer_action"]


def test_rule_13_the_zone_is_the_one_that_the_carrier_wrote_for_the_destination() -> None:
    shop = Shop(QUIET)
    window = {"earliest": None, "latest": "2025-03-06T20:00:00-05:00"}
    estimate = scans("2025-03-05T12:55:00Z", PICKED_UP, estimatedDeliveryDate=window)
    shop.come("2025-03-05T12:55:00Z", KNOWN, event(SHIPPED, "2025-03-05T12:55:00Z"), estimate)
    shop.wait(60)
    assert shop.of("shipped").sent_at == t("2025-03-05T13:05:00Z")  # 08:05 at -05:00, 05:05 by the calendar


def test_scenario_30_who_opts_out_between_intent_and_send_gets_nothing() -> None:
    for choices in (Choices(("all",)), Choices(("shipped",)), Choices(blocked="complained")):
        shop = shipped_shop()
        assert shop.of("shipped").state == "WAITING"
        shop.choices = choices
        shop.wait(20)
        assert (shop.sent, shop.fate("shipped")) == ([], ("SUPPRESSED", 13))


# ── 14, 16, 17 and by hand ─────────────────────────────────────────────────────────────────────────────────


def test_rule_14_every_one_that_is_not_sent_says_by_which_rule_and_why() -> None:
    shop = eventful(POLICY)
    shop.come("2025-03-05T22:00:00Z", event(DELIVERED, "2025-03-05T22:00:00Z"))
    shop.wait(60)
    for notification in shop.ledger.values():
        last = notification.history[-1]
        assert (last.rule, last.reason) == (notification.rule, notification.reason)
        if notification.state == "SUPPRESSED":
            assert 1 <= notification.rule <= 17
            assert notification.reason.endswith(".")
        else:
            assert (notification.state, notification.rule) == ("SENT", 0)


def test_rule_16_the_contact_is_read_when_it_is_sent() -> None:
    shop = shipped_shop()
    shop.come(
        "2025-03-03T16:05:00Z",
        known("2025-03-03T16:05:00Z", package(BOX, "IN_TRANSIT"), email="new@shopper.example"),
    )
    assert shop.contact(shop.order).email == "new@shopper.example"
    notification = shop.of("shipped")
    assert "email" not in notification.__struct_fields__
    assert asked(shop, notification, contact=Contact()) == Suppress(16, "The order names no address.")
    assert asked(shop, notification, order=None) == Suppress(16, "Nothing is known of the order any more.")


def test_rule_17_what_amazon_tells_already_is_switched_off_by_kind() -> None:
    shop = Shop(replace(POLICY, kinds=POLICY.kinds - {"shipped"}))
    shop.come("2025-03-03T16:00:00Z", KNOWN, SHIP)
    shop.come("2025-03-05T20:00:00Z", event(DELIVERED, "2025-03-05T20:00:00Z"))
    shop.wait(60)
    assert shop.told == ["delivered"]
    assert shop.fate("shipped") == ("SUPPRESSED", 17)


def test_an_agent_overrules_what_an_agent_may() -> None:
    shop = eventful(POLICY)
    notification = move(shop.of("ready_for_pickup"), "resend", shop.now, "key-1", by_hand=True)
    assert isinstance(asked(shop, notification, settings=QUIET), Send)
    assert isinstance(asked(shop, notification, settings=replace(POLICY, kinds=frozenset())), Send)
    for changes, rule in (
        ({"choices": Choices(("all",))}, 13),
        ({"choices": Choices(blocked="bounced")}, 13),
        ({"contact": Contact()}, 16),
        ({"order": None}, 16),
    ):
        decision = asked(shop, notification, **changes)
        assert isinstance(decision, Suppress)
        assert decision.rule == rule


def test_what_went_out_is_known_to_have_however_often_it_is_postponed_since() -> None:
    shop = shipped_shop()
    shop.wait(20)
    notification = move(shop.of("shipped"), "resend", shop.now, "key-1", by_hand=True)
    for _ in range(HISTORY):
        notification = move(notification, "postpone", shop.now, "notifier", reason="the channel email is out")
    assert "SENT" not in {step.state for step in notification.history}
    assert was_told(notification)
