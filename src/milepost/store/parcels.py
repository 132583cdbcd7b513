"""Measures of parcels, as every store keeps them: what Insights computes from.

A view: the projector writes it beside the views of orders, a rebuild forgets and remakes it, and what it says is a
function of the facts. Beside it stands what a copy in memory goes by and no rebuild could remake: every row has a
`number` for life and a `revision` that grows with each change, what went leaves its number behind for a while, and
`epoch` changes when everything was forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from milepost.domain.measure import Measure

OrderKey = tuple[str, str]
"""(business product, order id)."""

COLUMNS: Final[tuple[str, ...]] = tuple(
    name for name in Measure.__struct_fields__ if name not in ("order_id", "delivery_id", "tracker")
)
"""What `changed` gives of a measure: what is computed with. The ids of one are found by its number."""


class ParcelState(Struct, frozen=True):
    """Where the rows stand."""

    epoch: int
    revision: int
    """The highest given so far."""
    behind: int | None
    """Orders whose views were folded before there were measures: those up to this view number have theirs, the
    others are still to be measured (`pipeline.remeasuring`). None: all of them have."""
    floor: int = 0
    """What went at or below this revision is forgotten: a copy that is not as far has to be made anew."""


class Parcels(Protocol):
    def put(self, orders: Mapping[OrderKey, Sequence[Measure]]) -> None:
        """From now on these are the rows of these orders, and no others."""
        ...

    def remove(self, orders: Collection[OrderKey]) -> None:
        """Forget the rows of orders. `Views.remove` does it for the orders it removes."""
        ...

    def state(self) -> ParcelState: ...

    def count(self) -> int: ...

    def changed(self, after: int, limit: int) -> Sequence[Sequence[Any]]:
        """(revision, number, *COLUMNS) of rows with a revision above `after`, lowest first."""
        ...

    def gone(self, after: int, limit: int) -> list[tuple[int, int]]:
        """(revision, number) of rows that went after that revision, lowest first; of those at or below the `floor`
        nothing is known any more."""
        ...

    def get(self, numbers: Collection[int]) -> dict[int, Measure]:
        """Rows by their numbers; only those that are there."""
        ...

    def measured(self, up_to: int | None) -> None:
        """Note that the orders up to this view number have their rows; None: all of them."""
        ...
