"""Redaction: nothing that is not listed survives, and every fold says the same of what is left."""

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    MILESTONE,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    event,
    fold,
    order_answer,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.capture import Capture, Transition, capture_id
from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant
from milepost.domain.intent import Intent
from milepost.domain.notification import Notification
from milepost.domain.notification import Transition as Step
from milepost.domain.record import (
    ConditionChange,
    Correction,
    Note,
    Record,
    Settlement,
    Withdrawal,
    identity_hashes,
    subjects_of,
)
from milepost.domain.redaction import NOTHING, redact, redact_capture, redact_notification

CANARY = "Canary Quackenbush 4711"
AT = Instant(1_737_376_496_000)

ODD: tuple[Any, ...] = (
    None,
    True,
    10**30,
    -1.5,
    CANARY,
    [CANARY, {"code": CANARY}],
    {"id": CANARY, CANARY: 1, "": []},
    [],
)
"""What may stand in a field that nobody listed."""
NAMES = ("nickname", "street", "x-" + CANARY, "phone", "message", "")


def spoiled(random: Random, value: Any) -> Any:
    """A document with fields added anywhere that nobody listed."""
    if isinstance(value, list):
        return [spoiled(random, each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: spoiled(random, each) for name, each in value.items()}
    return made | {random.choice(NAMES): random.choice(ODD) for _ in range(random.randrange(3))}


PACKAGE = package(
    BOX,
    "IN_TRANSIT",
    reason="UNDELIVERABLE",
    tracker=UPS,
    items=(("item-1", "2"), ("item-2", None)),
    trackingUrl=f"https://carrier.example/{CANARY}",
    milestones=[
        scan("IN_TRANSIT", "2025-01-20T15:00:00Z"),
        scan("OutForDelivery", "2025-01-21T08:00:00-05:00"),
    ],
    estimatedDeliveryDate={"earliest": "2025-01-21", "latest": "2025-01-22"},
)
FULL: dict[str, Any] = {
    "id": ORDER,
    "aliases": [{"aliasId": "M-1001", "aliasType": "ORDER"}],
    "customer": {"contact": {"name": CANARY, "email": f"{CANARY}@example.com"}},
    "metadata": {"createdAt": "2025-01-19T00:00:00Z"},
    "recipients": [
        {"shippingAddress": {"region": CANARY, "countryCode": CANARY, "postalCode": CANARY}},
        {
            "shippingAddress": {"streetAddress": CANARY, "region": "Nevada", "countryCode": "US"},
            "name": CANARY,
        },
    ],
    "totalPrice": {"value": {"amount": "12.50", "currencyCode": "USD"}},
    "payments": {"summary": {"state": "AUTHORIZED", "paymentMethodDisplayString": CANARY}},
    "lineItems": [{"id": "item-1", "amount": {"unit": "ONE", "value": 2}, "product": {"title": "Mug"}}],
    "packageInformation": {"details": [PACKAGE]},
}


def redacted(arrived: Arrived) -> Arrived:
    return replace(arrived, body=redact(arrived.body, arrived.kind))


def record(arrived: Arrived, position: int = 1) -> Record:
    return Record(
        position,
        arrived.kind,
        BP,
        arrived.type,
        AT,
        arrived.published_at,
        arrived.road,
        (),
        None,
        arrived.body,  # type: ignore[arg-type]
    )


def without(document: Any) -> Any:
    """A view without what an erasure takes."""
    if isinstance(document, list):
        return [without(each) for each in document]
    if isinstance(document, dict):
        gone = ("customer", "trackingUrl", "message", "messages", "locale")
        return {name: without(each) for name, each in document.items() if name not in gone}
    return document


@pytest.mark.parametrize("seed", range(60))
def test_whatever_stands_in_bodies_the_same_follows_from_them_and_no_canary_is_left(seed: int) -> None:
    print(f"seed {seed}")
    random = Random(seed)
    road = random.choice(["webhook", "eventbridge"])
    answer = order_answer("2025-01-21T09:00:00Z")
    snapshot = msgspec.json.decode(answer.body) | {"answer": spoiled(random, FULL)}
    tracker = tracker_answer("2025-01-21T10:00:00Z", UPS, scan("IN_TRANSIT", "2025-01-20T15:00:00Z"))
    seen = msgspec.json.decode(tracker.body)
    seen["answer"] = spoiled(random, seen["answer"])
    data = {"order": spoiled(random, FULL), "who": CANARY}
    arrived = [
        event(SHIPPED, "2025-01-20T14:00:00Z", road=road),
        event(DELIVERED, "2025-01-22T10:00:00Z", data=data, road=road),
        event(MILESTONE, "2025-01-21T01:00:00Z", tracker=UPS),
        replace(answer, body=msgspec.json.encode(snapshot)),
        replace(tracker, body=msgspec.json.encode(seen)),
    ]
    left = [redacted(each) for each in arrived]
    for before, after in zip(arrived, left, strict=True):
        assert b"quackenbush" not in after.body.lower()
        assert redact(after.body, after.kind) == after.body
        assert subjects_of(record(after)) == subjects_of(record(before))
        if before.kind == "event":
            assert identity_hashes(parse_event(after.body)) == identity_hashes(parse_event(before.body))
            assert parse_event(after.body).published_at == parse_event(before.body).published_at
    now, then = fold(*left), fold(*arrived)
    assert without(now.document) == without(then.document)
    assert {t: without(v.document) for t, v in now.trackers.items()} == {
        t: without(v.document) for t, v in then.trackers.items()
    }


@pytest.mark.parametrize(
    "body", [b"", b"\xff\x00", b'"\\ud800"', b"{", b"1e999", b"[" * 100_000, *map(msgspec.json.encode, ODD)]
)
def test_a_quarantined_body_of_any_kind_loses_all_that_cannot_be_read(body: bytes) -> None:
    assert redact(body, "quarantine") == NOTHING


def test_a_quarantined_body_that_can_be_read_by_now_can_still_be_let_out() -> None:
    body = event(DELIVERED, "2025-01-22T10:00:00Z", data={"order": {"id": ORDER, "name": CANARY}}).body
    left = redact(body, "quarantine")
    assert parse_event(left).decoded_data() == {"order": {"id": ORDER}}


def test_fields_that_nobody_documented_go_whatever_they_are_called() -> None:
    body = msgspec.json.decode(event(SHIPPED, "2025-01-20T14:00:00Z", road="eventbridge").body)
    body[CANARY] = body["detail"]["nickname"] = [CANARY]
    left = redact(msgspec.json.encode(body), "event")
    assert CANARY.encode() not in left
    assert parse_event(left).bridge is not None


def test_a_correction_keeps_what_was_told_and_when_and_not_why() -> None:
    about = (f"order/{ORDER}", f"delivery/{BOX}")
    told = Correction("cor_1", about[1], ORDER, "DELIVERED", "2025-01-20T10:00:00Z", AT, "ada", CANARY, about)
    left = redact(msgspec.json.encode(told), "correction")
    assert msgspec.json.decode(left, type=Correction) == replace(told, reason="")
    end = Withdrawal("cor_1", "withdrawn", AT, "ben", about, CANARY)
    left = redact(msgspec.json.encode(end), "withdrawal")
    assert msgspec.json.decode(left, type=Withdrawal) == replace(end, reason="")


def test_a_note_keeps_who_and_when() -> None:
    body = msgspec.json.encode(Note(ORDER, CANARY, "agent-7", AT, ("noted/order/1",), BOX))
    assert msgspec.json.decode(redact(body, "note"), type=Note) == Note(
        ORDER, "", "agent-7", AT, ("noted/order/1",), BOX
    )


def test_of_what_milepost_wrote_what_is_not_listed_is_null() -> None:
    told = {"carrierCode": "ups", "trackingUrl": CANARY, "milestones": [{"code": "LOST", "message": CANARY}]}
    intent = Intent("tracker.updated", AT, "new", told, ("told/order/1",))
    left = msgspec.json.decode(redact(msgspec.json.encode(intent), "intent"), type=Intent)
    assert left.data == {
        "carrierCode": "ups",
        "trackingUrl": None,
        "milestones": [{"code": "LOST", "message": None}],
    }
    change = ConditionChange("order/1", "STALLED", True, AT, ("order/1",), {"businessDays": 4, "who": CANARY})
    left_change = msgspec.json.decode(redact(msgspec.json.encode(change), "condition"), type=ConditionChange)
    assert left_change.evidence == {"businessDays": 4, "who": None}
    settlement = Settlement(3, "gaveUp", AT, 9, CANARY, ("order/1",))
    assert CANARY.encode() not in redact(msgspec.json.encode(settlement), "settlement")


def test_ledgers_lose_the_words_of_people_and_keep_what_the_hub_wrote() -> None:
    steps = (Transition(AT, "HELD", "projector", "contradiction"), Transition(AT, "VOID", "key_1", CANARY))
    capture = Capture(capture_id(BP, ORDER, BOX), BP, ORDER, BOX, "VOID", AT, (), (), steps, reason=CANARY)
    left = redact_capture(capture)
    assert (left.reason, [step.reason for step in left.history]) == ("", ["contradiction", ""])
    assert redact_capture(left) == left
    held = replace(capture, state="HELD", reason="contradiction", history=steps[:1])
    assert redact_capture(held) == held
    by_rule = Step(AT, "SUPPRESSED", "notifier", 13, "quiet hours")
    made = Notification(
        "ntf_1", BP, ORDER, BOX, "delivered", "", "SUPPRESSED", AT, AT, AT, (by_rule,), 13, "quiet hours",
        {"stage": "DELIVERED", "name": CANARY}, recipient="hash",
    )  # fmt: skip
    notification = redact_notification(made)
    assert (notification.reason, notification.recipient) == ("quiet hours", "")
    assert notification.data == {"stage": "DELIVERED", "name": None}
