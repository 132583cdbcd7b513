"""Orders as the API's mutations make and change them: created, updated, cancelled, their packages moved.

Each is one write of the world, with the events that it causes, or an `ApiError` and nothing. Orders made here stand
still until somebody moves their packages, as in Amazon's sandbox. Aliases are unique in a business product. What
documents look like is `order_input`'s and `world`'s; what moving a package means is `package_updates`'.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from milepost.domain.instant import SECOND, Instant, format_instant
from milepost.sandbox.api_error import CONFLICT, NOT_FOUND, ApiError, access_denied, invalid
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.order_input import (
    aliases_of,
    check_aliases,
    contact_of,
    money_of,
    order_document,
    payment_of,
    payments_of,
    recipients_of,
    taxes_of,
    total_price_of,
)
from milepost.sandbox.package_updates import PackageUpdates
from milepost.sandbox.permissions import Caller
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import Step, WorldOrder, dice, uuid_text

LONGEST_COMMENT = 1_000
_CANCELLED_BECAUSE = {"OUT_OF_STOCK": "UNFULFILLABLE"}
"""The package's reason for a cancellation; CUSTOMER_REQUESTED for all others."""

Given = Mapping[str, Any]
Changed = tuple[WorldOrder, list[tuple[Publication, Instant]]]


async def find_order(keeper: Keeper, identifier: Given, business_product_id: str | None) -> WorldOrder | None:
    """The order of an identifier: an id, or an alias under its name of either version. Raises `ApiError`."""
    ways = [identifier.get(key) for key in ("orderId", "alias", "orderAlias")]
    order_id, *aliases = ways
    if sum(way is not None for way in ways) != 1:
        raise invalid("Give either orderId or alias.", "InvalidOrderIdentifier")
    if order_id is not None:
        return None if "\0" in order_id else await keeper.order(order_id, business_product_id)
    alias = next(a for a in aliases if a is not None)
    if "\0" in alias["aliasType"] + alias["aliasId"]:
        return None
    found = await keeper.by_alias(alias["aliasType"], alias["aliasId"], business_product_id)
    # They are found without case, and by both parts as one text.
    return found if found is not None and any(_same(alias, a) for a in found.order["aliases"]) else None


