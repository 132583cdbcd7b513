"""The writes of an erasure: what each of `eraser`'s steps changes, in one transaction. Each may be done again.

Nothing is read here that the transaction does not see, and none of them is larger than a page.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from milepost.domain.contact import read_choices, write_choices
from milepost.domain.erasure import ERASED, MOST_ORDERS, Erasure
from milepost.domain.instant import Instant
from milepost.domain.record import (
    Erased,
    Record,
    beside_facts,
    erased_subject,
    noted_subject,
    order_subject,
    subjects_of,
    told_subject,
)
from milepost.domain.redaction import redact, redact_capture, redact_choices, redact_notification
from milepost.pipeline.ageing import named_in
from milepost.pipeline.erased import NAME, Key, about_erased, erased_among
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import NewRecord, Quarantined, Transaction, View

COMPACT: Final = "eraser.compact"
"""The checkpoint, an instant, by which somebody asks for the file to be written anew, however large it is."""
LATE: Final = "eraser.late"
"""The checkpoint, an instant: since when there are bytes to let go of, of what came after an erasure. 0: none."""
QUARANTINE: Final = "eraser.quarantine"
"""The checkpoint: the entry of quarantine up to which it was looked at."""
ROAD: Final = "eraser"

PAGE = 50
"""Records, or entries of quarantine, of one transaction."""
_EVERY = 1_000_000
_REASON: Final = "What it held was erased."
_SHORTEST_NEEDLE = 4
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_CODE = re.compile(r"\\u(.{4})")
_MARKS = re.compile(r'\\(["\\/])')


def orders_by_email(tx: Transaction, products: Collection[str] | None, email: str) -> list[View]:
    """The views of the orders whose customer has this address, one more than an erasure may have at most."""
    term = email.strip().lower()
    found = [
        f for f in tx.views.search(term, MOST_ORDERS + 1, products) if f.kind == "order" and f.term == term
    ]
    views = tx.views.get([(f.kind, f.business_product_id, f.id) for f in found])
    return [view for view in views.values() if _email(msgspec.json.decode(view.document)) == term]


def _email(order: Mapping[str, Any]) -> str:
    return ((order.get("customer") or {}).get("email") or "").strip().lower()


def tally(tx: Transaction, product: str, orders: Sequence[str]) -> tuple[int, int, int, int]:
    """(records, those of them that are erased, captures, notifications) of orders."""
    keys = [(product, order) for order in orders]
    records = erased = 0
    for order in orders:
        for some in _pages(_positions(tx, product, order)):
            found = tx.journal.records(some).values()
            records += len(found)
            erased += sum(ERASED in record.flags for record in found)
    captures = sum(map(len, tx.ledger.captures_of_orders(keys).values()))
    return records, erased, captures, sum(map(len, tx.notifications.of_orders(keys).values()))


def _pages(positions: Sequence[int]) -> Iterator[Sequence[int]]:
    return (positions[start : start + PAGE] for start in range(0, len(positions), PAGE))


def _positions(tx: Transaction, product: str, order: str) -> list[int]:
    """Where records about an order are, those that are no facts too."""
    return _about(tx, (product, order_subject(order)))


def _about(tx: Transaction, key: Key) -> list[int]:
    product, subject = key
    keys = [(product, name) for name in (subject, told_subject(subject), noted_subject(subject))]
    return sorted({p for found in tx.journal.positions_of(keys, _EVERY).values() for p in found})


# ── ASKED ──────────────────────────────────────────────────────────────────────────────────────────────────


def mark(tx: Transaction, erasure: Erasure, now: Instant) -> Erasure:
    """From now on the orders are erased, whatever comes about them. Those that a shopper has by now belong to it."""
    product = erasure.business_product_id
    if erasure.shopper:
        orders = dict.fromkeys(erasure.orders)
        for view in _views(tx, erasure):
            if email := _email(msgspec.json.decode(view.document)):
                orders |= dict.fromkeys(other.id for other in orders_by_email(tx, [product], email))
        erasure = replace(erasure, orders=tuple(orders)[: max(MOST_ORDERS, len(erasure.orders))])
        tx.erasures.put(erasure)
    _mark(tx, {(product, order_subject(order)) for order in erasure.orders}, now)
    return erasure


def mark_trackers(tx: Transaction, product: str, trackers: Sequence[str], now: Instant) -> list[str]:
    """Those of these trackers that only erased orders have; they are erased from now on."""
    views = tx.views.get([("tracker", product, name.removeprefix("tracker/")) for name in trackers])
    carried = {
        f"tracker/{name}": {
            (product, order_subject(o["orderId"])) for o in msgspec.json.decode(view.document)["orders"]
        }
        for (_, _, name), view in views.items()
    }
    erased = tx.erasures.erased({order for orders in carried.values() for order in orders}).keys()
    mine = [name for name in trackers if carried.get(name, set()) <= erased]
    _mark(tx, {(product, name) for name in mine}, now)
    return mine


def _mark(tx: Transaction, keys: Collection[Key], now: Instant) -> None:
    there = tx.erasures.erased(keys)
    tx.erasures.mark({key: now for key in keys if key not in there})
    # What the projector has not indexed yet is found by following the journal from there, quarantine from its start.
    indexed = tx.journal.checkpoint(PROJECTOR)
    reached = tx.journal.checkpoint(NAME) or indexed
    tx.journal.set_checkpoint(NAME, min(reached, indexed))
    tx.journal.set_checkpoint(QUARANTINE, 0)


def redact_records(tx: Transaction, key: Key, after: int) -> tuple[int | None, set[str]]:
    """Rewrite the next records about an order or a tracker above a position; where to go on (None: at the end), and
    the orders and trackers that these records name."""
    listed = [position for position in _about(tx, key) if position > after]
    records = tx.journal.records(listed[:PAGE])
    # A tracker's view knows no order that could not be folded: what names such a one alone is left to it.
    mine = about_erased(tx, records.values()) if key[1].startswith("tracker/") else records
    rewrite(tx, mine.values())
    named = {beside_facts(s) or s for record in records.values() for s in _subjects(record)}
    named = {name for name in named if name.startswith(("order/", "tracker/"))}
    return (listed[PAGE - 1] if len(listed) > PAGE else None), named


def _subjects(record: Record) -> Sequence[str]:
    try:
        return subjects_of(record)
    except Exception:  # noqa: BLE001 - it is listed as failed, and names nothing
        return ()


def rewrite(tx: Transaction, records: Collection[Record]) -> None:
    """Redact these bodies, and what quotes them."""
    bodies = {r.position: redact(r.body, r.kind) for r in records if ERASED not in r.flags}
    tx.erasures.rewrite(bodies, ERASED)
    positions = [record.position for record in records]
    tx.erasures.blank_attempts(positions)
    tx.erasures.forget_failures(positions, PROJECTOR)


def redact_ledgers(tx: Transaction, product: str, order: str, trackers: Sequence[str]) -> None:
    """Captures, notifications and blocks lose what people wrote, failures what they quote; what was done in queues is
    forgotten, and nothing more is asked about the order and its trackers."""
    key = (product, order)
    subjects = [(product, order_subject(order)), *((product, tracker) for tracker in trackers)]
    tx.ledger.put_captures(list(map(redact_capture, tx.ledger.captures_of_orders([key]).get(key, ()))))
    notifications = tx.notifications.of_orders([key]).get(key, ())
    chosen = tx.notifications.choices([(product, n.recipient) for n in notifications if n.recipient])
    blocked = {recipient: redact_choices(read_choices([kept])) for recipient, kept in chosen.items()}
    tx.notifications.choose({recipient: write_choices(choices) for recipient, choices in blocked.items()})
    tx.notifications.put(list(map(redact_notification, notifications)))
    tx.queues.forget(subjects)
    # What a batch could not tell is listed at the batch's end, which may be another order's record.
    tx.erasures.blank_failures(subjects)
    tx.work.done(subjects)


def finish_redacting(
    tx: Transaction, erasure: Erasure, about: Mapping[str, Collection[str]], now: Instant
) -> None:
    """Journal that everything that an order's records name is folded anew; one record an order, so that orders do not
    hang together for having been erased together."""
    product = erasure.business_product_id
    positions = _fold_anew(tx, product, erasure.id, about.values(), now)
    counted = tally(tx, product, erasure.orders)[1]
    done = replace(erasure, state="REDACTED", position=max(positions, default=0), records=counted)
    tx.erasures.put(done)


def _fold_anew(
    tx: Transaction, product: str, erasure: str, about: Collection[Collection[str]], now: Instant
) -> list[int]:
    """Journal a record for each of these groups of orders and trackers, which folds them anew; the positions."""
    bodies = [
        msgspec.json.encode(Erased(erasure, tuple(map(erased_subject, sorted(named))))) for named in about
    ]
    return tx.journal.add([NewRecord("erasure", product, "erasure", now, now, ROAD, body) for body in bodies])


# ── Quarantine ─────────────────────────────────────────────────────────────────────────────────────────────


def needles_of(tx: Transaction, erasure: Erasure) -> list[str]:
    """What a quarantined body is searched for: the orders' ids, and the customers' names and addresses while they are
    still in views. Case-folded."""
    texts = set(erasure.orders)
    for view in _views(tx, erasure):
        customer = msgspec.json.decode(view.document).get("customer") or {}
        texts.update(filter(None, customer.values()))
    return sorted({text.strip().casefold() for text in texts if len(text.strip()) >= _SHORTEST_NEEDLE})


def naming(
    tx: Transaction, product: str, needles: Sequence[str], after: int
) -> tuple[int | None, list[Quarantined]]:
    """Of the next quarantined bodies those that name one of these; where to go on, None at the end."""
    entries = tx.journal.quarantined(after, PAGE, None, None)
    found = [
        entry
        for entry in entries
        if product in (entry.business_product_ids or (product,)) and _names(entry.body, needles)
    ]
    return (entries[-1].id if len(entries) == PAGE else None), found


def _names(body: bytes, needles: Sequence[str]) -> bool:
    """Whether a body, which need be no JSON, holds one of these texts in any case, escaped as JSON may or not."""
    text = _ESCAPES.sub(_unescaped, body.decode(errors="replace"))
    text = _MARKS.sub(r"\1", text).casefold()
    return any(needle in text for needle in needles)


def _unescaped(escapes: re.Match[str]) -> str:
    """What a run of JSON's escapes stands for: two may be one character."""
    codes = b"".join(int(code, 16).to_bytes(2, "big") for code in _CODE.findall(escapes[0]))
    return codes.decode("utf-16-be", "replace")


