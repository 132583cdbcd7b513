"""What a subscriber is sent: the bytes of a record in the form that it asked for.

- Form `amazon`: the webhook document as Amazon sends it, so that a handler written for Buy with Prime works
  unchanged. What came by webhook goes on byte for byte; of what came by EventBridge its `detail`, as it stood there.
- Form `milepost`: a message of our own, by Standard Webhooks (event-delivery.md 6): `type`, `timestamp` of the fact,
  `data`, and beside them `version`, `businessProductId` and `reason`. What stands in `data` is `telling`'s to decide
  and `message_schema`'s to describe.

The same message is rendered the same at every attempt, but for one that a replay asked for: its `reason` says so. A
test message has nothing to do with any order; a handler of either form passes over a type that it does not know.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import format_webhook, parse_event
from milepost.domain.instant import Instant, format_instant
from milepost.domain.intent import TEST, VERSION, Intent, Reason, decode
from milepost.domain.record import Record

TEST_DESCRIPTOR: Final = "MILEPOST_TEST"
"""The type of a test message to a subscriber who wants Amazon's events: none of theirs."""
_NEWEST_API: Final = "2024-11-01"


_ALONE: Final = frozenset(("eventDescriptor", "resources", "eventTime"))
"""What a detail says that can stand without its envelope."""
_keys = msgspec.json.Decoder(dict[str, Raw]).decode


class Body(Struct, rename="camel"):
    """A message of the form `milepost`, as it is sent."""

    type: str
    timestamp: str
    version: str
    business_product_id: str
    reason: Reason
    data: Raw | dict[str, Any]


class _Detailed(Struct):
    detail: Raw = Raw()


def render(record: Record, destination: Destination, message: Message) -> bytes:
    """The bytes to send of a record to a subscriber."""
    if record.kind != "intent":
        return amazon_document(record.body)
    intent = decode(record.body)
    if destination.form == "amazon":
        return _amazon_test(record, intent, message)
    return told(record.business_product_id, intent, is_replay=message.replay != "")


def told(business_product_id: str, intent: Intent, *, is_replay: bool = False) -> bytes:
    """An intent as the message that subscribers get."""
    return msgspec.json.encode(
        Body(
            intent.type,
            format_instant(intent.at),
            VERSION,
            business_product_id,
            "replay" if is_replay else intent.reason,
            intent.data,
        )
    )


def amazon_document(body: bytes) -> bytes:
    """The webhook document of an event's body, whichever road it came by."""
    event = parse_event(body)
    if event.bridge is None:
        return body
    detail = bytes(msgspec.json.decode(body, type=_Detailed).detail)
    # The oldest EventBridge documents say in the envelope what their detail leaves out.
    return detail if _keys(detail).keys() >= _ALONE else format_webhook(event)


def trial_intent(destination_id: str, at: Instant) -> Intent:
    """A test message to one subscriber: about nothing, so that nothing but its position leads to it."""
    return Intent(TEST, at, "new", {"subscriberId": destination_id}, ())


def _amazon_test(record: Record, intent: Intent, message: Message) -> bytes:
    """A test in Amazon's envelope, of a type that Amazon has not."""
    resource = f"businessProduct/{record.business_product_id or 'test'}"
    return msgspec.json.encode(
        {
            "idempotencyKey": message.id,
            "eventDescriptor": TEST_DESCRIPTOR,
            "resources": [resource],
            "eventId": message.id,
            "apiVersion": _NEWEST_API,
            "subscriptionId": message.destination_id,
            "eventTime": format_instant(intent.at),
            "data": {},
        }
    )
