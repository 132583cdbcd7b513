"""Scenarios become plans: orders of a world, and the steps that will happen to each, at times the seed decides.

A plan is kept with its order (`WorldOrder.plan`), so that a world that is closed and opened again goes on where
it was. Each package has dice of its own, so that its life does not depend on how many others there are. Which
steps are allowed, and what each publishes, is `transitions`; playing them when their time comes is `keeper`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from milepost.domain.instant import DAY, SECOND, Instant, format_instant, to_datetime
from milepost.sandbox import catalog
from milepost.sandbox.durations import parse_duration, parse_range
from milepost.sandbox.reading import home_of
from milepost.sandbox.returning import return_id
from milepost.sandbox.scenarios import (
    Begins,
    OrderPlan,
    Scenario,
    StepPlan,
    library,
    of_day,
    repeats,
    zone_offset,
)
from milepost.sandbox.transitions import split_ids
from milepost.sandbox.world import Step, WorldOrder, dice, new_order

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def begin(begins: Begins | None, now: Instant) -> Instant:
    """The moment from which a scenario's times count when it is started at `now`: a whole second."""
    if begins is None:
        return Instant(now // SECOND * SECOND)
    at = Instant(now // DAY * DAY + of_day(begins.time)[0])
    for _ in range(40):
        moment = to_datetime(at)
        fits = not begins.weekday or _WEEKDAYS[moment.weekday()] == begins.weekday
        if begins.month_end and to_datetime(Instant(at + DAY)).day != 1:
            fits = False
        if fits and at >= now:
            return at
        at = Instant(at + DAY)
    return at


def plan_orders(
    scenario: Scenario, seed: int, number: int, now: Instant, business_product_id: str, packages: int | None
) -> list[WorldOrder]:
    """The orders of a scenario that is started at `now`, numbered from `number`, each with its plan. `packages`
    says how many an order has whose packages the file doesn't name."""
    zero = begin(scenario.begins, now)
    made: list[WorldOrder] = []
    ids: dict[str, str] = {}
    for offset, plan in enumerate(scenario.orders):
        placed = Instant(zero + parse_duration(plan.placed))
        count = len(plan.packages) or packages
        document = new_order(seed, number + offset, placed, count, plan.quantities)
        document["metadata"]["executionState"] = plan.fulfilment
        names = dict(
            zip(plan.packages, (d["id"] for d in document["packageInformation"]["details"]), strict=False)
        )
        names |= _part_names(scenario, plan, names, seed, document["id"])
        ids |= {f"{plan.name}/{name}": parcel_id for name, parcel_id in names.items()}
        made.append(
            WorldOrder(
                business_product_id,
                document,
                placed,
                placed_at=placed,
                scenario=scenario.name,
                name=plan.name,
                names=names,
                faults=scenario.own_faults,
            )
        )
    return [_with_plan(scenario, world, seed, zero, ids) for world in made]


def plan_life(world: WorldOrder, seed: int, scenario: Scenario | None, start: Instant) -> WorldOrder:
    """An order whose packages all live the scenario, or (None) each one that it draws, from `start` on; for
    scenarios that any package can live."""
    steps: list[Step] = []
    for detail in world.order["packageInformation"]["details"]:
        life = _Life(seed, world, detail["id"], start, {})
        for step in (scenario or drawn(seed, world.id, detail["id"])).steps:
            life.live(step)
        steps.extend(life.steps)
    return _hold(replace(world, scenario=scenario.name if scenario else "mixed"), steps)


def drawn(seed: int, order_id: str, delivery_id: str) -> Scenario:
    """The scenario that a package of a mixed world lives: each by its weight."""
    lives = [s for s in library().values() if s.weight]
    draw = dice(seed, "plan", order_id, delivery_id, "which")
    return draw.choices(lives, weights=[s.weight for s in lives])[0]


def is_life(scenario: Scenario) -> bool:
    """Whether any package of any order can live it."""
    (first, *others) = scenario.orders
    return not others and not first.packages and scenario.begins is None


def replanned(world: WorldOrder, step: Step, seed: int) -> WorldOrder:
    """What a step changes of the plan: what waited for fulfilment begins, what was to happen to a package
    happens to each of its parts."""
    if step.fulfilment and world.held:
        late = step.at - world.placed_at
        begun = [replace(s, at=Instant(s.at + late)) for s in world.held]
        return replace(world, plan=_in_order([*world.plan, *begun]), held=())
    if not step.split:
        return world
    parts = split_ids(seed, world.id, step.delivery_id, len(step.split))

    def shared(steps: Sequence[Step]) -> tuple[Step, ...]:
        return _in_order(
            replace(s, delivery_id=parcel_id)
            for s in steps
            for parcel_id in (parts if s.delivery_id == step.delivery_id else [s.delivery_id])
        )

    return replace(world, plan=shared(world.plan), held=shared(world.held))


def _in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda step: step.at))


def _part_names(
    scenario: Scenario, plan: OrderPlan, names: Mapping[str, str], seed: int, order_id: str
) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in scenario.steps:
        if step.split and scenario.order_of(step) is plan:
            whole = names.get(step.package) or found[step.package]
            found |= zip(step.split, split_ids(seed, order_id, whole, len(step.split)), strict=True)
    return found


