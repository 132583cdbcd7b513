"""The projector: records in, views out.

For each batch it finds the orders and trackers that the records are about, loads all their facts, folds them
anew and writes the views with the checkpoint. A view is a function of a set of facts alone, so a rebuild from
position 0 gives the same views byte for byte, whatever the batches were.

Which orders and trackers facts join is `joins`'. So a milestone event that comes before anything named its tracker
waits as an orphan under the tracker's subject and is adopted when an order answer joins them: both are indexed under
that subject. What follows for subscribers is `telling`'s, committed with the views.

Reading orders and trackers with their facts, as `explain`, `asOf` and the timeline do, is `loaded`'s. The folds
themselves are `domain`'s.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
import structlog

from milepost.domain.condition import Policy, check_at
from milepost.domain.delivery import Delivery
from milepost.domain.fact import Fact, about
from milepost.domain.instant import Instant
from milepost.domain.measure import Measure
from milepost.domain.measuring import measures_of
from milepost.domain.order import Order, fold_order
from milepost.domain.queue import QueueItem, items_of_order, items_of_tracker
from milepost.domain.record import Record, beside_facts, order_subject, subjects_of
from milepost.domain.tracker import Tracker, fold_tracker
from milepost.pipeline.consumer import Effects
from milepost.pipeline.erased import as_kept, shielded
from milepost.pipeline.joins import deliveries_of, first_position, orders_of, tracker_identity, trackers_of
from milepost.pipeline.known import Known
from milepost.pipeline.mappings import mappings_of
from milepost.pipeline.telling import Follower, Telling
from milepost.store import FailedFold, Store, Transaction, View, ViewKind

NAME = "projector"
"""The consumer's name: its checkpoint says how far the views are."""

AT_ONCE = 64
"""Subjects whose facts are in memory together: a backlog may touch every order there is."""

KEY_REUSE = "keyReuse"
CONFLICT = "conflict"

Key = tuple[str, str]
"""(business product, subject)."""
ViewKey = tuple[ViewKind, str, str]
"""(kind, business product, id)."""

log = structlog.get_logger()


