"""What is erased: which records are about erased orders or trackers, and what is not asked about any more.

An order is erased for good. A tracker is erased as long as every order that it is known to carry is: a number that
another order shares, or that a carrier gives to another parcel later, is that order's too. So a record is about
something erased when it names an erased order, whatever else it names; one that names no order, when its tracker is.

Where nothing was ever erased each of these is one look at an empty table. The redacting itself is `eraser`'s.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from milepost.domain.erasure import ERASED
from milepost.domain.record import Record, beside_facts, subjects_of
from milepost.domain.redaction import redact
from milepost.store import Transaction

NAME = "eraser"
"""The lease of what erases, and the checkpoint up to which it has looked for what is about something erased."""

Key = tuple[str, str]
"""(business product, subject)."""

log = structlog.get_logger()


def erased_among(tx: Transaction, keys: Collection[Key]) -> set[Key]:
    """Those of these orders and trackers that are erased: nobody asks about them any more."""
    if not keys or not tx.erasures.any_erased():
        return set()
    marked = tx.erasures.erased(keys).keys()
    trackers = {key for key in marked if key[1].startswith("tracker/")}
    return {*(marked - trackers), *_all_erased(tx, trackers)}


def _all_erased(tx: Transaction, trackers: Collection[Key]) -> set[Key]:
    """The trackers of which no order is known that is not erased."""
    views = tx.views.get([("tracker", bp, subject.removeprefix("tracker/")) for bp, subject in trackers])
    orders: dict[Key, set[Key]] = {}
    for (_, bp, name), view in views.items():
        named = msgspec.json.decode(view.document)["orders"]
        orders[bp, f"tracker/{name}"] = {(bp, f"order/{one['orderId']}") for one in named}
    erased = tx.erasures.erased({order for listed in orders.values() for order in listed}).keys()
    return {key for key in trackers if orders.get(key, set()) <= erased}


def about_erased(tx: Transaction, records: Iterable[Record]) -> dict[int, Record]:
    """Those of these records, by position, that are about something erased and still have their bodies."""
    if not tx.erasures.any_erased():
        return {}
    about = {r.position: (r, _about(r)) for r in records if ERASED not in r.flags and r.kind != "erasure"}
    erased = erased_among(tx, {key for _, keys in about.values() for key in keys})
    # What one of them shows of an order that is not erased is that order's too, before a view says so.
    erased -= {
        key for _, keys in about.values() if not _orders(keys) <= erased for key in keys - _orders(keys)
    }
    return {position: record for position, (record, keys) in about.items() if _is_erased(keys, erased)}


def _about(record: Record) -> set[Key]:
    try:
        subjects = subjects_of(record)
    except Exception as e:  # noqa: BLE001 - nothing is folded from it, and it names nothing that can be read
        log.warning("erased.unreadable_record", position=record.position, error=type(e).__name__)
        return set()
    about = (beside_facts(subject) or subject for subject in subjects)
    return {(record.business_product_id, s) for s in about if s.startswith(("order/", "tracker/"))}


def _is_erased(keys: Collection[Key], erased: Collection[Key]) -> bool:
    return any(key in erased for key in _orders(keys) or keys)


def _orders(keys: Collection[Key]) -> set[Key]:
    return {key for key in keys if key[1].startswith("order/")}


def as_kept(tx: Transaction, records: Sequence[Record]) -> Sequence[Record]:
    """The same records as the journal keeps them now: they were read before the transaction, and the eraser, which
    comes to no record twice, may have rewritten some meanwhile."""
    if not records or not tx.erasures.any_erased():
        return records
    kept = tx.journal.records([record.position for record in records])
    return [kept.get(record.position, record) for record in records]


def shielded(tx: Transaction, records: Mapping[int, Record]) -> dict[int, Record]:
    """The same records by position, those about something erased as the eraser will leave them: what is folded before
    it comes to them must not show what it takes away. Where it has been, nothing is left to be done."""
    reached = tx.journal.checkpoint(NAME)
    found = about_erased(tx, [record for position, record in records.items() if position > reached])
    return {**records, **{position: rewritten(record) for position, record in found.items()}}


def rewritten(record: Record) -> Record:
    """The record after its erasure."""
    return replace(record, body=redact(record.body, record.kind), flags=(*record.flags, ERASED))
