"""What a fold makes news: rules 1-5, 8 and 9 of tracking.md 11, each once, whatever brought it."""

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    Arrived,
    condition,
    event,
    fold,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.shop import EVERYTHING, POLICY, Shop, known, t

from milepost.domain.instant import MINUTE, Instant, format_instant
from milepost.domain.noticing import notice_order
from milepost.domain.notification import KINDS, Occasion
from milepost.domain.record import tracker_subject

KNOWN = known("2025-03-03T08:00:00Z", package(BOX, "PENDING", tracker=UPS))
SHIP = event(SHIPPED, "2025-03-03T16:00:00Z")
ARRIVE = event(DELIVERED, "2025-03-05T20:00:00Z")
PICKED_UP = ("IN_TRANSIT", "2025-03-03T09:00:00-08:00")
OUT = ("OUT_FOR_DELIVERY", "2025-03-05T08:00:00-08:00")
THERE = ("DELIVERED", "2025-03-05T12:00:00-08:00")


def scans(at: str, *codes: tuple[str, str], **more: object) -> Arrived:
    return tracker_answer(at, UPS, *(scan(code, when) for code, when in codes), **more)


def occasions(*arrived: Arrived, before: bytes | None = None, now: str = "2025-03-06T00:00:00Z") -> list[str]:
    """What one fold of these gives, with the rule of what is suppressed at once."""
    noticed = notice_order(fold(*arrived).document, before, t(now), t(now), EVERYTHING)
    return [] if noticed is None else [_name(o) for o in noticed.occasions]


def _name(occasion: Occasion) -> str:
    name = f"{occasion.kind}/{occasion.ordinal}" if occasion.ordinal else occasion.kind
    return f"{name} ({occasion.rule})" if occasion.rule else name


def test_rule_01_a_stage_is_told_when_it_is_entered_and_not_for_every_event() -> None:
    shop = Shop()
    shop.come("2025-03-03T08:00:00Z", KNOWN)
    assert shop.ledger == {}
    shop.come("2025-03-03T16:00:00Z", SHIP)
    assert shop.notice() == 0
    shop.come("2025-03-03T17:05:00Z", event(MILESTONE, "2025-03-03T17:00:00Z", tracker=UPS))
    shop.come("2025-03-03T17:06:00Z", event(SHIPPED, "2025-03-03T17:00:00Z", id="another", key="another"))
    assert [n.kind for n in shop.ledger.values()] == ["shipped"]
    shop.come("2025-03-03T17:10:00Z", scans("2025-03-03T17:10:00Z", PICKED_UP))
    assert [n.kind for n in shop.ledger.values()] == ["shipped", "in_transit"]


