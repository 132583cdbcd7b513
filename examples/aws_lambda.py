"""An AWS Lambda handler: for webhooks behind a function URL or an API Gateway, and as an EventBridge rule's target.

A DynamoDB table (TABLE, partition key `id`, a string) knows which events were handled, by idempotencyKey and by
eventId. A query takes a moment only, so it is asked before answering: when it fails, the event comes again.
What is being handled is marked for a minute, so that a function that is killed loses nothing.
"""

import base64
import json
import os
import time

import boto3

import buy_with_prime

dynamodb = boto3.client("dynamodb")
LEASE_S, FOREVER = 60, 1 << 40


def handle(event: dict) -> None:
    """Here your own work begins."""
    print(json.dumps(buy_with_prime.learn(event)), flush=True)


def handler(request: dict, context: object) -> dict:
    if "detail-type" in request:
        # An EventBridge rule calls again when this raises, and gives up into its dead-letter queue.
        handle_once(buy_with_prime.parse(json.dumps(request)))
        return {}
    headers = {name.lower(): value for name, value in request["headers"].items()}
    if not buy_with_prime.is_authorized(headers.get("authorization")):
        return {"statusCode": 401, "headers": {"www-authenticate": "Basic"}}
    body = request.get("body") or ""
    try:
        event = buy_with_prime.parse(base64.b64decode(body) if request.get("isBase64Encoded") else body)
    except ValueError as e:
        return {"statusCode": 400, "body": str(e)}
    handle_once(event)
    return {"statusCode": 204}


def handle_once(event: dict) -> None:
    if not mark(event, time.time() + LEASE_S, "attribute_not_exists(id) OR heldUntil < :now"):
        return
    try:
        handle(event)
    except BaseException:
        mark(event, 0)
        raise
    mark(event, FOREVER)


def mark(event: dict, until: float, condition: str = "") -> bool:
    """Mark the event by both its ids, or by none: False when the condition does not hold."""
    only = {"ConditionExpression": condition, "ExpressionAttributeValues": {":now": {"N": str(time.time())}}}
    puts = [
        {
            "TableName": os.environ["TABLE"],
            "Item": {"id": {"S": f"{name}#{event[name]}"}, "heldUntil": {"N": str(until)}},
            **(only if condition else {}),
        }
        for name in ("idempotencyKey", "eventId")
    ]
    try:
        dynamodb.transact_write_items(TransactItems=[{"Put": put} for put in puts])
    except dynamodb.exceptions.TransactionCanceledException as e:
        if any(reason["Code"] == "ConditionalCheckFailed" for reason in e.response["CancellationReasons"]):
            return False
        raise
    return True
