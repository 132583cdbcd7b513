"""`/v1/erasures`: who may ask for what, what is counted before, and how far it is."""

from typing import Any

import msgspec
import pytest
from tests.web.world import START, World

from milepost.domain.erasure import TASK_COMPLETED
from milepost.pipeline.eraser import Eraser
from milepost.store import Store

EMAIL = "jane@example.com"


def eraser(world: World) -> Eraser:
    return Eraser(world.store, lambda: world.now, largest=10**9)


async def know(world: World, order: str = "order-1", product: str = "bp-1", email: str = EMAIL) -> None:
    answer = {"id": order, "customer": {"contact": {"name": "Jane Canary", "email": email}}}
    await world.answer("order", answer, product, order_id=order)
    await world.project()


async def done(world: World, id: str) -> dict[str, Any]:
    """Let it be done."""
    for _ in range(5):
        await world.project()
        await eraser(world).look()
    found: dict[str, Any] = (await world.get(f"/v1/erasures/{id}")).json()
    return found


async def completed(world: World, task: str) -> None:
    await world.event(
        {
            "idempotencyKey": task,
            "eventDescriptor": TASK_COMPLETED,
            "resources": [f"businessProduct/bp-1/personalDataDeletionTask/{task}"],
            "eventId": task,
            "apiVersion": "2024-11-01",
            "subscriptionId": "s",
            "eventTime": "2025-01-20T12:00:00Z",
            "data": {},
        }
    )


async def test_an_order_is_erased_and_the_erasure_stays_as_the_proof(world: World) -> None:
    await know(world)
    answer = await world.post("/v1/erasures", {"orders": ["order-1"]})
    assert answer.status_code == 201
    asked = answer.json()
    assert (asked["state"], asked["orders"], asked["askedBy"]) == ("ASKED", ["order-1"], "API_KEY")
    assert asked["attention"] is None
    shown = await done(world, asked["id"])
    assert (shown["state"], shown["records"], shown["doneAt"]) == ("DONE", 2, world.at())
    order = (await world.get("/v1/orders/order-1")).json()
    assert order["customer"] is None
    assert (await world.get("/v1/search", q=EMAIL)).json()["items"] == []
    assert (await world.get("/v1/erasures")).json() == {"items": [shown], "next": None}
    assert EMAIL not in msgspec.json.encode(shown).decode()


async def test_a_preview_counts_and_changes_nothing(world: World) -> None:
    await know(world)
    await know(world, "order-2")
    await world.capture(order_id="order-1")
    tally = await world.post("/v1/erasures/preview", {"email": f" {EMAIL.upper()} "})
    assert tally.status_code == 200
    assert tally.json() == {
        "businessProductId": "bp-1",
        "orders": ["order-1", "order-2"],
        "records": 4,
        "erased": 0,
        "captures": 1,
        "notifications": 0,
    }
    assert (await world.get("/v1/erasures")).json()["items"] == []


