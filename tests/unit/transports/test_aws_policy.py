"""Whether a resource policy lets a service through: statements, principals, wildcards, conditions, denial."""

from typing import Any

import pytest

from milepost.transports.aws_policy import Service, allows, sources_named

QUEUE = "arn:aws:sqs:us-east-1:123456789012:events"
RULE = "arn:aws:events:us-east-1:123456789012:rule/aws.partner/buywithprime/shop/milepost"
EVENTBRIDGE = Service("events.amazonaws.com", RULE, "123456789012")
SEND = "sqs:SendMessage"


def statement(**changes: Any) -> dict[str, Any]:
    """The statement that the template writes; None takes an element out."""
    given = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": SEND,
        "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": RULE}},
        **changes,
    }
    return {key: value for key, value in given.items() if value is not None}


def lets(*statements: dict[str, Any]) -> bool:
    return allows({"Version": "2012-10-17", "Statement": list(statements)}, EVENTBRIDGE, SEND, QUEUE)


LET_THROUGH: list[dict[str, Any]] = [
    {},
    {"Principal": "*"},
    {"Principal": {"AWS": "*"}},
    {"Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}},
    {"NotPrincipal": {"Service": "sns.amazonaws.com"}, "Principal": None},
    {"Action": "SQS:sendmessage"},
    {"Action": ["sqs:ReceiveMessage", "sqs:Send*"]},
    {"Action": "*"},
    {"NotAction": "sqs:Delete*", "Action": None},
    {"Resource": "*"},
    {"Resource": "arn:aws:sqs:*:*:event?"},
    {"Resource": None},
    {"Condition": None},
    {"Condition": {}},
    {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:*:rule/aws.partner/*"}}},
    {"Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012"}}},
    {"Condition": {"StringEquals": {"aws:SourceAccount": ["1", "123456789012"]}}},
    {"Condition": {"ForAnyValue:StringLike": {"aws:SourceArn": "*/milepost"}}},
    {"Condition": {"StringNotEquals": {"aws:SourceAccount": "1"}}},
    {"Condition": {"Bool": {"aws:SecureTransport": True}}},
    {"Condition": {"Bool": {"aws:PrincipalIsAWSService": "true"}}},
    {"Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}},
    {"Condition": {"Null": {"aws:PrincipalOrgID": "true"}}},
    {"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:events:*:*:rule/default/*"}}},
]
KEPT_OUT: list[dict[str, Any]] = [
    {"Effect": "Deny"},
    {"Principal": {"Service": "sns.amazonaws.com"}},
    {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
    {"Principal": None},
    {"NotPrincipal": {"Service": "events.amazonaws.com"}, "Principal": None},
    {"Action": "sqs:ReceiveMessage"},
    {"Action": "sqs:SendMessage2"},
    {"Action": None},
    {"NotAction": "sqs:Send*", "Action": None},
    {"Resource": QUEUE + "-2"},
    {"Resource": QUEUE.upper()},
    {"Condition": {"ArnEquals": {"aws:SourceArn": RULE + "-2"}}},
    {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:rule/*"}}},
    {"Condition": {"ArnLike": {"aws:SourceArn": "*"}}},
    {"Condition": {"StringEquals": {"aws:SourceArn": RULE.upper()}}},
    {"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012", "aws:SourceArn": "other"}}},
    {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
    {"Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    {"Condition": {"Null": {"aws:SourceArn": "true"}}},
    {"Condition": {"IpAddress": {"aws:SourceArn": RULE}}},
]


@pytest.mark.parametrize("changes", LET_THROUGH, ids=str)
def test_a_statement_that_lets_it_through(changes: dict[str, Any]) -> None:
    assert lets(statement(**changes))


@pytest.mark.parametrize("changes", KEPT_OUT, ids=str)
def test_a_statement_that_does_not(changes: dict[str, Any]) -> None:
    assert not lets(statement(**changes))


def test_one_denial_outweighs_every_permission() -> None:
    plain = statement(Effect="Deny", Principal="*", Condition=None)
    insecure = statement(Effect="Deny", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    assert not lets(statement(), plain)
    assert not lets(plain, statement())
    assert lets(statement(), insecure)


def test_what_is_no_policy_lets_nobody_through() -> None:
    for policy in ({}, {"Statement": "x"}, {"Statement": [1, None]}, {"Statement": []}):
        assert not allows(policy, EVENTBRIDGE, SEND, QUEUE)
    assert allows({"Statement": statement()}, EVENTBRIDGE, SEND, QUEUE)


def test_the_sources_that_a_policy_names() -> None:
    others = statement(Condition={"ArnLike": {"AWS:SourceArn": ["a", "b"]}})
    denied = statement(Effect="Deny")
    assert sources_named({"Statement": [statement(), others, denied]}) == [RULE, "a", "b"]
    assert sources_named({}) == []