def erased_in_quarantine(tx: Transaction) -> tuple[int, list[Quarantined]]:
    """The last of the entries that were not looked at yet (0: there is none), and those whose resources name
    something erased."""
    entries = tx.journal.quarantined(tx.journal.checkpoint(QUARANTINE), PAGE, None, None)
    if not entries:
        return 0, []
    everywhere = tx.journal.business_products()
    named: dict[int, set[Key]] = {}
    for entry in entries:
        products = entry.business_product_ids or everywhere
        named[entry.id] = {(bp, subject) for subject in named_in(entry.body) for bp in products}
    erased = erased_among(tx, {key for keys in named.values() for key in keys})
    found = [e for e in entries if not named[e.id].isdisjoint(erased) and e.reason != _REASON]
    return entries[-1].id, found


def follow_quarantine(tx: Transaction, last: int, entries: Sequence[Quarantined], now: Instant) -> None:
    """Quarantine was looked at up to `last`; these name something erased."""
    rewrite_quarantined(tx, entries)
    tx.journal.set_checkpoint(QUARANTINE, last)
    if entries:
        _note_late(tx, now)


def rewrite_quarantined(tx: Transaction, entries: Sequence[Quarantined]) -> None:
    """Redact these bodies, and the reasons that quote them."""
    tx.erasures.rewrite_quarantined({e.id: redact(e.body, "quarantine") for e in entries}, _REASON)


