"""How many events came by the hour, as every store keeps it: what silence and loss are measured against."""

from collections.abc import Collection, Mapping
from typing import Protocol

from msgspec import Struct

from milepost.domain.volume import Span

VolumeKey = tuple[str, str, str, int]
"""(business product, event type, road, hour since 1970 UTC)."""


class Reached(Struct, frozen=True):
    """How far arrivals were counted: first ones by position, further ones by their number."""

    position: int
    copy: int


class Volumes(Protocol):
    def count(self, behind: Reached, limit: int, from_hour: int) -> tuple[dict[VolumeKey, int], Reached]:
        """Arrivals of events behind `behind`, at most `limit` first ones and as many copies, by hour from
        `from_hour` on; and how far that is. The same as `behind` when there is nothing more."""
        ...

    def add(self, counts: Mapping[VolumeKey, int]) -> None:
        """Add to what was counted."""
        ...

    def between(
        self, first: int, last: int, business_products: Collection[str], of_week: Collection[int] | None
    ) -> dict[VolumeKey, int]:
        """Counts of these business products in the hours from `first` to `last`, both included; `of_week` narrows
        them to these hours of the week (an hour modulo 168)."""
        ...

    def spans(
        self, first: int, last: int, business_products: Collection[str] | None
    ) -> dict[tuple[str, str, str], Span]:
        """By business product, type and road, what came from `first` to `last`; without what is counted under no
        business product."""
        ...

    def forget(self, before: int) -> None:
        """Remove the hours before this one."""
        ...
