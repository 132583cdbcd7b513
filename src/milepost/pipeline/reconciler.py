"""The reconciler: asks about what should have been heard and was not, and notices when a subscription falls silent.

A round looks at every open delivery and tracker, a page at a time, and asks the API about those one of whose timers
(`domain.missing`) came due since the round before. It puts an ask without a waiting event; the hydrator asks it
behind all others, and what the answer shows is folded as any snapshot is: so a lost event is repaired. Not more
is asked than half of the hydrator's budget. When the last round was is its checkpoint, which is all that is
remembered: a round that was not finished begins again, and asks nothing twice that is still being asked.

Between rounds it counts events (`pipeline.volume`), and says in the log which road fell silent and which is heard
again.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.condition import Policy
from milepost.domain.errors import StoreUnavailable
from milepost.domain.hydration import LAST_TRY, REST
from milepost.domain.instant import DAY, MINUTE, SECOND, Instant
from milepost.domain.missing import (
    OPEN_DELIVERIES,
    OPEN_TRACKERS,
    Expected,
    is_asked,
    of_delivery,
    of_tracker,
    target_of,
)
from milepost.domain.volume import BEAT_MS, Silence
from milepost.pipeline.budget import Budget
from milepost.pipeline.erased import erased_among
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.volume import count, listen
from milepost.store import Ask, Store, Transaction, View

NAME = "reconciler"
"""The lease under which one hub reconciles, and the checkpoint that says when it did (milliseconds since 1970)."""
PAGE = 200
"""Views looked at in one transaction."""
FIRST_WINDOW_MS = 7 * DAY
"""Where no round was before: timers that came due longer ago have further ends to come."""

_BEHIND_PAUSE_MS = MINUTE
_SHORTEST_PAUSE_MS = SECOND
_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, OverflowError)

log = structlog.get_logger()

OpenKind = Literal["delivery", "tracker"]
Related = Mapping[tuple[str, str], View]
"""By (business product, id)."""
STAGES: tuple[tuple[OpenKind, str], ...] = (
    *(("delivery", state) for state in OPEN_DELIVERIES),
    *(("tracker", stage) for stage in OPEN_TRACKERS),
)
"""What a round looks at, in this order."""


class Place(Struct, frozen=True):
    """How far a walk over the open views has come."""

    stage: int = 0
    after: tuple[int, str, str] | None = None


class Open(Struct, frozen=True):
    """An open view with its timers."""

    kind: OpenKind
    view: View
    document: dict[str, Any]
    expected: list[Expected]

    @property
    def key(self) -> tuple[str, str]:
        """(business product, what is asked about it)."""
        return self.view.business_product_id, target_of(self.document, self.kind)


def walk(
    tx: Transaction, place: Place, policy: Policy, reach: Collection[str] | None, limit: int = PAGE
) -> tuple[list[tuple[Place, Open]], Place | None]:
    """The open views behind `place` that can be read, each with the place behind it; and where to go on (None: at
    the end). At most `limit` are looked at."""
    kind, state = STAGES[place.stage]
    rows = tx.views.page(kind, place.after, limit, reach, state)
    views = [view for _, view in rows]
    related = _related(tx, views, kind)
    found: list[tuple[Place, Open]] = []
    for number, view in rows:
        behind = Place(place.stage, (number, view.business_product_id, view.id))
        if (one := _opened(kind, view, related, policy)) is not None:
            found.append((behind, one))
    if len(rows) == limit:
        number, last = rows[-1]
        return found, Place(place.stage, (number, last.business_product_id, last.id))
    return found, Place(place.stage + 1) if place.stage + 1 < len(STAGES) else None


def _related(tx: Transaction, views: Sequence[View], kind: OpenKind) -> Related:
    """The orders of deliveries that were not shipped, and the deliveries of trackers."""
    if kind == "delivery":
        orders = {(v.business_product_id, v.parent) for v in views if v.state == "PENDING" and v.parent}
        found = tx.views.get([("order", *key) for key in orders])
    else:
        deliveries = {(v.business_product_id, named) for v in views for named in _deliveries_of(v)}
        found = tx.views.get([("delivery", *key) for key in deliveries])
    return {key[1:]: view for key, view in found.items()}


def _deliveries_of(view: View) -> list[str]:
    try:
        return [one["deliveryId"] for one in msgspec.json.decode(view.document)["orders"]]
    except _UNREADABLE:
        return []


def _opened(kind: OpenKind, view: View, related: Related, policy: Policy) -> Open | None:
    product = view.business_product_id
    try:
        document = msgspec.json.decode(view.document)
        if kind == "delivery":
            parent = related.get((product, document["orderId"]))
            order = None if parent is None else msgspec.json.decode(parent.document)
            return Open(kind, view, document, of_delivery(document, order, policy))
        keys = [(product, one["deliveryId"]) for one in document["orders"]]
        states = {related[key].state for key in keys if key in related}
        # An open delivery asks for itself; a cancelled one has nothing more to expect.
        if states and ("DELIVERED" not in states or states & set(OPEN_DELIVERIES)):
            return None
        return Open(kind, view, document, of_tracker(document))
    except _UNREADABLE as e:
        log.error("view_not_reconciled", kind=kind, business_product_id=product, error=type(e).__name__)
        return None


class _Round(Struct):
    """A round under way."""

    after: Instant
    until: Instant
    place: Place
    asked: int = 0


class Reconciler:
    """See the module. `can_ask` says of a business product whether there is an API to ask; `nudge` tells the
    hydrator of this process that there is more to ask."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Callable[[], Instant],
        *,
        queries_per_minute: int = 300,
        can_ask: Callable[[str], bool] = lambda business_product_id: True,
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._budget = Budget(max(1, queries_per_minute // 2))
        self._can_ask = can_ask
        self._nudge = nudge
        self._round: _Round | None = None
        self._known: int | None = None
        """Where the journal ended when a round was wanted: it waits until the projector has folded that."""
        self._silent: set[tuple[str, str, str]] = set()
        self.asked = 0
        """Asks put since this process started."""

    async def run(self, stop: asyncio.Event) -> None:
        """A round every quarter of an hour until `stop` is set. A database that is away is tried again then."""
        self._round = self._known = None
        while not stop.is_set():
            try:
                again = await self.reconcile()
                pause_ms = BEAT_MS if again is None else max(_SHORTEST_PAUSE_MS, again - self._clock())
            except StoreUnavailable as e:
                log.warning("reconciling_postponed", error=e.detail)
                pause_ms = MINUTE
            try:
                await asyncio.wait_for(stop.wait(), min(pause_ms, BEAT_MS) / 1_000)
            except TimeoutError:
                continue

    async def reconcile(self) -> Instant | None:
        """Begin a round, or go on with the one under way, as far as the budget goes. Returns when to go on; None
        when the round is over. Raises `StoreUnavailable`."""
        if self._round is None:
            now = self._clock()
            if self._known is None:
                await self._listen(now)
                self._known = await self._store.read(lambda tx: tx.journal.last_position())
            known = self._known
            self._round = await self._store.read(lambda tx: _begun(tx, known, now))
            if self._round is None:
                return Instant(now + _BEHIND_PAUSE_MS)
            self._known = None
        doing = self._round
        while True:
            now = self._clock()
            if self._budget.room(now) <= 0:
                return self._budget.frees_at(now)
            place = await self._page(doing, now)
            if place is None:
                break
            doing.place = place
        until = doing.until
        await self._store.write(lambda tx: tx.journal.set_checkpoint(NAME, until))
        self._round = None
        if doing.asked:
            log.info("reconciled", asked=doing.asked)
        return None

    async def _listen(self, now: Instant) -> None:
        """Count what came, and say who fell silent."""
        await count(self._store, now)
        found = await self._store.read(lambda tx: listen(tx, now, None))
        silent = {_name(one): one for one in found.silences}
        for name, one in silent.items():
            if name not in self._silent:
                product, road, kind = name
                log.warning(
                    "road_silent", business_product=product, road=road, type=kind, expected=one.expected
                )
        for product, road, kind in self._silent - silent.keys():
            log.info("road_heard_again", business_product=product, road=road, type=kind)
        self._silent = set(silent)

    async def _page(self, doing: _Round, now: Instant) -> Place | None:
        """Ask about one page, as far as the budget goes; where to go on, None at the end."""
        policy, room = self._policy, self._budget.room(now)
        begin = doing.place
        page, behind = await self._store.read(lambda tx: walk(tx, begin, policy, None))
        asked: dict[tuple[str, str], Open] = {}
        for place, one in page:
            if not is_asked(one.expected, doing.after, doing.until) or not self._can_ask(one.key[0]):
                continue
            asked[one.key] = one
            if len(asked) == room:
                behind = place
                break
        if asked:
            put = await self._store.write(lambda tx: _put(tx, asked, now))
            self._budget.spend(now, put)
            doing.asked += put
            self.asked += put
            self._nudge()
        return behind


def _name(silence: Silence) -> tuple[str, str, str]:
    return silence.business_product_id, silence.road, silence.type


def _begun(tx: Transaction, known: int, now: Instant) -> _Round | None:
    """A new round; None while the projector has not folded what came before it, so that views are behind."""
    if tx.journal.checkpoint(PROJECTOR) < known:
        return None
    last = tx.journal.checkpoint(NAME)
    return _Round(Instant(last) if 0 < last <= now else Instant(now - FIRST_WINDOW_MS), now, Place())


def _put(tx: Transaction, asked: Mapping[tuple[str, str], Open], now: Instant) -> int:
    """Put the asks of those that are not being asked already; returns how many."""
    there = tx.work.get(list(asked))
    erased = erased_among(tx, asked.keys())
    new: list[Ask] = []
    for key, one in asked.items():
        if key in erased:
            continue
        known = there.get(key)
        if known is None:
            carrier = one.document["carrierCode"] if one.kind == "tracker" else ""
            new.append(Ask(*key, REST, now, 0, (), carrier_code=carrier))
        elif known.state == "gaveUp":
            # Events still wait for it: one more try, and if that is no answer either it is given up again.
            new.append(replace(known, state="open", due_at=now, tries=LAST_TRY - 1))
    tx.work.put(new)
    return len(new)
