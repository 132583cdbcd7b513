"""Insights: numbers over many parcels (tracking.md 8), answered from an in-process copy of their columns.

`Insights` is what web and console ask. Each answer is a struct of `insight_results`, or `Loading` while the columns
are being read. All computing happens in one thread beside the event loop, one question at a time.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Filter, Loading, Overview, Result, Rows, Share


class Insights(Protocol):
    """Questions; every one is restricted to the filter's business products."""

    async def overview(self, filter: Filter, now: Instant) -> Overview | Loading:
        """Everything that the first page shows, from one state of the columns."""
        ...

    async def metric(self, name: str, filter: Filter, now: Instant) -> Result | Loading:
        """One of METRICS. Raises `NotFound` for another name."""
        ...

    async def notifications(self, filter: Filter) -> Share:
        """What became of notifications, from the ledger: sent, suppressed by rule, bounced."""
        ...

    async def rows(
        self, which: str, filter: Filter, now: Instant, after: str | None = None, limit: int = 100
    ) -> Rows | Loading:
        """The parcels behind a number, by what its `rows` says. Raises `NotFound`, `Invalid` for `after`."""
        ...

    async def csv(self, which: str, filter: Filter, now: Instant) -> AsyncIterator[bytes] | Loading:
        """The same rows, all of them, as CSV in pieces."""
        ...
