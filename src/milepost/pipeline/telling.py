"""Telling, inside the projector: what a batch changed of what subscribers hear, committed with its views.

Each order and tracker that a batch folded is compared with what was last told of it (`domain.telling`); what is new
is journalled as intents in the projector's own write, with the captures that are due and what is told from now on. So
a fold without its intents, or the other way round, cannot be; and nothing is sent here: the publisher reads the
journal.

The checkpoint `NAME` says up to which position was told. A batch that ends at or below it was told already: that is a
rebuild, which so writes views only, also one that goes on after a crash.

A view that cannot be told of is listed as a failure and stops nothing; the next fold of it is compared anew.

What else follows from an order that was folded anew (notifications, the accountant's rows) is its `Follower`'s: it
compares with a standing of its own, and its rows are written with the rest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.capture import Capture
from milepost.domain.instant import Instant
from milepost.domain.record import Record, tracker_subject
from milepost.domain.telling import Birth, Hold, Said, hush_order, tell_order, tell_tracker
from milepost.pipeline.capturing import fold_captures, intent_record
from milepost.store import FailedFold, NewRecord, Transaction

NAME: Final = "telling"
NOTICED: Final = "noticed"
BOOKED: Final = "booked"
FOLLOWERS: Final = (NOTICED, BOOKED)
"""The names of every follower that there may be: notifications, the accountant's rows."""

Key = tuple[str, str]
"""(business product, subject)."""

log = structlog.get_logger()


class Followed(Struct, frozen=True):
    """What follows from one order: the standing to be kept, and rows that only the follower understands."""

    standing: bytes
    rows: Sequence[Any] = ()


class Follower(Protocol):
    """Decides what else follows from an order's view; stateless, pure but for `write`."""

    name: str
    """Its standings are kept under `{name}/{subject}`."""

    def follow(
        self, order: Mapping[str, Any], before: bytes | None, at: Instant, now: Instant
    ) -> Followed | None:
        """What follows from an order that was folded, given the standing that was kept; None: nothing changed.
        `at` is when the newest fact became so."""
        ...

    def hushed(self, rows: Sequence[Any]) -> Sequence[Any]:
        """What is left of these rows where only a remap brought them about, so that nobody may be told anything."""
        ...

    def write(self, tx: Transaction, rows: Sequence[Any], now: Instant) -> None:
        """Write the rows of a batch, in the transaction that commits its views."""
        ...


