"""Messages and attempts over HTTP: filtered, paged, whose they are, and sending one again."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.web.world import MINUTE, World

from milepost.domain.attempt import Attempt, Message
from milepost.domain.instant import Instant
from milepost.pipeline.capturing import ready_record
from milepost.sql.attempts import SqlAttempts
from milepost.store import Transaction

URL = "https://oms.example/hook"


async def add(world: World, **fields: Any) -> str:
    answer = await world.post("/v1/subscribers", {"name": "oms", "url": URL} | fields)
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


async def test_a_bound_key_sees_nothing_of_others_that_a_subscriber_got_before_it_was_limited(
    world: World,
) -> None:
    one = await add(world, businessProductIds=["bp-2"])
    foreign = await tried(world, one, "failed")
    waiting = (await world.post(f"/v1/subscribers/{one}/test")).json()["messageId"]
    begun = await world.post("/v1/replays", {"subscriberId": one, "businessProductId": "bp-2"})
    foreign_replay = begun.json()["replay"]["id"]
    async with world.client() as client:
        narrowed = await client.patch(f"/v1/subscribers/{one}", json={"businessProductIds": ["bp-1"]})
    assert narrowed.status_code == 200
    bound = await world.key("admin", "bp-1")
    assert (await world.get(f"/v1/subscribers/{one}", bound)).json()["health"]["lastAttempt"] is None
    assert await items(world, "/v1/messages", bound) == []
    for given in ({}, {"subscriberId": one}, {"since": "2025-01-01T00:00:00Z"}):
        assert await items(world, "/v1/attempts", bound, **given) == []
    for message in (foreign, waiting):
        assert (await world.get(f"/v1/messages/{message}", bound)).status_code == 404
        assert (await world.get("/v1/attempts", bound, messageId=message)).status_code == 404
        assert (await world.post(f"/v1/messages/{message}/resend", key=bound)).status_code == 404
    assert await items(world, "/v1/replays", bound) == []
    assert (await world.get(f"/v1/replays/{foreign_replay}", bound)).status_code == 404
    assert (await world.post(f"/v1/replays/{foreign_replay}/cancel", key=bound)).status_code == 404
    mine = await tried(world, one, "delivered")
    assert [m["id"] for m in await items(world, "/v1/messages", bound)] == [mine]
    assert [a["messageId"] for a in await items(world, "/v1/attempts", bound, subscriberId=one)] == [mine]
    shown = (await world.get(f"/v1/subscribers/{one}", bound)).json()
    assert shown["health"]["lastAttempt"]["messageId"] == mine
    assert [m["id"] for m in await items(world, "/v1/messages")] == [foreign, waiting, mine]


async def test_what_is_about_a_removed_record_a_bound_key_does_not_see(world: World) -> None:
    own = await add(world, businessProductIds=["bp-1"])
    mine = await tried(world, own, "delivered")
    bound = await world.key("operate", "bp-1")
    position = (await world.get(f"/v1/messages/{mine}", bound)).json()["position"]
    later = await tried(world, own, "delivered")
    await world.store.write(lambda tx: tx.journal.remove([position]))
    assert [m["id"] for m in await items(world, "/v1/messages", bound)] == [later]
    assert (await world.get(f"/v1/messages/{mine}", bound)).status_code == 404
    assert (await world.get(f"/v1/messages/{mine}")).status_code == 200


async def test_a_page_of_attempts_of_one_message_has_no_more_than_was_asked(world: World) -> None:
    one = await add(world)
    sent = await tried(world, one, "failed", settle=False)
    (message,) = await world.store.read(lambda tx: tx.attempts.messages(None, 5, destination_id=one))
    for number in range(2, 7):
        attempt = Attempt(sent, number, Instant(world.now + number // 2), 3, "failed", 500, "", URL, "")

        def record(tx: Any, attempt: Attempt = attempt) -> None:
            (claimed,) = tx.attempts.claim(world.now, Instant(world.now + 1), 5, share=5, room={}, paced={})
            after = replace(claimed, tries=attempt.number, lease_until=None)
            assert tx.attempts.record([(attempt, after)]) == [True]

        await world.store.write(record)
    last = await tried(world, one, "delivered")
    whole = [(sent, number) for number in range(1, 7)] + [(last, 1)]
    for limit in (1, 2, 3, 6, 7, 100):
        found, after = [], None
        while True:
            given = {"limit": limit} | ({"after": after} if after else {})
            page = (await world.get("/v1/attempts", subscriberId=one, **given)).json()
            assert len(page["items"]) <= limit
            found += [(a["messageId"], a["number"]) for a in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert found == whole, limit
    assert message.id == sent


async def test_a_small_page_of_attempts_takes_few_queries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await add(world)
    rows = [
        Message(f"{n}-{one}", one, n, "pending", 0, world.now, created_at=world.now) for n in range(1, 1_001)
    ]
    await world.store.write(lambda tx: tx.attempts.enqueue(rows))
    asked: list[int] = []
    whole = SqlAttempts.messages

    def counted(self: SqlAttempts, *given: Any, **named: Any) -> list[Message]:
        asked.append(1)
        return whole(self, *given, **named)

    monkeypatch.setattr(SqlAttempts, "messages", counted)
    assert (await world.get("/v1/attempts", subscriberId=one, limit=1)).json() == {"items": [], "next": None}
    assert len(asked) <= 6


@pytest.mark.parametrize("position", ["-1", str(1 << 53), str(1 << 70), "x"])
async def test_a_position_that_none_has_is_refused(world: World, position: str) -> None:
    answer = await world.get("/v1/messages", position=position)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
