"""The local Buy with Prime that a test holds: credentials, subscriptions, things that happen, what became of it.

Everything goes by the sandbox's HTTP, as any client's and any script's would; only orders and whether something is
still going to be sent are looked up in the sandbox itself. By the real clock, attempts follow each other within
moments and are soon given up; by a stepped one they have the schedule that Buy with Prime's publisher has.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from milepost.domain.attempt import Message
from milepost.domain.breaker import POLICY, Policy
from milepost.domain.event import BY_NAME, CATALOGUE, READ_ORDER, VIEW_TRACKER, canonical_type
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.retry import STANDARD, Schedule
from milepost.sandbox.faults import Faults
from milepost.sandbox.program import CONSUMER, Sandbox, SandboxConfig
from milepost.store import Transaction
from milepost.testing.hosting import Host, hosted, until

START = "2025-01-20T12:00:00Z"
"""When a stepped clock begins, where no other time is asked for: a test sees the same times whenever it runs."""
QUICK = Schedule((0, 100, 400, 1_000), jitter=0.0)
"""Milliseconds before each attempt by the real clock: nobody's test should wait for half an hour."""
PATIENT = Policy(failures=1_000_000)
"""By the real clock no endpoint is left alone for a while: a handler that fails on purpose is tried again."""
QUICK_REORDER_S = 0.2
STEP_S = 60.0
"""How long a step waits for the attempts that it made due."""
_SHOWN = 10
_PAGE = 500
_SUBSCRIBE = """
mutation subscribe($input: CreateEventSubscriptionInput!) {
  createEventSubscription(input: $input) { subscriptionId }
}
"""


class NotDelivered(AssertionError):
    """Not everything that was published was taken; says what was answered."""


class Caused(NamedTuple):
    """What a trigger made happen: the orders it is about, and the events that are stored for publishing."""

    order_ids: tuple[str, ...]
    events: tuple[dict[str, Any], ...]

    @property
    def order_id(self) -> str:
        """The first order's id."""
        return self.order_ids[0]


class Delivery(NamedTuple):
    """One message to one subscription, and what became of it."""

    event_id: str
    type: str
    subscription_id: str
    state: str
    """pending, held (the endpoint said that it is gone), delivered or failed (given up)."""
    form: str
    """What a fault made of it; empty for the usual form."""
    statuses: tuple[int | None, ...]
    """What each attempt was answered; None where nothing was."""
    errors: tuple[str, ...]
    """What went wrong at each attempt that did not deliver it."""


