"""Work queues as every store has them: what is in them, what people did about it, and the filters they keep."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.queue import Mark, QueueItem, QueueName

Standing = Literal["open", "snoozed", "handled", "all"]
"""Of an item: to be done, put off until later, done; a filter may want all of them."""


class ItemKey(NamedTuple):
    """What one raising of one item is known by. `owner` is the subject of the order or tracker that it belongs to."""

    business_product_id: str
    owner: str
    queue: QueueName
    subject: str
    since: Instant


class ItemPlace(NamedTuple):
    """Where a page of a queue ended."""

    since: Instant
    business_product_id: str
    subject: str


class WantedItems(Struct, frozen=True):
    """Which items of a queue a page is of; None: whatever it is."""

    queue: QueueName
    standing: Standing = "open"
    carrier_code: str | None = None
    """In any case."""
    region: str | None = None
    until: Instant | None = None
    """Only what began by then."""
    assignee: str | None = None
    """Empty: what nobody has."""


class SavedFilter(Struct, frozen=True):
    """A filter that somebody keeps."""

    id: str
    owner: str
    shared: bool
    queue: QueueName
    name: str
    query: str
    """As in an address, without the question mark."""
    business_product_ids: tuple[str, ...]
    """Its owner's when it was saved; empty: all."""
    created_at: Instant


class Queues(Protocol):
    def put(self, found: Mapping[tuple[str, str], Sequence[QueueItem]]) -> None:
        """From now on these are all the items of each (business product, owner). What did not change is not written,
        and what people did about an item holds for it again."""
        ...

    def page(
        self,
        wanted: WantedItems,
        after: ItemPlace | None,
        limit: int,
        business_products: Collection[str] | None,
        now: Instant,
    ) -> list[QueueItem]:
        """Items behind a place, those first that began first."""
        ...

    def count(
        self, queue: QueueName, most: int, business_products: Collection[str] | None, now: Instant
    ) -> tuple[int, Instant | None]:
        """(how many are open, `most` at most; when the oldest of them began)."""
        ...

    def find(self, keys: Collection[ItemKey]) -> dict[ItemKey, QueueItem]:
        """Those of these that are in their queue now, raised at that time."""
        ...

    def marks(self, keys: Collection[ItemKey]) -> dict[ItemKey, Mark]:
        """What people did about these; only those with any."""
        ...

    def mark(self, marks: Mapping[ItemKey, Mark]) -> None:
        """From now on this is what people did about these."""
        ...

    def forget(self, owners: Collection[tuple[str, str]]) -> None:
        """Forget what people did about the items of these (business product, order's or tracker's subject)."""
        ...

    def filters(self, owner: str, business_products: Collection[str] | None, limit: int) -> list[SavedFilter]:
        """Somebody's own filters, and those that others share whose `business_product_ids` are all among these (None:
        all there are), by name; `limit` of either at most."""
        ...

    def put_filter(self, saved: SavedFilter) -> None:
        """Insert, or replace what is there under the same id."""
        ...

    def remove_filter(self, id: str) -> None: ...
