"""The analytics feed: columns are documented and cells fit them, rows of a record never change, nobody is named."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.domain.history import BP

from milepost.domain.accounting import Entry, entry_id
from milepost.domain.capture import Capture, Transition, capture_id
from milepost.domain.feed import DATASETS, ROWS_VERSION, ColumnType, Dataset, Row
from milepost.domain.feed_facts import MAPPED, fact_rows
from milepost.domain.feed_rows import (
    capture_row,
    delivery_row,
    entry_row,
    milestone_rows,
    notification_row,
    order_row,
    tracker_row,
)
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.mapping import NOTHING, STANDARD, CodeMapping
from milepost.domain.mapping import Entry as Code
from milepost.domain.milestone import CONDITION_OF, STAGE_OF
from milepost.domain.notification import Notification
from milepost.domain.record import Authorization, ConditionChange, Record, Settlement, Snapshot

PAGE = Path(__file__).parents[3] / "docs" / "exports.md"
AT = parse_instant("2025-01-20T12:00:00Z")
ADA = {"contact": {"name": "Ada Lovelace", "email": "ada@example.com"}}
CANARIES = ("Ada", "ada@", "12 Canary Street", "98101", "Seattle", "left with", "Kettle", "recipient-of")
TYPES: dict[ColumnType, type | tuple[type, ...]] = {
    "integer": int,
    "boolean": bool,
    "instant": int,
    "date": str,
    "text": str,
    "code": str,
}


def record(kind: str, body: object, **more: Any) -> Record:
    given: dict[str, Any] = {"position": 7, "type": "t", "road": "webhook", "origin": None} | more
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    times = Instant(AT + 2_000), AT
    return Record(
        given["position"],
        kind,
        BP,
        given["type"],
        *times,
        given["road"],
        (),
        given["origin"],
        raw,  # type: ignore[arg-type]
    )


def event(type: str, *resources: str, data: dict[str, Any] | None = None, **more: Any) -> Record:
    body = {
        "idempotencyKey": "key-1",
        "eventDescriptor": type,
        "resources": [f"businessProduct/{BP}/{resource}" for resource in resources],
        "eventId": "event-1",
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription-1",
        "eventTime": "2025-01-20T12:00:00Z",
        "data": data or {},
    }
    return record(more.pop("kind", "event"), body, **more)


def milestone(code: str, when: str | None) -> dict[str, Any]:
    return {
        "status": {"code": code, "message": [{"locale": "en-US", "value": "left with the neighbour"}]},
        "occurredAt": when,
        "address": {
            "line1": "12 Canary Street",
            "postalCode": "98101",
            "locality": "Seattle",
            "region": "WA",
            "country": "US",
        },
    }


def tracker(*milestones: dict[str, Any]) -> dict[str, Any]:
    return {
        "packageTrackerIdentifier": {"trackingNumber": "1Z999", "carrierCode": "UPS"},
        "trackingUrl": "https://track.example/ada@example.com",
        "estimatedDeliveryDate": {"earliest": "2025-01-22", "latest": "2025-01-23T23:00:00-08:00"},
        "milestones": list(milestones),
    }


def order(*packages: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "order-1",
        "customer": ADA,
        "packageInformation": {"details": list(packages)},
        "lineItems": [{"id": "item-1", "product": {"title": "Kettle"}}],
    }


def package(state: str, carried: dict[str, Any] | None, reason: str | None = None) -> dict[str, Any]:
    return {"id": "delivery-1", "state": state, "reason": reason, "packageTracker": carried}


def snapshot(query: str, answer: dict[str, Any] | None, **about: Any) -> Record:
    asked = Snapshot(query, AT, Instant(AT + 1_000), answer, **about)  # type: ignore[arg-type]
    return record("snapshot", asked, type=query, road="hydration")


def cells(dataset: str, row: Row) -> dict[str, Any]:
    """What a row says, by column, without what it says nothing of; every cell is of its column's type."""
    columns = DATASETS[dataset].columns
    found: dict[str, Any] = {}
    for column, cell in zip(columns, row, strict=True):
        if cell is None:
            continue
        assert isinstance(cell, TYPES[column.type]), column
        assert isinstance(cell, bool) == (column.type == "boolean"), column
        if column.type == "date":
            date.fromisoformat(str(cell))
        found[column.name] = format_instant(cell) if column.type == "instant" else cell  # type: ignore[arg-type]
    assert not [canary for canary in CANARIES if canary in repr(found)]
    return found


