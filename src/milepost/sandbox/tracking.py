"""What a carrier does to a tracker: scans it, moves its window, unsays a milestone, shows none for a while.

Each change that somebody could see publishes PACKAGE_TRACKER_MILESTONE_CHANGED, but for a window that moves by
itself: whether that raises an event, no page says. What a scan means for its package is `transitions`', for a
return `returning`'s. Documents are changed in place; they are the callers' copies.
"""

import copy
import re
from typing import Any

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import tracker_identity
from milepost.sandbox.catalog import MESSAGES
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import Step, new_tracker

LOCALE = "en-US"
_WITHHELD = "withheld"
"""Where a tracker's milestones are while its answers show none; the schema doesn't know this key."""
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def changed(parcel: dict[str, Any]) -> Publication:
    """The event that says that a parcel's tracker changed. Raises `Conflict` when it has none."""
    identity = tracker_identity(parcel.get("packageTracker"))
    if identity is None:
        raise Conflict(f"{parcel['id']} has no tracker yet", code="PackageTrackerNotAvailableForUpdate")
    return Publication(
        "PACKAGE_TRACKER_MILESTONE_CHANGED", (("carrier", identity[0]), ("tracker", identity[1]))
    )


def check_code(step: Step) -> str:
    """The step's milestone code as the reference writes it. Raises `Invalid` for one that isn't there, unless
    the carrier is odd."""
    if step.milestone in MESSAGES:
        return step.milestone
    if not step.odd:
        raise Invalid(f"{step.milestone} is no milestone code", field="milestone")
    return "_".join(filter(None, _WORD_BREAK.split(step.milestone))).upper()


def scan(
    parcel: dict[str, Any], step: Step, seed: int, known: dict[str, Any] | None = None
) -> list[Publication]:
    """Add the step's milestone to a parcel's tracker, which comes into being with the first: as a new one, or as
    the `known` one of another parcel that the carrier goes on with."""
    tracker = parcel.get("packageTracker")
    if tracker is None:
        new = new_tracker(seed, step.numbered_as or step.delivery_id, step.at)
        tracker = parcel["packageTracker"] = copy.deepcopy(known) if known is not None else new
    code = check_code(step)
    text = MESSAGES.get(code) or f"{code.replace('_', ' ').capitalize()}."
    milestone = {
        "occurredAt": step.occurred_at or format_instant(step.at),
        "status": {"code": step.milestone, "message": {"locale": LOCALE, "value": text}},
        "address": {"locality": step.locality, "region": step.region, "country": step.country}
        if step.locality
        else None,
    }
    listed = _WITHHELD if _WITHHELD in tracker else "milestones"
    _list(tracker, [milestone, *(tracker.get(listed) or ())], listed)
    _move_window(tracker, step)
    return [changed(parcel)]


def revise(parcel: dict[str, Any], step: Step) -> list[Publication]:
    """Change what a tracker shows without a new scan. Raises `Conflict` when there is no tracker."""
    if not (step.tracker or step.without or step.window or step.moved_by):
        raise Invalid("nothing happens at this step", field="step")
    event = changed(parcel)
    tracker = parcel["packageTracker"]
    if step.tracker == "empty" and _WITHHELD not in tracker:
        tracker[_WITHHELD] = tracker["milestones"]
        _list(tracker, [], "milestones")
    elif step.tracker == "whole" and _WITHHELD in tracker:
        _list(tracker, tracker.pop(_WITHHELD), "milestones")
    elif step.without:
        _unsay(tracker, step.without)
    _move_window(tracker, step)
    return [event] if step.tracker or step.without else []


def _unsay(tracker: dict[str, Any], code: str) -> None:
    listed = list(tracker.get("milestones") or ())
    for milestone in listed:
        if milestone["status"]["code"] == code:
            listed.remove(milestone)
            _list(tracker, listed, "milestones")
            return
    raise NotFound(f"the tracker shows no {code}")


def _list(tracker: dict[str, Any], milestones: list[dict[str, Any]], key: str) -> None:
    """Newest first, as real answers list them (buy-with-prime.md 5.1)."""
    tracker[key] = sorted(milestones, key=_occurred, reverse=True)
    if key == "milestones":
        tracker["latestMilestone"] = tracker[key][0] if milestones else None


def _occurred(milestone: dict[str, Any]) -> int:
    text = milestone.get("occurredAt")
    try:
        return parse_instant(text) if isinstance(text, str) else 0
    except ValueError:
        return 0


def _move_window(tracker: dict[str, Any], step: Step) -> None:
    if step.window is not None:
        tracker["estimatedDeliveryDate"] = dict(zip(("earliest", "latest"), step.window, strict=True))
    window = tracker.get("estimatedDeliveryDate")
    if step.moved_by and isinstance(window, dict):
        for end, text in window.items():
            if isinstance(text, str) and len(text) > len("2025-01-20"):
                window[end] = format_instant(Instant(parse_instant(text) + step.moved_by))
