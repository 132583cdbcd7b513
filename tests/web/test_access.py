"""Who gets in: every route with no key, a wrong one, a foreign one and one of too small a scope."""

from typing import Any

import pytest
from tests.web.filling import fill
from tests.web.world import ADMIN_KEY, START, World

from milepost.domain.capture import capture_id
from milepost.domain.notification import notification_id
from milepost.store import ItemKey, Store
from milepost.web.app import ROUTES
from milepost.web.paging import encode_cursor

PUBLIC = {"/healthz", "/readyz", "/track", "/track/{token:str}", "/unsubscribe/{token:str}"}
CAPTURE_VERBS = ("acknowledge", "fail", "hold", "release", "void", "resend")
CAPTURE = f"/v1/captures/{capture_id('bp-1', 'order-1', 'delivery-1')}"
NOTIFICATION = f"/v1/notifications/{notification_id('bp-1', 'order-1', 'delivery-1', 'shipped', '')}"

SINGLE = {
    "/v1/orders/order-1",
    "/v1/orders/order-1/explain",
    "/v1/orders/order-1/timeline",
    "/v1/orders/order-1/status",
    "/v1/orders/order-1/notes",
    "/v1/orders/order-1/corrections",
    "/v1/orders/order-1/notifications",
    CAPTURE,
    NOTIFICATION,
    "/v1/deliveries/delivery-1",
    "/v1/deliveries/delivery-1/explain",
    "/v1/trackers/UPS/1Z999",
    "/v1/trackers/UPS/1Z999/explain",
    "/v1/events/event-1",
    "/v1/quarantine/1",
}
LISTS = {
    "/v1/orders",
    "/v1/deliveries",
    "/v1/trackers",
    "/v1/events",
    "/v1/search?q=order-1",
    "/v1/customers?email=ada@example.com",
    "/v1/quarantine",
    "/v1/hydration",
    "/v1/failures",
    "/v1/captures",
    "/v1/notifications",
    "/v1/choices",
    "/v1/accounting/entries",
    "/v1/accounting/periods",
    "/v1/missing/overdue",
    "/v1/queues/captures-held",
}
SUBSCRIBERS = {
    ("GET", "/v1/subscribers/sub_1"),
    ("POST", "/v1/subscribers/sub_1/test"),
    ("GET", "/v1/messages/1-sub_1"),
    ("POST", "/v1/messages/1-sub_1/resend"),
    ("POST", "/v1/replays"),
    ("GET", "/v1/replays/rpl_1"),
    ("POST", "/v1/replays/rpl_1/cancel"),
}
SUBSCRIBERS_ADMIN = {
    ("PATCH", "/v1/subscribers/sub_1"),
    ("DELETE", "/v1/subscribers/sub_1"),
    ("POST", "/v1/subscribers/sub_1/enable"),
    ("POST", "/v1/subscribers/sub_1/disable"),
    ("POST", "/v1/subscribers/sub_1/rotate"),
}
"""About a subscriber of bp-1: for a key of another there is none."""
SUBSCRIBER_LISTS = {"/v1/subscribers", "/v1/replays", "/v1/messages", "/v1/attempts"}
OPERATE = (
    SUBSCRIBERS
    | {("GET", path) for path in SUBSCRIBER_LISTS}
    | {
        *(("POST", f"/v1/quarantine/1/{verb}") for verb in ("release", "retry", "dismiss")),
        ("POST", "/v1/hydration/retry"),
        ("GET", "/v1/retention"),
        ("POST", "/v1/orders/order-1/notes"),
        ("POST", "/v1/orders/order-1/corrections"),
        ("POST", "/v1/mapping"),
        ("POST", "/v1/mapping/preview"),
        ("POST", "/v1/orders/order-1/corrections/17/withdraw"),
        ("PUT", "/v1/orders/order-1/authorization"),
        ("POST", "/v1/orders/order-1/tracking-link"),
        *(("POST", f"{CAPTURE}/{verb}") for verb in CAPTURE_VERBS),
        ("POST", f"{NOTIFICATION}/resend"),
        ("POST", f"{NOTIFICATION}/suppress"),
        ("POST", "/v1/queues/late/actions"),
        ("PUT", "/v1/choices"),
        ("DELETE", "/v1/choices"),
        ("POST", "/v1/accounting/periods/2024-12/close?businessProductId=bp-1"),
    }
)
ERASING = {
    ("GET", "/v1/erasures/ers_1"),
    ("POST", "/v1/erasures"),
    ("POST", "/v1/erasures/preview"),
    ("POST", "/v1/erasures/compaction"),
}
"""About an order of bp-1, or the whole database."""
USERS_ADMIN = {
    ("PATCH", "/v1/users/usr_1"),
    *(("POST", f"/v1/users/usr_1/{verb}") for verb in ("disable", "enable", "link")),
}
"""About a user of bp-1."""
USER_LISTS = {"/v1/users", "/v1/audit"}
ADMIN = (
    SUBSCRIBERS_ADMIN
    | USERS_ADMIN
    | {
        ("POST", "/v1/users"),
        *(("GET", path) for path in USER_LISTS),
        ("POST", "/v1/subscribers"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("DELETE", "/v1/keys/key_1"),
        ("POST", "/v1/retention"),
        ("GET", "/v1/erasures"),
        *ERASING,
    }
)
WHOLE = {"/metrics"}
STREAM = {"/v1/stream"}
SCOPED = {
    "/v1/roads",
    "/v1/missing",
    "/v1/queues",
    "/v1/mapping",
    "/v1/insights",
    "/v1/insights/otd",
    "/v1/insights/rows",
}
"""Numbers of what a key may see."""
EXPORTS = {"/v1/exports", "/v1/exports/facts?format=jsonl"}
"""Rows of what a key may see."""
SCHEMAS = {"/v1/schemas", "/v1/schemas/order.updated", "/v1/notifications/preview?kind=shipped"}
"""The same for everybody."""
FIND = ("POST", "/v1/choices/find")
"""An address is looked up in a body. Of another business product it is another recipient."""
REST: set[tuple[str, str]] = {
    ("GET", path) for path in SINGLE | LISTS | WHOLE | STREAM | SCOPED | EXPORTS | SCHEMAS
}
REST.add(FIND)
EVERY = sorted(REST | OPERATE | ADMIN)

ITEM = encode_cursor("item", ItemKey("bp-1", "order/order-1", "late", "order/order-1", START))
"""Of a queue; it is not in it."""

BODIES: dict[str, dict[str, Any]] = {
    "/v1/hydration/retry": {"businessProductId": "bp-1", "target": "order/order-1"},
    "/v1/keys": {"name": "new"},
    "/v1/users": {"name": "Grace", "signInName": "grace"},
    "/v1/subscribers": {"name": "new", "url": "https://oms.example/hook"},
    "/v1/subscribers/sub_1/rotate": {},
    "/v1/replays": {"subscriberId": "sub_1"},
    "/v1/queues/late/actions": {
        "action": "assign",
        "ids": [ITEM],
    },
    "/v1/orders/order-1/notes": {"text": "left at the door"},
    "/v1/orders/order-1/corrections": {
        "deliveryId": "delivery-1",
        "state": "DELIVERED",
        "occurredAt": "2025-01-20T12:00:00Z",
        "reason": "the shopper has it",
    },
    "/v1/orders/order-1/authorization": {"captureBefore": "2025-02-01T00:00:00Z"},
    "/v1/mapping": {"entries": [{"code": "BY_DRONE", "meaning": "NONE"}], "reason": "x"},
    "/v1/mapping/preview": {"entries": [{"code": "BY_DRONE", "meaning": "NONE"}]},
    "/v1/choices": {"recipient": "rcp_1"},
    "/v1/choices/find": {"recipient": "rcp_1"},
    "/v1/erasures": {"orders": ["order-1"]},
    "/v1/erasures/preview": {"orders": ["order-1"]},
}


def _shape(path: str) -> int:
    return len(path.split("?")[0].split("/"))


def test_the_table_covers_every_route() -> None:
    registered = {(m, path) for h in ROUTES for m in map(str, h.http_methods) for path in h.paths}
    registered = {(m.removeprefix("HttpMethod."), p) for m, p in registered if p not in PUBLIC}
    assert len(registered) == len(EVERY)
    for method, path in EVERY:
        head = path.split("?")[0].split("/")
        assert any(
            m == method
            and _shape(p) == len(head)
            and all(a == b or a.startswith("{") for a, b in zip(p.split("/"), head, strict=True))
            for m, p in registered
        ), path


@pytest.fixture
async def filled(world: World) -> World:
    """A history of bp-1, with something of every kind."""
    await fill(world)
    return world


async def _status(world: World, method: str, path: str, key: str | None) -> tuple[int, str]:
    async with world.client(key) as client:
        body = BODIES.get(path, {} if method in ("POST", "PATCH") else None)
        answer = await client.request(method, path, json=None if method == "GET" else body)
    kind = answer.headers.get("content-type", "")
    return answer.status_code, answer.json()["code"] if "problem" in kind else ""


async def test_without_a_key_or_with_a_wrong_one_nothing_is_answered(filled: World) -> None:
    revoked = await filled.key("admin")
    async with filled.client() as client:
        await client.delete("/v1/keys/key_0001")
    for method, path in EVERY:
        for key in (None, "", "mp_wrong", "x" * 600, ADMIN_KEY[:-1], revoked):
            assert await _status(filled, method, path, key) == (401, "unauthenticated"), (method, path, key)


async def test_other_ways_to_send_a_key_are_refused(filled: World) -> None:
    async with filled.client(None) as client:
        for header in ("Basic " + ADMIN_KEY, ADMIN_KEY, "Bearer", "Bearer  ", "Bearerx " + ADMIN_KEY):
            answer = await client.get("/v1/orders", headers={"authorization": header})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        answer = await client.get("/v1/orders", headers={"authorization": "bearer " + ADMIN_KEY})
        assert answer.status_code == 200


async def test_a_key_of_another_business_product_sees_nothing(filled: World) -> None:
    foreign = await filled.key("admin", "bp-2")
    for path in sorted(SINGLE):
        assert await _status(filled, "GET", path, foreign) == (404, "not_found"), path
        asked = f"{path}?businessProductId=bp-1"
        if "quarantine" not in path and "captures" not in path:
            assert await _status(filled, "GET", asked, foreign) == (404, "not_found"), path
    for path in sorted(LISTS | SUBSCRIBER_LISTS | USER_LISTS):
        async with filled.client(foreign) as client:
            answer = (await client.get(path)).json()
            assert answer == {"items": [], "next": None}, path
    for path in sorted(SCOPED):
        answer = await filled.get(path, foreign)
        assert answer.status_code == 200, path
        assert all(road["arrivals"] == 0 for road in answer.json().get("roads", [])), path
        assert not answer.json().get("losses"), path
    assert (await filled.get("/v1/exports/facts", foreign, format="jsonl")).content == b""
    assert {item["count"] for item in (await filled.get("/v1/exports", foreign)).json()["items"]} == {0, None}
    for path in sorted(EXPORTS):
        narrowed = f"{path}{'&' if '?' in path else '?'}businessProductId=bp-1"
        assert await _status(filled, "GET", narrowed, foreign) == (404, "not_found"), path
    for method, path in sorted(ERASING):
        assert await _status(filled, method, path, foreign) == (404, "not_found"), path
    assert (await filled.get("/v1/erasures", foreign)).json() == {"items": [], "next": None}
    for method, path in sorted(USERS_ADMIN):
        assert await _status(filled, method, path, foreign) == (404, "not_found"), path
    lists = {("GET", path) for path in SUBSCRIBER_LISTS}
    # An order may be told of before it is known: this one of theirs has nothing to do with ours, nor has a shopper.
    choices = {("PUT", "/v1/choices"), ("DELETE", "/v1/choices")}
    theirs = choices | {
        ("GET", "/v1/retention"),
        ("PUT", "/v1/orders/order-1/authorization"),
        ("POST", "/v1/queues/late/actions"),
    }
    everybodys = {("POST", "/v1/mapping"), ("POST", "/v1/mapping/preview")}
    for method, path in sorted((OPERATE | SUBSCRIBERS_ADMIN) - lists - theirs - everybodys):
        assert await _status(filled, method, path, foreign) == (404, "not_found")
    whole = {("GET", "/metrics"), ("GET", "/v1/retention"), ("POST", "/v1/retention")}
    for method, path in sorted(whole | everybodys):
        assert await _status(filled, method, path, foreign) == (403, "forbidden"), path
    assert await _status(filled, "GET", "/v1/stream?businessProductId=bp-1", foreign) == (404, "not_found")
    for method, path in sorted(choices):
        assert (await _status(filled, method, path, foreign))[0] == 200
    assert (await filled.get("/v1/choices")).json()["items"][0]["off"] == ["all"], "ours is as it was"


async def test_the_own_business_product_is_answered(filled: World) -> None:
    own = await filled.key("read", "bp-1", "bp-3")
    for path in sorted(SINGLE - {"/v1/quarantine/1"}):
        assert (await _status(filled, "GET", path, own))[0] == 200, path
    assert (await _status(filled, "GET", "/v1/quarantine/1", own))[0] == 200
    for path in sorted(LISTS - {"/v1/failures", "/v1/missing/overdue"}):
        async with filled.client(own) as client:
            assert (await client.get(path)).json()["items"], path


async def test_a_subscriber_of_the_own_business_product_is_there(filled: World) -> None:
    own = await filled.key("admin", "bp-1")
    for method, path in sorted(USERS_ADMIN):
        assert (await _status(filled, method, path, own))[0] in (200, 201), path
    for path in sorted(SUBSCRIBER_LISTS | USER_LISTS):
        assert (await filled.get(path, own)).json()["items"], path
    for method, path in sorted(SUBSCRIBERS | SUBSCRIBERS_ADMIN - {("DELETE", "/v1/subscribers/sub_1")}):
        assert (await _status(filled, method, path, own))[0] in (200, 202), path


async def test_a_body_that_may_be_anothers_is_not_shown(filled: World) -> None:
    await filled.store.write(
        lambda tx: tx.journal.quarantine(b"{", "malformed_event", "", filled.now, "webhook", ("bp-1", "bp-2"))
    )
    await filled.store.write(
        lambda tx: tx.journal.quarantine(b"{", "malformed_event", "", filled.now, "webhook", ())
    )
    own = await filled.key("operate", "bp-1")
    assert [item["id"] for item in (await filled.get("/v1/quarantine", own)).json()["items"]] == [1]
    for entry in (2, 3):
        assert (await filled.get(f"/v1/quarantine/{entry}", own)).status_code == 404
        assert (await filled.post(f"/v1/quarantine/{entry}/release", key=own)).status_code == 404


async def test_a_scope_that_is_too_small_is_refused(filled: World) -> None:
    read, operate = await filled.key("read"), await filled.key("operate")
    for method, path in sorted(OPERATE | ADMIN):
        assert await _status(filled, method, path, read) == (403, "forbidden"), path
    for method, path in sorted(ADMIN):
        assert await _status(filled, method, path, operate) == (403, "forbidden"), path
    for method, path in sorted(OPERATE):
        assert (await _status(filled, method, path, operate))[1] not in ("forbidden", "unauthenticated"), path


async def test_probes_and_the_description_need_no_key(filled: World) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await filled.get(path, None)).status_code == 200
    for path in ("/track/no-token.json", "/unsubscribe/no-token"):
        assert (await filled.get(path, None)).status_code == 404


async def test_a_laptop_without_keys_answers_only_itself(store: Store) -> None:
    world = World(store, admin_key=None, insecure=True)
    async with world.client(None) as client:
        assert (await client.get("/v1/keys")).status_code == 200
        for headers in (
            {"host": "evil.example"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"authorization": "Bearer wrong"},
        ):
            assert (await client.get("/v1/keys", headers=headers)).status_code == 401, headers
        own = {"origin": "http://localhost:8480", "host": "localhost:8480"}
        assert (await client.get("/v1/keys", headers=own)).status_code == 200


async def test_insecure_does_not_open_a_hub_that_has_a_key(store: Store) -> None:
    world = World(store, insecure=True)
    assert (await world.get("/v1/orders", None)).status_code == 401
    world = World(store, admin_key=None)
    assert (await world.get("/v1/orders", None)).status_code == 401
