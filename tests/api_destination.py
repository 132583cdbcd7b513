"""A fake of what Amazon EventBridge does with a rule's target that is an API destination: attempts until it is taken.

Connections, API destinations, rules and targets are set up with real boto3 at `PartnerBus`, whose `invoke` is
`ApiDestinations.take`. An event waits there until the test calls `deliver_due`, which makes every attempt that is
due by the test's clock, over real sockets:

- authentication by the connection: Basic, an API key, or OAuth 2.0 client credentials, with a token fetched anew
  near its expiry and after a 401 or 407;
- AWS's headers, and five seconds for an answer;
- 401, 407, 409, 429, 5xx, a timeout or no connection are tried again, with a growing pause and jitter, or after
  Retry-After if that is later (a negative one ends it); everything else is not tried again;
- at most 185 retries in 24 hours, or what the target's RetryPolicy says; then the dead-letter queue, with AWS's
  attributes, or `dropped`;
- at most so many invocations a second as the destination allows.

What AWS does not document is ours: the pauses, the error codes, and the form of a token request (`token_request`).
Parameters of the connection other than the bodies of its token request, and those of the target, are not known here.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from moto.events.models import Connection, Destination, Rule, events_backends
from tests.partner_bus import ACCOUNT, REGION, PartnerBus

from milepost.domain.instant import DAY, SECOND, Instant
from milepost.domain.retry import parse_retry_after

HEADERS = {
    "User-Agent": "Amazon/EventBridge/ApiDestinations",
    "Content-Type": "application/json; charset=utf-8",
    "Range": "bytes=0-1048575",
    "Accept-Encoding": "gzip,deflate",
    "Connection": "close",
}
TIMEOUT_S = 5.0
RETRIES, AGE_S = 185, DAY // SECOND
RATE = 300
"""Invocations a second of a destination that names no limit."""
RETRIED = frozenset((401, 407, 409, 429))
FIRST_PAUSE, LONGEST_PAUSE = SECOND, 600 * SECOND
NEAR_EXPIRY = 60 * SECOND

TokenRequest = Literal["form", "json", "basic"]
Auth = tuple[str, dict[str, Any]]
"""The AuthorizationType of a connection and its AuthParameters."""


def basic(username: str, password: str) -> Auth:
    return "BASIC", {"BasicAuthParameters": {"Username": username, "Password": password}}


def api_key(name: str, value: str) -> Auth:
    return "API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": name, "ApiKeyValue": value}}


def oauth(endpoint: str, client_id: str, secret: str, **body: str) -> Auth:
    """`body` are the OAuth HTTP parameters of the token request's body (`grant_type`)."""
    parameters = {
        "AuthorizationEndpoint": endpoint,
        "HttpMethod": "POST",
        "ClientParameters": {"ClientID": client_id, "ClientSecret": secret},
        "OAuthHttpParameters": {"BodyParameters": [{"Key": k, "Value": v} for k, v in body.items()]},
    }
    return "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": parameters}


@dataclass
class Attempt:
    """One try of one event: the status, or what went wrong instead."""

    at: Instant
    status: int | None
    error: str = ""
    retry_after: int | None = None
    """Milliseconds; negative: the destination wants no more of this event."""
    body: str = ""

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def again(self) -> bool:
        """Whether it is worth another try."""
        if self.retry_after is not None and self.retry_after < 0:
            return False
        return self.status is None or self.status in RETRIED or self.status >= 500


@dataclass
class Delivery:
    """An event on its way to one target."""

    document: dict[str, Any]
    target: dict[str, Any]
    rule: Rule
    since: Instant
    due: Instant
    attempts: list[Attempt] = field(default_factory=list)
    ended: Literal["", "taken", "dead-lettered", "dropped"] = ""

    @property
    def statuses(self) -> list[int | None]:
        return [attempt.status for attempt in self.attempts]


