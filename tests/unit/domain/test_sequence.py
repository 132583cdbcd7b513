"""What a record is about, for those who are told one thing after the other."""

import msgspec
import pytest

from milepost.domain.instant import Instant
from milepost.domain.intent import Intent
from milepost.domain.record import Kind, Record, told_subject
from milepost.domain.sequence import sequence_of

AT = Instant(0)


def record(kind: Kind, body: bytes) -> Record:
    return Record(1, kind, "bp-1", "t", AT, AT, "test", (), None, body)


def event(*resources: str) -> bytes:
    return msgspec.json.encode(
        {
            "idempotencyKey": "k",
            "eventDescriptor": "PACKAGE_DELIVERED",
            "resources": [f"businessProduct/bp-1{r}" for r in resources],
            "eventId": "e",
            "apiVersion": "2024-11-01",
            "eventTime": "2025-01-20T12:34:56Z",
            "data": {},
        }
    )


@pytest.mark.parametrize(
    ("resources", "sequence"),
    [
        (("/order/o-1/delivery/d-1",), "bp-1/order/o-1"),
        (("/carrier/UPS/tracker/1Z",), "bp-1/tracker/ups/1Z"),
        (("/order/o-1/carrier/UPS/tracker/1Z",), "bp-1/order/o-1"),
        (("/carrier/UPS/tracker/1Z", "/order/o-1"), "bp-1/order/o-1"),
        (("/catalogItem/x",), ""),
    ],
)
def test_events(resources: tuple[str, ...], sequence: str) -> None:
    assert sequence_of(record("event", event(*resources))) == sequence


@pytest.mark.parametrize("subject", ["order/o-1", "tracker/ups/1Z"])
def test_intents_are_in_line_with_events(subject: str) -> None:
    intent = Intent("order.updated", AT, "new", {}, (told_subject(subject),))
    assert sequence_of(record("intent", msgspec.json.encode(intent))) == f"bp-1/{subject}"


def test_what_is_about_nothing_is_in_no_sequence() -> None:
    assert sequence_of(record("intent", b'{"type":"test"}')) == ""
