"""The fake EventBridge does what AWS documents, asked by real boto3 over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.events.models import EventsBackend
from tests.partner_bus import ACCOUNT, PartnerBus, bus_arn, queue_arn

SOURCE = "aws.partner/buywithprime/my-source"
DETAIL = '{"eventId": "e1", "note": "<id> <account> \\"quoted\\"", "data": {}}'
AT = datetime(2025, 1, 20, 12, 34, 56, tzinfo=UTC)
ENTRY: dict[str, Any] = {
    "Source": SOURCE,
    "DetailType": "PACKAGE_DELIVERED",
    "Detail": DETAIL,
    "Resources": ["businessProduct/bp/order/o/delivery/d"],
    "Time": AT,
}


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
def events(bus: PartnerBus) -> Any:
    client = bus.client("events")
    client.create_partner_event_source(Name=SOURCE, Account=ACCOUNT)
    return client


def test_a_source_is_pending_until_a_bus_has_its_name(bus: PartnerBus, events: Any) -> None:
    assert events.describe_event_source(Name=SOURCE)["State"] == "PENDING"
    arn = f"arn:aws:events:us-east-1::event-source/{SOURCE}"
    assert [(s["Name"], s["State"], s["Arn"]) for s in events.list_event_sources()["EventSources"]] == [
        (SOURCE, "PENDING", arn)
    ]
    with pytest.raises(ClientError, match="differ"):
        events.create_event_bus(Name="other", EventSourceName=SOURCE)
    with pytest.raises(ClientError, match="must not contain"):
        events.create_event_bus(Name=SOURCE)
    events.create_event_bus(Name=SOURCE, EventSourceName=SOURCE)
    assert events.describe_event_source(Name=SOURCE)["State"] == "ACTIVE"
    accounts = events.list_partner_event_source_accounts(EventSourceName=SOURCE)
    assert accounts["PartnerEventSourceAccounts"] == [{"Account": ACCOUNT, "State": "ACTIVE"}]
    events.delete_event_bus(Name=SOURCE)
    assert events.describe_event_source(Name=SOURCE)["State"] == "PENDING"


def test_a_deleted_source_stays_deleted_while_its_bus_is_there(bus: PartnerBus, events: Any) -> None:
    bus.queue(SOURCE)
    events.delete_partner_event_source(Name=SOURCE, Account=ACCOUNT)
    assert events.describe_event_source(Name=SOURCE)["State"] == "DELETED"
    (answer,) = events.put_partner_events(Entries=[ENTRY])["Entries"]
    assert answer["ErrorCode"] == "NotAuthorizedForSourceException"
    events.delete_event_bus(Name=SOURCE)
    with pytest.raises(ClientError, match="does not exist"):
        events.describe_event_source(Name=SOURCE)


def test_what_comes_while_it_is_pending_is_taken_and_dropped(bus: PartnerBus, events: Any) -> None:
    answer = events.put_partner_events(Entries=[ENTRY])
    assert answer["FailedEntryCount"] == 0
    queue = bus.queue(SOURCE)
    assert bus.received(queue) == []
    events.put_partner_events(Entries=[ENTRY])
    assert len(bus.received(queue)) == 1


def test_the_document_has_every_field_in_the_order_of_aws(bus: PartnerBus, events: Any) -> None:
    queue = bus.queue(SOURCE, pattern={"detail-type": [{"prefix": "PACKAGE_"}]})
    other = {**ENTRY, "DetailType": "RETURN_STARTED"}
    answers = events.put_partner_events(Entries=[ENTRY, other])["Entries"]
    assert all(len(answer["EventId"]) == 36 for answer in answers)
    (body,) = bus.received(queue)
    assert list(json.loads(body).items()) == [
        ("version", "0"),
        ("id", answers[0]["EventId"]),
        ("detail-type", "PACKAGE_DELIVERED"),
        ("source", SOURCE),
        ("account", ACCOUNT),
        ("time", "2025-01-20T12:34:56Z"),
        ("region", "us-east-1"),
        ("resources", ["businessProduct/bp/order/o/delivery/d"]),
        ("detail", json.loads(DETAIL)),
    ]


def test_twenty_entries_are_taken_and_twenty_one_are_not(bus: PartnerBus, events: Any) -> None:
    queue = bus.queue(SOURCE)
    assert len({e["EventId"] for e in events.put_partner_events(Entries=[ENTRY] * 20)["Entries"]}) == 20
    with pytest.raises(ClientError, match="less than or equal to 20"):
        events.put_partner_events(Entries=[ENTRY] * 21)
    assert len(bus.received(queue)) == 20


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Source": "aws.partner/buywithprime/unknown"}, "NotAuthorizedForSourceException"),
        ({"Source": "nonsense"}, "InvalidArgument"),
        ({"Source": "aws.partner/one"}, "InvalidArgument"),
        ({"DetailType": "T" * 129}, "InvalidArgument"),
        ({"DetailType": ""}, "InvalidArgument"),
        ({"Detail": ""}, "InvalidArgument"),
        ({"Detail": "[1]"}, "MalformedDetail"),
        ({"Detail": "{"}, "MalformedDetail"),
    ],
)
def test_a_bad_entry_fails_alone(bus: PartnerBus, events: Any, changed: dict[str, Any], code: str) -> None:
    queue = bus.queue(SOURCE)
    answer = events.put_partner_events(Entries=[ENTRY, {**ENTRY, **changed}, ENTRY])
    assert answer["FailedEntryCount"] == 1
    assert [e.get("ErrorCode") for e in answer["Entries"]] == [None, code, None]
    assert len(bus.received(queue)) == 2


def test_a_request_may_have_one_mebibyte(bus: PartnerBus, events: Any) -> None:
    rest = 14 + sum(len(ENTRY[k]) for k in ("Source", "DetailType")) + len(ENTRY["Resources"][0])
    full = {**ENTRY, "Detail": '{"a":"' + "x" * (1024 * 1024 - rest - 8) + '"}'}
    assert events.put_partner_events(Entries=[full])["FailedEntryCount"] == 0
    over = {**full, "Detail": full["Detail"][:-2] + 'x"}'}
    with pytest.raises(ClientError, match="Total size"):
        events.put_partner_events(Entries=[over])


def test_customers_cannot_put_partner_events(bus: PartnerBus, events: Any) -> None:
    bus.queue(SOURCE)
    own = {"Source": "mine", "DetailType": "T", "Detail": "{}"}
    with pytest.raises(ClientError, match="partner bus"):
        events.put_events(Entries=[{**own, "EventBusName": SOURCE}])
    answers = events.put_events(Entries=[own, {**own, "Source": SOURCE}])["Entries"]
    assert [a.get("ErrorCode") for a in answers] == [None, "NotAuthorizedForSourceException"]


def test_a_name_is_taken_once_and_must_match_the_pattern(events: Any) -> None:
    with pytest.raises(ClientError, match="already exists"):
        events.create_partner_event_source(Name=SOURCE, Account="210987654321")
    with pytest.raises(ClientError, match="constraint"):
        events.create_partner_event_source(Name="buywithprime/my-source", Account=ACCOUNT)


def test_every_target_of_every_rule_that_matches_gets_it(bus: PartnerBus, events: Any) -> None:
    first = bus.queue(SOURCE)
    second = bus.client("sqs").create_queue(QueueName="second")["QueueUrl"]
    destination = f"arn:aws:events:us-east-1:{ACCOUNT}:api-destination/hub/1"
    bus.rule(
        SOURCE, "both", {"Arn": queue_arn("second")}, {"Arn": destination, "RoleArn": "arn:aws:iam::role"}
    )
    bus.rule(SOURCE, "none", {"Arn": queue_arn("second")}, pattern={"detail-type": ["RETURN_STARTED"]})
    with pytest.raises(AssertionError, match="has no API destinations"):
        bus.invoke({"Arn": destination}, {})
    invoked: list[tuple[dict[str, Any], dict[str, Any]]] = []
    bus.invoke = lambda target, document: invoked.append((target, document))
    events.put_partner_events(Entries=[ENTRY])
    (body,) = bus.received(first)
    assert bus.received(second) == [body]
    ((target, document),) = invoked
    assert (target["Arn"], document) == (destination, json.loads(body))


def test_a_replay_brings_what_the_archive_kept_of_that_time(bus: PartnerBus, events: Any) -> None:
    queue = bus.queue(SOURCE)
    events.create_archive(
        ArchiveName="kept",
        EventSourceArn=bus_arn(SOURCE),
        EventPattern=json.dumps({"detail-type": ["PACKAGE_DELIVERED"]}),
    )
    late = {**ENTRY, "Time": AT.replace(year=2101)}
    other = {**ENTRY, "DetailType": "RETURN_STARTED", "Time": AT.replace(year=2026)}
    events.put_partner_events(Entries=[ENTRY, late, other])
    before = {body["time"]: body for body in map(json.loads, bus.received(queue))}
    assert events.describe_archive(ArchiveName="kept")["EventCount"] == 2
    bus.replay(SOURCE, "kept", "again")
    (replayed,) = map(json.loads, bus.received(queue))
    first = before[replayed["time"]]
    assert replayed.pop("replay-name") == "again"
    assert replayed.pop("id") != first.pop("id")
    assert replayed == first
    assert events.describe_replay(ReplayName="again")["State"] == "COMPLETED"
    # What is replayed is not kept once more.
    assert events.describe_archive(ArchiveName="kept")["EventCount"] == 2


def test_what_is_received_too_often_goes_to_the_dead_letters_and_back(bus: PartnerBus, events: Any) -> None:
    queue = bus.queue(SOURCE)
    dead = bus.dead_letters(queue, 2)
    events.put_partner_events(Entries=[ENTRY])
    sqs = bus.client("sqs")
    for _ in range(2):
        assert len(sqs.receive_message(QueueUrl=queue)["Messages"]) == 1
        assert sqs.receive_message(QueueUrl=queue).get("Messages") is None
        assert bus.let_visibility_run_out(queue) == 1
    assert sqs.receive_message(QueueUrl=queue).get("Messages") is None
    assert (bus.depth(queue), bus.depth(dead)) == (0, 1)
    assert bus.redrive(dead, queue) == 1
    assert (len(bus.received(queue)), bus.depth(dead)) == (1, 0)


def test_a_patch_without_its_place_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(EventsBackend, "_normalize_event_bus_arn")
    with pytest.raises(AssertionError, match="has no _normalize_event_bus_arn any more"):
        PartnerBus().__enter__()
    monkeypatch.undo()
    original = EventsBackend.put_events
    with PartnerBus():
        assert EventsBackend.put_events is not original
    assert EventsBackend.put_events is original
