"""How packages live: named scenarios, each a plan of steps over the world's time, decided by the seed.

A plan is a list of `Step`s for one package; it is kept with the order (`WorldOrder.plan`), so that a world
that is closed and opened again goes on where it was. Which steps are allowed, and what each publishes, is
`transitions`; playing them when their time comes is `keeper`'s.
"""

import random
from collections.abc import Callable
from typing import Any

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from milepost.sandbox.catalog import HUBS, ORIGINS, Place
from milepost.sandbox.world import Step, dice

TRANSIT_DAYS = 3
"""Days from the label to the start of the estimated delivery window."""

_Plan = Callable[["_Life"], None]


class _Life:
    """One package's plan while it is being written: a time that only goes forward, and dice."""

    def __init__(self, delivery_id: str, start: Instant, home: Place, draw: random.Random) -> None:
        self.steps: list[Step] = []
        self.draw = draw
        self.origin = draw.choice(ORIGINS)
        self.hubs = draw.sample(HUBS, k=3)
        self.home = home
        self._id = delivery_id
        self._at = start

    def after(self, least: int, most: int) -> None:
        self._at = Instant(self._at + self.draw.randrange(least, most) // SECOND * SECOND)

    def morning(self) -> None:
        """Go on to the next morning between seven and nine, local enough for a sandbox."""
        self._at = Instant(
            (self._at // DAY + 1) * DAY + 12 * HOUR + self.draw.randrange(2 * HOUR) // SECOND * SECOND
        )

    def scan(self, code: str, place: Place | None, moved_by: int = 0) -> None:
        locality, region = (place.locality, place.region) if place else ("", "")
        self.steps.append(Step(self._at, self._id, code, locality=locality, region=region, moved_by=moved_by))

    def becomes(self, state: str, reason: str = "") -> None:
        self.steps.append(Step(self._at, self._id, state=state, reason=reason))

    # What most parcels have in common.

    def shipped(self) -> None:
        self.after(2 * HOUR, 10 * HOUR)
        self.scan("INFO_RECEIVED", self.origin)
        self.after(3 * HOUR, 12 * HOUR)
        self.scan("IN_TRANSIT", self.origin)
        self.after(MINUTE, 20 * MINUTE)
        self.becomes("IN_TRANSIT")

    def travelled(self, hubs: int) -> None:
        for hub in self.hubs[:hubs]:
            self.after(7 * HOUR, 16 * HOUR)
            self.scan("IN_TRANSIT", hub)

    def out_for_delivery(self) -> None:
        self.morning()
        self.scan("OUT_FOR_DELIVERY", self.home)

    def delivered(self) -> None:
        self.after(2 * HOUR, 9 * HOUR)
        self.scan("DELIVERED", self.home)


def _standard(life: _Life) -> None:
    life.shipped()
    life.travelled(life.draw.choice((1, 2, 2, 3)))
    life.out_for_delivery()
    life.delivered()


def _delayed(life: _Life) -> None:
    life.shipped()
    life.travelled(1)
    life.after(10 * HOUR, 20 * HOUR)
    life.scan("DELAYED", life.hubs[0], moved_by=2 * DAY)
    life.after(DAY, 2 * DAY)
    life.scan("IN_TRANSIT", life.hubs[1])
    life.out_for_delivery()
    life.delivered()


def _attempted(life: _Life) -> None:
    life.shipped()
    life.travelled(2)
    life.out_for_delivery()
    life.after(3 * HOUR, 8 * HOUR)
    life.scan("DELIVERY_ATTEMPTED", life.home, moved_by=DAY)
    life.out_for_delivery()
    life.delivered()


def _pickup(life: _Life) -> None:
    life.shipped()
    life.travelled(2)
    life.out_for_delivery()
    life.after(2 * HOUR, 6 * HOUR)
    life.scan("CUSTOMER_ACTION", life.home)
    life.after(HOUR, 4 * HOUR)
    life.scan("AVAILABLE_FOR_PICKUP", life.home)
    life.after(DAY, 3 * DAY)
    life.delivered()


def _cancelled(life: _Life) -> None:
    life.after(HOUR, 8 * HOUR)
    life.becomes("CANCELLED", life.draw.choice(("CUSTOMER_REQUESTED", "UNFULFILLABLE")))


def _undeliverable(life: _Life) -> None:
    life.shipped()
    life.travelled(2)
    life.after(8 * HOUR, 16 * HOUR)
    life.scan("EXCEPTION", life.hubs[2])
    life.out_for_delivery()
    life.after(3 * HOUR, 8 * HOUR)
    life.scan("UNDELIVERABLE", life.home)
    life.after(HOUR, 6 * HOUR)
    life.scan("RETURN_TO_SENDER", life.home)
    life.after(MINUTE, 30 * MINUTE)
    life.becomes("CANCELLED", "UNDELIVERABLE")


def _lost(life: _Life) -> None:
    life.shipped()
    life.travelled(2)
    life.after(5 * DAY, 7 * DAY)
    life.scan("LOST", life.hubs[1])
    life.after(DAY, 2 * DAY)
    life.becomes("CANCELLED", "UNDELIVERABLE")


SCENARIOS: dict[str, _Plan] = {
    "standard": _standard,
    "delayed": _delayed,
    "attempted": _attempted,
    "pickup": _pickup,
    "cancelled": _cancelled,
    "undeliverable": _undeliverable,
    "lost": _lost,
}
"""What can happen to a package, by name."""

_MIX = (
    ("standard",) * 10
    + ("delayed",) * 3
    + ("attempted",) * 3
    + ("pickup", "cancelled", "undeliverable", "lost")
)


def plan(
    seed: int, order: dict[str, Any], start: Instant, home: Place, scenario: str | None = None
) -> tuple[Step, ...]:
    """Everything that will happen to an order's packages after `start`, earliest first. With a scenario's
    name every package lives it; without one each draws its own. Raises `Invalid` for an unknown name."""
    if scenario is not None and scenario not in SCENARIOS:
        raise Invalid(
            f"there is no scenario {scenario!r}; there are {', '.join(SCENARIOS)}", field="scenario"
        )
    steps: list[Step] = []
    for detail in order["packageInformation"]["details"]:
        draw = dice(seed, "plan", order["id"], detail["id"])
        name = scenario or draw.choice(_MIX)
        life = _Life(detail["id"], start, home, draw)
        SCENARIOS[name](life)
        steps.extend(life.steps)
    return tuple(sorted(steps, key=lambda step: step.at))


def prerequisites(
    package: dict[str, Any], type: str, at: Instant, home: Place, reason: str, code: str
) -> list[Step]:
    """The steps, all at `at`, after which an event of `type` is due for this package: none when it is in that
    state already. The last step is the one that publishes it. Raises `Invalid` for a type that no step causes."""
    state = package["state"]
    life = _Life(package["id"], at, home, dice(0, package["id"]))
    if type not in TRIGGERS:
        raise Invalid(f"{type} cannot be triggered; these can: {', '.join(TRIGGERS)}", field="type")
    if type == "PACKAGE_TRACKER_MILESTONE_CHANGED":
        code = code or _next_code(package)
        if state == "PENDING" and code not in ("INFO_RECEIVED", "PENDING", "IN_TRANSIT"):
            _ship(life, package)
        life.scan(code, life.home)
        return life.steps
    if state == "PENDING" and type != "PACKAGE_DELIVERY_IN_TRANSIT" and not _cancels_early(type, reason):
        _ship(life, package)
        state = "IN_TRANSIT"
    if type == "PACKAGE_DELIVERY_IN_TRANSIT":
        if state == "PENDING":
            _ship(life, package)
    elif type == "PACKAGE_DELIVERED":
        if state == "IN_TRANSIT":
            life.scan("OUT_FOR_DELIVERY", home)
            life.scan("DELIVERED", home)
        elif state != "DELIVERED":
            # The table has no such transition and says so.
            life.becomes("DELIVERED")
    elif state != "CANCELLED":
        early = "CUSTOMER_REQUESTED" if state == "PENDING" else "UNDELIVERABLE"
        life.becomes("CANCELLED", reason or early)
    return life.steps


TRIGGERS = (
    "PACKAGE_DELIVERY_IN_TRANSIT",
    "PACKAGE_DELIVERED",
    "PACKAGE_DELIVERY_CANCELLED",
    "PACKAGE_TRACKER_MILESTONE_CHANGED",
    "REFUND_REQUESTED",
)
"""The event types that this world can be made to cause."""

_ROUTE = ("INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED")


def _cancels_early(type: str, reason: str) -> bool:
    return type in ("PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED") and reason != "UNDELIVERABLE"


def _ship(life: _Life, package: dict[str, Any]) -> None:
    if package.get("packageTracker") is None:
        life.scan("INFO_RECEIVED", life.origin)
    life.scan("IN_TRANSIT", life.origin)
    life.becomes("IN_TRANSIT")


def _next_code(package: dict[str, Any]) -> str:
    """The milestone that usually comes next on a package's route."""
    latest = (package.get("packageTracker") or {}).get("latestMilestone") or {}
    code = (latest.get("status") or {}).get("code")
    if code not in _ROUTE:
        return _ROUTE[0] if code is None else "IN_TRANSIT"
    return _ROUTE[min(_ROUTE.index(code) + 1, len(_ROUTE) - 1)]