def facts(of: Record) -> list[dict[str, Any]]:
    """The rows of a record without what all of them share."""
    shared = {"position", "part", "record", "businessProductId", "receivedAt", "road", "mappingVersion"}
    rows = fact_rows(of)
    assert rows == fact_rows(of)
    assert [row[:2] for row in rows] == [(of.position, part) for part in range(len(rows))]
    listed = [cells("facts", row) for row in rows]
    assert all(
        (c["record"], c["receivedAt"], c["road"]) == (of.kind, "2025-01-20T12:00:02Z", of.road)
        for c in listed
    )
    return [{name: cell for name, cell in row.items() if name not in shared} for row in listed]


# ── Columns ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda d: d.name)
def test_the_page_documents_every_column(dataset: Dataset) -> None:
    """docs/exports.md has for each dataset what the code has: names, types and meanings, in this order."""
    text = PAGE.read_text("utf-8")
    section = re.search(rf"^### `{dataset.name}`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, dataset.name
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section[1], re.MULTILINE)
    assert listed == [(column.name, column.type, column.text) for column in dataset.columns]
    assert dataset.text in section[1]


def test_the_page_names_no_other_dataset_and_the_mapping_that_holds() -> None:
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^### `(\w+)`$", text, re.MULTILINE) == list(DATASETS)
    assert f"That version is {ROWS_VERSION}." in text


def test_names_of_columns_are_unique_and_say_something() -> None:
    for dataset in DATASETS.values():
        names = [column.name for column in dataset.columns]
        assert len(set(names)) == len(names)
        assert all(column.type in TYPES and column.text for column in dataset.columns)


def test_what_amazons_codes_mean_is_version_1() -> None:
    """What Amazon's codes are taken to mean; whoever changes it changes `domain.mapping`'s version 1, and this."""
    assert STANDARD.version == 1
    assert {**STAGE_OF, **CONDITION_OF} == MAPPED
    assert sorted(MAPPED.items()) == [
        ("AVAILABLE_FOR_PICKUP", "AVAILABLE_FOR_PICKUP"),
        ("CUSTOMER_ACTION", "CUSTOMER_ACTION"),
        ("DELAYED", "DELAYED"),
        ("DELIVERED", "DELIVERED"),
        ("DELIVERY_ATTEMPTED", "ATTEMPT_FAILED"),
        ("EXCEPTION", "EXCEPTION"),
        ("INFO_RECEIVED", "INFO_RECEIVED"),
        ("IN_TRANSIT", "IN_TRANSIT"),
        ("LOST", "LOST"),
        ("OUT_FOR_DELIVERY", "OUT_FOR_DELIVERY"),
        ("PENDING", "PENDING"),
        ("RETURN_TO_SENDER", "RETURNING"),
        ("UNDELIVERABLE", "UNDELIVERABLE"),
    ]


# ── Facts ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_claims_something_of_each_of_its_resources() -> None:
    of = event("PACKAGE_DELIVERED", "order/order-1/delivery/delivery-1")
    claim = {"kind": "claim", "code": "PACKAGE_DELIVERED", "eventId": "event-1"}
    claim |= {"publishedAt": "2025-01-20T12:00:00Z"}
    assert facts(of) == [claim | {"orderId": "order-1", "deliveryId": "delivery-1"}]
    two = event("PACKAGE_DELIVERED", "order/o-2/delivery/d-2", "carrier/UPS/tracker/1Z9")
    assert facts(two) == [
        claim | {"orderId": "o-2", "deliveryId": "d-2"},
        claim | {"carrierCode": "UPS", "trackingNumber": "1Z9"},
    ] or facts(two) == [
        claim | {"carrierCode": "UPS", "trackingNumber": "1Z9"},
        claim | {"orderId": "o-2", "deliveryId": "d-2"},
    ]


def test_what_an_event_carries_is_seen_when_it_was_published() -> None:
    carried = order(package("DELIVERED", tracker(milestone("DELIVERED", "2025-01-20T23:30:00-08:00"))))
    of = event("PACKAGE_DELIVERED", "order/order-1/delivery/delivery-1", data={"order": carried})
    claim, delivery, estimate, scan = facts(of)
    assert claim["kind"] == "claim"
    assert (delivery["kind"], delivery["code"], delivery["shownBy"]) == ("delivery", "DELIVERED", "data")
    assert (estimate["earliest"], estimate["latest"]) == ("2025-01-22", "2025-01-23")
    assert scan == {
        "kind": "milestone",
        "code": "DELIVERED",
        "mapped": "DELIVERED",
        "orderId": "order-1",
        "deliveryId": "delivery-1",
        "carrierCode": "UPS",
        "trackingNumber": "1Z999",
        "occurredAt": "2025-01-21T07:30:00Z",
        "localDate": "2025-01-20",
        "zone": "offset-explicit",
        "publishedAt": "2025-01-20T12:00:00Z",
        "observedAt": "2025-01-20T12:00:00Z",
        "region": "WA",
        "country": "US",
        "shownBy": "data",
        "eventId": "event-1",
    }


