"""What each of the Python examples needs of Buy with Prime: who may call, what an event says, what the API adds.

The standard library only. WEBHOOK_USERNAME and WEBHOOK_PASSWORD are what the subscription presents; BWP_API_URL,
BWP_CLIENT_ID, BWP_CLIENT_SECRET and BWP_TARGET_ID are for the API.
"""

import base64
import hmac
import json
import os
import time
import urllib.parse
import urllib.request

API = os.environ.get("BWP_API_URL", "https://api.buywithprime.amazon.com")
ORDER = """query ($id: ID!) { order(orderIdentifier: { orderId: $id }) { id packageInformation {
  summary { state } details { id state packageTracker { trackingUrl
    packageTrackerIdentifier { carrierCode trackingNumber } } } } } }"""
TRACKER = """query ($id: PackageTrackerIdentifierInput!) {
  packageTracker(packageTrackerInput: { packageTrackerIdentifier: $id }) {
    trackingUrl latestMilestone { occurredAt status { code } } estimatedDeliveryDate { earliest latest } } }"""

_token = {"value": "", "until": 0.0}


def is_authorized(authorization: str | None) -> bool:
    """Whether the Authorization header has the user name and the password of the subscription."""
    pair = f"{os.environ['WEBHOOK_USERNAME']}:{os.environ['WEBHOOK_PASSWORD']}".encode()
    expected = b"Basic " + base64.b64encode(pair)
    return hmac.compare_digest((authorization or "").encode(), expected)


def parse(body: bytes | str) -> dict:
    """The event of a webhook body, or of an EventBridge document. Raises ValueError for anything else."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("this is nested too deeply") from None
    event = document.get("detail", document) if isinstance(document, dict) else None
    if not isinstance(event, dict) or not isinstance(event.get("resources"), list):
        raise ValueError("this is no Buy with Prime event")
    for name in ("idempotencyKey", "eventId", "eventDescriptor"):
        if not isinstance(event.get(name), str) or not event[name].isprintable() or not event[name]:
            raise ValueError(f"{name} is missing, or no text")
    for resource in event["resources"]:
        pairs_of(resource)
    return event


def pairs_of(resource: str) -> dict[str, str]:
    """businessProduct/bp-1/order/o-1/delivery/d-1 by its keys. Never by position: a milestone's resource has an
    order in it, or not."""
    if not isinstance(resource, str) or len(parts := resource.split("/")) % 2 or "" in parts:
        raise ValueError(f"{resource!r} is no resource")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def learn(event: dict) -> dict:
    """What an event is about and how that stands now: events are thin, and may come late or out of order."""
    ids = {key: value for resource in event["resources"] for key, value in pairs_of(resource).items()}
    answer = None
    if "tracker" in ids:
        tracker = {"carrierCode": ids["carrier"], "trackingNumber": ids["tracker"]}
        answer = ask(TRACKER, {"id": tracker}, ids["businessProduct"])["packageTracker"]
    elif "order" in ids:
        answer = ask(ORDER, {"id": ids["order"]}, ids["businessProduct"])["order"]
    return {"eventId": event["eventId"], "type": event["eventDescriptor"], **ids, "answer": answer}


def ask(query: str, variables: dict, target_id: str) -> dict:
    """One query. Raises when the API does not answer it: an answer 200 may hold errors."""
    headers = {
        "authorization": f"Bearer {token()}",
        "content-type": "application/json",
        "x-api-target-id": os.environ.get("BWP_TARGET_ID", target_id),
        "x-api-version": "2024-11-01",
    }
    answer = post("/graphql", json.dumps({"query": query, "variables": variables}), headers)
    if answer.get("errors"):
        raise RuntimeError(answer["errors"])
    return answer["data"]


def token() -> str:
    """A token by client credentials, kept until shortly before it expires."""
    if time.monotonic() >= _token["until"]:
        form = {
            "grant_type": "client_credentials",
            "client_id": os.environ["BWP_CLIENT_ID"],
            "client_secret": os.environ["BWP_CLIENT_SECRET"],
        }
        answer = post("/token", urllib.parse.urlencode(form), {})
        _token.update(value=answer["access_token"], until=time.monotonic() + answer["expires_in"] - 60)
    return _token["value"]


def post(path: str, body: str, headers: dict[str, str]) -> dict:
    request = urllib.request.Request(API + path, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)
