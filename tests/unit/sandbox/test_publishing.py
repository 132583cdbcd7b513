"""The routes that show what was published and what became of it: a real sandbox, a real receiver."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.sandbox.asking import Asking, config
from tests.unit.transports.receiver import Receiver, answering

from milepost.domain.attempt import Destination
from milepost.domain.breaker import POLICY
from milepost.domain.instant import DAY, SECOND
from milepost.sandbox import publishing
from milepost.sandbox.program import Sandbox

SETTINGS = (
    b'{"url":"%s","auth":{"basicAuthConfig":{"username":"u","password":"a-secret"}},"authProfileId":"profile",'
    b'"subscription":{"eventType":"DELIVERY_COMPLETED","apiVersion":"2024-11-01"}}'
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest.fixture
async def client(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Asking]:
    """A sandbox with one subscription, to PACKAGE_DELIVERED by its old name."""
    sandbox = Sandbox(config(tmp_path, breaker=POLICY))
    await sandbox.open()
    url = f"{receiver.url}/hook"
    destination = Destination(
        "sub-1", "webhook", SETTINGS % url.encode(), ("PACKAGE_DELIVERED",), endpoint=url
    )
    await sandbox.store.write(lambda tx: tx.attempts.put_destination(destination))
    asking = Asking(sandbox)
    yield asking
    await asking.close()
    await sandbox.close()


async def cause(client: Asking, type: str = "PACKAGE_DELIVERED") -> str:
    """Cause an event and what comes before it; the last one's eventId."""
    caused = await client.post("/sandbox/events", {"type": type})
    event_id: str = caused["events"][-1]["eventId"]
    return event_id


async def step(client: Asking, milliseconds: int) -> None:
    client.sandbox.clock.advance(milliseconds)
    await client.sandbox.settle()


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_is_shown_with_what_was_sent(client: Asking, receiver: Receiver) -> None:
    event_id = await cause(client)
    await client.sandbox.settle()
    (item,) = (await client.get(f"/sandbox/events?eventId={event_id}"))["items"]
    assert (item["eventId"], item["type"]) == (event_id, "PACKAGE_DELIVERED")
    assert not {"subscriptionId", "idempotencyKey"} & set(item["body"]), "it is nobody's yet"
    assert item["data"]["order"]["id"] in item["resources"][0]
    (message,) = item["messages"]
    assert message["subscriptionId"] == "sub-1"
    assert (message["state"], message["tries"], message["nextDueAt"]) == ("delivered", 1, None)
    (received,) = await receiver.got(1)
    assert msgspec.json.decode(received.body) == message["body"]
    assert message["body"]["eventDescriptor"] == "DELIVERY_COMPLETED"


async def test_an_event_is_found_before_it_became_messages(client: Asking) -> None:
    event_id = await cause(client)
    (item,) = (await client.get(f"/sandbox/events?eventId={event_id}"))["items"]
    assert item["messages"] == []
    assert (await client.get("/sandbox/events?eventId=nobody", status=404))["code"] == "not_found"


async def test_events_are_listed_in_pages(client: Asking) -> None:
    ids = [await cause(client) for _ in range(3)]
    everything = (await client.get("/sandbox/events"))["items"]
    assert [item["position"] for item in everything] == sorted(item["position"] for item in everything)
    seen: list[str] = []
    after: str | None = "0"
    while after is not None:
        page = await client.get(f"/sandbox/events?limit=2&after={after}")
        assert len(page["items"]) <= 2
        seen += [item["eventId"] for item in page["items"]]
        after = page["next"]
    assert seen == [item["eventId"] for item in everything]
    for name in ("PACKAGE_DELIVERED", "DELIVERY_COMPLETED"):
        typed = await client.get(f"/sandbox/events?type={name}")
        assert [item["eventId"] for item in typed["items"]] == ids
    newest = await client.get("/sandbox/events?newest=true&limit=2&type=PACKAGE_DELIVERED")
    assert [item["eventId"] for item in newest["items"]] == ids[1:]
    for wrong in ("limit=many", "after=x"):
        assert (await client.get(f"/sandbox/events?{wrong}", status=400))["code"] == "invalid_request"


# ── Attempts and resending ─────────────────────────────────────────────────────────────────────────────────


async def test_every_attempt_is_shown(client: Asking, receiver: Receiver) -> None:
    receiver.answer = answering(503, retry_after="60")
    event_id = await cause(client)
    await client.sandbox.settle()
    (message,) = (await client.get(f"/sandbox/events?eventId={event_id}"))["items"][0]["messages"]
    assert (message["state"], message["tries"]) == ("pending", 1)
    assert message["nextDueAt"] == "2025-01-20T12:01:00Z", message
    receiver.answer = answering(200)
    await step(client, 61 * SECOND)
    other = await cause(client)
    await client.sandbox.settle()
    of_event = (await client.get(f"/sandbox/attempts?eventId={event_id}"))["items"]
    assert [(a["number"], a["status"], a["outcome"]) for a in of_event] == [
        (1, 503, "failed"),
        (2, 200, "delivered"),
    ]
    assert of_event[0]["retryAfterMs"] == 60_000
    assert (await client.get(f"/sandbox/attempts?messageId={message['messageId']}"))["items"] == of_event
    first = await client.get("/sandbox/attempts?limit=1")
    assert first["items"] == of_event[:1]
    rest = await client.get(f"/sandbox/attempts?after={first['next']}")
    assert len(rest["items"]) == 2
    assert of_event[1] in rest["items"]
    assert [a["number"] for a in (await client.get(f"/sandbox/attempts?eventId={other}"))["items"]] == [1]
    assert rest["next"] is None
    for wrong, status in (("after=x", 400), ("messageId=x", 404), ("eventId=x", 404)):
        await client.get(f"/sandbox/attempts?{wrong}", status=status)


