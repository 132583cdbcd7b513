"""Usual volumes, silence, use and scopes, from counts by the hour."""

from random import Random

import pytest

from milepost.domain.instant import HOUR, Instant
from milepost.domain.volume import (
    IN_USE_HOURS,
    KEPT_HOURS,
    LEAST_SCANNED,
    MILESTONE,
    SILENT_AT,
    WATCHED,
    WEEK,
    Scope,
    Silence,
    Span,
    Spans,
    counted_until,
    hours_to_know,
    kept_from,
    scopes,
    watched_hours,
)
from milepost.domain.volume import silences as silences_of

SHIPPED, DELIVERED = "PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"
NOW_HOUR = 500_000
NOW = Instant(NOW_HOUR * HOUR + 17 * 60_000)
Counts = dict[tuple[str, str, str, int], int]


def spans_of(counts: Counts, since: int = 0) -> Spans:
    found: dict[tuple[str, str, str], Span] = {}
    for (product, kind, road, hour), events in sorted(counts.items()):
        if product and hour >= since:
            known = found.get((product, kind, road), Span(hour, hour, 0))
            found[product, kind, road] = Span(known.first, hour, known.events + events)
    return found


def silences(counts: Counts, now: Instant) -> list[Silence]:
    """From all counts, those of the hours to know picked out."""
    spans, seen = spans_of(counts), watched_hours(counts)
    until = counted_until(seen, now)
    wanted = hours_to_know(spans, until)
    picked = {key: n for key, n in counts.items() if key[3] % WEEK in wanted.get(key[0], ())}
    return silences_of(picked, spans, seen, until)


def watched(hours: int = 5 * WEEK, beats: int = 4) -> Counts:
    """Somebody watched for so many hours until now."""
    return {("", WATCHED, "", NOW_HOUR - n): beats for n in range(hours)}


def steady(
    events: int = 1, *, silent: int = 0, weeks: int = 4, kind: str = DELIVERED, road: str = "webhook"
) -> Counts:
    """So many events each hour for some weeks, then silence until now for so many whole hours."""
    first = NOW_HOUR - weeks * WEEK
    return {("bp-1", kind, road, hour): events for hour in range(first, NOW_HOUR - silent)}


@pytest.mark.parametrize(("silent", "told"), [(0, False), (8, False), (9, True), (40, True)])
def test_a_road_is_silent_once_nine_events_are_to_be_expected(silent: int, told: bool) -> None:
    found = silences({**watched(), **steady(silent=silent)}, NOW)
    assert found == (
        [Silence("bp-1", "webhook", DELIVERED, NOW_HOUR - silent - 1, float(silent))] if told else []
    )


def test_what_is_usual_is_learnt_by_hour_of_the_week() -> None:
    """A shop that sends on Mondays only is not silent for the rest of the week, but on the next Monday it is."""
    monday = {hour for hour in range(NOW_HOUR - 4 * WEEK, NOW_HOUR) if hour % WEEK < 10}
    counts: Counts = {("bp-1", DELIVERED, "webhook", hour): 2 for hour in monday}
    start = NOW_HOUR - NOW_HOUR % WEEK + WEEK
    seen: Counts = {("", WATCHED, "", hour): 4 for hour in range(NOW_HOUR - 4 * WEEK, start + 20)}
    seen |= dict.fromkeys(watched(), 4)
    whole = {("bp-1", DELIVERED, "webhook", hour): 2 for hour in range(NOW_HOUR, start) if hour % WEEK < 10}
    known = counts | whole | seen
    assert silences(known, Instant(start * HOUR)) == []
    assert silences(known, Instant((start + 4) * HOUR)) == []
    (found,) = silences(known, Instant((start + 5) * HOUR))
    assert found.expected == 10.0


def test_one_big_day_is_not_the_rule() -> None:
    """A bulk of a thousand events a week ago, in hours that else bring hardly any."""
    counts = steady(silent=6) | {
        ("bp-1", DELIVERED, "webhook", NOW_HOUR - WEEK - n): 1_000 for n in range(1, 7)
    }
    assert silences({**watched(), **counts}, NOW) == []


