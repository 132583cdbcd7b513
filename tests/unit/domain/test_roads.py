"""How roads are compared: what counts as expected, what as missed, and by how much one is behind."""

import random

from milepost.domain.instant import Instant
from milepost.domain.roads import GRACE_MS, IN_USE_MS, Crossing, Measured, Passage, measure, percentiles

NOW = Instant(1_737_376_496_000)
HOUR = 3_600_000
TYPE = "PACKAGE_DELIVERED"


def passage(
    position: int,
    road: str,
    ago_ms: int = HOUR,
    *,
    first: bool = True,
    product: str = "bp-1",
    type: str = TYPE,
) -> Passage:
    return Passage(position, product, type, Instant(NOW - ago_ms), road, first)


def both(position: int, ago_ms: int = HOUR, lag_ms: int = 500) -> list[Passage]:
    """An event by webhook, then by EventBridge."""
    late = passage(position, "eventbridge", ago_ms - lag_ms, first=False)
    return [passage(position, "webhook", ago_ms), late]


def missed(measured: Measured) -> dict[str, tuple[int, int]]:
    return {road.road: (road.missed, road.expected) for road in measured.roads}


def test_percentiles_are_lags_that_were_measured() -> None:
    assert percentiles([]).n == 0
    assert percentiles([]).p50_ms is None
    one = percentiles([7])
    assert (one.n, one.p50_ms, one.p90_ms, one.p99_ms) == (1, 7, 7, 7)
    lags = list(range(1, 101))
    random.Random(1).shuffle(lags)
    hundred = percentiles(lags)
    assert (hundred.n, hundred.p50_ms, hundred.p90_ms, hundred.p99_ms) == (100, 50, 90, 99)


def test_nothing_is_missed_where_only_one_road_is_in_use() -> None:
    found = measure([passage(n, "webhook") for n in range(1, 5)], [], [], NOW)
    assert missed(found) == {"webhook": (0, 4), "eventbridge": (0, 0), "replay": (0, 0)}
    assert (found.arrivals, found.events) == (4, 4)


def test_what_a_road_did_not_bring_though_it_brings_the_like_is_missed() -> None:
    passages = [*both(1, 3 * HOUR), passage(2, "webhook", 2 * HOUR), *both(3)]
    found = measure(passages, [], [], NOW)
    assert missed(found)["eventbridge"] == (1, 2)
    assert missed(found)["webhook"] == (0, 3)
    road = next(r for r in found.roads if r.road == "eventbridge")
    assert road.missed_positions == (2,)
    assert (road.arrivals, road.first) == (2, 0)


def test_what_came_before_a_road_was_in_use_is_not_missed() -> None:
    passages = [passage(1, "webhook", 3 * HOUR), *both(2, 2 * HOUR), *both(3)]
    assert missed(measure(passages, [], [], NOW))["eventbridge"] == (0, 1)


def test_another_type_or_business_product_is_not_expected() -> None:
    passages = [
        *both(1, 3 * HOUR),
        passage(2, "webhook", type="REFUND_REQUESTED"),
        passage(3, "webhook", product="bp-2"),
    ]
    assert missed(measure(passages, [], [], NOW))["eventbridge"] == (0, 0)


def test_what_came_just_now_may_still_come() -> None:
    early, late = GRACE_MS, GRACE_MS - 1
    passages = [*both(1), passage(2, "webhook", early), passage(3, "webhook", late)]
    assert missed(measure(passages, [], [], NOW))["eventbridge"] == (1, 1)


def test_a_road_that_went_quiet_is_known_by_its_crossings() -> None:
    old = Crossing(
        1, "bp-1", TYPE, "webhook", Instant(NOW - 9 * HOUR), "eventbridge", Instant(NOW - 8 * HOUR)
    )
    passages = [passage(n, "webhook") for n in (5, 6)]
    found = measure(passages, [], [old], NOW)
    assert missed(found)["eventbridge"] == (2, 2)
    assert next(r.last_at for r in found.roads if r.road == "eventbridge") == NOW - 8 * HOUR
    ancient = Crossing(1, "bp-1", TYPE, "webhook", Instant(0), "eventbridge", Instant(NOW - IN_USE_MS - 1))
    assert missed(measure(passages, [], [ancient], NOW))["eventbridge"] == (0, 0)


def test_replays_are_counted_and_neither_expected_nor_missed() -> None:
    passages = [*both(1, 3 * HOUR), passage(2, "webhook", 2 * HOUR)]
    replays = [passage(2, "replay", first=False), passage(3, "replay")]
    found = measure(passages, replays, [], NOW)
    assert missed(found) == {"webhook": (0, 2), "eventbridge": (1, 1), "replay": (0, 0)}
    replayed = next(r for r in found.roads if r.road == "replay")
    assert (replayed.arrivals, replayed.first, replayed.behind.n) == (2, 1, 0)
    assert found.arrivals == 3


def test_a_lag_is_never_below_zero() -> None:
    assert Crossing(1, "bp-1", TYPE, "webhook", NOW, "eventbridge", Instant(NOW - 3)).lag_ms == 0