class ApiDestinations:
    """The invocations of one bus. `deliveries` has every event that came, in its order."""

    def __init__(
        self,
        bus: PartnerBus,
        clock: Callable[[], Instant],
        random: Callable[[], float],
        *,
        timeout_s: float = TIMEOUT_S,
        token_request: TokenRequest = "form",
    ) -> None:
        self.deliveries: deque[Delivery] = deque()
        self.tokens_fetched = 0
        self._bus = bus
        self._clock = clock
        self._random = random
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._token_request = token_request
        self._tokens: dict[str, tuple[str, Instant]] = {}
        self._fetching = asyncio.Lock()
        self._invoked: dict[str, deque[Instant]] = {}
        bus.invoke = self.take

    def set_up(
        self, source: str, url: str, auth: Auth, *, rate: int | None = None, **policy: int
    ) -> tuple[str, str]:
        """What a receiver sets up: a bus for the source, and a rule that sends to an API destination, with a
        dead-letter queue and perhaps a retry policy. Returns the rule's name and the queue's URL."""
        events, name = self._bus.client("events"), source.rpartition("/")[2]
        events.create_event_bus(Name=source, EventSourceName=source)
        events.put_rule(Name=name, EventBusName=source, EventPattern=json.dumps({"source": [source]}))
        kind, parameters = auth
        connection = events.create_connection(Name=name, AuthorizationType=kind, AuthParameters=parameters)
        limit = {} if rate is None else {"InvocationRateLimitPerSecond": rate}
        destination = events.create_api_destination(
            Name=name,
            ConnectionArn=connection["ConnectionArn"],
            InvocationEndpoint=url,
            HttpMethod="POST",
            **limit,
        )
        queue = self._bus.client("sqs").create_queue(QueueName=f"{name}-dead-letters")["QueueUrl"]
        target = {
            "Id": "hub",
            "Arn": destination["ApiDestinationArn"],
            "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-dead-letters"},
            **({"RetryPolicy": policy} if policy else {}),
        }
        events.put_targets(Rule=name, EventBusName=source, Targets=[target])
        return name, queue

    def update(self, name: str, auth: Auth) -> None:
        """UpdateConnection: other credentials, as an operator gives them during a rotation."""
        kind, parameters = auth
        self._bus.client("events").update_connection(
            Name=name, AuthorizationType=kind, AuthParameters=parameters
        )
        self._tokens.clear()

    def dead_letters(self, queue: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
        """The events in a dead-letter queue and their attributes; it is empty afterwards."""
        sqs, found = self._bus.client("sqs"), []
        while messages := sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                attributes = {n: a["StringValue"] for n, a in message["MessageAttributes"].items()}
                found.append((json.loads(message["Body"]), attributes))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def take(self, target: dict[str, Any], document: dict[str, Any]) -> None:
        """An event for a target, from the bus (and its thread)."""
        now = self._clock()
        self.deliveries.append(Delivery(document, target, _rule_of(target), now, now))

    @property
    def waiting(self) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if not delivery.ended]

    @property
    def next_due(self) -> Instant | None:
        return min((delivery.due for delivery in self.waiting), default=None)

    async def deliver_due(self) -> int:
        """Make every attempt that is due now, all at once as AWS does; returns how many those were."""
        due = [d for d in self.waiting if d.due <= self._clock() and self._may_invoke(d)]
        async with aiohttp.ClientSession(timeout=self._timeout, auto_decompress=False) as http:
            await asyncio.gather(*(self._deliver(http, delivery) for delivery in due))
        return len(due)

    async def _deliver(self, http: aiohttp.ClientSession, delivery: Delivery) -> None:
        try:
            attempt = await self._invoke(http, delivery)
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            attempt = Attempt(self._clock(), None, f"{type(e).__name__}: {e}")
        delivery.attempts.append(attempt)
        if attempt.taken:
            delivery.ended = "taken"
            return
        due = Instant(self._clock() + self._pause(delivery))
        condition = _exhausted(delivery, due) if attempt.again else ""
        if attempt.again and not condition:
            delivery.due = due
        else:
            self._give_up(delivery, condition)

    def _pause(self, delivery: Delivery) -> int:
        tries = len(delivery.attempts)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 20))
        return max(round(pause * (0.5 + self._random() / 2)), delivery.attempts[-1].retry_after or 0)

    async def _invoke(self, http: aiohttp.ClientSession, delivery: Delivery) -> Attempt:
        destination, connection = _destination_of(delivery.target)
        authorization = await self._authorization(http, connection)
        async with http.request(
            destination.http_method,
            destination.invocation_endpoint,
            data=json.dumps(delivery.document).encode(),
            headers={**HEADERS, **authorization},
            allow_redirects=False,
        ) as answer:
            body = await answer.text()
        if answer.status in (401, 407):
            self._tokens.pop(connection.arn, None)
        retry_after = _retry_after(answer.headers.get("Retry-After"), self._clock())
        return Attempt(self._clock(), answer.status, retry_after=retry_after, body=body)

    async def _authorization(self, http: aiohttp.ClientSession, connection: Connection) -> dict[str, str]:
        parameters = connection.auth_parameters
        assert not parameters.get("InvocationHttpParameters"), (
            "parameters of the invocation are not known here"
        )
        match connection.authorization_type:
            case "BASIC":
                pair = parameters["BasicAuthParameters"]
                return {"Authorization": _basic_header(pair["Username"], pair["Password"])}
            case "API_KEY":
                key = parameters["ApiKeyAuthParameters"]
                return {key["ApiKeyName"]: key["ApiKeyValue"]}
            case "OAUTH_CLIENT_CREDENTIALS":
                return {"Authorization": f"Bearer {await self._token(http, connection)}"}
            case other:
                raise AssertionError(f"no such kind of authentication: {other}")

    async def _token(self, http: aiohttp.ClientSession, connection: Connection) -> str:
        async with self._fetching:
            return await self._known_token(http, connection)

    async def _known_token(self, http: aiohttp.ClientSession, connection: Connection) -> str:
        known = self._tokens.get(connection.arn)
        if known is not None and known[1] - self._clock() > NEAR_EXPIRY:
            return known[0]
        parameters = connection.auth_parameters["OAuthParameters"]
        client = parameters["ClientParameters"]
        more = parameters.get("OAuthHttpParameters", {}).get("BodyParameters", [])
        form = {one["Key"]: one["Value"] for one in more}
        headers = {name: HEADERS[name] for name in ("User-Agent", "Range", "Accept-Encoding", "Connection")}
        if self._token_request == "basic":
            headers["Authorization"] = _basic_header(client["ClientID"], client["ClientSecret"])
        else:
            form |= {"client_id": client["ClientID"], "client_secret": client["ClientSecret"]}
        body = {"json": form} if self._token_request == "json" else {"data": form}
        async with http.request(
            parameters["HttpMethod"], parameters["AuthorizationEndpoint"], headers=headers, **body
        ) as answer:
            answer.raise_for_status()
            given = await answer.json()
        self.tokens_fetched += 1
        expires_at = Instant(self._clock() + given["expires_in"] * SECOND)
        self._tokens[connection.arn] = given["access_token"], expires_at
        return str(given["access_token"])

    def _may_invoke(self, delivery: Delivery) -> bool:
        """Whether the destination's limit of invocations a second leaves room now; it is spent then."""
        destination, _ = _destination_of(delivery.target)
        now, limit = self._clock(), int(destination.invocation_rate_limit_per_second or RATE)
        recent = self._invoked.setdefault(destination.arn, deque())
        while recent and recent[0] <= now - SECOND:
            recent.popleft()
        if len(recent) >= limit:
            delivery.due = Instant(recent[0] + SECOND)
            return False
        recent.append(now)
        return True

    def _give_up(self, delivery: Delivery, condition: str) -> None:
        dead_letters = delivery.target.get("DeadLetterConfig", {}).get("Arn")
        if dead_letters is None:
            delivery.ended = "dropped"
            return
        delivery.ended = "dead-lettered"
        last = delivery.attempts[-1]
        attributes = {
            "RULE_ARN": delivery.rule.arn,
            "TARGET_ARN": delivery.target["Arn"],
            "ERROR_CODE": "ERROR_FROM_TARGET" if last.status is not None else "CONNECTION_FAILURE",
            "ERROR_MESSAGE": last.error or f"The target answered with status {last.status}.",
            "RETRY_ATTEMPTS": str(len(delivery.attempts) - 1),
        }
        if condition:
            attributes["EXHAUSTED_RETRY_CONDITION"] = condition
        sqs = self._bus.client("sqs")
        sqs.send_message(
            QueueUrl=sqs.get_queue_url(QueueName=dead_letters.rpartition(":")[2])["QueueUrl"],
            MessageBody=json.dumps(delivery.document),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )


