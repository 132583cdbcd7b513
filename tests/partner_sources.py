"""What `partner_bus` puts in the place of moto's calls about event sources and buses, each as AWS documents it.

They are functions of moto's handlers and backends; `partner_bus` patches them in and takes them out again.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from moto.events import models
from moto.events.models import EventsBackend, PartnerEventSource, events_backends
from moto.events.responses import EventsHandler

SOURCE = re.compile(r"aws\.partner(/[.\-_A-Za-z0-9]+){2,}")
TWO_WEEKS_S = 14 * 86_400
"""How long a source may stay PENDING."""


def _state(source: PartnerEventSource, customer: EventsBackend) -> str:
    if source.state != "ACTIVE":  # deleted by the partner, or (a test's doing) deactivated
        return str(source.state)
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


def create_source(handler: EventsHandler) -> str:
    partner = handler.events_backend
    name, account = handler._get_param("Name"), handler._get_param("Account")
    if not SOURCE.fullmatch(name) or not re.fullmatch(r"\d{12}", account):
        raise models.ValidationException(f"Value {name!r} or {account!r} failed to satisfy its constraint.")
    if name in partner.partner_event_sources:
        raise models.ResourceAlreadyExistsException(f"EventSource {name} already exists.")
    source = partner.create_partner_event_source(name=name, account_id=account)
    source.arn = f"arn:aws:events:{partner.region_name}::event-source/{name}"
    return json.dumps({"EventSourceArn": source.arn})


def delete_source(handler: EventsHandler) -> str:
    partner = handler.events_backend
    name, account = handler._get_param("Name"), handler._get_param("Account")
    customer = events_backends[account][partner.region_name]
    source = partner.partner_event_sources.pop(name, None)
    if source is not None:
        source.state = "DELETED"
        if name not in customer.event_buses:
            del customer.event_sources[name]
    return "{}"


def list_accounts(handler: EventsHandler) -> str:
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


def describe_source(handler: EventsHandler) -> str:
    customer = handler.events_backend
    name = handler._get_param("Name")
    source = customer.event_sources.get(name)
    if source is None:
        raise models.ResourceNotFoundException(f"EventSource {name} does not exist.")
    return json.dumps(_described(source, customer))


def list_sources(handler: EventsHandler) -> str:
    customer = handler.events_backend
    prefix = handler._get_param("NamePrefix") or ""
    found = [_described(s, customer) for s in customer.event_sources.values() if s.name.startswith(prefix)]
    return json.dumps({"EventSources": found})


def matches_pattern(handler: EventsHandler) -> str:
    """TestEventPattern, by moto's own matcher."""
    document = json.loads(handler._get_param("Event"))
    missing = {"id", "account", "source", "time", "region", "resources", "detail-type"} - document.keys()
    if missing:
        raise models.ValidationException(f"The event has no {', '.join(sorted(missing))}.")
    pattern = models.EventPattern.load(handler._get_param("EventPattern"))
    return json.dumps({"Result": pattern.matches_event(document)})


def bus_name(backend: EventsBackend, name_or_arn: str | None) -> str:
    return "default" if name_or_arn is None else name_or_arn.split(":event-bus/")[-1]


def create_bus(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_event_bus(
        backend: EventsBackend, name: str, event_source_name: str | None = None, **others: Any
    ) -> Any:
        if event_source_name is not None and name != event_source_name:
            raise models.ValidationException(
                "The bus of an event source has its name: Name and EventSourceName differ."
            )
        return original(backend, name, event_source_name, **others)

    return create_event_bus


def delete_bus(original: Callable[..., Any]) -> Callable[..., Any]:
    def delete_event_bus(backend: EventsBackend, name: str) -> None:
        original(backend, name)
        source = backend.event_sources.get(name)
        if source is not None and source.state == "DELETED":
            del backend.event_sources[name]

    return delete_event_bus


def put_events(original: Callable[..., Any]) -> Callable[..., Any]:
    def put_events(backend: EventsBackend, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any("/" in bus_name(backend, event.get("EventBusName")) for event in events):
            raise models.ValidationException("PutEvents does not take the name of a partner bus.")
        own = [event for event in events if not str(event.get("Source", "")).startswith("aws.")]
        answers = iter(original(backend, own))
        refused = {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized."}
        return [next(answers) if event in own else refused for event in events]

    return put_events
