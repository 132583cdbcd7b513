"""Scenario files: what happens to one or more orders, when, with which faults, and how a hub must end.

A file of `scenarios/` is YAML; a caller may send the same document as JSON. It is checked when it is read: an
unknown key, a wrong value or a package that isn't there is an error that names the place. docs/scenarios.md
describes every key. What the steps become for orders of a world is `planning`'s.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.sandbox.catalog import MESSAGES
from milepost.sandbox.durations import parse_duration, parse_range
from milepost.sandbox.faults import Faults, parse_words
from milepost.sandbox.returning import RETURNED
from milepost.sandbox.transitions import REASONS

EACH = "each"
"""In `ends`: every package of the order."""
MOST_PACKAGES = 3
MOST_UNITS = 1_000
"""Units of one product in an order."""


_REASONS = frozenset().union(*REASONS.values())


class _Keys(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A mapping of the file: nothing but the keys that are written here."""


class Place(_Keys, frozen=True, kw_only=True):
    locality: str
    region: str = ""
    country: str = "US"


class Estimate(_Keys, frozen=True, kw_only=True):
    """A new estimated delivery window, from the step on."""

    earliest: str | None = None
    latest: str | None = None
    dates_only: bool = False


class StepPlan(_Keys, frozen=True, kw_only=True):
    """One step of one package, or (none named) of every package of the order."""

    order: str = ""
    package: str = ""
    parcel: Literal["package", "return"] = "package"
    after: str | None = None
    at: str | None = None
    next_day: str | None = None
    times: str | int = 1
    milestone: str = ""
    state: Literal["", "IN_TRANSIT", "DELIVERED", "CANCELLED"] = ""
    reason: str | tuple[str, ...] = ""
    place: str | Place = ""
    occurred: str | None = None
    zone: str = ""
    carrier: Literal["", "odd"] = ""
    moved: str | None = None
    estimate: Estimate | None = None
    number_of: str = ""
    tracker: Literal["", "empty", "whole"] = ""
    without: str = ""
    split: tuple[str, ...] = ()
    returned: str = ""
    refunded: bool = False
    fulfilment: bool = False
    quiet: bool = False

    @property
    def what(self) -> list[str]:
        """Which of the things that can happen this step names."""
        kinds = ("milestone", "state", "tracker", "without", "split", "returned", "refunded", "fulfilment")
        return [kind for kind in kinds if getattr(self, kind)]


class OrderPlan(_Keys, frozen=True, kw_only=True):
    """An order of the scenario. Without `packages` the seed says how many it has, and they have no names."""

    name: str = "order"
    placed: str = "0s"
    packages: tuple[str, ...] = ()
    quantities: tuple[int, ...] = ()
    fulfilment: Literal["STARTED", "NOT_STARTED"] = "STARTED"


