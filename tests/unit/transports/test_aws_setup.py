"""What `milepost doctor --aws` finds at AWS: a whole set-up, and each link of it missing or wrong.

The account is `tests.deploy.account`'s, with the template's stack; what a test breaks, it breaks by AWS's API.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import AccessDeniedError
from moto.core.responses import BaseResponse
from moto.events.models import events_backends
from tests.deploy.account import SOURCE, Account, documents, settings
from tests.partner_bus import ACCOUNT, REGION, PartnerBus
from werkzeug.exceptions import HTTPException

from milepost.domain.errors import Misconfigured
from milepost.domain.finding import Finding
from milepost.transports.aws_reading import AwsReader
from milepost.transports.aws_setup import look

OTHER = "aws.partner/buywithprime/another"
EVERYBODY: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with PartnerBus() as bus:
        for name, value in settings(bus.url).items():
            monkeypatch.setenv(name, value)
        yield Account(bus)


def bad(findings: list[Finding]) -> dict[str, Finding]:
    """What is wrong, by the thing that was looked at."""
    return {finding.check: finding for finding in findings if not finding.ok}


async def only(account: Account, check: str, *queue_urls: str) -> Finding:
    """The one finding that is not ok; it must be of `check` and say how to mend it."""
    found = bad(await account.look(*queue_urls))
    assert list(found) == [check], found
    assert found[check].mend
    return found[check]


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


# ── All is well ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_whole_set_up_has_nothing_wrong_and_is_told_link_by_link(account: Account) -> None:
    outputs = account.deploy(ArchiveDays="30")
    findings = await account.look()
    assert bad(findings) == {}
    told = {finding.check: finding.found for finding in findings}
    queue = name_of(outputs["QueueUrl"])
    rule = f"rule milepost of {SOURCE}"
    assert told["AWS credentials"].startswith(f"arn:aws:sts::{ACCOUNT}:")
    assert told[f"event source {SOURCE}"] == "ACTIVE"
    assert told[rule] == "enabled"
    assert told[f"pattern of {rule}"] == (
        "it lets through PACKAGE_DELIVERY_IN_TRANSIT, PACKAGE_DELIVERED, PACKAGE_DELIVERY_CANCELLED, "
        "PACKAGE_TRACKER_MILESTONE_CHANGED and 6 former names"
    )
    assert told[f"target queue of {rule}"] == f"sends to the queue {queue}"
    assert told[f"policy of the queue {queue}"] == f"lets {outputs['RuleArn']} send"
    assert told[f"encryption of the queue {queue}"] == "by Amazon SQS"
    assert told[f"times of the queue {queue}"] == "hidden for 60 s once received, kept for 14 days"
    assert told[f"backlog of the queue {queue}"] == "empty"
    assert told[f"dead-letter queue of {queue}"].endswith("is empty")
    assert told["queue of undelivered events"].endswith("is empty")
    assert f"{REGION}" in told["AWS credentials"]


async def test_a_source_can_be_named_with_its_prefix_or_without(account: Account) -> None:
    account.deploy()
    account.events.create_partner_event_source(Name=OTHER, Account=ACCOUNT)
    for source in (SOURCE, SOURCE.rpartition("/")[2]):
        assert bad(await account.look(source=source)) == {}
    assert list(bad(await account.look())) == [f"event source {OTHER}"]
    missing = bad(await account.look(source="nobody"))
    assert missing["event source aws.partner/buywithprime/nobody"].found.startswith(
        "there is none in account"
    )


async def test_an_api_destination_is_looked_at(account: Account) -> None:
    url = "https://hub.example.com/webhooks/buy-with-prime"
    account.deploy(Delivery="api-destination", WebhookUrl=url, WebhookApiKey="key")
    findings = await account.look()
    assert bad(findings) == {}
    assert any(finding.found == f"posts to {url}: ACTIVE" for finding in findings)
    (backend,) = (events_backends[ACCOUNT][REGION],)
    (destination,) = backend.destinations.values()
    (connection,) = backend.connections.values()
    destination.state, connection.state = "INACTIVE", "DEAUTHORIZED"
    found = bad(await account.look())
    assert [f.found for f in found.values()] == [f"posts to {url}: INACTIVE", "API_KEY, DEAUTHORIZED"]
    account.events.delete_api_destination(Name=destination.name)
    found = bad(await account.look())
    assert "is gone" in found[f"target api-destination of rule milepost of {SOURCE}"].found


# ── Credentials, region, the endpoint ──────────────────────────────────────────────────────────────────────


async def test_no_credentials_are_one_finding(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.deploy()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    finding = await only(account, "AWS credentials")
    assert "NoCredentialsError" in finding.found
    assert "AWS_ACCESS_KEY_ID" in finding.mend


async def test_an_endpoint_that_is_away_is_told_of_each_service_that_was_asked(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = account.deploy()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found = bad(await account.look())
    assert list(found) == ["AWS credentials", "event sources", f"queue {name_of(outputs['QueueUrl'])}"]
    assert all("AWS_ENDPOINT_URL" in finding.mend for finding in found.values())
    assert "127.0.0.1:9" in found["event sources"].found


async def test_no_region_and_a_profile_that_is_not_there_are_settings(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(Misconfigured, match="set AWS_REGION"):
        await account.look()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Misconfigured, match="nobody"):
        await account.look()


async def test_a_permission_that_is_missing_is_named(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake judges as IAM does, but knows no resources: what is taken away is whole actions."""
    refusing_in_their_own_words(monkeypatch)
    outputs = account.deploy()
    account.sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="{}")  # so that its age is asked for
    queue = name_of(outputs["QueueUrl"])
    everything = [
        "events:ListEventSources",
        "events:DescribeEventBus",
        "events:ListRules",
        "events:TestEventPattern",
        "events:ListTargetsByRule",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "cloudwatch:GetMetricStatistics",
    ]
    checks = {
        "events:ListEventSources": "event sources",
        "events:DescribeEventBus": f"event bus {SOURCE}",
        "events:ListRules": f"rules of {SOURCE}",
        "events:TestEventPattern": f"pattern of rule milepost of {SOURCE}",
        "events:ListTargetsByRule": f"targets of rule milepost of {SOURCE}",
        "sqs:GetQueueAttributes": f"queue {queue}",
        "sqs:GetQueueUrl": f"dead-letter queue of {queue}",
        "cloudwatch:GetMetricStatistics": f"age of the oldest message of {queue}",
    }
    iam = account.bus.client("iam")
    iam.create_user(UserName="looker")
    key = iam.create_access_key(UserName="looker")["AccessKey"]
    users = {}
    for lacking in checks:
        policy = {"Effect": "Allow", "Action": [a for a in everything if a != lacking], "Resource": "*"}
        users[lacking] = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    for lacking, check in checks.items():
        iam.put_user_policy(UserName="looker", PolicyName="looking", PolicyDocument=users[lacking])
        account.judge(True)
        try:
            found = bad(await account.look())
        finally:
            account.judge(False)
        assert found[check].found == f"may not be looked at: {lacking} is not permitted", lacking
        assert "HubPolicy" in found[check].mend


