"""Subscribers over HTTP: added, shown without secrets, changed, tested, given new keys; and whose they are."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.public_keys import checker_of
from tests.web.world import HOUR, World, event

from milepost.domain.attempt import Attempt, Message
from milepost.domain.instant import DAY, Instant
from milepost.domain.intent import decode
from milepost.domain.webhook_settings import WebhookSettings
from milepost.pipeline import signing_keys
from milepost.pipeline.history import CONSUMER

URL = "https://oms.example/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def add(world: World, key: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"name": "order management", "url": URL} | fields
    answer = await (world.post("/v1/subscribers", body, key) if key else world.post("/v1/subscribers", body))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def patch(world: World, id: str, body: object) -> Any:
    async with world.client() as client:
        return await client.patch(f"/v1/subscribers/{id}", json=body)


async def settings(world: World, id: str) -> WebhookSettings:
    found = await world.store.read(lambda tx: tx.attempts.destination(id))
    assert found is not None
    return msgspec.json.decode(found.settings, type=WebhookSettings)


async def test_a_secret_is_made_and_shown_once(world: World) -> None:
    made = await add(world)
    signing_keys.check_key(made["secret"])
    assert made["id"].startswith("sub_")
    assert (made["form"], made["kind"], made["live"], made["replayId"]) == ("milepost", "webhook", True, None)
    assert made["keys"] == [{"scheme": "v1", "publicKey": None, "until": None}]
    shown = await world.get(f"/v1/subscribers/{made['id']}")
    listed = await world.get("/v1/subscribers")
    for answer in (shown, listed):
        assert answer.status_code == 200
        assert made["secret"] not in answer.text
        assert "secret" not in answer.text
    assert listed.json()["items"][0]["id"] == made["id"]


async def test_credentials_and_headers_are_never_shown(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    auth = {"basicAuthConfig": {"username": "ada", "password": "a-pass-word"}}
    made = await add(world, auth=auth, headers=[{"key": "X-Token", "value": "tok-en"}], secret=SECRET)
    assert made["secret"] == SECRET
    assert (made["auth"], made["headers"]) == ("basic", ["X-Token"])
    changed = await patch(world, made["id"], {"name": "other"})
    rotated = (await world.post(f"/v1/subscribers/{made['id']}/rotate", {"overlapHours": 1})).json()
    listed = (await world.get("/v1/subscribers")).text
    logged = capsys.readouterr()
    assert "subscriber.rotated" in logged.out + logged.err
    assert rotated["secret"] not in logged.out + logged.err + listed
    for text in (str(made | {"secret": None}), changed.text, listed, logged.out, logged.err):
        assert "a-pass-word" not in text
        assert "tok-en" not in text
        assert SECRET not in text


async def test_a_pair_shows_its_public_half(world: World) -> None:
    made = await add(world, signature="v1a")
    assert made["secret"] is None
    (key,) = made["keys"]
    assert key["scheme"] == "v1a"
    checker_of(key["publicKey"])
    private = signing_keys.new_private_key()
    given = await add(world, secret=private)
    assert given["keys"][0]["publicKey"] == signing_keys.public_key_of(private)
    assert private not in str(given)


async def test_after_a_rotation_the_old_key_signs_along_until_its_time(world: World) -> None:
    made = await add(world, secret=SECRET)
    path = f"/v1/subscribers/{made['id']}/rotate"
    answer = await world.post(path, {"overlapHours": 2})
    assert answer.status_code == 200, answer.text
    rotated = answer.json()
    assert rotated["secret"] not in (None, SECRET)
    assert [key["until"] for key in rotated["keys"]] == [None, "2025-01-20T14:00:00Z"]
    signature = (await settings(world, made["id"])).signature
    assert signature is not None
    assert signature != "amazon"
    assert signature.standard.secrets == (rotated["secret"],)
    assert [(one.secret, one.until) for one in signature.standard.former] == [(SECRET, world.now + 2 * HOUR)]
    world.now = Instant(world.now + 3 * HOUR)
    third = (await world.post(path, {"overlapHours": 0, "signature": "v1a"})).json()
    assert third["secret"] is None
    assert [(key["scheme"], key["until"]) for key in third["keys"]] == [("v1a", None)]
    assert SECRET not in str(await settings(world, made["id"]))


async def test_history_is_sent_first_to_a_late_subscriber(world: World) -> None:
    for number in range(3):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
    made = await add(world, form="amazon", **{"from": "start"})
    assert made["live"] is False
    replay = await world.store.read(lambda tx: tx.attempts.replay(made["replayId"]))
    assert replay is not None
    assert (replay.kind, replay.cursor, replay.until, replay.state) == ("backfill", 0, None, "running")
    await world.store.write(lambda tx: tx.journal.set_checkpoint(CONSUMER, 3))
    await world.store.write(lambda tx: tx.attempts.put_replay(replace(replay, cursor=2, enqueued=2)))
    health = (await world.get(f"/v1/subscribers/{made['id']}")).json()["health"]
    assert health["backfill"] == {
        "replayId": replay.id,
        "kind": "backfill",
        "cursor": 2,
        "until": 3,
        "enqueued": 2,
    }


async def test_a_beginning_is_a_position_a_time_or_now(world: World) -> None:
    times = []
    for number in range(5):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
        times.append(world.at())

    async def cursor(begin: object) -> int | None:
        made = await add(world, **{"from": begin})
        found = await world.store.read(lambda tx: tx.attempts.destination(made["id"]))
        assert found is not None
        if made["replayId"] is None:
            assert found.after == 5
            return None
        assert found.after is None
        replay = await world.store.read(lambda tx: tx.attempts.replay(made["replayId"]))
        assert replay is not None
        return replay.cursor

    assert await cursor("now") is None
    assert await cursor("start") == 0
    assert await cursor(3) == 3
    assert await cursor(5) is None
    assert await cursor(times[0]) == 0
    assert await cursor(times[3]) == 3
    assert await cursor("2030-01-01T00:00:00Z") is None


async def test_what_cannot_be_is_refused(world: World) -> None:
    basic = {"basicAuthConfig": {"username": "a:b", "password": "x"}}
    for body in (
        None,
        {},
        {"name": "x"},
        {"name": "", "url": URL},
        {"name": "x", "url": "http://public.example/hook"},
        {"name": "x", "url": "ftp://oms.example"},
        {"name": "x", "url": "https://user:word@oms.example"},
        {"name": "x", "url": URL, "bus": "bus"},
        {"name": "x", "kind": "eventBus", "url": URL},
        {"name": "x", "kind": "eventBus", "bus": "aws.partner/x/y"},
        {"name": "x", "kind": "eventBus", "bus": "mine", "source": "aws.mine"},
        {"name": "x", "kind": "eventBus", "bus": "mine", "region": "Frankfurt"},
        {"name": "x", "url": URL, "form": "other"},
        {"name": "x", "url": URL, "eventTypes": ["no.such"]},
        {"name": "x", "url": URL, "expression": "data.("},
        {"name": "x", "url": URL, "expression": "unknown == 1"},
        {"name": "x", "url": URL, "rate": -1},
        {"name": "x", "url": URL, "secret": "whsec_short"},
        {"name": "x", "url": URL, "secret": SECRET, "signature": "none"},
        {"name": "x", "url": URL, "secret": SECRET, "signature": "v1a"},
        {"name": "x", "url": URL, "auth": basic},
        {"name": "x", "url": URL, "headers": [{"key": "Webhook-Id", "value": "x"}]},
        {"name": "x", "url": URL, "headers": [{"key": "bad name", "value": "x"}]},
        {"name": "x", "url": URL, "from": "yesterday"},
        {"name": "x", "url": URL, "from": -1},
        {"name": "x", "url": URL, "unknown": 1},
    ):
        answer = await world.post("/v1/subscribers", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
    assert (await world.get("/v1/subscribers")).json()["items"] == []


async def test_an_address_that_nothing_is_sent_to_is_refused_at_once(world: World) -> None:
    world = World(world.store, may_reach=lambda url: "10.0.0.1" not in url)
    refused = await world.post("/v1/subscribers", {"name": "x", "url": "http://10.0.0.1/hook"})
    assert refused.status_code == 400
    assert "MILEPOST_EGRESS_ALLOW" in refused.json()["detail"]
    made = await add(world)
    assert (await patch(world, made["id"], {"url": "http://10.0.0.1/hook"})).status_code == 400


async def test_a_change_leaves_the_rest(world: World) -> None:
    made = await add(world, eventTypes=["delivery.shipped"], carriers=["UPS"], rate=5, ordered=True)
    secret = (await settings(world, made["id"])).signature
    answer = await patch(
        world, made["id"], {"url": "https://other.example/hook", "expression": "has(data.state)"}
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["url"] == "https://other.example/hook"
    assert changed["expression"] == "has(data.state)"
    kept = ("eventTypes", "carriers", "rate", "ordered", "keys", "name")
    assert {name: changed[name] for name in kept} == {name: made[name] for name in kept}
    assert (await settings(world, made["id"])).signature == secret
    for body in ({"bus": "mine"}, {"form": "amazon"}, {"url": "nowhere"}, {"eventTypes": ["x"]}):
        assert (await patch(world, made["id"], body)).status_code == 400, body


async def test_types_of_amazon_are_taken_by_any_of_their_names(world: World) -> None:
    made = await add(world, form="amazon", eventTypes=["PACKAGE_DELIVERED", "DELIVERY_PACKAGE_DELIVERED"])
    assert "PACKAGE_DELIVERED" in made["eventTypes"]


async def test_a_test_message_is_for_one_subscriber_only(world: World) -> None:
    made, other = await add(world), await add(world, name="other")
    answer = await world.post(f"/v1/subscribers/{made['id']}/test")
    assert answer.status_code == 202, answer.text
    sent = answer.json()
    (message,) = (await world.get("/v1/messages")).json()["items"]
    assert (message["id"], message["type"], message["state"]) == (sent["messageId"], "test", "pending")
    assert (await world.get("/v1/messages", subscriberId=other["id"])).json()["items"] == []
    record = (await world.store.read(lambda tx: tx.journal.records([sent["position"]])))[sent["position"]]
    assert (record.kind, decode(record.body).data) == ("intent", {"subscriberId": made["id"]})
    await world.project()


async def test_what_comes_while_it_is_disabled_is_kept(world: World) -> None:
    made = await add(world)
    sent = (await world.post(f"/v1/subscribers/{made['id']}/test")).json()
    disabled = await world.post(f"/v1/subscribers/{made['id']}/disable")
    assert (disabled.status_code, disabled.json()["enabled"]) == (200, False)
    assert disabled.json()["reason"] == "disabled by API_KEY"
    health = (await world.get(f"/v1/subscribers/{made['id']}")).json()["health"]
    assert (health["held"], health["pending"]) == (1, 0)
    assert (await world.post(f"/v1/subscribers/{made['id']}/test")).status_code == 409
    enabled = (await world.post(f"/v1/subscribers/{made['id']}/enable")).json()
    assert (enabled["enabled"], enabled["reason"]) == (True, "")
    (message,) = (await world.get("/v1/messages", subscriberId=made["id"])).json()["items"]
    assert (message["id"], message["state"]) == (sent["messageId"], "pending")


@pytest.mark.parametrize(("days", "warning"), [(2.4, None), (2.5, 50), (3.6, 70), (4.6, 90)])
async def test_health_says_since_when_it_fails_and_warns(
    world: World, days: float, warning: int | None
) -> None:
    made = await add(world)
    sent = (await world.post(f"/v1/subscribers/{made['id']}/test")).json()
    attempt = Attempt(sent["messageId"], 1, world.now, 12, "failed", 500, "answered 500", URL, "no")

    def fail(tx: Any) -> None:
        (claimed,) = tx.attempts.claim(world.now, Instant(world.now + 60_000), 5, share=5, room={}, paced={})
        after: Message = replace(claimed, tries=1, lease_until=None)
        assert tx.attempts.record([(attempt, after)]) == [True]

    await world.store.write(fail)
    since = world.at()
    world.now = Instant(world.now + round(days * DAY))
    health = (await world.get(f"/v1/subscribers/{made['id']}")).json()["health"]
    assert (health["failingSince"], health["warning"], health["disabledAfterDays"]) == (since, warning, 5)
    assert health["lastAttempt"]["status"] == 500
    assert health["lastAttempt"]["response"] == "no"


async def test_a_removed_one_is_gone_and_its_history_ends(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, "order/o/delivery/d"))
    made = await add(world, **{"from": "start"})
    async with world.client() as client:
        assert (await client.delete(f"/v1/subscribers/{made['id']}")).status_code == 204
        assert (await client.delete(f"/v1/subscribers/{made['id']}")).status_code == 404
    assert (await world.get(f"/v1/subscribers/{made['id']}")).status_code == 404
    replay = await world.store.read(lambda tx: tx.attempts.replay(made["replayId"]))
    assert replay is not None
    assert (replay.state, replay.ended_at) == ("cancelled", world.now)


async def test_a_bound_key_manages_its_own_only(world: World) -> None:
    bound = await world.key("admin", "bp-1")
    everybodys = await add(world)
    others = await add(world, businessProductIds=["bp-2"])
    refused = await world.post(
        "/v1/subscribers", {"name": "x", "url": URL, "businessProductIds": ["bp-2"]}, bound
    )
    assert refused.status_code == 403
    own = await add(world, bound)
    assert own["businessProductIds"] == ["bp-1"]
    listed = (await world.get("/v1/subscribers", bound)).json()["items"]
    assert [item["id"] for item in listed] == [own["id"]]
    for foreign in (everybodys["id"], others["id"], "sub_unknown"):
        path = f"/v1/subscribers/{foreign}"
        assert (await world.get(path, bound)).status_code == 404
        for action in ("enable", "disable", "test"):
            assert (await world.post(f"{path}/{action}", None, bound)).status_code == 404
        assert (await world.post(f"{path}/rotate", {}, bound)).status_code == 404
        async with world.client(bound) as client:
            assert (await client.patch(path, json={"name": "mine"})).status_code == 404
            assert (await client.delete(path)).status_code == 404
    async with world.client(bound) as client:
        wider = await client.patch(f"/v1/subscribers/{own['id']}", json={"businessProductIds": ["bp-2"]})
        assert wider.status_code == 403
        wider = await client.patch(f"/v1/subscribers/{own['id']}", json={"businessProductIds": []})
        assert wider.json()["businessProductIds"] == ["bp-1"]


async def test_a_bound_key_chooses_no_event_bus(world: World) -> None:
    bound = await world.key("admin", "bp-1")
    wanted = {"name": "x", "kind": "eventBus", "bus": "mine", "businessProductIds": ["bp-1"]}
    refused = await world.post("/v1/subscribers", wanted, bound)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    made = (await world.post("/v1/subscribers", wanted)).json()
    path = f"/v1/subscribers/{made['id']}"
    async with world.client(bound) as client:
        for change in ({"bus": "other"}, {"region": "eu-west-1"}, {"source": "other"}):
            assert (await client.patch(path, json={"name": "y"} | change)).status_code == 403, change
        assert (await client.patch(path, json={"name": "y"})).json()["bus"] == "mine"
    assert (await patch(world, made["id"], {"bus": "other"})).json()["bus"] == "other"


@pytest.mark.parametrize(
    "url",
    ["https://other.example/hook", "https://oms.example:8443/hook", "https://oms.example.other.example/"],
)
async def test_credentials_do_not_go_along_to_another_server(world: World, url: str) -> None:
    basic = {"basicAuthConfig": {"username": "ada", "password": "a-pass-word"}}
    headers = [{"key": "X-Token", "value": "tok-en"}]
    made = await add(world, auth=basic, headers=headers)
    for body, field in (
        ({"url": url}, "auth"),
        ({"url": url, "auth": None}, "headers"),
        ({"url": url, "headers": []}, "auth"),
    ):
        refused = await patch(world, made["id"], body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), body
        assert field in refused.json()["detail"]
    kept = await settings(world, made["id"])
    assert (kept.url, kept.headers[0].value) == (URL, "tok-en")
    for same in ("https://oms.example/other", "https://OMS.example:443/hook"):
        assert (await patch(world, made["id"], {"url": same})).json()["auth"] == "basic"
    moved = await patch(world, made["id"], {"url": url, "auth": None, "headers": headers})
    assert (moved.json()["url"], moved.json()["auth"], moved.json()["headers"]) == (url, "none", ["X-Token"])
    assert (await patch(world, made["id"], {"url": URL, "headers": []})).status_code == 200
    assert (await patch(world, made["id"], {"url": url})).status_code == 200


async def test_what_it_is_no_longer_to_get_is_not_sent(world: World) -> None:
    made = await add(world, businessProductIds=["bp-2"])
    path = f"/v1/subscribers/{made['id']}"
    foreign = (await world.post(f"{path}/test")).json()["messageId"]
    await patch(world, made["id"], {"businessProductIds": ["bp-1", "bp-2"]})
    own = (await world.post(f"{path}/test")).json()["messageId"]
    await world.post(f"{path}/disable")
    assert (await patch(world, made["id"], {"businessProductIds": ["bp-1"], "name": "x"})).status_code == 200
    await world.post(f"{path}/enable")
    listed = (await world.get("/v1/messages", subscriberId=made["id"])).json()["items"]
    assert [(m["id"], m["state"]) for m in listed] == [(foreign, "dropped"), (own, "pending")]
    assert "business product" in listed[0]["reason"]
