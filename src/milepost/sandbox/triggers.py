"""Making the world cause one event: the steps that have to happen first, and the one that publishes it.

All of them happen at one time, waits are skipped. What each step does is `transitions`', doing it is `keeper`'s.
"""

from typing import Any

from milepost.domain.erasure import TASK, TASK_COMPLETED, TASK_FAILED
from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant
from milepost.sandbox.catalog import ORIGINS, Place
from milepost.sandbox.publication import Publication
from milepost.sandbox.reading import home_of
from milepost.sandbox.returning import EVENT_OF, find_return, parcel_of, refunds_of, return_id, returns_of
from milepost.sandbox.transitions import BEFORE_SHIPPING, find_package
from milepost.sandbox.world import Step, dice, uuid_text

MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"
REFUND_REQUESTED = "REFUND_REQUESTED"
REFUND_COMPLETED = "REFUND_COMPLETED"
TRIGGERS = (
    "PACKAGE_DELIVERY_IN_TRANSIT",
    "PACKAGE_DELIVERED",
    "PACKAGE_DELIVERY_CANCELLED",
    MILESTONE,
    REFUND_REQUESTED,
    REFUND_COMPLETED,
    *EVENT_OF.values(),
)
"""The event types that this world can be made to cause by steps of an order."""
TASKS = (TASK_COMPLETED, TASK_FAILED)
"""Those about a task, which no step of an order causes."""

_ROUTE = ("INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED")
_BACK = ("STARTED", "IN_TRANSIT", "DELIVERED", "GRADED", "COMPLETED")
"""What happens to a return, in order; FAILED is a way of its own."""