class Telling:
    """What one batch tells: gathered while it is folded, written by its effects."""

    def __init__(
        self,
        tx: Transaction,
        records: Sequence[Record],
        now: Instant,
        *,
        review_inferred: bool = False,
        followers: Sequence[Follower] = (),
    ) -> None:
        self._tx = tx
        self._followers = followers
        self._rows: dict[str, list[Any]] = {follower.name: [] for follower in followers}
        self._review_inferred = review_inferred
        self._now = now
        self._records = records
        self._last = records[-1].position
        self._active = self._last > tx.journal.checkpoint(NAME)
        self._told: dict[Key, bytes] = {}
        self._standings: dict[Key, bytes] = {}
        self._intents: list[NewRecord] = []
        self._births: list[Birth] = []
        self._holds: list[Hold] = []
        self._failures: list[FailedFold] = []
        self._newest: dict[Key, Instant] = {}
        self._hushed: set[Key] = set()
        self._quiet = all(record.kind == "remap" for record in records)
        """Nothing came: codes mean something else (T10, rule 8)."""

    def expect(self, fresh: Mapping[Key, Sequence[Record]], keys: Collection[Key]) -> None:
        """These will be folded: read what was last told of them. `fresh` are the batch's records by subject."""
        if self._active:
            self._told |= self._tx.ledger.told([*keys, *self._followed(keys)])
            for key in keys:
                if (records := fresh.get(key)) is not None:
                    self._newest[key] = max(record.published_at for record in records)

    def hush(self, keys: Collection[Key]) -> None:
        """These are folded anew for an erasure alone: nothing happened to them, so nobody is told anything."""
        self._hushed.update(keys)

    def order(self, key: Key, document: Mapping[str, Any]) -> None:
        """An order was folded anew."""
        if self._active:
            at = self._at(key, _trackers_of(key[0], document))
            told, review = self._told.get(key), self._review_inferred
            if self._quiet:
                self._keep(key, lambda: hush_order(document, told, review_inferred=review))
            else:
                self._tell(key, lambda: tell_order(document, told, at, self._now, review_inferred=review))
            for follower in () if key in self._hushed else self._followers:
                self._follow(follower, key, document, at)

    def tracker(self, key: Key, document: Mapping[str, Any]) -> None:
        """A tracker was folded anew."""
        if self._active:
            at = self._at(key, ())
            self._tell(key, lambda: tell_tracker(document, self._told.get(key), at))

    def _followed(self, keys: Collection[Key]) -> Iterator[Key]:
        """Where followers keep what they know of these."""
        for product, subject in keys:
            if subject.startswith("order/"):
                yield from ((product, f"{follower.name}/{subject}") for follower in self._followers)

    def _at(self, key: Key, others: Iterable[Key]) -> Instant:
        """When the newest of the batch's records about this (or these) was published."""
        found = [at for each in (key, *others) if (at := self._newest.get(each)) is not None]
        return max(found, default=self._now)

    def _tell(self, key: Key, compare: Callable[[], Said | None]) -> None:
        try:
            said = compare()
            if said is None:
                return
            told = () if self._quiet or key in self._hushed else said.intents
            intents = [intent_record(key[0], intent, self._now) for intent in told]
        except Exception as e:  # noqa: BLE001 - `_fail` logs and lists it
            self._fail(NAME, key, e)
            return
        self._standings[key] = said.standing
        self._intents += intents
        self._births += said.births
        self._holds += said.holds

    def _keep(self, key: Key, compare: Callable[[], bytes | None]) -> None:
        try:
            standing = compare()
        except Exception as e:  # noqa: BLE001 - the same
            self._fail(NAME, key, e)
            return
        if standing is not None:
            self._standings[key] = standing

    def _follow(self, follower: Follower, key: Key, document: Mapping[str, Any], at: Instant) -> None:
        kept = (key[0], f"{follower.name}/{key[1]}")
        try:
            followed = follower.follow(document, self._told.get(kept), at, self._now)
        except Exception as e:  # noqa: BLE001 - the same
            self._fail(follower.name, key, e)
            return
        if followed is not None:
            self._standings[kept] = followed.standing
            rows = follower.hushed(followed.rows) if self._quiet else followed.rows
            self._rows[follower.name] += rows

    def _fail(self, consumer: str, key: Key, error: Exception) -> None:
        log.exception("telling.failed", subject=key[1], consumer=consumer)
        text = f"{type(error).__name__}: {error}"
        self._failures.append(FailedFold(consumer, self._last, key[0], key[1], text, self._now))

    def settle(self) -> None:
        """Everything is folded: find the ids of the events that captures go back to."""
        made = [*(birth.capture for birth in self._births), *(hold.capture for hold in self._holds)]
        evidence = (e for capture in made if capture is not None for e in capture.evidence)
        wanted = {e["position"] for e in evidence if e["kind"] == "event" and "position" in e}
        known = {record.position: record for record in self._records if record.position in wanted}
        if missing := wanted - known.keys():
            known |= self._tx.journal.records(missing)
        ids = {position: record.event().event_id for position, record in known.items()}
        self._births = [replace(b, capture=_with_event_ids(b.capture, ids)) for b in self._births]
        self._holds = [
            hold if hold.capture is None else replace(hold, capture=_with_event_ids(hold.capture, ids))
            for hold in self._holds
        ]

    def write(self, tx: Transaction) -> None:
        """Journal the intents, move the captures, and keep what was told. Last among the effects: the journal's end
        is taken here."""
        if not self._active:
            return
        tx.views.fail(self._failures)
        tx.ledger.tell(self._standings)
        tx.journal.set_checkpoint(NAME, self._last)
        for follower in self._followers:
            if rows := self._rows[follower.name]:
                follower.write(tx, rows, self._now)
        fold_captures(tx, self._births, self._holds, self._intents, self._now)


def _with_event_ids(capture: Capture, ids: Mapping[int, str]) -> Capture:
    evidence = tuple({**e, "eventId": ids.get(e.get("position", 0))} for e in capture.evidence)
    return replace(capture, evidence=evidence)


def _trackers_of(business_product_id: str, order: Mapping[str, Any]) -> Iterator[Key]:
    for delivery in order["deliveries"]:
        for tracker in delivery["trackers"]:
            yield business_product_id, tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])
