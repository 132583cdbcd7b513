"""Erasures as every store has them: what was asked for, how far it is, and what is erased for good."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from milepost.domain.erasure import Erasure
from milepost.domain.instant import Instant

Key = tuple[str, str]
"""(business product, subject)."""


class Erasures(Protocol):
    def put(self, erasure: Erasure) -> None:
        """Insert, or move on what is there under the same id."""
        ...

    def get(self, id: str) -> Erasure | None: ...

    def unfinished(self, limit: int) -> list[Erasure]:
        """Those that are not done, oldest first."""
        ...

    def page(
        self, after: int, limit: int, business_products: Collection[str] | None
    ) -> list[tuple[int, Erasure]]: ...

    def mark(self, subjects: Mapping[Key, Instant]) -> None:
        """These are erased from now on, whatever still comes about them."""
        ...

    def erased(self, keys: Collection[Key]) -> dict[Key, Instant]:
        """Which of these are erased, and since when."""
        ...

    def any_erased(self) -> bool:
        """Whether anything is: most hubs never have to look further."""
        ...

    def rewrite(self, bodies: Mapping[int, bytes], flag: str) -> None:
        """Put other bytes in the place of records' bodies, and add a flag to each."""
        ...

    def rewrite_quarantined(self, bodies: Mapping[int, bytes]) -> None:
        """The same for bodies in quarantine, by their id."""
        ...

    def blank_attempts(self, positions: Sequence[int]) -> int:
        """Remove what receivers answered and which errors they gave from the attempts about records; how many."""
        ...
