"""`/v1/search`: one box for whoever answers a shopper (tracking.md 6, agent search).

A term is an order id, an alias, a tracking number, a delivery id, an email address or a name, whole or its
beginning. Each result says in one line how things stand, so that most questions end here. The console's first page
searches with the same function.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from milepost.domain.errors import Invalid
from milepost.store import Found, Transaction, View
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import Document, Estimate
from milepost.web.notification_documents import LastMessage, last_messages
from milepost.web.paging import Limit, Page, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach, decoded

LONGEST_TERM = 256
_RANKS: Final = {"order": 0, "delivery": 1, "tracker": 2}
"""The kinds that are found, and the order of those that are equal otherwise."""


class SearchItem(Document):
    """One view that a term led to."""

    kind: str
    """order, delivery or tracker."""
    business_product_id: str
    id: str
    """An order's or a delivery's id, or {carrierCode}/{trackingNumber}."""
    state: str
    order_id: str | None
    """The order it belongs to; null for a tracker that no order is known for."""
    summary: str
    matched: str
    """The term it was found by."""
    estimated_delivery: Estimate | None
    last_scan_at: str | None
    conditions: list[str]
    """Codes of its open conditions."""
    last_message: LastMessage | None
    """What the shopper was told last about its order."""


@get("/v1/search", summary="Find orders, deliveries and trackers", tags=["Search"], responses=problems())
async def search(
    context: Hub,
    caller: Caller,
    q: Annotated[
        str,
        QueryParameter(
            name="q", description="Order id, alias, tracking number, email or name; or its beginning."
        ),
    ],
    business_product_id: BusinessProduct = None,
    limit: Limit = 100,
) -> Response[Page[SearchItem]]:
    """Exact matches first, of these and of the others the ones with the newest facts. There is one page; `next` is
    always null, a longer term finds less."""
    term, size, reach = term_of(q), page_size(limit), caller.reach(business_product_id)
    items: list[Any] = await context.store.read(lambda tx: search_items(tx, term, size, reach))
    return Response(Page(items, None))


def term_of(q: str) -> str:
    """What to look for. Raises `Invalid` for what is no term."""
    term = q.strip().lower()
    if not term or len(term) > LONGEST_TERM or "\x00" in term:
        raise Invalid(f"q must have 1 to {LONGEST_TERM} characters", field="q")
    return term


def search_items(
    tx: Transaction, term: str, size: int, reach: Reach, *, personal: bool = True
) -> list[dict[str, Any]]:
    """At most `size` views that a term leads to; the shape of each is `SearchItem`'s. Without `personal` no name or
    address leads to an order, and none is told."""
    found: dict[Any, Found] = {}
    for match in tx.views.search(term, size, reach):
        if match.kind in _RANKS:
            found.setdefault((match.kind, match.business_product_id, match.id), match)
    views = tx.views.get(list(found))
    rows = [(view, found[key], decoded(view)) for key, view in views.items()]
    if not personal:
        rows = [(view, match, impersonal(document)) for view, match, document in rows]
        rows = [row for row in rows if row[1].term in _terms(row[0], row[2])]
    rows.sort(key=lambda row: (row[1].term != term, -row[0].position, _RANKS[row[0].kind], row[0].id))
    items = [item_of(*row) for row in rows]
    told = last_messages(tx, {_order_key(item) for item in items if item["orderId"] is not None})
    for item in items:
        item["lastMessage"] = told.get(_order_key(item))
    return items


def _order_key(item: dict[str, Any]) -> tuple[str, str]:
    return item["businessProductId"], item["orderId"]


def impersonal(document: dict[str, Any]) -> dict[str, Any]:
    """A view without who the customer is: of its scans also without the carrier's words, which may name a person or a
    door."""
    kept = document | {"customer": None} if "customer" in document else document
    for name in ("deliveries", "trackers"):
        if name in kept:
            kept = kept | {name: [impersonal(each) for each in kept[name]]}
    if "milestones" in kept:
        kept = kept | {"milestones": [scan | {"message": None} for scan in kept["milestones"]]}
    return kept


def _terms(view: View, document: dict[str, Any]) -> set[str]:
    """What a view is found by, names and addresses aside."""
    if view.kind != "order":
        return set(view.terms)
    return {view.id.lower(), *(alias["aliasId"].lower() for alias in document["aliases"])}


def item_of(view: View, match: Found, document: dict[str, Any]) -> dict[str, Any]:
    """How a view is listed, without `lastMessage`."""
    order_id: str | None
    if view.kind == "order":
        order_id, summary, source = view.id, _order_line(document), busiest(document)
    elif view.kind == "delivery":
        order_id, summary, source = view.parent, _delivery_line(document), document
    else:
        joined = document["orders"]
        order_id = joined[0]["orderId"] if joined else None
        summary, source = _tracker_line(document), document
    return {
        "kind": view.kind,
        "businessProductId": view.business_product_id,
        "id": view.id,
        "state": view.state,
        "orderId": order_id,
        "summary": summary,
        "matched": match.term,
        "estimatedDelivery": source.get("estimatedDelivery"),
        "lastScanAt": last_scan(source),
        "conditions": open_conditions(document),
    }


def _order_line(order: dict[str, Any]) -> str:
    counts = order["summary"]
    words = (
        ("delivered", "delivered"),
        ("inTransit", "in transit"),
        ("pending", "pending"),
        ("cancelled", "cancelled"),
    )
    parts = ", ".join(f"{counts[key]} {word}" for key, word in words if counts.get(key))
    total = counts.get("deliveries", 0)
    line = f"{total} {'delivery' if total == 1 else 'deliveries'}" + (f": {parts}" if parts else "")
    name = (order.get("customer") or {}).get("name")
    return f"{line}; for {name}" if name else line


def _delivery_line(delivery: dict[str, Any]) -> str:
    when = delivery.get("deliveredAt") or delivery.get("shippedAt")
    word = "delivered" if delivery.get("deliveredAt") else "shipped"
    items = len(delivery["lineItems"])
    line = f"Delivery of order {delivery['orderId']}, {items} line item{'' if items == 1 else 's'}"
    return f"{line}, {word} {when}" if when else line


def _tracker_line(tracker: dict[str, Any]) -> str:
    line = f"{tracker['carrierCode']} {tracker['trackingNumber']}"
    counting = [m for m in tracker["milestones"] if m.get("standing") == "counts"]
    if not counting:
        return f"{line}: no scan yet"
    last = counting[-1]
    return f"{line}: {last.get('message') or last['code']}" + (
        f", {last['occurredAt']}" if last.get("occurredAt") else ""
    )


def busiest(order: dict[str, Any]) -> dict[str, Any]:
    """The delivery of an order that a shopper would ask about: under way before to come, and before done."""
    rank = {"IN_TRANSIT": 0, "PENDING": 1, "DELIVERED": 2}
    deliveries: list[dict[str, Any]] = order["deliveries"]
    return min(deliveries, key=lambda delivery: rank.get(delivery["state"], 3), default={})


def last_scan(source: dict[str, Any]) -> str | None:
    """When a delivery or a tracker was scanned last, of the scans that count."""
    if "lastScanAt" in source:
        return msgspec.convert(source["lastScanAt"], str | None)
    scans = [
        milestone["occurredAt"]
        for tracker in source.get("trackers", ())
        for milestone in tracker["milestones"]
        if milestone.get("standing") == "counts" and milestone.get("occurredAt")
    ]
    return max(scans, default=None)


def open_conditions(document: dict[str, Any]) -> list[str]:
    """Codes of the conditions of a view, and of its deliveries, that are open."""
    holders = [document, *document.get("deliveries", ())]
    codes = [
        c["code"] for holder in holders for c in holder.get("conditions", ()) if c.get("clearedAt") is None
    ]
    return list(dict.fromkeys(codes))


HANDLERS = [search]
