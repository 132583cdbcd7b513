"""The remapper: after a new version of the mapping it has every tracker with an affected code folded anew (T10).

| state of a version | is left when                                                                          |
|--------------------|---------------------------------------------------------------------------------------|
| journalled         | the projector has come to it: then every tracker from before is found by its codes    |
| under way          | each of those trackers has a newer fact: a `remap` record, or something that came     |
| done               | – (the checkpoint `NAME` is its position)                                             |

A page of trackers at a time, so that a change that touches a hundred thousand keeps nobody waiting; begun again after
a crash it passes those that have been seen to. Several versions in a row are gone through as one. Nobody is told of
what only a remap changed (`telling`): the projector gets its records in batches of their own (`consumer`).
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog
from msgspec import Struct

from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.mapping import Mappings, Place, Remap, affected, code_term
from milepost.pipeline.mappings import mappings_of
from milepost.store import Found, NewRecord, Store, Transaction

NAME = "remapping"
"""The lease of what remaps, and the checkpoint: the position of the last version that was gone through."""
ROAD = "remapping"
PAGE = 200
"""Trackers of one transaction."""
LOOK_S = 2.0
"""How often it looks for a new version, in seconds."""

log = structlog.get_logger()


class _Page(Struct, frozen=True):
    """Where a version's work is: which place of the mapping, behind which tracker."""

    position: int
    version: int
    place: int = 0
    after: Found | None = None


class Remapper:
    """Journals `remap` records, as long as there is a version that was not gone through."""

    def __init__(self, store: Store, clock: Callable[[], Instant]) -> None:
        self._store = store
        self._clock = clock
        self._at: _Page | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Look for new versions until `stop` is set. A database that is away is tried again next time."""
        self._at = None
        while not stop.is_set():
            try:
                while not stop.is_set() and await self.step():
                    pass
            except StoreUnavailable as e:
                log.warning("remapping.postponed", error=e.detail)
            try:
                await asyncio.wait_for(stop.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """See to one page of trackers; False when there is nothing left to do. Raises `StoreUnavailable`."""
        if self._at is None and await self._store.read(_is_done):
            return False
        at, now = self._at, self._clock()
        self._at = await self._store.write(lambda tx: _step(tx, at, now))
        return self._at is not None


def _is_done(tx: Transaction) -> bool:
    """Whether every version was gone through. Looked for without the one connection that writes."""
    return mappings_of(tx).newest.position <= tx.journal.checkpoint(NAME)


def _step(tx: Transaction, at: _Page | None, now: Instant) -> _Page | None:
    """One page, and where to go on; None when every version was gone through."""
    mappings, done = mappings_of(tx), tx.journal.checkpoint(NAME)
    newest = mappings.newest
    if newest.position <= done:
        return None
    if at is None or at.position != newest.position:
        at = _Page(newest.position, newest.version)
    places = changed_since(mappings, done)
    if at.place >= len(places):
        tx.journal.set_checkpoint(NAME, newest.position)
        log.info("remapping.done", version=newest.version)
        return None
    place = places[at.place]
    found = tx.views.termed(code_term(place[0], place[1]), at.after, PAGE)
    tx.journal.add(_records(tx, found, at, now))
    if len(found) < PAGE:
        return _Page(at.position, at.version, at.place + 1)
    return _Page(at.position, at.version, at.place, found[-1])


def changed_since(mappings: Mappings, position: int) -> list[Place]:
    """What any version after a position changed, each once."""
    known = mappings.at(position)
    found: set[Place] = set()
    for version in mappings.versions:
        if version.position > position:
            found.update(affected(known.entries, version.entries))
            known = version
    return sorted(found)


def _records(tx: Transaction, found: Sequence[Found], at: _Page, now: Instant) -> list[NewRecord]:
    """A record for each of these trackers that has no newer fact than the version yet."""
    views = tx.views.get([(f.kind, f.business_product_id, f.id) for f in found])
    waiting = [view for view in views.values() if view.kind == "tracker" and view.position < at.position]
    return [
        NewRecord(
            "remap",
            view.business_product_id,
            "remap",
            now,
            now,
            ROAD,
            msgspec.json.encode(Remap(at.version, (f"tracker/{view.id}",))),
        )
        for view in sorted(waiting, key=lambda view: (view.business_product_id, view.id))
    ]
