"""A fake Amazon EventBridge that carries partner events, for tests: a threaded moto server with our own patches.

Real clients (boto3, aiobotocore, any other SDK) speak to it over HTTP on a free port of loopback. moto alone
puts partner events on the default bus, answers no EventIds, leaves `account` out of the document and does not
know which state an event source is in. What is replaced here, and only while a `PartnerBus` is open:

- the partner's calls: CreatePartnerEventSource, DeletePartnerEventSource, ListPartnerEventSourceAccounts,
  PutPartnerEvents, with AWS's checks, states and EventIds;
- the customer's: DescribeEventSource, ListEventSources, CreateEventBus for an event source, TestEventPattern;
- bus names with "/", and PutEvents, which takes neither partner buses nor `aws.` sources.

Rules, patterns, queues and everything else are moto's. A partner bus delivers to SQS; another kind of target
fails loudly, and so does a rule that would transform the event. The entry error for an unknown source is our
guess at AWS's. Every patched name is looked up first: one that moto renamed, or one that it has meanwhile, ends
the test with a sentence that says so.
"""

import json
import re
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto.events import models
from moto.events.models import EventsBackend, PartnerEventSource, events_backends
from moto.events.responses import EventsHandler
from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"
"""Whose calls they are that moto takes without knowing the credentials."""
REGION = "us-east-1"
LIMIT = 1024 * 1024
MOST_ENTRIES = 20
TWO_WEEKS_S = 14 * 86_400
"""How long a source may stay PENDING."""
SOURCE = re.compile(r"aws\.partner(/[.\-_A-Za-z0-9]+){2,}")

Refuse = Callable[[int, dict[str, Any]], tuple[str, str] | None]
"""An entry's number in its request and the entry, to the error it gets."""