# ── Behind the journal ─────────────────────────────────────────────────────────────────────────────────────


def follow(tx: Transaction, last: int, late: Collection[Record], now: Instant) -> None:
    """The journal was looked at up to `last`; these came about something erased."""
    tx.journal.set_checkpoint(NAME, last)
    if late:
        rewrite(tx, late)
        _note_late(tx, now)
        for product, named in _named_anew(tx, late).items():
            _erase_trackers(tx, product, named, now)


def _named_anew(tx: Transaction, late: Collection[Record]) -> dict[str, dict[str, set[str]]]:
    """By business product the trackers that these are the first to say are erased orders', and no other's; which
    orders."""
    named = {record.position: {beside_facts(s) or s for s in _subjects(record)} for record in late}
    keys = {(r.business_product_id, s) for r in late for s in named[r.position]}
    erased = tx.erasures.erased(keys).keys()
    found: dict[str, dict[str, set[str]]] = {}
    for record in late:
        product, subjects = record.business_product_id, named[record.position]
        orders = {s for s in subjects if s.startswith("order/")}
        if orders and {(product, order) for order in orders} <= erased:
            for tracker in (s for s in subjects if s.startswith("tracker/") and (product, s) not in erased):
                found.setdefault(product, {}).setdefault(tracker, set()).update(orders)
    return found


