"""The health page: what it says when all is well and when it is not, and that it says what the API says."""

import pytest
from tests.web.console.lookers import SCRIPT, look_as, opened, sent, words
from tests.web.world import World, event, one_delivery

from milepost.domain.instant import Instant
from milepost.domain.volume import WATCHED, hour_of
from milepost.store import Ask, FailedFold, Store, Transaction


class Hydrator:
    """Reopens an ask in the store, as the pipeline's does."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def retry(self, business_product_id: str, target: str) -> None:
        ask = Ask(business_product_id, target, 1, Instant(1_000), 0, (1,))
        await self.store.write(lambda tx: tx.work.put([ask]))


@pytest.fixture
def world(store: Store) -> World:
    return World(
        store, insecure=True, admin_key=None, hydrator=Hydrator(store), hydration_budget=lambda: (7, 300)
    )


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "operator")


async def test_all_is_well(world: World) -> None:
    await one_delivery(world)
    said = words(await opened(world, "/health"))
    assert "Nothing to look at" in said
    assert "7 of 300 queries in the last minute" in said
    counts = await world.store.read(lambda tx: tx.journal.counts("projector"))
    assert f"Events {counts.events} Events" in said or f"Events {counts.events}" in said
    assert f"of {counts.records} records" in said
    roads = (await world.get("/v1/roads", None)).json()["roads"]
    road = next(road for road in roads if road["road"] == "webhook")
    assert f"Webhook {road['arrivals']} {road['first']}" in said


async def test_a_query_that_is_answered_in_part_is_named(store: Store) -> None:
    in_part = {"order": f"asked in its smaller form: {SCRIPT}"}
    world = World(store, insecure=True, admin_key=None, answered_in_part=lambda: in_part)
    said = words(await opened(world, "/health"))
    assert f"The query order is not answered in full; asked in its smaller form: {SCRIPT}" in said


async def test_what_is_wrong_is_said_first(world: World) -> None:
    await one_delivery(world)
    failure = FailedFold("projector", 1, "bp-1", "order/x", f"ValueError: {SCRIPT}", world.now)
    ask = Ask("bp-1", "order/order-1", 0, world.now, 9, (1,), "gaveUp", SCRIPT)

    def put(tx: Transaction) -> None:
        tx.views.fail([failure])
        tx.work.put([ask])
        tx.journal.quarantine(b"{", "malformed_event", "cut", world.now, "webhook", ())

    await world.store.write(put)
    page = await opened(world, "/health")
    said = words(page)
    wrong = said[said.index("Something to look at") : said.index("Events by the hour")]
    for found in ("1 body could not be read", "1 failed", "0 open, 1 given up"):
        assert found in wrong
    assert "<script>" not in page.partition("<body")[2]
    assert "/events/1" in page


async def test_what_was_given_up_is_asked_again(world: World) -> None:
    ask = Ask("bp-1", "order/order-1", 0, world.now, 9, (1,), "gaveUp", "no answer")
    await world.store.write(lambda tx: tx.work.put([ask]))
    answer = await sent(world, "/health/hydration", product="bp-1", target="order/order-1")
    assert answer.headers["location"] == "/health?done=asked"
    found = await world.store.read(lambda tx: tx.work.get([("bp-1", "order/order-1")]))
    assert found["bp-1", "order/order-1"].state == "open"
    assert (await sent(world, "/health/hydration", product="bp-1", target="order/none")).status_code == 404
    refused = await sent(world, "/health/hydration", product="bp-1", target="order/order-1", form_token="x")
    assert refused.status_code == 403


async def test_the_usual_volume_stands_beside_the_hours(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, "order/order-1/delivery/delivery-1"))
    await world.project()
    this = hour_of(world.now)

    def count(tx: Transaction) -> None:
        for week in range(4):
            hour = this - week * 168 - 2
            tx.volumes.add({("", WATCHED, "", hour): 4})
            tx.volumes.add({("bp-1", "PACKAGE_DELIVERED", "webhook", hour): (5, 30, 20, 90)[week]})

    await world.store.write(count)
    said = words(await opened(world, "/health"))
    # Of the weeks before (30, 20, 90) without the fullest.
    assert "5 25.0" in said
    assert "known after two weeks" not in said


async def test_a_visitor_of_some_business_products_sees_no_counts_of_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_delivery(world)
    ask = Ask("bp-1", "order/secret", 0, world.now, 9, (1,), "gaveUp", "no")
    await world.store.write(lambda tx: tx.work.put([ask]))
    await opened(world, "/health")
    look_as(monkeypatch, "operator", "bp-2")
    said = words(await opened(world, "/health"))
    assert "order/secret" not in said
    assert "Not folded yet" not in said
    assert "No event has come yet." in said
    foreign = await sent(world, "/health/hydration", product="bp-1", target="order/secret")
    assert foreign.status_code == 404


async def test_a_part_that_does_not_move_is_named(store: Store) -> None:
    told = {"failing": ["sqs.main"], "parts": {"projector": {"state": "standby", "leader": SCRIPT}}}
    queues = {"main": {"lastSuccess": None, "oldestAgeMs": 5_000, "trouble": {"read": "denied"}}}
    world = World(store, insecure=True, admin_key=None, ready=lambda: (False, told | {"queues": queues}))
    page = await opened(world, "/health")
    said = words(page)
    assert "sqs.main does not move" in said
    assert "read: denied" in said
    assert "<script>" not in page.partition("<body")[2]
