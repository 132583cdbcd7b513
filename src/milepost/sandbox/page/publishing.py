"""What the page shows of publishing: events newest first, one with its bodies and attempts, and where they go.

Read in one transaction each, and never a credential among it. The same as JSON is `sandbox/publishing`'s.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.breaker import Breaker
from milepost.domain.errors import NotFound
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.sandbox.events import render
from milepost.sandbox.page.wording import When, exactly, length, when
from milepost.store import Transaction

LONGEST_BODY = 64 * 1024
"""So much of a body is shown."""
SHORT = 120
MOST_MESSAGES = 100
MOST_ATTEMPTS = 50
MOST_SUBSCRIPTIONS = 500
_WINDOW = 300
_STATES = ("delivered", "pending", "held", "failed")
_BREAKERS = {
    "closed": ("✓", "Answering"),
    "open": ("✕", "Left alone after failures"),
    "halfOpen": ("?", "Being tried again"),
}
_AUTH = {"basicAuthConfig": "basic authentication", "oAuthConfig": "OAuth 2.0"}


class EventRow(Struct, frozen=True):
    """An event in the list."""

    position: int
    event_id: str
    type: str
    about: str
    at: When
    became: tuple[tuple[str, int], ...]
    """Its messages: each state, and how many are in it."""
    waits: str
    """When the next try of one is due."""


class AttemptShown(Struct, frozen=True):
    number: int
    at: When
    duration: str
    outcome: str
    status: str
    error: str
    target: str
    response: str
    is_short: bool
    """The answer has one short line."""
    asked_to_wait: str
    manual: bool


class MessageShown(Struct, frozen=True):
    """One message of an event: to one subscription."""

    id: str
    subscription: str
    where: str
    state: str
    tries: int
    next_try: When | None
    form: str
    body: str
    attempts: tuple[AttemptShown, ...]


class EventShown(Struct, frozen=True):
    """An event, whole."""

    row: EventRow
    business_product_id: str
    resources: tuple[str, ...]
    order_id: str
    body: str
    messages: tuple[MessageShown, ...]


class SubscriptionShown(Struct, frozen=True):
    id: str
    types: str
    enabled: bool
    reason: str
    counts: tuple[tuple[str, int], ...]
    """Its messages: each state, and how many are in it."""


class EndpointShown(Struct, frozen=True):
    """What answers, with the subscriptions that go there: they share its health."""

    where: str
    kind: str
    auth: str
    health: str
    glyph: str
    is_well: bool
    until: When | None
    last: AttemptShown | None
    subscriptions: tuple[SubscriptionShown, ...]


class _Settings(Struct, frozen=True):
    """What of a destination's settings may be seen; of `auth` only which kind it is."""

    url: str = ""
    source: str = ""
    auth: dict[str, Any] = {}
    subscription: dict[str, Any] = {}


def events_before(
    tx: Transaction, before: int | None, limit: int, now: Instant
) -> tuple[list[EventRow], int | None]:
    """Events below a position, newest first, and the position to go on below; None: that was all."""
    end = tx.journal.last_position() if before is None else before - 1
    found: list[Record] = []
    while end > 0 and len(found) <= limit:
        start = max(0, end - _WINDOW)
        page = tx.journal.events(start, _WINDOW, None, None)
        found += [record for record in reversed(page) if record.position <= end]
        end = start
    rows = [_row(tx, record, now) for record in found[:limit]]
    return rows, rows[-1].position if len(found) > limit else None


def events_of(
    tx: Transaction, order_id: str, trackers: Sequence[tuple[str, str]], limit: int, now: Instant
) -> list[EventRow]:
    """The newest events of an order and its trackers, as far as they are among the last few hundred."""
    last = tx.journal.last_position()
    page = tx.journal.events(max(0, last - _WINDOW), _WINDOW, None, None)
    wanted = {("order", order_id), *(("tracker", number) for _, number in trackers)}
    own = [
        record
        for record in reversed(page)
        if any(wanted.intersection(resource.pairs) for resource in record.event().resources)
    ]
    return [_row(tx, record, now) for record in own[:limit]]


def event_at(tx: Transaction, position: int, now: Instant) -> EventShown:
    """Raises `NotFound`."""
    record = tx.journal.records({position}).get(position)
    if record is None or record.kind != "event":
        raise NotFound(f"no event was published at position {position}")
    event = record.event()
    messages = tx.attempts.messages(None, MOST_MESSAGES, position=position)
    destinations = tx.attempts.destinations_of({m.destination_id for m in messages})
    orders = [value for r in event.resources for key, value in r.pairs if key == "order"]
    return EventShown(
        _row(tx, record, now),
        record.business_product_id,
        tuple(map(str, event.resources)),
        orders[0] if orders else "",
        _pretty(record.body),
        tuple(_message(tx, record, m, destinations.get(m.destination_id)) for m in messages),
    )


