"""What is booked of a delivery: which day and period, from which view, and which rows a change makes."""

from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
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
    Arrived,
    condition,
    event,
    fold,
    order_answer,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.accounting import Entry
from milepost.domain.booking import (
    INFERRED,
    Booking,
    Posting,
    Statement,
    book_order,
    delivered_content,
    due_rows,
    ended_at,
    following,
    is_period,
    rows_of,
    settled_rows,
    shipped_content,
    standing_row,
    statement_of,
)
from milepost.domain.instant import DAY, Instant, parse_instant
from milepost.domain.local_time import local_day
from milepost.domain.place import zone_of

NOW = parse_instant("2025-02-03T00:00:00Z")
SETTLE = 7 * DAY
LOS_ANGELES, CHICAGO = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/Chicago")
KNOWN = order_answer("2025-01-29T00:00:00Z", package(tracker=UPS))
SCANNED_AT = "2025-02-04T00:00:00Z"


def at(code: str, when: str, region: str | None = None, country: str | None = "US") -> dict[str, Any]:
    """A scan, at a place of this region."""
    return scan(code, when) | {"address": {"locality": "Somewhere", "region": region, "country": country}}


def scanned(*scans: dict[str, Any], when: str = SCANNED_AT) -> Arrived:
    return tracker_answer(when, UPS, *scans)


def shipped(*arrived: Arrived, origin: tzinfo = UTC) -> Statement | None:
    delivery = fold(KNOWN, *arrived).delivery()
    return statement_of(delivery, "shipped", shipped_content(delivery, origin))


def delivered(*arrived: Arrived, origin: tzinfo = UTC) -> Statement | None:
    delivery = fold(KNOWN, *arrived).delivery()
    return statement_of(delivery, "delivered", delivered_content(delivery, origin))


def days(statement: Statement | None) -> tuple[str, str, str, str]:
    """(origin, destination, zone, tax period)."""
    assert statement is not None
    return statement.origin_date, statement.destination_date, statement.zone, statement.tax_period


ARRIVED = event(DELIVERED, "2025-02-01T08:00:00Z")


# ── Scenario 19 ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("when", "region", "wanted"),
    [
        pytest.param(
            "2025-01-31T23:30:00-08:00", "CA", ("2025-01-31", "offset-explicit"), id="its own offset"
        ),
        pytest.param("2025-01-31T23:30:00-08:00", None, ("2025-01-31", "offset-explicit"), id="no place"),
        pytest.param("2025-02-01T07:30:00Z", "CA", ("2025-01-31", INFERRED), id="UTC is the next month"),
        pytest.param("2025-02-01T07:30:00Z", "California", ("2025-01-31", INFERRED), id="a region's name"),
        pytest.param(
            "2025-02-01T04:30:00Z", "US-NY", ("2025-01-31", INFERRED), id="a region with its country"
        ),
        pytest.param("2025-02-01T07:30:00Z", None, ("2025-02-01", "utc"), id="UTC and nothing else is known"),
        pytest.param("2025-01-31", "CA", ("2025-01-31", "date-only"), id="a date alone"),
        pytest.param("2025-01-31T23:30:00", "CA", ("2025-01-31", "unknown"), id="no zone: as it was written"),
        pytest.param("2025-04-01T03:30:00Z", "NY", ("2025-03-31", INFERRED), id="daylight saving time"),
        pytest.param(
            "2025-11-01T06:30:00Z", "CA", ("2025-10-31", INFERRED), id="the day before clocks go back"
        ),
        pytest.param(
            "2025-12-01T04:30:00Z", "NY", ("2025-11-30", INFERRED), id="the same hour is standard time"
        ),
        pytest.param("2025-12-01T03:30:00-05:00", "NY", ("2025-12-01", "offset-explicit"), id="the next day"),
    ],
)
@pytest.mark.parametrize("code", ["DELIVERED", "IN_TRANSIT"])
def test_scenario_19_a_scan_at_2330_on_month_end_is_in_that_months_tax_period(
    code: str, when: str, region: str | None, wanted: tuple[str, str]
) -> None:
    facts = scanned(at(code, when, region), when="2026-02-04T00:00:00Z")
    came = event(DELIVERED, "2025-12-03T08:00:00Z")
    found = shipped(facts) if code == "IN_TRANSIT" else delivered(facts, came)
    day, zone = wanted
    origin, destination, known, period = days(found)
    assert (destination if code == "DELIVERED" else origin, known, period) == (day, zone, day[:7])