class Begins(_Keys, frozen=True, kw_only=True):
    """The moment from which the times of the file count: the first such one after the scenario was started."""

    weekday: Literal["", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = ""
    month_end: bool = False
    time: str = "00:00"


class Condition(_Keys, frozen=True, kw_only=True):
    """A condition that a hub must have raised, and whether it still holds at the end (either, when not said)."""

    code: str
    kind: str | None = None
    open: bool | None = None


class PackageEnd(_Keys, frozen=True, kw_only=True):
    state: str
    stage: str | None = None
    reason: str | None = None
    generation: int | None = None
    estimate_zone: str | None = None
    delivered_zone: str | None = None
    conditions: tuple[Condition, ...] = ()
    never: tuple[str, ...] = ()


class OrderEnd(_Keys, frozen=True, kw_only=True):
    """In which state a hub must show the order at the end."""

    state: str
    packages: dict[str, PackageEnd]


class Scenario(_Keys, frozen=True, kw_only=True):
    """A scenario file."""

    name: str
    title: str
    about: str = ""
    number: int | None = None
    weight: int = 0
    begins: Begins | None = None
    orders: tuple[OrderPlan, ...] = (OrderPlan(),)
    steps: tuple[StepPlan, ...]
    faults: dict[str, Any] = {}
    ends: dict[str, OrderEnd]

    @property
    def own_faults(self) -> Faults:
        return parse_words(self.faults)

    def order_of(self, step: StepPlan) -> OrderPlan:
        return next(o for o in self.orders if o.name == (step.order or self.orders[0].name))


def decode(document: object, where: str = "scenario") -> Scenario:
    """A scenario from a document of plain values. Raises `Invalid` naming `where` and the key."""
    try:
        scenario = msgspec.convert(document, Scenario)
        for complaint in _complaints(scenario):
            raise Invalid(complaint)
    except msgspec.ValidationError as e:
        raise Invalid(f"{where}: {e}", field=where) from e
    except Invalid as e:
        raise Invalid(f"{where}: {e.detail}", field=where) from e
    return scenario


def read_text(text: str, where: str) -> Scenario:
    """A scenario from the text of a YAML file. Raises `Invalid` naming `where` and the key."""
    try:
        return decode(yaml.safe_load(text), where)
    except yaml.YAMLError as e:
        raise Invalid(f"{where}: {e}", field=where) from e


@lru_cache(maxsize=1)
def library() -> Mapping[str, Scenario]:
    """The scenarios that come with Milepost, by name."""
    folder = resources.files("milepost.sandbox").joinpath("scenarios")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    found = [read_text(f.read_text("utf-8"), f.name) for f in files]
    return {scenario.name: scenario for scenario in found}


def named(name: str) -> Scenario:
    """The scenario of that name. Raises `Invalid`, listing those there are."""
    found = library().get(name)
    if found is None:
        raise Invalid(f"there is no scenario {name!r}; there are {', '.join(library())}", field="scenario")
    return found


# ── What types don't say ───────────────────────────────────────────────────────────────────────────────────


def _complaints(scenario: Scenario) -> Iterator[str]:
    """What is wrong with it, the first thing first. Raises `Invalid` for lengths of time and faults."""
    parse_words(scenario.faults)
    yield from _order_complaints(scenario)
    orders = {order.name: order for order in scenario.orders}
    for number, step in enumerate(scenario.steps):
        if (step.order or scenario.orders[0].name) not in orders:
            yield f"$.steps[{number}].order: there is no order {step.order!r}"
    parts = {
        order.name: {
            part for step in scenario.steps if scenario.order_of(step) is order for part in step.split
        }
        for order in scenario.orders
    }
    named = {f"{o.name}/{name}" for o in scenario.orders for name in (*o.packages, *parts[o.name])}
    for number, step in enumerate(scenario.steps):
        here, order = f"$.steps[{number}]", scenario.order_of(step)
        if step.package and f"{order.name}/{step.package}" not in named:
            yield f"{here}.package: order {order.name!r} has no package {step.package!r}"
        number_of = step.number_of if "/" in step.number_of else f"{order.name}/{step.number_of}"
        if step.number_of and number_of not in named:
            yield f"{here}.numberOf: there is no package {number_of!r}"
        yield from _split_complaints(step, order, here)
        yield from _step_complaints(step, here)
    for name, end in scenario.ends.items():
        if name not in orders:
            yield f"$.ends: there is no order {name!r}"
        unknown = set(end.packages) - {EACH, *orders[name].packages, *parts[name]}
        if unknown:
            yield f"$.ends.{name}.packages: there is no package {min(unknown)!r}"


def _split_complaints(step: StepPlan, order: OrderPlan, here: str) -> Iterator[str]:
    if step.split and step.package not in order.packages:
        yield f"{here}.package: which package of the order is split; a part is not split again"
    if step.split and (
        len(step.split) < 2 or len({*step.split, *order.packages}) < len((*step.split, *order.packages))
    ):
        yield f"{here}.split: two names or more that no package has yet"


def _order_complaints(scenario: Scenario) -> Iterator[str]:
    if not scenario.orders:
        yield "$.orders: at least one"
    if len({order.name for order in scenario.orders}) < len(scenario.orders):
        yield "$.orders: two orders have one name"
    if scenario.begins is not None:
        of_day(scenario.begins.time)
    for number, order in enumerate(scenario.orders):
        parse_duration(order.placed)
        if len(order.packages) > MOST_PACKAGES or len(set(order.packages)) < len(order.packages):
            yield f"$.orders[{number}].packages: at most {MOST_PACKAGES}, each with a name of its own"
        if any(not 1 <= n <= MOST_UNITS for n in order.quantities) or len(order.quantities) > MOST_PACKAGES:
            yield f"$.orders[{number}].quantities: at most {MOST_PACKAGES} numbers from 1 to {MOST_UNITS}"


def _step_complaints(step: StepPlan, here: str) -> Iterator[str]:
    alone = not step.what and (step.moved or step.estimate)
    if len(step.what) != 1 and not alone:
        yield f"{here}: one thing happens at a step; this one names {', '.join(step.what) or 'none'}"
    if sum(given is not None for given in (step.after, step.at, step.next_day)) > 1:
        yield f"{here}: give one of after, at and nextDay"
    for text in (step.after, step.at):
        if text is not None and parse_range(text)[0] < 0:
            yield f"{here}: time goes forward only"
    estimate = step.estimate or Estimate()
    for text in (step.occurred, step.moved, estimate.earliest, estimate.latest):
        if text is not None:
            parse_duration(text)
    if step.next_day is not None:
        of_day(step.next_day)
    if step.zone:
        zone_offset(step.zone)
    if isinstance(step.place, str) and step.place not in ("", "origin", "hub", "home"):
        yield f"{here}.place: origin, hub, home, or a mapping with a locality"
    least, most = repeats(step.times)
    if not 1 <= least <= most <= 10:
        yield f"{here}.times: 1 to 10"
    yield from _word_complaints(step, here)


def _word_complaints(step: StepPlan, here: str) -> Iterator[str]:
    """Words that could never happen; whether one may happen then is the transition table's."""
    if step.milestone and step.carrier != "odd" and step.milestone not in MESSAGES:
        yield f"{here}.milestone: {step.milestone!r} is no milestone code, and the carrier is not odd"
    reasons = (step.reason,) if isinstance(step.reason, str) else step.reason
    if step.state == "CANCELLED" and not (reasons and set(reasons) <= _REASONS):
        yield f"{here}.reason: a cancellation has one of {', '.join(sorted(_REASONS))}"
    if step.state != "CANCELLED" and step.reason:
        yield f"{here}.reason: only a cancellation has one"
    if step.returned and step.returned not in RETURNED:
        yield f"{here}.returned: one of {', '.join(RETURNED)}"


def repeats(times: str | int) -> tuple[int, int]:
    """How often a step happens: `2`, or `1..3`. Raises `Invalid`."""
    try:
        least, _, most = str(times).partition("..")
        return int(least), int(most or least)
    except ValueError as e:
        raise Invalid(f"times: {times!r} is neither a number nor a range like 1..3") from e


def of_day(text: str) -> tuple[int, int]:
    """Milliseconds after midnight UTC of `12:00..14:00`, least and most; of one time twice the same.
    Raises `Invalid`."""
    ends = [_time_of_day(part) for part in text.split("..", 1)]
    if ends[0] > ends[-1]:
        raise Invalid(f"{text!r} ends before it begins")
    return ends[0], ends[-1]


def zone_offset(text: str) -> int:
    """Milliseconds east of UTC of `-06:00`. Raises `Invalid`."""
    if len(text) != 6 or text[0] not in "+-":
        raise Invalid(f"{text!r} is no offset from UTC; one is written -06:00")
    offset = _time_of_day(text[1:])
    return -offset if text[0] == "-" else offset


def _time_of_day(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and int(hour) < 24 and int(minute) < 60):
        raise Invalid(f"{text!r} is no time of day; one is written 09:30")
    return parse_duration(f"{hour}h{minute}m")
