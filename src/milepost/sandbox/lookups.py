"""Looking into the world as it is kept: orders by id, alias, tracker or package. Changing it is `keeper`'s.

An order that is planned but not placed yet is not found by anybody.
"""

from collections.abc import Callable

import msgspec

from milepost.domain.instant import Instant
from milepost.domain.record import tracker_subject
from milepost.sandbox.reading import alias_term
from milepost.sandbox.world import WorldOrder
from milepost.store import Store, Transaction, View

_MOST_WITH_ONE_TERM = 50
PAGE = 500


class Lookups:
    """The world of one store, for reading."""

    def __init__(self, store: Store, now: Callable[[], Instant]) -> None:
        self._store = store
        self._now = now

    async def order(self, order_id: str, business_product_id: str | None) -> WorldOrder | None:
        """The order of that id, of one business product or (None) of any."""
        return await self._store.read(lambda tx: self._order(tx, order_id, business_product_id))

    async def by_alias(self, type: str, id: str, business_product_id: str | None) -> WorldOrder | None:
        return await self._by_term(alias_term(type, id), business_product_id)

    async def by_tracker(
        self, carrier: str, number: str, business_product_id: str | None
    ) -> WorldOrder | None:
        """The order whose parcel has that tracking number; the newest one when the carrier used it again."""
        return await self._by_term(tracker_subject(carrier, number).lower(), business_product_id)

    async def by_delivery(self, delivery_id: str, business_product_id: str | None) -> WorldOrder | None:
        """The order that has this package, or this return."""
        return await self._by_term(f"delivery/{delivery_id}".lower(), business_product_id)

    async def page(self, after: tuple[int, str, str] | None, limit: int) -> list[tuple[int, WorldOrder]]:
        """Orders, oldest first; those that nobody has placed yet are among them."""
        found = await self._store.read(lambda tx: tx.views.page("world", after, limit, None))
        return [(number, decoded(view)) for number, view in found]

    async def everything(self) -> list[WorldOrder]:
        """Every order that was placed."""
        worlds: list[WorldOrder] = []
        after: tuple[int, str, str] | None = None
        now = self._now()
        while page := await self.page(after, PAGE):
            worlds.extend(world for _, world in page if world.placed_at <= now)
            number, last = page[-1]
            after = (number, last.business_product_id, last.id)
        return worlds

    async def _by_term(self, term: str, business_product_id: str | None) -> WorldOrder | None:
        return await self._store.read(lambda tx: find_by_term(tx, term, business_product_id, self._now()))

    def _order(
        self, tx: Transaction, order_id: str, business_product_id: str | None = None
    ) -> WorldOrder | None:
        products = None if business_product_id is None else [business_product_id]
        for view in tx.views.find("world", order_id, products):
            world = decoded(view)
            if world.placed_at <= self._now():
                return world
        return None


def find_by_term(
    tx: Transaction, term: str, business_product_id: str | None, now: Instant
) -> WorldOrder | None:
    """The order that is found by exactly this term; of several the one that was placed last."""
    products = None if business_product_id is None else [business_product_id]
    found = [f for f in tx.views.search(term, _MOST_WITH_ONE_TERM, products) if f.kind == "world"]
    keys = [("world", f.business_product_id, f.id) for f in found if f.term == term]
    worlds = [decoded(view) for view in tx.views.get(keys).values()]  # type: ignore[arg-type]
    placed = [world for world in worlds if world.placed_at <= now]
    return max(placed, key=lambda world: (world.placed_at, world.id), default=None)


def decoded(view: View) -> WorldOrder:
    return msgspec.json.decode(view.document, type=WorldOrder)
