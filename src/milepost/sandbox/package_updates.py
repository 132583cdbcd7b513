"""`updateOrderPackageInformation`: which steps an input means for an order, or why it cannot be. Pure.

An entry moves a package, or its tracker, never both. The same package id several times, each with other line items,
splits a pending package: the parts get ids of their own, what no entry names stays pending. What moves a package
moves its tracker along without an event of its own, so that the two never contradict each other; a tracker's
DELIVERED delivers its package, LOST and RETURN_TO_SENDER end it as UNDELIVERABLE (the table of tracker states is
below the cut of Amazon's page: this is inferred). Which transitions there are is `transitions`'.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant
from milepost.domain.record import tracker_identity
from milepost.sandbox.api_error import invalid
from milepost.sandbox.reading import home_of
from milepost.sandbox.scalars import plain
from milepost.sandbox.transitions import advance, find_package, split_ids
from milepost.sandbox.world import Step

MOST_MILESTONES = 50
"""Updates that a tracker takes; Amazon's number is no page's."""
TRANSITION = "InvalidPackageDeliveryDetailStateTransition"
_ENDS = ("LOST", "RETURN_TO_SENDER")

Given = Mapping[str, Any]
Part = tuple[tuple[str, float], ...]


class PackageUpdates:
    """The steps of one input, found one after the other: each sees the order as the ones before it leave it."""

    def __init__(self, order: dict[str, Any], seed: int, at: Instant) -> None:
        self.steps: list[Step] = []
        self._order = order
        self._seed = seed
        self._at = at
        self._home = home_of(order)

    def take(self, details: Sequence[Given]) -> list[Step]:
        """The steps that these entries mean. Raises `ApiError` for the first that cannot be."""
        if not details:
            raise invalid("packageInformation.details is empty.")
        by_id = sorted(enumerate(details), key=lambda entry: (_first(details, entry[1]["id"]), entry[0]))
        for package_id, entries in groupby(by_id, key=lambda entry: str(entry[1]["id"])):
            self._take_package(package_id, [entry["packageState"] for _, entry in entries])
        return self.steps

    def _take_package(self, package_id: str, entries: Sequence[Given]) -> None:
        for entry in entries:
            named = [entry.get(key) for key in ("packageInformationState", "packageTrackerState")]
            if all(named):
                raise invalid(
                    "You can't provide both packageInformationState and packageTrackerState in the input.",
                    "ConflictingPackageStateInput",
                )
            if not any(named):
                raise invalid("Provide packageInformationState or packageTrackerState.")
        self._package(package_id)
        states = [e["packageInformationState"] for e in entries if e.get("packageInformationState")]
        for part_id, state in zip(self._split(package_id, states), states, strict=True):
            self._move(part_id, state)
        for entry in entries:
            if entry.get("packageTrackerState"):
                self._track(package_id, entry["packageTrackerState"])

    def _split(self, package_id: str, states: Sequence[Given]) -> Sequence[str]:
        """The package each state is for, after the split that they ask for, if they do."""
        package = self._package(package_id)
        parts = [_part(state, package) for state in states]
        if package["state"] != "PENDING" or not any(parts):
            if len(states) > 1:
                raise invalid("A package that is named several times is split by line items.", TRANSITION)
            return [package_id] * len(states)
        if not all(parts):
            raise invalid("Each part of a split package needs its line items.")
        rest = _rest(package, parts)
        shared = [*parts, *([rest] if rest else [])]
        if len(shared) == 1:
            return [package_id]
        self._add(Step(self._at, package_id, split=tuple(shared)))
        return split_ids(self._seed, self._order["id"], package_id, len(shared))[: len(parts)]

    def _move(self, package_id: str, given: Given) -> None:
        state, reason = given["state"], given.get("reason") or ""
        if state == "CANCELLED" and not reason:
            raise invalid(
                "You need to provide a reason when the desired status is CANCELLED.",
                "MissingCancellationReason",
            )
        if state == "IN_TRANSIT" and self._package(package_id).get("packageTracker") is None:
            self._scan(package_id, "INFO_RECEIVED")
        self._add(Step(self._at, package_id, state=state, reason=reason))
        if state in ("IN_TRANSIT", "DELIVERED"):
            self._scan(package_id, state)

    def _scan(self, package_id: str, code: str) -> None:
        """What the carrier says of a package that is moved by hand; no event is expected of it."""
        tracker = self._package(package_id).get("packageTracker") or {}
        known = {m["status"]["code"] for m in tracker.get("milestones") or ()}
        if code not in known:
            place = self._home if code == "DELIVERED" else None
            self._add(
                Step(
                    self._at,
                    package_id,
                    code,
                    locality=place.locality if place else "",
                    region=place.region if place else "",
                    quiet=True,
                )
            )

    def _track(self, package_id: str, given: Given) -> None:
        package = self._package(package_id)
        identity = tracker_identity(package.get("packageTracker"))
        if identity is None:
            raise invalid(
                "The package has no tracker yet: query the order again, and retry when it has one.",
                "PackageTrackerNotAvailableForUpdate",
            )
        wanted = given["packageTrackerIdentifier"]
        carrier = wanted.get("carrierCode") or identity[0]
        if (carrier.lower(), wanted["trackingNumber"]) != (identity[0].lower(), identity[1]):
            raise invalid("The package tracker isn't found or is expired.", "PackageTrackerNotFound")
        code, address = _milestone(given)
        if package["state"] in ("DELIVERED", "CANCELLED"):
            raise invalid(f"The package is {package['state']}: its tracker is at its end.", TRANSITION)
        if len(package["packageTracker"].get("milestones") or ()) >= MOST_MILESTONES:
            raise invalid(
                "The maximum number of updates on the tracker has been reached.",
                "UpdatePackageTrackerLimitExceeded",
            )
        self._add(
            Step(
                self._at,
                package_id,
                code,
                locality=address.get("locality") or self._home.locality,
                region=address.get("region") or self._home.region,
                country=address.get("country") or "US",
            )
        )
        if code in _ENDS and package["state"] == "IN_TRANSIT":
            self._add(Step(self._at, package_id, state="CANCELLED", reason="UNDELIVERABLE"))

    def _add(self, step: Step) -> None:
        try:
            self._order, _ = advance(self._order, step, self._seed)
        except (Conflict, Invalid, NotFound) as e:
            raise invalid(e.detail, TRANSITION) from e
        self.steps.append(step)

    def _package(self, package_id: str) -> dict[str, Any]:
        try:
            return find_package(self._order, package_id)
        except NotFound as e:
            raise invalid(
                "The PackageInformationDetailId isn't found in the system.",
                "PackageInformationDetailIdNotFound",
            ) from e


def _first(details: Sequence[Given], package_id: str) -> int:
    """Where a package is named first: packages are taken in that order."""
    return next(n for n, entry in enumerate(details) if entry["id"] == package_id)


def _milestone(given: Given) -> tuple[str, Given]:
    """The milestone's code, and where the carrier was."""
    milestone = given.get("milestone")
    if (given.get("state") is None) == (milestone is None):
        raise invalid("packageTrackerState has either a state or a milestone.")
    if milestone is None:
        return given["state"], {}
    return milestone["status"]["code"], milestone.get("address") or {}


