"""A target of an EventBridge rule, as AWS describes it: what it is, and what goes along with it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Target(Struct, frozen=True):
    """One target of one rule."""

    rule_arn: str
    rule: str
    given: Mapping[str, Any]
    """AWS's words, from ListTargetsByRule."""

    @property
    def name(self) -> str:
        return str(self.given.get("Id"))

    @property
    def arn(self) -> str:
        return str(self.given.get("Arn"))

    @property
    def kind(self) -> str:
        """`sqs`, `api-destination`, or the service's name."""
        service, resource = (self.arn.split(":", 5) + [""] * 6)[2:6:3]
        return "api-destination" if resource.startswith("api-destination/") else service

    @property
    def resource(self) -> str:
        """The name of the queue or of the API destination."""
        last = self.arn.split(":", 5)[-1]
        return last.split("/")[1] if self.kind == "api-destination" else last

    @property
    def undelivered_arn(self) -> str | None:
        """The queue for what EventBridge could not deliver here."""
        arn = self.given.get("DeadLetterConfig", {}).get("Arn")
        return str(arn) if arn else None

    @property
    def role_arn(self) -> str | None:
        """The role that EventBridge takes on to reach it; None: it comes as itself."""
        return str(self.given["RoleArn"]) if self.given.get("RoleArn") else None

    @property
    def group_id(self) -> str | None:
        """The group that its messages get in a FIFO queue."""
        group = self.given.get("SqsParameters", {}).get("MessageGroupId")
        return str(group) if group else None
