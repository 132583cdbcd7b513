"""What is wrong with the queues between EventBridge and the hub: `look_at_queues` and its findings.

Looked at are the queues that the hub receives from, those that rules send to, and the dead-letter queues of both:
whether they are there and who may send, encryption, times, what waits and for how long. Only reading calls are made.
Rules and targets are `aws_setup`'s.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from milepost.domain.finding import Finding
from milepost.transports.aws_policy import Policy, Service, allows, sources_named
from milepost.transports.aws_reading import AwsReader, unread
from milepost.transports.aws_target import Target

EVENTBRIDGE = "events.amazonaws.com"
AWS_OWNED_KEYS = ("alias/aws/sqs",)
LEAST_VISIBILITY_S = 30
LEAST_RETENTION_S = 4 * 86_400
"""A long weekend without the hub."""
LEAST_RECEIVES = 10
OLD_S = 900
TEMPLATE = "deploy deploy/aws/milepost.yaml (docs/aws.md)"


async def look_at_queues(
    reader: AwsReader,
    account: str,
    queue_urls: Sequence[str],
    targets: Sequence[Target],
    *,
    of_every_source: bool = True,
) -> list[Finding]:
    """Every queue on the way, each once: `queue_urls` are those the hub receives from. Without `of_every_source`
    the targets are of one of several sources, and another's may well be what sends to a queue."""
    looking = _Queues(reader, account, [target for target in targets if target.kind == "sqs"])
    for url in queue_urls:
        await looking.received_from(url, of_every_source or len(queue_urls) == 1)
    await looking.sent_to()
    for arn, rules in looking.undelivered(targets).items():
        await looking.dead_letters(arn, "queue of undelivered events", rules)
    if not queue_urls:
        looking.suggest(targets)
    return looking.findings