def test_rule_02_a_key_is_made_once_whatever_is_folded_again() -> None:
    shop = Shop(EVERYTHING)
    shop.come("2025-03-03T16:00:00Z", KNOWN, SHIP)
    shop.come("2025-03-05T16:10:00Z", scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    shop.come("2025-03-05T20:00:00Z", ARRIVE)
    keys = set(shop.ledger)
    shop.standing = None
    shop.notice()
    assert set(shop.ledger) == keys
    assert len({(n.delivery_id, n.kind, n.ordinal) for n in shop.ledger.values()}) == len(keys)


def test_rule_03_every_kind_can_be_noticed_and_no_other() -> None:
    shop = Shop(EVERYTHING)
    other = package(SECOND_BOX, "PENDING", tracker=USPS)
    both = known("2025-03-03T08:00:00Z", package(BOX, "PENDING", tracker=UPS), other)
    estimate = {"estimatedDeliveryDate": {"earliest": "2025-03-05", "latest": "2025-03-05"}}
    moved = {"estimatedDeliveryDate": {"earliest": "2025-03-07", "latest": "2025-03-07"}}
    path = [PICKED_UP]
    shop.come("2025-03-03T16:00:00Z", both, SHIP, scans("2025-03-03T18:00:00Z", *path, **estimate))
    for step in (
        OUT,
        ("DELIVERY_ATTEMPTED", "2025-03-05T09:00:00-08:00"),
        ("EXCEPTION", "2025-03-05T10:00:00-08:00"),
        ("CUSTOMER_ACTION", "2025-03-05T11:00:00-08:00"),
        ("DELAYED", "2025-03-05T12:00:00-08:00"),
        ("AVAILABLE_FOR_PICKUP", "2025-03-05T13:00:00-08:00"),
        ("LOST", "2025-03-05T14:00:00-08:00"),
        ("IN_TRANSIT", "2025-03-05T14:30:00-08:00"),
        ("DELIVERED", "2025-03-05T15:00:00-08:00"),
        ("OUT_FOR_DELIVERY", "2025-03-05T16:00:00-08:00"),
        ("DELIVERED", "2025-03-05T17:00:00-08:00"),
        ("RETURN_TO_SENDER", "2025-03-05T18:00:00-08:00"),
    ):
        path.append(step)
        when = format_instant(Instant(t(step[1]) + 30 * MINUTE))
        shop.come(when, scans(when, *path, **(moved if step[0] != "OUT_FOR_DELIVERY" else estimate)))
        if step[0] == "AVAILABLE_FOR_PICKUP":
            about = tracker_subject(*UPS)
            shop.come(when, condition("PICKUP_AGING", True, when, about, count=1, days=3))
            shop.come(when, condition("LATE", True, when))
            shop.come(when, condition("NEVER_SCANNED", True, when), condition("STALLED", True, when, about))
    shop.come("2025-03-06T03:00:00Z", event(SHIPPED, "2025-03-06T03:00:00Z", SECOND_BOX))
    shop.come("2025-03-06T03:01:00Z", event(DELIVERED, "2025-03-06T03:01:00Z", SECOND_BOX))
    third = event(CANCELLED, "2025-03-06T04:00:00Z", "8f1c-box-3")
    shop.come("2025-03-06T04:00:00Z", third)
    assert {n.kind for n in shop.ledger.values()} == set(KINDS)


@pytest.mark.parametrize("scan_first", [True, False])
def test_rule_04_the_orders_word_and_the_carriers_are_one_message(scan_first: bool) -> None:
    shop = Shop()
    shop.come("2025-03-03T16:00:00Z", KNOWN, SHIP)
    shop.come("2025-03-03T18:00:00Z", scans("2025-03-03T18:00:00Z", PICKED_UP))
    seen = scans("2025-03-05T20:10:00Z", PICKED_UP, THERE)
    for number, fact in enumerate((seen, ARRIVE) if scan_first else (ARRIVE, seen)):
        shop.come(f"2025-03-05T20:1{number}:00Z", fact)
    shop.wait(60 * 24)
    assert shop.told == ["shipped", "delivered"]
    assert [n.kind for n in shop.ledger.values()].count("delivered") == 1
    assert shop.of("delivered").delivery_id == BOX


def test_rule_04_with_several_parcels_the_carriers_word_is_that_of_all() -> None:
    shop = Shop()
    another = known("2025-03-03T09:00:00Z", package(BOX, "IN_TRANSIT", tracker=USPS))
    shop.come("2025-03-03T16:00:00Z", KNOWN, another, SHIP, scans("2025-03-03T16:00:00Z", PICKED_UP))
    shop.come("2025-03-05T20:10:00Z", scans("2025-03-05T20:10:00Z", PICKED_UP, THERE))
    assert "delivered" not in [n.kind for n in shop.ledger.values()]
    shop.come("2025-03-05T21:00:00Z", tracker_answer("2025-03-05T21:00:00Z", USPS, scan(*THERE)))
    assert shop.of("delivered").state == "WAITING"


def test_rule_04_the_orders_word_is_news_though_a_parcels_scan_was_known() -> None:
    shop = Shop()
    another = known("2025-03-03T09:00:00Z", package(BOX, "IN_TRANSIT", tracker=USPS))
    shop.come("2025-03-05T20:10:00Z", KNOWN, another, SHIP, scans("2025-03-05T20:10:00Z", PICKED_UP, THERE))
    shop.come("2025-03-05T22:00:00Z", event(DELIVERED, "2025-03-05T22:00:00Z"))
    assert shop.of("delivered").state == "WAITING"


def test_rule_04_one_more_parcel_takes_no_delivery_back() -> None:
    shop = Shop(EVERYTHING)
    shop.come("2025-03-05T20:10:00Z", KNOWN, SHIP, scans("2025-03-05T20:10:00Z", PICKED_UP, THERE))
    another = known("2025-03-05T20:15:00Z", package(BOX, "IN_TRANSIT", tracker=USPS))
    shop.come("2025-03-05T20:15:00Z", another)
    shop.come("2025-03-05T21:00:00Z", tracker_answer("2025-03-05T21:00:00Z", USPS, scan(*THERE)))
    shop.wait(60)
    assert "correction" not in [n.kind for n in shop.ledger.values()]
    assert shop.told[-1] == "delivered/2"


def test_rule_05_out_for_delivery_is_told_once_a_local_day() -> None:
    again, tomorrow = (
        ("OUT_FOR_DELIVERY", "2025-03-05T17:30:00-08:00"),  # the next day in UTC
        ("OUT_FOR_DELIVERY", "2025-03-06T08:00:00-08:00"),
    )
    shop = Shop()
    shop.come("2025-03-03T16:00:00Z", KNOWN, SHIP, scans("2025-03-03T18:00:00Z", PICKED_UP))
    shop.come("2025-03-05T16:10:00Z", scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    shop.come("2025-03-06T01:40:00Z", scans("2025-03-06T01:40:00Z", PICKED_UP, OUT, again))
    shop.come("2025-03-06T16:10:00Z", scans("2025-03-06T16:10:00Z", PICKED_UP, OUT, again, tomorrow))
    shop.wait(20)
    assert shop.told == ["shipped", "out_for_delivery/2025-03-05", "out_for_delivery/2025-03-06"]


def test_rule_05_a_scan_in_utc_falls_on_the_day_where_the_parcel_goes() -> None:
    window = {"estimatedDeliveryDate": {"earliest": None, "latest": "2025-03-06T20:00:00-08:00"}}
    utc = replace(POLICY, timezone="UTC")
    for policy, region, more, day in (
        (utc, "NV", {}, "2025-03-05"),
        (utc, None, window, "2025-03-05"),
        (POLICY, None, {}, "2025-03-05"),
        (utc, None, {}, "2025-03-06"),
    ):
        out = scan("OUT_FOR_DELIVERY", "2025-03-06T01:00:00Z")
        out["address"]["region"] = region
        seen = tracker_answer("2025-03-06T01:10:00Z", UPS, out, **more)
        shop = Shop(policy)
        shop.come("2025-03-06T01:10:00Z", KNOWN, SHIP, seen)
        assert shop.of("out_for_delivery", day)


def test_rule_05_in_transit_scans_after_the_first_are_silent() -> None:
    shop = Shop(EVERYTHING)
    second, third = ("IN_TRANSIT", "2025-03-04T09:00:00-08:00"), ("IN_TRANSIT", "2025-03-04T19:00:00-08:00")
    shop.come("2025-03-03T18:00:00Z", KNOWN, SHIP, scans("2025-03-03T18:00:00Z", PICKED_UP))
    shop.come("2025-03-04T18:00:00Z", scans("2025-03-04T18:00:00Z", PICKED_UP, second))
    shop.come("2025-03-05T08:00:00Z", scans("2025-03-05T08:00:00Z", PICKED_UP, second, third))
    assert [n.kind for n in shop.ledger.values()].count("in_transit") == 1


def test_rule_05_a_corrected_time_is_no_other_day() -> None:
    later = ("OUT_FOR_DELIVERY", "2025-03-06T08:00:00-08:00")
    shop = Shop()
    shop.come("2025-03-05T16:10:00Z", KNOWN, SHIP, scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    shop.come("2025-03-06T16:10:00Z", scans("2025-03-06T16:10:00Z", PICKED_UP, later))
    assert shop.fate("out_for_delivery", "2025-03-06") == ("SUPPRESSED", 8)


def test_rule_08_a_scan_that_only_fills_history_is_told_to_nobody() -> None:
    shop = Shop(EVERYTHING)
    shop.come("2025-03-05T16:10:00Z", KNOWN, SHIP, scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    missed = ("DELIVERY_ATTEMPTED", "2025-03-04T12:00:00-08:00")
    shop.come("2025-03-05T18:00:00Z", scans("2025-03-05T18:00:00Z", PICKED_UP, missed, OUT))
    assert shop.fate("attempt_failed", "1") == ("SUPPRESSED", 8)


def test_rule_08_delivered_when_first_seen_is_no_news() -> None:
    """An import, or a reconciler that finds an old order: no event ever named the delivery."""
    imported = (
        known("2025-03-05T21:00:00Z", package(BOX, "DELIVERED", tracker=UPS)),
        scans("2025-03-05T21:00:00Z", PICKED_UP, OUT, THERE),
    )
    found = occasions(*imported)
    assert found == [
        "shipped (8)",
        "in_transit (8)",
        "out_for_delivery/2025-03-05 (8)",
        "delivered (8)",
    ]


def test_rule_08_everything_that_had_arrived_unseen_is_no_news_as_a_whole() -> None:
    packages = (package(BOX, "DELIVERED"), package(SECOND_BOX, "DELIVERED"))
    assert occasions(known("2025-03-05T21:00:00Z", *packages))[-1] == "all_delivered (8)"


def test_rule_08_a_stage_before_one_that_was_told_is_history() -> None:
    shop = Shop(EVERYTHING)
    shop.come("2025-03-05T16:10:00Z", KNOWN, SHIP, scans("2025-03-05T16:10:00Z", OUT))
    back = ("IN_TRANSIT", "2025-03-05T19:00:00-08:00")
    shop.come("2025-03-06T03:10:00Z", scans("2025-03-06T03:10:00Z", OUT, back))
    assert shop.fate("in_transit") == ("SUPPRESSED", 8)


def test_rule_08_what_an_event_told_is_news_though_it_was_delivered_by_then() -> None:
    """Scenario 6: IN_TRANSIT is read when the query says DELIVERED. Only the delivered mail goes out."""
    shop = Shop()
    answer = known("2025-03-05T20:05:00Z", package(BOX, "DELIVERED", tracker=UPS))
    shop.come("2025-03-05T20:05:00Z", event(SHIPPED, "2025-03-05T16:00:00Z"), answer)
    shop.wait(60)
    assert shop.told == ["delivered"]
    assert shop.fate("shipped") == ("SUPPRESSED", 6)


def test_rule_08_what_happened_before_notifications_were_on_is_history() -> None:
    shop = Shop(since="2025-03-04T00:00:00Z")
    shop.come("2025-03-04T01:00:00Z", KNOWN, SHIP, scans("2025-03-04T01:00:00Z", PICKED_UP))
    assert shop.fate("shipped") == ("SUPPRESSED", 8)
    shop.come("2025-03-05T20:00:00Z", ARRIVE)
    shop.wait(60)
    assert shop.told == ["delivered"]


def test_rule_08_a_code_that_is_understood_later_is_no_news() -> None:
    """As after an update that knows one more code: the scan was there, and so were facts after it."""
    drone = scans("2025-03-05T16:10:00Z", PICKED_UP, ("BY_DRONE", OUT[1]))
    mapped = scans("2025-03-05T16:10:00Z", PICKED_UP, OUT)
    before = notice_order(fold(KNOWN, SHIP, drone).document, None, t(OUT[1]), t(OUT[1]), EVERYTHING)
    assert before is not None
    assert occasions(KNOWN, SHIP, mapped, before=before.standing) == ["out_for_delivery/2025-03-05 (8)"]


def test_rule_08_what_a_retraction_uncovers_is_no_news() -> None:
    shop = Shop(EVERYTHING)
    exception = ("EXCEPTION", "2025-03-05T09:00:00-08:00")
    moved = ("IN_TRANSIT", "2025-03-05T10:00:00-08:00")
    shop.come("2025-03-05T18:10:00Z", KNOWN, SHIP, scans("2025-03-05T18:10:00Z", PICKED_UP, exception, moved))
    assert "exception" not in [n.kind for n in shop.ledger.values()]
    shop.come("2025-03-05T19:10:00Z", scans("2025-03-05T19:10:00Z", PICKED_UP, exception))
    assert shop.fate("exception") == ("SUPPRESSED", 8)


def estimated(at: str, day: str | None) -> Arrived:
    window = {"earliest": None, "latest": day}
    return scans(at, PICKED_UP, estimatedDeliveryDate=window)


def test_rule_09_an_estimate_is_news_when_its_local_day_is_later() -> None:
    shop = Shop()
    first, sooner = "2025-03-06T18:00:00-08:00", "2025-03-05T21:00:00-08:00"
    shop.come("2025-03-03T18:00:00Z", KNOWN, SHIP, estimated("2025-03-03T18:00:00Z", first))
    # Six hours later by the clock, and still that day.
    shop.come("2025-03-03T19:00:00Z", estimated("2025-03-03T19:00:00Z", "2025-03-06T23:59:00-08:00"))
    assert "estimate_moved" not in [n.kind for n in shop.ledger.values()]
    shop.come("2025-03-03T20:00:00Z", estimated("2025-03-03T20:00:00Z", sooner))
    assert shop.fate("estimate_moved", "2025-03-05") == ("SUPPRESSED", 9)
    # The shopper was not told that it comes sooner: so it is no news that it does not.
    shop.come("2025-03-03T21:00:00Z", estimated("2025-03-03T21:00:00Z", first))
    assert [n.kind for n in shop.ledger.values()].count("estimate_moved") == 1
    shop.come("2025-03-03T22:00:00Z", estimated("2025-03-03T22:00:00Z", "2025-03-08"))
    moved = shop.of("estimate_moved", "2025-03-08")
    assert (moved.state, moved.data) == (
        "WAITING",
        {"before": "2025-03-06", "day": "2025-03-08", "from": None},
    )


def test_rule_09_an_earlier_day_is_told_where_the_shop_wants_it() -> None:
    shop = Shop(replace(POLICY, earlier_estimates=True))
    shop.come("2025-03-03T18:00:00Z", KNOWN, SHIP, estimated("2025-03-03T18:00:00Z", "2025-03-06"))
    shop.come("2025-03-03T20:00:00Z", estimated("2025-03-03T20:00:00Z", "2025-03-05"))
    assert shop.of("estimate_moved", "2025-03-05").state == "WAITING"


def test_rule_09_of_a_delivery_that_has_ended_no_estimate_is_news() -> None:
    shop = Shop()
    shop.come("2025-03-03T18:00:00Z", KNOWN, SHIP, estimated("2025-03-03T18:00:00Z", "2025-03-06"))
    shop.come("2025-03-05T20:00:00Z", ARRIVE)
    shop.come("2025-03-05T20:10:00Z", estimated("2025-03-05T20:10:00Z", "2025-03-08"))
    assert "estimate_moved" not in [n.kind for n in shop.ledger.values()]


def test_rule_09_that_it_is_late_is_told_once() -> None:
    shop = Shop()
    shop.come("2025-03-03T18:00:00Z", KNOWN, SHIP, scans("2025-03-03T18:00:00Z", PICKED_UP))
    for day, raised in ((7, True), (8, False), (9, True)):
        at = f"2025-03-0{day}T10:00:00Z"
        shop.come(at, condition("LATE", raised, at))
    assert [n.kind for n in shop.ledger.values()].count("estimate_missed") == 1


def test_a_reminder_is_told_each_time_the_parcel_has_waited_longer() -> None:
    shop = Shop()
    ready = ("AVAILABLE_FOR_PICKUP", "2025-03-04T09:00:00-08:00")
    shop.come("2025-03-04T18:00:00Z", KNOWN, SHIP, scans("2025-03-04T18:00:00Z", PICKED_UP, ready))
    about = tracker_subject(*UPS)
    for count, day in ((1, "07"), (2, "09"), (3, "11")):
        at = f"2025-03-{day}T18:00:00Z"
        shop.come(at, condition("PICKUP_AGING", True, at, about, count=count, days=count * 2 + 1))
        shop.wait(20)
    assert shop.told == [
        "ready_for_pickup",
        "pickup_reminder/1",
        "pickup_reminder/2",
        "pickup_reminder/3",
    ]
    assert shop.of("pickup_reminder", "2").data["days"] == 5


def test_every_attempt_has_its_number() -> None:
    shop = Shop()
    one, two = (
        ("DELIVERY_ATTEMPTED", "2025-03-05T12:00:00-08:00"),
        ("DELIVERY_ATTEMPTED", "2025-03-06T12:00:00-08:00"),
    )
    shop.come("2025-03-05T20:10:00Z", KNOWN, SHIP, scans("2025-03-05T20:10:00Z", PICKED_UP, OUT, one))
    shop.come("2025-03-06T20:10:00Z", scans("2025-03-06T20:10:00Z", PICKED_UP, OUT, one, two))
    shop.wait(20)
    assert shop.told == ["attempt_failed/1", "attempt_failed/2"]


def test_something_to_do_is_told_again_when_it_comes_again() -> None:
    shop = Shop()
    one, moves, two = (
        ("CUSTOMER_ACTION", "2025-03-04T09:00:00-08:00"),
        ("IN_TRANSIT", "2025-03-05T09:00:00-08:00"),
        ("CUSTOMER_ACTION", "2025-03-06T09:00:00-08:00"),
    )
    shop.come("2025-03-04T18:00:00Z", KNOWN, SHIP, scans("2025-03-04T18:00:00Z", PICKED_UP, one))
    shop.come("2025-03-05T18:00:00Z", scans("2025-03-05T18:00:00Z", PICKED_UP, one, moves))
    shop.come("2025-03-06T18:00:00Z", scans("2025-03-06T18:00:00Z", PICKED_UP, one, moves, two))
    shop.wait(20)
    assert shop.told == ["shipped", "customer_action", "customer_action/2"]


def test_cancelled_is_told_before_anything_moved_and_undeliverable_after() -> None:
    gone = event(CANCELLED, "2025-03-04T10:00:00Z")
    assert occasions(KNOWN, gone) == ["cancelled"]
    # D2: the contradiction is for those who run the shop.
    assert occasions(KNOWN, SHIP, gone) == ["shipped"]
    ended = known("2025-03-04T11:00:00Z", package(BOX, "CANCELLED", reason="UNDELIVERABLE", tracker=UPS))
    noticed = notice_order(
        fold(KNOWN, SHIP, gone, ended).document, None, t("2025-03-04T12:00:00Z"), t(THERE[1]), EVERYTHING
    )
    assert noticed is not None
    assert [(o.kind, o.data) for o in noticed.occasions] == [
        ("shipped", {}),
        ("exception", {"code": "UNDELIVERABLE"}),
    ]


def test_what_was_lost_and_is_delivered_is_not_lost() -> None:
    lost = scans("2025-03-05T18:10:00Z", PICKED_UP, ("LOST", "2025-03-05T10:00:00-08:00"))
    assert "lost" in occasions(KNOWN, SHIP, lost)
    assert "lost" not in occasions(KNOWN, SHIP, lost, ARRIVE)


def test_nothing_internal_and_nothing_of_a_strangers_parcel_is_news() -> None:
    raised = [condition(code, True, "2025-03-06T00:00:00Z") for code in ("NEVER_SCANNED", "WILL_BE_LATE")]
    contradiction = condition("CONTRADICTION", True, "2025-03-06T00:00:00Z", kind="moving_without_ship_event")
    orphan = tracker_answer("2025-03-06T00:00:00Z", USPS, scan(*THERE))
    assert occasions(KNOWN, SHIP, *raised, contradiction, orphan) == ["shipped"]


def test_a_parcel_that_is_adopted_is_new() -> None:
    """Its scans stand before the answer that joins it to the order, and were seen by nobody."""
    shop = Shop()
    early = known("2025-03-03T08:00:00Z", package(BOX, "PENDING"))
    orphan = scans("2025-03-05T16:10:00Z", PICKED_UP, OUT)
    shop.come("2025-03-05T16:10:00Z", orphan, early, SHIP)
    assert [n.kind for n in shop.ledger.values()] == ["shipped"]
    shop.come("2025-03-05T16:20:00Z", known("2025-03-05T16:20:00Z", package(BOX, "IN_TRANSIT", tracker=UPS)))
    assert shop.of("out_for_delivery", "2025-03-05").state == "WAITING"


def test_nothing_is_noticed_when_nothing_changed() -> None:
    facts = (KNOWN, SHIP, scans("2025-03-05T16:10:00Z", PICKED_UP, OUT))
    order, now = fold(*facts).document, t("2025-03-05T17:00:00Z")
    noticed = notice_order(order, None, now, now, POLICY)
    assert noticed is not None
    assert notice_order(order, noticed.standing, now, now, POLICY) is None
    again = fold(*facts, scans("2025-03-05T18:10:00Z", PICKED_UP, OUT)).document
    assert notice_order(again, noticed.standing, now, now, POLICY) is None


def test_no_standing_and_no_notification_says_who_or_which_parcel() -> None:
    shop = Shop(EVERYTHING)
    shop.come("2025-03-05T16:10:00Z", KNOWN, SHIP, estimated("2025-03-03T18:00:00Z", "2025-03-06"))
    shop.come("2025-03-05T20:10:00Z", scans("2025-03-05T20:10:00Z", PICKED_UP, OUT, THERE), ARRIVE)
    kept = (shop.standing or b"") + msgspec.json.encode(list(shop.ledger.values()))
    for private in (UPS[1], UPS[1].lower(), "Ann", "ann@", "Reno"):
        assert private.encode() not in kept


def test_nothing_is_said_to_have_happened_later_than_now() -> None:
    ahead = scans("2025-03-05T16:10:00Z", PICKED_UP, ("OUT_FOR_DELIVERY", "2025-03-05T23:00:00-08:00"))
    shop = Shop()
    shop.come("2025-03-05T16:10:00Z", KNOWN, SHIP, ahead)
    assert shop.of("out_for_delivery", "2025-03-05").occurred_at == shop.now


def test_a_delivery_that_an_order_shows_no_more_keeps_what_was_noticed() -> None:
    shop = Shop()
    both = known("2025-03-03T08:00:00Z", package(BOX, "PENDING"), package(SECOND_BOX, "PENDING"))
    shop.come("2025-03-03T08:00:00Z", both)
    shop.come("2025-03-04T08:00:00Z", known("2025-03-04T08:00:00Z", package(BOX, "PENDING")))
    shop.come("2025-03-04T09:00:00Z", event(SHIPPED, "2025-03-04T09:00:00Z", SECOND_BOX))
    assert [n.delivery_id for n in shop.ledger.values()] == [SECOND_BOX]
