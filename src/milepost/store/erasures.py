"""Erasures as every store has them: what was asked for, how far it is, and what is erased for good."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from milepost.domain.erasure import Erasure
from milepost.domain.instant import Instant
from milepost.domain.record import Record

Key = tuple[str, str]
"""(business product, subject)."""


class Erasures(Protocol):
    def put(self, erasure: Erasure) -> None:
        """Insert, or move on what is there under the same id."""
        ...

    def get(self, id: str) -> Erasure | None: ...

    def under_way(self, limit: int) -> list[Erasure]:
        """Those that are to be done, and are not yet, oldest first."""
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
        """Put other bytes in the place of records' bodies, and add a flag to each; what came of them by other roads
        goes."""
        ...

    def events(self, types: Collection[str], within: tuple[int, int], limit: int) -> list[Record]:
        """Events of these types above one position and up to another, lowest first."""
        ...

    def rewrite_quarantined(self, bodies: Mapping[int, bytes], reason: str) -> None:
        """The same for bodies in quarantine, by their id; the reasons quote them, so another takes their place."""
        ...

    def blank_attempts(self, positions: Sequence[int]) -> int:
        """Remove what receivers answered and which errors they gave from the attempts about records; how many."""
        ...

    def forget_failures(self, positions: Sequence[int], projector: str) -> None:
        """Remove what errors quote from these records: the projector's go, since it folds them again, of others the
        text does."""
        ...

    def blank_failures(self, keys: Collection[Key]) -> None:
        """Remove what errors quote from whatever failed about these subjects, wherever it stands in the journal."""
        ...

    def failing(self, keys: Collection[Key], projector: str) -> set[Key]:
        """Those of these subjects whose fold is listed as failed."""
        ...
