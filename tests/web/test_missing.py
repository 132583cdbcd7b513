"""What did not come: a missing scope, silence, losses by road, and what is overdue."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.test_roads import over_eventbridge
from tests.web.world import HOUR, MINUTE, World, event, milestone, order, tracker

from milepost.domain.instant import Instant, format_instant
from milepost.pipeline import sampling
from milepost.pipeline.volume import count
from milepost.web.findings import missing_findings
from milepost.web.paging import encode_cursor

SHIPPED, DELIVERED = "PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"
MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"
DAY = 24 * HOUR


def later(world: World, ms: int) -> None:
    world.now = Instant(world.now + ms)


async def shipped(world: World, number: int, product: str = "bp-1", *, told: bool = True) -> None:
    """Order `number` ships and is scanned once, an answer shows it; `told` by an event."""
    if told:
        resource = f"order/o-{number}/delivery/d-{number}"
        await world.event(event(SHIPPED, number, resource, product, world.at()))
    scanned = tracker(milestone("IN_TRANSIT", world.at()), number=f"1Z{number}")
    answer = order(f"o-{number}", (f"d-{number}", "IN_TRANSIT", scanned))
    await world.answer("order", answer, product, order_id=f"o-{number}")
    later(world, HOUR)


async def delivered(world: World, number: int, *, by: tuple[str, ...] = ("webhook",)) -> None:
    """Order `number` is delivered, an answer shows it; these roads bring the event."""
    at = world.at()
    body = event(DELIVERED, 1_000 + number, f"order/o-{number}/delivery/d-{number}", when=at)
    for road in by:
        await world.event(body if road == "webhook" else over_eventbridge(body))
    there = tracker(milestone("DELIVERED", at), number=f"1Z{number}")
    await world.answer(
        "order", order(f"o-{number}", (f"d-{number}", "DELIVERED", there)), order_id=f"o-{number}"
    )
    later(world, 2 * HOUR)


async def missing(world: World, key: str | None = None, **parameters: Any) -> dict[str, Any]:
    await world.project()
    await count(world.store, world.now)
    keyed = {} if key is None else {"key": key}
    answer = await world.get("/v1/missing", **keyed, **parameters)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_of_nothing_nothing_is_missing(world: World) -> None:
    assert await missing(world) == {
        "silent": [],
        "scopes": [],
        "losses": [],
        "orders": 0,
        "since": None,
        "graceMs": 6 * HOUR,
        "watchedHours": 1,
    }


async def test_scenario_35_order_events_without_milestone_events_are_a_missing_scope(world: World) -> None:
    for number in range(3):
        await shipped(world, number)
    assert (await missing(world))["scopes"] == [], "their milestone events may still come"
    later(world, 6 * HOUR)
    answer = await missing(world)
    assert answer["scopes"] == [
        {
            "businessProductId": "bp-1",
            "missing": MILESTONE,
            "permission": "View Package Tracker Data",
            "orderEvents": 3,
            "scannedDeliveries": 3,
        }
    ]
    assert not [loss for loss in answer["losses"] if loss["type"] == MILESTONE], "that is no loss"
    assert (await missing(world, await world.key("read", "bp-2")))["scopes"] == []
    findings = {finding.check: finding for finding in missing_findings(answer)}
    assert (findings["subscriptions"].ok, findings["silent subscriptions"].ok) == (False, True)
    assert "View Package Tracker Data" in findings["subscriptions"].mend

    await world.event(event(MILESTONE, 99, "carrier/UPS/tracker/1Z0"))
    assert (await missing(world))["scopes"] == [], "the first milestone event ends it"


async def test_what_a_road_never_brought_is_counted_by_road(world: World) -> None:
    both = ("webhook", "eventbridge")
    for number in range(8):
        await delivered(world, number, by=both)
    await delivered(world, 8, by=("webhook",))
    await delivered(world, 9, by=())
    for number in range(10, 16):
        await delivered(world, number, by=both)
    later(world, 12 * HOUR)
    answer = await missing(world)
    found = {(loss["road"], loss["type"]): loss for loss in answer["losses"]}
    assert set(found) == {("eventbridge", DELIVERED), ("webhook", DELIVERED)}, "nobody subscribed to the rest"
    webhook, bridge = found["webhook", DELIVERED], found["eventbridge", DELIVERED]
    assert (webhook["lost"], webhook["unheard"], webhook["subjects"]) == (1, 1, ["delivery/d-9"])
    assert (bridge["lost"], bridge["unheard"], bridge["subjects"]) == (2, 1, ["delivery/d-9", "delivery/d-8"])
    assert webhook["expected"] == bridge["expected"] == 12, (
        "neither the first nor those that may be under way"
    )
    assert bridge["lossRate"] == round(2 / 12, 4)
    assert (answer["orders"], answer["since"] is not None) == (16, True)
    foreign = await missing(world, await world.key("read", "bp-2"))
    assert (foreign["losses"], foreign["orders"], foreign["since"]) == ([], 0, None)


async def test_a_road_that_nobody_subscribed_to_or_that_ended_loses_nothing(world: World) -> None:
    for number in range(3):
        await delivered(world, number, by=("webhook", "eventbridge"))
    for number in range(3, 9):
        await delivered(world, number)
    later(world, 12 * HOUR)
    losses = (await missing(world))["losses"]
    assert all(loss["lost"] == 0 for loss in losses), "EventBridge ended: it may have been meant"


async def test_what_only_a_replay_brought_is_nobodys(world: World) -> None:
    for number in range(4):
        await delivered(world, number)
    await world.event(
        over_eventbridge(
            event(DELIVERED, 500, "order/o-50/delivery/d-50", when=world.at()), **{"replay-name": "x"}
        )
    )
    await delivered(world, 50, by=())
    for number in range(4, 9):
        await delivered(world, number)
    later(world, 12 * HOUR)
    assert [loss["lost"] for loss in (await missing(world))["losses"]] == [0]


async def silent_since(world: World, hours: int, product: str = "bp-1") -> None:
    """Four weeks of three milestone events an hour by EventBridge, then nothing for so many hours."""
    now = world.now // HOUR
    usual = {(product, MILESTONE, "eventbridge", now - n): 3 for n in range(hours + 1, 4 * 7 * 24)}
    watched = {("", "watched", "", now - n): 4 for n in range(1, 4 * 7 * 24)}
    await world.store.write(lambda tx: tx.volumes.add({**usual, **watched}))


async def test_a_silent_subscription_is_told_with_what_was_to_be_expected(world: World) -> None:
    await silent_since(world, 4)
    answer = await missing(world)
    since = format_instant(Instant((world.now // HOUR - 4) * HOUR))
    assert answer["silent"] == [
        {
            "businessProductId": "bp-1",
            "road": "eventbridge",
            "type": MILESTONE,
            "since": since,
            "expected": 12.0,
        }
    ]
    assert [f.ok for f in missing_findings(answer)] == [False, True, True]
    bound = await world.key("read", "bp-2")
    foreign = await missing(world, bound)
    assert (foreign["silent"], foreign["watchedHours"]) == ([], answer["watchedHours"])
    await world.event(over_eventbridge(event(MILESTONE, 1, "carrier/UPS/tracker/1Z0")))
    assert (await missing(world))["silent"] == [], "the next event ends it"


async def test_the_metrics_say_the_same(world: World) -> None:
    await silent_since(world, 4)
    for number in range(4):
        await delivered(world, number)
    await delivered(world, 4, by=())
    for number in range(5, 10):
        await delivered(world, number)
    later(world, 12 * HOUR)
    await missing(world)

    async def numbers() -> dict[str, float]:
        text = (await world.get("/metrics")).text
        return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}

    found = await numbers()
    assert found["milepost_silent_subscriptions"] == 1
    assert found["milepost_missing_scopes"] == 0
    assert (found["milepost_loss_expected"], found["milepost_loss_lost"]) == (6, 1)
    await world.event(over_eventbridge(event(MILESTONE, 1, "carrier/UPS/tracker/1Z0")))
    await count(world.store, world.now)
    assert (await numbers())["milepost_silent_subscriptions"] == 1, "it is looked at every five minutes"
    later(world, 5 * MINUTE)
    assert (await numbers())["milepost_silent_subscriptions"] == 0


# ── Overdue ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_overdue_is_listed_with_why_and_when_it_is_asked_again(world: World) -> None:
    await shipped(world, 1)
    await world.project()
    assert (await world.get("/v1/missing/overdue")).json() == {"items": [], "next": None}
    world.now = Instant(1_737_806_400_000)  # 2025-01-25T12:00:00Z
    items = (await world.get("/v1/missing/overdue")).json()["items"]
    (item,) = items
    assert (item["kind"], item["id"], item["orderId"], item["state"]) == (
        "delivery",
        "d-1",
        "o-1",
        "IN_TRANSIT",
    )
    assert [(one["code"], one["dueAt"]) for one in item["expected"]] == [
        ("silent", "2025-01-22T12:00:01Z"),
        ("pastEstimate", "2025-01-24T02:00:00Z"),
    ]
    assert item["nextAskAt"] == "2025-01-25T12:00:01Z"


async def test_overdue_is_paged_and_bound_to_business_products(world: World) -> None:
    for number in range(5):
        await shipped(world, number, "bp-1" if number != 2 else "bp-2")
    await world.project()
    later(world, 3 * DAY)
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await world.get("/v1/missing/overdue", limit=2, **({"after": cursor} if cursor else {}))
        ).json()
        ids += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert len(page["items"]) <= 2
    assert sorted(ids) == [f"d-{number}" for number in range(5)]
    bound = await world.key("read", "bp-2")
    assert [i["id"] for i in (await world.get("/v1/missing/overdue", bound)).json()["items"]] == ["d-2"]


@pytest.mark.parametrize("place", [{"stage": 99}, {"stage": -1}, {"after": [1]}, 7, "x"])
async def test_a_cursor_that_is_not_one_is_refused(world: World, place: Any) -> None:
    answer = await world.get("/v1/missing/overdue", after=encode_cursor("overdue", place))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


# ── The sample ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_sample_is_spread_over_the_journal_and_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "CHUNKS", 4)
    monkeypatch.setattr(sampling, "CHUNK", 5)
    monkeypatch.setattr(sampling, "ORDERS", 8)
    for number in range(40):
        await shipped(world, number)
    await world.project()
    found = await world.store.read(lambda tx: sampling.sample(tx, world.now, None))
    numbers = sorted(
        int(one.subject.removeprefix("delivery/d-")) for one in found.happened if one.type == SHIPPED
    )
    assert found.orders == len(numbers) == 8
    assert (numbers[0], numbers[-1] >= 25) == (0, True)
    assert len({number * 4 // 36 for number in numbers}) == 4, "every part of the journal has its share"
    assert await world.store.read(lambda tx: sampling.sample(tx, world.now, ["bp-2"])) == sampling.Sample(
        [], {}, 0, None
    )
