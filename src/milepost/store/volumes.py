"""How many events came by the hour, as every store keeps it: what silence is compared with."""

from collections.abc import Collection, Mapping
from typing import Protocol

VolumeKey = tuple[str, str, str, int]
"""(business product, family, road, hour since 1970 UTC). Families are `domain.volume`'s."""


class Volumes(Protocol):
    def add(self, counts: Mapping[VolumeKey, int]) -> None:
        """Add to what was counted."""
        ...

    def between(
        self, first: int, last: int, business_products: Collection[str] | None
    ) -> dict[VolumeKey, int]:
        """Counts of the hours from `first` to `last`, both included."""
        ...

    def forget(self, before: int) -> None:
        """Remove the hours before this one."""
        ...