def refusing_in_their_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto refuses in XML whoever asks; here each service does in its own protocol, as at AWS."""
    original = ActionAuthenticatorMixin._authenticate_and_authorize_normal_action

    def authorize(response: BaseResponse, resource: str = "*") -> None:
        try:
            original(response, resource)
        except AccessDeniedError as e:
            refusal = HTTPException(json.dumps({"__type": "AccessDeniedException", "message": e.message}))
            refusal.code = 400
            raise refusal from e

    monkeypatch.setattr(ActionAuthenticatorMixin, "_authenticate_and_authorize_normal_action", authorize)


# ── The event source and its bus ───────────────────────────────────────────────────────────────────────────


async def test_an_account_without_a_source(account: Account) -> None:
    account.events.delete_partner_event_source(Name=SOURCE, Account=ACCOUNT)
    found = bad(await account.look())
    assert found["event sources"].found == f"none of Buy with Prime in account {ACCOUNT}, region {REGION}"
    assert "step 1" in found["event sources"].mend
    assert found["hub"].found == "it receives from no queue"


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is nine hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
async def test_a_pending_source_says_when_it_ends_and_what_to_do(account: Account) -> None:
    described = account.events.describe_event_source(Name=SOURCE)
    expires = described["ExpirationTime"].astimezone(UTC)
    assert 13 < (expires - datetime.now(UTC)).days + 1 <= 14
    found = bad(await account.look())[f"event source {SOURCE}"]
    assert found.found.startswith("PENDING: its events are dropped, and it is deleted on ")
    assert f"{expires:%Y-%m-%d %H:%M} UTC" in found.found
    assert f"aws events create-event-bus --name {SOURCE} --event-source-name {SOURCE}" in found.mend


async def test_a_source_that_was_deactivated(account: Account) -> None:
    account.deploy()
    events_backends[ACCOUNT][REGION].event_sources[SOURCE].state = "PENDING"
    finding = await only(account, f"event source {SOURCE}")
    assert "PENDING" in finding.found
    assert f"aws events activate-event-source --name {SOURCE}" in finding.mend


async def test_a_source_that_buy_with_prime_deleted(account: Account) -> None:
    account.deploy()
    account.events.delete_partner_event_source(Name=SOURCE, Account=ACCOUNT)
    finding = await only(account, f"event source {SOURCE}")
    assert finding.found.startswith("DELETED by Buy with Prime")


async def test_an_active_source_whose_bus_cannot_be_found(account: Account) -> None:
    account.deploy()
    events_backends[ACCOUNT][REGION].event_sources[SOURCE].state = "DELETED"
    del events_backends[ACCOUNT][REGION].event_buses[SOURCE]
    found = bad(await account.look())
    assert "there is none" in found[f"event bus {SOURCE}"].found


# ── Rules and targets ──────────────────────────────────────────────────────────────────────────────────────


RULE = f"rule milepost of {SOURCE}"


def put_rule(account: Account, pattern: dict[str, Any]) -> None:
    account.events.put_rule(Name="milepost", EventBusName=SOURCE, EventPattern=json.dumps(pattern))


async def test_a_bus_without_a_rule(account: Account) -> None:
    account.events.create_event_bus(Name=SOURCE, EventSourceName=SOURCE)
    found = bad(await account.look())
    assert found[f"rules of {SOURCE}"].found == "there is no rule: whatever comes is dropped"
    assert "deploy/aws/milepost.yaml" in found[f"rules of {SOURCE}"].mend


async def test_a_rule_that_is_disabled(account: Account) -> None:
    account.deploy()
    account.events.disable_rule(Name="milepost", EventBusName=SOURCE)
    finding = await only(account, RULE)
    assert finding.mend == f"aws events enable-rule --name milepost --event-bus-name {SOURCE}"


@pytest.mark.parametrize(
    "pattern",
    [
        {"source": [OTHER]},
        {"detail-type": ["package_delivered"]},
        {"source": [SOURCE], "detail": {"data": {"order": {"id": ["o-1"]}}}},
        {"detail-type": [{"suffix": "_REQUESTED"}]},
    ],
    ids=str,
)
async def test_a_pattern_that_lets_nothing_through(account: Account, pattern: dict[str, Any]) -> None:
    account.deploy()
    put_rule(account, pattern)
    finding = await only(account, f"pattern of {RULE}")
    assert finding.found == f"it lets no package event through: {json.dumps(pattern)}"


async def test_what_a_pattern_lets_through_is_told(account: Account) -> None:
    account.deploy()
    put_rule(account, {"detail-type": ["PACKAGE_DELIVERED", "ITEM_DELIVERED", "DELIVERY_CANCELLED"]})
    findings = await account.look()
    assert bad(findings) == {}
    (told,) = (f.found for f in findings if f.check == f"pattern of {RULE}")
    assert told == (
        "it lets through PACKAGE_DELIVERED and 2 former names; not PACKAGE_DELIVERY_IN_TRANSIT, "
        "PACKAGE_DELIVERY_CANCELLED, PACKAGE_TRACKER_MILESTONE_CHANGED"
    )
    put_rule(account, {"detail-type": ["ITEM_DELIVERED"]})
    finding = await only(account, f"pattern of {RULE}")
    assert finding.found == "it lets former names only through: ITEM_DELIVERED"


async def test_a_rule_without_a_target(account: Account) -> None:
    outputs = account.deploy()
    account.events.remove_targets(Rule="milepost", EventBusName=SOURCE, Ids=["queue"])
    finding = await only(account, RULE)
    assert "no target" in finding.found
    assert outputs["QueueUrl"]


async def test_a_target_that_changes_the_event_and_has_no_dead_letter_queue(account: Account) -> None:
    outputs = account.deploy()
    target = {"Id": "queue", "Arn": outputs["QueueArn"], "InputPath": "$.detail"}
    account.events.put_targets(Rule="milepost", EventBusName=SOURCE, Targets=[target])
    findings = [f for f in await account.look() if not f.ok]
    assert {f.check for f in findings} == {f"target queue of {RULE}"}
    assert [f.found for f in findings] == [
        "it changes the event by InputPath",
        "it has no dead-letter queue: what cannot be delivered within 24 hours is lost",
    ]


# ── Queues ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_hub_that_receives_from_no_queue_is_told_which(account: Account) -> None:
    outputs = account.deploy()
    account.outputs = {}
    finding = await only(account, "hub")
    assert name_of(outputs["QueueUrl"]) in finding.mend
    assert finding.mend.startswith("set MILEPOST_SQS_QUEUE_URL=")


async def test_a_queue_that_no_rule_sends_to(account: Account) -> None:
    account.deploy()
    url = account.sqs.create_queue(
        QueueName="another",
        Attributes={
            "MessageRetentionPeriod": "1209600",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn(account), "maxReceiveCount": "20"}),
        },
    )["QueueUrl"]
    finding = await only(account, "queue another", url)
    assert finding.found == "no rule that was found sends to it"


async def test_with_one_source_named_another_s_queue_is_not_blamed(account: Account) -> None:
    """An agency's hub receives from a queue a source, and asks about one of the sources."""
    outputs = account.deploy()
    url = account.sqs.create_queue(
        QueueName="of-another-source",
        Attributes={
            "MessageRetentionPeriod": "1209600",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn(account), "maxReceiveCount": "20"}),
        },
    )["QueueUrl"]
    async with AwsReader() as reader:
        assert bad(await look(reader, source=SOURCE, queue_urls=[outputs["QueueUrl"], url])) == {}
        found = bad(await look(reader, source=SOURCE, queue_urls=[url]))
    assert list(found) == ["queue of-another-source"]