def _part(state: Given, package: Given) -> Part:
    """What of the package a state is for; empty for all of it."""
    contents = state.get("packageInformationDetailsFor") or {}
    entries = contents.get("orderLineItemAmounts") or contents.get("orderLineItems") or ()
    held = _held(package)
    part: dict[str, Decimal] = {}
    for entry in entries:
        item = str(entry["lineItemId"]["lineItemId"])
        if item not in held:
            raise invalid(f"Line item {item} is not in this package.")
        units = entry["amount"]["value"] if entry.get("amount") else held[item]
        if units <= 0 or item in part:
            raise invalid("Each line item of a part is named once, with more than 0 units.")
        part[item] = units
    return tuple((item, plain(units)) for item, units in part.items())


def _rest(package: Given, parts: Sequence[Part]) -> Part:
    """What of the package is in none of the parts."""
    left = _held(package)
    for item, units in (entry for part in parts for entry in part):
        left[item] -= Decimal(str(units))
        if left[item] < 0:
            raise invalid(f"The package holds fewer units of line item {item}.")
    return tuple((item, plain(units)) for item, units in left.items() if units)


def _held(package: Given) -> dict[str, Decimal]:
    entries = package["packageInformationDetailsFor"]["orderLineItems"]
    return {e["lineItem"]["id"]: Decimal(str((e.get("amount") or {}).get("value", 1))) for e in entries}
