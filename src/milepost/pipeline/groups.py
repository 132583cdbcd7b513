"""Groups: which orders and trackers hang together, so that they are removed together or stay together.

What a fold reads is every record of a subject, so a record that is about two subjects ties them: an order answer
ties its order to its trackers, a tracker's condition ties it to its orders. Beyond records, views tie what they
name (a tracker's orders, an order's trackers, the order that owns a delivery's view), and so do the notes that the
projector makes of a delivery that two orders show. Intents, notes and erasures hang on the orders and trackers that
they are about, though no fold reads them. Two records with one idempotencyKey are not tied by it: that
key reuse is a flag, which is set right when one of them goes (`retention`).

Here groups are found, on one state of the store, in bounded memory. Whether one may go is `domain.retention`'s.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.record import (
    Record,
    beside_facts,
    erased_subject,
    noted_subject,
    order_subject,
    subjects_of,
    told_subject,
    tracker_subject,
)
from milepost.domain.retention import Document, Group, returns_under_way
from milepost.store import Transaction, View, ViewKind

Key = tuple[str, str]
"""(business product, subject)."""
ViewKey = tuple[ViewKind, str, str]
"""(kind, business product, id)."""

TYING = ("order/", "tracker/", "delivery/")
"""How the subjects begin whose records hang together; an event's own ids tie nothing."""

_BODIES = 200
"""Records whose bodies are in memory together."""

log = structlog.get_logger()


class TooMany(Exception):
    """More records hang together than the caller wants."""


class Found(Struct):
    """A group as it lies in the store."""

    keys: set[Key]
    """Its orders, trackers and deliveries, as subjects."""
    records: dict[int, tuple[str, tuple[str, ...]]]
    """Position to (business product, every subject), as `Views.index` has it."""
    views: list[View]
    """Of its orders, deliveries and trackers."""
    group: Group
    broken: bool = False
    """A record or a view of it can't be read, or a view is missing."""

    @property
    def last(self) -> int:
        """The highest position among its records."""
        return max(self.records, default=0)

    @property
    def newest(self) -> int:
        """The highest position among its facts: intents and notes left aside."""
        facts = (p for p, (_, subjects) in self.records.items() if any(s.startswith(TYING) for s in subjects))
        return max(facts, default=0)

    def named(self, prefix: str) -> list[tuple[str, str]]:
        """(business product, id) of the subjects that begin so."""
        return [(bp, subject.removeprefix(prefix)) for bp, subject in self.keys if subject.startswith(prefix)]

    @property
    def view_keys(self) -> list[ViewKey]:
        return [(view.kind, view.business_product_id, view.id) for view in self.views]


def tying_subjects(record: Record) -> tuple[list[Key], tuple[str, ...]]:
    """(the subjects that tie a record, every subject of it). Raises what a broken body raises."""
    subjects = subjects_of(record)
    about = (beside_facts(s) or s for s in subjects)
    return [(record.business_product_id, s) for s in about if s.startswith(TYING)], subjects


def gather(tx: Transaction, starts: Collection[Key], most: int) -> list[Found]:
    """The groups that these subjects belong to. Raises `TooMany` above `most` records in all."""
    search = _Search(tx, most)
    search.run(starts)
    return search.groups()


