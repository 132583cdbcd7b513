"""What was published, over HTTP: events, the messages that each became, every attempt, and where they go.

    GET  /sandbox/events         published events, oldest first: ?after=POSITION, ?type=, ?limit=; ?newest=true for
                                 the last ones; ?eventId= for one, with each message's body as it is sent
    GET  /sandbox/attempts       every attempt, oldest first; ?eventId= or ?messageId= for those of one
    POST /sandbox/resend         {"eventId" | "messageId", "subscriptionId"}: send again now, whatever became of it
    GET  /sandbox/subscriptions  where events go and how it goes there; ?id= for one
    POST /sandbox/subscriptions  {"subscriptionId"}: take one that was disabled (410) up again, with what it missed
    DELETE /sandbox/subscriptions?subscriptionId=ID    end one, whoever's it is

No answer has a credential. Sending is the publisher's; which events there are is the world's (`driving`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.event import canonical_type
from milepost.domain.instant import format_instant
from milepost.domain.record import Record, event_subject
from milepost.pipeline.consumer import Effects, Prepare
from milepost.pipeline.publisher import Publisher
from milepost.sandbox.events import render
from milepost.sandbox.http import Request, Response, Routes, decoded, json_response, number_in, place_in
from milepost.sandbox.subscriptions import Subscriptions
from milepost.store import Store, Transaction

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
MOST_MESSAGES = 100
"""Messages shown with one event; one event seldom has more than a few."""
LONGEST_BODY = 64 * 1024
"""Longer bodies (the fault `oversize`) are not shown whole."""
_WINDOW = 500
_LOOK_AGAIN_S, _LOOKS = 0.02, 150


class Resend(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    event_id: str | None = None
    message_id: str | None = None
    subscription_id: str | None = None
    """Only to this one."""


class Enable(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    subscription_id: str


class _Shown(Struct, frozen=True, rename="camel"):
    """What of a destination's settings may be seen; of `auth` only which kind it is."""

    url: str | None = None
    source: str | None = None
    auth: dict[str, Any] = {}
    auth_profile_id: str | None = None
    subscription: dict[str, Any] = {}


def indexed(prepare: Prepare) -> Prepare:
    """A consumer's handler that also makes each event be found by its eventId."""

    async def handler(records: Sequence[Record]) -> Effects:
        effects = await prepare(records)
        subjects = {
            r.position: (r.business_product_id, [event_subject(r.event().event_id)])
            for r in records
            if r.kind == "event"
        }

        def both(tx: Transaction) -> None:
            effects(tx)
            tx.views.index(subjects)

        return both

    return handler


