"""Sending to a custom event bus of Amazon EventBridge by `PutEvents`: destinations of kind `eventBus`.

Their settings are `domain.subscriber.EventBusSettings`. An event's detail is the message: Amazon's document under
Amazon's name of the event (`detail-type`), or a message of Milepost's with its id put in front, since no header
carries it here; `source` is `milepost` unless the settings say another, and never begins with `aws.`.

A call takes up to ten entries. What the entries of one call have together is kept at 256 KiB, which every region
takes; one that is larger goes alone, up to a MiB, and what is larger still fails alone. The answer is entry by entry,
so only those that failed are sent again. Region and credentials are AWS's own; the client is `eventbridge`'s.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination, Form
from milepost.domain.instant import parse_instant, to_datetime
from milepost.domain.subscriber import EventBusSettings
from milepost.pipeline.sending import Outcome, Parcel
from milepost.transports.eventbridge import (
    REFUSED,
    EventBridgeClient,
    check_size,
    entry_of,
    outcomes_of,
    requests_of,
    words_of,
)

MOST_ENTRIES = 10
MOST_BYTES = 256 * 1024


class _Own(Struct):
    """What an entry takes out of a message of Milepost's."""

    type: str
    timestamp: str


def bus_entry(parcel: Parcel, form: Form, settings: EventBusSettings) -> dict[str, Any]:
    """The `PutEvents` entry of a message. Raises `ValueError` for what is none."""
    body = parcel.body
    if form == "amazon":
        entry = entry_of(body, settings.source)
    else:
        try:
            own = msgspec.json.decode(body, type=_Own)
        except msgspec.DecodeError as e:
            raise ValueError(f"the body is not a message: {e}") from e
        entry = {
            "Time": to_datetime(parse_instant(own.timestamp)),
            "Source": settings.source,
            "DetailType": own.type,
            "Detail": f'{{"id":{msgspec.json.encode(parcel.message.id).decode()},{body[1:].decode()}',
        }
    return {**entry, "EventBusName": settings.bus}


class EventBusSender:
    """Sends to `eventBus` destinations. Its client is opened and closed by others."""

    batch = MOST_ENTRIES

    def __init__(self, client: EventBridgeClient, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        """One request, or as many as the parcels' size takes, within one deadline."""
        started = self._monotonic()
        try:
            settings = msgspec.json.decode(destination.settings, type=EventBusSettings)
        except msgspec.DecodeError as e:
            return [Outcome(None, words_of(e), reached=False)] * len(parcels)
        outcomes: dict[int, Outcome] = {}
        entries: dict[int, tuple[dict[str, Any], int]] = {}
        for number, parcel in enumerate(parcels):
            try:
                entry = bus_entry(parcel, destination.form, settings)
                entries[number] = entry, check_size(entry)
            except ValueError as e:
                outcomes[number] = Outcome(REFUSED, str(e), reached=False, ends=True)
        until = asyncio.get_running_loop().time() + self._client.deadline_s
        for request in requests_of(entries, MOST_ENTRIES, MOST_BYTES):
            given = list(request.values())
            answer = await self._client.call(settings.region, "put_events", until=until, Entries=given)
            outcomes.update(zip(request, outcomes_of(answer, len(given)), strict=True))
        target = f"{settings.bus} at {self._client.where(settings.region)}"
        took = round((self._monotonic() - started) * 1000)
        return [
            msgspec.structs.replace(outcomes[n], duration_ms=took, target=target) for n in range(len(parcels))
        ]
