"""Orders and trackers folded anew for whoever looks: what is so, what was known then, and why.

`explain`, `asOf` and the timeline read here exactly what the projector folds, with the facts it was folded from.
Nothing is written. The folds are `domain`'s, what joins facts to orders `joins`'.
"""

from collections.abc import Collection, Sequence

import structlog
from msgspec import Struct

from milepost.domain.fact import Fact, about, fact_of
from milepost.domain.instant import Instant
from milepost.domain.mapping import Mappings
from milepost.domain.order import Order, fold_order
from milepost.domain.record import Record, order_subject, tracker_subject
from milepost.domain.tracker import Tracker, fold_tracker
from milepost.pipeline.joins import tracker_identity, trackers_of
from milepost.pipeline.mappings import mappings_of
from milepost.store import Transaction

Key = tuple[str, str]
"""(business product, subject)."""

log = structlog.get_logger()


class LoadedTracker(Struct):
    """One tracker, folded from the facts known by then, and those facts."""

    tracker: Tracker
    facts: list[Fact]


class LoadedOrder(Struct):
    """One order, folded, with its facts and its trackers (by subject)."""

    order: Order
    facts: list[Fact]
    trackers: dict[str, Tracker]
    tracker_facts: dict[str, list[Fact]]


def load_tracker(
    tx: Transaction,
    business_product_id: str,
    carrier_code: str,
    tracking_number: str,
    *,
    as_of: Instant | None = None,
    explain: bool = False,
    mappings: Mappings | None = None,
) -> LoadedTracker | None:
    """A tracker folded from what was received by `as_of` (all, when None); None when nothing was known. `mappings`:
    as if these had been the versions of the mapping of codes."""
    key = (business_product_id, tracker_subject(carrier_code, tracking_number))
    return load_trackers(tx, [key], as_of=as_of, explain=explain, mappings=mappings).get(key)


def load_trackers(
    tx: Transaction,
    keys: Collection[Key],
    *,
    as_of: Instant | None = None,
    explain: bool = False,
    mappings: Mappings | None = None,
) -> dict[Key, LoadedTracker]:
    """`load_tracker` of several in as many reads as one takes; those of which anything was known."""
    mappings = mappings or mappings_of(tx)
    found: dict[Key, LoadedTracker] = {}
    for key, facts in _load_facts(tx, list(keys), as_of, {}).items():
        if facts:
            tracker = fold_tracker(key[0], *tracker_identity(key[1], facts), facts, explain, mappings)
            found[key] = LoadedTracker(tracker, facts)
    return found


def load_order(
    tx: Transaction,
    business_product_id: str,
    order_id: str,
    *,
    as_of: Instant | None = None,
    explain: bool = False,
    mappings: Mappings | None = None,
) -> LoadedOrder | None:
    """An order folded from what was received by `as_of` (all, when None); None when nothing was known. `mappings` as
    in `load_tracker`."""
    key = (business_product_id, order_subject(order_id))
    return load_orders(tx, [key], as_of=as_of, explain=explain, mappings=mappings).get(key)


def load_orders(
    tx: Transaction,
    keys: Collection[Key],
    *,
    as_of: Instant | None = None,
    explain: bool = False,
    mappings: Mappings | None = None,
) -> dict[Key, LoadedOrder]:
    """`load_order` of several in as many reads as one takes; those of which anything was known."""
    mappings = mappings or mappings_of(tx)
    # An answer of the order query is a fact of each of its trackers too: it is read once, not once for each.
    read: dict[int, Fact | None] = {}
    facts = {key: known for key, known in _load_facts(tx, list(keys), as_of, read).items() if known}
    named = {key: trackers_of(known) for key, known in facts.items()}
    every = [(key[0], subject) for key in named for subject in named[key]]
    about_trackers = _load_facts(tx, every, as_of, read)
    found: dict[Key, LoadedOrder] = {}
    for key, known in facts.items():
        bp, subject = key
        tracker_facts = {tracker: about_trackers[bp, tracker] for tracker in named[key]}
        trackers = {
            tracker: fold_tracker(bp, *named[key][tracker], tracker_facts[tracker], explain, mappings)
            for tracker in named[key]
        }
        order = fold_order(bp, subject.removeprefix("order/"), known, trackers, explain)
        found[key] = LoadedOrder(order, known, trackers, tracker_facts)
    return found


def _load_facts(
    tx: Transaction, keys: Sequence[Key], as_of: Instant | None, read: dict[int, Fact | None]
) -> dict[Key, list[Fact]]:
    """The facts of each subject. `read` holds those that were read before, by position, and is added to."""
    found = tx.journal.of_subjects(keys)
    loaded: dict[Key, list[Fact]] = {}
    for key in keys:
        loaded[key] = []
        for record in found.get(key, ()):
            if as_of is None or record.received_at <= as_of:
                if record.position not in read:
                    read[record.position] = _readable_fact(record)
                if (fact := read[record.position]) is not None:
                    loaded[key].append(about(fact, key[1]))
    return loaded


def _readable_fact(record: Record) -> Fact | None:
    """None where it cannot be read: it is listed as a failed fold when the projector met it; a reader goes on."""
    try:
        return fact_of(record)
    except Exception as e:  # noqa: BLE001 - whatever it raises, the rest is read
        log.warning("loaded.unreadable_fact", position=record.position, error=type(e).__name__)
        return None