def _with_plan(
    scenario: Scenario, world: WorldOrder, seed: int, zero: Instant, ids: Mapping[str, str]
) -> WorldOrder:
    lives: dict[str, _Life] = {}
    every = world.names.values() or [d["id"] for d in world.order["packageInformation"]["details"]]
    named = {parcel_id: name for name, parcel_id in world.names.items()}
    start = Instant(max(zero, world.placed_at))
    for parcel_id in every:
        lives[parcel_id] = _Life(seed, world, parcel_id, start, ids)
    for step in scenario.steps:
        if scenario.order_of(step).name != world.name:
            continue
        if step.fulfilment:
            next(iter(lives.values())).live(step)
            continue
        for parcel_id, life in lives.items():
            if step.package in ("", named.get(parcel_id)):
                life.live(step)
    steps = [step for life in lives.values() for step in life.steps]
    return _hold(world, steps)


def _hold(world: WorldOrder, steps: Sequence[Step]) -> WorldOrder:
    """The order with these steps planned; held back until somebody starts its fulfilment, where no step does."""
    ordered = _in_order(steps)
    waits = world.order["metadata"].get("executionState") == "NOT_STARTED"
    if waits and not any(step.fulfilment for step in ordered):
        return replace(world, held=ordered)
    return replace(world, plan=ordered)


class _Life:
    """One package's plan while it is being written: a time that only goes forward, and dice."""

    def __init__(
        self, seed: int, world: WorldOrder, parcel_id: str, start: Instant, ids: Mapping[str, str]
    ) -> None:
        self.steps: list[Step] = []
        self._id = parcel_id
        self._seed = seed
        self._world = world
        self._ids = ids
        self._start = self._at = start
        self._draw = dice(seed, "plan", world.id, parcel_id)
        self._origin = self._draw.choice(catalog.ORIGINS)
        self._hubs = self._draw.sample(catalog.HUBS, k=3)
        self._passed = 0
        self._home = home_of(world.order)

    def live(self, step: StepPlan) -> None:
        """Add a step of the file, as often as it happens."""
        for _ in range(self._draw.randint(*repeats(step.times))):
            self._pass_time(step)
            self.steps.append(self._step(step))

    def _pass_time(self, step: StepPlan) -> None:
        if step.next_day is not None:
            self._at = Instant((self._at // DAY + 1) * DAY + self._between(*of_day(step.next_day)))
        elif step.at is not None:
            self._at = Instant(self._start + self._between(*parse_range(step.at)))
        elif step.after is not None:
            self._at = Instant(self._at + self._between(*parse_range(step.after)))

    def _between(self, least: int, most: int) -> int:
        return (self._draw.randrange(least, most) if most > least else least) // SECOND * SECOND

    def _step(self, step: StepPlan) -> Step:
        locality, region, country = self._where(step)
        reason = step.reason if isinstance(step.reason, str) else self._draw.choice(step.reason)
        return Step(
            self._at,
            self._parcel(step),
            step.milestone,
            step.state,
            reason,
            locality,
            region,
            parse_duration(step.moved) if step.moved is not None else 0,
            country,
            self._occurred(step),
            step.carrier == "odd",
            step.quiet,
            self._window(step),
            step.tracker,
            step.without,
            self._number_of(step),
            self._parts(step),
            step.returned,
            step.refunded,
            step.fulfilment,
        )

    def _parcel(self, step: StepPlan) -> str:
        back = step.parcel == "return" or step.returned not in ("", "STARTED")
        return return_id(self._seed, {"id": self._world.id}, self._id) if back else self._id

    def _where(self, step: StepPlan) -> tuple[str, str, str]:
        if not isinstance(step.place, str):
            return step.place.locality, step.place.region, step.place.country
        if not step.milestone:
            return "", "", "US"
        place = self._home if step.place == "home" else self._origin
        if step.place == "hub":
            place = self._hubs[self._passed % len(self._hubs)]
            self._passed += 1
        return place.locality, place.region, "US"

    def _occurred(self, step: StepPlan) -> str:
        if step.occurred is None and not step.zone:
            return ""
        at = Instant(self._at + (parse_duration(step.occurred) if step.occurred is not None else 0))
        return _written(at, step.zone)

    def _window(self, step: StepPlan) -> tuple[str | None, str | None] | None:
        if step.estimate is None:
            return None
        ends = [
            None if length is None else _written(Instant(self._at + parse_duration(length)), step.zone)
            for length in (step.estimate.earliest, step.estimate.latest)
        ]
        if step.estimate.dates_only:
            ends = [None if text is None else text[:10] for text in ends]
        return ends[0], ends[1]

    def _number_of(self, step: StepPlan) -> str:
        if not step.number_of:
            return ""
        whole = step.number_of if "/" in step.number_of else f"{self._world.name}/{step.number_of}"
        return self._ids[whole]

    def _parts(self, step: StepPlan) -> tuple[tuple[tuple[str, float], ...], ...]:
        """The package's units, dealt out to the parts one by one."""
        if not step.split:
            return ()
        package = next(d for d in self._world.order["packageInformation"]["details"] if d["id"] == self._id)
        entries: Sequence[dict[str, Any]] = package["packageInformationDetailsFor"]["orderLineItems"]
        units = [e["lineItem"]["id"] for e in entries for _ in range(int(e["amount"]["value"]))]
        parts: list[dict[str, float]] = [{} for _ in step.split]
        for n, item in enumerate(units):
            part = parts[n % len(parts)]
            part[item] = part.get(item, 0) + 1
        return tuple(tuple(part.items()) for part in parts)


def _written(at: Instant, zone: str) -> str:
    """The instant as a carrier in that zone writes it; in UTC without one."""
    if not zone:
        return format_instant(at)
    return format_instant(Instant(at + zone_offset(zone)))[:-1] + zone
