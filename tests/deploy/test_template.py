"""The CloudFormation template: what cfn-lint says of it, what its rule lets through, whom its policies let do what.

It is deployed into the fake AWS, and partner events go through it as they would at AWS.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel
from cfnlint.api import lint_file
from moto.events.models import EventPattern
from moto.iam.access_control import IAMPolicy, PermissionResult
from tests.deploy.account import SOURCE, Account, documents
from tests.deploy.stack import TEMPLATE, template
from tests.partner_bus import ACCOUNT, REGION
from typer.testing import CliRunner

from milepost.cli.main import app
from milepost.domain.event import CATALOGUE
from milepost.transports.aws_policy import Service, allows
from milepost.transports.aws_reading import AwsReader, Reading
from milepost.transports.aws_setup import look

SRC = Path(__file__).parents[2] / "src" / "milepost"
PACKAGE_EVENTS = [name for t in CATALOGUE if t.folded for name in (t.name, *t.former_names)]
OTHER_EVENTS = [name for t in CATALOGUE if not t.folded for name in (t.name, *t.former_names)]
DESTINATION = {
    "WebhookUrl": "https://hub.example.com/webhooks/buy-with-prime",
    "WebhookApiKey": "a-key-of-the-test",
}
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"


def test_cfn_lint_has_nothing_to_say() -> None:
    found = lint_file(TEMPLATE, {"include_checks": ["I"], "regions": ["us-east-1", "us-west-2", "eu-west-1"]})
    assert [str(match) for match in found] == []


def test_every_parameter_says_what_it_is_and_is_in_the_console_s_form() -> None:
    written = template()
    groups = written["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(written["Parameters"])
    assert [n for n, p in written["Parameters"].items() if len(p["Description"]) < 20] == []
    assert [n for n, p in written["Parameters"].items() if "Default" not in p] == ["EventSourceName"]


def test_a_rule_is_made_after_the_policy_that_lets_it_send() -> None:
    """EventBridge does not try again what is not permitted."""
    rules = {n: r for n, r in template()["Resources"].items() if r["Type"] == "AWS::Events::Rule"}
    assert {name: rule["DependsOn"] for name, rule in rules.items()} == {
        "Rule": "QueuePolicy",
        "SmokeTestRule": "QueuePolicy",
    }
    assert "Rule" not in json.dumps([*_references(template()["Resources"]["QueuePolicy"])])


def _references(part: Any) -> list[str]:
    """The resources and parameters that a part of the template refers to by Ref or GetAtt."""
    if isinstance(part, dict):
        own = [str(part[key]) for key in ("Ref", "Fn::GetAtt") if key in part]
        return own + [found for value in part.values() for found in _references(value)]
    return [found for item in part for found in _references(item)] if isinstance(part, list) else []


# ── The rule ───────────────────────────────────────────────────────────────────────────────────────────────


def pattern(account: Account, **parameters: str) -> EventPattern:
    """The pattern of the deployed rule, by moto's own matcher: exact texts, `detail-type` and `source` anded."""
    account.deploy(**parameters)
    (rule,) = account.events.list_rules(EventBusName=SOURCE)["Rules"]
    return EventPattern.load(rule["EventPattern"])


def test_the_event_types_let_through_are_every_name_of_every_package_event() -> None:
    assert template()["Parameters"]["EventTypes"]["Default"].split(",") == PACKAGE_EVENTS


def test_the_pattern_lets_the_pages_documents_through(account: Account) -> None:
    wanted = pattern(account)
    for name, document in documents().items():
        assert wanted.matches_event(document), name  # type: ignore[arg-type]
        assert wanted.matches_event({**document, "replay-name": "of-last-week"}), name  # type: ignore[arg-type]
        for event_type in PACKAGE_EVENTS:
            assert wanted.matches_event({**document, "detail-type": event_type})  # type: ignore[arg-type]