def test_scenario_19_where_a_parcel_is_sent_from_decides_what_only_an_event_says() -> None:
    """No scan tells a place: the day is reckoned where parcels are sent from, as the settings say."""
    ship = event(SHIPPED, "2025-02-01T07:30:00Z")
    assert days(shipped(ship, origin=LOS_ANGELES)) == ("2025-01-31", "2025-01-31", INFERRED, "2025-01")
    assert days(shipped(ship)) == ("2025-02-01", "2025-02-01", "utc", "2025-02")


def test_scenario_19_the_last_miles_place_decides_what_only_an_event_says_of_the_arrival() -> None:
    out = scanned(at("OUT_FOR_DELIVERY", "2025-02-01T01:00:00Z", "NV"))
    found = delivered(out, event(DELIVERED, "2025-02-01T07:30:00Z"))
    assert days(found) == ("2025-02-01", "2025-01-31", INFERRED, "2025-01")


def test_each_place_has_its_own_day() -> None:
    """Shipped late in the evening in Los Angeles, when it is the next day in New York; delivered early there."""
    scans = scanned(
        at("IN_TRANSIT", "2025-01-31T22:30:00-08:00", "CA"),
        at("OUT_FOR_DELIVERY", "2025-02-03T06:00:00-05:00", "NY"),
        at("DELIVERED", "2025-02-04T00:30:00-05:00", "NY"),
        when="2025-02-05T00:00:00Z",
    )
    facts = scans, event(DELIVERED, "2025-02-04T06:00:00Z")
    assert days(shipped(*facts)) == ("2025-01-31", "2025-02-01", "offset-explicit", "2025-01")
    assert days(delivered(*facts, origin=LOS_ANGELES)) == (
        "2025-02-03",
        "2025-02-04",
        "offset-explicit",
        "2025-02",
    )


def test_scans_on_the_way_back_are_not_where_the_shopper_is() -> None:
    scans = scanned(
        at("IN_TRANSIT", "2025-01-31T12:00:00Z", "CA"),
        at("OUT_FOR_DELIVERY", "2025-02-01T12:00:00Z", "NY"),
        at("RETURN_TO_SENDER", "2025-02-02T12:00:00Z", "NY"),
        at("OUT_FOR_DELIVERY", "2025-02-03T12:00:00Z", "HI"),
    )
    found = shipped(scans, origin=CHICAGO)
    assert found is not None
    assert found.destination_date == local_day(found.occurred_at, ZoneInfo("America/New_York"))


# ── What is stated ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_cancellation_without_movement_books_nothing() -> None:
    assert shipped(event(CANCELLED, "2025-01-30T00:00:00Z")) is None
    assert delivered(event(CANCELLED, "2025-01-30T00:00:00Z")) is None
    document = fold(KNOWN, event(CANCELLED, "2025-01-30T00:00:00Z")).document
    assert book_order(document, None, UTC) is None


def test_a_label_books_nothing() -> None:
    assert shipped(scanned(at("INFO_RECEIVED", "2025-01-30T00:00:00Z"))) is None


def test_what_was_only_seen_delivered_shipped_by_then() -> None:
    found = shipped(ARRIVED)
    assert found is not None
    assert found.occurred_at == parse_instant("2025-02-01T08:00:00Z")
    assert found.evidence == {
        "kind": "event",
        "type": DELIVERED,
        "at": "2025-02-01T08:00:00Z",
        "source": "event",
        "position": 2,
    }


def test_a_shipment_that_could_not_be_delivered_is_still_a_shipment() -> None:
    undeliverable = order_answer(
        "2025-02-03T00:00:00Z", package(state="CANCELLED", reason="UNDELIVERABLE", tracker=UPS)
    )
    facts = event(SHIPPED, "2025-01-31T00:00:00Z"), undeliverable
    assert shipped(*facts) is not None
    assert delivered(*facts) is None