async def test_an_event_is_sent_again_by_hand(client: Asking, receiver: Receiver) -> None:
    event_id = await cause(client)
    await client.sandbox.settle()
    answer = await client.post("/sandbox/resend", {"eventId": event_id, "subscriptionId": "sub-1"})
    (message,) = answer["messages"]
    assert message["state"] == "pending"
    await client.sandbox.settle()
    received = await receiver.got(2)
    assert received[0].body == received[1].body
    attempts = (await client.get(f"/sandbox/attempts?messageId={message['messageId']}"))["items"]
    assert [a["manual"] for a in attempts] == [False, True]
    await client.post("/sandbox/resend", {"messageId": message["messageId"]})
    await client.sandbox.settle()
    await receiver.got(3)


async def test_an_event_that_is_no_message_yet_is_waited_for_but_not_for_ever(
    client: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = await cause(client)
    waiting = asyncio.create_task(client.post("/sandbox/resend", {"eventId": event_id}))
    await client.sandbox.settle()
    assert len((await waiting)["messages"]) == 1
    monkeypatch.setattr(publishing, "_LOOKS", 1)
    await client.post("/sandbox/resend", {"eventId": await cause(client)}, status=409)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"eventId": "x", "messageId": "y"}, 400),
        ({"eventId": 1}, 400),
        ({"eventId": "x"}, 404),
        ({"messageId": "x"}, 404),
    ],
)
async def test_what_cannot_be_sent_again(client: Asking, body: Any, status: int) -> None:
    await client.post("/sandbox/resend", body, status=status)


async def test_nothing_goes_to_a_subscription_that_never_wanted_it(client: Asking) -> None:
    event_id = await cause(client)
    await client.sandbox.settle()
    refused = await client.post("/sandbox/resend", {"eventId": event_id, "subscriptionId": "sub-2"}, 404)
    assert "sub-2" in refused["detail"]


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_subscription_is_shown_with_its_health_and_without_secrets(
    client: Asking, receiver: Receiver
) -> None:
    (before,) = (await client.get("/sandbox/subscriptions"))["items"]
    assert (before["lastAttempt"], before["breaker"], before["enabled"]) == (None, "closed", True)
    assert (before["eventType"], before["auth"], before["authProfileId"]) == (
        "DELIVERY_COMPLETED",
        "basicAuthConfig",
        "profile",
    )
    assert before["url"] == f"{receiver.url}/hook"
    receiver.answer = answering(503)
    for _ in range(5):
        await cause(client)
    await client.sandbox.settle()
    (failing,) = (await client.get("/sandbox/subscriptions"))["items"]
    assert failing["breaker"] == "open"
    assert failing["breakerUntil"] > "2025-01-20T12:00:00"
    assert failing["messages"] == {"pending": 5, "held": 0, "delivered": 0, "failed": 0}
    assert (failing["lastAttempt"]["status"], failing["lastAttempt"]["outcome"]) == (503, "failed")
    receiver.answer = answering(410)
    await step(client, DAY)
    (gone,) = (await client.get("/sandbox/subscriptions?id=sub-1"))["items"]
    assert not gone["enabled"]
    assert "410" in gone["reason"]
    assert gone["messages"]["held"] == 4
    assert gone["messages"]["failed"] + gone["messages"]["held"] == 5
    assert "a-secret" not in str(gone)
    await client.get("/sandbox/subscriptions?id=x", status=404)
    receiver.answer = answering(200)
    taken_up = await client.post("/sandbox/subscriptions", {"subscriptionId": "sub-1"})
    assert (taken_up["enabled"], taken_up["messages"]["held"]) == (True, 0)
    await step(client, DAY)
    (well,) = (await client.get("/sandbox/subscriptions"))["items"]
    assert well["messages"]["delivered"] == 4
    await client.post("/sandbox/subscriptions", {"subscriptionId": "x"}, status=404)


async def test_subscriptions_are_listed_in_pages(client: Asking) -> None:
    for number in (2, 3):
        destination = Destination(f"sub-{number}", "eventbridge", b'{"source":"aws.partner/x"}')
        await client.sandbox.store.write(lambda tx, d=destination: tx.attempts.put_destination(d))  # type: ignore[misc]
    first = await client.get("/sandbox/subscriptions?limit=2")
    assert [item["subscriptionId"] for item in first["items"]] == ["sub-1", "sub-2"]
    (last,) = (await client.get(f"/sandbox/subscriptions?limit=2&after={first['next']}"))["items"]
    assert (last["subscriptionId"], last["source"], last["url"]) == ("sub-3", "aws.partner/x", None)


async def test_whoever_runs_the_sandbox_ends_any_subscription(tmp_path: Path) -> None:
    sandbox = Sandbox(config(tmp_path, hub_url="http://127.0.0.1:1/hook"))
    await sandbox.open()
    asking = Asking(sandbox)
    try:
        listed = (await asking.get("/sandbox/subscriptions"))["items"]
        (ended,) = [one["subscriptionId"] for one in listed if one["eventType"] == "PACKAGE_DELIVERED"]
        answer = await asking.request("DELETE", f"/sandbox/subscriptions?subscriptionId={ended}")
        assert answer.json() == {"subscriptionId": ended}
        left = (await asking.get("/sandbox/subscriptions"))["items"]
        assert len(left) == len(listed) - 1
        assert ended not in {one["subscriptionId"] for one in left}
        again = await asking.request("DELETE", f"/sandbox/subscriptions?subscriptionId={ended}")
        assert (again.status_code, again.json()["code"]) == (404, "not_found")
        assert (await asking.request("DELETE", "/sandbox/subscriptions")).status_code == 400
    finally:
        await asking.close()
        await sandbox.close()