async def test_a_target_that_sends_as_a_role_needs_no_policy_of_the_queue(account: Account) -> None:
    outputs = account.deploy()
    (target,) = account.events.list_targets_by_rule(Rule="milepost", EventBusName=SOURCE)["Targets"]
    role = f"arn:aws:iam::{ACCOUNT}:role/sends"
    account.events.put_targets(Rule="milepost", EventBusName=SOURCE, Targets=[{**target, "RoleArn": role}])
    account.sqs.set_queue_attributes(QueueUrl=outputs["QueueUrl"], Attributes={"Policy": ""})
    findings = await account.look()
    assert bad(findings) == {}
    assert any(finding.found.endswith(f" as {role}") for finding in findings)


def dead_arn(account: Account) -> str:
    url = account.outputs["DeadLetterQueueUrl"]
    answer = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


async def test_a_queue_that_is_gone(account: Account) -> None:
    outputs = account.deploy()
    account.sqs.delete_queue(QueueUrl=outputs["QueueUrl"])
    check = f"queue {name_of(outputs['QueueUrl'])}"
    findings = [f for f in await account.look() if not f.ok]
    assert {f.check for f in findings} == {check}
    assert {f.found for f in findings} == {f"there is no {outputs['QueueUrl']}", "it is gone"}


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("", ""),
        (json.dumps(EVERYBODY), ""),
        ("WRONG", f"; it names arn:aws:events:{REGION}:{ACCOUNT}:rule/milepost"),
    ],
)
async def test_a_queue_s_policy_that_is_missing_or_names_another_rule(
    account: Account, policy: str, named: str
) -> None:
    outputs = account.deploy()
    if policy == "WRONG":
        told = account.sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["Policy"])
        # As for a rule of the default bus: an easy mistake.
        policy = told["Attributes"]["Policy"].replace(f"rule/{SOURCE}/milepost", "rule/milepost")
    account.set("QueueUrl", Policy=policy)
    finding = await only(account, f"policy of the queue {name_of(outputs['QueueUrl'])}")
    assert finding.found == f"it does not let {outputs['RuleArn']} send{named}"
    assert outputs["RuleArn"] in finding.mend