def test_a_reopened_delivery_is_not_delivered_until_it_is_again() -> None:
    there = at("DELIVERED", "2025-02-01T07:00:00Z", "NY")
    out = at("OUT_FOR_DELIVERY", "2025-02-01T19:00:00Z", "NY")
    again = at("DELIVERED", "2025-02-02T07:00:00Z", "NY")
    assert delivered(ARRIVED, scanned(there)) is not None
    assert delivered(ARRIVED, scanned(there, out)) is None
    found = delivered(ARRIVED, scanned(there, out, again))
    assert found is not None
    assert found.occurred_at == parse_instant("2025-02-02T07:00:00Z")


def test_a_return_after_the_arrival_leaves_it_booked() -> None:
    scans = scanned(at("DELIVERED", "2025-02-01T07:00:00Z"), at("RETURN_TO_SENDER", "2025-02-02T07:00:00Z"))
    assert delivered(ARRIVED, scans) is not None


def test_evidence_names_the_scan_and_no_parcel() -> None:
    found = delivered(ARRIVED, scanned(at("DELIVERED", "2025-02-01T07:00:00Z", "NY")))
    assert found is not None
    assert found.evidence == {
        "kind": "milestone",
        "type": "DELIVERED",
        "at": "2025-02-01T07:00:00Z",
        "source": "milestone",
        "position": 3,
    }


# ── What changed ───────────────────────────────────────────────────────────────────────────────────────────


def booked(*arrived: Arrived, before: bytes | None = None) -> Booking | None:
    return book_order(fold(KNOWN, *arrived).document, before, UTC)


def changes(booking: Booking | None) -> list[tuple[str, str, bool, bool]]:
    """(delivery, kind, whether it is stated, whether it is doubted)."""
    return (
        []
        if booking is None
        else [(c.delivery_id, c.kind, c.statement is not None, c.doubted) for c in booking.changes]
    )


SHIP = event(SHIPPED, "2025-01-30T00:00:00Z")


def test_only_what_changed_is_a_change() -> None:
    first = booked(SHIP)
    assert changes(first) == [(BOX, "shipped", True, False)]
    assert first is not None
    assert booked(SHIP, before=first.encoded()) is None
    second = booked(SHIP, ARRIVED, before=first.encoded())
    assert changes(second) == [(BOX, "delivered", True, False)]


def test_a_delivery_that_the_order_shows_no_more_is_withdrawn() -> None:
    both = fold(KNOWN, SHIP, event(SHIPPED, "2025-01-30T00:00:00Z", SECOND_BOX)).document
    before = book_order(both, None, UTC)
    assert before is not None
    one = {**both, "deliveries": [d for d in both["deliveries"] if d["id"] != SECOND_BOX]}
    after = book_order(one, before.encoded(), UTC)
    assert changes(after) == [(SECOND_BOX, "shipped", False, False)]
    assert after is not None
    assert book_order(one, after.encoded(), UTC) is None


def test_a_contradiction_is_a_change_of_what_is_stated_and_its_end_another() -> None:
    raised = condition("CONTRADICTION", True, "2025-02-02T00:00:00Z", kind="delivered_without_tracker")
    cleared = condition("CONTRADICTION", False, "2025-02-03T00:00:00Z", kind="delivered_without_tracker")
    before = booked(SHIP, ARRIVED)
    assert before is not None
    doubted = booked(SHIP, ARRIVED, raised, before=before.encoded())
    assert changes(doubted) == [(BOX, "shipped", True, True), (BOX, "delivered", True, True)]
    assert doubted is not None
    again = booked(SHIP, ARRIVED, raised, cleared, before=doubted.encoded())
    assert changes(again) == [(BOX, "shipped", True, False), (BOX, "delivered", True, False)]