def test_the_pattern_lets_nothing_else_through(account: Account) -> None:
    wanted = pattern(account)
    (document, *_) = documents().values()
    for event_type in (*OTHER_EVENTS, "package_delivered", "PACKAGE_DELIVERED ", ""):
        assert not wanted.matches_event({**document, "detail-type": event_type}), event_type  # type: ignore[arg-type]
    for source in ("aws.ec2", "milepost.smoke-test", SOURCE + "-2", SOURCE.upper(), "aws.partner/other/x"):
        assert not wanted.matches_event({**document, "source": source}), source  # type: ignore[arg-type]
    without = {key: value for key, value in document.items() if key != "detail-type"}
    assert not wanted.matches_event(without)  # type: ignore[arg-type]


def test_a_shorter_list_lets_less_through_and_an_empty_one_everything(account: Account) -> None:
    wanted = pattern(account, EventTypes="PACKAGE_DELIVERED,DELIVERY_COMPLETED")
    seen = {name for name, document in documents().items() if wanted.matches_event(document)}  # type: ignore[arg-type]
    assert seen == {"delivered"}


def test_an_empty_list_of_types_lets_every_event_of_the_source_through(account: Account) -> None:
    wanted = pattern(account, EventTypes="")
    (document, *_) = documents().values()
    for event_type in (*PACKAGE_EVENTS, *OTHER_EVENTS, "SOMETHING_NEW"):
        assert wanted.matches_event({**document, "detail-type": event_type})  # type: ignore[arg-type]
    assert not wanted.matches_event({**document, "source": "aws.ec2"})  # type: ignore[arg-type]


# ── The stack ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_stack_carries_the_pages_events_into_the_queue_whole(account: Account) -> None:
    details = [document["detail"] for document in documents().values()]
    account.publish(*details)  # dropped: the source is PENDING
    account.deploy()
    account.publish(*details, {**details[0], "eventDescriptor": "REFUND_REQUESTED"})
    got = account.received()
    assert [document["detail"] for document in got] == details
    for document, printed in zip(got, documents().values(), strict=True):
        assert list(document) == list(printed)
        assert document["source"] == SOURCE
        assert document["resources"] == printed["resources"]


def test_the_smoke_test_s_bus_takes_what_a_customer_may_put(account: Account) -> None:
    account.deploy(SmokeTest="yes")
    (document, *_) = documents().values()
    entry = {
        "EventBusName": account.outputs["SmokeTestBusName"],
        "Source": "milepost.smoke-test",
        "DetailType": document["detail-type"],
        "Resources": document["resources"],
        "Detail": json.dumps(document["detail"]),
    }
    others = [{**entry, "Source": "com.example"}, {**entry, "DetailType": "REFUND_REQUESTED"}]
    answer = account.events.put_events(Entries=[entry, *others])
    assert answer["FailedEntryCount"] == 0
    (got,) = account.received()
    assert got["detail"] == document["detail"]
    assert got["source"] == "milepost.smoke-test"


def test_a_bus_that_is_there_already_is_used(account: Account) -> None:
    account.events.create_event_bus(Name=SOURCE, EventSourceName=SOURCE)
    account.deploy(AssociateEventSource="no")
    account.publish(*(document["detail"] for document in documents().values()))
    assert len(account.received()) == len(documents())


def test_messages_are_kept_as_long_as_sqs_keeps_any_and_dead_letters_apart(account: Account) -> None:
    outputs = account.deploy(MaxReceiveCount="7", VisibilityTimeoutSeconds="90")
    urls = [outputs[name] for name in ("QueueUrl", "DeadLetterQueueUrl", "UndeliveredQueueUrl")]
    told = [account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]) for url in urls]
    queue, dead, undelivered = (answer["Attributes"] for answer in told)
    for attributes in (queue, dead, undelivered):
        assert attributes["MessageRetentionPeriod"] == str(14 * 86_400)
        assert attributes["SqsManagedSseEnabled"] == "true"
    assert queue["VisibilityTimeout"] == "90"
    assert json.loads(queue["RedrivePolicy"]) == {
        "deadLetterTargetArn": dead["QueueArn"],
        "maxReceiveCount": 7,
    }
    (target,) = account.events.list_targets_by_rule(Rule="milepost", EventBusName=SOURCE)["Targets"]
    assert target["Arn"] == queue["QueueArn"] == outputs["QueueArn"]
    assert target["DeadLetterConfig"] == {"Arn": undelivered["QueueArn"]}
    assert not {"Input", "InputPath", "InputTransformer"} & target.keys()


