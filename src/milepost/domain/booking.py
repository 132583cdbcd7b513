"""What the accountant's books say of an order, and which rows make them say so (tracking.md 10).

`book_order` compares an order's view with what was last booked of it and gives what changed. `due_rows` holds such a
change against the rows that are there and gives those that are to be posted: nothing where they say the same, one
row for something new, a reversal and a restatement for a correction, a reversal alone for what is withdrawn.
`settled_rows` settles a row that nothing contradicted.

What is booked of a delivery:

- **shipped** from the first ship evidence on: the carrier's first possession, else the ship event, else an answer
  that shows it; where all of these were lost, when it was delivered. A cancellation without movement books nothing.
- **delivered** while the delivery is DELIVERED and no tracker of it took that back (T5, within 72 hours).

Returns and refunds are not booked. While a CONTRADICTION of the delivery is open its rows do not settle.

Which day is whose, for a time (9.1): with an offset, without a zone, or a date alone the day is the one that was
written; a time in UTC is reckoned in the zone of the scan's place, where that is known. Without one, shipping is
reckoned where parcels are sent from, as the settings say, and an arrival by the place of the last mile's scans, or,
failing that, in UTC. So the same facts give the same rows, in whichever order they came.

An order that retention removed and of which something comes again keeps the rows it had, since what is folded now
lacks the facts that are gone; what had no row yet gets its first.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, tzinfo
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.accounting import Entry, EntryKind, EntryReason, entry_id
from milepost.domain.evidence import DELIVERED
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.leg import DELIVERED_RETRACTED, POSSESSION
from milepost.domain.local_time import local_day
from milepost.domain.place import zone_of

Document = Mapping[str, Any]

INFERRED: Final = "inferred-from-place"
_LAST_MILE: Final = frozenset(("OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED", "DELIVERED"))
"""Scans that take place where the shopper is."""
_ARRIVAL: Final = frozenset((DELIVERED,))
_MONTH: Final = len("2025-01")


Content = tuple[()] | tuple[Instant, str, str, str, str]
"""What is stated: when, the day at the origin and at the destination, how the day is known, and by which source. It
is what makes it another statement; more records may show the same meanwhile. Empty: nothing is stated."""


class Statement(Struct, frozen=True):
    """That a delivery shipped or arrived, as its view says."""

    kind: EntryKind
    occurred_at: Instant
    origin_date: str
    destination_date: str
    zone: str
    evidence: dict[str, Any]
    newest: int
    """The position of the newest fact about the delivery."""

    @property
    def tax_period(self) -> str:
        day = self.origin_date if self.kind == "shipped" else self.destination_date
        return day[:_MONTH]


class Booked(Struct, frozen=True, array_like=True):
    """A delivery as it was last booked."""

    delivery_id: str
    shipped: list[Any] = []
    """A statement's `Content`."""
    delivered: list[Any] = []
    doubted: bool = False
    """A contradiction of it is open."""
    kept: bool = False
    """Its order was removed and came back: the rows it had stay as they are."""


class Change(Struct, frozen=True):
    """What is to be stated from now on of one delivery and kind."""

    delivery_id: str
    kind: EntryKind
    statement: Statement | None
    """None: it is not so any more."""
    doubted: bool
    first: bool
    """As far as is known nothing was booked. If there is a row all the same, it stays as it is."""


class Booking(Struct, frozen=True):
    """What changed of one order, and what is booked of it from now on."""

    business_product_id: str
    order_id: str
    standing: tuple[Booked, ...]
    changes: tuple[Change, ...]

    def encoded(self) -> bytes:
        """The standing, as it is kept."""
        return _encode(self.standing)


class Posting(Struct, frozen=True):
    """How rows of one business product are posted at a moment."""

    now: Instant
    settle_ms: int
    closed: Collection[str]
    """Closed periods."""

    def period(self, wanted: str) -> str:
        """The first open period from the wanted one on."""
        while wanted in self.closed:
            wanted = following(wanted)
        return wanted


_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(tuple[Booked, ...]).decode


def following(period: str) -> str:
    """The period after one: 2025-01 after 2024-12."""
    year, month = int(period[:4]), int(period[5:])
    return f"{year + month // 12:04}-{month % 12 + 1:02}"


# ── What changed ───────────────────────────────────────────────────────────────────────────────────────────


def book_order(order: Document, before: bytes | None, origin: tzinfo) -> Booking | None:
    """What changed of an order's view against what was last booked; None when nothing did. `origin` is the zone
    that parcels are sent from."""
    known = {} if before is None else {booked.delivery_id: booked for booked in _read(before)}
    standing: list[Booked] = []
    changes: list[Change] = []
    for delivery in order["deliveries"]:
        old = known.pop(delivery["id"], None)
        shipped, delivered = shipped_content(delivery, origin), delivered_content(delivery, origin)
        if old is None and not shipped and not delivered:
            continue
        new = Booked(delivery["id"], list(shipped), list(delivered), _is_doubted(delivery))
        if old is not None and old.kept:
            new = Booked(
                old.delivery_id, old.shipped or new.shipped, old.delivered or new.delivered, old.doubted, True
            )
        standing.append(new)
        if new != old:
            changes += _changes(old, new, delivery, shipped, delivered)
    for gone in known.values():
        if gone.kept:
            standing.append(gone)
        else:
            changes += _changes(gone, Booked(gone.delivery_id), {}, (), ())
    if not changes:
        return None
    return Booking(order["businessProductId"], order["id"], tuple(standing), tuple(changes))


