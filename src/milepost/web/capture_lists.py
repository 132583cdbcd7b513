"""Pages of captures: the ledger by state or order, and what expired before it shipped.

The ledger knows what shipped; until when payment may be collected is told with the order's view. So what "expired
before it shipped" is looked for in two places: orders that still wait to ship and whose deadline passed (NOT_READY,
in no ledger), then captures that became ready after it. No index leads there, so a page looks at a bounded number of
rows and says where to go on.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from milepost.domain.authorization import deadline, waits, waits_to_ship
from milepost.domain.capture import Capture, CaptureState, capture_id
from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.store import Transaction
from milepost.web.documents import Document
from milepost.web.paging import Page, cut, decode_cursor, encode_cursor
from milepost.web.reading import Reach, decoded

LOOKED_AT = 2_000
"""Rows that one page of what expired looks at."""
AT_ONCE = 200

UNACKNOWLEDGED: frozenset[CaptureState] = frozenset({"READY", "SENT", "FAILED", "HELD"})
"""It shipped, and nobody has said that payment was collected, nor that it never will be."""
NOT_READY: CaptureState = "NOT_READY"


class Where(NamedTuple):
    """Where a page of what expired ended."""

    among: Literal["waiting", "shipped"]
    number: int
    """Of the order's view, or of the capture in the ledger."""
    business_product_id: str = ""
    order_id: str = ""
    passed: int = 0
    """How many of the order's waiting deliveries were listed."""


class CaptureItem(Document):
    """Whether payment for one delivery may be collected. Its `id` is the key under which to collect once."""

    id: str | None
    """Null where no delivery of the order is known yet."""
    business_product_id: str
    order_id: str
    delivery_id: str | None
    state: str
    reason: str | None
    ready_at: str | None
    sent_at: str | None
    inferred: bool
    """No ship event came: it was seen delivered, or in an answer."""
    evidence: list[dict[str, Any]]
    line_items: list[dict[str, Any]]
    suggestion: dict[str, Any] | None
    """An amount, where the order's prices are known. It decides nothing."""
    capture_before: str | None
    """The order's deadline, as somebody told."""
    expired_before_shipped: bool


class Wanted(Struct, frozen=True):
    """Which captures a list is of."""

    states: frozenset[CaptureState]
    expired: bool
    order_id: str | None


def wanted_states(state: str | None, unacknowledged: bool, expired: bool) -> frozenset[CaptureState]:
    """The states to look for. Raises `Invalid`."""
    known: tuple[CaptureState, ...] = get_args(CaptureState)
    states = frozenset(known)
    if state is not None:
        states = frozenset(each for each in known if each == state)
        if not states:
            raise Invalid(f"state must be one of {', '.join(known)}", field="state")
    if unacknowledged:
        states &= UNACKNOWLEDGED
    elif expired and state is None:
        states = UNACKNOWLEDGED | {NOT_READY}
    if not expired and states == {NOT_READY}:
        raise Invalid(
            "What is NOT_READY stands in no ledger: a delivery without a capture is so. With expired=true those"
            " whose deadline passed are listed.",
            field="state",
        )
    return states


def capture_page(
    tx: Transaction, wanted: Wanted, after: str | None, size: int, reach: Reach, now: Instant
) -> Page[CaptureItem]:
    """One page of the captures that are wanted."""
    if wanted.expired:
        return _expired_page(tx, wanted.states, after, size, reach, now)
    start = 0 if after is None else decode_cursor("capture", after, int)
    if wanted.order_id is not None:
        rows = _of_order(tx, wanted.order_id, wanted.states, reach)[start:]
    elif not wanted.states:
        rows = []
    else:
        rows = tx.ledger.capture_page(start, size + 1, reach, _named(wanted.states))
    before = deadlines_of(tx, [capture for _, capture in rows[:size]])
    return cut(
        "capture", rows, size, lambda row: row[0], lambda row: ledger_item(row[1], before.get(row[1].id))
    )


def _named(states: frozenset[CaptureState]) -> Collection[CaptureState]:
    """As the ledger takes them: none named means all."""
    every = frozenset(get_args(CaptureState))
    return () if states == every else states - {NOT_READY}


def _of_order(
    tx: Transaction, order_id: str, states: frozenset[CaptureState], reach: Reach
) -> list[tuple[int, Capture]]:
    """The captures of an order, numbered; it may be gone from the views."""
    if "\x00" in order_id:
        return []
    products = tx.journal.business_products() if reach is None else reach
    found = tx.ledger.captures_of_orders([(product, order_id) for product in sorted(products)])
    listed = [capture for key in sorted(found) for capture in found[key] if capture.state in states]
    return list(enumerate(listed, 1))


def deadlines_of(tx: Transaction, captures: Iterable[Capture]) -> dict[str, Instant]:
    """Until when payment of their orders may be collected, by capture id; of orders where anybody told it."""
    captures = list(captures)
    keys = {capture.id: ("order", capture.business_product_id, capture.order_id) for capture in captures}
    views = tx.views.get(list(set(keys.values())))  # type: ignore[arg-type]
    told = {key: before for key, view in views.items() if (before := deadline(decoded(view))) is not None}
    return {capture: told[key] for capture, key in keys.items() if key in told}


