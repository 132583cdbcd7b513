"""What numbers mean: findings that `milepost doctor` prints and the console's health page shows."""

from collections.abc import Iterator, Mapping
from typing import Any

from milepost.domain.finding import Finding
from milepost.store import Counts


def books_findings(counts: Counts, asks: dict[str, int]) -> list[Finding]:
    """What the counts of the books and of open questions mean."""
    given_up = asks.get("gaveUp", 0)
    return [
        Finding(
            "journal",
            True,
            f"{counts.records} records of {counts.arrivals} arrivals, {counts.pending} pending",
        ),
        Finding(
            "quarantine",
            counts.waiting == 0,
            _quarantine(counts),
            "milepost quarantine list",
        ),
        Finding(
            "folds",
            counts.failed_folds == 0,
            f"{counts.failed_folds} failed" if counts.failed_folds else "none failed",
            "GET /v1/failures lists them; after a fix, milepost rebuild",
        ),
        Finding(
            "hydration",
            given_up == 0,
            f"{asks.get('open', 0)} open, {given_up} given up",
            "POST /v1/hydration/retry asks again",
        ),
    ]


def _quarantine(counts: Counts) -> str:
    dismissed = f"{counts.dismissed} dismissed" if counts.dismissed else ""
    bodies = "1 body" if counts.waiting == 1 else f"{counts.waiting} bodies"
    waiting = f"{bodies} could not be read" if counts.waiting else ""
    return ", ".join(filter(None, (waiting or ("nothing waits" if dismissed else "empty"), dismissed)))


def missing_findings(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """What `/v1/missing` means: silence and a missing scope are wrong, a loss is told."""
    mend = "look at the subscription with Buy with Prime; milepost missing shows what is asked meanwhile"
    silent = [f"{one['type']} by {one['road']} since {one['since']}" for one in answer["silent"]]
    yield Finding("silent subscriptions", not silent, "; ".join(silent) or "none", mend)
    lacking = [f"{one['businessProductId']} gets no {one['missing']}" for one in answer["scopes"]]
    permissions = {one["permission"] for one in answer["scopes"]}
    mend = f"subscribe to it; credentials need {', '.join(sorted(permissions))}"
    yield Finding("subscriptions", not lacking, "; ".join(lacking) or "none is missed", mend)
    lost = [
        f"{one['lost']} of {one['expected']} {one['type']} by {one['road']}"
        for one in answer["losses"]
        if one["lost"]
    ]
    found = "; ".join(lost) or ("none lost" if answer["losses"] else "nothing to measure yet")
    yield Finding("losses", True, found)