async def test_the_queue_of_undelivered_events_must_let_the_rule_send_too(account: Account) -> None:
    outputs = account.deploy()
    account.set("UndeliveredQueueUrl", Policy="")
    finding = await only(account, "policy of the queue of undelivered events")
    assert outputs["RuleArn"] in finding.found


async def test_dead_letters_are_counted(account: Account) -> None:
    outputs = account.deploy()
    for url in (outputs["DeadLetterQueueUrl"], outputs["UndeliveredQueueUrl"]):
        for body in ("one", "two"):
            account.sqs.send_message(QueueUrl=url, MessageBody=body)
    account.sqs.receive_message(QueueUrl=outputs["DeadLetterQueueUrl"])  # one is in flight
    found = bad(await account.look())
    assert set(found) == {
        f"dead-letter queue of {name_of(outputs['QueueUrl'])}",
        "queue of undelivered events",
    }
    assert all(f.found.startswith("2 messages in ") and "Alarms" in f.mend for f in found.values())


async def test_a_queue_without_a_dead_letter_queue_or_with_one_that_is_gone(account: Account) -> None:
    outputs = account.deploy()
    check = f"dead-letter queue of {name_of(outputs['QueueUrl'])}"
    account.sqs.delete_queue(QueueUrl=outputs["DeadLetterQueueUrl"])
    assert (await only(account, check)).found == "it is gone"
    account.set("QueueUrl", RedrivePolicy="")
    assert "there is none" in (await only(account, check)).found