def _changes(
    old: Booked | None, new: Booked, delivery: Document, shipped: Content, delivered: Content
) -> Iterator[Change]:
    first = old is None or old.kept
    before = Booked(new.delivery_id) if old is None else old
    doubt = before.doubted != new.doubted
    if before.shipped != new.shipped or (doubt and new.shipped):
        stated = statement_of(delivery, "shipped", shipped)
        yield Change(new.delivery_id, "shipped", stated, new.doubted, first)
    if before.delivered != new.delivered or (doubt and new.delivered):
        stated = statement_of(delivery, "delivered", delivered)
        yield Change(new.delivery_id, "delivered", stated, new.doubted, first)


def _is_doubted(delivery: Document) -> bool:
    return any(c["code"] == "CONTRADICTION" and c["clearedAt"] is None for c in delivery["conditions"])


def _is_taken_back(delivery: Document) -> bool:
    """T5: a tracker's DELIVERED was contradicted by a scan soon after it, and it is not there (again) yet."""
    return any(c["kind"] == DELIVERED_RETRACTED and c["clearedAt"] is None for c in delivery["conditions"])


# ── Statements ─────────────────────────────────────────────────────────────────────────────────────────────


def shipped_content(delivery: Document, origin: tzinfo) -> Content:
    """That it shipped, reckoned where it was sent from; empty while there is no ship evidence."""
    first = delivery["shipEvidence"]
    if first is None:
        return ()
    text = delivery["shippedAt"]
    if text is None:
        # Only that it was delivered is known: it shipped by then.
        text, day, zone, source = first["at"], first["at"][:10], "utc", first["kind"]
    else:
        day, zone, source = delivery["shippedOn"], delivery["shippedAtZone"], delivery["shippedAtSource"]
    at = parse_instant(text)
    if zone == "utc":
        scan = _scan(delivery, POSSESSION, text) if source == "possession" else None
        if (where := _place(scan) or (None if origin is UTC else origin)) is not None:
            day, zone = local_day(at, where), INFERRED
    there = _last_mile(delivery) if _is_moment(zone) else None
    return at, day, day if there is None else local_day(at, there), zone, source


def delivered_content(delivery: Document, origin: tzinfo) -> Content:
    """That it was delivered, reckoned where it arrived; empty while it was not, or that was taken back."""
    text = delivery["deliveredAt"]
    if delivery["state"] != DELIVERED or text is None or _is_taken_back(delivery):
        return ()
    day, zone, source = delivery["deliveredOn"], delivery["deliveredAtZone"], delivery["deliveredAtSource"]
    at = parse_instant(text)
    if zone == "utc":
        scan = _scan(delivery, _ARRIVAL, text) if source == "milestone" else None
        if (where := _place(scan) or _last_mile(delivery)) is not None:
            day, zone = local_day(at, where), INFERRED
    return at, local_day(at, origin) if _is_moment(zone) else day, day, zone, source


def statement_of(delivery: Document, kind: EntryKind, content: Content) -> Statement | None:
    """A statement with what showed it: the scan, or the ship evidence if it is of that time. Where it is neither, the
    record is still to be found: the newest of the delivery's (`newest`) if it fits."""
    if not content:
        return None
    at, origin_date, destination_date, zone, source = content
    text, first = format_instant(at), delivery["shipEvidence"]
    scanned, scan = source in ("possession", "milestone"), None
    if scanned:
        scan = _scan(delivery, POSSESSION if kind == "shipped" else _ARRIVAL, text)
    known: dict[str, Any] = {"kind": "milestone" if scanned else source, "type": None, "position": None}
    if scan is not None:
        known |= {"type": scan["code"], "position": scan["position"]}
    elif first is not None and first["at"] == text and (kind == "shipped" or first["inferred"]):
        known = {"kind": first["kind"], "type": first["type"], "position": first["position"]}
    evidence = {**known, "at": text, "source": source}
    return Statement(kind, at, origin_date, destination_date, zone, evidence, delivery["position"])


def _is_moment(zone: str) -> bool:
    """Whether the time is a moment, which is another day elsewhere; a date alone and a time of no zone are not."""
    return zone not in ("date-only", "unknown")


def _scan(delivery: Document, codes: Collection[str], at: str) -> Document | None:
    """The carrier's scan of that time."""
    for tracker in delivery["trackers"]:
        for milestone in tracker["milestones"]:
            if milestone["occurredAt"] == at and milestone["code"] in codes:
                return milestone  # type: ignore[no-any-return]
    return None


def _place(scan: Document | None) -> tzinfo | None:
    """The zone of the place of a scan."""
    if scan is None:
        return None
    address = scan["address"]
    return zone_of(address["country"], address["region"])


