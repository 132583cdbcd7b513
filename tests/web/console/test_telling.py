"""What people do in the console stands in the audit log: who, what, to what, of whose; no word that they wrote."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.web.console.people import HERE, Person, person
from tests.web.filling import CORRECTION, fill
from tests.web.told import tell, went
from tests.web.world import World, event

from milepost.domain.capture import capture_id
from milepost.domain.notification import notification_id
from milepost.store import ItemKey, Store
from milepost.web.paging import encode_cursor

WRITTEN = "call Ada Lovelace at 555-0100"
SENT = notification_id("bp-1", "order-1", "delivery-1", "delivered", "")
CORRECTED = {"subject": "delivery/delivery-1", "state": "DELIVERED", "occurred": "2025-01-21T09:30"}

FORMS: tuple[tuple[str, Mapping[str, str], str, str], ...] = (
    ("/orders/order-1/notes", {"text": WRITTEN}, "note.added", "order-1"),
    (
        "/orders/order-1/resend",
        {"notification": SENT, "acknowledge": "on", "reason": WRITTEN},
        "notification.resent",
        SENT,
    ),
    ("/orders/order-1/shopper-page", {}, "trackingLink.made", "order-1"),
    ("/orders/order-1/reply", {}, "trackingLink.made", "order-1"),
    ("/orders/order-1/corrections", CORRECTED | {"reason": WRITTEN}, "correction.made", "order-1"),
    (
        f"/orders/order-1/corrections/{CORRECTION}/withdraw",
        {"reason": WRITTEN},
        "correction.withdrawn",
        "order-1",
    ),
    ("/events/1/resend", {"message": "1-sub_1"}, "message.resent", "1-sub_1"),
    ("/attempts/1-sub_1/resend", {}, "message.resent", "1-sub_1"),
    ("/quarantine/1/dismiss", {}, "quarantine.dismissed", "1"),
    ("/subscribers/sub_1/test", {}, "subscriber.tested", "sub_1"),
    ("/subscribers/sub_1/disable", {}, "subscriber.disabled", "sub_1"),
    ("/subscribers/sub_1/enable", {}, "subscriber.enabled", "sub_1"),
    ("/subscribers/sub_1/rotate", {"overlap": "2"}, "subscriber.rotated", "sub_1"),
    ("/subscribers/sub_1/replay", {"order": "order-1"}, "replay.begun", "sub_1"),
    ("/subscribers/sub_1/replays/rpl_1/cancel", {}, "replay.cancelled", "sub_1"),
)
"""A form's path and fields, and the action and the subject of the entry that it makes."""


@pytest.fixture
async def world(store: Store) -> World:
    world = World(store, notifying=True, tracking_secrets=("a-secret-of-at-least-32-characters",))
    await fill(world)
    message = await tell(world, kind="delivered")
    await went(world, message, "claim", "sent", channel="email", sent_at=world.now)
    return world


async def send(somebody: Person, path: str, fields: Mapping[str, str]) -> int:
    async with somebody.client() as client:
        return (await client.post(path, data=dict(fields) | somebody.form, headers=HERE)).status_code


async def log_of(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.get("/v1/audit")).json()["items"]
    return found


async def test_every_form_that_did_something_has_one_entry(world: World) -> None:
    somebody = await person(world, "operator", "bp-1")
    for path, fields, action, subject in FORMS:
        before = len(await log_of(world))
        assert await send(somebody, path, fields) in (200, 303), path
        (entry,) = (await log_of(world))[before:]
        told = (entry["actor"], entry["action"], entry["subject"], entry["businessProductId"])
        assert told == (somebody.user.id, action, subject, "bp-1"), path
    everything = msgspec.json.encode(await log_of(world)).decode()
    for word in ("Lovelace", "555", "whsec", "WzE", "ada@"):
        assert word not in everything


async def test_what_was_refused_has_none(world: World) -> None:
    somebody, other = await person(world, "operator", "bp-1"), await person(world, "operator", "bp-2")
    for path, fields, _, _ in FORMS:
        assert await send(other, path, fields) == 404, path
    assert await send(somebody, "/orders/order-1/notes", {"text": " "}) == 400
    assert await send(somebody, "/quarantine/1/retry", {}) == 400
    assert await send(somebody, "/health/hydration", {"product": "bp-1", "target": "order/order-1"}) == 409
    assert await log_of(world) == []


async def test_a_body_that_was_mended_is_told_of_and_not_shown(world: World) -> None:
    somebody = await person(world, "operator", "bp-1")
    body = msgspec.json.encode(event("ORDER_CREATED", 77, "order/order-7", data={"name": WRITTEN})).decode()
    assert await send(somebody, "/quarantine/1/retry", {"body": body}) == 303
    (entry,) = await log_of(world)
    assert (entry["action"], entry["subject"], entry["businessProductId"]) == (
        "quarantine.released",
        "1",
        "bp-1",
    )
    assert set(entry["details"]) == {"position", "mended"}


async def test_items_of_a_queue_are_counted(world: World) -> None:
    somebody = await person(world, "agent", "bp-1")
    held = capture_id("bp-1", "order-1", "delivery-2")
    item = encode_cursor("item", ItemKey("bp-1", "order/order-1", "captures-held", held, world.now))
    fields = {"id": item, "action": "assign", "assignee": WRITTEN}
    assert await send(somebody, "/queues/captures-held", fields) == 303
    gone = encode_cursor("item", ItemKey("bp-1", "order/order-9", "captures-held", "cap_9", world.now))
    assert await send(somebody, "/queues/captures-held", fields | {"id": gone}) == 303
    (entry,) = await log_of(world)
    assert (entry["action"], entry["subject"]) == ("queue.acted", "captures-held")
    assert (entry["businessProductId"], entry["details"]) == ("bp-1", {"action": "assign", "items": "1"})


async def test_a_change_of_the_mapping_is_of_the_whole_hub(world: World) -> None:
    fields = {"code": "BY_DRONE", "meaning": "NONE", "version": "1", "reason": WRITTEN}
    assert await send(await person(world, "operator"), "/mapping", fields) == 303
    (entry,) = await log_of(world)
    assert (entry["action"], entry["subject"]) == ("mapping.changed", "mapping/2")
    assert entry["businessProductId"] is None
    assert entry["details"] == {"code": "BY_DRONE", "meaning": "NONE"}
    bound = await world.key("admin", "bp-1")
    assert (await world.get("/v1/audit", bound)).json()["items"] == []
