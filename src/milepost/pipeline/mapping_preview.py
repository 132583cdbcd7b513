"""What another version of the mapping would change (T10, scenario 27): folded with it, and thrown away.

Trackers that have an affected code are found as the remapper finds them, and folded with the version that is asked
about, in a read of a bounded size; so are their orders, where a tracker changed. Nothing is written, and nobody would
be told: no message and no capture follows from a remap (`telling`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from milepost.domain.mapping import Entry, Mappings, affected, code_term, proposed
from milepost.pipeline.loaded import load_order, load_tracker
from milepost.store import Transaction, View, ViewKind

MOST_LOOKED: Final = 300
"""Trackers of one preview."""
MOST_EXAMPLES: Final = 20

Document = Mapping[str, Any]
Shown = dict[str, Any]


class Change(Struct, frozen=True):
    """One view that would be another: what would differ."""

    kind: ViewKind
    business_product_id: str
    id: str
    order_id: str | None
    before: Shown
    after: Shown


class Preview(Struct, frozen=True):
    """What would change. `looked` of `found` trackers were folded; they are all when the two are equal."""

    found: int
    looked: int
    changed: dict[str, int]
    """By kind of view."""
    examples: list[Change]


def preview(tx: Transaction, before: Sequence[Entry], after: Sequence[Entry]) -> Preview:
    """Fold what is affected with `after`, and compare it with what the views say."""
    places = affected(before, after)
    terms = [code_term(*place) for place in places]
    found = sum(count for term in terms for _, count in tx.views.tally(term, 1_000, None))
    views: dict[tuple[str, str], View] = {}
    for term in terms:
        listed = tx.views.termed(term, None, max(MOST_LOOKED - len(views), 0))
        got = tx.views.get([(f.kind, f.business_product_id, f.id) for f in listed])
        views |= {(view.business_product_id, view.id): view for view in got.values()}
    mappings = proposed(after)
    changes: list[Change] = []
    orders: dict[tuple[str, str], None] = {}
    for key in sorted(views):
        view = views[key]
        was = msgspec.json.decode(view.document)
        carrier, _, number = view.id.partition("/")
        loaded = load_tracker(tx, view.business_product_id, carrier, number, mappings=mappings)
        if loaded is not None and was["milestones"] != loaded.tracker.document["milestones"]:
            orders |= {(view.business_product_id, order["orderId"]): None for order in was["orders"]}
            changes += _differences(
                "tracker", view.business_product_id, view.id, None, was, loaded.tracker.document
            )
    for product, order_id in orders:
        changes += _order_changes(tx, product, order_id, mappings)
    counted = {kind: sum(c.kind == kind for c in changes) for kind in ("tracker", "delivery", "order")}
    return Preview(found, len(views), counted, changes[:MOST_EXAMPLES])


def _order_changes(tx: Transaction, product: str, order_id: str, mappings: Mappings) -> Iterable[Change]:
    view = tx.views.get([("order", product, order_id)]).get(("order", product, order_id))
    loaded = load_order(tx, product, order_id, mappings=mappings)
    if view is None or loaded is None:
        return
    was, will = msgspec.json.decode(view.document), loaded.order.document
    yield from _differences("order", product, order_id, order_id, was, will)
    known = {delivery["id"]: delivery for delivery in was["deliveries"]}
    for delivery in will["deliveries"]:
        if (old := known.get(delivery["id"])) is not None:
            yield from _differences("delivery", product, delivery["id"], order_id, old, delivery)


def _differences(
    kind: ViewKind, product: str, id: str, order_id: str | None, was: Document, will: Document
) -> Iterable[Change]:
    before, after = _shown(was), _shown(will)
    differing = [name for name in after if before.get(name) != after[name]]
    if differing:
        yield Change(
            kind,
            product,
            id,
            order_id,
            {name: before.get(name) for name in differing},
            {name: after[name] for name in differing},
        )


def _shown(document: Document) -> Shown:
    """What somebody would notice of a view."""
    shown: Shown = {
        name: document[name] for name in ("stage", "state", "shippedAt", "deliveredAt") if name in document
    }
    if "summary" in document:
        shown["worstCondition"] = document["summary"]["worstCondition"]
    open_conditions = {c["code"] for c in document["conditions"] if c["clearedAt"] is None}
    return shown | {"conditions": sorted(open_conditions)}
