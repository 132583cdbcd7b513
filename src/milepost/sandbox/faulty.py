"""Faults carried out: which copies of an event a destination gets and in which forms, and what requests run into.

What publishing does wrong is decided by the seed from the event and the destination, so that the same world is
wrong in the same way each time. Forms are rendered in `events`; the one form that is not about bytes, wrong
credentials, is carried out here by `FaultySender`. What queries answer wrongly about an order is decided where they
answer. The settings are `faults`'.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from milepost.domain.attempt import Destination
from milepost.domain.envelope import Event
from milepost.domain.errors import UpstreamUnavailable
from milepost.domain.event import BY_NAME, canonical_type
from milepost.domain.instant import SECOND
from milepost.domain.record import Record, tracker_subject
from milepost.pipeline.publisher import Copy, Outcome, Parcel, Sender
from milepost.sandbox.faults import ActiveFaults, Faults
from milepost.sandbox.lookups import decoded, find_by_term
from milepost.sandbox.playing import FOREVER
from milepost.sandbox.world import dice
from milepost.store import Transaction

WRONG_CREDENTIALS = "wrong-credentials"
_WRONG_AUTH = {"basicAuthConfig": {"username": "nobody", "password": "wrong on purpose"}}


class FaultyCopies:
    """The publisher's `Copies`: by the faults that are on, and by those of the order that an event is about."""

    def __init__(self, seed: int, faults: ActiveFaults) -> None:
        self._seed = seed
        self._faults = faults

    def __call__(self, tx: Transaction, record: Record, destination: Destination) -> Sequence[Copy]:
        event = record.event()
        faults = self._faults.now.over(_own_faults(tx, record, event))
        draw = dice(self._seed, "faults", event.event_id, destination.id)
        return _copies(faults, event, draw)


class FaultySender:
    """A sender whose first attempt of a message of the form `wrong-credentials` has none that are good."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def batch(self) -> int:
        return self._sender.batch

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        wrong = [
            p for p in parcels if p.message.tries == 0 and WRONG_CREDENTIALS in p.message.form.split(",")
        ]
        if not wrong:
            return await self._sender.send(destination, parcels)
        if len(wrong) == len(parcels):
            return await self._sender.send(_without_credentials(destination), parcels)
        good = [p for p in parcels if p not in wrong]
        sent = zip(
            [*wrong, *good],
            [
                *await self._sender.send(_without_credentials(destination), wrong),
                *await self._sender.send(destination, good),
            ],
            strict=True,
        )
        outcomes = {parcel.message.id: outcome for parcel, outcome in sent}
        return [outcomes[parcel.message.id] for parcel in parcels]


class RequestFaults:
    """What requests to `/token` and `/graphql` run into before anything is answered."""

    def __init__(self, seed: int, faults: ActiveFaults) -> None:
        self._faults = faults
        self._draw = dice(seed, "requests")

    def check_up(self) -> None:
        """Raises `UpstreamUnavailable` while the API is down."""
        if self._faults.now.api_down:
            raise UpstreamUnavailable("the fault apiDown is on")

    async def of_query(self) -> Faults:
        """The faults of one request to `/graphql`, once it has been slow enough: `throttling` says whether it is this
        one that is throttled. Raises `UpstreamUnavailable`."""
        self.check_up()
        now = self._faults.now
        throttled, failed = (
            self._draw.random() < now.throttling_rate,
            self._draw.random() < now.server_error_rate,
        )
        if now.slow_seconds:
            await asyncio.sleep(now.slow_seconds)
        if failed:
            raise UpstreamUnavailable("the fault serverErrorRate hit this request")
        return replace(now, throttling=now.throttling or throttled)


def _copies(faults: Faults, event: Event, draw: random.Random) -> list[Copy]:
    # Each fault has a number of its own, drawn whether it is on or not: one does not change what another hits.
    drawn = {
        field: draw.random()
        for field in (
            "drop",
            "delay",
            "reorder",
            "duplicate",
            "both_roads",
            "legacy_names",
            "two_subscriptions",
            "data_empty",
            "oversize",
            "clock_skew",
            WRONG_CREDENTIALS,
        )
    }

    def hits(field: str) -> bool:
        rate: float = getattr(faults, field.replace("-", "_"))
        return drawn[field] < rate

    within = max(1, round(faults.reorder_seconds * SECOND))
    if hits("drop"):
        return []
    first = draw.randrange(within) if hits("reorder") else 0
    if faults.delay_seconds and hits("delay") and _is_one_of(event.type, faults.delay_types):
        first += round(faults.delay_seconds * SECOND)
    # What is wrong with the event itself is wrong with every copy: else they would be conflicting ones.
    form = _joined("empty" if hits("data_empty") else "", "skew" if hits("clock_skew") else "")
    found = [Copy(first, _joined(form, WRONG_CREDENTIALS if hits(WRONG_CREDENTIALS) else ""))]
    extra = [form] * (faults.duplicate_count - 1) if hits("duplicate") else []
    for field, word in (
        ("both_roads", "bridge"),
        ("legacy_names", "legacy"),
        ("two_subscriptions", "second"),
        ("oversize", "oversize"),
    ):
        if hits(field) and (word != "legacy" or _has_former_name(event.type)):
            extra.append(_joined(form, word))
    found.extend(Copy(first + draw.randrange(within), each) for each in extra)
    return found


def _joined(*words: str) -> str:
    return ",".join(filter(None, words))


def _is_one_of(type: str, types: Sequence[str]) -> bool:
    return not types or type in {canonical_type(each) for each in types}


def _has_former_name(type: str) -> bool:
    known = BY_NAME.get(type)
    return known is not None and bool(known.former_names)


def _own_faults(tx: Transaction, record: Record, event: Event) -> Faults:
    """The faults of the order that an event is about, found by its resource: by order or by tracker."""
    order_id, product = event.resource_id("order"), record.business_product_id
    if order_id is not None:
        view = tx.views.get([("world", product, order_id)]).get(("world", product, order_id))
        return decoded(view).faults if view is not None else Faults()
    carrier, number = event.resource_id("carrier"), event.resource_id("tracker")
    if carrier is None or number is None:
        return Faults()
    world = find_by_term(tx, tracker_subject(carrier, number).lower(), product, FOREVER)
    return world.faults if world is not None else Faults()


def _without_credentials(destination: Destination) -> Destination:
    settings: dict[str, Any] = msgspec.json.decode(destination.settings)
    settings |= {"auth": _WRONG_AUTH, "authProfileId": None}
    return replace(destination, settings=msgspec.json.encode(settings))