def _last_mile(delivery: Document) -> tzinfo | None:
    """The zone of where the parcel goes: of the last scan there whose place is known, before it goes back."""
    for tracker in delivery["trackers"]:
        found = None
        for milestone in tracker["milestones"]:
            code = milestone["code"]
            if code == "RETURN_TO_SENDER":
                break
            if code in _LAST_MILE:
                found = _place(milestone) or found
        if found is not None:
            return found
    return None


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(entries: Sequence[Entry], delivery_id: str, kind: EntryKind) -> list[Entry]:
    """Of an order's rows those of one delivery and kind, oldest first."""
    return [entry for entry in entries if entry.delivery_id == delivery_id and entry.kind == kind]


def standing_row(rows: Sequence[Entry]) -> Entry | None:
    """The row that holds, of the rows of one delivery and kind; None when nothing does."""
    return rows[-1] if rows and rows[-1].sign == 1 else None


def due_rows(
    booking: Booking, change: Change, rows: Sequence[Entry], posting: Posting, *, erased: bool = False
) -> list[Entry]:
    """The rows to post for a change, given those that are there of its delivery and kind. Of an order whose personal
    data was `erased` nothing is restated at the same time: only the place is gone, by which the day was known."""
    standing, statement = standing_row(rows), change.statement
    if standing is not None and statement is not None:
        same_time = standing.occurred_at == statement.occurred_at
        if _says(standing, statement) or (erased and same_time):
            return []
    found: list[Entry] = []
    if standing is not None:
        found.append(_reversal(standing, "withdrawn" if statement is None else "correction", posting))
    if statement is not None:
        reason: EntryReason = "new" if standing is None else "correction"
        found.append(_stated(booking, change, statement, _next_revision(rows), reason, posting))
    return found


def settled_rows(entry: Entry, rows: Sequence[Entry], posting: Posting) -> list[Entry]:
    """The rows that settle a provisional one; none where it does not hold any more, or is settled."""
    standing = standing_row(rows)
    if standing is None or standing.id != entry.id or standing.status == "settled":
        return []
    revision = _next_revision(rows)
    settled = replace(
        entry,
        id=_id(entry, revision, 1),
        revision=revision,
        status="settled",
        reason="settled",
        posting_period=posting.period(entry.tax_period),
        posted_at=posting.now,
        settles_at=None,
    )
    return [_reversal(entry, "settled", posting), settled]


def _says(entry: Entry, statement: Statement) -> bool:
    return (
        entry.occurred_at == statement.occurred_at
        and entry.origin_date == statement.origin_date
        and entry.destination_date == statement.destination_date
        and entry.zone == statement.zone
        and entry.evidence["source"] == statement.evidence["source"]
    )


def _next_revision(rows: Sequence[Entry]) -> int:
    return max((entry.revision for entry in rows), default=0) + 1


def _reversal(entry: Entry, reason: EntryReason, posting: Posting) -> Entry:
    """It is posted to the period of the row that it reverses, or, when that is closed, to the next open one."""
    return replace(
        entry,
        id=_id(entry, entry.revision, -1),
        sign=-1,
        reason=reason,
        posting_period=posting.period(entry.posting_period),
        posted_at=posting.now,
        settles_at=None,
    )


def _stated(
    booking: Booking,
    change: Change,
    statement: Statement,
    revision: int,
    reason: EntryReason,
    posting: Posting,
) -> Entry:
    product, order_id, delivery_id = booking.business_product_id, booking.order_id, change.delivery_id
    period = statement.tax_period
    return Entry(
        id=entry_id(product, order_id, delivery_id, change.kind, revision, 1),
        business_product_id=product,
        order_id=order_id,
        delivery_id=delivery_id,
        kind=change.kind,
        revision=revision,
        sign=1,
        status="provisional",
        reason=reason,
        occurred_at=statement.occurred_at,
        destination_date=statement.destination_date,
        origin_date=statement.origin_date,
        zone=statement.zone,
        tax_period=period,
        posting_period=posting.period(period),
        posted_at=posting.now,
        evidence=statement.evidence,
        settles_at=None if change.doubted else Instant(posting.now + posting.settle_ms),
    )


def _id(entry: Entry, revision: int, sign: int) -> str:
    product, order_id, delivery_id = entry.business_product_id, entry.order_id, entry.delivery_id
    return entry_id(product, order_id, delivery_id, entry.kind, revision, sign)


# ── Periods ────────────────────────────────────────────────────────────────────────────────────────────────


def is_period(text: str) -> bool:
    """Whether it is a month, YYYY-MM."""
    if len(text) != _MONTH or not "1970" <= text[:4] <= "9998":
        return False
    try:
        return date.fromisoformat(f"{text}-01").isoformat()[:_MONTH] == text
    except ValueError:
        return False


def ended_at(period: str) -> Instant:
    """When the last place on Earth leaves the period: noon UTC of the first of the next month."""
    return parse_instant(f"{following(period)}-01T12:00:00Z")