@pytest.mark.parametrize(("weeks", "told"), [(1, False), (2, False), (3, True)])
def test_two_weeks_must_be_known_of_an_hour(weeks: int, told: bool) -> None:
    assert bool(silences({**watched(), **steady(5, silent=24, weeks=weeks)}, NOW)) is told


def test_hours_in_which_nobody_watched_are_no_silence() -> None:
    counts = steady(2, silent=20)
    away = {key: beats for key, beats in watched().items() if key[3] < NOW_HOUR - 20}
    assert silences({**away, **counts}, NOW) == []
    back = away | {("", WATCHED, "", NOW_HOUR - n): 4 for n in range(5)}
    assert silences({**back, **counts}, NOW) == [], "8 are to be expected in four hours"
    assert silences({**back, ("", WATCHED, "", NOW_HOUR - 5): 2, **counts}, NOW)[0].expected == 9.0


def test_a_rare_type_is_looked_at_with_its_family() -> None:
    rare = {
        key: events
        for kind, hour_of_day in ((SHIPPED, 0), (DELIVERED, 12))
        for key, events in steady(3, silent=50, kind=kind).items()
        if key[3] % 24 == hour_of_day
    }
    (found,) = silences({**watched(), **rare}, NOW)
    assert (found.type, found.expected) == ("order", 12.0)
    dense = rare | steady(1, silent=50, kind=SHIPPED)
    assert [one.type for one in silences({**watched(), **dense}, NOW)] == [SHIPPED]


def test_each_road_and_business_product_is_silent_by_itself() -> None:
    heard, silent = steady(1), steady(1, silent=30, road="eventbridge", kind=MILESTONE)
    other = {("bp-2", kind, road, hour): n for (_, kind, road, hour), n in steady(1, silent=30).items()}
    found = silences({**watched(), **heard, **silent, **other}, NOW)
    assert [(s.business_product_id, s.road, s.type) for s in found] == [
        ("bp-1", "eventbridge", MILESTONE),
        ("bp-2", "webhook", DELIVERED),
    ]


def test_replays_and_types_without_a_family_are_never_silent() -> None:
    counts = steady(5, silent=48, road="replay") | steady(5, silent=48, kind="REFUND_REQUESTED")
    assert silences({**watched(), **counts}, NOW) == []


def test_a_silence_of_more_than_two_weeks_is_an_end() -> None:
    for silent, told in ((IN_USE_HOURS - 1, 1), (IN_USE_HOURS + 1, 0)):
        assert len(silences({**watched(6 * WEEK), **steady(1, silent=silent, weeks=6)}, NOW)) == told


def test_chance_alone_hardly_ever_makes_a_silence() -> None:
    """Four weeks of one event in two hours by chance, looked at every hour of a fifth: the count of false alarms."""
    seed = 20_250_120
    random = Random(seed)
    alarms = 0
    for _ in range(40):
        counts = {
            ("bp-1", DELIVERED, "webhook", hour): 1
            for hour in range(NOW_HOUR - 4 * WEEK, NOW_HOUR + WEEK)
            if random.random() < 0.5
        }
        seen: Counts = {("", WATCHED, "", hour): 4 for hour in range(NOW_HOUR - 4 * WEEK, NOW_HOUR + WEEK)}
        for hour in range(NOW_HOUR, NOW_HOUR + WEEK, 8):
            until = {key: n for key, n in counts.items() if key[3] < hour}
            alarms += len(silences({**seen, **until}, Instant(hour * HOUR)))
    assert alarms <= 2, f"seed {seed}"


# ── Scopes ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_scope_is_missing_where_parcels_are_scanned_and_no_milestone_event_comes() -> None:
    counts = steady(1, weeks=1) | {
        ("bp-2", kind, "webhook", NOW_HOUR - 5): 4 for kind in (SHIPPED, MILESTONE)
    }
    scanned = {"bp-1": LEAST_SCANNED, "bp-2": 50, "bp-3": 50}
    assert scopes(spans_of(counts), scanned) == [Scope("bp-1", WEEK, LEAST_SCANNED)]
    assert scopes(spans_of(counts), {"bp-1": LEAST_SCANNED - 1}) == []


def test_counts_are_kept_for_six_weeks() -> None:
    assert kept_from(NOW) == NOW_HOUR - KEPT_HOURS
    assert SILENT_AT == 9.0