@pytest.mark.parametrize("delivery", ["api-destination", "both"])
def test_an_api_destination_instead_of_the_queue_or_beside_it(account: Account, delivery: str) -> None:
    outputs = account.deploy(Delivery=delivery, **DESTINATION)
    targets = account.events.list_targets_by_rule(Rule="milepost", EventBusName=SOURCE)["Targets"]
    assert ("QueueUrl" in outputs) is (delivery == "both")
    assert {t["Id"] for t in targets} == {"api-destination"} | ({"queue"} if delivery == "both" else set())
    (target,) = (t for t in targets if t["Id"] == "api-destination")
    assert target["Arn"] == outputs["ApiDestinationArn"]
    name = target["Arn"].split("/")[1]
    destination = account.events.describe_api_destination(Name=name)
    assert (destination["HttpMethod"], destination["InvocationEndpoint"]) == (
        "POST",
        DESTINATION["WebhookUrl"],
    )
    connection = account.events.describe_connection(Name=destination["ConnectionArn"].split("/")[1])
    assert connection["AuthorizationType"] == "API_KEY"
    assert connection["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyName"] == "x-api-key"
    role = account.bus.client("iam").get_role(RoleName=target["RoleArn"].split("/")[1])["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "events.amazonaws.com"}


def test_an_archive_of_the_bus_when_one_is_asked_for(account: Account) -> None:
    outputs = account.deploy(ArchiveDays="30")
    archive = account.events.describe_archive(ArchiveName=outputs["ArchiveArn"].rpartition("/")[2])
    assert archive["RetentionDays"] == 30
    assert archive["EventSourceArn"].endswith(f":event-bus/{SOURCE}")


def test_alarms_watch_what_can_go_wrong_and_tell_the_topic(account: Account) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
    outputs = account.deploy(AlarmTopicArn=topic, OldestMessageAlarmSeconds="600")
    alarms = account.bus.client("cloudwatch").describe_alarms()["MetricAlarms"]

    def name(output: str) -> str:
        return outputs[output].rpartition("/")[2]

    watched = {
        (alarm["MetricName"], tuple(sorted((d["Name"], d["Value"]) for d in alarm["Dimensions"]))): alarm
        for alarm in alarms
    }
    rule = (("EventBusName", SOURCE), ("RuleName", "milepost"))
    visible = "ApproximateNumberOfMessagesVisible"
    assert set(watched) == {
        (visible, (("QueueName", name("DeadLetterQueueUrl")),)),
        (visible, (("QueueName", name("UndeliveredQueueUrl")),)),
        ("ApproximateAgeOfOldestMessage", (("QueueName", name("QueueUrl")),)),
        ("FailedInvocations", rule),
        ("InvocationsFailedToBeSentToDlq", rule),
    }
    for (metric, _), alarm in watched.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert alarm["Threshold"] == (600.0 if metric == "ApproximateAgeOfOldestMessage" else 0.0)
        assert alarm["TreatMissingData"] == "notBreaching"
        assert "docs/aws.md" in alarm["AlarmDescription"]


# ── Policies ───────────────────────────────────────────────────────────────────────────────────────────────


def eventbridge(rule: str, account: str = ACCOUNT, name: str = "events.amazonaws.com") -> Service:
    return Service(name, f"arn:aws:events:{REGION}:{account}:rule/{rule}", account)


@pytest.mark.parametrize("queue", ["QueueUrl", "UndeliveredQueueUrl"])
def test_a_queue_s_policy_lets_the_rule_send_and_nobody_else(account: Account, queue: str) -> None:
    outputs = account.deploy()
    answer = account.sqs.get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=["Policy", "QueueArn"])[
        "Attributes"
    ]
    policy, arn = json.loads(answer["Policy"]), answer["QueueArn"]
    rule = outputs["RuleArn"].partition(":rule/")[2]
    assert allows(policy, eventbridge(rule), "sqs:SendMessage", arn)
    for other in (
        eventbridge(f"{SOURCE}/another"),
        eventbridge(f"{SOURCE}-2/milepost"),
        eventbridge("milepost-smoke-test/milepost"),
        eventbridge("milepost"),
        eventbridge(rule, account="999999999999"),
        eventbridge(rule, name="sns.amazonaws.com"),
    ):
        assert not allows(policy, other, "sqs:SendMessage", arn), other
    for action in ("sqs:ReceiveMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes"):
        assert not allows(policy, eventbridge(rule), action, arn)


