"""What people did in the console, for the audit log.

The functions that the console shares with the API open transactions of their own, so an entry is written right after
one of them has done it, in another: none tells of what was not done. What is told of an order, a subscriber or a
record is of its business product, so that an admin who is bound to that one reads it. Ids and counts go in; what
somebody wrote, and what is a shopper's, does not.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from milepost.store import Transaction
from milepost.web.audit import audit
from milepost.web.console.acting import acting
from milepost.web.context import Context
from milepost.web.reading import Reach, find_view
from milepost.web.subscriber_documents import filter_of
from milepost.web.subscribers import managed
from milepost.web.visiting import Visitor

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def only_one(products: Collection[str] | None) -> str:
    """The business product that an entry is of: the only one, else only who sees all may read it."""
    return next(iter(products)) if products is not None and len(products) == 1 else ""


async def tell(
    context: Context,
    visitor: Visitor,
    action: str,
    subject: str,
    details: Mapping[str, object] = _NOTHING,
    *,
    product: str = "",
) -> None:
    """Write down that the visitor did `action` (`thing.done`) to `subject`, an id. `details` as `audit` has them."""
    now = context.clock()

    def write(tx: Transaction) -> None:
        audit(tx, visitor, action, subject, details, at=now, business_product_id=product)

    await context.store.write(write)


async def tell_of_order(
    context: Context,
    visitor: Visitor,
    action: str,
    order_id: str,
    reach: Reach,
    details: Mapping[str, object] = _NOTHING,
) -> None:
    """The same about an order within `reach`. Raises `NotFound`, `Ambiguous`."""
    now = context.clock()

    def write(tx: Transaction) -> None:
        product = find_view(tx, "order", order_id, reach).business_product_id
        audit(tx, visitor, action, order_id, details, at=now, business_product_id=product)

    await context.store.write(write)


async def tell_of_subscriber(
    context: Context,
    visitor: Visitor,
    action: str,
    subscriber_id: str,
    details: Mapping[str, object] = _NOTHING,
) -> None:
    """The same about a subscriber that the visitor manages. Raises `NotFound`."""
    now = context.clock()

    def write(tx: Transaction) -> None:
        products = filter_of(managed(tx, acting(visitor), subscriber_id)).business_product_ids
        audit(tx, visitor, action, subscriber_id, details, at=now, business_product_id=only_one(products))

    await context.store.write(write)


async def tell_of_message(
    context: Context, visitor: Visitor, message_id: str, subscriber_id: str, position: int
) -> None:
    """That a message to a subscriber was sent again; it is about the record at `position`."""
    now = context.clock()

    def write(tx: Transaction) -> None:
        record = tx.journal.records([position]).get(position)
        product = "" if record is None else record.business_product_id
        told = {"subscriber": subscriber_id}
        audit(tx, visitor, "message.resent", message_id, told, at=now, business_product_id=product)

    await context.store.write(write)
