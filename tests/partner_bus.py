"""A fake Amazon EventBridge that carries partner events, for tests: a threaded moto server with our own patches.

Real clients (boto3, aiobotocore, any other SDK) speak to it over HTTP on a free port of loopback. moto alone
puts partner events on the default bus, answers no EventIds, leaves `account` out of the document and does not
know which state an event source is in. What is replaced here, and only while a `PartnerBus` is open:

- the partner's calls: CreatePartnerEventSource, DeletePartnerEventSource, ListPartnerEventSourceAccounts,
  PutPartnerEvents, with AWS's checks, states and EventIds;
- the customer's: DescribeEventSource, ListEventSources, CreateEventBus for an event source, TestEventPattern;
- bus names with "/", and PutEvents, which takes neither partner buses nor `aws.` sources.

Rules, patterns, queues and everything else are moto's. A partner bus delivers to every target of a rule: to SQS, to
API destinations by `invoke`, which a test sets, and to its archives, whose replays carry `replay-name`, a new `id`
and no order that is promised. Another kind of target fails loudly, and so does a rule that would transform the
event. The entry error for an unknown source is our guess at AWS's. Every patched name is looked up first: one that
moto renamed, or one that it has meanwhile, ends the test with a sentence that says so. The calls about event
sources and buses are `partner_sources`'.
"""

import json
import urllib.request
import uuid
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import boto3
from botocore.config import Config
from botocore.loaders import JSONFileLoader
from moto.events import models
from moto.events.models import Archive, EventsBackend, Replay, events_backends
from moto.events.responses import EventsHandler
from moto.server import ThreadedMotoServer
from moto.sqs.models import SQSBackend, sqs_backends
from tests.partner_sources import (
    SOURCE,
    bus_name,
    create_bus,
    create_source,
    delete_bus,
    delete_source,
    describe_source,
    list_accounts,
    list_sources,
    matches_pattern,
    put_events,
)

ACCOUNT = "123456789012"
"""Whose calls they are that moto takes without knowing the credentials."""
REGION = "us-east-1"
LIMIT = 1024 * 1024
MOST_ENTRIES = 20
LONGEST_POLL_S = 1
"""A poll whose client is gone goes on in moto, and takes messages from those that are there: it must soon end."""

Invoke = Callable[[dict[str, Any], dict[str, Any]], None]
"""A rule's target that is an API destination, and the document for it."""
Refuse = Callable[[int, dict[str, Any]], tuple[str, str] | None]
"""An entry's number in its request and the entry, to the error it gets."""