def _exhausted(delivery: Delivery, due: Instant) -> str:
    """Which limit of the target's retry policy forbids another try at `due`."""
    policy = delivery.target.get("RetryPolicy", {})
    if len(delivery.attempts) > policy.get("MaximumRetryAttempts", RETRIES):
        return "MaximumRetryAttempts"
    if due > delivery.since + policy.get("MaximumEventAgeInSeconds", AGE_S) * SECOND:
        return "MaximumEventAgeInSeconds"
    return ""


def _retry_after(text: str | None, now: Instant) -> int | None:
    if text is None:
        return None
    if text.strip().startswith("-"):
        return -1
    return parse_retry_after(text, now)


def _basic_header(user: str, word: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


def _rule_of(target: dict[str, Any]) -> Rule:
    for bus in events_backends[ACCOUNT][REGION].event_buses.values():
        for rule in bus.rules.values():
            if any(one is target for one in rule.targets):
                return rule
    raise AssertionError(f"no rule has this target: {target}")


def _destination_of(target: dict[str, Any]) -> tuple[Destination, Connection]:
    """The API destination and its connection as they are set up now."""
    backend = events_backends[ACCOUNT][REGION]
    (destination,) = [d for d in backend.destinations.values() if d.arn == target["Arn"]]
    (connection,) = [c for c in backend.connections.values() if c.arn == destination.connection_arn]
    return destination, connection
