"""Messages and attempts over HTTP: filtered, paged, whose they are, and sending one again."""

from typing import Any

from msgspec.structs import replace
from tests.web.world import MINUTE, World

from milepost.domain.attempt import Attempt, Message
from milepost.domain.instant import Instant
from milepost.pipeline.capturing import ready_record
from milepost.store import Transaction


async def add(world: World, **fields: Any) -> str:
    answer = await world.post("/v1/subscribers", {"name": "oms", "url": "https://oms.example/hook"} | fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def tried(world: World, subscriber: str, outcome: Any, *, settle: bool = True) -> str:
    """A test message with one attempt, a minute after the last."""
    world.now = Instant(world.now + MINUTE)
    sent = (await world.post(f"/v1/subscribers/{subscriber}/test")).json()["messageId"]
    attempt = Attempt(
        sent, 1, world.now, 3, outcome, 200 if outcome == "delivered" else 500, "", "https://x", "{}"
    )

    def record(tx: Any) -> None:
        claimed = tx.attempts.claim(world.now, Instant(world.now + 1), 50, share=50, room={}, paced={})
        (message,) = [m for m in claimed if m.id == sent]
        state = "delivered" if outcome == "delivered" else "failed" if settle else "pending"
        assert tx.attempts.record([(attempt, replace(message, state=state, tries=1, lease_until=None))]) == [
            True
        ]
        tx.attempts.release([m for m in claimed if m.id != sent])

    await world.store.write(record)
    return str(sent)


async def items(world: World, path: str, key: str | None = None, **given: Any) -> list[dict[str, Any]]:
    """Every item, two a page."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        parameters = given | {"limit": 2} | ({"after": after} if after else {})
        answer = await (world.get(path, key, **parameters) if key else world.get(path, **parameters))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


async def test_attempts_are_filtered_and_paged(world: World) -> None:
    one, other = await add(world), await add(world)
    sent = []
    for number in range(5):
        outcome = "delivered" if number % 2 else "failed"
        sent.append((await tried(world, one, outcome), one))
        sent.append((await tried(world, other, "unknown"), other))
    assert [a["messageId"] for a in await items(world, "/v1/attempts")] == [id_ for id_, _ in sent]
    mine = [id_ for id_, subscriber in sent if subscriber == one]
    assert [a["messageId"] for a in await items(world, "/v1/attempts", subscriberId=one)] == mine
    failed = await items(world, "/v1/attempts", subscriberId=one, outcome="failed")
    assert [a["messageId"] for a in failed] == mine[::2]
    assert len(await items(world, "/v1/attempts", outcome="unknown")) == 5
    (only,) = await items(world, "/v1/attempts", messageId=mine[2])
    assert only == {
        "messageId": mine[2],
        "number": 1,
        "startedAt": only["startedAt"],
        "durationMs": 3,
        "outcome": "failed",
        "status": 500,
        "error": "",
        "target": "https://x",
        "response": "{}",
        "retryAfterMs": None,
        "manual": False,
    }
    later = await items(world, "/v1/attempts", since=only["startedAt"])
    assert [a["messageId"] for a in later] == [id_ for id_, _ in sent[4:]]
    mine_later = await items(world, "/v1/attempts", since=only["startedAt"], subscriberId=one)
    assert [a["messageId"] for a in mine_later] == mine[2:]
    assert (await world.get("/v1/attempts", since="yesterday")).status_code == 400
    assert (await world.get("/v1/attempts", messageId="unknown")).status_code == 404
    assert (await world.get("/v1/attempts", messageId=mine[0], subscriberId=other)).status_code == 404
    assert (await world.get("/v1/attempts", subscriberId="sub_unknown")).status_code == 404


async def test_messages_are_filtered_and_paged(world: World) -> None:
    one, other = await add(world), await add(world)
    delivered = [await tried(world, one, "delivered") for _ in range(3)]
    failed = await tried(world, other, "failed")
    assert [m["id"] for m in await items(world, "/v1/messages")] == [*delivered, failed]
    assert [m["id"] for m in await items(world, "/v1/messages", subscriberId=other)] == [failed]
    assert [m["id"] for m in await items(world, "/v1/messages", state="delivered")] == delivered
    position = (await world.get(f"/v1/messages/{failed}")).json()["position"]
    assert [m["id"] for m in await items(world, "/v1/messages", position=position)] == [failed]
    assert (await world.get("/v1/messages", state="lost")).status_code == 400


async def test_a_message_shows_what_is_sent_and_every_attempt(world: World) -> None:
    one = await add(world)
    sent = await tried(world, one, "failed")
    shown = (await world.get(f"/v1/messages/{sent}")).json()
    assert (shown["type"], shown["state"], shown["tries"]) == ("test", "failed", 1)
    assert '"type":"test"' in shown["body"]
    assert [a["outcome"] for a in shown["attempts"]] == ["failed"]


async def test_a_message_is_sent_again_with_its_id(world: World) -> None:
    one = await add(world)
    sent = await tried(world, one, "failed")
    answer = await world.post(f"/v1/messages/{sent}/resend")
    assert answer.status_code == 202
    again = answer.json()
    assert (again["id"], again["state"], again["manual"]) == (sent, "pending", True)
    assert (await world.post("/v1/messages/unknown/resend")).status_code == 404
    async with world.client() as client:
        await client.delete(f"/v1/subscribers/{one}")
    assert (await world.post(f"/v1/messages/{sent}/resend")).status_code == 409


async def test_what_tells_a_capture_is_not_sent_again_to_one_that_took_it(world: World) -> None:
    """Unless somebody said that collecting failed; and never once it is acknowledged."""
    one = await add(world)
    capture = await world.capture(state="SENT")

    def tell(tx: Transaction) -> str:
        (position,) = tx.journal.add([ready_record(capture, world.now)])
        tx.ledger.put_captures([replace(capture, position=position)])
        taken = Message(f"{position}-{one}", one, position, "delivered", 1, world.now)
        tx.attempts.enqueue([taken])
        return taken.id

    sent = await world.store.write(tell)
    refused = await world.post(f"/v1/messages/{sent}/resend")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await world.post(f"/v1/captures/{capture.id}/resend")).status_code == 409
    assert (await world.get(f"/v1/messages/{sent}")).json()["state"] == "delivered"
    assert (await world.post(f"/v1/captures/{capture.id}/fail")).status_code == 200
    assert (await world.post(f"/v1/messages/{sent}/resend")).status_code == 202
    assert (await world.post(f"/v1/captures/{capture.id}/resend")).status_code == 200
    assert (await world.get(f"/v1/messages/{sent}")).json()["state"] == "pending"
    assert (await world.post(f"/v1/captures/{capture.id}/acknowledge")).status_code == 200
    assert (await world.post(f"/v1/messages/{sent}/resend")).status_code == 409
    assert (await world.get(f"/v1/messages/{sent}")).json()["state"] == "dropped"


async def test_a_bound_key_sees_what_its_own_subscribers_get(world: World) -> None:
    others = await add(world)
    own = await add(world, businessProductIds=["bp-1"])
    theirs = [await tried(world, others, "failed") for _ in range(3)]
    mine = await tried(world, own, "delivered")
    bound = await world.key("operate", "bp-1")
    assert [m["id"] for m in await items(world, "/v1/messages", bound)] == [mine]
    assert [a["messageId"] for a in await items(world, "/v1/attempts", bound)] == [mine]
    assert [a["messageId"] for a in await items(world, "/v1/attempts", bound, subscriberId=own)] == [mine]
    assert (await world.get(f"/v1/messages/{theirs[0]}", bound)).status_code == 404
    assert (await world.get("/v1/attempts", bound, messageId=theirs[0])).status_code == 404
    assert (await world.get("/v1/attempts", bound, subscriberId=others)).status_code == 404
    assert (await world.post(f"/v1/messages/{theirs[0]}/resend", key=bound)).status_code == 404
    assert (await world.post(f"/v1/messages/{mine}/resend", key=bound)).status_code == 202
