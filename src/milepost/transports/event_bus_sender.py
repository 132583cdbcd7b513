"""Sending to a custom event bus of Amazon EventBridge by `PutEvents`: destinations of kind `eventBus`.

Their settings are `domain.subscriber.EventBusSettings`. An event's detail is the message: Amazon's document under
Amazon's name of the event (`detail-type`), or a message of Milepost's with its id put in front, since no header
carries it here; `source` is `milepost` unless the settings say another, and never begins with `aws.`.

A call takes up to ten entries. What the entries of one call have together is kept at 256 KiB, which every region
takes; one that is larger goes alone, up to a MiB, and what is larger still fails alone. The answer is entry by entry,
so only those that failed are sent again. Region and credentials are AWS's own; the client is `eventbridge`'s.
"""

from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination, Form
from milepost.domain.instant import parse_instant, to_datetime
from milepost.domain.subscriber import EventBusSettings
from milepost.pipeline.sending import Parcel
from milepost.transports.eventbridge import Addressed, EntrySender, entry_of

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


class EventBusSender(EntrySender):
    """Sends to `eventBus` destinations."""

    operation = "put_events"
    batch = MOST_ENTRIES
    most_bytes = MOST_BYTES

    def addressed(self, destination: Destination) -> Addressed:
        settings = msgspec.json.decode(destination.settings, type=EventBusSettings)
        form = destination.form
        return Addressed(settings.region, settings.bus, lambda p: bus_entry(p, form, settings), ends=True)
