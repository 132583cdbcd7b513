"""Reading views: finding the one that an id means, as it stands or as it stood, and joining what views leave out.

An id is looked up within the caller's business products. `asOf` folds anew from the facts received by then, so
that the answer is what a page would have shown (tracking.md 12.2), captures as their history has them. Hydration
status belongs to the present only.
"""

from collections.abc import Collection
from typing import Annotated, Any, Protocol
from urllib.parse import quote, urlencode

import msgspec
from litestar import Response
from litestar.params import PathParameter, QueryParameter
from msgspec.structs import replace

from milepost.domain.capture import Capture, capture_id
from milepost.domain.delivery import Delivery
from milepost.domain.errors import Ambiguous, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.notification import Notification
from milepost.domain.record import order_subject, tracker_subject
from milepost.pipeline.loaded import LoadedOrder, LoadedTracker, load_order, load_tracker
from milepost.store import Ask, CaptureKey, Transaction, View, ViewKind

BusinessProduct = Annotated[
    str | None,
    QueryParameter(
        name="businessProductId",
        description="Only this business product; needed where an id is ambiguous.",
        max_length=256,
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(name="asOf", description="ISO 8601 time: the view from what had been received by then."),
]
OrderId = Annotated[str, PathParameter(description="The order's id.", max_length=512)]
DeliveryId = Annotated[str, PathParameter(description="The delivery's id.", max_length=512)]
CarrierCode = Annotated[
    str, PathParameter(description="The carrier's code; case does not matter.", max_length=128)
]
TrackingNumber = Annotated[str, PathParameter(description="The tracking number.", max_length=512)]

Reach = Collection[str] | None
"""The business products to look in; None for all."""


def respond(document: Any) -> Response[Any]:
    """A document as JSON, as it is."""
    return Response(document)


def parse_as_of(text: str | None) -> Instant | None:
    """`asOf` as an instant. Raises `Invalid`."""
    return parse_time(text, "asOf")


def parse_time(text: str | None, field: str) -> Instant | None:
    """A time in the query as an instant. Raises `Invalid`."""
    if text is None:
        return None
    try:
        # A plus sign that nobody escaped arrives as a space.
        return parse_instant(text.strip().replace(" ", "+") if "T" in text else text)
    except ValueError as e:
        raise Invalid(f"{field} {text[:40]!r} is not an ISO 8601 time", field=field) from e


def find_view(tx: Transaction, kind: ViewKind, id: str, reach: Reach) -> View:
    """The view of that id. Raises `NotFound`, or `Ambiguous` when several business products have it."""
    found = [] if "\x00" in id else tx.views.find(kind, id, reach)
    if not found:
        raise NotFound(f"There is no {kind} {id!r}.")
    if len(found) > 1:
        products = sorted(view.business_product_id for view in found)
        raise Ambiguous(
            f"{len(found)} business products have {kind} {id!r}; say which with ?businessProductId=.",
            businessProductIds=products,
        )
    return found[0]


def tracker_id(carrier_code: str, tracking_number: str) -> str:
    """The id of a tracker's view."""
    return tracker_subject(carrier_code, tracking_number).removeprefix("tracker/")


def order_then(tx: Transaction, view: View, as_of: Instant | None, explain: bool = False) -> LoadedOrder:
    """The order that an order's or a delivery's view belongs to, folded anew. Raises `NotFound` for a time
    before anything was known of it."""
    order_id = view.parent if view.kind == "delivery" and view.parent is not None else view.id
    loaded = load_order(tx, view.business_product_id, order_id, as_of=as_of, explain=explain)
    if loaded is None:
        raise _unknown_then(f"order {order_id!r}", as_of)
    return loaded


def delivery_then(loaded: LoadedOrder, delivery_id: str, as_of: Instant | None) -> Delivery:
    """A delivery of an order folded anew. Raises `NotFound`."""
    for delivery in loaded.order.deliveries:
        if delivery.id == delivery_id:
            return delivery
    raise _unknown_then(f"delivery {delivery_id!r}", as_of)


def tracker_then(tx: Transaction, view: View, as_of: Instant | None, explain: bool = False) -> LoadedTracker:
    """A tracker folded anew. Raises `NotFound` for a time before anything was known of it."""
    carrier, _, number = view.id.partition("/")
    loaded = load_tracker(tx, view.business_product_id, carrier, number, as_of=as_of, explain=explain)
    if loaded is None:
        raise _unknown_then(f"tracker {view.id!r}", as_of)
    return loaded


def _unknown_then(what: str, as_of: Instant | None) -> NotFound:
    if as_of is None:
        return NotFound(f"There is no {what}.")
    return NotFound(f"Nothing was known of {what} at {format_instant(as_of)}.")


def path_of(*segments: str, **query: str | None) -> str:
    """A path of this hub from its segments, which may hold any character, and a query (None: left out)."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def decoded(view: View) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(view.document)
    return document


def order_document(
    tx: Transaction, view: View, as_of: Instant | None, then: LoadedOrder | None
) -> dict[str, Any]:
    """An order with what is joined to it, as it stands; with `as_of` as it stood `then` (`order_then`)."""
    document = decoded(view) if as_of is None or then is None else then.order.document
    join_orders(tx, [document], as_of)
    return document


def tracker_document(tx: Transaction, view: View, as_of: Instant | None) -> dict[str, Any]:
    """A tracker with what is joined to it, as it stands or stood."""
    document = decoded(view) if as_of is None else tracker_then(tx, view, as_of).tracker.document
    join_trackers(tx, [document], as_of)
    return document


class Join(Protocol):
    """Adds to documents what views leave out."""

    def __call__(
        self, tx: Transaction, documents: list[dict[str, Any]], as_of: Instant | None = None, /
    ) -> None: ...


def join_orders(tx: Transaction, orders: list[dict[str, Any]], as_of: Instant | None = None) -> None:
    """`hydration` of the orders, their deliveries and their trackers; the captures of their deliveries."""
    deliveries = [delivery for order in orders for delivery in order["deliveries"]]
    targets = {(order["businessProductId"], order_subject(order["id"])) for order in orders}
    asks = _asks(tx, targets | _delivery_targets(deliveries), as_of)
    for order in orders:
        order["hydration"] = _hydration(asks.get((order["businessProductId"], order_subject(order["id"]))))
        # Views that were folded before there were any have none.
        order.setdefault("authorization", None)
        order.setdefault("conditions", [])
    _join_deliveries(asks, deliveries)
    _join_captures(tx, deliveries, as_of)


def join_deliveries(tx: Transaction, deliveries: list[dict[str, Any]], as_of: Instant | None = None) -> None:
    """`hydration` of the deliveries (their orders') and of their trackers; their captures."""
    _join_deliveries(_asks(tx, _delivery_targets(deliveries), as_of), deliveries)
    _join_captures(tx, deliveries, as_of)


def join_trackers(tx: Transaction, trackers: list[dict[str, Any]], as_of: Instant | None = None) -> None:
    """`hydration` of the trackers."""
    keys = [
        (t["businessProductId"], tracker_subject(t["carrierCode"], t["trackingNumber"])) for t in trackers
    ]
    asks = _asks(tx, set(keys), as_of)
    for key, tracker in zip(keys, trackers, strict=True):
        tracker["hydration"] = _hydration(asks.get(key))
        tracker.setdefault("corrections", [])


def _asks(
    tx: Transaction, targets: set[tuple[str, str]], as_of: Instant | None
) -> dict[tuple[str, str], Ask]:
    return {} if as_of is not None else tx.work.get(targets)


def _delivery_targets(deliveries: list[dict[str, Any]]) -> set[tuple[str, str]]:
    targets: set[tuple[str, str]] = set()
    for delivery in deliveries:
        product = delivery["businessProductId"]
        targets.add((product, order_subject(delivery["orderId"])))
        for tracker in delivery["trackers"]:
            targets.add((product, tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])))
    return targets


