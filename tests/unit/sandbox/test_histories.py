"""Histories: the seed makes them, what was heard is what happened, and GraphQL would have answered the same."""

from collections import Counter
from importlib import resources
from typing import Any

import msgspec
import pytest
from graphql import execute_sync, parse

from milepost.domain.envelope import parse_event
from milepost.domain.hydration import CANCELLED, DELIVERED, IN_TRANSIT
from milepost.domain.instant import DAY, Instant, parse_instant
from milepost.domain.record import Snapshot
from milepost.sandbox.default_query import default_answer
from milepost.sandbox.faults import Faults
from milepost.sandbox.histories import CHUNK, History, Life, lives, rounds
from milepost.sandbox.order_shape import order_schema
from milepost.sandbox.queries import order_answer
from milepost.sandbox.selecting import default_data, order_data, tracker_data

UNTIL = parse_instant("2026-06-01T00:00:00Z")
SMALL = History(seed=7, deliveries=CHUNK + 150, until=UNTIL)


@pytest.fixture(scope="module")
def every() -> list[Life]:
    return [life for chunk in range(SMALL.chunks) for life in lives(SMALL, chunk)]


def test_the_seed_and_the_chunk_alone_make_the_orders(every: list[Life]) -> None:
    second = list(lives(SMALL, 1))
    assert second == every[-len(second) :]
    other = History(seed=8, deliveries=SMALL.deliveries, until=UNTIL)
    assert not {life.world.id for life in lives(other, 1)} & {life.world.id for life in second}


def test_so_many_packages_are_ordered_within_the_days(every: list[Life]) -> None:
    ordered = sum(len({step.delivery_id for step in life.happened if step.split}) for life in every)
    shown = sum(len(life.parcels) for life in every)
    parts = sum(len(step.split) for life in every for step in life.happened if step.split)
    assert shown - parts + ordered == SMALL.deliveries
    assert len({life.world.id for life in every}) == len(every)
    placed = [life.world.placed_at for life in every]
    # A scenario that waits for a weekday begins up to a week before.
    assert UNTIL - (SMALL.days + 7) * DAY <= min(placed)
    assert max(placed) <= UNTIL


def test_there_is_something_of_everything(every: list[Life]) -> None:
    states = Counter(parcel["state"] for life in every for parcel in life.parcels)
    assert states["DELIVERED"] > 0.75 * states.total()
    assert min(states["IN_TRANSIT"], states["CANCELLED"]) > 0
    codes = Counter(step.milestone for life in every for step in life.happened)
    assert {"DELIVERY_ATTEMPTED", "DELAYED", "LOST", "UNDELIVERABLE", "AVAILABLE_FOR_PICKUP"} <= codes.keys()
    scenarios = {life.world.scenario for life in every}
    assert {"mixed", "returned", "split", "label-only", "delivered-then-out"} <= scenarios


def test_every_end_of_a_package_was_heard_and_nothing_else(every: list[Life]) -> None:
    told = {IN_TRANSIT: "IN_TRANSIT", DELIVERED: "DELIVERED", CANCELLED: "CANCELLED"}
    for life in every:
        heard: dict[str, str] = {}
        for each in life.heard:
            event = parse_event(each.body)
            assert event.published_at < each.received_at <= UNTIL
            if event.type in told:
                heard[event.resources[0].ids["delivery"]] = told[event.type]
        moved = {parcel["id"]: parcel["state"] for parcel in life.parcels if parcel["state"] != "PENDING"}
        assert heard == moved


def test_a_carrier_scans_before_it_says_so_and_never_out_of_order(every: list[Life]) -> None:
    lags = [
        step.at - parse_instant(step.occurred_at)
        for life in every
        for step in life.happened
        if life.world.scenario == "mixed" and step.milestone
    ]
    assert min(lags) >= 0
    assert max(lags) > 60 * 60_000 > sorted(lags)[len(lags) // 2]
    for life in every:
        if life.world.scenario == "mixed":
            for parcel in life.parcels:
                own = [s for s in life.happened if s.delivery_id == parcel["id"] and s.milestone]
                scanned = [parse_instant(step.occurred_at) for step in own]
                assert scanned == sorted(scanned)


def test_what_is_selected_is_what_the_schema_answers(every: list[Life]) -> None:
    for life in every[::9]:
        order = life.world.order
        whole = order_answer(life.world, Faults(), UNTIL, SMALL.seed)
        assert order_data(order) == _asked("order", "orderIdentifier", whole)
        for parcel in life.parcels:
            if parcel["packageTracker"] is not None:
                tracker = parcel["packageTracker"]
                assert tracker_data(tracker) == _asked("packageTracker", "packageTrackerInput", tracker)
        for kind in (DELIVERED, "REFUND_REQUESTED", "RETURN_COMPLETED", IN_TRANSIT):
            assert default_data(kind, order) == default_answer(kind, order)


def _asked(query: str, variable: str, root: dict[str, Any]) -> Any:
    name = "package_tracker" if query == "packageTracker" else query
    text = resources.files("milepost.buywithprime").joinpath(f"queries/{name}.graphql").read_text("utf-8")
    given = {"packageTrackerIdentifier": {"trackingNumber": "1", "carrierCode": "ups"}}
    variables = {variable: {"orderId": "1"} if query == "order" else given}
    result = execute_sync(order_schema(), parse(text), root_value={query: root}, variable_values=variables)
    assert result.errors is None
    assert result.data is not None
    return result.data[query]


def test_answers_show_what_they_answer(every: list[Life]) -> None:
    for life in every:
        for each in life.heard:
            if each.answer is not None:
                snapshot = msgspec.json.decode(each.answer.body, type=Snapshot)
                assert snapshot.asked_at > each.received_at
                assert snapshot.answer is not None
                assert snapshot.observed_at == each.answer.at <= UNTIL


def test_a_round_has_one_event_of_each_order(every: list[Life]) -> None:
    first = rounds(SMALL, 0)
    assert sorted(map(len, first), reverse=True) == list(map(len, first))
    assert sum(map(len, first)) == sum(len(life.heard) for life in lives(SMALL, 0))


def test_an_order_that_is_not_there_yet_has_no_history() -> None:
    short = History(seed=7, deliveries=40, until=Instant(UNTIL), days=1)
    heard = [life for life in lives(short, 0) if life.heard]
    assert len(heard) < len(list(lives(short, 0))), "those of the last hours were not heard of"
