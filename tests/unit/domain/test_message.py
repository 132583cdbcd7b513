"""What subscribers are sent: Amazon's documents as they came, and messages of our own."""

import msgspec

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.instant import parse_instant
from milepost.domain.intent import Intent
from milepost.domain.message import TEST_DESCRIPTOR, amazon_document, render, trial_intent
from milepost.domain.record import Kind, Record

NOW = parse_instant("2025-01-20T12:34:56.789Z")
DETAIL = (
    b'{"eventDescriptor": "PACKAGE_DELIVERED",  "resources":["businessProduct/bp/order/o/delivery/d"],'
    b'"eventId":"e","idempotencyKey":"k","apiVersion":"2024-11-01","subscriptionId":"s",'
    b'"eventTime":"2025-01-20T12:34:56Z","data":{"n":1.50,"t":"\\u00e9"},"new":[1, 2]}'
)
BRIDGE = (
    b'{"version":"0","id":"i","detail-type":"PACKAGE_DELIVERED","source":"aws.partner/x","account":"1",'
    b'"time":"2025-01-20T12:34:56Z","region":"us-east-1","resources":["businessProduct/bp/order/o/delivery/d"],'
    b'"detail": %b}'
)
AMAZON = Destination("sub_1", "webhook", b"", form="amazon")
OWN = Destination("sub_2", "webhook", b"", form="milepost")


def record(kind: Kind, body: bytes, type: str = "PACKAGE_DELIVERED", product: str = "bp") -> Record:
    return Record(7, kind, product, type, NOW, NOW, "webhook", (), None, body)


def message(destination: Destination, **fields: object) -> Message:
    return Message(f"7-{destination.id}", destination.id, 7, "pending", 0, NOW, **fields)  # type: ignore[arg-type]


def test_what_came_by_webhook_goes_on_byte_for_byte() -> None:
    assert render(record("event", DETAIL), AMAZON, message(AMAZON)) == DETAIL


def test_of_what_came_by_eventbridge_the_detail_goes_on_as_it_stood() -> None:
    assert amazon_document(BRIDGE % DETAIL) == DETAIL


def test_the_oldest_documents_get_the_detail_that_they_had_not() -> None:
    body = BRIDGE % b'{"eventId":"e","data":{"n":1}}'
    made = parse_event(amazon_document(body))
    given = parse_event(body)
    assert (made.bridge, made.type, made.event_id) == (None, given.type, given.event_id)
    assert made.resources == given.resources


def test_a_message_of_ours_says_what_happened_and_when() -> None:
    intent = Intent("order.updated", NOW, "correction", {"orderId": "o"}, ("told/order/o",), "o")
    body = render(record("intent", msgspec.json.encode(intent), "order.updated"), OWN, message(OWN))
    assert msgspec.json.decode(body) == {
        "type": "order.updated",
        "timestamp": "2025-01-20T12:34:56.789Z",
        "version": "1",
        "businessProductId": "bp",
        "reason": "correction",
        "data": {"orderId": "o"},
    }


def test_only_a_replay_is_told_as_one() -> None:
    intent = record(
        "intent", msgspec.json.encode(Intent("order.updated", NOW, "new", {}, ())), "order.updated"
    )
    plain = render(intent, OWN, message(OWN))
    assert render(intent, OWN, message(OWN, manual=True, fence=3)) == plain
    again = render(intent, OWN, message(OWN, replay="rpl_1"))
    assert again == plain.replace(b'"reason":"new"', b'"reason":"replay"')


def test_a_test_message_is_of_no_type_that_anybody_handles() -> None:
    for product in ("bp", ""):
        about = record("intent", msgspec.json.encode(trial_intent("sub_1", NOW)), "test", product)
        assert msgspec.json.decode(render(about, OWN, message(OWN)))["type"] == "test"
        event = parse_event(render(about, AMAZON, message(AMAZON)))
        assert event.descriptor == TEST_DESCRIPTOR
        assert event.event_id == event.idempotency_key == "7-sub_1"