async def test_a_shopper_is_found_by_email_and_the_address_is_kept_nowhere(world: World) -> None:
    await know(world)
    await know(world, "order-2")
    await know(world, "order-3", email="jane@example.com.au")
    asked = (await world.post("/v1/erasures", {"email": EMAIL})).json()
    assert (asked["shopper"], asked["orders"]) == (True, ["order-1", "order-2"])
    assert (await done(world, asked["id"]))["state"] == "DONE"
    nobody = await world.post("/v1/erasures", {"email": EMAIL})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    assert EMAIL not in nobody.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"orders": []},
        {"orders": ["order-1"], "email": EMAIL},
        {"orders": [""]},
        {"orders": ["order-1"], "when": "task"},
        {"orders": ["order-1"], "taskId": "t"},
        {"orders": ["order-1"], "when": "later"},
        {"orders": ["order-1"], "who": "me"},
        {"orders": ["x"] * 501},
    ],
)
async def test_what_does_not_say_whose_data_is_refused(world: World, body: dict[str, Any]) -> None:
    await know(world)
    answer = await world.post("/v1/erasures", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_only_an_admin_of_its_business_product_asks_and_looks(world: World) -> None:
    await know(world)
    asked = (await world.post("/v1/erasures", {"orders": ["order-1"]})).json()
    for scope in ("read", "operate"):
        key = await world.key(scope)  # type: ignore[arg-type]
        assert (await world.get("/v1/erasures", key)).status_code == 403
        assert (await world.post("/v1/erasures", {"orders": ["order-1"]}, key)).status_code == 403
    other = await world.key("admin", "bp-2")
    assert (await world.post("/v1/erasures", {"orders": ["order-1"]}, other)).status_code == 404
    assert (await world.get(f"/v1/erasures/{asked['id']}", other)).status_code == 404
    assert (await world.get("/v1/erasures", other)).json()["items"] == []
    assert (await world.post("/v1/erasures/compaction?confirm=true", None, other)).status_code == 404
    mine = await world.key("admin", "bp-1")
    assert (await world.get(f"/v1/erasures/{asked['id']}", mine)).status_code == 200


async def test_an_order_of_two_business_products_must_say_which(world: World) -> None:
    await know(world)
    await know(world, product="bp-2")
    answer = await world.post("/v1/erasures", {"orders": ["order-1"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_id")
    answer = await world.post("/v1/erasures?businessProductId=bp-2", {"orders": ["order-1"]})
    assert answer.json()["businessProductId"] == "bp-2"
    await done(world, answer.json()["id"])
    first = (await world.get("/v1/orders/order-1", businessProductId="bp-1")).json()
    assert first["customer"]["email"] == EMAIL


async def test_one_for_a_task_waits_until_amazon_says_that_it_is_completed(world: World) -> None:
    await know(world)
    body = {"orders": ["order-1"], "when": "task", "taskId": "task-1"}
    asked = (await world.post("/v1/erasures", body)).json()
    assert (asked["state"], asked["taskId"], asked["taskOutcome"]) == ("WAITING", "task-1", None)
    assert (await world.post("/v1/erasures", body)).json()["id"] == asked["id"]
    assert (await done(world, asked["id"]))["state"] == "WAITING"
    await completed(world, "task-1")
    shown = await done(world, asked["id"])
    assert (shown["state"], shown["taskOutcome"]) == ("DONE", "COMPLETED")
    assert (await world.post("/v1/erasures", body)).json() == shown
    answer = await world.post("/v1/erasures", body | {"orders": ["order-1", "order-1"]})
    assert answer.json() == shown


async def test_what_is_asked_for_with_a_task_again_is_of_both(world: World) -> None:
    await know(world)
    await know(world, "order-2")
    for order in ("order-1", "order-2"):
        body = {"orders": [order], "when": "task", "taskId": "task-1"}
        asked = (await world.post("/v1/erasures", body)).json()
    assert (asked["state"], asked["orders"]) == ("WAITING", ["order-1", "order-2"])


async def test_a_task_that_nobody_asked_for_wants_somebody_who_says_whose_it_was(world: World) -> None:
    await know(world)
    await completed(world, "task-9")
    await eraser(world).look()
    (shown,) = (await world.get("/v1/erasures")).json()["items"]
    assert (shown["state"], shown["orders"], shown["taskOutcome"]) == ("UNCLAIMED", [], "COMPLETED")
    assert "deleted" in shown["attention"]
    body = {"orders": ["order-1"], "when": "task", "taskId": "task-9"}
    asked = (await world.post("/v1/erasures", body)).json()
    assert (asked["id"], asked["state"]) == (shown["id"], "ASKED")
    assert (await done(world, asked["id"]))["state"] == "DONE"


async def test_a_file_that_is_too_large_to_be_copied_by_itself_is_said_to_be(store: Store) -> None:
    small = Eraser(store, lambda: START, largest=1)
    world = World(store, eraser=small)
    await know(world)
    asked = (await world.post("/v1/erasures", {"orders": ["order-1"]})).json()
    assert asked["attention"] is None
    for _ in range(4):
        await world.project()
        await small.look()
    shown = (await world.get(f"/v1/erasures/{asked['id']}")).json()
    assert shown["state"] == "REFOLDED"
    assert "--compact" in shown["attention"]
    assert (await world.get("/v1/erasures")).json()["items"] == [shown]
    assert (await world.post("/v1/erasures/compaction?confirm=true")).status_code == 202
    await small.look()
    done = (await world.get(f"/v1/erasures/{asked['id']}")).json()
    assert (done["state"], done["attention"]) == ("DONE", None)


async def test_a_compaction_must_be_meant(world: World) -> None:
    assert (await world.post("/v1/erasures/compaction")).status_code == 400
    assert (await world.post("/v1/erasures/compaction?confirm=true")).status_code == 202
    await eraser(world).look()
    assert await world.store.read(lambda tx: tx.journal.checkpoint("eraser.compact")) == 0
