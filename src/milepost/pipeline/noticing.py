"""Noticing: the follower that makes notifications of what the folds make news, in the projector's own write.

So an intent without its fold, or the other way round, cannot be (tracking.md 11, rule 15). Nothing is sent here: the
notifier looks for what is due. What is news is decided by `domain.noticing`; the ledger takes each once for life.

The checkpoint `SINCE` holds the instant at which notifications were switched on, 0 while they are off: what occurred
before is history (rule 8), so that switching them on, for the first time or again, tells nobody about the past.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.instant import Instant
from milepost.domain.noticing import notice_order, notification_of
from milepost.domain.notification import Occasion
from milepost.domain.notification_policy import NotificationPolicy
from milepost.pipeline.telling import NOTICED, Followed
from milepost.store import Store, Transaction

SINCE: Final = "notifications.since"


_REMAPPED: Final = "Nothing happened; only what the carrier's code means is new."


class _Row(Struct, frozen=True):
    business_product_id: str
    order_id: str
    occasion: Occasion


class Noticing:
    """A `telling.Follower`."""

    name = NOTICED

    def __init__(self, policy: NotificationPolicy) -> None:
        self._policy = policy

    def follow(
        self, order: Mapping[str, Any], before: bytes | None, at: Instant, now: Instant
    ) -> Followed | None:
        noticed = notice_order(order, before, at, now, self._policy)
        if noticed is None:
            return None
        product, order_id = order["businessProductId"], order["id"]
        return Followed(noticed.standing, [_Row(product, order_id, o) for o in noticed.occasions])

    def hushed(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Rule 8: each is kept in the ledger as not told, and why."""
        return [
            row
            if row.occasion.rule
            else replace(row, occasion=replace(row.occasion, rule=8, reason=_REMAPPED))
            for row in rows
        ]

    def write(self, tx: Transaction, rows: Sequence[Any], now: Instant) -> None:
        since = _since(tx, now)
        tx.notifications.add(
            [
                notification_of(row.business_product_id, row.order_id, row.occasion, since, now, self._policy)
                for row in rows
            ]
        )


async def switch(store: Store, on: bool, now: Instant) -> None:
    """Keep since when notifications are on; called whenever a hub opens."""
    known = await store.read(lambda tx: tx.journal.checkpoint(SINCE))
    if on and not known:
        await store.write(lambda tx: _since(tx, now))
    elif known and not on:
        await store.write(lambda tx: tx.journal.set_checkpoint(SINCE, 0))


def _since(tx: Transaction, now: Instant) -> Instant:
    """Since when they are on: from now, if nobody said so yet."""
    if known := tx.journal.checkpoint(SINCE):
        return Instant(known)
    tx.journal.set_checkpoint(SINCE, now)
    return now