def test_an_answer_shows_what_it_shows() -> None:
    scans = (milestone("PACKAGE_RECEIVED_BY_DRONE", "2025-01-20"), milestone("DELIVERY_ATTEMPTED", None))
    of = snapshot("packageTracker", tracker(*scans), carrier_code="ups", tracking_number="1Z999")
    answer, estimate, drone, attempt = facts(of)
    seen = {"observedAt": "2025-01-20T12:00:01Z", "shownBy": "packageTracker"}
    named = {"carrierCode": "ups", "trackingNumber": "1Z999"}
    assert answer == {"kind": "answer", "code": "packageTracker", **named, **seen}
    assert estimate["kind"] == "estimate"
    assert "mapped" not in drone
    assert (drone["code"], drone["localDate"], drone["zone"]) == (
        "PACKAGE_RECEIVED_BY_DRONE",
        "2025-01-20",
        "date-only",
    )
    assert attempt["mapped"] == "ATTEMPT_FAILED"
    assert "occurredAt" not in attempt
    assert "publishedAt" not in attempt


def test_a_code_is_mapped_by_the_version_that_is_given_and_the_row_says_which() -> None:
    """Amazon's own codes mean what they say; a carrier's own entry goes before that of every carrier."""
    codes = ("BY_DRONE", "SAID_NOTHING", "DELIVERED", "ODD")
    scans = [milestone(code, "2025-01-20T12:00:00Z") for code in codes]
    of = snapshot("packageTracker", tracker(*scans), carrier_code="UPS", tracking_number="1Z999")
    entries = (Code("BY_DRONE", "LOST"), Code("BY_DRONE", "OUT_FOR_DELIVERY", "ups"))
    entries += (Code("SAID_NOTHING", NOTHING), Code("DELIVERED", "LOST"))
    rows = [cells("facts", row) for row in fact_rows(of, CodeMapping(3, entries))]
    assert {row["mappingVersion"] for row in rows} == {3}
    mapped = {row["code"]: row.get("mapped") for row in rows if row["kind"] == "milestone"}
    assert mapped == {
        "BY_DRONE": "OUT_FOR_DELIVERY",
        "SAID_NOTHING": None,
        "DELIVERED": "DELIVERED",
        "ODD": None,
    }


def test_an_answer_that_shows_nothing_is_a_row_too() -> None:
    (answer,) = facts(snapshot("packageTracker", None, carrier_code="UPS", tracking_number="1Z"))
    assert (answer["kind"], answer["reason"]) == ("answer", "nothing")
    _, cancelled = facts(
        snapshot("order", order(package("CANCELLED", None, "UNDELIVERABLE")), order_id="order-1")
    )
    assert (cancelled["code"], cancelled["reason"]) == ("CANCELLED", "UNDELIVERABLE")


def test_what_milepost_found_out_itself_has_rows() -> None:
    evidence = {"kind": "late", "text": "ada@example.com"}
    about = ("order/order-1", "delivery/delivery-1")
    change = ConditionChange("delivery/delivery-1", "LATE", True, AT, about, evidence)
    at = {"occurredAt": "2025-01-20T12:00:00Z", "publishedAt": "2025-01-20T12:00:00Z"}
    (row,) = facts(record("condition", change, road="sweeper"))
    named = {"orderId": "order-1", "deliveryId": "delivery-1"}
    assert row == {"kind": "condition", "code": "LATE", "raised": True, "reason": "late", **named, **at}
    settled = Settlement(3, "gaveUp", AT, 9, "ada@example.com was not found", ("tracker/ups/1Z999",))
    (row,) = facts(record("settlement", settled, road="hydration"))
    named = {"carrierCode": "ups", "trackingNumber": "1Z999"}
    assert row == {"kind": "settlement", "code": "gaveUp", "origin": 3, **named, **at}
    told = Authorization("order-1", Instant(AT + 5_000), AT, ("order/order-1",))
    (row,) = facts(record("authorization", told, road="api"))
    assert (row["orderId"], row["until"]) == ("order-1", "2025-01-20T12:00:05Z")
    assert "occurredAt" not in row


def test_a_conflict_says_whose_copy_it_is() -> None:
    of = event("PACKAGE_DELIVERED", "order/order-1/delivery/delivery-1", kind="conflict", origin=3)
    assert [(row["kind"], row["origin"]) for row in facts(of)] == [("claim", 3)]


