"""The store's contract: what every database must do for Milepost, and what callers may rely on.

Async outside, sync inside: `Store.write` and `Store.read` take one sync function of a `Transaction` that never
awaits. A write function runs alone (one writer), commits as a whole or not at all, and may run again after a
failed commit, so it must not have effects outside the transaction. Nothing is sent inside one. Of several hubs
on one database (PostgreSQL) only one runs a write function at a time; appends go on beside it.

- **Journal**: records, arrivals, quarantine, checkpoints. The only source of truth.
- **Views**: what the folds produced, and the indexes that reading needs. Remade by `rebuild` at any time.
- **Parcels**: measures of every parcel, for Insights. A view like the others.
- **Work**: hydration asks: what must still be asked of the API, and when.
- **Attempts**: destinations, messages to them, every try to send one, and which endpoints are left alone.
- **Ledger**: captures, and what subscribers were last told. Histories: no rebuild touches them.
- **Volumes**: events by the hour.
- **Notifications**: what shoppers are told, and what they chose. **Books**: the accountant's rows. Histories too.
- **Queues**: what somebody should look at (a view, remade by `rebuild`), and what people did about it (theirs).
- **Erasures**: personal data that was, or is to be, taken out.
- **Credentials**: API keys, hashed.
- **Users**: who signs in to the console. **Audit**: who did what, never changed.
- **Leases**: which of several hubs does what only one may do.

Every list is bounded by a `limit`. Times are passed in; nothing here reads a clock. Implementations live in
`sql`; `tests/contract` proves each of them. Errors: `StoreUnavailable` when a write cannot be committed (disk
full, read-only, gone), `StoreLocked` when another hub holds the database.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from milepost.store.attempts import Attempts
from milepost.store.books import Books
from milepost.store.credentials import ApiKey, Credentials, Scope
from milepost.store.erasures import Erasures
from milepost.store.journal import (
    Arrival,
    ArrivalRow,
    Counts,
    Journal,
    NewRecord,
    Quarantined,
    QuarantineState,
    Receipt,
)
from milepost.store.leases import Lease, Leases
from milepost.store.ledger import CaptureKey, Ledger
from milepost.store.notifications import Notifications
from milepost.store.parcels import OrderKey, Parcels, ParcelState
from milepost.store.queues import ItemKey, ItemPlace, Queues, SavedFilter, WantedItems
from milepost.store.users import Audit, Users
from milepost.store.views import FailedFold, Found, View, ViewKind, Views
from milepost.store.volumes import Reached, VolumeKey, Volumes
from milepost.store.work import Ask, Work

__all__ = [
    "ApiKey",
    "Arrival",
    "ArrivalRow",
    "Ask",
    "Attempts",
    "Audit",
    "Books",
    "CaptureKey",
    "Counts",
    "Credentials",
    "Erasures",
    "FailedFold",
    "Found",
    "ItemKey",
    "ItemPlace",
    "Journal",
    "Lease",
    "Leases",
    "Ledger",
    "NewRecord",
    "Notifications",
    "OrderKey",
    "ParcelState",
    "Parcels",
    "QuarantineState",
    "Quarantined",
    "Queues",
    "Reached",
    "Receipt",
    "SavedFilter",
    "Scope",
    "Store",
    "Transaction",
    "Users",
    "View",
    "ViewKind",
    "Views",
    "VolumeKey",
    "Volumes",
    "WantedItems",
    "Work",
]

T = TypeVar("T")


class Transaction(Protocol):
    """What a write or read function works with; valid only while that function runs."""

    @property
    def journal(self) -> Journal: ...
    @property
    def views(self) -> Views: ...
    @property
    def parcels(self) -> Parcels: ...
    @property
    def work(self) -> Work: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def credentials(self) -> Credentials: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def volumes(self) -> Volumes: ...
    @property
    def notifications(self) -> Notifications: ...
    @property
    def books(self) -> Books: ...
    @property
    def erasures(self) -> Erasures: ...
    @property
    def users(self) -> Users: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def queues(self) -> Queues: ...


class Store(Protocol):
    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Journal arrivals durably, each once, and count every duplicate. Returns after the commit.

        Arrivals of concurrent callers share a commit (natural batches, no timer). A duplicate inside the
        batch is one too. Raises `StoreUnavailable`: then none of these arrivals was kept, unless the connection
        to the database broke in the very commit and stayed broken: then they may be found kept later on.
        """
        ...

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a write transaction of its own and commit it."""
        ...

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on one consistent state of the database, beside the writer."""
        ...

    async def changed(self, position: int, timeout: float) -> int:
        """Wait until the journal's last position is above `position`, or `timeout` seconds; returns the last
        position known. A wait for a signal, not a poll."""
        ...

    async def size(self) -> int:
        """Bytes that `compact` copies while nobody can write; 0 where everybody can."""
        ...

    async def compact(self, again: bool = False) -> bool:
        """Let go of the bytes of what was deleted or replaced, as far as the database lets one. Writers may have to
        wait as long as it takes to copy the database (`size`). False: somebody still reads what was there before;
        what is left to do is done with `again`. Raises `StoreUnavailable`, also where the disk has no room for it."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, commit, release the lock."""
        ...
