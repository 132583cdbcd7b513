"""Filling work queues from the views there are, once: of a database that is older than they are.

From then on the projector writes an order's or a tracker's items beside its view, as a rebuild does. So what is left
is what was folded before there were queues: views are walked in the order of their numbers, and what follows from
each as it stands is put, in writes of a bounded size. A view that is folded meanwhile gives the same items.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from milepost.domain.queue import QueueItem, items_of_order, items_of_tracker
from milepost.store import Store, Transaction, ViewKind

NAME: Final = "queues"
"""Begins the names of the checkpoints: up to which number views of each kind were walked, and whether all were."""
PAGE: Final = 500
"""Views a write."""

_FOLD: Final[Mapping[ViewKind, Callable[[Mapping[str, Any]], tuple[QueueItem, ...]]]] = {
    "order": items_of_order,
    "tracker": items_of_tracker,
}
_FILLED: Final = f"{NAME}.filled"

log = structlog.get_logger()


class QueueFiller:
    """A part of the hub, under the projector's lease."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, stop: asyncio.Event) -> None:
        """Fill the queues unless they are filled already, then wait for `stop`. It goes on where it was stopped."""
        await self.fill(stop)
        await stop.wait()

    async def fill(self, stop: asyncio.Event | None = None) -> None:
        """Raises `StoreUnavailable`; what was committed before stands."""
        if await self._store.read(_is_filled):
            return
        for kind in _FOLD:
            while not (stop and stop.is_set()) and await self._store.write(partial(_page, kind=kind)):
                pass
        if not (stop and stop.is_set()):
            await self._store.write(lambda tx: tx.journal.set_checkpoint(_FILLED, 1))


def _is_filled(tx: Transaction) -> bool:
    return tx.journal.checkpoint(_FILLED) > 0


def _page(tx: Transaction, kind: ViewKind) -> bool:
    """Put what follows from the next views; whether there may be more."""
    name = f"{NAME}.{kind}"
    views = tx.views.page(kind, (tx.journal.checkpoint(name), "", ""), PAGE, None)
    found: dict[tuple[str, str], Sequence[QueueItem]] = {}
    for _, view in views:
        try:
            items = _FOLD[kind](msgspec.json.decode(view.document))
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as e:
            # A document of another shape than ours: the projector lists it when it is folded again.
            log.error("queues.unreadable_view", kind=kind, error=type(e).__name__)
            continue
        found[view.business_product_id, f"{kind}/{view.id}"] = items
    tx.queues.put(found)
    if views:
        tx.journal.set_checkpoint(name, views[-1][0])
    return len(views) == PAGE