def _erase_trackers(
    tx: Transaction, product: str, named: Mapping[str, Collection[str]], now: Instant
) -> None:
    """Erase what came about these before anybody knew whose they are. What comes is followed."""
    for tracker in mark_trackers(tx, product, sorted(named), now):
        tx.work.done([(product, tracker)])
        before = about_erased(tx, tx.journal.records(_about(tx, (product, tracker))).values())
        if before:
            rewrite(tx, before.values())
            _fold_anew(tx, product, "", [(tracker, *named[tracker])], now)


def _note_late(tx: Transaction, now: Instant) -> None:
    if not tx.journal.checkpoint(LATE):
        tx.journal.set_checkpoint(LATE, now)


def settle(tx: Transaction, erasure: Erasure) -> None:
    """The views were folded anew. What could not be folded keeps no view: it was made of what is gone. Attempts,
    folds and notifications that were under way, while views still said whose order it is, have been written down."""
    product = erasure.business_product_id
    for order in erasure.orders:
        tx.erasures.blank_attempts(_positions(tx, product, order))
        redact_ledgers(tx, product, order, ())
    views = _views(tx, erasure)
    shown = {("tracker", product, _tracker_id(t)) for v in views for t in _trackers(v)}
    failing = tx.erasures.failing(
        {
            *((product, order_subject(view.id)) for view in views),
            *((bp, f"tracker/{name}") for _, bp, name in shown),
        },
        PROJECTOR,
    )
    gone: list[Any] = [key for key in shown if (product, f"tracker/{key[2]}") in failing]
    for view in views:
        if (product, order_subject(view.id)) in failing:
            deliveries = msgspec.json.decode(view.document)["deliveries"]
            gone += [("order", product, view.id), *(("delivery", product, d["id"]) for d in deliveries)]
    tx.views.remove(gone)
    tx.erasures.put(replace(erasure, state="REFOLDED"))


def _views(tx: Transaction, erasure: Erasure) -> list[View]:
    return list(
        tx.views.get([("order", erasure.business_product_id, order) for order in erasure.orders]).values()
    )


def _trackers(view: View) -> list[Mapping[str, Any]]:
    deliveries = msgspec.json.decode(view.document)["deliveries"]
    return [tracker for delivery in deliveries for tracker in delivery["trackers"]]


def _tracker_id(tracker: Mapping[str, Any]) -> str:
    return f"{tracker['carrierCode'].lower()}/{tracker['trackingNumber']}"


def finish(tx: Transaction, erasures: Collection[Erasure], now: Instant) -> None:
    """The database has let go of the bytes."""
    for erasure in erasures:
        tx.erasures.put(replace(erasure, state="DONE", done_at=now))
    for name in (COMPACT, LATE):
        if tx.journal.checkpoint(name):
            tx.journal.set_checkpoint(name, 0)
