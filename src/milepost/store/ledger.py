"""Ledgers as every store has them: captures, and what subscribers were last told.

Histories: no rebuild touches them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from milepost.domain.capture import Capture, CaptureState

CaptureKey = tuple[str, str, str]
"""(business product, order id, delivery id)."""


class Ledger(Protocol):
    def put_captures(self, captures: Sequence[Capture]) -> None:
        """Insert, or move on what is there under the same id."""
        ...

    def captures(self, keys: Collection[CaptureKey]) -> dict[CaptureKey, Capture]: ...

    def capture(self, id: str) -> Capture | None: ...

    def captures_of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Capture]]:
        """Captures by (business product, order id), in the order in which they became ready."""
        ...

    def capture_page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        states: Collection[CaptureState] = (),
    ) -> list[tuple[int, Capture]]:
        """Captures of these states (none named: all) with a number above `after`, lowest first."""
        ...

    def capture_extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        """(how many captures there are, the highest number or 0)."""
        ...

    def count_captures(self) -> dict[str, int]:
        """How many, by state."""
        ...

    def count_in_state(
        self, state: CaptureState, most: int, business_products: Collection[str] | None
    ) -> int:
        """How many are in one state; `most` at most."""
        ...

    def told(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """What was last told, by (business product, subject); JSON that `domain.telling` understands."""
        ...

    def tell(self, told: Mapping[tuple[str, str], bytes]) -> None:
        """From now on this was last told. An empty document forgets."""
        ...
