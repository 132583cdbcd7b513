"""Measuring orders that were folded before there were measures: once after a migration, in the background.

A measure is a function of the order's view, so that the stored views are enough and nothing is folded again. It runs
under the projector's lease, in small writes: what the projector writes meanwhile is as new or newer, and the views
that a write reads are those that hold as long as it runs. While it is not done, Insights tells how far it is.
"""

import asyncio

import msgspec

from milepost.domain.measure import Measure
from milepost.domain.measuring import measures_of
from milepost.store import OrderKey, Store, Transaction

NAME = "remeasuring"
AT_ONCE = 100
"""Orders that are measured in one write."""


async def keep_measured(store: Store, stop: asyncio.Event) -> None:
    """Measure what is left, then wait for `stop`: a part of the hub that ends is begun again."""
    await measure_old_orders(store, stop)
    await stop.wait()


async def measure_old_orders(store: Store, stop: asyncio.Event) -> None:
    """Measure what is left, and return; or when `stop` is set. Done again it does nothing."""
    while not stop.is_set():
        state = await store.read(lambda tx: tx.parcels.state())
        if state.behind is None or await store.write(_measure_some):
            return


def _measure_some(tx: Transaction) -> bool:
    """Measure the next orders; whether those were the last."""
    behind = tx.parcels.state().behind
    if behind is None:
        return True
    # Orders of every business product: they are numbered together.
    page = tx.views.page("order", (behind, "", ""), AT_ONCE, None, walk=True)
    measures: dict[OrderKey, list[Measure]] = {
        (view.business_product_id, view.id): measures_of(msgspec.json.decode(view.document))
        for _, view in page
    }
    tx.parcels.put(measures)
    tx.parcels.measured(page[-1][0] if page else None)
    return not page
