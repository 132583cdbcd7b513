"""The template of `deploy/aws/` as a stack in the fake AWS: moto's CloudFormation, taught the types that it lacks.

`deploy(bus, …)` creates a stack over HTTP with a real client; `parameters` are the template's, by name. moto knows
buses, rules, archives, queues, policies, users and roles; queue policies, alarms, connections and API destinations
are ours, each one call of moto's own backend. One that moto has meanwhile ends the test.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from cfnlint.decode import cfn_yaml
from moto.cloudformation import parsing
from moto.cloudwatch.models import cloudwatch_backends
from moto.events.models import EventBus, events_backends
from moto.sqs.models import sqs_backends
from tests.partner_bus import PartnerBus

TEMPLATE = Path(__file__).parents[2] / "deploy" / "aws" / "milepost.yaml"
LACKING = (
    "AWS::SQS::QueuePolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::Events::Connection",
    "AWS::Events::ApiDestination",
)


class _Added:
    """A type that moto lacks. It lives in the backend that `_create` calls."""

    type: ClassVar[str]
    name_type: ClassVar[str] = ""

    def __init__(self, name: str, arn: str = "") -> None:
        self.physical_resource_id = name
        self.arn = arn

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.type

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.name_type

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attr: str) -> str:
        assert attr == "Arn", attr
        return self.arn

    def is_created(self) -> bool:
        return True


class QueuePolicy(_Added):
    type = LACKING[0]

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> "QueuePolicy":
        given = cloudformation_json["Properties"]
        for url in given["Queues"]:
            queue = sqs_backends[account_id][region_name].queues[url.rpartition("/")[2]]
            queue.policy = json.dumps(given["PolicyDocument"])
        return cls(resource_name)


class Alarm(_Added):
    type = LACKING[1]
    name_type = "AlarmName"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> "Alarm":
        given = cloudformation_json["Properties"]
        cloudwatch_backends[account_id][region_name].put_metric_alarm(
            name=resource_name,
            namespace=given["Namespace"],
            metric_name=given["MetricName"],
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=given["EvaluationPeriods"],
            period=given["Period"],
            threshold=given["Threshold"],
            statistic=given["Statistic"],
            description=given["AlarmDescription"],
            dimensions=given["Dimensions"],
            alarm_actions=given.get("AlarmActions", []),
            ok_actions=given.get("OKActions", []),
            treat_missing_data=given["TreatMissingData"],
        )
        return cls(resource_name)


class Connection(_Added):
    type = LACKING[2]
    name_type = "Name"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> "Connection":
        given = cloudformation_json["Properties"]
        made = events_backends[account_id][region_name].create_connection(
            resource_name, given["Description"], given["AuthorizationType"], given["AuthParameters"]
        )
        return cls(resource_name, made.arn)


class ApiDestination(_Added):
    type = LACKING[3]
    name_type = "Name"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> "ApiDestination":
        given = cloudformation_json["Properties"]
        backend = events_backends[account_id][region_name]
        backend.create_api_destination(
            resource_name,
            given["Description"],
            given["ConnectionArn"],
            given["InvocationEndpoint"],
            given["InvocationRateLimitPerSecond"],
            given["HttpMethod"],
        )
        return cls(resource_name, backend.destinations[resource_name].arn)


ADDED: dict[str, type[_Added]] = {
    added.type: added for added in (QueuePolicy, Alarm, Connection, ApiDestination)
}


def _clean(original: Callable[..., Any]) -> Callable[..., Any]:
    """What is `AWS::NoValue` is no member of a list either."""

    def clean_json(given: Any, resources: Any) -> Any:
        cleaned = original(given, resources)
        return [item for item in cleaned if item is not None] if isinstance(cleaned, list) else cleaned

    return clean_json


@contextmanager
def taught() -> Iterator[None]:
    """moto with what it lacks, for as long as a stack is being made. Ends the test where it lacks it no more."""
    models, names = parsing.get_model_map(), parsing.get_name_type_map()
    assert not {name for name in LACKING if models.get(name, ADDED[name]) is not ADDED[name]}, (
        "moto has these"
    )
    assert parsing.clean_json([{"Ref": "x"}], {"x": None}) == [None], "moto knows AWS::NoValue in lists"
    assert not hasattr(EventBus, "physical_resource_id"), "moto knows what Ref of a bus is"
    with ExitStack() as patches:
        patches.enter_context(patch.dict(models, ADDED))
        patches.enter_context(patch.dict(names, {n: a.cloudformation_name_type() for n, a in ADDED.items()}))
        patches.enter_context(patch.object(parsing, "clean_json", _clean(parsing.clean_json)))
        by_name = property(lambda bus: bus.name)
        patches.enter_context(patch.object(EventBus, "physical_resource_id", by_name, create=True))
        yield


@cache
def template() -> dict[str, Any]:
    """The template, with CloudFormation's short forms written out."""
    loaded: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))
    return loaded


def create(client: Any, name: str, body: str, parameters: dict[str, str]) -> None:
    """Create the stack by a CloudFormation client. moto takes the default of a list for a text, so it is given."""
    given = {"EventTypes": template()["Parameters"]["EventTypes"]["Default"], **parameters}
    client.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )


def outputs_of(client: Any, name: str) -> dict[str, str]:
    """The outputs of a stack that is complete."""
    (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def deploy(bus: PartnerBus, name: str = "milepost", **parameters: str) -> dict[str, str]:
    """Create the stack of the template. Returns its outputs."""
    client = bus.client("cloudformation")
    with taught():
        create(client, name, TEMPLATE.read_text("utf-8"), parameters)
        return outputs_of(client, name)
