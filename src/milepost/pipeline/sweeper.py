"""The sweeper: journals what time makes true of orders, deliveries and trackers, and what makes it untrue again.

It looks at the views whose `check_at` has come, evaluates their conditions (`domain.condition`) and appends one
condition record for each raising and clearing; the projector folds these like any other fact. Raising needs a
condition to hold on two evaluations at least `confirm_ms` apart; the first is kept in memory only, so that a
restart asks for two again. Clearing is at once. Nothing is raised twice while the projector is behind: what
was journalled for a view counts until its document shows it. What an earlier process journalled, or another hub,
is not remembered here, so a sweeper that begins waits until the projector has folded all that was there before it.

Corrections whose `expiresAt` has come (T11) end here too, at once, each by a withdrawal record.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from milepost.domain.condition import (
    Evaluation,
    Key,
    Policy,
    SubjectKind,
    changes,
    evaluate,
    open_conditions,
)
from milepost.domain.correction import expired, next_expiry
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import HOUR, MINUTE, Instant
from milepost.domain.record import ConditionChange, Withdrawal
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import NewRecord, Store, Transaction, View, ViewKind

PAGE = 200
"""Views looked at in one transaction."""

NAME = "sweeper"
"""The lease under which one hub sweeps."""
ROAD = "sweeper"

_UNREADABLE = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What a view document of another shape than ours can make an evaluation raise."""

log = structlog.get_logger()

ViewKey = tuple[ViewKind, str, str]
"""(kind, business product, id)."""


class _Journalled(Struct, frozen=True):
    """What was journalled for a view: the conditions that are open once record `position` is folded."""

    position: int
    open: dict[Key, int | None]


class _Look(Struct):
    """One evaluation of one view: what to journal, and when to look again."""

    view: View
    check_at: Instant | None
    changes: list[ConditionChange]
    ends: list[Withdrawal]
    """Corrections that have expired."""
    open: dict[Key, int | None]
    """The open conditions after the changes."""
    waiting: dict[tuple[Key, int | None], Instant]
    """Conditions seen to hold once, since when."""