class Orders:
    """The world's orders, for those who change them by the API."""

    def __init__(self, keeper: Keeper, now: Callable[[], Instant]) -> None:
        self._keeper = keeper
        self._now = now
        self._naming = asyncio.Lock()
        """Held while aliases are looked for and then given."""

    async def create(self, caller: Caller, given: Given) -> WorldOrder:
        """A new order of the caller's business product. Raises `ApiError`."""
        product = caller.business_product_id or self._keeper.business_product_id
        at = self._second()
        async with self._naming:
            await self._check_free(product, aliases_of(given.get("aliases")))
            for attempt in count():
                document = order_document(given, self._keeper.seed, at, attempt)
                if await self._keeper.order(document["id"], None) is None:
                    break
            await self._keeper.put(product, document)
        return await self._found({"orderId": document["id"]}, caller)

    async def update(self, caller: Caller, given: Given) -> WorldOrder:
        """Change what the input names; the order afterwards. Raises `ApiError`."""
        order_id, identifier = given.get("orderId"), given.get("orderIdentifier")
        if (order_id is None) == (identifier is None):
            raise invalid("Give either orderId or orderIdentifier.", "InvalidOrderIdentifier")
        world = await self._found(identifier or {"orderId": order_id}, caller)
        aliases = aliases_of(given.get("aliases"))
        at = self._second()

        def change(world: WorldOrder) -> Changed:
            order = copy.deepcopy(world.order)
            order["aliases"] = _added(order.get("aliases") or [], aliases)
            _replace_parts(order, given, format_instant(at))
            steps = self._fulfilment(order, given, at)
            steps += _refund(order, given.get("refunds"), self._keeper.seed, at)
            edited = replace(world, order=order, changed_at=self._now())
            if not steps:
                return replace(edited, previous=world.order), []
            after, published = self._keeper.stepped(edited, steps)
            return replace(after, previous=world.order), published

        async with self._naming:
            await self._check_free(world.business_product_id, aliases, of=world.id)
            await self._keeper.change(world.id, world.business_product_id, change)
        return await self._found({"orderId": world.id}, caller)

    async def cancel(
        self, caller: Caller, identifier: Given, given: Given
    ) -> tuple[WorldOrder, dict[str, Any]]:
        """Cancel what of an order is pending; the order afterwards, and the cancellation as it was requested.
        Raises `ApiError`: ConflictError when nothing is pending any more."""
        world = await self._found(identifier, caller)
        comment = given.get("additionalComments")
        if comment is not None and len(comment) > LONGEST_COMMENT:
            raise invalid(f"additionalComments has at most {LONGEST_COMMENT} characters.")
        at = self._second()
        requested: dict[str, Any] = {
            "id": uuid_text(dice(self._keeper.seed, "cancelOrder", world.id, at)),
            "aliases": aliases_of(given.get("aliases")),
            "state": "PENDING",
            "reason": given.get("reason"),
            "additionalComments": comment,
            "requestedBy": "MERCHANT",
            "createdAt": format_instant(at),
            "updatedAt": format_instant(at),
        }
        reason = _CANCELLED_BECAUSE.get(requested["reason"], "CUSTOMER_REQUESTED")

        def note(order: dict[str, Any], entries: list[dict[str, Any]]) -> None:
            requested["canceledFor"] = {"orderLineItems": copy.deepcopy(entries)}
            _note(order, requested)

        await self._keeper.cancel(world.id, reason, world.business_product_id, note=note)
        return await self._found({"orderId": world.id}, caller), requested

    async def move_packages(self, caller: Caller, identifier: Given, given: Given) -> WorldOrder:
        """Move packages and trackers on, all that the input names or none; the order as it was before.
        Raises `ApiError`: AccessDeniedError for an order that isn't there, as documented."""
        keeper = self._keeper
        world = await find_order(keeper, identifier, caller.business_product_id)
        if world is None:
            raise access_denied()
        details: Sequence[Given] = given["packageInformation"]["details"]
        at = self._now()

        def change(world: WorldOrder) -> Changed:
            return keeper.stepped(world, PackageUpdates(world.order, keeper.seed, at).take(details))

        await keeper.change(world.id, world.business_product_id, change)
        return world

    async def _found(self, identifier: Given, caller: Caller) -> WorldOrder:
        world = await find_order(self._keeper, identifier, caller.business_product_id)
        if world is None:
            raise ApiError(NOT_FOUND, "There is no such order.")
        return world

    async def _check_free(self, product: str, aliases: Sequence[Given], *, of: str | None = None) -> None:
        """Raises `ApiError` for an alias that another order (than `of`) of the business product has."""
        for alias in aliases:
            holder = await self._keeper.by_alias(alias["aliasType"], alias["aliasId"], product)
            if holder is not None and holder.id != of:
                raise ApiError(
                    CONFLICT,
                    f"There is already an order with the alias {alias['aliasId']}.",
                    "AliasValueAlreadyExists",
                )

    def _fulfilment(self, order: dict[str, Any], given: Given, at: Instant) -> list[Step]:
        """Nothing for an order that is started already: asking twice is no mistake."""
        state = (order.get("metadata") or {}).get("executionState")
        wanted = given.get("desiredExecutionState")
        if wanted == "NOT_STARTED" and state == "STARTED":
            raise invalid("The fulfilment of the order is started already.")
        return [Step(at, "", fulfilment=True)] if wanted == "STARTED" and state != "STARTED" else []

    def _second(self) -> Instant:
        return Instant(self._now() // SECOND * SECOND)


def _details(world: WorldOrder) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = world.order["packageInformation"]["details"]
    return details


def _same(one: Given, other: Given) -> bool:
    return bool(one["aliasType"] == other.get("aliasType") and one["aliasId"] == other.get("aliasId"))


def _added(known: list[dict[str, Any]], more: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Aliases are only ever added; one that the order has already is no second one."""
    aliases = [*known, *(alias for alias in more if not any(_same(alias, k) for k in known))]
    check_aliases(aliases)
    return aliases


def _replace_parts(order: dict[str, Any], given: Given, at: str) -> None:
    """What the input gives in place of what the order has; what it leaves out, or gives as null, stays."""
    known = ((order.get("customer") or {}).get("contact") or {}).get("id")
    parts = {
        "customer": contact_of(given.get("customer"), known or f"customer-{order['id']}"),
        "recipients": recipients_of(given.get("recipient")) or None,
        "totalPrice": total_price_of(given.get("totalPrice")),
        "taxes": taxes_of(given.get("taxes")),
        "payments": payments_of(given.get("payments"), at),
    }
    order.update({key: part for key, part in parts.items() if part is not None})
    if isinstance(order.get("metadata"), dict):
        order["metadata"]["updatedAt"] = at


def _refund(order: dict[str, Any], given: Given | None, seed: int, at: Instant) -> list[Step]:
    """Bring refunds up to date, adding those made outside of Buy with Prime; the steps that complete some."""
    steps: list[Step] = []
    for n, one in enumerate((given or {}).get("details") or ()):
        refunds = order.get("refunds") or {"summary": None, "details": []}
        details: list[dict[str, Any]] = refunds["details"]
        if one.get("id") is None:
            refund: dict[str, Any] = {
                "id": uuid_text(dice(seed, "externalRefund", order["id"], len(details), n)),
                "createdAt": format_instant(at),
                "refundFor": _refund_for(order, one),
            }
            details.append(refund)
        else:
            found = [r for r in details if r.get("id") == one["id"]]
            if not found:
                raise ApiError(NOT_FOUND, "There is no such refund.")
            refund = found[0]
        order["refunds"] = refunds
        state = one.get("state") or refund.get("state") or "PENDING"
        completes = state == "SUCCESS" and refund.get("state") != "SUCCESS"
        refund |= {
            "aliases": _added(refund.get("aliases") or [], aliases_of(one.get("aliases"))),
            "updatedAt": format_instant(at),
            "state": refund.get("state") or "PENDING" if completes else state,
            "refundTotal": {"totalAmount": money_of(one["refundTotal"]["totalAmount"])},
            "paymentDetails": [
                *(refund.get("paymentDetails") or ()),
                *(payment_of(payment, format_instant(at)) for payment in one.get("paymentDetails") or ()),
            ],
        }
        for key in ("refundRequestReason", "refundStatusReason"):
            refund[key] = one.get(key) or refund.get(key)
        if completes:
            steps.append(Step(at, refund["id"], refunded=True))
    return steps


def _refund_for(order: dict[str, Any], given: Given) -> dict[str, Any]:
    items = {item["id"]: item for item in order.get("lineItems") or ()}
    entries = []
    for entry in (given.get("refundFor") or {}).get("orderLineItems") or ():
        item = items.get(entry["lineItemId"]["lineItemId"])
        if item is None:
            raise invalid("refundFor names a line item that the order has not.")
        entries.append({"lineItem": {"id": item["id"]}, "amount": copy.deepcopy(item["amount"])})
    return {"orderLineItems": entries, "causedBy": None}


def _note(order: dict[str, Any], requested: Given) -> None:
    """Each line item's cancellation says what was requested, too."""
    noted = {key: requested[key] for key in requested if key not in ("id", "state", "canceledFor")}
    if noted["reason"] is None:
        del noted["reason"]
    affected = {entry["lineItem"]["id"] for entry in requested["canceledFor"]["orderLineItems"]}
    for item in order.get("lineItems") or ():
        if item["id"] in affected:
            own = [e for e in requested["canceledFor"]["orderLineItems"] if e["lineItem"]["id"] == item["id"]]
            item["cancellations"]["details"][-1] |= {**noted, "canceledFor": {"orderLineItems": own}}