def endpoints(tx: Transaction) -> list[EndpointShown]:
    """Every destination, those together that one endpoint answers for."""
    breakers = tx.attempts.breakers()
    grouped: dict[tuple[str, str], list[Destination]] = {}
    for destination in tx.attempts.destinations("", MOST_SUBSCRIPTIONS):
        grouped.setdefault((destination.kind, destination.lane), []).append(destination)
    return [_endpoint(tx, found, breakers.get(lane)) for (_, lane), found in grouped.items()]


def _row(tx: Transaction, record: Record, now: Instant) -> EventRow:
    event = record.event()
    messages = tx.attempts.messages(None, MOST_MESSAGES, position=record.position)
    counted = Counter[str](message.state for message in messages)
    # What is overdue waits for its endpoint, however long that takes.
    retried = [m.due_at for m in messages if m.state == "pending" and m.tries and m.due_at > now]
    return EventRow(
        record.position,
        event.event_id,
        event.type,
        _about(record),
        when(record.published_at),
        tuple((state, counted[state]) for state in _STATES if counted[state]),
        when(min(retried)).text if retried else "",
    )


def _about(record: Record) -> str:
    """The resource without its business product."""
    resources = record.event().resources
    return " ".join(f"{key} {value}" for key, value in resources[0].pairs[1:]) if resources else ""


def _message(
    tx: Transaction, record: Record, message: Message, destination: Destination | None
) -> MessageShown:
    attempts = tx.attempts.attempts((0, 0), MOST_ATTEMPTS, message.id)
    return MessageShown(
        message.id,
        message.destination_id,
        "" if destination is None else _where(_settings(destination)),
        message.state,
        message.tries,
        when(message.due_at) if message.state == "pending" else None,
        ", ".join(message.form.split(",")) if message.form else "",
        "" if destination is None else _pretty(render(record, destination, message)),
        tuple(_attempt(attempt) for attempt in reversed(attempts)),
    )


def _attempt(attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        attempt.number,
        exactly(attempt.started_at),
        f"{attempt.duration_ms:,} ms",
        attempt.outcome,
        "" if attempt.status is None else str(attempt.status),
        "" if attempt.error == f"answered {attempt.status}" else attempt.error,
        attempt.target,
        attempt.response,
        len(attempt.response) <= SHORT and "\n" not in attempt.response,
        "" if attempt.retry_after is None else length(attempt.retry_after),
        attempt.manual,
    )


def _endpoint(tx: Transaction, destinations: list[Destination], breaker: Breaker | None) -> EndpointShown:
    settings = _settings(destinations[0])
    tried = [a for d in destinations if (a := tx.attempts.last_attempt(d.id)) is not None]
    last = max(tried, key=lambda attempt: attempt.started_at, default=None)
    state, failures = ("closed", 0) if breaker is None else (breaker.state, breaker.failures)
    glyph, health = _BREAKERS[state] if tried else ("…", "Not tried yet")
    if state == "closed" and failures:
        glyph, health = "!", f"{failures} {'failure' if failures == 1 else 'failures in a row'}"
    return EndpointShown(
        _where(settings),
        "EventBridge" if destinations[0].kind == "eventbridge" else "Webhook",
        next((_AUTH.get(name, name) for name, given in settings.auth.items() if given), ""),
        health,
        glyph,
        state == "closed",
        when(breaker.until) if breaker is not None and breaker.state == "open" else None,
        None if last is None else _attempt(last),
        # Those that do something first.
        tuple(sorted((_subscription(tx, d) for d in destinations), key=lambda s: (not s.counts, s.types))),
    )


def _subscription(tx: Transaction, destination: Destination) -> SubscriptionShown:
    named = _settings(destination).subscription.get("eventType") or ", ".join(destination.event_types)
    counts = tx.attempts.count(destination.id)
    return SubscriptionShown(
        destination.id,
        str(named or "every type"),
        destination.enabled,
        destination.reason,
        tuple((state, counts[state]) for state in _STATES if counts.get(state)),
    )


def _settings(destination: Destination) -> _Settings:
    return msgspec.json.decode(destination.settings or b"{}", type=_Settings)


def _where(settings: _Settings) -> str:
    return settings.url or settings.source


def _pretty(body: bytes) -> str:
    """JSON for reading; cut where it is very long."""
    if len(body) > LONGEST_BODY:
        return f"{body[:LONGEST_BODY].decode('utf-8', 'replace')}\n… {len(body):,} bytes in all"
    try:
        return msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")