def test_what_cannot_be_read_is_one_row_and_notes_are_none() -> None:
    for kind, body in (("event", b"{"), ("snapshot", b"[]"), ("condition", b"{}"), ("settlement", b"\xff")):
        (row,) = facts(record(kind, body))
        assert row["kind"] == "unreadable"
    assert fact_rows(record("note", b"{}")) == []
    assert fact_rows(record("intent", b"{}")) == []


# ── Current state ──────────────────────────────────────────────────────────────────────────────────────────


def test_views_of_older_versions_have_rows() -> None:
    """A view that lacks whatever may be lacking, or where it was erased."""
    bare: dict[str, Any] = {"id": "x", "businessProductId": BP, "state": "PENDING", "position": 3}
    erased: dict[str, Any] = bare | {
        "summary": None,
        "customer": None,
        "createdAt": "[erased]",
        "shipEvidence": None,
        "estimatedDelivery": None,
        "trackers": [],
        "aliases": [{"aliasId": None}],
        "conditions": [],
        "orders": [],
    }
    for document in (bare, erased):
        assert cells("orders", order_row(1, document))["position"] == 3
        assert cells("deliveries", delivery_row(1, document))["trackers"] == 0
        assert cells("trackers", tracker_row(1, document))["milestones"] == 0
        assert list(milestone_rows(1, document)) == []


def test_conditions_that_are_open_are_named_once() -> None:
    listed = [("LATE", None), ("DELAYED", "2025-01-20T12:00:00Z"), ("LATE", None), ("STALLED", None)]
    conditions = [{"code": code, "clearedAt": cleared} for code, cleared in listed]
    assert (
        cells("deliveries", delivery_row(1, {"conditions": conditions}))["openConditions"] == "LATE STALLED"
    )


def test_an_entry_has_its_local_days() -> None:
    entry = Entry(
        entry_id(BP, "order-1", "delivery-1", "delivered", 2, -1),
        BP,
        "order-1",
        "delivery-1",
        "delivered",
        2,
        -1,
        "provisional",
        "correction",
        parse_instant("2025-02-01T07:30:00Z"),
        "2025-01-31",
        "2025-02-01",
        "offset-explicit",
        "2025-01",
        "2025-02",
        AT,
        {"kind": "milestone", "position": 9, "eventId": "event-9", "email": "ada@example.com"},
    )
    found = cells("accounting", entry_row(4, entry))
    assert (found["number"], found["sign"], found["revision"]) == (4, -1, 2)
    assert (found["destinationDate"], found["taxPeriod"], found["postingPeriod"]) == (
        "2025-01-31",
        "2025-01",
        "2025-02",
    )
    assert (found["evidenceKind"], found["evidencePosition"], found["evidenceEventId"]) == (
        "milestone",
        9,
        "event-9",
    )


def test_a_notification_does_not_say_to_whom() -> None:
    notification = Notification(
        "ntf_1",
        BP,
        "order-1",
        "",
        "all_delivered",
        "",
        "SUPPRESSED",
        AT,
        AT,
        AT,
        (),
        rule=13,
        reason="ada@example.com opted out",
        data={"name": "Ada"},
        channel="email",
        recipient="recipient-of-ada",
        covers=("ntf_2", "ntf_3"),
    )
    found = cells("notifications", notification_row(1, notification))
    assert (found["rule"], found["state"], found["covers"], found["byHand"]) == (13, "SUPPRESSED", 2, False)
    assert "deliveryId" not in found


def test_a_capture_says_why_only_where_the_hub_holds_it() -> None:
    def held(by: str, reason: str) -> dict[str, Any]:
        steps = (Transition(AT, "READY", "projector"), Transition(AT, "HELD", by, reason))
        given = (
            capture_id(BP, "order-1", "d"),
            BP,
            "order-1",
            "d",
            "HELD",
            AT,
            (),
            ({"id": "item-1"},),
            steps,
        )
        return cells("captures", capture_row(1, Capture(*given, reason=reason, carrier_codes=("UPS", "DHL"))))

    assert held("projector", "order_not_known")["heldFor"] == "order_not_known"
    assert "heldFor" not in held("key_1", "Ada called")
    assert held("key_1", "Ada called")["carrierCodes"] == "UPS DHL"
    collected = (
        Transition(AT, "READY", "projector"),
        Transition(Instant(AT + 1_000), "ACKED", "key_1", "Ada"),
    )
    capture = Capture("cap_1", BP, "order-1", "d", "ACKED", AT, (), (), collected)
    assert cells("captures", capture_row(1, capture))["acknowledgedAt"] == "2025-01-20T12:00:01Z"