async def test_times_that_are_too_short(account: Account) -> None:
    outputs = account.deploy(MaxReceiveCount="1")
    account.set("QueueUrl", VisibilityTimeout="5", MessageRetentionPeriod="3600")
    queue = name_of(outputs["QueueUrl"])
    found = bad(await account.look())
    assert set(found) == {f"times of the queue {queue}", f"dead-letter queue of {queue}"}
    told = found[f"times of the queue {queue}"]
    assert told.found == "hidden for 5 s once received, kept for 60 minutes, which is short"
    assert told.mend.endswith("--attributes VisibilityTimeout=60,MessageRetentionPeriod=1209600")
    assert "after 1 receives" in found[f"dead-letter queue of {queue}"].found


async def test_a_backlog_and_how_old_it_is(account: Account) -> None:
    outputs = account.deploy()
    queue = name_of(outputs["QueueUrl"])
    account.publish(*(document["detail"] for document in documents().values()))
    findings = await account.look()
    assert bad(findings) == {}
    assert f"{len(documents())} wait, 0 are being received" in {f.found for f in findings}
    metric = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": queue}],
        "Timestamp": datetime.now(UTC) - timedelta(minutes=2),
        "Value": 7_300.0,
        "Unit": "Seconds",
    }
    account.bus.client("cloudwatch").put_metric_data(Namespace="AWS/SQS", MetricData=[metric])
    finding = await only(account, f"backlog of the queue {queue}")
    assert finding.found == "3 wait, 0 are being received; the oldest for 2 hours"


