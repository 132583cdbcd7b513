"""What is missing at AWS between a partner event source and the hub's queues: `look` and its findings.

Looked at are the credentials, the event sources, their buses, rules, patterns and targets, and API destinations; the
queues are `aws_queues`'s. Only reading calls are made. Whether a pattern lets an event through is asked of AWS's own
`TestEventPattern`, with a sample document of every package event by each of its names. What may not be looked at is
a finding too.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from milepost.domain.event import CATALOGUE
from milepost.domain.finding import Finding
from milepost.transports.aws_queues import look_at_queues
from milepost.transports.aws_reading import NETWORK, AwsReader, Reading, unread
from milepost.transports.aws_target import Target

PREFIX = "aws.partner/buywithprime/"
TEMPLATE = "deploy deploy/aws/milepost.yaml (docs/aws.md)"
CHANGES = ("Input", "InputPath", "InputTransformer")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
SUBSCRIBE = "create the subscription at Buy with Prime with this account and region (docs/aws.md, step 1)"


async def look(reader: AwsReader, *, source: str | None, queue_urls: Sequence[str]) -> list[Finding]:
    """Everything between the source and the queues, in the order that events take.

    `source` is whole or without its prefix; None looks at every source of Buy with Prime in the account."""
    identity = await reader.call("sts", "get_caller_identity")
    findings = [_identity(identity, reader.region)]
    if identity.value is None and identity.reached:
        return findings
    account = str(identity.value["Account"]) if identity.value else ""
    sources = await _Sources(reader, account).look(source)
    queues = await look_at_queues(
        reader, account, queue_urls, sources.targets, of_every_source=source is None
    )
    return [*findings, *sources.findings, *queues]


def _identity(identity: Reading, region: str) -> Finding:
    check = "AWS credentials"
    if identity.value is not None:
        return Finding(check, True, f"{identity.value['Arn']}, region {region}")
    if not identity.reached:
        return Finding(check, False, f"AWS could not be asked whose they are: {identity.error}", NETWORK)
    if identity.code in EXPIRED:
        return Finding(check, False, identity.error, "log in again, or let the hub run under a role")
    mend = "run under an IAM role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return Finding(check, False, identity.error, mend)


class _Found(Struct):
    findings: list[Finding]
    targets: list[Target]


class _Sources:
    """Looks at event sources and collects what it finds on the way."""

    def __init__(self, reader: AwsReader, account: str) -> None:
        self._reader = reader
        self._account = account
        self._found = _Found([], [])

    async def look(self, source: str | None) -> _Found:
        for described in await self._described(source):
            await self._source(described)
        return self._found

    def _tell(self, check: str, ok: bool, found: str, mend: str = "") -> None:
        self._found.findings.append(Finding(check, ok, found, mend))

    async def _described(self, source: str | None) -> list[Mapping[str, Any]]:
        if source is None:
            listed, failed = await self._reader.every(
                "events", "list_event_sources", "EventSources", NamePrefix=PREFIX
            )
            if failed is not None:
                self._found.findings.append(unread("event sources", failed))
            elif not listed:
                where = f"account {self._account}, region {self._reader.region}"
                self._tell("event sources", False, f"none of Buy with Prime in {where}", SUBSCRIBE)
            return sorted(listed, key=lambda described: str(described["Name"]))
        name = source if source.startswith("aws.partner/") else PREFIX + source
        reading = await self._reader.call("events", "describe_event_source", Name=name)
        if reading.value is not None:
            return [reading.value]
        if reading.is_absent:
            where = f"account {self._account}, region {self._reader.region}"
            self._tell(f"event source {name}", False, f"there is none in {where}", SUBSCRIBE)
        else:
            self._found.findings.append(unread(f"event source {name}", reading))
        return []

    async def _source(self, described: Mapping[str, Any]) -> None:
        name, state = str(described["Name"]), str(described.get("State"))
        bus = await self._reader.call("events", "describe_event_bus", Name=name)
        self._state(name, state, described.get("ExpirationTime"), bus)
        if bus.is_absent:
            if state != "PENDING":
                self._tell(f"event bus {name}", False, "there is none: events are dropped", TEMPLATE)
            return
        if bus.value is None:
            self._found.findings.append(unread(f"event bus {name}", bus))
        else:
            self._tell(f"event bus {name}", True, "there")
        await self._rules(name)

    def _state(self, name: str, state: str, expires: Any, bus: Reading) -> None:
        check = f"event source {name}"
        if state == "PENDING":
            end = "after two weeks"
            if isinstance(expires, datetime):  # in the machine's zone
                end = f"on {expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            found = f"PENDING: its events are dropped, and it is deleted {end}"
            mend = f"{TEMPLATE}, or: aws events create-event-bus --name {name} --event-source-name {name}"
            if bus.value is not None:
                mend = f"it was deactivated: aws events activate-event-source --name {name}"
            self._tell(check, False, found, mend)
        elif state == "DELETED":
            mend = "subscribe again under the same name: bus and rules stay, and go on then"
            self._tell(check, False, "DELETED by Buy with Prime: the subscription has ended", mend)
        else:
            self._tell(check, state == "ACTIVE", state)

    # ── Rules ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _rules(self, bus: str) -> None:
        rules, failed = await self._reader.every("events", "list_rules", "Rules", EventBusName=bus)
        if failed is not None:
            self._found.findings.append(unread(f"rules of {bus}", failed))
        own = [rule for rule in rules if not rule.get("ManagedBy")]  # an archive has one that AWS manages
        if not own and failed is None:
            self._tell(f"rules of {bus}", False, "there is no rule: whatever comes is dropped", TEMPLATE)
        for rule in own:
            await self._rule(bus, rule)

    async def _rule(self, bus: str, rule: Mapping[str, Any]) -> None:
        name, state = str(rule["Name"]), str(rule.get("State"))
        check = f"rule {name} of {bus}"
        if state == "DISABLED":
            mend = f"aws events enable-rule --name {name} --event-bus-name {bus}"
            self._tell(check, False, "it is disabled: events pass by", mend)
        else:
            self._tell(check, True, "enabled")
        await self._pattern(check, bus, rule.get("EventPattern"))
        targets, failed = await self._reader.every(
            "events", "list_targets_by_rule", "Targets", Rule=name, EventBusName=bus
        )
        if failed is not None:
            self._found.findings.append(unread(f"targets of {check}", failed))
        elif not targets:
            self._tell(check, False, "it has no target: what it matches goes nowhere", TEMPLATE)
        for target in targets:
            await self._target(check, Target(str(rule["Arn"]), name, target))

    async def _pattern(self, check: str, bus: str, pattern: str | None) -> None:
        if pattern is None:
            self._tell(check, False, "it has no event pattern, so no event matches", TEMPLATE)
            return
        names = [(t.name, name) for t in CATALOGUE if t.folded for name in (t.name, *t.former_names)]
        readings = await asyncio.gather(*(self._tested(pattern, bus, name) for _, name in names))
        through: dict[str, list[str]] = {}
        for (event_type, name), reading in zip(names, readings, strict=True):
            if reading.value is None:
                self._found.findings.append(unread(f"pattern of {check}", reading))
                return
            if reading.value["Result"]:
                through.setdefault(event_type, []).append(name)
        self._tell(f"pattern of {check}", *_let_through(pattern, through))

    async def _tested(self, pattern: str, bus: str, name: str) -> Reading:
        sample = json.dumps(_sample(bus, name, self._account, self._reader.region))
        return await self._reader.call("events", "test_event_pattern", EventPattern=pattern, Event=sample)

    # ── Targets ────────────────────────────────────────────────────────────────────────────────────────────

    async def _target(self, rule: str, target: Target) -> None:
        self._found.targets.append(target)
        check = f"target {target.name} of {rule}"
        changed = [key for key in CHANGES if key in target.given]
        if changed:
            mend = "take it out: the hub reads the whole document"
            self._tell(check, False, f"it changes the event by {' and '.join(changed)}", mend)
        if target.undelivered_arn is None:
            found = "it has no dead-letter queue: what cannot be delivered within 24 hours is lost"
            self._tell(check, False, found, f"{TEMPLATE}, or give the target a DeadLetterConfig")
        if target.kind == "api-destination":
            await self._api_destination(check, target)
        elif target.kind == "sqs":
            by = f" as {target.role_arn}" if target.role_arn else ""
            self._tell(check, True, f"sends to the queue {target.resource}{by}")
        else:
            self._tell(check, True, f"sends to {target.arn}, which is not the hub's")

    async def _api_destination(self, check: str, target: Target) -> None:
        reading = await self._reader.call("events", "describe_api_destination", Name=target.resource)
        if reading.value is None:
            gone = Finding(check, False, f"the API destination {target.resource} is gone", TEMPLATE)
            self._found.findings.append(gone if reading.is_absent else unread(check, reading))
            return
        if target.role_arn is None:
            self._tell(check, False, "it has no role, so EventBridge may not call it", TEMPLATE)
        told = reading.value
        self._tell(
            check,
            told.get("ApiDestinationState") == "ACTIVE",
            f"posts to {told.get('InvocationEndpoint')}: {told.get('ApiDestinationState')}",
            "see its connection",
        )
        connection = str(told.get("ConnectionArn", "")).partition(":connection/")[2].split("/")[0]
        reading = await self._reader.call("events", "describe_connection", Name=connection)
        if reading.value is None:
            self._found.findings.append(unread(f"connection {connection}", reading))
            return
        state = reading.value.get("ConnectionState")
        mend = f"{reading.value.get('StateReason', 'its credentials are not accepted')}: aws events update-connection"
        how = f"{reading.value.get('AuthorizationType')}, {state}"
        self._tell(f"connection {connection}", state in ("AUTHORIZED", "ACTIVE"), how, mend)


def _let_through(pattern: str, through: Mapping[str, Sequence[str]]) -> tuple[bool, str, str]:
    """Whether a pattern lets package events through, and in words which."""
    current = [name for name, names in through.items() if name in names]
    old = [name for names in through.values() for name in names if name not in through]
    if not through:
        return False, f"it lets no package event through: {pattern}", f"{TEMPLATE}: source and EventTypes"
    if not current:
        return False, f"it lets former names only through: {', '.join(old)}", "add the names of today"
    left_out = [t.name for t in CATALOGUE if t.folded and t.name not in current]
    words = f"it lets through {', '.join(current)}"
    words += f" and {len(old)} former names" if old else " by today's names only"
    return True, words + (f"; not {', '.join(left_out)}" if left_out else ""), ""


def _sample(source: str, name: str, account: str, region: str) -> dict[str, Any]:
    """A document such as the event's of this name. A pattern that asks for more than it says lets it not through."""
    keys = next(t.resource_form for t in CATALOGUE if name in (t.name, *t.former_names))
    resource = "/".join(["businessProduct/sample", *(f"{key}/sample" for key in keys)])
    detail = {
        "idempotencyKey": "sample",
        "eventDescriptor": name,
        "resources": [resource],
        "eventId": "sample",
        "apiVersion": "2024-11-01",
        "subscriptionId": "sample",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
    }
    return {
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "detail-type": name,
        "source": source,
        "account": account or "000000000000",
        "time": "2025-01-20T12:34:56Z",
        "region": region,
        "resources": [resource],
        "detail": detail,
    }
