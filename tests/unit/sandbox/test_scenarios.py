"""Scenario files: each loads, is legal and comes to its end; what is wrong with one is said by file and key."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import milepost.sandbox
from milepost.domain.errors import Invalid
from milepost.domain.event import BY_NAME
from milepost.domain.instant import DAY, HOUR, Instant, parse_instant, to_datetime
from milepost.sandbox.catalog import MESSAGES
from milepost.sandbox.events import event_body
from milepost.sandbox.planning import begin, drawn, is_life, plan_life, plan_orders
from milepost.sandbox.publication import Publication
from milepost.sandbox.scenarios import (
    Begins,
    Condition,
    Estimate,
    OrderPlan,
    PackageEnd,
    Scenario,
    StepPlan,
    decode,
    library,
    named,
    read_text,
)
from milepost.sandbox.transitions import advance
from milepost.sandbox.world import WorldOrder, new_order

START = parse_instant("2025-01-20T12:34:56Z")
FOLDER = Path(milepost.sandbox.__file__).parent / "scenarios"
WORLD_SCENARIOS = set(range(1, 25))
"""Those of tracking.md 13 that are about what happens in the world."""
LIVES = [name for name, scenario in library().items() if is_life(scenario)]

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "title": "A scenario of my own",
    "orders": [{"packages": ["box"]}],
    "steps": [{"after": "1h", "state": "IN_TRANSIT"}, {"after": "2h..3h", "milestone": "DELIVERED"}],
    "ends": {"order": {"state": "DELIVERED", "packages": {"box": {"state": "DELIVERED"}}}},
}


def played(world: WorldOrder, seed: int) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
    """An order at the end of its plan, and everything that was published on the way."""
    published: list[tuple[Publication, Instant]] = []
    order = world.order
    for step in world.plan:
        order, more = advance(order, step, seed)
        published += [(publication, step.at) for publication in more]
    return msgspec.structs.replace(world, order=order), published


def lived(name: str, seed: int, number: int = 3) -> list[WorldOrder]:
    return plan_orders(named(name), seed, number, START, "bp-1", None)


def bodies(name: str, seed: int) -> list[bytes]:
    """Everything that a scenario publishes."""
    found: list[bytes] = []
    for world in lived(name, seed):
        after, published = played(world, seed)
        found += [event_body(seed, after, n, what, at) for n, (what, at) in enumerate(published)]
    return found


# ── The files that come with it ────────────────────────────────────────────────────────────────────────────


def test_each_file_is_named_for_its_scenario_and_each_number_is_there_once() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(library())
    numbers = [s.number for s in library().values() if s.number is not None]
    assert sorted(numbers) == sorted(WORLD_SCENARIOS)
    assert all(scenario.about for scenario in library().values())


@pytest.mark.parametrize("name", library())
def test_a_scenario_plays_to_its_end_and_causes_documented_events_only(name: str) -> None:
    scenario = named(name)
    for world in lived(name, 7):
        assert world.plan
        assert all(a.at <= b.at for a, b in zip(world.plan, world.plan[1:], strict=False))
        after, published = played(world, 7)
        for publication, _ in published:
            known = BY_NAME[publication.type]
            assert tuple(key for key, _ in publication.resource) == known.resource_form
            assert bool(publication.data) == bool(known.default_query)
        states = {d["id"]: d["state"] for d in after.order["packageInformation"]["details"]}
        assert set(world.names.values()) >= set(states) or not world.names
        for package, end in scenario.ends[world.name].packages.items():
            ids = states if package == "each" else [world.names[package]]
            # What the world says and what a hub must conclude differ only where the file is about that.
            same = {states[delivery_id] for delivery_id in ids} == {end.state}
            assert same or "CONTRADICTION" in {c.code for c in end.conditions}


@pytest.mark.parametrize("name", library())
def test_the_same_seed_publishes_the_same_bytes(name: str) -> None:
    assert bodies(name, 5) == bodies(name, 5)
    assert not set(bodies(name, 5)) & set(bodies(name, 6))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(0, 100), st.sampled_from([None, *LIVES]))
def test_every_life_is_legal_and_ends(seed: int, number: int, name: str | None) -> None:
    world = WorldOrder("bp-1", new_order(seed, number, START), placed_at=START)
    world = plan_life(world, seed, named(name) if name else None, START)
    assert all(START <= step.at < START + 30 * DAY for step in world.plan)
    after, published = played(world, seed)
    assert published
    for detail in after.order["packageInformation"]["details"]:
        assert detail["state"] in ("DELIVERED", "CANCELLED")
        times = [m["occurredAt"] for m in (detail["packageTracker"] or {}).get("milestones", [])]
        assert times == sorted(times, reverse=True)


def test_every_documented_milestone_but_pending_happens_somewhere() -> None:
    seen = {step.milestone for name in LIVES for world in lived(name, 1) for step in world.plan} - {""}
    assert seen == set(MESSAGES) - {"PENDING"}


def test_a_mixed_world_draws_lives_by_their_weight() -> None:
    names = [drawn(1, "order", str(n)).name for n in range(300)]
    assert set(names) == {s.name for s in library().values() if s.weight}
    assert names.count("standard") > names.count("lost")


def test_packages_of_one_order_have_lives_of_their_own() -> None:
    world = WorldOrder("bp-1", new_order(3, 3, START, 2), placed_at=START)
    plan = plan_life(world, 3, named("standard"), START).plan
    one, two = ({s.at for s in plan if s.delivery_id == each} for each in {s.delivery_id for s in plan})
    assert one
    assert two
    assert not one & two


# ── When it begins ─────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 3_000 * 24), st.sampled_from(["monday", "friday", "sunday"]))
def test_a_scenario_begins_at_the_first_such_moment_that_comes(hours: int, weekday: str) -> None:
    now = Instant(START + hours * HOUR)
    at = begin(Begins(weekday=weekday, time="09:30"), now)  # type: ignore[arg-type]
    moment = to_datetime(at)
    assert moment.strftime("%A %H:%M").lower() == f"{weekday} 09:30"
    assert now <= at < now + 8 * DAY


@given(st.integers(0, 3_000))
def test_a_scenario_may_begin_on_the_last_day_of_a_month(days: int) -> None:
    now = Instant(START + days * DAY)
    at = begin(Begins(month_end=True), now)
    assert to_datetime(Instant(at + DAY)).day == 1
    assert now <= at < now + 62 * DAY


# ── Files of one's own ─────────────────────────────────────────────────────────────────────────────────────


def with_change(path: str, value: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(MINIMAL))
    *parents, last = path.split(".")
    at: Any = document
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return document


def test_a_document_of_ones_own_is_a_scenario() -> None:
    scenario = decode(MINIMAL)
    (world,) = plan_orders(scenario, 1, 0, START, "bp-1", None)
    after, _ = played(world, 1)
    assert after.order["packageInformation"]["summary"]["state"] == "DELIVERED"
    assert read_text(yaml.safe_dump(MINIMAL), "mine.yaml") == scenario


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("titel", "x", "unknown field `titel`"),
        ("steps.0.milestoen", "X", r"unknown field `milestoen`.*\$\.steps\[0\]"),
        ("orders.0.nmae", "x", r"unknown field `nmae`.*\$\.orders\[0\]"),
        ("ends.order.packages.box.stat", "x", "unknown field `stat`"),
        ("steps.0.state", "SHIPPED", r"SHIPPED.*\$\.steps\[0\]\.state"),
        ("steps.0.milestone", "IN_TRANSIT", r"\$\.steps\[0\]: one thing happens at a step"),
        ("steps.0.package", "crate", r"\$\.steps\[0\]\.package.*'crate'"),
        ("steps.0.order", "other", r"\$\.steps\[0\]\.order.*'other'"),
        ("steps.0.after", "soon", "'soon' is no length of time"),
        ("steps.0.after", "3h..2h", "ends before it begins"),
        ("steps.0.at", "2h", "one of after, at and nextDay"),
        ("steps.0.place", "moon", r"\$\.steps\[0\]\.place"),
        ("steps.0.times", "0..2", r"\$\.steps\[0\]\.times"),
        ("steps.0.zone", "EST", "no offset"),
        ("steps.1.numberOf", "crate", r"\$\.steps\[1\]\.numberOf"),
        ("steps.1.returned", "SOMEHOW", "one thing happens"),
        ("orders", [{"packages": ["a", "a"]}], r"\$\.orders\[0\]\.packages"),
        ("orders", [{"name": "a"}, {"name": "a"}], "two orders have one name"),
        ("orders.0.quantities", [0], "quantities"),
        ("faults", {"duplicates": 1}, "no fault 'duplicates'"),
        ("faults", {"drop": 2}, "drop must be 0 to 1"),
        ("ends", {"nobody": {"state": "DELIVERED", "packages": {}}}, "no order 'nobody'"),
        ("ends.order.packages", {"crate": {"state": "DELIVERED"}}, "no package 'crate'"),
        ("begins", {"time": "25:00"}, "no time of day"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path: str, value: Any, said: str) -> None:
    with pytest.raises(Invalid, match=rf"(?s)mine\.yaml.*{said}"):
        decode(with_change(path, value), "mine.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "!!python/object/apply:os.getcwd []"])
def test_text_that_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"mine\.yaml"):
        read_text(text, "mine.yaml")


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(Invalid, match="standard"):
        named("teleported")


def test_a_scenario_is_the_same_after_a_trip_through_json() -> None:
    for scenario in library().values():
        assert msgspec.convert(msgspec.to_builtins(scenario), Scenario) == scenario


# ── The page ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_lists_every_scenario_and_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    for scenario in library().values():
        number = scenario.number or ""
        assert f"| `{scenario.name}` | {number}{' ' if number else ''}| {scenario.title} |" in text
    for keys in (Scenario, OrderPlan, StepPlan, Estimate, Begins, PackageEnd, Condition):
        for field in msgspec.structs.fields(keys):
            assert field.encode_name in text


def test_the_file_that_the_page_shows_is_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    shown = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    (world,) = plan_orders(read_text(shown, "docs/scenarios.md"), 1, 0, START, "bp-1", None)
    after, _ = played(world, 1)
    assert after.order["packageInformation"]["summary"]["state"] == "DELIVERED"
