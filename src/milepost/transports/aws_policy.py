"""Whether a policy of a queue or a key lets an AWS service do something: AWS's rules for resource policies, by value.

Known are the conditions that such policies are written with (`aws:SourceArn`, `aws:SourceAccount`, TLS, the service
itself) and their operators. A key that these requests do not have, and an operator that is not known, count as AWS
counts a key that is missing: not met, but for the negated operators. Fetching policies is `aws_setup`'s and its
neighbours'; users and roles are not judged here.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

Policy = Mapping[str, Any]


class Service(Struct, frozen=True):
    """An AWS service that acts for a resource of an account, such as EventBridge for a rule."""

    name: str
    """`events.amazonaws.com`"""
    source_arn: str
    account: str

    def values(self) -> dict[str, str]:
        """What conditions may ask of its requests, by their keys in lower case."""
        return {
            "aws:sourcearn": self.source_arn,
            "aws:sourceaccount": self.account,
            "aws:principalisawsservice": "true",
            "aws:principalservicename": self.name,
            "aws:securetransport": "true",
        }


def allows(policy: Policy, service: Service, action: str, resource: str) -> bool:
    """Whether the policy of `resource` lets `service` do `action`: one statement allows it, and none denies it."""
    applying = [s for s in _statements(policy) if _applies(s, service, action, resource)]
    effects = {str(statement.get("Effect")) for statement in applying}
    return "Allow" in effects and "Deny" not in effects


def sources_named(policy: Policy) -> list[str]:
    """The `aws:SourceArn`s that its allowing statements name, for people."""
    found: list[str] = []
    for statement in _statements(policy):
        if statement.get("Effect") == "Allow":
            for tests in _mapping(statement.get("Condition")).values():
                for key, value in _mapping(tests).items():
                    if key.lower() == "aws:sourcearn":
                        found.extend(_texts(value))
    return found


def _statements(policy: Policy) -> list[Mapping[str, Any]]:
    given = policy.get("Statement", [])
    listed = given if isinstance(given, list) else [given]
    return [statement for statement in listed if isinstance(statement, Mapping)]


def _applies(statement: Mapping[str, Any], service: Service, action: str, resource: str) -> bool:
    return (
        _concerns(statement, "Principal", lambda given: _is_principal(given, service.name))
        and _concerns(statement, "Action", lambda given: any(_like(p, action, any_case=True) for p in given))
        and _concerns(statement, "Resource", lambda given: any(_like(p, resource) for p in given))
        and _met(_mapping(statement.get("Condition")), service.values())
    )


def _concerns(statement: Mapping[str, Any], element: str, matches: Any) -> bool:
    """Whether an element, or its `Not…` form, speaks of the request. A policy may leave out the resource."""
    if f"Not{element}" in statement:
        return not matches(_element(statement[f"Not{element}"]))
    if element in statement:
        return bool(matches(_element(statement[element])))
    return element == "Resource"


def _element(given: Any) -> Any:
    return given if isinstance(given, Mapping) else _texts(given)


def _is_principal(given: Any, service: str) -> bool:
    if isinstance(given, Mapping):
        return "*" in _texts(given.get("AWS")) or bool({"*", service} & set(_texts(given.get("Service"))))
    return "*" in given


def _met(condition: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Every operator of every key; one of a key's values is enough."""
    return all(
        _test(operator, values.get(key.lower()), _texts(wanted))
        for operator, tests in condition.items()
        for key, wanted in _mapping(tests).items()
    )


def _test(operator: str, value: str | None, wanted: list[str]) -> bool:
    name = operator.rpartition(":")[2]  # ForAnyValue: and ForAllValues: are alike for one value
    if name == "Null":
        return (value is None) == ("true" in wanted)
    if name.endswith("IfExists"):
        if value is None:
            return True
        name = name.removesuffix("IfExists")
    negated = "Not" in name
    name = name.replace("Not", "")
    if value is None:
        return negated
    if name in ("ArnEquals", "ArnLike"):
        found = any(_arn_like(pattern, value) for pattern in wanted)
    elif name == "StringLike":
        found = any(_like(pattern, value) for pattern in wanted)
    elif name == "StringEquals":
        found = value in wanted
    elif name in ("StringEqualsIgnoreCase", "Bool"):
        found = value.lower() in [text.lower() for text in wanted]
    else:
        return False
    return found != negated


def _arn_like(pattern: str, arn: str) -> bool:
    """Six parts; a wildcard does not reach over a colon, but in the last part."""
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    return len(wanted) == len(given) and all(_like(p, part) for p, part in zip(wanted, given, strict=True))


def _like(pattern: str, text: str, *, any_case: bool = False) -> bool:
    """AWS's wildcards: `*` for any characters, `?` for one."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if any_case else 0)) is not None


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _texts(given: Any) -> list[str]:
    if isinstance(given, bool):
        return ["true" if given else "false"]
    if isinstance(given, str):
        return [given]
    return [text for item in given for text in _texts(item)] if isinstance(given, Iterable) else []