class Projector:
    """The handler of the projector's consumer. `review_inferred`: captures that are inferred begin held; `followers`
    decide what else follows from an order."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Callable[[], Instant],
        *,
        review_inferred: bool = False,
        followers: Sequence[Follower] = (),
    ) -> None:
        self._store = store
        self._followers = followers
        self._review_inferred = review_inferred
        self._policy = policy
        self._clock = clock
        self._known = Known()

    async def prepare(self, records: Sequence[Record]) -> Effects:
        """Fold everything the records touch; the effects write index, views, flags and failures."""

        def load_and_fold(tx: Transaction) -> Effects:
            now = self._clock()
            telling = Telling(
                tx, records, now, review_inferred=self._review_inferred, followers=self._followers
            )
            return _Batch(tx, as_kept(tx, records), self._policy, now, self._known, telling).fold()

        return await self._store.read(load_and_fold)


class _Batch:
    """One batch being folded on one state of the store."""

    def __init__(
        self,
        tx: Transaction,
        records: Sequence[Record],
        policy: Policy,
        now: Instant,
        known: Known,
        telling: Telling,
    ) -> None:
        self._tx = tx
        self._known = known
        self._records = records
        self._mappings = mappings_of(tx, records)
        self._policy = policy
        self._now = now
        self._any_erased = tx.erasures.any_erased()
        self._failures: list[FailedFold] = []
        self._unreadable: set[int] = set()
        self._fresh: dict[Key, list[Record]] = {}
        self._loaded: dict[Key, list[Fact]] = {}
        self._views: list[View] = []
        self._queued: dict[Key, tuple[QueueItem, ...]] = {}
        self._measures: dict[Key, list[Measure]] = {}
        """By (business product, order id)."""
        self._telling = telling
        self._gone: set[tuple[str, str, str]] = set()
        """(business product, delivery id, order id): deliveries that an order names and no longer shows."""

    def fold(self) -> Effects:
        index: dict[int, tuple[str, Sequence[str]]] = {}
        again: dict[Key, None] = {}
        for record in self._records:
            subjects = self._subjects(record)
            index[record.position] = (record.business_product_id, subjects)
            for subject in subjects:
                self._fresh.setdefault((record.business_product_id, subject), []).append(record)
            if record.kind == "erasure":
                again |= {
                    (record.business_product_id, s): None for s in filter(None, map(beside_facts, subjects))
                }
        # In the order in which the journal names them: so are intents journalled.
        touched = {**dict.fromkeys(self._fresh), **again}
        touched_trackers = [key for key in touched if key[1].startswith("tracker/")]
        touched_orders = dict.fromkeys(key for key in touched if key[1].startswith("order/"))
        self._telling.hush(again.keys() - self._fresh.keys())
        trackers: dict[Key, Tracker] = {}
        self._telling.expect(self._fresh, touched_trackers)
        for some in _groups(touched_trackers):
            self._load(some)
            for key in some:
                joined = sorted(orders_of(self._loaded[key]))
                touched_orders |= dict.fromkeys((key[0], order_subject(o)) for o in joined)
                self._fold_tracker(key, trackers)
            self._loaded.clear()
        folded: set[Key] = set()
        while fresh := [key for key in touched_orders if key not in folded]:
            self._telling.expect(self._fresh, fresh)
            for some in _groups(fresh):
                self._fold_orders(some, trackers)
            folded.update(fresh)
            touched_orders |= self._heirs()
        flags = self._flags()
        views, gone, shared = self._one_owner_a_delivery()
        failures, telling = self._failures, self._telling
        measures, queued = self._measures, self._queued
        telling.settle()

        def effects(tx: Transaction) -> None:
            tx.views.index(index)
            tx.views.remove(gone)
            tx.views.put(views)
            tx.queues.put(queued)
            tx.parcels.put(measures)
            tx.views.share(shared)
            tx.views.flag(flags)
            tx.views.fail(failures)
            telling.write(tx)

        return effects

    def _subjects(self, record: Record) -> tuple[str, ...]:
        try:
            return subjects_of(record)
        except Exception as e:
            self._fail(record.position, record.business_product_id, "", e)
            return ()

    def _load(self, keys: Iterable[Key]) -> None:
        """Facts of each subject: those indexed before, and this batch's."""
        missing = [key for key in keys if key not in self._loaded]
        stored = self._tx.journal.of_subjects(missing)
        for key in missing:
            records = {r.position: r for r in (*stored.get(key, ()), *self._fresh.get(key, ()))}
            if self._any_erased:
                records = shielded(self._tx, records)
            facts = (self._fact(records[position]) for position in sorted(records))
            self._loaded[key] = [about(fact, key[1]) for fact in facts if fact is not None]

    def _fact(self, record: Record) -> Fact | None:
        if record.position in self._unreadable:
            return None
        try:
            return self._known.fact(record)
        except Exception as e:
            self._fail(record.position, record.business_product_id, "", e)
            self._unreadable.add(record.position)
            return None

    def _fold_tracker(self, key: Key, trackers: dict[Key, Tracker]) -> None:
        facts = self._loaded[key]
        carrier, number = tracker_identity(key[1], facts)
        try:
            tracker = fold_tracker(key[0], carrier, number, facts, mappings=self._mappings)
            trackers[key] = tracker
            self._add_view("tracker", key[0], key[1].removeprefix("tracker/"), tracker, tracker.stage)
            self._queued[key] = items_of_tracker(tracker.document)
            self._telling.tracker(key, tracker.document)
        except Exception as e:
            self._fail(first_position(facts), key[0], key[1], e)

    def _fold_orders(self, keys: Collection[Key], trackers: dict[Key, Tracker]) -> None:
        self._load(keys)
        # An order that only a tracker's facts name has none of its own, and no view.
        order_trackers = {key: trackers_of(self._loaded[key]) for key in keys if self._loaded[key]}
        self._load({(key[0], s) for key, named in order_trackers.items() for s in named} - trackers.keys())
        for key, named in order_trackers.items():
            self._fold_order(key, named, trackers)
        self._loaded.clear()

    def _heirs(self) -> dict[Key, None]:
        """Orders that were seen to show a delivery which an order of this batch shows no more: the delivery's view
        may be theirs now, as it is when everything is folded at once."""
        left = {(bp, delivery_id) for bp, delivery_id, _ in self._gone}
        sharing = self._tx.views.sharing(left) if left else {}
        return {(key[0], order_subject(order)): None for key in sorted(sharing) for order in sharing[key]}

    def _fold_order(self, key: Key, named: Mapping[str, Key], trackers: dict[Key, Tracker]) -> None:
        bp, subject = key
        order_id = subject.removeprefix("order/")
        facts = self._loaded[key]
        try:
            folded: dict[str, Tracker] = {}
            for tracker_name, (carrier, number) in named.items():
                if (bp, tracker_name) not in trackers:
                    known = self._loaded[bp, tracker_name]
                    trackers[bp, tracker_name] = fold_tracker(
                        bp, carrier, number, known, mappings=self._mappings
                    )
                folded[tracker_name] = trackers[bp, tracker_name]
            order = fold_order(bp, order_id, facts, folded)
            self._measures[bp, order_id] = measures_of(order.document)
            self._add_view("order", bp, order_id, order, order.state)
            for delivery in order.deliveries:
                self._add_view("delivery", bp, delivery.id, delivery, delivery.state, order_id)
            left = deliveries_of(facts) - {delivery.id for delivery in order.deliveries}
            self._gone |= {(bp, delivery_id, order_id) for delivery_id in left}
            self._queued[key] = items_of_order(order.document)
            self._telling.order(key, order.document)
        except Exception as e:
            self._fail(first_position(facts), bp, subject, e)

    def _one_owner_a_delivery(self) -> tuple[list[View], set[ViewKey], set[tuple[str, str, str]]]:
        """The views to write, those to remove, and (business product, delivery id, order id) of deliveries that
        several orders show. Were two orders to show one delivery id, its view is the lowest order's, whichever
        was folded last; and no order removes what another one shows."""
        shown: dict[ViewKey, View] = {}
        owners: dict[ViewKey, set[str]] = {}
        for view in self._views:
            key = (view.kind, view.business_product_id, view.id)
            if view.kind == "delivery":
                owners.setdefault(key, set()).add(view.parent or "")
            known = shown.get(key)
            if known is None or (view.parent or "") < (known.parent or ""):
                shown[key] = view
        gone: dict[ViewKey, set[str]] = {}
        for bp, delivery_id, order_id in self._gone:
            gone.setdefault(("delivery", bp, delivery_id), set()).add(order_id)
        removed: set[ViewKey] = set()
        for key, stored in self._tx.views.get(gone.keys() | owners.keys()).items():
            owner = stored.parent or ""
            if key in owners:
                owners[key].add(owner)
            if owner in gone.get(key, ()):
                removed.add(key)
            elif key in shown and owner < (shown[key].parent or ""):
                del shown[key]
        shared = {
            (key[1], key[2], order) for key, named in owners.items() if len(named) > 1 for order in named
        }
        return list(shown.values()), removed, shared

    def _add_view(
        self,
        kind: ViewKind,
        business_product_id: str,
        id: str,
        folded: Tracker | Order | Delivery,
        state: str,
        parent: str | None = None,
    ) -> None:
        due = None
        if kind == "order" or kind == "delivery" or kind == "tracker":
            due = check_at(folded.document, kind, self._policy)
        self._views.append(
            View(
                kind,
                business_product_id,
                id,
                msgspec.json.encode(folded.document),
                state,
                parent,
                folded.position,
                due,
                folded.terms,
            )
        )

    def _fail(self, position: int, business_product_id: str, subject: str, error: Exception) -> None:
        log.error("projector.fold_failed", position=position, subject=subject, error=type(error).__name__)
        text = f"{type(error).__name__}: {error}"
        self._failures.append(FailedFold(NAME, position, business_product_id, subject, text, self._now))

    def _flags(self) -> dict[int, list[str]]:
        """Flags only the whole journal shows: one idempotencyKey on several records, and conflicts."""
        flags: dict[int, list[str]] = {}
        keys = {key: records for key, records in self._fresh.items() if key[1].startswith("key/")}
        stored = self._tx.journal.of_subjects(list(keys))
        for key, records in keys.items():
            every = {r.position: r for r in (*stored.get(key, ()), *records)}
            events = [position for position, record in every.items() if record.kind == "event"]
            if len(events) > 1:
                for position in events:
                    flags.setdefault(position, []).append(KEY_REUSE)
        for record in self._records:
            if record.kind == "conflict" and record.origin is not None:
                flags.setdefault(record.origin, []).append(CONFLICT)
        return flags


def _groups(keys: Collection[Key]) -> Iterator[list[Key]]:
    listed = list(keys)
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]