def test_the_smoke_test_s_rule_may_send_when_it_is_there(account: Account) -> None:
    outputs = account.deploy(SmokeTest="yes")
    policy = json.loads(
        account.sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["Policy"])[
            "Attributes"
        ]["Policy"]
    )
    for rule in (f"{SOURCE}/milepost", "milepost-smoke-test/milepost"):
        assert allows(policy, eventbridge(rule), "sqs:SendMessage", outputs["QueueArn"])


class Noting(AwsReader):
    """A reader that notes which calls were made, on what."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    async def call(self, service: str, operation: str, **given: Any) -> Reading:
        reading = await super().call(service, operation, **given)
        self.calls.append((reading.call, _resource(reading.call, given)))
        return reading


def _resource(call: str, given: dict[str, Any]) -> str:
    """What a call is judged by: the ARN in IAM's terms, "*" where AWS knows none for the action."""
    events = f"arn:aws:events:{REGION}:{ACCOUNT}"
    match call:
        case "sqs:GetQueueAttributes":
            return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{given['QueueUrl'].rpartition('/')[2]}"
        case "sqs:GetQueueUrl":
            return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{given['QueueName']}"
        case "events:DescribeEventSource":
            return f"arn:aws:events:{REGION}::event-source/{given['Name']}"
        case "events:DescribeEventBus":
            return f"{events}:event-bus/{given['Name']}"
        case "events:ListTargetsByRule":
            return f"{events}:rule/{given['EventBusName']}/{given['Rule']}"
        case "events:DescribeApiDestination":
            return f"{events}:api-destination/{given['Name']}/00000000-0000-4000-8000-000000000000"
        case "events:DescribeConnection":
            return f"{events}:connection/{given['Name']}/00000000-0000-4000-8000-000000000000"
        case "kms:DescribeKey" | "kms:GetKeyPolicy":
            return str(given["KeyId"])
    return "*"


def hub_policy(account: Account) -> dict[str, Any]:
    iam = account.bus.client("iam")
    arn = account.outputs["HubPolicyArn"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"][
        "Document"
    ]
    return found


def permits(policy: dict[str, Any], action: str, resource: str) -> bool:
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource) is PermissionResult.PERMITTED


def receiving_calls() -> set[str]:
    """The permissions of the SQS calls that the code names, batches under the name of the single call."""
    model = ServiceModel(Loader().load_service_model("sqs", "service-2"), "sqs")
    operations = {xform_name(name): name.removesuffix("Batch") for name in model.operation_names}
    named: set[str] = set()
    for path in sorted((SRC / "transports").glob("sqs*.py")):
        named |= set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", path.read_text("utf-8")))
    return {f"sqs:{operations[name]}" for name in named & operations.keys()}


KNOWN = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
"""What every receiver needs."""


