"""Histories: a world of many deliveries, months of it at once, as a hub would have heard of them.

Orders are made and live as in any world of the sandbox (`planning`, `transitions`), but nobody waits: what has
happened by `until` is played in one go, and beside each event stands the answer that the hub would have got by asking
about it (`domain.hydration`). A history is made in chunks of a few hundred packages that were ordered about the same
time, each a function of the seed and its number alone, so that processes can make them apart and a load that was
interrupted makes the same ones again. What really happened is kept beside what was heard (`Life`): tests compare
numbers with it. Writing it down is `loading`'s.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.envelope import format_webhook
from milepost.domain.hydration import CANCELLED, DELIVERED, IN_TRANSIT, MILESTONE
from milepost.domain.instant import DAY, MINUTE, SECOND, Instant, format_instant
from milepost.domain.record import QueryName, Snapshot
from milepost.sandbox import planning
from milepost.sandbox.events import neutral_event
from milepost.sandbox.publication import Publication
from milepost.sandbox.reading import find_tracker
from milepost.sandbox.scenarios import library
from milepost.sandbox.selecting import default_data, order_data, tracker_data
from milepost.sandbox.transitions import happen
from milepost.sandbox.world import Step, WorldOrder, business_product_of, dice, new_order, uuid_text

CHUNK = 500
"""Packages that are made, journalled and folded together."""

MIXED = "mixed"
_SHARES: dict[str, int] = {
    MIXED: 874,
    "returned": 20,
    "label-only": 15,
    "split": 15,
    "stalled-over-a-weekend": 15,
    "delivered-then-out": 12,
    "date-only-estimate": 10,
    "cancelled-then-scanned": 8,
    "one-of-three-cancelled": 8,
    "handed-to-locker": 5,
    "milestone-first": 5,
    "starts-later": 5,
    "odd-casing": 3,
    "unknown-code": 3,
    "future-scan": 2,
}
"""Of a thousand orders: those whose packages draw their lives as in a mixed world, and those that live a scenario of
their own. Only scenarios that are about the world, not about how its events travel."""

_SETTLED = MINUTE
"""What happened less than so long before `until` is still on its way, so it has not happened yet here."""


class History(Struct, frozen=True):
    """Which world, how much of it, and from when to when orders are placed."""

    seed: int
    deliveries: int
    """Packages that are ordered; a few are split, and those of the last hours are pending."""
    until: Instant
    days: int = 120

    @property
    def chunks(self) -> int:
        return -(-self.deliveries // CHUNK)


class Answer(Struct, frozen=True):
    """What the hub was told when it asked about an event: a snapshot record's body, and when."""

    query: QueryName
    at: Instant
    body: bytes


class Heard(Struct, frozen=True):
    """One event as it came, and the answer that it led to."""

    body: bytes
    received_at: Instant
    copied_at: Instant | None
    """When a copy of it came by the other road."""
    answer: Answer | None


class Life(Struct, frozen=True):
    """One order: how it really stands at `until` (`world`), every step that happened to it, and what was heard."""

    world: WorldOrder
    happened: tuple[Step, ...]
    heard: tuple[Heard, ...]

    @property
    def parcels(self) -> list[dict[str, Any]]:
        """Its packages as they really stand."""
        details: list[dict[str, Any]] = self.world.order["packageInformation"]["details"]
        return details


def lives(history: History, chunk: int) -> Iterator[Life]:
    """The orders of one chunk, in the order of their numbers."""
    left = min(CHUNK, history.deliveries - chunk * CHUNK)
    number = chunk * CHUNK
    while left > 0:
        for world in _placed(history, chunk, number, left):
            left -= len(world.order["packageInformation"]["details"])
            yield _Living(history.seed, world).until(Instant(history.until - _SETTLED))
        number += 1


def rounds(history: History, chunk: int) -> list[list[Heard]]:
    """What was heard of the chunk's orders: each one's first, each one's second…, so that an event comes before
    those that follow it, and many lie between two of one order."""
    heard = [life.heard for life in lives(history, chunk)]
    longest = max(map(len, heard), default=0)
    return [[each[n] for each in heard if n < len(each)] for n in range(longest)]