class PartnerBus:
    """The fake, while it is open. `refuse` makes single entries fail, `fail_with` the partner's calls; `invoke`
    stands for the API destinations, which deliver in their own time: it must not wait for them."""

    def __init__(self) -> None:
        self.invoke: Invoke = _no_destination
        self.refuse: Refuse = lambda number, entry: None
        self.fail_with: Exception | None = None
        self.requests: list[list[dict[str, Any]]] = []
        """The entries of every PutPartnerEvents that came, refused ones too."""
        self._open = ExitStack()
        self._clients: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Self:
        replacements, additions = self._replacements(), self._additions()
        for owner, name, replacement in replacements:
            self._open.enter_context(patch.object(owner, name, replacement))
        for name, addition in additions.items():
            self._open.enter_context(patch.object(EventsHandler, name, addition, create=True))
        self.url = _server()
        # Backends belong to the process; each bus begins with empty ones.
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def client(self, service: str, region: str = REGION) -> Any:
        """A real boto3 client of a service here, closed with the bus."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self._made(service, region)
        return self._clients[service, region]

    def _made(self, service: str, region: str) -> Any:
        made: Any = boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        self._open.callback(made.close)
        return made

    def queue(self, source: str, name: str = "events", pattern: dict[str, Any] | None = None) -> str:
        """What a receiver sets up: a bus for the source, and a rule that sends to a queue. Returns its URL."""
        self.client("events").create_event_bus(Name=source, EventSourceName=source)
        url: str = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        self.rule(source, name, {"Arn": queue_arn(name)}, pattern=pattern)
        return url

    def rule(
        self, source: str, name: str, *targets: dict[str, Any], pattern: dict[str, Any] | None = None
    ) -> None:
        """A rule on the source's bus, and its targets, which need no ids; without a pattern it takes everything."""
        events = self.client("events")
        wanted = {"source": [source]} if pattern is None else pattern
        events.put_rule(Name=name, EventBusName=source, EventPattern=json.dumps(wanted))
        numbered = [{"Id": f"target-{n}", **target} for n, target in enumerate(targets)]
        events.put_targets(Rule=name, EventBusName=source, Targets=numbered)

    def dead_letters(self, queue_url: str, most: int) -> str:
        """Give a queue a dead-letter queue of its own, for what was received `most` times. Returns its URL."""
        sqs = self.client("sqs")
        name = f"{_name_of(queue_url)}-dead"
        url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
        policy = {"deadLetterTargetArn": queue_arn(name), "maxReceiveCount": most}
        sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": json.dumps(policy)})
        return url

    def redrive(self, dead_url: str, queue_url: str) -> int:
        """Send what is in a dead-letter queue to the queue again; how many messages."""
        bodies = self.received(dead_url)
        for body in bodies:
            self.client("sqs").send_message(QueueUrl=queue_url, MessageBody=body)
        return len(bodies)

    def let_visibility_run_out(self, queue_url: str) -> int:
        """As if the visibility of every message in flight had run out; how many that were."""
        queue = sqs_backends[ACCOUNT][REGION].get_queue(_name_of(queue_url))
        hidden = [message for message in _there(queue, "_messages") if not message.visible]
        for message in hidden:
            message.change_visibility(0)
        return len(hidden)

    def depth(self, queue_url: str) -> int:
        """Messages in a queue, visible or not."""
        return len(_there(sqs_backends[ACCOUNT][REGION].get_queue(_name_of(queue_url)), "_messages"))

    def replay(self, source: str, archive: str, name: str) -> None:
        """Replay everything in an archive of the source's bus, to that bus."""
        self.client("events").start_replay(
            ReplayName=name,
            EventSourceArn=f"arn:aws:events:{REGION}:{ACCOUNT}:archive/{archive}",
            EventStartTime=datetime(2000, 1, 1, tzinfo=UTC),
            EventEndTime=datetime(2100, 1, 1, tzinfo=UTC),
            Destination={"Arn": bus_arn(source)},
        )

    def received(self, queue_url: str) -> list[str]:
        """The bodies of every message in a queue, which is empty afterwards."""
        sqs = self.client("sqs")
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(message["Body"])
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return found

    # ── What is replaced in moto ───────────────────────────────────────────────────────────────────────────

    def _replacements(self) -> list[tuple[Any, str, Any]]:
        bus = self

        def put_partner_events(handler: EventsHandler) -> str:
            return bus._put_partner_events(handler)

        def checked(call: Callable[[EventsHandler], str]) -> Callable[[EventsHandler], str]:
            def answer(handler: EventsHandler) -> str:
                bus._check_up()
                return call(handler)

            return answer

        def receive_message(
            backend: SQSBackend,
            queue_name: str,
            count: int,
            wait_seconds_timeout: int,
            *rest: Any,
            **named: Any,
        ) -> Any:
            wait = min(wait_seconds_timeout, LONGEST_POLL_S)
            return receive(backend, queue_name, count, wait, *rest, **named)

        receive = _there(SQSBackend, "receive_message")

        def replay_events(replay: Replay, archive: Archive) -> None:
            bus._replay(replay, archive)

        replaced: list[tuple[Any, str, Any]] = [
            (JSONFileLoader, "load_file", lambda _, path: _described(path)),
            (Replay, "replay_events", replay_events),
            (SQSBackend, "receive_message", receive_message),
            (EventsBackend, "_normalize_event_bus_arn", bus_name),
            (EventsBackend, "put_events", put_events(_there(EventsBackend, "put_events"))),
            (EventsBackend, "create_event_bus", create_bus(_there(EventsBackend, "create_event_bus"))),
            (EventsBackend, "delete_event_bus", delete_bus(_there(EventsBackend, "delete_event_bus"))),
            (EventsHandler, "create_partner_event_source", checked(create_source)),
            (EventsHandler, "delete_partner_event_source", checked(delete_source)),
            (EventsHandler, "describe_event_source", describe_source),
            (EventsHandler, "put_partner_events", put_partner_events),
            (EventsHandler, "test_event_pattern", matches_pattern),
        ]
        for owner, name, _ in replaced:
            _there(owner, name)
        _there(models.EventPattern, "matches_event")
        _there(EventsHandler, "_get_param")
        _there(models.ReplayState, "COMPLETED")
        return replaced

    def _additions(self) -> dict[str, Any]:
        bus = self

        def accounts(handler: EventsHandler) -> str:
            bus._check_up()
            return list_accounts(handler)

        added = {"list_event_sources": list_sources, "list_partner_event_source_accounts": accounts}
        for name in added:
            assert not hasattr(EventsHandler, name), f"moto has {name} of its own now: is ours still needed?"
        return added

    def _check_up(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with

    def _put_partner_events(self, handler: EventsHandler) -> str:
        entries = handler._get_param("Entries")
        self.requests.append(entries)
        self._check_up()
        if not 1 <= len(entries) <= MOST_ENTRIES:
            raise models.ValidationException(
                f"1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must "
                f"have length less than or equal to {MOST_ENTRIES}"
            )
        if sum(map(_size, entries)) > LIMIT:
            raise models.ValidationException("Total size of the entries in the request is over the limit.")
        results = [self._put(handler.events_backend, n, entry) for n, entry in enumerate(entries)]
        failed = sum("ErrorCode" in result for result in results)
        return json.dumps({"FailedEntryCount": failed, "Entries": results})

    def _put(self, partner: EventsBackend, number: int, entry: dict[str, Any]) -> dict[str, str]:
        error = self.refuse(number, entry) or _fault_of(entry, partner)
        if error is not None:
            return {"ErrorCode": error[0], "ErrorMessage": error[1]}
        event_id = str(uuid.uuid4())
        for account in partner.partner_event_sources[entry["Source"]].accounts:
            customer = events_backends[account][partner.region_name]
            if entry["Source"] in customer.event_buses:
                self._deliver(customer, entry["Source"], _documented(customer, event_id, entry))
            # Without a bus of its name it is dropped, as AWS drops it.
        return {"EventId": event_id}

    def _deliver(
        self, customer: EventsBackend, source: str, document: dict[str, Any], only: Collection[str] = ()
    ) -> None:
        """To every target of every rule that matches; `only` are the ARNs of the rules of a replay, if it names
        any."""
        for rule in customer.event_buses[source].rules.values():
            if rule.state != "ENABLED" or not rule.event_pattern.matches_event(document):
                continue
            if only and rule.arn not in only:
                continue
            for target in rule.targets:
                self._send(customer, rule.name, target, document)

    def _send(
        self, customer: EventsBackend, rule_name: str, target: dict[str, Any], document: dict[str, Any]
    ) -> None:
        service, region, account, *resource = target["Arn"].split(":")[2:]
        if service == "events" and not any(resource):
            _keep(customer, rule_name, document)
            return
        changed = {"Input", "InputPath", "InputTransformer"} & target.keys()
        assert not changed, f"this bus delivers documents as they are: {target}"
        if service == "events" and resource[0].startswith("api-destination/"):
            self.invoke(target, json.loads(json.dumps(document)))
            return
        assert service == "sqs", f"this bus delivers to SQS and to API destinations: {target}"
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        queues = sqs_backends[account][region]
        queues.send_message(queue_name=resource[0], message_body=json.dumps(document), group_id=group)

    def _replay(self, replay: Replay, archive: Archive) -> None:
        """What the archive has of that time, again, as the same events with the replay's name."""
        customer = events_backends[replay.account_id][replay.region]
        source = bus_name(customer, replay.destination["Arn"])
        for kept in list(archive.events):
            document: dict[str, Any] = dict(kept)
            at = datetime.fromisoformat(document["time"]).timestamp()
            if float(replay.event_start_time) <= at < float(replay.event_end_time):
                again = {**document, "id": str(uuid.uuid4()), "replay-name": replay.name}
                self._deliver(customer, source, again, replay.destination.get("FilterArns", ()))
        replay.state = models.ReplayState.COMPLETED
        replay.end_time = datetime.now(UTC).timestamp()


@cache
def _server() -> str:
    """The address of this process's moto. Its backends are the process's too; stopping one takes half a second."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


_load_file = JSONFileLoader.load_file


@cache
def _described(path: str) -> Any:
    """What botocore knows of a service. Every session of a client reads it anew, megabytes of JSON."""
    return _load_file(JSONFileLoader(), path)


def _there(owner: Any, name: str) -> Any:
    found = getattr(owner, name, None)
    whose = getattr(owner, "__name__", type(owner).__name__)
    assert found is not None, f"moto's {whose} has no {name} any more: the patches need a look"
    return found


def _fault_of(entry: dict[str, Any], partner: EventsBackend) -> tuple[str, str] | None:
    for field in ("Source", "DetailType", "Detail"):
        if not entry.get(field):
            return (
                "InvalidArgument",
                f"Parameter {field} is not valid. Reason: {field} is a required argument.",
            )
    if not SOURCE.fullmatch(entry["Source"]) or len(entry["Source"]) > 256:
        return "InvalidArgument", "Parameter Source is not valid. Reason: it does not match the pattern."
    if len(entry["DetailType"]) > 128:
        return "InvalidArgument", "Parameter DetailType is not valid. Reason: it is longer than 128."
    try:
        if not isinstance(json.loads(entry["Detail"]), dict):
            return "MalformedDetail", "Detail is malformed."
    except ValueError:
        return "MalformedDetail", "Detail is malformed."
    if entry["Source"] not in partner.partner_event_sources:
        return "NotAuthorizedForSourceException", f"Not authorized for the source {entry['Source']}."
    return None


def _size(entry: dict[str, Any]) -> int:
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *entry.get("Resources", ())]
    return (14 if "Time" in entry else 0) + sum(len((text or "").encode()) for text in texts)


def _documented(customer: EventsBackend, event_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry["Time"], UTC) if "Time" in entry else datetime.now(UTC)
    return {
        "version": "0",
        "id": event_id,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": customer.account_id,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": customer.region_name,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }


def _keep(customer: EventsBackend, rule_name: str, document: dict[str, Any]) -> None:
    """Into an archive, whose rule has its name."""
    customer.archives[rule_name.removeprefix("Events-Archive-")].events.append(document)  # type: ignore[arg-type]


def _no_destination(target: dict[str, Any], document: dict[str, Any]) -> None:
    raise AssertionError(f"this bus has no API destinations; a test sets `invoke`: {target}")


def _name_of(queue_url: str) -> str:
    return queue_url.rpartition("/")[2]


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def bus_arn(source: str) -> str:
    """The ARN of the bus that has the source's name."""
    return f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{source}"