class PartnerBus:
    """The fake, while it is open. `refuse` makes single entries fail, `fail_with` the partner's calls."""

    def __init__(self) -> None:
        self.refuse: Refuse = lambda number, entry: None
        self.fail_with: Exception | None = None
        self.requests: list[list[dict[str, Any]]] = []
        """The entries of every PutPartnerEvents that came, refused ones too."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        replacements, additions = self._replacements(), self._additions()
        for owner, name, replacement in replacements:
            self._open.enter_context(patch.object(owner, name, replacement))
        for name, addition in additions.items():
            self._open.enter_context(patch.object(EventsHandler, name, addition, create=True))
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self._open.callback(server.stop)
        host, port = server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        # Backends belong to the process; each bus begins with empty ones.
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def client(self, service: str, region: str = REGION) -> Any:
        """A real boto3 client of a service here, closed with the bus."""
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
        events = self.client("events")
        events.create_event_bus(Name=source, EventSourceName=source)
        url: str = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        wanted = {"source": [source]} if pattern is None else pattern
        events.put_rule(Name=name, EventBusName=source, EventPattern=json.dumps(wanted))
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        events.put_targets(Rule=name, EventBusName=source, Targets=[{"Id": "queue", "Arn": arn}])
        return url

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

        replaced: list[tuple[Any, str, Any]] = [
            (EventsBackend, "_normalize_event_bus_arn", _bus_name),
            (EventsBackend, "put_events", _put_events(_there(EventsBackend, "put_events"))),
            (EventsBackend, "create_event_bus", _create_bus(_there(EventsBackend, "create_event_bus"))),
            (EventsBackend, "delete_event_bus", _delete_bus(_there(EventsBackend, "delete_event_bus"))),
            (EventsHandler, "create_partner_event_source", checked(_create_source)),
            (EventsHandler, "delete_partner_event_source", checked(_delete_source)),
            (EventsHandler, "describe_event_source", _describe_source),
            (EventsHandler, "put_partner_events", put_partner_events),
            (EventsHandler, "test_event_pattern", _test_pattern),
        ]
        for owner, name, _ in replaced:
            _there(owner, name)
        _there(models.EventPattern, "matches_event")
        _there(EventsHandler, "_get_param")
        return replaced

    def _additions(self) -> dict[str, Any]:
        bus = self

        def accounts(handler: EventsHandler) -> str:
            bus._check_up()
            return _list_accounts(handler)

        added = {"list_event_sources": _list_sources, "list_partner_event_source_accounts": accounts}
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
            _deliver(events_backends[account][partner.region_name], event_id, entry)
        return {"EventId": event_id}


def _there(owner: Any, name: str) -> Any:
    found = getattr(owner, name, None)
    assert found is not None, f"moto's {owner.__name__} has no {name} any more: the patches need a look"
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


def _deliver(customer: EventsBackend, event_id: str, entry: dict[str, Any]) -> None:
    """To the rules of the matching bus. Without one the event is dropped, as AWS drops it."""
    bus = customer.event_buses.get(entry["Source"])
    if bus is None:
        return
    at = datetime.fromtimestamp(entry["Time"], UTC) if "Time" in entry else datetime.now(UTC)
    document = {
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
    for rule in bus.rules.values():
        if rule.state == "ENABLED" and rule.event_pattern.matches_event(document):
            for target in rule.targets:
                _send(customer, target, document)


def _send(customer: EventsBackend, target: dict[str, Any], document: dict[str, Any]) -> None:
    from moto.sqs import sqs_backends

    changed = {"Input", "InputPath", "InputTransformer"} & target.keys()
    service, region, account, name = target["Arn"].split(":")[2:6]
    assert service == "sqs", f"this bus delivers to SQS only: {target}"
    assert not changed, f"this bus delivers documents as they are: {target}"
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    queues = sqs_backends[account][region]
    queues.send_message(queue_name=name, message_body=json.dumps(document), group_id=group)


# ── Event sources and buses ────────────────────────────────────────────────────────────────────────────────


def _state(source: PartnerEventSource, customer: EventsBackend) -> str:
    if source.state == "DELETED":
        return "DELETED"
    return "ACTIVE" if source.name in customer.event_buses else "PENDING"


def _described(source: PartnerEventSource, customer: EventsBackend) -> dict[str, Any]:
    state = _state(source, customer)
    expires = {"ExpirationTime": source.created_on + TWO_WEEKS_S} if state == "PENDING" else {}
    return {
        "Arn": source.arn,
        "CreatedBy": "/".join(source.name.split("/")[:2]),
        "CreationTime": source.created_on,
        "Name": source.name,
        "State": state,
        **expires,
    }


def _create_source(handler: EventsHandler) -> str:
    partner = handler.events_backend
    name, account = handler._get_param("Name"), handler._get_param("Account")
    if not SOURCE.fullmatch(name) or not re.fullmatch(r"\d{12}", account):
        raise models.ValidationException(f"Value {name!r} or {account!r} failed to satisfy its constraint.")
    if name in partner.partner_event_sources:
        raise models.ResourceAlreadyExistsException(f"EventSource {name} already exists.")
    source = partner.create_partner_event_source(name=name, account_id=account)
    source.arn = f"arn:aws:events:{partner.region_name}::event-source/{name}"
    return json.dumps({"EventSourceArn": source.arn})


def _delete_source(handler: EventsHandler) -> str:
    partner = handler.events_backend
    name, account = handler._get_param("Name"), handler._get_param("Account")
    customer = events_backends[account][partner.region_name]
    source = partner.partner_event_sources.pop(name, None)
    if source is not None:
        source.state = "DELETED"
        if name not in customer.event_buses:
            del customer.event_sources[name]
    return "{}"


def _list_accounts(handler: EventsHandler) -> str:
    partner = handler.events_backend
    name = handler._get_param("EventSourceName")
    source = partner.partner_event_sources.get(name)
    if source is None:
        raise models.ResourceNotFoundException(f"EventSource {name} does not exist.")
    found = [
        {"Account": account, "State": _state(source, events_backends[account][partner.region_name])}
        for account in source.accounts
    ]
    return json.dumps({"PartnerEventSourceAccounts": found})


def _describe_source(handler: EventsHandler) -> str:
    customer = handler.events_backend
    name = handler._get_param("Name")
    source = customer.event_sources.get(name)
    if source is None:
        raise models.ResourceNotFoundException(f"EventSource {name} does not exist.")
    return json.dumps(_described(source, customer))


def _list_sources(handler: EventsHandler) -> str:
    customer = handler.events_backend
    prefix = handler._get_param("NamePrefix") or ""
    found = [_described(s, customer) for s in customer.event_sources.values() if s.name.startswith(prefix)]
    return json.dumps({"EventSources": found})


def _test_pattern(handler: EventsHandler) -> str:
    document = json.loads(handler._get_param("Event"))
    missing = {"id", "account", "source", "time", "region", "resources", "detail-type"} - document.keys()
    if missing:
        raise models.ValidationException(f"The event has no {', '.join(sorted(missing))}.")
    pattern = models.EventPattern.load(handler._get_param("EventPattern"))
    return json.dumps({"Result": pattern.matches_event(document)})


def _bus_name(backend: EventsBackend, name_or_arn: str | None) -> str:
    return "default" if name_or_arn is None else name_or_arn.split(":event-bus/")[-1]


def _create_bus(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_event_bus(
        backend: EventsBackend, name: str, event_source_name: str | None = None, **others: Any
    ) -> Any:
        if event_source_name is not None and name != event_source_name:
            raise models.ValidationException(
                "The bus of an event source has its name: Name and EventSourceName differ."
            )
        return original(backend, name, event_source_name, **others)

    return create_event_bus


def _delete_bus(original: Callable[..., Any]) -> Callable[..., Any]:
    def delete_event_bus(backend: EventsBackend, name: str) -> None:
        original(backend, name)
        source = backend.event_sources.get(name)
        if source is not None and source.state == "DELETED":
            del backend.event_sources[name]

    return delete_event_bus


def _put_events(original: Callable[..., Any]) -> Callable[..., Any]:
    def put_events(backend: EventsBackend, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any("/" in _bus_name(backend, event.get("EventBusName")) for event in events):
            raise models.ValidationException("PutEvents does not take the name of a partner bus.")
        own = [event for event in events if not str(event.get("Source", "")).startswith("aws.")]
        answers = iter(original(backend, own))
        refused = {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized."}
        return [next(answers) if event in own else refused for event in events]

    return put_events