def test_what_came_back_after_its_removal_keeps_its_rows() -> None:
    first = booked(SHIP)
    assert first is not None
    kept = replace(first, standing=tuple(replace(b, kept=True) for b in first.standing)).encoded()
    other = event(SHIPPED, "2025-02-20T00:00:00Z", id="another")
    assert booked(other, before=kept) is None
    after = booked(other, ARRIVED, before=kept)
    assert changes(after) == [(BOX, "delivered", True, False)]
    assert after is not None
    assert after.changes[0].first
    assert booked(before=after.encoded()) is None


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────────────────


def posting(*closed: str, now: Instant = NOW) -> Posting:
    return Posting(now, SETTLE, set(closed))


class Rows:
    """The rows of one delivery's shipment, as it is folded again and again."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._before: bytes | None = None

    def fold(self, *arrived: Arrived, closed: tuple[str, ...] = (), erased: bool = False) -> list[Entry]:
        booking = booked(*arrived, before=self._before)
        if booking is None:
            return []
        self._before = booking.encoded()
        posted: list[Entry] = []
        for change in booking.changes:
            mine = rows_of(self.entries, change.delivery_id, change.kind)
            posted += due_rows(booking, change, mine, posting(*closed), erased=erased)
        self.entries += posted
        return posted


def said(entries: list[Entry]) -> list[tuple[int, int, str, str, str]]:
    return [(e.sign, e.revision, e.reason, e.tax_period, e.posting_period) for e in entries]


EARLIER = scanned(at("IN_TRANSIT", "2025-01-29T00:00:00Z"))


def test_something_new_is_one_row() -> None:
    (row,) = Rows().fold(SHIP)
    assert (row.business_product_id, row.order_id, row.delivery_id) == (BP, ORDER, BOX)
    assert said([row]) == [(1, 1, "new", "2025-01", "2025-01")]
    assert (row.kind, row.status, row.posted_at, row.settles_at) == (
        "shipped",
        "provisional",
        NOW,
        NOW + SETTLE,
    )


def test_a_correction_reverses_and_restates() -> None:
    rows = Rows()
    (first,) = rows.fold(SHIP)
    reversal, restated = rows.fold(SHIP, EARLIER)
    assert said([reversal, restated]) == [
        (-1, 1, "correction", "2025-01", "2025-01"),
        (1, 2, "correction", "2025-01", "2025-01"),
    ]
    assert reversal.occurred_at == first.occurred_at
    assert restated.occurred_at == parse_instant("2025-01-29T00:00:00Z")
    assert len({first.id, reversal.id, restated.id}) == 3
    assert rows.fold(SHIP, EARLIER) == []


def test_a_correction_after_close_is_posted_to_the_first_open_period() -> None:
    rows = Rows()
    rows.fold(SHIP)
    posted = rows.fold(SHIP, EARLIER, closed=("2025-01", "2025-02"))
    assert said(posted) == [
        (-1, 1, "correction", "2025-01", "2025-03"),
        (1, 2, "correction", "2025-01", "2025-03"),
    ]


def test_a_correction_into_another_period_goes_where_each_belongs() -> None:
    """It was thought to have shipped in February; a scan shows that it was January, which is closed or not."""
    for closed, stated in (((), "2025-01"), (("2025-01",), "2025-02")):
        rows = Rows()
        rows.fold(event(SHIPPED, "2025-02-01T10:00:00Z"))
        posted = rows.fold(event(SHIPPED, "2025-02-01T10:00:00Z"), EARLIER, closed=closed)
        assert said(posted) == [
            (-1, 1, "correction", "2025-02", "2025-02"),
            (1, 2, "correction", "2025-01", stated),
        ]


def test_what_is_withdrawn_is_reversed_alone_and_may_be_stated_again() -> None:
    rows = Rows()
    there = at("DELIVERED", "2025-02-01T07:00:00Z", "NY")
    out = at("OUT_FOR_DELIVERY", "2025-02-01T19:00:00Z", "NY")
    again = at("DELIVERED", "2025-02-02T07:00:00Z", "NY")
    rows.fold(ARRIVED, scanned(there))
    assert said([e for e in rows.fold(ARRIVED, scanned(there, out)) if e.kind == "delivered"]) == [
        (-1, 1, "withdrawn", "2025-02", "2025-02")
    ]
    later = rows.fold(ARRIVED, scanned(there, out, again))
    assert said([e for e in later if e.kind == "delivered"]) == [(1, 2, "new", "2025-02", "2025-02")]


def test_settling_reverses_the_provisional_row_and_a_settled_one_may_be_corrected() -> None:
    rows = Rows()
    (first,) = rows.fold(SHIP)
    settled = settled_rows(first, rows.entries, posting("2025-01"))
    assert said(settled) == [
        (-1, 1, "settled", "2025-01", "2025-02"),
        (1, 2, "settled", "2025-01", "2025-02"),
    ]
    assert [e.status for e in settled] == ["provisional", "settled"]
    rows.entries += settled
    assert settled_rows(first, rows.entries, posting()) == []
    assert settled_rows(settled[1], rows.entries, posting()) == []
    corrected = rows.fold(SHIP, EARLIER)
    assert [(e.sign, e.revision, e.status) for e in corrected] == [(-1, 2, "settled"), (1, 3, "provisional")]


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "9999-12-31T23:00:00+00:00"])
def test_a_time_at_the_calendars_end_is_booked_all_the_same(when: str) -> None:
    """Programs write the first of January of the year 1 where they know no time; in the west that day is none."""
    early = shipped(scanned(at("IN_TRANSIT", when, "CA"), when=SCANNED_AT), origin=LOS_ANGELES)
    assert early is not None
    day = parse_instant(SCANNED_AT if when > SCANNED_AT else when)
    assert early.occurred_at == day


def test_a_row_that_something_contradicts_has_no_time_to_settle() -> None:
    raised = condition("CONTRADICTION", True, "2025-02-02T00:00:00Z", kind="delivered_without_tracker")
    (row,) = Rows().fold(SHIP, raised)
    assert row.settles_at is None


def test_of_an_erased_order_only_another_time_is_restated() -> None:
    """The place is gone with the personal data: the day that it told stays."""
    rows = Rows()
    rows.fold(scanned(at("IN_TRANSIT", "2025-02-01T07:30:00Z", "CA")))
    assert rows.entries[0].origin_date == "2025-01-31"
    assert rows.fold(scanned(at("IN_TRANSIT", "2025-02-01T07:30:00Z")), erased=True) == []
    assert len(rows.fold(scanned(at("IN_TRANSIT", "2025-02-01T06:30:00Z")), erased=True)) == 2


def test_nothing_stands_before_the_first_row_and_after_a_reversal() -> None:
    rows = Rows()
    assert standing_row(rows.entries) is None
    (first,) = rows.fold(SHIP)
    assert standing_row(rows.entries) == first
    assert standing_row([first, replace(first, sign=-1)]) is None


# ── Periods and places ─────────────────────────────────────────────────────────────────────────────────────


def test_the_period_after_december_is_january() -> None:
    assert [following(p) for p in ("2024-11", "2024-12", "2025-01")] == ["2024-12", "2025-01", "2025-02"]


@pytest.mark.parametrize(
    "text", ["2025-13", "2025-00", "2025-1", "25-01", "2025-01-01", "", "2025W01", "٢٠٢٥-01"]
)
def test_what_is_no_month_is_no_period(text: str) -> None:
    assert not is_period(text)


def test_a_period_ends_where_it_ends_last() -> None:
    assert is_period("2025-12")
    assert ended_at("2025-12") == parse_instant("2026-01-01T12:00:00Z")


def test_a_day_that_is_none_there_is_utcs() -> None:
    first, last = parse_instant("0001-01-01T00:00:00Z"), parse_instant("9999-12-31T23:59:59Z")
    assert local_day(first, LOS_ANGELES) == "0001-01-01"
    assert local_day(last, ZoneInfo("Pacific/Guam")) == "9999-12-31"


def test_a_place_that_is_not_known_has_no_zone() -> None:
    for country, region in ((None, "CA"), ("US", None), ("US", "Bavaria"), ("DE", "BY"), ("", "")):
        assert zone_of(country, region) is None
    assert zone_of("usa", " nevada ") == zone_of("US", "US-NV") == LOS_ANGELES
    assert zone_of("CA", "BC") == ZoneInfo("America/Vancouver")
