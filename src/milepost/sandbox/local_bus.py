"""The local bus: the sandbox in the part of Amazon EventBridge, for whoever has none to point at.

An event for a source with a target is posted there as the EventBridge document, as a rule with an API
destination does it at AWS (aws.md 1): the same keys in the same order, its headers, its five seconds, one
of its three kinds of authentication. An event for a source without one is dropped, as AWS drops it; its attempt
says so, and nothing counts as delivered. A resend after the association arrives.

`id` is the event's `eventId`, as the event pages say. With minted ids it is a UUID of its own, as at AWS: the
same for every retry of a message, another one when the partner sends it again. When to retry is the
publisher's; how bytes travel is the webhook sender's.
"""

import uuid
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import format_eventbridge, parse_event
from milepost.domain.errors import Malformed
from milepost.pipeline.sending import Outcome, Parcel
from milepost.sandbox import event_sources
from milepost.sandbox.event_sources import EventSource, Target
from milepost.sandbox.events import bridge_of
from milepost.sandbox.world import dice
from milepost.store import Store, Transaction
from milepost.transports.eventbridge import REFUSED, EventBridgeSettings, check_size, entry_of
from milepost.transports.webhook_sender import AuthConfig, Pair, WebhookSender, WebhookSettings

DEADLINE_S = 5.0
"""The client timeout of an API destination."""
HEADERS = (
    Pair("Content-Type", "application/json; charset=utf-8"),
    Pair("User-Agent", "Amazon/EventBridge/ApiDestinations"),
    Pair("Range", "bytes=0-1048575"),
    Pair("Accept-Encoding", "gzip,deflate"),
    Pair("Connection", "close"),
)
_FROM_THE_FIRST = (0, 0, "")
_PAGE = 500


class _Way(Struct, frozen=True):
    """What the store says about sending a message: its source, and how often it was sent again by hand."""

    source: EventSource | None
    resends: int


class LocalBus:
    """Sends to `eventbridge` destinations by posting to what is associated with their event sources."""

    batch = 1

    def __init__(self, store: Store, post: WebhookSender, *, seed: int, mint_ids: bool = False) -> None:
        """`post` is opened and closed by others; its deadline should be `DEADLINE_S`. Minted ids follow from
        `seed` and the message, so that a restart changes none."""
        self._store = store
        self._post = post
        self._seed = seed
        self._mint_ids = mint_ids

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        return [await self._send(destination, parcel) for parcel in parcels]

    async def _send(self, destination: Destination, parcel: Parcel) -> Outcome:
        try:
            settings = msgspec.json.decode(destination.settings, type=EventBridgeSettings)
            check_size(entry_of(parcel.body, settings.source))
        except (ValueError, msgspec.DecodeError) as e:
            return Outcome(REFUSED, str(e), reached=False)
        way = await self._store.read(lambda tx: _way(tx, settings.source, parcel.message))
        source = way.source
        if source is None or source.deleted:
            return _dropped(settings.source, "is DELETED: what is sent to it reaches no rule")
        if source.target is None:
            return _dropped(
                source.name,
                "is PENDING: nothing is associated with it, so the event was dropped, as AWS drops it; POST "
                "/sandbox/event-sources associates a URL, and a resend then arrives",
            )
        event_id = self._minted(parcel.message, way.resends) if self._mint_ids else ""
        try:
            document = bus_document(parcel.body, settings, event_id)
        except Malformed as e:
            return Outcome(REFUSED, e.detail, reached=False, target=source.name)
        posting = Destination(destination.id, "webhook", msgspec.json.encode(_settings(source.target)))
        (outcome,) = await self._post.send(posting, [Parcel(parcel.message, document)])
        return outcome

    def _minted(self, message: Message, resends: int) -> str:
        draw = dice(self._seed, "bus", message.id, resends)
        return str(uuid.UUID(int=draw.getrandbits(128), version=4))


def bus_document(body: bytes, settings: EventBridgeSettings, event_id: str = "") -> bytes:
    """The EventBridge document around a webhook body, key for key in the seeds' order. Without `event_id` its
    `id` is the event's. Raises `Malformed` for a body that is no event."""
    event = parse_event(body)
    bridge = bridge_of(event, settings.source, settings.account, settings.region, event_id)
    return format_eventbridge(event, bridge)


def _dropped(name: str, why: str) -> Outcome:
    """Nobody gets it, now or later; a resend is a new event to AWS, and may find another state."""
    return Outcome(REFUSED, f"{name} {why}", reached=False, target=name, ends=True)


def _settings(target: Target) -> WebhookSettings:
    """How an API destination with this connection posts."""
    key = () if target.api_key_config is None else (target.api_key_config,)
    auth = AuthConfig(target.basic_auth_config, target.oauth)
    return WebhookSettings(target.url, auth=auth, headers=(*HEADERS, *key))


def _way(tx: Transaction, name: str, message: Message) -> _Way:
    resends = int(message.manual)
    after: tuple[int, int, str] = _FROM_THE_FIRST
    while page := tx.attempts.attempts(after, _PAGE, message.id):
        resends += sum(attempt.manual for attempt in page)
        after = (page[-1].started_at, page[-1].number, message.id)
    return _Way(event_sources.get(tx, name), resends)