class Sweeper:
    """Evaluates due views and journals condition records, for all business products.

    `policy` must be the projector's too, which stores with each view when it is due. Views that are folded
    anew while they are looked at stay due until the next sweep.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Callable[[], Instant],
        *,
        interval_ms: int = MINUTE,
        confirm_ms: int = MINUTE,
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._interval_ms = interval_ms
        self._confirm_ms = confirm_ms
        self._waiting: dict[ViewKey, dict[tuple[Key, int | None], Instant]] = {}
        self._journalled: dict[ViewKey, _Journalled] = {}
        self._ended: dict[ViewKey, tuple[int, frozenset[str]]] = {}
        """The corrections whose end was journalled, until a view of that position or a later one shows it."""
        self._begun_at: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep every `interval_ms` until `stop` is set. A database that is away is tried again next time.

        It begins anew each time it is run: somebody else may have swept in between."""
        self._waiting.clear()
        self._journalled.clear()
        self._ended.clear()
        self._begun_at = None
        while not stop.is_set():
            try:
                await self.sweep()
            except StoreUnavailable as e:
                log.warning("sweep_postponed", error=e.detail)
            try:
                await asyncio.wait_for(stop.wait(), self._interval_ms / 1000)
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """One evaluation of every view that is due; returns how many condition records were journalled.

        Raises `StoreUnavailable`; what was committed before stands, the rest stays due.
        """
        if self._begun_at is None:
            self._begun_at = await self._store.read(lambda tx: tx.journal.last_position())
        now, begun_at = self._clock(), self._begun_at
        seen: set[ViewKey] = set()
        journalled = 0
        while True:
            due = await self._store.read(lambda tx: _due(tx, now, begun_at))
            fresh = [view for view in due if _key(view) not in seen]
            if not fresh:
                break
            seen.update(map(_key, fresh))
            journalled += await self._sweep_page(fresh, now)
            if len(due) < PAGE:
                break
        if journalled:
            log.info("swept", views=len(seen), journalled=journalled)
        return journalled

    async def _sweep_page(self, views: Sequence[View], now: Instant) -> int:
        looks = [self._look(view, now) for view in views]
        committed = await self._store.write(lambda tx: _commit(tx, looks, now))
        for look, position in committed:
            key = _key(look.view)
            if look.waiting:
                self._waiting[key] = look.waiting
            else:
                self._waiting.pop(key, None)
            if look.changes:
                self._journalled[key] = _Journalled(position, look.open)
            if look.ends:
                before = self._ended.get(key, (0, frozenset()))[1]
                self._ended[key] = (position, before | {end.correction for end in look.ends})
        return sum(len(look.changes) + len(look.ends) for look, _ in committed)

    def _look(self, view: View, now: Instant) -> _Look:
        """Evaluate one view. One whose document cannot be read stops nothing: it is looked at in an hour."""
        if view.kind not in ("delivery", "tracker", "order"):
            return _Look(view, None, [], [], {}, {})
        try:
            document = msgspec.json.decode(view.document)
            evaluation = evaluate(document, view.kind, now, self._policy)
            return self._compare(view, document, view.kind, evaluation, now)
        except _UNREADABLE as e:
            log.error(
                "view_not_evaluated",
                kind=view.kind,
                business_product_id=view.business_product_id,
                id=view.id,
                error=type(e).__name__,
            )
            return _Look(view, Instant(now + HOUR), [], [], {}, {})

    def _compare(
        self, view: View, document: dict[str, Any], kind: SubjectKind, evaluation: Evaluation, now: Instant
    ) -> _Look:
        opened = self._open(view, open_conditions(document, kind))
        before = self._waiting.get(_key(view), {})
        waiting: dict[tuple[Key, int | None], Instant] = {}
        found: list[ConditionChange] = []
        after = dict(opened)
        for change in changes(document, kind, opened, evaluation.holding, now):
            key: Key = (change.code, change.evidence.get("kind"))
            if not change.raised:
                del after[key]
                found.append(change)
                continue
            count = change.evidence.get("count")
            first = before.get((key, count), now)
            if now - first >= self._confirm_ms and (key, count) in before:
                after[key] = count
                found.append(change)
            else:
                waiting[key, count] = first
        again = [Instant(first + self._confirm_ms) for first in waiting.values()]
        moments = (evaluation.next_check_at, next_expiry(document, now), *again)
        check_at = min(filter(None, moments), default=None)
        return _Look(view, check_at, found, self._expired(view, document, now), after, waiting)

    def _expired(self, view: View, document: dict[str, Any], now: Instant) -> list[Withdrawal]:
        """The corrections that have expired since the view was folded, but for those journalled already."""
        position, ended = self._ended.get(_key(view), (0, frozenset()))
        if view.position >= position:
            self._ended.pop(_key(view), None)
        return [end for end in expired(document, now) if end.correction not in ended]

    def _open(self, view: View, shown: dict[Key, int | None]) -> dict[Key, int | None]:
        """The open conditions: those that the document shows, or those journalled since it was folded."""
        known = self._journalled.get(_key(view))
        if known is None:
            return shown
        if view.position >= known.position or shown == known.open:
            del self._journalled[_key(view)]
            return shown
        return known.open


def _due(tx: Transaction, now: Instant, begun_at: int) -> Sequence[View]:
    """The views that are due; none, while they may not show what was journalled before the sweeper began."""
    if tx.journal.checkpoint(PROJECTOR) < begun_at:
        log.info("sweep_waits_for_projector", position=begun_at)
        return ()
    return tx.views.due(now, PAGE)


def _commit(tx: Transaction, looks: Sequence[_Look], now: Instant) -> list[tuple[_Look, int]]:
    """Journal the changes of the views that are still as they were read, and set their next check.

    Returns those looks with the position of each one's last record (0 without any)."""
    current = tx.views.get([_key(look.view) for look in looks])
    kept: list[_Look] = []
    for look in looks:
        view = current.get(_key(look.view))
        if view is not None and (view.position, view.document) == (look.view.position, look.view.document):
            kept.append(look)
    records = [record for look in kept for record in _records(look, now)]
    positions = iter(tx.journal.add(records) if records else ())
    tx.views.recheck({_key(look.view): look.check_at for look in kept})
    return [
        (look, max((next(positions) for _ in range(len(look.changes) + len(look.ends))), default=0))
        for look in kept
    ]


def _records(look: _Look, now: Instant) -> Iterator[NewRecord]:
    product = look.view.business_product_id
    for change in look.changes:
        body = msgspec.json.encode(change)
        yield NewRecord("condition", product, change.code, now, change.at, ROAD, body)
    for end in look.ends:
        body = msgspec.json.encode(end)
        yield NewRecord("withdrawal", product, end.outcome, now, end.at, ROAD, body)


def _key(view: View) -> ViewKey:
    return view.kind, view.business_product_id, view.id
