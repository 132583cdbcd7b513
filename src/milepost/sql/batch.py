"""Appends that wait for their commit, and what shares one: no timer, a batch is what queued up meanwhile."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from milepost.domain.errors import StoreUnavailable
from milepost.sql.append import Row
from milepost.store import Arrival, Receipt

MAX_ARRIVALS = 1_024
MAX_BYTES = 8 * 1024 * 1024
"""A batch ends at either; one call that is larger goes alone."""

THOROUGH_BATCHES = 8
"""Batches after one with a duplicate that are not tried the quick way: duplicates come in swarms."""


class AppendCall:
    """The arrivals of one `Store.append`, rows made, waiting for their commit."""

    __slots__ = ("arrivals", "future", "rows", "size")

    def __init__(
        self, arrivals: Sequence[Arrival], rows: list[Row], future: "asyncio.Future[list[Receipt]]"
    ) -> None:
        self.arrivals = arrivals
        self.rows = rows
        self.size = sum(len(row[8]) for row in rows)
        self.future = future


def next_batch(waiting: deque[AppendCall]) -> list[AppendCall]:
    """Take the calls that are committed together next."""
    calls: list[AppendCall] = []
    arrivals = size = 0
    while waiting and (
        not calls or (arrivals + len(waiting[0].rows) <= MAX_ARRIVALS and size + waiting[0].size <= MAX_BYTES)
    ):
        call = waiting.popleft()
        arrivals += len(call.rows)
        size += call.size
        calls.append(call)
    return calls


def joined(calls: Sequence[AppendCall]) -> tuple[Sequence[Arrival], Sequence[Row]]:
    """The arrivals of all of them, and the rows."""
    if len(calls) == 1:
        return calls[0].arrivals, calls[0].rows
    return [a for call in calls for a in call.arrivals], [row for call in calls for row in call.rows]


def divided(
    calls: Sequence[AppendCall], receipts: Sequence[Receipt]
) -> Iterator[tuple[AppendCall, list[Receipt]]]:
    """Each call with its own part of the receipts."""
    start = 0
    for call in calls:
        end = start + len(call.rows)
        yield call, list(receipts[start:end])
        start = end


def own(failure: StoreUnavailable) -> StoreUnavailable:
    """The same failure once more: an exception collects what each of its raisers adds, so everybody gets one."""
    copy = StoreUnavailable(failure.detail, **failure.context)
    copy.__cause__ = failure.__cause__
    return copy