class _Search:
    """One search, breadth first, and what it found of every subject."""

    def __init__(self, tx: Transaction, most: int) -> None:
        self._tx = tx
        self._most = most
        self._tied: dict[Key, Key] = {}
        """To another subject of the same group, in the end to one that leads to itself."""
        self._records: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._of_record: dict[int, Key] = {}
        self._received: dict[int, Instant] = {}
        self._returns: dict[int, Record] = {}
        self._views: dict[Key, View] = {}
        self._documents: dict[Key, Document] = {}
        self._deliveries: dict[Key, list[tuple[str, str]]] = {}
        self._owned: dict[tuple[str, str], View] = {}
        self._broken: set[Key] = set()

    def run(self, starts: Collection[Key]) -> None:
        fresh = self._add(starts)
        while fresh:
            named: list[tuple[Key, Key]] = []
            self._read_records(fresh, named)
            self._read_views(fresh, named)
            fresh = self._add(other for _, other in named)
            for key, other in named:
                self._tie(key, other)

    def _add(self, keys: Iterable[Key]) -> list[Key]:
        fresh = [key for key in dict.fromkeys(keys) if key not in self._tied]
        self._tied.update((key, key) for key in fresh)
        return fresh

    def _read_records(self, keys: list[Key], named: list[tuple[Key, Key]]) -> None:
        # A record is listed under each of its subjects.
        limit = self._most * 4
        asked = {of: key for key in keys for of in _standing_under(key)}
        listed = self._tx.journal.positions_of(list(asked), limit)
        wanted: dict[int, Key] = {}
        for key, positions in ((asked[of], positions) for of, positions in listed.items()):
            for position in positions:
                if position in self._records:
                    named.append((key, self._of_record[position]))
                elif position in wanted:
                    named.append((key, wanted[position]))
                else:
                    wanted[position] = key
        if len(self._records) + len(wanted) > self._most or sum(map(len, listed.values())) >= limit:
            raise TooMany
        unread = iter(sorted(wanted))
        while some := list(islice(unread, _BODIES)):
            for position, record in self._tx.journal.records(some).items():
                self._read_record(wanted[position], record, named)

    def _read_record(self, key: Key, record: Record, named: list[tuple[Key, Key]]) -> None:
        tying: list[Key] = []
        subjects: tuple[str, ...] = (key[1],)
        try:
            tying, subjects = tying_subjects(record)
        except Exception as e:  # noqa: BLE001 - the group stays, and says why
            log.warning("retention.unreadable_record", position=record.position, error=type(e).__name__)
            self._broken.add(key)
        self._records[record.position] = record.business_product_id, subjects
        self._of_record[record.position] = key
        self._received[record.position] = record.received_at
        if record.type.startswith("RETURN_"):
            self._returns[record.position] = record
        named.extend((key, other) for other in tying if other != key)

    def _read_views(self, keys: list[Key], named: list[tuple[Key, Key]]) -> None:
        viewed = {name: key for key in keys if (name := view_key(key)) is not None}
        shown: dict[tuple[str, str], Key] = {}
        for name, view in self._tx.views.get(list(viewed)).items():
            key = viewed[name]
            self._views[key] = view
            try:
                document = msgspec.json.decode(view.document)
                others = list(_named_by(view, document))
                mine = [(key[0], d["id"]) for d in document["deliveries"]] if view.kind == "order" else []
                self._documents[key] = document
            except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as e:
                log.warning("retention.unreadable_view", kind=view.kind, id=view.id, error=type(e).__name__)
                self._broken.add(key)
                continue
            named.extend((key, other) for other in others)
            self._deliveries[key] = mine
            shown.update((delivery, key) for delivery in mine)
        self._read_owners(shown, named)

    def _read_owners(self, shown: Mapping[tuple[str, str], Key], named: list[tuple[Key, Key]]) -> None:
        """Every other order that shows, or owns the view of, a delivery."""
        views = self._tx.views.get([("delivery", bp, delivery_id) for bp, delivery_id in shown])
        for (_, bp, delivery_id), view in views.items():
            self._owned[bp, delivery_id] = view
            if view.parent is not None:
                named.append((shown[bp, delivery_id], (bp, order_subject(view.parent))))
        for (bp, delivery_id), orders in self._tx.views.sharing(shown).items():
            named.extend((shown[bp, delivery_id], (bp, order_subject(order))) for order in orders)

    def _tie(self, one: Key, other: Key) -> None:
        self._tied[self._root(one)] = self._root(other)

    def _root(self, key: Key) -> Key:
        while (above := self._tied[key]) != key:
            self._tied[key] = self._tied[above]
            key = above
        return key

    def groups(self) -> list[Found]:
        members: dict[Key, list[Key]] = {}
        for key in self._tied:
            members.setdefault(self._root(key), []).append(key)
        positions: dict[Key, list[int]] = {}
        for position, key in self._of_record.items():
            positions.setdefault(self._root(key), []).append(position)
        arrivals = self._tx.journal.last_arrivals(self._records)
        return [
            self._found(keys, positions[root], arrivals)
            for root, keys in members.items()
            if root in positions
        ]

    def _found(self, keys: list[Key], positions: list[int], arrivals: Mapping[int, Instant]) -> Found:
        documents = {key: self._documents[key] for key in keys if key in self._documents}
        deliveries = {delivery for key in keys for delivery in self._deliveries.get(key, ())}
        views = [self._views[key] for key in keys if key in self._views]
        views += [self._owned[delivery] for delivery in deliveries if delivery in self._owned]
        last_at = max(max(self._received[p], arrivals.get(p, Instant(0))) for p in positions)
        recorded = {key for p in positions for key in self._keys_of(p)}
        missing = any(view_key(key) is not None and key not in self._views for key in recorded)
        return Found(
            set(keys),
            {position: self._records[position] for position in positions},
            views,
            Group(
                [d for key, d in documents.items() if key[1].startswith("order/")],
                [d for key, d in documents.items() if key[1].startswith("tracker/")],
                last_at,
                timed=any(view.check_at is not None for view in views),
                returning=bool(returns_under_way(self._returns[p] for p in positions if p in self._returns)),
            ),
            broken=missing or not self._broken.isdisjoint(keys),
        )

    def _keys_of(self, position: int) -> Iterator[Key]:
        bp, subjects = self._records[position]
        return ((bp, subject) for subject in subjects)


def _standing_under(key: Key) -> Iterator[Key]:
    """Where the records about a subject stand: facts under itself, the others under subjects of their own."""
    product, subject = key
    yield key
    yield product, told_subject(subject)
    yield product, noted_subject(subject)
    yield product, erased_subject(subject)


def view_key(key: Key) -> ViewKey | None:
    """The view of an order or a tracker; None for any other subject."""
    kind, _, rest = key[1].partition("/")
    if kind == "order":
        return "order", key[0], rest
    return ("tracker", key[0], rest) if kind == "tracker" else None


def _named_by(view: View, document: Mapping[str, Any]) -> Iterator[Key]:
    """The trackers of an order's view, the orders of a tracker's."""
    bp = view.business_product_id
    if view.kind == "tracker":
        for order in document["orders"]:
            yield bp, order_subject(order["orderId"])
        return
    for delivery in document["deliveries"]:
        for tracker in delivery["trackers"]:
            yield bp, tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])