class Trigger:
    """The steps towards an event of one package of an order, or of a return of it."""

    def __init__(self, order: dict[str, Any], delivery_id: str, at: Instant, seed: int) -> None:
        """`delivery_id` may be a return's; then the event is about that one."""
        self.steps: list[Step] = []
        self._order = order
        self._at = at
        self._seed = seed
        self._return = find_return(order, delivery_id)
        self.delivery_id = delivery_id if self._return is None else str(self._return.get("deliveryId"))
        self._package = find_package(order, self.delivery_id)
        self._state: str = self._package["state"]
        self._home = home_of(order)
        self._origin = dice(0, delivery_id).choice(ORIGINS)
        self.subject = delivery_id
        """What the event is about: a package's, a return's or a refund's id."""

    def towards(self, type: str, reason: str = "", code: str = "") -> list[Step]:
        """The steps after which the event is due, the last of them publishing it; none when everything has
        happened already. Raises `Invalid` for a type that no step causes, `Conflict` where it cannot be any more."""
        if type not in TRIGGERS:
            raise Invalid(
                f"{type} cannot be triggered; these can: {', '.join((*TRIGGERS, *TASKS))}", field="type"
            )
        if type == MILESTONE:
            self._milestone(code)
        elif type in EVENT_OF.values():
            self._give_back(type)
        elif type == "PACKAGE_DELIVERY_IN_TRANSIT":
            self._shipped()
        elif type == "PACKAGE_DELIVERED":
            self._delivered()
        elif type == "PACKAGE_DELIVERY_CANCELLED":
            self._cancelled(reason)
        else:
            self._refund(type, reason)
        waits = (self._order.get("metadata") or {}).get("executionState") == "NOT_STARTED"
        if waits and self.steps and self.steps[0].state != "CANCELLED":
            self.steps.insert(0, Step(self._at, "", fulfilment=True))
        return self.steps

    # ── Packages ───────────────────────────────────────────────────────────────────────────────────────────

    def _scan(self, code: str, place: Place, parcel_id: str = "") -> None:
        self.steps.append(
            Step(
                self._at,
                parcel_id or self.delivery_id,
                code,
                locality=place.locality,
                region=place.region,
            )
        )

    def _becomes(self, state: str, reason: str = "") -> None:
        self.steps.append(Step(self._at, self.delivery_id, state=state, reason=reason))
        self._state = state

    def _shipped(self) -> None:
        if self._state != "PENDING":
            return
        if self._package.get("packageTracker") is None:
            self._scan("INFO_RECEIVED", self._origin)
        self._scan("IN_TRANSIT", self._origin)
        self._becomes("IN_TRANSIT")

    def _delivered(self) -> None:
        self._shipped()
        if self._state == "IN_TRANSIT":
            self._scan("OUT_FOR_DELIVERY", self._home)
            self._scan("DELIVERED", self._home)
            self._state = "DELIVERED"
        elif self._state != "DELIVERED":
            # The table has no such transition and says so.
            self._becomes("DELIVERED")

    def _cancelled(self, reason: str) -> None:
        if self._state == "CANCELLED":
            return
        if self._state == "PENDING" and reason == "UNDELIVERABLE":
            self._shipped()
        early = "CUSTOMER_REQUESTED" if self._state == "PENDING" else "UNDELIVERABLE"
        self._becomes("CANCELLED", reason or early)

    def _milestone(self, code: str) -> None:
        parcel = self._package if self._return is None else parcel_of(self._return)
        code = code or _next_code(parcel)
        if self._return is None and self._state == "PENDING" and code not in BEFORE_SHIPPING:
            self._shipped()
        self._scan(code, self._origin, self.subject)

    # ── Returns and refunds ────────────────────────────────────────────────────────────────────────────────

    def _give_back(self, type: str) -> None:
        wanted = next(what for what, event in EVENT_OF.items() if event == type)
        if self._return is None:
            known = returns_of(self._order, self.delivery_id)
            self._return = known[-1] if known else None
        if self._return is None:
            self._delivered()
            self.subject = return_id(self._seed, self._order, self.delivery_id)
            self.steps.append(Step(self._at, self.delivery_id, returned="STARTED"))
        else:
            self.subject = self._return["id"]
        way = ("STARTED", "IN_TRANSIT", "FAILED") if wanted == "FAILED" else _BACK
        for what in way[self._come_so_far(way) : way.index(wanted) + 1]:
            if what == "IN_TRANSIT":
                # The carrier's scan moves the parcel.
                self._scan("INFO_RECEIVED", self._home, self.subject)
                self._scan("IN_TRANSIT", self._home, self.subject)
            elif what != "STARTED":
                self.steps.append(Step(self._at, self.subject, returned=what))

    def _come_so_far(self, way: tuple[str, ...]) -> int:
        """How many of the things on this way have happened."""
        if self._return is None:
            return 1
        state, parcel = self._return["state"], parcel_of(self._return)["state"]
        if (parcel == "FAILED") != ("FAILED" in way) and parcel in ("FAILED", "DELIVERED"):
            raise Conflict(f"the parcel of return {self.subject} is {parcel}", returnId=self.subject)
        reached = state if state in way else parcel if parcel in way else "STARTED"
        return way.index(reached) + 1

    def _refund(self, type: str, reason: str) -> None:
        causes = [self.delivery_id, *(r["id"] for r in returns_of(self._order, self.delivery_id))]
        wanted = list(refunds_of(self._order, causes))
        if wanted:
            self.subject = wanted[-1]["id"]
            if type == REFUND_COMPLETED and wanted[-1]["state"] != "SUCCESS":
                self.steps.append(Step(self._at, self.subject, refunded=True))
            return
        if self._state == "DELIVERED":
            self._give_back("RETURN_PACKAGE_IN_TRANSIT")
            cause = self.subject
        else:
            self._cancelled(reason)
            cause = self.delivery_id
        if type == REFUND_COMPLETED:
            self.steps.append(Step(self._at, cause, refunded=True))


def deletion_task(type: str, seed: int, order_id: str) -> Publication:
    """What Amazon publishes of the task by which an order's shopper has their data deleted. Its id is made from the
    order's, so that a failed one can be completed. The world itself forgets nothing."""
    return Publication(type, ((TASK, uuid_text(dice(seed, "task", order_id))),))


def _next_code(parcel: dict[str, Any]) -> str:
    """The milestone that usually comes next on a parcel's route."""
    latest = (parcel.get("packageTracker") or {}).get("latestMilestone") or {}
    code = (latest.get("status") or {}).get("code")
    if code not in _ROUTE:
        return _ROUTE[0] if code is None else "IN_TRANSIT"
    return _ROUTE[min(_ROUTE.index(code) + 1, len(_ROUTE) - 1)]