class PublishingRoutes:
    """The routes that show what is published, and send it again. `consumer` is whose checkpoint says which
    events became messages."""

    def __init__(
        self, store: Store, publisher: Publisher, subscriptions: Subscriptions, consumer: str
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._subscribed = subscriptions
        self._consumer = consumer

    def routes(self) -> Routes:
        return {
            ("GET", "/sandbox/events"): self._events,
            ("GET", "/sandbox/attempts"): self._attempts,
            ("POST", "/sandbox/resend"): self._resend,
            ("GET", "/sandbox/subscriptions"): self._subscriptions,
            ("POST", "/sandbox/subscriptions"): self._enable,
            ("DELETE", "/sandbox/subscriptions"): self._end,
        }

    # ── Events ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _events(self, request: Request) -> Response:
        query = request.query
        event_id = query.get("eventId")
        if event_id is not None:
            one = await self._store.read(lambda tx: self._whole_event(tx, event_id))
            return json_response({"items": [one], "next": None})
        limit = number_in(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        after = number_in(query, "after", 0, 0, 1 << 53)
        wanted = canonical_type(query["type"]) if query.get("type") else None
        newest = query.get("newest") == "true"

        def read(tx: Transaction) -> dict[str, Any]:
            if newest:
                kept = _newest(tx, wanted, limit)
                return {"items": [_event(tx, record) for record in kept], "next": None}
            found = tx.journal.events(after, limit + 1, None, wanted)
            following = str(found[limit - 1].position) if len(found) > limit else None
            return {"items": [_event(tx, record) for record in found[:limit]], "next": following}

        return json_response(await self._store.read(read))

    def _whole_event(self, tx: Transaction, event_id: str) -> dict[str, Any]:
        record = self._record(tx, event_id)
        document = _event(tx, record)
        for shown, message in zip(document["messages"], _messages(tx, record.position), strict=True):
            shown["body"] = _sent(tx, record, message)
        return {**document, "body": msgspec.Raw(record.body)}

    def _record(self, tx: Transaction, event_id: str) -> Record:
        """Raises `NotFound`. One that is not indexed yet is looked for behind the consumer's checkpoint."""
        subject = event_subject(event_id)
        keys = [(product, subject) for product in tx.journal.business_products()]
        found = [record for records in tx.journal.of_subjects(keys).values() for record in records]
        if not found:
            found = [r for r in _behind(tx, self._consumer) if r.event().event_id == event_id]
        if not found:
            raise NotFound(f"no event {event_id!r} was published", eventId=event_id)
        return found[0]

    # ── Attempts ───────────────────────────────────────────────────────────────────────────────────────────

    async def _attempts(self, request: Request) -> Response:
        query = request.query
        limit = number_in(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        where = place_in(query, numbers=2)
        after = (0, 0, "") if where is None else (where[0][0], where[0][1], where[1])
        event_id, message_id = query.get("eventId"), query.get("messageId")
        if event_id is not None and message_id is not None:
            raise Invalid("give either eventId or messageId", field="messageId")

        def read(tx: Transaction) -> list[Attempt]:
            if event_id is not None:
                messages = _messages(tx, self._record(tx, event_id).position)
                each = (tx.attempts.attempts(after, limit + 1, message.id) for message in messages)
                return sorted((a for found in each for a in found), key=_place)[: limit + 1]
            if message_id is not None and tx.attempts.message(message_id) is None:
                raise NotFound(f"there is no message {message_id!r}", messageId=message_id)
            return tx.attempts.attempts(after, limit + 1, message_id)

        found = await self._store.read(read)
        last = found[limit - 1] if len(found) > limit else None
        following = None if last is None else ":".join(map(str, _place(last)))
        return json_response({"items": [_attempt(a) for a in found[:limit]], "next": following})

    async def _resend(self, request: Request) -> Response:
        asked = decoded(request.body, Resend)
        if (asked.event_id is None) == (asked.message_id is None):
            raise Invalid("give either an eventId or a messageId", field="eventId")
        looks = 0
        while (wanted := await self._store.read(lambda tx: self._to_resend(tx, asked))) is None:
            # It was published a moment ago, and the consumer tells nobody how far it is.
            if (looks := looks + 1) > _LOOKS:
                raise Conflict("that event has not become messages yet; try again")
            await asyncio.sleep(_LOOK_AGAIN_S)
        sent = [await self._publisher.resend(message.id) for message in wanted]
        now = [message for message in sent if message is not None]
        return json_response({"messages": [_message(message) for message in now]})

    def _to_resend(self, tx: Transaction, asked: Resend) -> list[Message] | None:
        """The messages, or None when they are not made yet. Raises `NotFound` when none ever were."""
        if asked.message_id is not None:
            found = tx.attempts.message(asked.message_id)
            messages = [] if found is None else [found]
        else:
            position = self._record(tx, asked.event_id or "").position
            if tx.journal.checkpoint(self._consumer) < position:
                return None
            messages = list(_every_message(tx, position))
        wanted = [m for m in messages if asked.subscription_id in (None, m.destination_id)]
        if not wanted:
            to = f" to {asked.subscription_id!r}" if asked.subscription_id else ""
            raise NotFound(f"{asked.event_id or asked.message_id} was never meant to be sent{to}")
        return wanted

    # ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────

    async def _subscriptions(self, request: Request) -> Response:
        limit = number_in(request.query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        after, one_id = request.query.get("after", ""), request.query.get("id")

        def read(tx: Transaction) -> dict[str, Any]:
            if one_id is not None:
                return {"items": [_one_subscription(tx, one_id)], "next": None}
            found = tx.attempts.destinations(after, limit + 1)
            following = found[limit - 1].id if len(found) > limit else None
            return {"items": [_subscription(tx, one) for one in found[:limit]], "next": following}

        return json_response(await self._store.read(read))

    async def _end(self, request: Request) -> Response:
        subscription_id = request.query.get("subscriptionId")
        if not subscription_id:
            raise Invalid("subscriptionId says which subscription", field="subscriptionId")
        if not await self._subscribed.end(subscription_id):
            raise NotFound(f"there is no subscription {subscription_id}", subscriptionId=subscription_id)
        return json_response({"subscriptionId": subscription_id})

    async def _enable(self, request: Request) -> Response:
        asked = decoded(request.body, Enable)
        await self._publisher.enable(asked.subscription_id)
        return json_response(await self._store.read(lambda tx: _one_subscription(tx, asked.subscription_id)))


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


def _newest(tx: Transaction, type: str | None, limit: int) -> list[Record]:
    """The last events, oldest first: the journal is read backward, a window at a time."""
    found: list[Record] = []
    end = tx.journal.last_position()
    while end > 0 and len(found) < limit:
        start = max(0, end - _WINDOW)
        window = tx.journal.events(start, _WINDOW, None, type)
        found = [*(r for r in window if r.position <= end), *found]
        end = start
    return found[-limit:]


def _behind(tx: Transaction, consumer: str) -> Iterator[Record]:
    """Events that the consumer has not read yet: a moment's worth of them."""
    position = tx.journal.checkpoint(consumer)
    while records := tx.journal.events(position, _WINDOW, None, None):
        yield from records
        position = records[-1].position


def _messages(tx: Transaction, position: int) -> list[Message]:
    return tx.attempts.messages(None, MOST_MESSAGES, position=position)


def _every_message(tx: Transaction, position: int) -> Iterator[Message]:
    after: tuple[int, str] | None = None
    while page := tx.attempts.messages(after, _WINDOW, position=position):
        yield from page
        after = (position, page[-1].id)


def _place(attempt: Attempt) -> tuple[int, int, str]:
    return attempt.started_at, attempt.number, attempt.message_id


def _sent(tx: Transaction, record: Record, message: Message) -> msgspec.Raw | None:
    """What is sent to the message's destination; null when that is gone or the body is very long."""
    destination = tx.attempts.destination(message.destination_id)
    body = None if destination is None else render(record, destination, message)
    return None if body is None or len(body) > LONGEST_BODY else msgspec.Raw(body)


# ── Documents ──────────────────────────────────────────────────────────────────────────────────────────────


def _event(tx: Transaction, record: Record) -> dict[str, Any]:
    event = record.event()
    return {
        "position": record.position,
        "eventId": event.event_id,
        "type": event.type,
        "businessProductId": record.business_product_id,
        "resources": [str(resource) for resource in event.resources],
        "eventTime": event.event_time,
        "data": event.data,
        "messages": [_message(message) for message in _messages(tx, record.position)],
    }


def _message(message: Message) -> dict[str, Any]:
    waits = message.state in ("pending", "held")
    return {
        "messageId": message.id,
        "subscriptionId": message.destination_id,
        "state": message.state,
        "tries": message.tries,
        "nextDueAt": format_instant(message.due_at) if waits else None,
        "form": message.form,
        "createdAt": format_instant(message.created_at),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "messageId": attempt.message_id,
        "number": attempt.number,
        "startedAt": format_instant(attempt.started_at),
        "durationMs": attempt.duration_ms,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "target": attempt.target,
        "response": attempt.response,
        "retryAfterMs": attempt.retry_after,
        "manual": attempt.manual,
    }


def _one_subscription(tx: Transaction, subscription_id: str) -> dict[str, Any]:
    """Raises `NotFound`."""
    found = tx.attempts.destination(subscription_id)
    if found is None:
        raise NotFound(f"there is no subscription {subscription_id!r}", subscriptionId=subscription_id)
    return _subscription(tx, found)


def _subscription(tx: Transaction, destination: Destination) -> dict[str, Any]:
    settings = msgspec.json.decode(destination.settings or b"{}", type=_Shown)
    breaker = tx.attempts.breakers().get(destination.lane)
    counts = tx.attempts.count(destination.id)
    last = tx.attempts.last_attempt(destination.id)
    return {
        "subscriptionId": destination.id,
        "kind": destination.kind,
        "eventType": settings.subscription.get("eventType") or None,
        "eventTypes": list(destination.event_types),
        "businessProductId": destination.business_product_id or None,
        "url": settings.url,
        "source": settings.source,
        "auth": next((name for name, given in settings.auth.items() if given), None),
        "authProfileId": settings.auth_profile_id,
        "enabled": destination.enabled,
        "reason": destination.reason,
        "breaker": "closed" if breaker is None else breaker.state,
        "breakerUntil": None
        if breaker is None or breaker.state == "closed"
        else format_instant(breaker.until),
        "messages": {state: counts.get(state, 0) for state in ("pending", "held", "delivered", "failed")},
        "lastAttempt": None if last is None else _attempt(last),
    }