def _placed(history: History, chunk: int, number: int, most: int) -> list[WorldOrder]:
    """Order `number` with its plan, `most` packages at most; placed somewhere in the chunk's share of the days."""
    draw = dice(history.seed, "history", number)
    share = history.days * DAY / history.chunks
    first = history.until - history.days * DAY
    placed = Instant(int(first + (chunk + draw.random()) * share) // SECOND * SECOND)
    (name,) = draw.choices(list(_SHARES), weights=list(_SHARES.values()))
    product, seed = business_product_of(history.seed), history.seed
    if name != MIXED:
        scenario = library()[name]
        if scenario.begins is not None:
            # It begins on the first fitting weekday from there.
            placed = Instant(placed - 7 * DAY)
        if len(scenario.orders[0].packages) <= most:
            return planning.plan_orders(scenario, seed, number, placed, product, None)
    document = new_order(seed, number, placed, min(most, draw.choice((1, 1, 2, 2, 3))))
    return [planning.plan_life(WorldOrder(product, document, placed, placed_at=placed), seed, None, placed)]


class _Living:
    """One order whose plan is played; its document is nobody else's, so it is changed in place."""

    def __init__(self, seed: int, world: WorldOrder) -> None:
        self._seed = seed
        self._world = world
        self._draw = dice(seed, "heard", world.id)
        self._heard: list[Heard] = []
        self._asked = False
        """Whether the order was answered already: then a delivery's own data suffices."""
        self._before: dict[str, Instant] = {}

    def until(self, end: Instant) -> Life:
        happened: list[Step] = []
        serial = 0
        while self._world.plan and self._world.plan[0].at <= end:
            step, *left = self._world.plan
            self._world = planning.replanned(replace(self._world, plan=tuple(left)), step, self._seed)
            step = self._scanned(step)
            for publication in happen(self._world.order, step, self._seed):
                self._heard.append(self._hear(publication, step.at, serial))
                serial += 1
            happened.append(step)
        changed_at = happened[-1].at if happened else self._world.placed_at
        world = replace(self._world, serial=serial, changed_at=changed_at)
        return Life(world, tuple(happened), tuple(self._heard))

    def _scanned(self, step: Step) -> Step:
        """The step with the time at which the carrier scanned it: minutes before it says so, seldom hours."""
        before = self._before.get(step.delivery_id, self._world.placed_at)
        self._before[step.delivery_id] = step.at
        if not step.milestone or step.occurred_at:
            return step
        usual = self._draw.randrange(MINUTE, 25 * MINUTE)
        late = self._draw.randrange(6) if self._draw.random() < 0.03 else 0
        lag = min(usual + late * 60 * MINUTE, max(0, step.at - before) // 2)
        return replace(step, occurred_at=format_instant(Instant((step.at - lag) // SECOND * SECOND)))

    def _hear(self, publication: Publication, at: Instant, serial: int) -> Heard:
        order = self._world.order
        publication = replace(publication, data=default_data(publication.type, order))
        event = neutral_event(self._seed, self._world, serial, publication, at)
        subscription = _subscription_of(self._seed, event.type)
        event = replace(
            event, subscription_id=subscription, idempotency_key=f"{subscription}#{event.event_id}"
        )
        draw = self._draw
        received_at = Instant(event.published_at + draw.randrange(200, 3_000))
        if draw.random() < 0.02:
            received_at = Instant(received_at + draw.randrange(25 * SECOND))
        copied_at = Instant(received_at + draw.randrange(50, 5_000)) if draw.random() < 0.01 else None
        answer = self._answer(publication, Instant(received_at + draw.randrange(400, 4_000)))
        return Heard(format_webhook(event), received_at, copied_at, answer)

    def _answer(self, publication: Publication, at: Instant) -> Answer | None:
        """What the hub is told at `at`, where the event leaves out something that it has to ask for."""
        kind, order = publication.type, self._world.order
        observed_at = Instant(at + 80)
        if kind == MILESTONE:
            (_, carrier), (_, number) = publication.resource
            found = find_tracker(order, carrier, number)
            shown = None if found is None else tracker_data(found[1])
            snapshot = Snapshot(
                "packageTracker", at, observed_at, shown, carrier_code=carrier, tracking_number=number
            )
            return _kept(snapshot)
        if kind in (IN_TRANSIT, CANCELLED) or (kind == DELIVERED and not self._asked):
            self._asked = True
            return _kept(Snapshot("order", at, observed_at, order_data(order), order_id=self._world.id))
        return None


def _kept(snapshot: Snapshot) -> Answer:
    return Answer(snapshot.query, snapshot.observed_at, msgspec.json.encode(snapshot))


def _subscription_of(seed: int, type: str) -> str:
    """Each type is subscribed to by itself."""
    return uuid_text(dice(seed, "subscription", type))
