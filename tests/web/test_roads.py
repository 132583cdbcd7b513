"""The roads beside each other: one event by both is one event, its lag is measured, what one road loses is seen."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.web.world import HOUR, MINUTE, World, event

from milepost.domain.instant import Instant

RESOURCE = "order/order-1/delivery/delivery-1"


def over_eventbridge(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The document of the bus; `more` are keys of its own."""
    return {
        "version": "0",
        "id": "bridge-1",
        "detail-type": body["eventDescriptor"],
        "source": "aws.partner/x",
        "account": "1",
        "time": body["eventTime"],
        "region": "us-east-1",
        "resources": body["resources"],
        "detail": body,
    } | more


async def by_both(world: World, number: int, lag_ms: int, product: str = "bp-1") -> None:
    """By webhook, then by EventBridge."""
    body = event("PACKAGE_DELIVERED", number, RESOURCE, product)
    await world.event(body)
    world.now = Instant(world.now - 1_000 + lag_ms)
    await world.event(over_eventbridge(body))


async def roads(world: World, **parameters: Any) -> dict[str, dict[str, Any]]:
    answer = (await world.get("/v1/roads", **parameters)).json()
    return {road["road"]: road for road in answer["roads"]}


async def test_the_lag_between_the_roads_is_measured(world: World) -> None:
    for number, lag_ms in enumerate((100, 300, 2_000), 1):
        await by_both(world, number, lag_ms)
    body = event("PACKAGE_DELIVERED", 4, RESOURCE)
    await world.event(over_eventbridge(body))
    await world.event(body)
    answer = (await world.get("/v1/roads")).json()
    assert (answer["arrivals"], answer["events"], answer["crossings"]) == (8, 4, 4)
    assert answer["graceMs"] == 5 * MINUTE
    webhook, eventbridge, replay = answer["roads"]
    assert (webhook["road"], eventbridge["road"], replay["road"]) == ("webhook", "eventbridge", "replay")
    assert (webhook["arrivals"], webhook["first"]) == (4, 3)
    assert (eventbridge["arrivals"], eventbridge["first"]) == (4, 1)
    assert webhook["behind"] == {"n": 1, "p50Ms": 1_000, "p90Ms": 1_000, "p99Ms": 1_000}
    assert eventbridge["behind"] == {"n": 3, "p50Ms": 300, "p90Ms": 2_000, "p99Ms": 2_000}
    assert eventbridge["lastArrivalAt"] < webhook["lastArrivalAt"] == world.at()
    assert (replay["arrivals"], replay["lastArrivalAt"]) == (0, None)
    assert [(c["position"], c["otherRoad"], c["lagMs"]) for c in answer["slowest"]][:2] == [
        (3, "eventbridge", 2_000),
        (4, "webhook", 1_000),
    ]
    items = (await world.get("/v1/events")).json()["items"]
    assert [item["arrivals"] for item in items] == [2, 2, 2, 2]
    assert items[3]["roads"] == ["eventbridge", "webhook"]


async def test_what_one_road_does_not_bring_is_told_with_its_positions(world: World) -> None:
    await by_both(world, 1, 100)
    await world.event(event("PACKAGE_DELIVERED", 2, RESOURCE))
    await by_both(world, 3, 100)
    world.now = Instant(world.now + HOUR)
    found = await roads(world)
    bridge, webhook = found["eventbridge"], found["webhook"]
    # The first came by webhook before EventBridge was known to be in use.
    assert (bridge["missed"], bridge["expected"], bridge["missedPositions"]) == (1, 2, [2])
    assert (webhook["missed"], webhook["expected"], webhook["missedPositions"]) == (0, 3, [])


async def test_a_replay_is_shown_as_one_and_measured_by_none(world: World) -> None:
    await by_both(world, 1, 100)
    await world.event(event("PACKAGE_DELIVERED", 2, RESOURCE))
    for number in (2, 3):
        body = event("PACKAGE_DELIVERED", number, RESOURCE)
        await world.event(over_eventbridge(body, **{"replay-name": "again"}))
    items = (await world.get("/v1/events")).json()["items"]
    assert [item["roads"] for item in items] == [
        ["webhook", "eventbridge"],
        ["webhook", "replay"],
        ["replay"],
    ]
    log = (await world.get("/v1/events/event-2")).json()["arrivalLog"]
    assert [(a["road"], a["behindMs"]) for a in log] == [("webhook", 0), ("replay", 1_000)]
    world.now = Instant(world.now + HOUR)
    found = await roads(world)
    assert (found["replay"]["arrivals"], found["replay"]["first"], found["replay"]["behind"]["n"]) == (
        2,
        1,
        0,
    )
    assert found["replay"]["lastArrivalAt"] is not None
    assert found["eventbridge"]["missedPositions"] == [2]
    assert found["webhook"]["behind"]["n"] == 0


async def test_roads_are_those_of_the_keys_business_products(world: World) -> None:
    await by_both(world, 1, 100)
    await by_both(world, 2, 700, "bp-2")
    bound = await world.key("read", "bp-2")
    answer = (await world.get("/v1/roads", bound)).json()
    assert (answer["arrivals"], answer["crossings"]) == (2, 1)
    assert [c["businessProductId"] for c in answer["slowest"]] == ["bp-2"]
    assert (await world.get("/v1/roads", bound, businessProductId="bp-1")).status_code == 404
    assert (await roads(world, businessProductId="bp-1"))["eventbridge"]["behind"]["p50Ms"] == 100
    foreign = (await world.get("/v1/roads", await world.key("read", "bp-9"))).json()
    assert (foreign["arrivals"], foreign["since"], foreign["slowest"]) == (0, None, [])


async def test_the_metrics_say_the_same(world: World) -> None:
    await by_both(world, 1, 100)
    await by_both(world, 2, 2_500)
    answer = await world.get("/metrics")
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            name = sample.name.removeprefix("milepost_road_")
            if name != sample.name:
                labels = [sample.labels[label] for label in ("road", "quantile") if label in sample.labels]
                found[name, *labels] = sample.value
    assert found["arrivals", "webhook"] == found["arrivals", "eventbridge"] == found["first", "webhook"] == 2
    assert found["first", "eventbridge"] == found["missed", "eventbridge"] == found["arrivals", "replay"] == 0
    assert found["crossings", "eventbridge"] == 2
    assert [found["lag_seconds", "eventbridge", q] for q in ("0.5", "0.9", "0.99")] == [0.1, 2.5, 2.5]
    assert ("lag_seconds", "webhook", "0.5") not in found
    assert found["last_arrival_timestamp_seconds", "eventbridge"] == world.now / 1_000
    assert ("last_arrival_timestamp_seconds", "replay") not in found
