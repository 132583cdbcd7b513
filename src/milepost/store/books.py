"""The accountant's books as every store has them. A ledger: rows are added, never changed; no rebuild touches it."""

from collections.abc import Collection, Sequence
from typing import Protocol

from milepost.domain.accounting import Entry, Period
from milepost.domain.instant import Instant


class Books(Protocol):
    def post(self, entries: Sequence[Entry]) -> None:
        """Add rows; one whose id is there already is left out."""
        ...

    def of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Entry]]:
        """Rows by (business product, order id), oldest first."""
        ...

    def page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        period: str | None = None,
        order_id: str | None = None,
    ) -> list[tuple[int, Entry]]:
        """Rows with a number above `after`, lowest first; `period` is the one they are posted to, `order_id` the one
        order that they are about."""
        ...

    def extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        """(how many rows there are, the highest number or 0)."""
        ...

    def to_settle(self, now: Instant, limit: int) -> list[Entry]:
        """Provisional rows that are to be looked at by now, oldest first."""
        ...

    def look_again(self, rows: Sequence[tuple[Entry, Instant | None]]) -> None:
        """When each of these rows is to be looked at; None: not any more."""
        ...

    def closed(self, business_products: Collection[str]) -> set[tuple[str, str]]:
        """(business product, period) of every closed one."""
        ...

    def close(self, period: Period) -> bool:
        """Nothing is posted to it from now on; False when that is so already."""
        ...

    def periods(
        self, after: tuple[str, str], limit: int, business_products: Collection[str] | None
    ) -> list[Period]:
        """Closed periods with a key (business product, period) above `after`, lowest first."""
        ...