def _join_deliveries(asks: dict[tuple[str, str], Ask], deliveries: list[dict[str, Any]]) -> None:
    for delivery in deliveries:
        product = delivery["businessProductId"]
        delivery["hydration"] = _hydration(asks.get((product, order_subject(delivery["orderId"]))))
        delivery.setdefault("corrections", [])
        for tracker in delivery["trackers"]:
            tracker.setdefault("corrections", [])
            subject = tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])
            tracker["hydration"] = _hydration(asks.get((product, subject)))


def _join_captures(tx: Transaction, deliveries: list[dict[str, Any]], as_of: Instant | None) -> None:
    """The capture of each; one that the ledger has not is NOT_READY."""
    found = tx.ledger.captures({_capture_key(delivery) for delivery in deliveries})
    for delivery in deliveries:
        key = _capture_key(delivery)
        capture = found.get(key)
        if capture is not None and as_of is not None:
            capture = capture_then(capture, as_of)
        delivery["capture"] = _capture_summary(capture, *key)


def _capture_key(delivery: dict[str, Any]) -> CaptureKey:
    return delivery["businessProductId"], delivery["orderId"], delivery["id"]


def capture_then(capture: Capture, as_of: Instant) -> Capture | None:
    """A capture as its history has it by then; None before it was one."""
    steps = tuple(step for step in capture.history if step.at <= as_of)
    if not steps:
        return None
    sent_at = capture.sent_at if capture.sent_at is not None and capture.sent_at <= as_of else None
    reason = steps[-1].reason if steps[-1].state in ("HELD", "VOID", "FAILED") else ""
    return replace(capture, state=steps[-1].state, history=steps, sent_at=sent_at, reason=reason)


def notification_then(notification: Notification, as_of: Instant) -> Notification | None:
    """A notification as its history has it by then; None before it was decided."""
    steps = tuple(step for step in notification.history if step.at <= as_of)
    if not steps:
        return None
    last = steps[-1]
    return replace(notification, state=last.state, history=steps, rule=last.rule, reason=last.reason)


def _capture_summary(
    capture: Capture | None, business_product_id: str, order_id: str, delivery_id: str
) -> dict[str, Any]:
    """How far the capture of a delivery is."""
    if capture is None:
        future = capture_id(business_product_id, order_id, delivery_id)
        return {"id": future, "state": "NOT_READY", "reason": None, "readyAt": None, "sentAt": None}
    return {
        "id": capture.id,
        "state": capture.state,
        "reason": capture.reason or None,
        "readyAt": format_instant(capture.ready_at),
        "sentAt": None if capture.sent_at is None else format_instant(capture.sent_at),
    }


def _hydration(ask: Ask | None) -> dict[str, Any] | None:
    if ask is None:
        return None
    return {"state": ask.state, "tries": ask.tries, "dueAt": format_instant(ask.due_at), "error": ask.error}
