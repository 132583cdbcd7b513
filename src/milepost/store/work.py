"""Hydration asks as every store has them: what must still be asked of the API, and when."""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from milepost.domain.instant import Instant


class Ask(Struct, frozen=True):
    """One thing to ask of the API for the events that wait for it. One a target: a burst coalesces here.

    `target` is an order or tracker subject. `waiting` are the positions of events not answered yet."""

    business_product_id: str
    target: str
    priority: int
    """Lower goes first: 0 money, 1 shopper-visible, 2 the rest."""
    due_at: Instant
    tries: int
    waiting: tuple[int, ...]
    state: Literal["open", "gaveUp"] = "open"
    error: str = ""
    """Why the last try did not answer, for people."""
    fingerprint: str = ""
    """Hash of the last answer: three unchanged answers settle a milestone event."""
    unchanged: int = 0
    carrier_code: str = ""
    """As the event wrote it, where the target is a tracker (subjects compare without case)."""


class Work(Protocol):
    def put(self, asks: Sequence[Ask]) -> None:
        """Insert or replace asks by (business product, target)."""
        ...

    def get(self, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], Ask]: ...

    def due(self, at: Instant, limit: int) -> list[Ask]:
        """Open asks whose time has come: lowest priority number first, then earliest."""
        ...

    def next_due(self) -> Instant | None: ...

    def done(self, targets: Collection[tuple[str, str]]) -> None: ...

    def page(
        self,
        after: tuple[str, str] | None,
        limit: int,
        business_products: Collection[str] | None,
        state: str | None,
    ) -> list[Ask]: ...

    def count(self) -> dict[str, int]:
        """Asks by state."""
        ...
