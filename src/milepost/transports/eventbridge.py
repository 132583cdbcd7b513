"""Amazon EventBridge, from the partner's side: sending events by `PutPartnerEvents`, and calls about event sources.

A destination of kind `eventbridge` has these settings (JSON):

    {"source": "aws.partner/buywithprime/NAME", "account": "123456789012", "region": "us-east-1"}

A call takes up to 20 entries and one MiB of them (14 bytes for Time, and the UTF-8 bytes of the rest); what is
larger alone fails alone. The answer is entry by entry: only those it names have failed. Of an entry as of a whole
request, an error that means throttling counts as 429 and one that means an outage as 500, whatever status AWS
sent with it. AWS's client does not retry here: when to try again is `pipeline.publisher`'s.

The client is aiobotocore, the extra `aws`, imported when it is opened. The endpoint is a setting, so its address
is not checked. Away from AWS (a fake), credentials that nobody gave are made up. Which event sources there are,
and what EventBridge does with an event, is not known here.
"""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant, parse_instant, to_datetime
from milepost.domain.retry import parse_retry_after
from milepost.pipeline.sending import EXCERPT, Outcome, Parcel

MOST_ENTRIES = 20
MOST_BYTES = 1024 * 1024
"""What the entries of one request may have together."""
TIME_BYTES = 14
DEADLINE_S = 10.0
REFUSED = 400
"""The status of an entry that was refused, by the endpoint or here before it was sent: no outage."""
DUMMY = "sandbox"
AMAZON_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
THROTTLED = ("Throttling", "TooManyRequests", "RequestLimitExceeded", "LimitExceeded")
BROKEN = ("Internal", "ServiceUnavailable", "ServiceFailure")


class AwsCredentials(Struct, frozen=True):
    """Credentials that were given, in place of those of the usual AWS places."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class EventBridgeSettings(Struct, frozen=True):
    """The settings of an `eventbridge` destination; whatever else stands there is for others."""

    source: str
    account: str
    region: str = "us-east-1"


class Answer(Struct, frozen=True):
    """What came of one call: AWS's result, or why there is none."""

    value: Mapping[str, Any] | None = None
    status: int | None = None
    code: str = ""
    """AWS's name of the error, where AWS answered with one."""
    error: str = ""
    retry_after: int | None = None
    reached: bool = True
    """False when the endpoint certainly did not get it."""


# ── Calls ──────────────────────────────────────────────────────────────────────────────────────────────────