async def test_the_hub_s_policy_has_what_the_receiver_and_doctor_call_and_no_more(account: Account) -> None:
    outputs = account.deploy(Delivery="both", **DESTINATION)
    account.sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="{}")  # its age is asked for
    async with Noting() as reader:
        for source in (None, SOURCE):
            await look(reader, source=source, queue_urls=[outputs["QueueUrl"]])
            await look(reader, source=source, queue_urls=[])
    policy = hub_policy(account)
    calls = {call for call in reader.calls if call[0] != "sts:GetCallerIdentity"}  # which needs no permission
    assert {call for call in calls if not permits(policy, *call)} == set()
    receiving = KNOWN | receiving_calls()
    assert {call for call in receiving if not permits(policy, call, outputs["QueueArn"])} == set()
    granted = {action for statement in policy["Statement"] for action in _listed(statement["Action"])}
    assert granted - {call for call, _ in calls} - receiving == set()
    for action in ("sqs:SendMessage", "sqs:PurgeQueue", "sqs:DeleteQueue", "events:PutRule", "iam:PassRole"):
        assert not permits(policy, action, "*")
        assert not permits(policy, action, outputs["QueueArn"])
    undelivered = account.sqs.get_queue_attributes(
        QueueUrl=outputs["UndeliveredQueueUrl"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    assert all(permits(policy, call, undelivered) for call in receiving)
    other = outputs["QueueArn"] + "-2"
    assert not any(permits(policy, call, other) for call in receiving)


def test_the_receiver_and_doctor_really_work_with_the_policy_s_actions_alone(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outputs = account.deploy()
    account.publish(*(document["detail"] for document in documents().values()))
    account.set("QueueUrl", ReceiveMessageWaitTimeSeconds="0")
    # moto knows no resources, and asks for batches by a permission of their own, which AWS has not.
    everywhere = [
        {
            **statement,
            "Resource": "*",
            "Action": [a + end for a in statement["Action"] for end in ("", "Batch")],
        }
        for statement in hub_policy(account)["Statement"]
    ]
    iam = account.bus.client("iam")
    iam.create_user(UserName="hub")
    policy = json.dumps({"Version": "2012-10-17", "Statement": everywhere})
    iam.put_user_policy(UserName="hub", PolicyName="hub", PolicyDocument=policy)
    key = iam.create_access_key(UserName="hub")["AccessKey"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("MILEPOST_SQS_QUEUE_URL", outputs["QueueUrl"])
    account.judge(True)
    try:
        looked = CliRunner().invoke(app, ["doctor", "--aws", "--json", "--url", "http://127.0.0.1:9"])
        # A process of its own: it sets up logging for good.
        command = [sys.executable, "-m", "milepost.cli.main", "receive", "--once", "--json"]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    finally:
        account.judge(False)
    assert not [f for f in json.loads(looked.stdout) if "permitted" in f["found"]]
    (received,) = json.loads(ran.stdout)
    assert (received["accepted"], received["deleted"]) == (len(documents()), len(documents()))
    assert account.received() == []


def test_without_a_queue_the_hub_may_still_receive_what_was_not_delivered(account: Account) -> None:
    """AWS's own StartMessageMoveTask takes only dead-letter queues of SQS queues, so the hub must be able to."""
    outputs = account.deploy(Delivery="api-destination", **DESTINATION)
    policy, name = hub_policy(account), outputs["UndeliveredQueueUrl"].rpartition("/")[2]
    assert all(permits(policy, call, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}") for call in KNOWN)


async def test_a_key_of_one_s_own_is_in_the_policy(account: Account) -> None:
    kms = account.bus.client("kms")
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))["KeyMetadata"]["Arn"]
    outputs = account.deploy(QueueKeyArn=key)
    async with Noting() as reader:
        await look(reader, source=SOURCE, queue_urls=[outputs["QueueUrl"]])
    made = {call for call in reader.calls if call[0].startswith("kms:")}
    assert made == {("kms:DescribeKey", key), ("kms:GetKeyPolicy", key)}
    policy = hub_policy(account)
    assert all(permits(policy, *call) for call in {*made, ("kms:Decrypt", key)})
    assert not permits(policy, "kms:Decrypt", KEY)


def test_the_policy_goes_to_the_role_or_user_that_is_asked_for(account: Account) -> None:
    iam = account.bus.client("iam")
    iam.create_role(RoleName="hub", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    outputs = account.deploy(HubRoleName="hub", HubUser="yes")
    (of_role,) = iam.list_attached_role_policies(RoleName="hub")["AttachedPolicies"]
    (of_user,) = iam.list_attached_user_policies(UserName=outputs["HubUserName"])["AttachedPolicies"]
    assert of_role["PolicyArn"] == of_user["PolicyArn"] == outputs["HubPolicyArn"]
    assert iam.list_access_keys(UserName=outputs["HubUserName"])["AccessKeyMetadata"] == []


def _listed(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given
