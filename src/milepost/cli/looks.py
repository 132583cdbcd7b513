"""How commands draw what they show: states as coloured dots and words, a parcel's four steps, times as people read.

Colour never says anything alone: the word stands beside it, so that a terminal without colours loses nothing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from rich.markup import escape
from rich.text import Text

from milepost.domain.wording import spoken

STATE_COLOURS: Final = {
    "DELIVERED": "green",
    "IN_TRANSIT": "cyan",
    "OUT_FOR_DELIVERY": "bright_cyan",
    "AVAILABLE_FOR_PICKUP": "bright_cyan",
    "PENDING": "yellow",
    "INFO_RECEIVED": "yellow",
    "CANCELLED": "red",
    "LOST": "red",
    "UNDELIVERABLE": "red",
    "RETURNING": "magenta",
    "RETURNED": "magenta",
}
_STAGES: Final = ("ordered", "shipped", "out for delivery", "delivered")
_HARD: Final = frozenset({"LATE", "CONTRADICTION", "LOST", "UNDELIVERABLE", "AUTHORIZATION_EXPIRED"})
"""Conditions that are shown in red; others in yellow."""


def state(name: str | None) -> str:
    """A state in words, coloured."""
    colour = STATE_COLOURS.get(name or "", "white")
    return f"[{colour}]{escape(spoken(name).capitalize() if name else '?')}[/]"


def dot(name: str | None) -> str:
    """A state with a dot before it, for columns and titles."""
    colour = STATE_COLOURS.get(name or "", "white")
    return f"[{colour}]●[/] {state(name)}"


def trouble(code: str) -> str:
    """The colour of an open condition."""
    return "red" if code in _HARD else "yellow"


def local(text: str | None) -> str:
    """An ISO 8601 time as a person at this machine reads it."""
    if not text:
        return "                   "
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


def ago(text: str | None) -> str:
    """How long ago a time was: `3 h`, `2 d`; empty without one, or for one that is still to come."""
    if not text:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    if seconds < 0:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def steps(delivery: dict[str, Any]) -> Text:
    """`●━●━○─◌`: how far a parcel is; hollow where nobody recorded the step."""
    codes = {m["code"] for m in standing_milestones(delivery)}
    evidence = delivery.get("shipEvidence")
    happened = (
        True,
        evidence is not None and not evidence.get("inferred"),
        "OUT_FOR_DELIVERY" in codes,
        delivery["state"] == "DELIVERED",
    )
    furthest = max(place for place, is_so in enumerate(happened) if is_so)
    drawn = Text()
    for place, (name, is_so) in enumerate(zip(_STAGES, happened, strict=True)):
        if place:
            drawn.append(" ━━ " if place <= furthest else " ── ", "green" if place <= furthest else "dim")
        mark = "●" if is_so else "○"
        drawn.append(f"{mark} ", "green" if place <= furthest else "dim")
        drawn.append(name, "bold" if place == furthest else "" if is_so else "dim")
        if place < furthest and not is_so:
            drawn.append(" (no scan)", "dim")
    return drawn


def standing_milestones(delivery: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The scans of a delivery that happened, as far as anybody knows."""
    for tracker in delivery["trackers"]:
        for milestone in tracker.get("milestones") or ():
            if milestone.get("standing", "counts") in ("counts", "historyFill"):
                yield milestone


def last_scan(order: dict[str, Any]) -> str | None:
    """When any parcel of an order was scanned last."""
    times = [
        m["occurredAt"] for d in order["deliveries"] for m in standing_milestones(d) if m.get("occurredAt")
    ]
    return max(times, default=None)


def window(estimate: dict[str, Any] | None) -> str:
    """`2026-11-08 – 2026-11-10`; empty where nothing is estimated."""
    if not estimate:
        return ""
    first, last = estimate.get("earliestDate"), estimate.get("latestDate")
    if not first or not last or first == last:
        return str(first or last or "")
    return f"{first} – {last}"


def expected(order: dict[str, Any]) -> str:
    """When what is still under way is expected: the widest window."""
    windows = [
        d["estimatedDelivery"]
        for d in order["deliveries"]
        if d["state"] in ("PENDING", "IN_TRANSIT") and d.get("estimatedDelivery")
    ]
    firsts = [w.get("earliestDate") or w.get("latestDate") for w in windows]
    lasts = [w.get("latestDate") or w.get("earliestDate") for w in windows]
    known = {
        "earliestDate": min(filter(None, firsts), default=None),
        "latestDate": max(filter(None, lasts), default=None),
    }
    return window(known)
