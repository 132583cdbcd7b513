"""What is asked of a queue, as it stands in an address: read, checked, written again; and the filters people keep.

A kept filter is such a query with a name. It is its owner's; a shared one is seen by whoever sees at least the
business products that its owner saw when it was saved.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant
from milepost.domain.queue import QueueName
from milepost.store import SavedFilter, Transaction, WantedItems
from milepost.web.queue_lists import wanted_items
from milepost.web.visiting import Visitor

FIELDS: Final = ("carrier", "region", "olderThanHours", "assignee", "state", "businessProductId")
"""The parameters of `/v1/queues/{name}` that narrow it."""
MOST_FILTERS: Final = 50
"""That one person keeps."""
_SHOWN: Final = 500
_LONGEST_NAME: Final = 60
_LONGEST_VALUE: Final = 256


class Asked(Struct, frozen=True):
    """A query about one queue."""

    queue: QueueName
    fields: Mapping[str, str]
    """Of `FIELDS` those that say something."""

    @property
    def query(self) -> str:
        """As in an address, always written the same way."""
        return urlencode([(name, self.fields[name]) for name in FIELDS if name in self.fields])

    @property
    def business_product_id(self) -> str | None:
        return self.fields.get("businessProductId")

    def path(self, **more: str) -> str:
        """The page of it."""
        query = "&".join(part for part in (self.query, urlencode(more)) if part)
        return f"/queues/{self.queue}" + (f"?{query}" if query else "")

    def wanted(self, now: Instant) -> WantedItems:
        """Raises `Invalid`."""
        given = self.fields
        hours = given.get("olderThanHours")
        if hours is not None and not (hours.isascii() and hours.isdigit() and len(hours) < 7):
            raise Invalid("olderThanHours must be a number of hours", field="olderThanHours")
        return wanted_items(
            self.queue,
            now,
            carrier=given.get("carrier"),
            region=given.get("region"),
            older_than_hours=None if hours is None else int(hours),
            assignee=given.get("assignee"),
            standing=given.get("state"),
        )


def asked_of(queue: QueueName, given: Mapping[str, str]) -> Asked:
    """A query from parameters; others than `FIELDS` and empty ones are left out. Raises `Invalid`."""
    fields = {name: given[name].strip() for name in FIELDS if given.get(name, "").strip()}
    for name, value in fields.items():
        if len(value) > _LONGEST_VALUE:
            raise Invalid(f"{name} is too long", field=name)
    return Asked(queue, fields)


def filters_of(tx: Transaction, visitor: Visitor) -> list[SavedFilter]:
    """A visitor's own filters and those that are shared with them, by name."""
    return tx.queues.filters(visitor.id, visitor.business_products, _SHOWN)


def asked_by(saved: SavedFilter) -> Asked:
    """The query of a kept filter."""
    return asked_of(saved.queue, dict(parse_qsl(saved.query)))


def keep(
    tx: Transaction, visitor: Visitor, asked: Asked, name: str, id: str, now: Instant, *, shared: bool
) -> SavedFilter:
    """Keep a query. Raises `Invalid` for a name that is none or a query that asks nothing, `Conflict` for one too
    many."""
    asked.wanted(now)
    if not asked.fields:
        raise Invalid("There is nothing to keep: choose a filter first.", field="query")
    mine = [saved for saved in filters_of(tx, visitor) if saved.owner == visitor.id]
    if len(mine) >= MOST_FILTERS:
        raise Conflict(f"You keep {MOST_FILTERS} filters already; delete one first.", most=MOST_FILTERS)
    products = tuple(sorted(visitor.business_products or ()))
    saved = SavedFilter(id, visitor.id, shared, asked.queue, _name(name), asked.query, products, now)
    tx.queues.put_filter(saved)
    return saved


def rename(tx: Transaction, visitor: Visitor, id: str, name: str) -> SavedFilter:
    """Raises `NotFound` for a filter that isn't the visitor's own, `Invalid` for a name that is none."""
    saved = own_filter(tx, visitor, id)
    renamed = replace(saved, name=_name(name))
    tx.queues.put_filter(renamed)
    return renamed


def own_filter(tx: Transaction, visitor: Visitor, id: str) -> SavedFilter:
    """A filter that the visitor may change. Raises `NotFound`."""
    for saved in filters_of(tx, visitor):
        if saved.id == id and saved.owner == visitor.id:
            return saved
    raise NotFound("There is no such filter of yours.")


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > _LONGEST_NAME:
        raise Invalid(f"A filter's name has 1 to {_LONGEST_NAME} characters.", field="name")
    return name