async def test_a_fifo_queue_needs_a_group_and_its_own_deduplication(account: Account) -> None:
    account.deploy()
    dead = account.sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    told = account.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = account.sqs.get_queue_attributes(
        QueueUrl=account.outputs["QueueUrl"], AttributeNames=["Policy"]
    )["Attributes"]["Policy"]
    redrive = json.dumps({"deadLetterTargetArn": told["QueueArn"], "maxReceiveCount": "20"})
    attributes = {"FifoQueue": "true", "Policy": policy, "RedrivePolicy": redrive}
    url = account.sqs.create_queue(QueueName="events.fifo", Attributes=attributes)["QueueUrl"]
    account.outputs["QueueUrl"] = url
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events.fifo"
    (target,) = account.events.list_targets_by_rule(Rule="milepost", EventBusName=SOURCE)["Targets"]
    # AWS takes no new target without a group; one may be older than that check, or than the queue.
    events_backends[ACCOUNT][REGION].event_buses[SOURCE].rules["milepost"].targets[0]["Arn"] = arn
    findings = [f for f in await account.look() if not f.ok]
    assert {f.check for f in findings} == {"queue events.fifo"}
    assert "sets no group id" in findings[0].found
    assert "wants a deduplication id" in findings[1].found
    account.set("QueueUrl", ContentBasedDeduplication="true")
    grouped = {**target, "Arn": arn, "SqsParameters": {"MessageGroupId": "shop"}}
    account.events.put_targets(Rule="milepost", EventBusName=SOURCE, Targets=[grouped])
    assert bad(await account.look()) == {}


# ── Encryption ─────────────────────────────────────────────────────────────────────────────────────────────


def key(account: Account, *actions: str) -> str:
    """A key whose policy lets EventBridge do these actions with it."""
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*"}
    bridge = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": list(actions)}
    statements = [{**root, "Resource": "*"}, *([{**bridge, "Resource": "*"}] if actions else [])]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    made = account.bus.client("kms").create_key(Policy=policy)["KeyMetadata"]
    return str(made["Arn"])


async def test_a_key_must_let_eventbridge_use_it(account: Account) -> None:
    good = key(account, "kms:GenerateDataKey*", "kms:Decrypt")
    outputs = account.deploy(QueueKeyArn=good)
    check = f"encryption of the queue {name_of(outputs['QueueUrl'])}"
    findings = await account.look()
    assert bad(findings) == {}
    assert good in {f.found for f in findings}
    for wrong, refused in (
        (key(account), "kms:GenerateDataKey, kms:Decrypt"),
        (key(account, "kms:Decrypt"), "kms:GenerateDataKey"),
    ):
        account.set("QueueUrl", KmsMasterKeyId=wrong)
        finding = await only(account, check)
        assert finding.found == f"{wrong} may not be used for it by EventBridge: {refused}"


async def test_aws_s_own_key_lets_nothing_arrive_and_none_is_none(account: Account) -> None:
    outputs = account.deploy()
    check = f"encryption of the queue {name_of(outputs['QueueUrl'])}"
    account.set("QueueUrl", KmsMasterKeyId="alias/aws/sqs")
    assert "nothing arrives" in (await only(account, check)).found
    account.set("QueueUrl", KmsMasterKeyId="", SqsManagedSseEnabled="false")
    finding = await only(account, check)
    assert finding.found == "none"
    assert "SqsManagedSseEnabled=true" in finding.mend


async def test_a_list_of_several_pages_is_read_to_its_end(account: Account) -> None:
    account.deploy()
    for n in range(60):
        account.events.put_rule(
            Name=f"other-{n:02}", EventBusName=SOURCE, EventPattern='{"source": ["x"]}', State="DISABLED"
        )
    async with AwsReader() as reader:
        rules, failed = await reader.every("events", "list_rules", "Rules", EventBusName=SOURCE, Limit=25)
    assert failed is None
    assert len({rule["Name"] for rule in rules}) == 61


async def test_two_queues_are_each_looked_at(account: Account) -> None:
    outputs = account.deploy()
    async with AwsReader() as reader:
        urls = [outputs["QueueUrl"], outputs["QueueUrl"] + "-2"]
        found = bad(await look(reader, source=None, queue_urls=urls))
    assert list(found) == [f"queue {name_of(urls[1])}"]