class BuyWithPrime:
    """A local Buy with Prime that runs. `url` is the base of its API, which takes these three credentials."""

    client_id = client_secret = target_id = "sandbox"

    def __init__(self, host: Host, sandbox: Sandbox) -> None:
        self.url = host.url
        self.clock = sandbox.clock
        """The world's clock; `clock.now()` is in milliseconds since 1970."""
        self._host = host
        self._sandbox = sandbox

    # ── The API ────────────────────────────────────────────────────────────────────────────────────────────

    def query(self, text: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask `/graphql` with every permission; returns `data`. Raises `ValueError` for an answer with errors."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        token = self._host.ask("POST", "/token", urlencode(form))["access_token"]
        headers = {"authorization": f"Bearer {token}", "x-api-target-id": self.target_id}
        body = json.dumps({"query": text, "variables": dict(variables or {})})
        answer = self._host.ask("POST", "/graphql", body, headers)
        if answer.get("errors"):
            raise ValueError("; ".join(error["message"] for error in answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data

    def subscribe(
        self,
        url: str,
        events: str | Iterable[str] | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> list[str]:
        """Have these event types posted to `url`, by default all about packages, returns and refunds; with a user
        name and a password they come with Basic authentication. Returns the id of each type's subscription.

        What was published before is not sent. Raises `ValueError` for what the API refuses."""
        webhook: dict[str, Any] = {"url": url, "method": "POST"}
        if username is not None or password is not None:
            webhook["authConfig"] = {"basicAuthConfig": {"username": username, "password": password}}
        if events is None:
            events = [t.name for t in CATALOGUE if t.permission in (READ_ORDER, VIEW_TRACKER)]
        made: list[str] = []
        for event_type in [events] if isinstance(events, str) else events:
            wanted = {"eventType": event_type, "destination": {"webhook": webhook}}
            answer = self.query(_SUBSCRIBE, {"input": wanted})
            made.append(answer["createEventSubscription"]["subscriptionId"])
        return made

    # ── The world ──────────────────────────────────────────────────────────────────────────────────────────

    def trigger(
        self,
        what: str,
        *,
        order: str | None = None,
        delivery: str | None = None,
        reason: str = "",
        milestone: str = "",
    ) -> Caused:
        """Make the world cause an event, or start a scenario, which then happens as time passes (`step`).

        An event comes with everything that must happen before it, without waits: to a new order, or to this `order`
        or `delivery`. Returns once it is stored for publishing. Raises `KeyError` for an id that the world does not
        have, `ValueError` for what cannot happen."""
        if canonical_type(what) not in BY_NAME:
            started = self._drive("scenarios", {"scenario": what})
            return Caused(tuple(started["orderIds"]), ())
        ids = {"orderId": order, "deliveryId": delivery}
        caused = self._drive("events", {"type": what, **ids, "reason": reason, "milestone": milestone})
        return Caused((caused["orderId"],), tuple(caused["events"]))

    def order(self, order_id: str) -> dict[str, Any]:
        """The order as the world has it, named as in the API's reference. Raises `KeyError`."""
        world = self._host.call(self._sandbox.keeper.order(order_id, None))
        if world is None:
            raise KeyError(order_id)
        return world.order

    def step(self, by: str | None = None) -> str:
        """Let so much time pass ("90s", "2h", "14d"), or as much as there is to whatever is planned next; what
        becomes due happens. Returns the new time; by a stepped clock, once all that is due has been attempted. A real
        clock goes on from there.

        Raises `ValueError` for what is no duration, and when nothing is planned."""
        if by is None:
            planned = self._host.ask("GET", "/sandbox/clock")["nextStepAt"]
            if planned is None:
                raise ValueError("nothing is planned in this world: say how long, or trigger a scenario")
            moved = self._drive("clock", {"to": max(planned, format_instant(self.clock.now()))})
        else:
            moved = self._drive("clock", {"advance": by})
        now: str = moved["now"]
        if self.clock.speed == 0:
            until(lambda: None if self._standing().goes_on else True, STEP_S)
        return now

    def faults(self, **changes: Any) -> dict[str, Any]:
        """Turn faults on and off (`duplicate=0.5, api_down=True, data_empty=0`); what is not named stays as it is.
        Returns all of them. Raises `ValueError` for a fault that there isn't and a wrong value."""
        answer: dict[str, Any] = self._drive("faults", {_camel(name): v for name, v in changes.items()})
        return answer

    def _drive(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._host.ask("POST", f"/sandbox/{path}", json.dumps(body))

    # ── What was published ─────────────────────────────────────────────────────────────────────────────────

    def events(self) -> list[dict[str, Any]]:
        """What was published, oldest first: eventId, type, resources, eventTime, data, messages."""
        return list(self._host.pages("/sandbox/events"))

    @property
    def deliveries(self) -> list[Delivery]:
        """Every message to a subscription so far, the oldest event's first, with what each attempt came to."""
        attempts: dict[str, list[dict[str, Any]]] = {}
        for attempt in self._host.pages("/sandbox/attempts"):
            attempts.setdefault(attempt["messageId"], []).append(attempt)
        return [
            _delivery(event, message, attempts.get(message["messageId"], ()))
            for event in self.events()
            for message in event["messages"]
        ]

    def wait_until_delivered(self, timeout: float = 15.0) -> None:
        """Return once everything that was published is delivered to whoever subscribed to it.

        Raises `NotDelivered`, with what was answered: when a message was given up, when one is left after so many
        seconds, when nothing more can happen before the clock is stepped, and when nobody is subscribed."""
        __tracebackhide__ = True
        problem = until(self._verdict, timeout)
        if problem is None:
            problem = f"not everything was delivered within {timeout:g} s"
        if problem:
            raise NotDelivered("\n  ".join([problem, *_complaints(self.deliveries)]))

    def _verdict(self) -> str | None:
        """What is wrong with how it ended, nothing when all is well; None while something is still going to happen
        by itself."""
        standing = self._standing()
        if not standing.is_subscribed:
            return "nobody is subscribed; subscribe before anything happens"
        if standing.goes_on or (standing.pending and self.clock.speed != 0):
            return None
        if standing.pending:
            now, due = format_instant(standing.now), format_instant(min(m.due_at for m in standing.pending))
            return f"the clock stands still at {now}, and the next attempt is due at {due}: step it"
        return f"{standing.lost} of {standing.messages} messages were not taken" if standing.lost else ""

    def _standing(self) -> "_Standing":
        now = self.clock.now()
        return self._host.call(self._sandbox.store.read(lambda tx: _look(tx, now)))


class _Standing(NamedTuple):
    """How far publishing has come, from one read."""

    now: Instant
    is_subscribed: bool
    goes_on: bool
    """Whether something is due now, or under way."""
    pending: list[Message]
    lost: int
    messages: int


def _look(tx: Transaction, now: Instant) -> _Standing:
    pending = tx.attempts.messages(None, _PAGE, state="pending")
    next_due, counts = tx.attempts.next_due(), tx.attempts.count()
    goes_on = (
        tx.journal.checkpoint(CONSUMER) < tx.journal.last_position()
        or any(message.lease_until is not None for message in pending)
        or (next_due is not None and next_due <= now)
    )
    lost = counts.get("failed", 0) + counts.get("held", 0)
    return _Standing(now, bool(tx.attempts.destinations("", 1)), goes_on, pending, lost, sum(counts.values()))


def _delivery(
    event: Mapping[str, Any], message: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]
) -> Delivery:
    return Delivery(
        event["eventId"],
        event["type"],
        message["subscriptionId"],
        message["state"],
        message["form"],
        tuple(attempt["status"] for attempt in attempts),
        tuple(attempt["error"] for attempt in attempts if attempt["outcome"] != "delivered"),
    )


def _complaints(deliveries: Iterable[Delivery]) -> list[str]:
    """A line for each message that was not taken, as many as one reads."""
    left = [d for d in deliveries if d.state != "delivered"]
    lines = [
        f"{d.type} {d.event_id} is {d.state}: {'; '.join(dict.fromkeys(d.errors)) or 'not answered yet'}"
        for d in left[:_SHOWN]
    ]
    return [*lines, f"and {len(left) - _SHOWN} more"] if len(left) > _SHOWN else lines


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


@contextmanager
def running(folder: Path, *, stepped: bool, start: str | None, seed: int) -> Iterator[BuyWithPrime]:
    """A Buy with Prime that lives in `folder` until the end. Its world has no orders."""
    if stepped and start is None:
        start = START
    config = SandboxConfig(
        port=0,
        database_url=f"sqlite:///{folder / 'sandbox.db'}",
        seed=seed,
        speed=0.0 if stepped else 1.0,
        start=None if start is None else parse_instant(start),
        # Late copies would keep a test waiting; who steps the clock says how late they are.
        faults=Faults(reorder_seconds=0.0 if stepped else QUICK_REORDER_S),
        schedule=STANDARD if stepped else QUICK,
        breaker=POLICY if stepped else PATIENT,
    )
    sandbox = Sandbox(config)
    with hosted(sandbox) as host:
        yield BuyWithPrime(host, sandbox)
