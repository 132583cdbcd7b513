"""Replays over HTTP: counted, begun, worked off under the same ids or new ones, cancelled; history of the late."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.web.world import SECOND, World, event, one_delivery

from milepost.domain.attempt import Destination
from milepost.domain.instant import Instant
from milepost.domain.message import render
from milepost.pipeline import history
from milepost.pipeline.capturing import CaptureLedger
from milepost.pipeline.publishing import Publishing
from milepost.pipeline.sending import Outcome, Parcel
from milepost.pipeline.subscribers import Matching

URL = "https://oms.example/hook"


class Taken:
    """A sender that takes everything, and keeps it."""

    batch = 1

    def __init__(self) -> None:
        self.parcels: list[tuple[str, str, bytes]] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.parcels += [(destination.id, p.message.id, p.body) for p in parcels]
        return [Outcome(200)] * len(parcels)

    def ids(self) -> list[str]:
        """The ids of what was taken since this was last asked."""
        found = [message_id for _, message_id, _ in self.parcels]
        self.parcels.clear()
        return found


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def publishing(world: World, taken: Taken) -> Publishing:
    return Publishing(
        world.store,
        {"webhook": taken},
        lambda: world.now,
        random=lambda: 0.5,
        wants=Matching().wants,
        render=render,
        ledger=CaptureLedger(),
        patience_days=5,
    )


async def add(world: World, **fields: Any) -> dict[str, Any]:
    answer = await world.post("/v1/subscribers", {"name": "oms", "url": URL} | fields)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def replay(world: World, **body: Any) -> dict[str, Any]:
    answer = await world.post("/v1/replays", body)
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_a_late_subscriber_gets_all_of_history_once_and_then_what_comes(
    world: World, publishing: Publishing, taken: Taken
) -> None:
    early = await add(world, form="amazon")
    for number in range(5):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
    await publishing.publish()
    assert len(taken.ids()) == 5
    late = await add(world, form="amazon", **{"from": "start"})
    await world.event(event("PACKAGE_DELIVERED", 5, "order/o-5/delivery/d"))
    await publishing.publish()
    await world.event(event("PACKAGE_DELIVERED", 6, "order/o-6/delivery/d"))
    await publishing.publish()
    got = taken.ids()
    assert sorted(i for i in got if late["id"] in i) == [f"{n}-{late['id']}" for n in range(1, 8)]
    assert sorted(i for i in got if early["id"] in i) == [f"{n}-{early['id']}" for n in (6, 7)]
    shown = (await world.get(f"/v1/subscribers/{late['id']}")).json()
    assert (shown["live"], shown["health"]["backfill"], shown["health"]["delivered"]) == (True, None, 7)
    (listed,) = (await world.get("/v1/replays", subscriberId=late["id"])).json()["items"]
    assert (listed["kind"], listed["state"], listed["cursor"]) == ("backfill", "done", listed["until"])


async def test_a_dry_run_counts_what_a_replay_sends(
    world: World, publishing: Publishing, taken: Taken
) -> None:
    made = await add(world, form="amazon")
    times = []
    for number in range(6):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
        times.append(world.at())
    await world.event(event("BUYABILITY_CHANGED", 9, "items/item-1"))
    await publishing.publish()
    taken.ids()
    for body, count in (
        ({}, 7),
        ({"types": ["PACKAGE_DELIVERED"]}, 6),
        ({"from": 2, "to": 4}, 3),
        ({"from": times[4], "types": ["PACKAGE_DELIVERED"]}, 2),
        ({"from": times[1], "to": times[3]}, 2),
        ({"to": 0}, 0),
        ({"from": 50}, 0),
        ({"businessProductId": "bp-1"}, 7),
        ({"businessProductId": "bp-9"}, 0),
    ):
        asked = {"subscriberId": made["id"], **body}
        dry = await replay(world, **asked, dryRun=True)
        assert (dry["messages"], dry["replay"]) == (count, None), body
        assert taken.ids() == []
        begun = await replay(world, **asked)
        assert begun["messages"] is None
        await publishing.publish()
        assert len(taken.ids()) == count, body
        (done,) = [
            item
            for item in (await world.get("/v1/replays")).json()["items"]
            if item["id"] == begun["replay"]["id"]
        ]
        assert (done["state"], done["enqueued"]) == ("done", count), body


async def test_a_dry_run_ends_after_so_many_records(
    world: World, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await add(world, form="amazon")
    for number in range(7):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
    await publishing.publish()
    monkeypatch.setattr(history, "PAGE", 2)
    for pages, counted in ((1, (2, True)), (3, (6, True)), (4, (7, False)), (5, (7, False))):
        monkeypatch.setattr(history, "PAGES_COUNTED", pages)
        dry = await replay(world, subscriberId=made["id"], dryRun=True)
        assert (dry["messages"], dry["more"]) == counted


async def test_a_replay_of_one_order_in_our_own_form(
    world: World, publishing: Publishing, taken: Taken
) -> None:
    made = await add(world)
    await one_delivery(world)
    await world.event(event("PACKAGE_DELIVERED", 500, "order/order-2/delivery/other"))
    await world.project()
    await publishing.publish()
    first = taken.ids()
    begun = await replay(world, subscriberId=made["id"], orderId="order-1", types=["delivery.shipped"])
    assert begun["replay"]["subjects"] == ["order/order-1"]
    await publishing.publish()
    ((_, message_id, body),) = taken.parcels
    assert message_id in first
    assert b'"type":"delivery.shipped"' in body
    assert b'"reason":"replay"' in body
    unknown = await world.post("/v1/replays", {"subscriberId": made["id"], "orderId": "order-9"})
    assert unknown.status_code == 404


async def test_new_ids_are_linked_to_the_old(world: World, publishing: Publishing, taken: Taken) -> None:
    made = await add(world, form="amazon")
    await world.event(event("PACKAGE_DELIVERED", 1, "order/o/delivery/d"))
    await publishing.publish()
    (old,) = taken.ids()
    begun = await replay(world, subscriberId=made["id"], newIds=True)
    await publishing.publish()
    (new,) = taken.ids()
    assert new == f"{old}~r{begun['replay']['id']}"
    shown = (await world.get(f"/v1/messages/{new}")).json()
    assert (shown["origin"], shown["replayId"], shown["state"]) == (old, begun["replay"]["id"], "delivered")


async def test_a_cancelled_replay_sends_nothing_more(
    world: World, publishing: Publishing, taken: Taken
) -> None:
    made = await add(world, form="amazon")
    for number in range(4):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d"))
    await publishing.publish()
    taken.ids()
    begun = (await replay(world, subscriberId=made["id"]))["replay"]
    await publishing.replaying.step()
    # It is through the journal, and its messages are still to be sent.
    cancelled = (await world.post(f"/v1/replays/{begun['id']}/cancel")).json()
    assert (cancelled["replay"]["state"], cancelled["dropped"]) == ("cancelled", 4)
    assert (await world.post(f"/v1/replays/{begun['id']}/cancel")).status_code == 409
    other = (await replay(world, subscriberId=made["id"], newIds=True))["replay"]
    cancelled = (await world.post(f"/v1/replays/{other['id']}/cancel")).json()
    assert (cancelled["replay"]["state"], cancelled["dropped"]) == ("cancelled", 0)
    await publishing.publish()
    assert taken.ids() == []
    assert (await world.post("/v1/replays/rpl_unknown/cancel")).status_code == 404


async def test_what_cannot_be_is_refused(world: World) -> None:
    made = await add(world)
    for body in (
        None,
        {},
        {"subscriberId": made["id"], "from": "yesterday"},
        {"subscriberId": made["id"], "from": -1},
        {"subscriberId": made["id"], "types": ["PACKAGE_DELIVERED"]},
        {"subscriberId": made["id"], "rate": -1},
        {"subscriberId": made["id"], "unknown": 1},
    ):
        answer = await world.post("/v1/replays", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
    assert (await world.post("/v1/replays", {"subscriberId": "sub_unknown"})).status_code == 404


async def test_a_bound_key_replays_to_its_own_only(world: World) -> None:
    bound = await world.key("operate", "bp-1")
    others = await add(world)
    own = await add(world, businessProductIds=["bp-1"])
    refused = await world.post("/v1/replays", {"subscriberId": others["id"], "dryRun": True}, bound)
    assert refused.status_code == 404
    theirs = (await replay(world, subscriberId=others["id"]))["replay"]
    mine = (await world.post("/v1/replays", {"subscriberId": own["id"]}, bound)).json()["replay"]
    listed = (await world.get("/v1/replays", bound)).json()["items"]
    assert [item["id"] for item in listed] == [mine["id"]]
    assert (await world.post(f"/v1/replays/{theirs['id']}/cancel", key=bound)).status_code == 404
    foreign = {"subscriberId": own["id"], "businessProductId": "bp-2"}
    assert (await world.post("/v1/replays", foreign, bound)).status_code == 404


async def test_replays_are_listed_page_by_page(world: World) -> None:
    made = await add(world)
    begun = []
    for _ in range(5):
        begun.append((await replay(world, subscriberId=made["id"]))["replay"]["id"])
        world.now = Instant(world.now + SECOND)
    first = (await world.get("/v1/replays", limit=3)).json()
    second = (await world.get("/v1/replays", limit=3, after=first["next"])).json()
    assert [item["id"] for item in first["items"] + second["items"]] == begun
    assert second["next"] is None
    assert len((await world.get("/v1/replays", state="running")).json()["items"]) == 5