class _Queues:
    """Looks at queues and collects what it finds."""

    def __init__(self, reader: AwsReader, account: str, targets: Sequence[Target]) -> None:
        self.findings: list[Finding] = []
        self._reader = reader
        self._account = account
        self._targets = targets
        self._urls: dict[str, str] = {}
        """The queues that were looked at, by ARN."""

    def _tell(self, check: str, ok: bool, found: str, mend: str = "") -> None:
        self.findings.append(Finding(check, ok, found, mend))

    async def received_from(self, url: str, needs_rule: bool) -> None:
        """A queue of the hub's settings; with `needs_rule` one of the targets must send to it."""
        name = url.rstrip("/").rpartition("/")[2]
        attributes = await self._attributes(f"queue {name}", url)
        if attributes is None:
            return
        await self._queue(name, url, attributes)
        if needs_rule and self._targets and not self._sending(str(attributes["QueueArn"])):
            mend = "point the rule's target at it, or MILEPOST_SQS_QUEUE_URL at the rule's queue"
            self._tell(f"queue {name}", False, "no rule that was found sends to it", mend)

    async def sent_to(self) -> None:
        """Queues that rules send to and the hub is not told of."""
        for arn in sorted({target.arn for target in self._targets} - self._urls.keys()):
            name = arn.rpartition(":")[2]
            url = await self._url(f"queue {name}", arn)
            attributes = url and await self._attributes(f"queue {name}", url)
            if url and attributes:
                await self._queue(name, url, attributes)

    def suggest(self, targets: Sequence[Target]) -> None:
        """The hub receives from no queue: what to set, unless an API destination posts to it."""
        urls = [self._urls[t.arn] for t in self._targets if t.arn in self._urls]
        if urls:
            self._tell(
                "hub", False, "it receives from no queue", f"set MILEPOST_SQS_QUEUE_URL={urls[0]} and serve"
            )
        elif not any(target.kind == "api-destination" for target in targets):
            self._tell("hub", False, "it receives from no queue", f"{TEMPLATE}, set MILEPOST_SQS_QUEUE_URL")

    def undelivered(self, targets: Sequence[Target]) -> dict[str, list[str]]:
        """The targets' own dead-letter queues, with the rules that put events there."""
        found: dict[str, list[str]] = {}
        for target in targets:
            if target.undelivered_arn is not None:
                found.setdefault(target.undelivered_arn, []).append(target.rule_arn)
        return found

    def _sending(self, arn: str) -> list[Target]:
        return [target for target in self._targets if target.arn == arn]

    # ── One queue ──────────────────────────────────────────────────────────────────────────────────────────

    async def _queue(self, name: str, url: str, attributes: Mapping[str, Any]) -> None:
        arn = str(attributes["QueueArn"])
        self._urls[arn] = url
        # A target with a role of its own sends as that; whether the role may is not judged here.
        rules = [target.rule_arn for target in self._sending(arn) if target.role_arn is None]
        self._policy(f"policy of the queue {name}", arn, attributes, rules)
        await self._encryption(f"encryption of the queue {name}", url, attributes, rules)
        self._times(f"times of the queue {name}", url, attributes)
        self._order(f"queue {name}", arn, attributes)
        await self._backlog(f"backlog of the queue {name}", name, attributes)
        await self._redrive(name, attributes)

    async def _url(self, check: str, arn: str) -> str | None:
        account, name = arn.split(":")[4:6]
        reading = await self._reader.call(
            "sqs", "get_queue_url", QueueName=name, QueueOwnerAWSAccountId=account
        )
        if reading.value is not None:
            return str(reading.value["QueueUrl"])
        gone = Finding(check, False, "it is gone", f"{TEMPLATE}, or take it out of what names it")
        self.findings.append(gone if reading.is_absent else unread(check, reading))
        return None

    async def _attributes(self, check: str, url: str) -> Mapping[str, Any] | None:
        reading = await self._reader.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        if reading.value is not None:
            self._tell(check, True, url)
            found: Mapping[str, Any] = reading.value["Attributes"]
            return found
        gone = Finding(check, False, f"there is no {url}", f"{TEMPLATE}, set MILEPOST_SQS_QUEUE_URL")
        self.findings.append(gone if reading.is_absent else unread(check, reading))
        return None

    def _policy(self, check: str, arn: str, attributes: Mapping[str, Any], rules: Sequence[str]) -> None:
        """Whether each rule may send. Without a rule there is nobody to ask about."""
        policy = _json(attributes.get("Policy"))
        for rule in rules:
            if allows(policy, _eventbridge(rule), "sqs:SendMessage", arn):
                self._tell(check, True, f"lets {rule} send")
                continue
            named = sources_named(policy)
            found = f"it does not let {rule} send" + (f"; it names {', '.join(named)}" if named else "")
            mend = (
                f"allow sqs:SendMessage to the service {EVENTBRIDGE} with ArnEquals aws:SourceArn {rule}, "
                f"as QueuePolicy of deploy/aws/milepost.yaml does"
            )
            self._tell(check, False, found, mend)

    async def _encryption(
        self, check: str, url: str, attributes: Mapping[str, Any], rules: Sequence[str]
    ) -> None:
        key = attributes.get("KmsMasterKeyId")
        own = "aws sqs set-queue-attributes --queue-url {} --attributes SqsManagedSseEnabled=true".format
        if not key:
            managed = attributes.get("SqsManagedSseEnabled") == "true"
            self._tell(check, managed, "by Amazon SQS" if managed else "none", own(url))
            return
        if str(key).endswith(AWS_OWNED_KEYS):
            found = f"{key} is AWS's own key, whose policy does not let EventBridge use it: nothing arrives"
            self._tell(check, False, found, f"use a key of yours, or none: {own(url)}")
            return
        described = await self._reader.call("kms", "describe_key", KeyId=str(key))
        if described.value is None:
            self.findings.append(unread(check, described))
            return
        arn = str(described.value["KeyMetadata"]["Arn"])
        reading = await self._reader.call("kms", "get_key_policy", KeyId=arn, PolicyName="default")
        if reading.value is None:
            self.findings.append(unread(check, reading))
            return
        policy = _json(reading.value["Policy"])
        for rule in rules:
            refused = [
                action
                for action in ("kms:GenerateDataKey", "kms:Decrypt")
                if not allows(policy, _eventbridge(rule), action, arn)
            ]
            found = f"{arn} may not be used for it by EventBridge: {', '.join(refused)}" if refused else arn
            self._tell(check, not refused, found, f"allow them to {EVENTBRIDGE} in the key's policy")

    def _times(self, check: str, url: str, attributes: Mapping[str, Any]) -> None:
        visibility = int(attributes["VisibilityTimeout"])
        retention = int(attributes["MessageRetentionPeriod"])
        wanted: dict[str, int] = {}
        if visibility < LEAST_VISIBILITY_S:
            wanted["VisibilityTimeout"] = 60
        if retention < LEAST_RETENTION_S:
            wanted["MessageRetentionPeriod"] = 1_209_600
        given = ",".join(f"{name}={value}" for name, value in wanted.items())
        mend = f"aws sqs set-queue-attributes --queue-url {url} --attributes {given}"
        words = f"hidden for {visibility} s once received, kept for {_span(retention)}"
        self._tell(check, not wanted, words + (", which is short" if wanted else ""), mend)

    def _order(self, check: str, arn: str, attributes: Mapping[str, Any]) -> None:
        if attributes.get("FifoQueue") != "true":
            return
        ungrouped = [target for target in self._sending(arn) if target.group_id is None]
        for target in ungrouped:
            found = f"it is a FIFO queue, and the target {target.name} of {target.rule} sets no group id"
            self._tell(check, False, found, "set SqsParameters.MessageGroupId, or use a standard queue")
        if attributes.get("ContentBasedDeduplication") != "true":
            mend = "set ContentBasedDeduplication=true, or use a standard queue"
            self._tell(
                check, False, "a FIFO queue that wants a deduplication id: EventBridge sends none", mend
            )

    async def _backlog(self, check: str, name: str, attributes: Mapping[str, Any]) -> None:
        waiting = int(attributes["ApproximateNumberOfMessages"])
        taken = int(attributes["ApproximateNumberOfMessagesNotVisible"])
        words = f"{waiting} wait, {taken} are being received"
        if waiting + taken == 0:
            self._tell(check, True, "empty")
            return
        now = datetime.now(UTC)
        reading = await self._reader.call(
            "cloudwatch",
            "get_metric_statistics",
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": name}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
        if reading.value is None:
            self._tell(check, True, words)
            self.findings.append(unread(f"age of the oldest message of {name}", reading))
            return
        points = sorted(reading.value.get("Datapoints", []), key=lambda point: point["Timestamp"])
        age = round(points[-1]["Maximum"]) if points else 0
        words += f"; the oldest for {_span(age)}" if points else ""
        self._tell(check, age <= OLD_S, words, "does the hub run, and keep up? MILEPOST_SQS_POLLERS, its log")

    # ── Dead letters ───────────────────────────────────────────────────────────────────────────────────────

    async def _redrive(self, name: str, attributes: Mapping[str, Any]) -> None:
        redrive = _json(attributes.get("RedrivePolicy"))
        check = f"dead-letter queue of {name}"
        if not redrive.get("deadLetterTargetArn"):
            found = "there is none: a message that is never finished is lost when its retention ends"
            self._tell(check, False, found, TEMPLATE)
            return
        receives = int(redrive.get("maxReceiveCount", 0))
        if receives < LEAST_RECEIVES:
            mend = "raise maxReceiveCount (the template's MaxReceiveCount)"
            self._tell(
                check, False, f"a message goes there after {receives} receives: an outage is enough", mend
            )
        await self.dead_letters(str(redrive["deadLetterTargetArn"]), check, [])

    async def dead_letters(self, arn: str, check: str, rules: Sequence[str]) -> None:
        """A queue that should be empty, and that `rules` must be able to send to."""
        url = await self._url(check, arn)
        if url is None:
            return
        reading = await self._reader.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        if reading.value is None:
            self.findings.append(unread(check, reading))
            return
        attributes = reading.value["Attributes"]
        self._policy(f"policy of the {check}", arn, attributes, rules)
        kept = int(attributes["ApproximateNumberOfMessages"])
        kept += int(attributes["ApproximateNumberOfMessagesNotVisible"])
        found = f"{kept} messages in {url}" if kept else f"{url} is empty"
        self._tell(check, kept == 0, found, "docs/aws.md, Alarms: see why, mend it, then bring them back")


def _eventbridge(rule_arn: str) -> Service:
    return Service(EVENTBRIDGE, rule_arn, rule_arn.split(":")[4])


def _json(text: Any) -> Policy:
    """A document that AWS keeps as text; what is none reads as empty."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _span(seconds: int) -> str:
    """A time in words: the largest unit that fills it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
