"""What the store contract needs of an implementation, and the arrivals its tests are made of."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant
from milepost.store import Arrival, Counts, Store

T0 = Instant(1_737_376_496_000)
ORDER = "businessProduct/bp-1/order/o-1/delivery/d-1"
MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"


class Harness(Protocol):
    """One implementation under test. `name` tells databases of one test apart."""

    can_be_unavailable: bool

    async def open(self, name: str = "main") -> Store:
        """Open (creating and migrating) the database `name`; after a close it is the same database again."""
        ...

    async def crash(self, name: str = "main") -> Store:
        """A store over what a crash at this moment would leave of the database `name`, which stays open."""
        ...

    def unavailable(self, name: str = "main") -> AbstractContextManager[None]:
        """While inside, nothing can be committed to the database `name`."""
        ...


def arrival(
    key: str = "k-1",
    event_id: str = "e-1",
    *,
    descriptor: str = "PACKAGE_DELIVERED",
    resources: Sequence[str] = (ORDER,),
    data: Any = None,
    road: str = "webhook",
    subscription_id: str = "sub-1",
    at: int = T0,
) -> Arrival:
    body = json.dumps(
        {
            "idempotencyKey": key,
            "eventDescriptor": descriptor,
            "resources": list(resources),
            "eventId": event_id,
            "apiVersion": "2024-11-01",
            "subscriptionId": subscription_id,
            "eventTime": "2025-01-20T12:34:56Z",
            "data": {} if data is None else data,
        }
    ).encode()
    return Arrival(parse_event(body), body, Instant(at), road)


async def counts(store: Store) -> Counts:
    """The counts, with the law that always holds of them."""
    found = await store.read(lambda tx: tx.journal.counts("projector"))
    assert found.arrivals == found.events + found.duplicates + found.quarantined
    assert found.conflicts <= found.duplicates
    assert found.folded + found.pending == found.records
    assert min(found.folded, found.pending, found.quarantined, found.failed_folds) >= 0
    return found