class EventBridgeClient:
    """Calls of EventBridge's API at one endpoint, in any region. Open it inside a running loop."""

    def __init__(
        self,
        clock: Callable[[], Instant],
        endpoint_url: str | None = None,
        *,
        credentials: AwsCredentials | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Without `endpoint_url` it is AWS's own of each region; without `credentials` they are looked for in
        the usual AWS places."""
        self.deadline_s = deadline_s
        self._clock = clock
        self._url = endpoint_url
        self._credentials = credentials
        if credentials is None and self._is_fake and "AWS_ACCESS_KEY_ID" not in os.environ:
            self._credentials = AwsCredentials(DUMMY, DUMMY)
        self._clients: dict[str, Any] = {}
        self._making = asyncio.Lock()
        self._stack = AsyncExitStack()

    @property
    def _is_fake(self) -> bool:
        host = (urlsplit(self._url).hostname or "") if self._url else ""
        return self._url is not None and not host.endswith(AMAZON_HOSTS)

    async def open(self) -> None:
        """Raises `Misconfigured` when the extra is not installed."""
        try:
            import aiobotocore.config
            import aiobotocore.session
        except ImportError as e:
            raise Misconfigured(
                'EventBridge needs the extra aws: pip install "milepost[aws]"', setting="eventbridge"
            ) from e
        self._session = aiobotocore.session.get_session()
        self._config = aiobotocore.config.AioConfig(
            connect_timeout=self.deadline_s,
            read_timeout=self.deadline_s,
            retries={"total_max_attempts": 1},
            # A fake is near, and what is near needs no proxy; on the way to AWS the usual rules hold.
            proxies={} if self._is_fake else None,
        )

    async def close(self) -> None:
        self._clients.clear()
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def where(self, region: str) -> str:
        """The endpoint, for people."""
        return self._url or f"https://events.{region}.amazonaws.com"

    async def call(self, region: str, operation: str, *, until: float | None = None, **given: Any) -> Answer:
        """Call an operation, by its name in Python (`put_partner_events`). Never raises for what is answered.

        `until` is a time of the loop; without it the deadline counts from now."""
        until = asyncio.get_running_loop().time() + self.deadline_s if until is None else until
        try:
            async with asyncio.timeout_at(until):
                client = await self._client(region)
                value = await getattr(client, operation)(**given)
        except TimeoutError:
            return Answer(error=f"no answer within {self.deadline_s:g} s")
        except (aiohttp.ClientError, OSError) as e:
            return Answer(error=words_of(e))
        except Exception as e:  # noqa: BLE001 (botocore's have no common root, and its parsers raise anything)
            return self._failure(e)
        return Answer(value, _status(value))

    async def _client(self, region: str) -> Any:
        async with self._making:
            if region not in self._clients:
                keys = self._credentials
                self._clients[region] = await self._stack.enter_async_context(
                    self._session.create_client(
                        "events",
                        region_name=region,
                        endpoint_url=self._url,
                        aws_access_key_id=keys and keys.access_key_id,
                        aws_secret_access_key=keys and keys.secret_access_key,
                        aws_session_token=keys and keys.session_token,
                        config=self._config,
                    )
                )
            return self._clients[region]

    def _failure(self, error: Exception) -> Answer:
        """Why a call has no result: AWS's own words, or what kept it from being sent or read."""
        from botocore import exceptions, parsers

        if isinstance(error, exceptions.ClientError):
            told = error.response.get("Error", {})
            code = str(told.get("Code", ""))
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            header = headers.get("retry-after")
            after = None if header is None else parse_retry_after(str(header), self._clock())
            words = f"{code}: {told.get('Message', '')}"[:500]
            return Answer(None, _status_of(code, _status(error.response)), code, words, after)
        # The request went out, or may have: a read timeout, a connection that broke, an unreadable answer.
        sent = (exceptions.HTTPClientError, parsers.ResponseParserError)
        unsent = (exceptions.ConnectTimeoutError, exceptions.EndpointConnectionError, exceptions.SSLError)
        own = isinstance(error, exceptions.BotoCoreError) and not isinstance(error, sent)
        return Answer(error=words_of(error), reached=not (own or isinstance(error, unsent)))


def _status(answer: Mapping[str, Any]) -> int | None:
    metadata = answer.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
    return status if isinstance(status, int) else None


# ── Entries ────────────────────────────────────────────────────────────────────────────────────────────────


class _Told(Struct, frozen=True, rename="camel"):
    """What an entry takes out of an event's body."""

    event_descriptor: str
    resources: tuple[str, ...]
    event_time: str


def entry_of(body: bytes, source: str) -> dict[str, Any]:
    """The `PutPartnerEvents` entry of a webhook body, which is its Detail. Raises `ValueError` for what is none."""
    try:
        told = msgspec.json.decode(body, type=_Told)
    except msgspec.DecodeError as e:
        raise ValueError(f"the body is not an event: {e}") from e
    return {
        "Time": to_datetime(parse_instant(told.event_time)),
        "Source": source,
        "Resources": list(told.resources),
        "DetailType": told.event_descriptor,
        "Detail": body.decode(),
    }


def entry_size(entry: Mapping[str, Any]) -> int:
    """Its size as EventBridge counts it."""
    texts = (entry["Source"], entry["DetailType"], entry["Detail"], *entry.get("Resources", ()))
    return (TIME_BYTES if entry.get("Time") is not None else 0) + sum(len(t.encode()) for t in texts)


def check_size(entry: Mapping[str, Any]) -> int:
    """Its size. Raises `ValueError` in words for one that EventBridge does not take even alone."""
    size = entry_size(entry)
    if size > MOST_BYTES:
        raise ValueError(f"the entry has {size:,} bytes; EventBridge takes {MOST_BYTES:,} in one request")
    return size


def requests_of(
    entries: Mapping[int, tuple[dict[str, Any], int]],
    most: int = MOST_ENTRIES,
    most_bytes: int = MOST_BYTES,
) -> Iterator[dict[int, dict[str, Any]]]:
    """Entries by number, with their sizes, as the fewest requests that keep their order. One that is larger than
    the rest may be together goes alone."""
    request: dict[int, dict[str, Any]] = {}
    total = 0
    for number, (entry, size) in entries.items():
        if request and (len(request) == most or total + size > most_bytes):
            yield request
            request, total = {}, 0
        request[number] = entry
        total += size
    if request:
        yield request


# ── Senders ─────────────────────────────────────────────────────────────────────────────────────────────────


class Addressed(NamedTuple):
    """A destination as entries are made for it. `entry` raises `ValueError` in words for a parcel that is none;
    `ends`: such a one is not tried again."""

    region: str
    name: str
    entry: Callable[[Parcel], dict[str, Any]]
    ends: bool = False


class EntrySender(ABC):
    """Sends parcels as entries of one kind of call; which call, and what an entry is, is the subclass's. Its client
    is opened and closed by others."""

    operation: ClassVar[str]
    batch: ClassVar[int]
    """Most entries of one request."""
    most_bytes: ClassVar[int]
    """What they may have together."""

    def __init__(self, client: EventBridgeClient, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic

    @abstractmethod
    def addressed(self, destination: Destination) -> Addressed:
        """Where the destination's entries go, and how a parcel becomes one. Raises `DecodeError`."""

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        """One request, or as many as the parcels' size takes, within one deadline."""
        started = self._monotonic()
        try:
            address = self.addressed(destination)
        except msgspec.DecodeError as e:
            return [Outcome(None, words_of(e), reached=False)] * len(parcels)
        outcomes: dict[int, Outcome] = {}
        entries: dict[int, tuple[dict[str, Any], int]] = {}
        for number, parcel in enumerate(parcels):
            try:
                entry = address.entry(parcel)
                entries[number] = entry, check_size(entry)
            except ValueError as e:
                outcomes[number] = Outcome(REFUSED, str(e), reached=False, ends=address.ends)
        until = asyncio.get_running_loop().time() + self._client.deadline_s
        for request in requests_of(entries, self.batch, self.most_bytes):
            given = list(request.values())
            answer = await self._client.call(address.region, self.operation, until=until, Entries=given)
            outcomes.update(zip(request, outcomes_of(answer, len(given)), strict=True))
        target = f"{address.name} at {self._client.where(address.region)}"
        took = round((self._monotonic() - started) * 1000)
        return [
            msgspec.structs.replace(outcomes[n], duration_ms=took, target=target) for n in range(len(parcels))
        ]


class PartnerEventsSender(EntrySender):
    """Sends to `eventbridge` destinations by `PutPartnerEvents`."""

    operation = "put_partner_events"
    batch = MOST_ENTRIES
    most_bytes = MOST_BYTES

    def addressed(self, destination: Destination) -> Addressed:
        settings = msgspec.json.decode(destination.settings, type=EventBridgeSettings)
        return Addressed(settings.region, settings.source, lambda p: entry_of(p.body, settings.source))


def outcomes_of(answer: Answer, count: int) -> list[Outcome]:
    """What became of each of `count` entries."""
    if answer.value is None:
        failed = Outcome(answer.status, answer.error, answer.retry_after, reached=answer.reached)
        return [failed] * count
    told = answer.value.get("Entries")
    listed = told if isinstance(told, list) else []
    return [_outcome(listed[n] if n < len(listed) else None, answer.status) for n in range(count)]


def _outcome(entry: Any, status: int | None) -> Outcome:
    """What became of one entry, by its part of the answer."""
    if not isinstance(entry, Mapping) or not (entry.get("EventId") or entry.get("ErrorCode")):
        return Outcome(None, "the answer does not say what became of this entry")
    response = msgspec.json.encode(entry).decode()[:EXCERPT]
    code = entry.get("ErrorCode")
    if not code:
        return Outcome(status, response=response)
    return Outcome(
        _status_of(str(code), REFUSED), f"{code}: {entry.get('ErrorMessage', '')}"[:500], response=response
    )


def _status_of(code: str, sent: int | None) -> int | None:
    """The status that an error counts as: throttled, broken, or as it was sent."""
    return 429 if code.startswith(THROTTLED) else 500 if code.startswith(BROKEN) else sent


def words_of(error: BaseException) -> str:
    """An error for people."""
    return f"{type(error).__name__}: {error}"[:500]
