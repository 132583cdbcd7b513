"""The rules of hydration: what is asked for which event, what answers what, which milestone is whose, when again."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.fact import (
    EventFact,
    Fact,
    Milestone,
    OrderAnswer,
    PackageAnswer,
    SettlementFact,
    SnapshotFact,
    TrackerAnswer,
)
from milepost.domain.hydration import (
    CANCELLED,
    DELIVERED,
    IN_TRANSIT,
    LAST_TRY,
    MILESTONE,
    MONEY,
    REST,
    TRACKER_TRIES,
    VISIBLE,
    Trouble,
    Waiting,
    Want,
    fingerprint,
    fits,
    is_known_already,
    judge,
    match_milestones,
    next_delay,
    pause,
    wants,
)
from milepost.domain.instant import HOUR, MINUTE, Instant, parse_stamp
from milepost.domain.record import Settlement
from milepost.domain.resource import Resource, parse_resource

ORDER_PATH = "businessProduct/bp/order/o1/delivery/d1"
TRACKER_PATH = "businessProduct/bp/carrier/UPS/tracker/1Z"
TRACKER = TrackerAnswer("UPS", "1Z", None, None, None, None)
CODES = ("INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED", "EXCEPTION")


def event(
    position: int,
    type: str = MILESTONE,
    *,
    received: int | None = None,
    conflict: bool = False,
    answer: OrderAnswer | None = None,
) -> EventFact:
    at = Instant(position * 10 if received is None else received)
    milestone = type == MILESTONE
    return EventFact(
        position,
        at,
        at,
        type,
        type,
        f"e{position}",
        None if milestone else "o1",
        () if milestone else ("d1",),
        (("UPS", "1Z"),) if milestone else (),
        conflict,
        (),
        answer,
    )


def resources(*paths: str) -> list[Resource]:
    return [parse_resource(path) for path in paths]


def milestone(n: int) -> Milestone:
    return Milestone(
        CODES[n % len(CODES)], CODES[n % len(CODES)], parse_stamp(f"2025-01-{n % 28 + 1:02}T00:00:00Z")
    )


def seen(position: int, milestones: Sequence[int] | None, *, asked: int | None = None) -> SnapshotFact:
    """A packageTracker snapshot showing these milestones; None: a null tracker."""
    at = Instant(position * 10 if asked is None else asked)
    shown = None
    if milestones is not None:
        shown = TrackerAnswer("UPS", "1Z", None, None, None, tuple(milestone(n) for n in milestones))
    return SnapshotFact(position, at, at, at, "packageTracker", None, "UPS", "1Z", None, shown)


def package(
    state: str, tracker: TrackerAnswer | None = TRACKER, quantity: str | None = "1", id: str = "d1"
) -> PackageAnswer:
    return PackageAnswer(id, state, None, tracker, (("li", quantity, "ONE"),))


def order(*packages: PackageAnswer) -> OrderAnswer:
    return OrderAnswer("o1", packages, {"id": "o1"})


def answered(position: int, *packages: PackageAnswer, asked: int | None = None) -> SnapshotFact:
    at = Instant(position * 10 if asked is None else asked)
    return SnapshotFact(position, at, at, at, "order", "o1", None, None, order(*packages), None)


def settled(position: int, event: int, outcome: str) -> SettlementFact:
    body = Settlement(event, outcome, Instant(position * 10), 3, "", ())  # type: ignore[arg-type]
    return SettlementFact(position, Instant(position * 10), body)


def want_of(fact: EventFact, *paths: str) -> Want:
    (want,) = wants(fact, resources(*paths or (ORDER_PATH if fact.type != MILESTONE else TRACKER_PATH,)))
    return want


# ── What is asked ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("type", "target", "query", "priority"),
    [
        (IN_TRANSIT, "order/o1", "order", MONEY),
        (DELIVERED, "order/o1", "order", VISIBLE),
        (CANCELLED, "order/o1", "order", VISIBLE),
        (MILESTONE, "tracker/ups/1Z", "packageTracker", VISIBLE),
    ],
)
def test_what_each_type_asks(type: str, target: str, query: str, priority: int) -> None:
    want = want_of(event(1, type))
    assert (want.target, want.query, want.priority) == (target, query, priority)
    assert want.carrier_code == ("UPS" if type == MILESTONE else "")


def test_types_without_a_fold_ask_nothing() -> None:
    for name in ("REFUND_REQUESTED", "INVENTORY_CHANGED", "NEVER_HEARD_OF"):
        assert wants(event(1, name), resources(ORDER_PATH)) == ()


def test_an_order_that_no_resource_names_can_not_be_asked() -> None:
    assert wants(event(1, DELIVERED), resources("businessProduct/bp/delivery/d1")) == ()


def test_an_event_about_several_orders_asks_each_for_its_own_deliveries() -> None:
    paths = (ORDER_PATH, "businessProduct/bp/order/o2/delivery/d2", "businessProduct/bp/order/o1/delivery/d3")
    found = wants(event(1, IN_TRANSIT), resources(*paths))
    assert {w.target: w.delivery_ids for w in found} == {"order/o1": ("d1", "d3"), "order/o2": ("d2",)}


def test_a_conflict_asks_its_order_late_and_a_copy_of_a_milestone_nothing() -> None:
    assert want_of(event(1, IN_TRANSIT, conflict=True)).priority == REST
    assert wants(event(1, MILESTONE, conflict=True), resources(TRACKER_PATH)) == ()


# ── What answers an order event ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        (IN_TRANSIT, {"IN_TRANSIT", "DELIVERED", "CANCELLED"}),
        (DELIVERED, {"DELIVERED", "CANCELLED"}),
        (CANCELLED, {"CANCELLED"}),
    ],
)
def test_an_answer_must_show_at_least_the_claimed_state(claim: str, shown: set[str]) -> None:
    want = want_of(event(1, claim))
    for state in ("", "PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED", "NEW"):
        assert (fits(want, order(package(state))) == "fully") == (state in shown)
    assert fits(want, None) == "not"
    assert fits(want, order(package("CANCELLED", id="other"))) == "not"


def test_a_state_without_its_tracker_fits_in_part_unless_cancelled() -> None:
    assert fits(want_of(event(1, IN_TRANSIT)), order(package("IN_TRANSIT", None))) == "partly"
    assert fits(want_of(event(1, IN_TRANSIT)), order(package("CANCELLED", None))) == "fully"


def test_only_an_answer_asked_after_the_event_counts() -> None:
    shipped = event(5, IN_TRANSIT)
    for asked, known in ((49, False), (50, False), (51, True)):
        snapshot = answered(6, package("IN_TRANSIT"), asked=asked)
        assert is_known_already(shipped, want_of(shipped), [snapshot]) is known


@pytest.mark.parametrize(
    ("data", "snapshot", "known"),
    [
        (order(package("DELIVERED")), [package("IN_TRANSIT")], True),
        (order(package("DELIVERED", None, None)), [package("IN_TRANSIT")], True),
        (order(package("DELIVERED", TRACKER, None)), [package("IN_TRANSIT", None)], True),
        (order(package("DELIVERED", TRACKER, None)), [package("IN_TRANSIT", None, None)], False),
        (order(package("DELIVERED", None)), [package("IN_TRANSIT", None)], False),
        (order(package("DELIVERED")), None, False),
        (order(package("DELIVERED")), [], True),
        (order(package("IN_TRANSIT")), [package("IN_TRANSIT")], False),
        (order(package("DELIVERED", id="other")), [package("IN_TRANSIT")], False),
        (None, [package("IN_TRANSIT")], False),
    ],
)
def test_what_data_lacks(data: OrderAnswer | None, snapshot: list[PackageAnswer] | None, known: bool) -> None:
    delivered = event(5, DELIVERED, answer=data)
    facts: list[Fact] = [] if snapshot is None else [answered(2, *snapshot)]
    assert is_known_already(delivered, want_of(delivered), facts) is known


def test_a_conflicting_data_is_never_enough() -> None:
    delivered = event(5, DELIVERED, answer=order(package("DELIVERED")), conflict=True)
    assert not is_known_already(delivered, want_of(delivered), [answered(2, package("IN_TRANSIT"))])


# ── Milestones ─────────────────────────────────────────────────────────────────────────────────────────────


def matched(*facts: Fact) -> dict[int, int]:
    return {position: match.snapshot for position, match in match_milestones(facts).items()}


def test_one_milestone_answers_one_event() -> None:
    assert matched(event(1), event(2), seen(3, [0])) == {1: 3}
    assert matched(event(1), event(2), seen(3, [0]), seen(4, [0, 1])) == {1: 3, 2: 4}


def test_a_known_milestone_answers_when_no_earlier_event_has_it() -> None:
    assert matched(event(1), seen(2, [0, 1]), event(3), seen(4, [0, 1])) == {1: 2, 3: 4}
    assert matched(event(1), seen(2, [0]), event(3), seen(4, [0])) == {1: 2}


def test_an_answer_asked_before_the_event_does_not_count() -> None:
    assert matched(event(1), seen(3, [0], asked=9)) == {}
    assert matched(seen(1, [0]), event(2)) == {}


def test_order_answers_and_conflicts_do_not_count() -> None:
    assert matched(event(1), answered(2, package("DELIVERED"))) == {}
    assert matched(event(1), event(2, conflict=True), seen(3, [0, 1])) == {1: 3}


def test_a_settled_event_takes_no_milestone_and_one_given_up_takes_what_is_left() -> None:
    history = (event(1), settled(2, 1, "noNewMilestone"), event(3))
    assert matched(*history, seen(4, [0, 1])) == {3: 4}
    history = (event(1), settled(2, 1, "gaveUp"), event(3))
    assert matched(*history, seen(4, [0])) == {3: 4}
    assert matched(*history, seen(4, [0, 1])) == {3: 4, 1: 4}


histories = st.lists(
    st.one_of(st.none(), st.lists(st.integers(0, 8), max_size=6).map(tuple)), min_size=1, max_size=14
)


@given(histories, st.randoms(use_true_random=False))
def test_matching_does_not_depend_on_the_order_or_number_of_facts(
    history: list[tuple[int, ...] | None], random: object
) -> None:
    facts: list[Fact] = [
        event(position) if shown is None else seen(position, shown)
        for position, shown in enumerate(history, start=1)
    ]
    expected = match_milestones(facts)
    mixed = [*facts, *facts[: len(facts) // 2]]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert match_milestones(mixed) == expected
    milestones = [match.milestone for match in expected.values()]
    assert len(milestones) == len(set(milestones))
    assert all(match.snapshot > position for position, match in expected.items())


# ── What an answer leads to ────────────────────────────────────────────────────────────────────────────────


def waiting(*facts: EventFact) -> list[Waiting]:
    return [Waiting(fact, want_of(fact)) for fact in facts]


def test_three_unchanged_answers_settle_a_milestone_event() -> None:
    events = [event(1), event(2)]
    first = judge(waiting(*events), seen(9, [0]), events, same=False, tries=1, unchanged=0)
    assert (first.answered, first.still, first.keep) == ((1,), (2,), True)
    history = [*events, seen(9, [0])]
    for unchanged in (0, 1):
        again = judge(
            waiting(events[1]), seen(19, [0]), history, same=True, tries=2 + unchanged, unchanged=unchanged
        )
        assert (again.still, again.unchanged, again.keep) == ((2,), unchanged + 1, False)
    last = judge(waiting(events[1]), seen(19, [0]), history, same=True, tries=4, unchanged=2)
    assert (last.no_new_milestone, last.still, last.answered) == ((2,), (), ())


def test_null_answers_and_changed_ones_do_not_count_towards_it() -> None:
    null = judge(waiting(event(1)), seen(9, None), [event(1)], same=True, tries=5, unchanged=2)
    assert (null.still, null.unchanged) == ((1,), 0)
    history = [event(1), seen(2, [0]), event(3)]
    changed = judge(waiting(event(3)), seen(9, [0]), history, same=False, tries=3, unchanged=2)
    assert (changed.still, changed.unchanged, changed.keep) == ((3,), 0, True)


def test_an_unchanged_answer_that_answers_is_kept() -> None:
    history = [event(1), seen(2, [0, 1]), event(3)]
    verdict = judge(waiting(event(3)), seen(9, [0, 1]), history, same=True, tries=1, unchanged=0)
    assert (verdict.answered, verdict.keep) == ((3,), True)


def test_a_missing_tracker_is_waited_for_and_then_taken_as_it_is() -> None:
    shipped = event(1, IN_TRANSIT)
    snapshot = answered(9, package("IN_TRANSIT", None))
    for tries in range(1, TRACKER_TRIES):
        assert judge(waiting(shipped), snapshot, [], same=True, tries=tries, unchanged=9).still == (1,)
    last = judge(waiting(shipped), snapshot, [], same=True, tries=TRACKER_TRIES, unchanged=9)
    assert last.answered == (1,)


def test_an_order_event_is_never_settled_for_unchanged_answers() -> None:
    snapshot = answered(9, package("PENDING"))
    verdict = judge(waiting(event(1, IN_TRANSIT)), snapshot, [], same=True, tries=8, unchanged=7)
    assert (verdict.still, verdict.no_new_milestone) == ((1,), ())


def test_a_fingerprint_tells_answers_apart_and_not_their_key_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert len({fingerprint(None), fingerprint({}), fingerprint({"a": 1}), fingerprint({"a": "1"})}) == 4


# ── When to ask again ──────────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(["notYet", "failing", "refused"]), st.integers(1, 30), st.floats(0, 1))
def test_delays_grow_stay_near_the_schedule_and_end(trouble: Trouble, tries: int, random: float) -> None:
    delay = next_delay(trouble, tries, random)
    assert (delay is None) == (tries >= LAST_TRY)
    if delay is not None:
        plain = next_delay(trouble, tries, 0.5)
        assert plain is not None
        assert 0.8 * plain - 1 <= delay <= 1.2 * plain + 1
        later = next_delay(trouble, tries + 1, 0.5)
        assert later is None or later > plain


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_a_pause_is_bounded_and_honours_retry_after(
    failures: int, random: float, retry_after: float | None
) -> None:
    length = pause(failures, retry_after, random)
    assert 800 <= length <= HOUR
    if retry_after is not None:
        assert length >= min(retry_after * 1000 - 1, HOUR)
    else:
        assert length <= 6 * MINUTE