def ledger_item(capture: Capture, before: Instant | None) -> CaptureItem:
    """A capture of the ledger, for whoever collects."""
    return CaptureItem(
        capture.id,
        capture.business_product_id,
        capture.order_id,
        capture.delivery_id,
        capture.state,
        capture.reason or None,
        format_instant(capture.ready_at),
        None if capture.sent_at is None else format_instant(capture.sent_at),
        capture.inferred,
        list(capture.evidence),
        list(capture.line_items),
        capture.suggestion,
        None if before is None else format_instant(before),
        before is not None and _shipped_at(capture) > before,
    )


def _shipped_at(capture: Capture) -> Instant:
    times = [parse_instant(e["at"]) for e in capture.evidence if isinstance(e.get("at"), str)]
    return min(times, default=capture.ready_at)


# ── Expired before it shipped ──────────────────────────────────────────────────────────────────────────────


class _Scan:
    """One page of what expired: items so far, and how much may still be looked at."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = LOOKED_AT
        self.items: list[CaptureItem] = []
        self.where = Where("waiting", 0)
        """Behind what was looked at last."""

    def full(self) -> bool:
        return len(self.items) >= self.size or self.left <= 0


def _expired_page(
    tx: Transaction,
    states: frozenset[CaptureState],
    after: str | None,
    size: int,
    reach: Reach,
    now: Instant,
) -> Page[CaptureItem]:
    start = None if after is None else decode_cursor("expired", after, Where)
    scan = _Scan(size)
    ended = False
    if NOT_READY in states and (start is None or start.among == "waiting"):
        ended = _scan_waiting(tx, scan, start, reach, now)
    if not scan.full():
        shipped = states - {NOT_READY}
        behind = start.number if start is not None and start.among == "shipped" else 0
        ended = not shipped or _scan_shipped(tx, scan, behind, reach, shipped)
    elif ended:
        # Every order was looked at; the ledger is the next page's.
        scan.where, ended = Where("shipped", 0), False
    return Page(scan.items, None if ended else encode_cursor("expired", scan.where))


def _scan_waiting(tx: Transaction, scan: _Scan, start: Where | None, reach: Reach, now: Instant) -> bool:
    """Orders in state PENDING: each that has something to ship is in it. Returns whether all were looked at."""
    key = None
    if start is not None:
        key = (start.number, start.business_product_id, start.order_id)
        view = tx.views.get([("order", key[1], key[2])]).get(("order", key[1], key[2]))
        if view is not None and (reach is None or key[1] in reach):
            _add_waiting(scan, key, decoded(view), start.passed, now)
    while not scan.full():
        rows = tx.views.page("order", key, AT_ONCE, reach, "PENDING")
        for number, view in rows:
            key = (number, view.business_product_id, view.id)
            scan.left -= 1
            _add_waiting(scan, key, decoded(view), 0, now)
            if scan.full():
                return False
        if len(rows) < AT_ONCE:
            return True
    return False


def _add_waiting(
    scan: _Scan, key: tuple[int, str, str], order: dict[str, Any], passed: int, now: Instant
) -> None:
    """What of an order expired and waits, from the `passed`-th on."""
    number, product, order_id = key
    items = list(_waiting_items(order, now))
    room = max(scan.size - len(scan.items), 0)
    kept = items[passed : passed + room]
    scan.items += kept
    scan.where = Where("waiting", number, product, order_id, passed + len(kept))


def _waiting_items(order: dict[str, Any], now: Instant) -> Iterator[CaptureItem]:
    before = deadline(order)
    if before is None or before > now or not waits_to_ship(order):
        return
    product, order_id = order["businessProductId"], order["id"]
    deliveries: Sequence[dict[str, Any]] = [d for d in order["deliveries"] if waits(d)]
    for delivery in deliveries or [{"id": None, "lineItems": []}]:
        delivery_id = delivery["id"]
        yield CaptureItem(
            None if delivery_id is None else capture_id(product, order_id, delivery_id),
            product,
            order_id,
            delivery_id,
            NOT_READY,
            None,
            None,
            None,
            False,
            [],
            msgspec.to_builtins(delivery["lineItems"]),
            None,
            format_instant(before),
            True,
        )


def _scan_shipped(
    tx: Transaction, scan: _Scan, behind: int, reach: Reach, states: frozenset[CaptureState]
) -> bool:
    """Captures that became ready after the deadline. Returns whether all were looked at."""
    scan.where = Where("shipped", behind)
    while not scan.full():
        rows = tx.ledger.capture_page(behind, AT_ONCE, reach, states)
        before = deadlines_of(tx, [capture for _, capture in rows])
        for number, capture in rows:
            behind = number
            scan.left -= 1
            item = ledger_item(capture, before.get(capture.id))
            if item.expired_before_shipped:
                scan.items.append(item)
            scan.where = Where("shipped", behind)
            if scan.full():
                return False
        if len(rows) < AT_ONCE:
            return True
    return False
