"""Driving the world over HTTP: time, scenarios, orders, packages, faults; what is wrong is a 400 that says so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.sandbox.asking import START, Asking, config
from tests.unit.sandbox.test_scenarios import MINIMAL

from milepost.domain.errors import Invalid
from milepost.domain.instant import HOUR
from milepost.sandbox.program import Sandbox
from milepost.sandbox.scenarios import Scenario, library


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    asking = Asking(sandbox)
    try:
        yield asking
    finally:
        await asking.close()
        await sandbox.close()


async def started(asking: Asking, scenario: str | dict[str, Any]) -> str:
    (order_id,) = (await asking.post("/sandbox/scenarios", {"scenario": scenario}))["orderIds"]
    return str(order_id)


async def states(asking: Asking, order_id: str) -> list[str]:
    order = await asking.order(order_id)
    return [d["state"] for d in order["packageInformation"]["details"]]


# ── Time ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_time_passes_and_what_became_due_is_played_before_the_answer(asking: Asking) -> None:
    order_id = await started(asking, "happy-path")
    assert (await asking.get("/sandbox/clock"))["nextStepAt"] == "2025-01-20T16:00:00Z"
    answer = await asking.post("/sandbox/clock", {"advance": "13h"})
    assert answer == {
        "now": "2025-01-21T01:00:00Z",
        "speed": 0.0,
        "pace": 0.0,
        "nextStepAt": "2025-01-21T12:10:00Z",
    }
    assert await states(asking, order_id) == ["IN_TRANSIT"]
    answer = await asking.post("/sandbox/clock", {"to": "2025-02-01T00:00:00Z"})
    assert (answer["now"], answer["nextStepAt"]) == ("2025-02-01T00:00:00Z", None)
    assert await states(asking, order_id) == ["DELIVERED"]
    answer = await asking.post("/sandbox/clock", {"advance": 1_000, "speed": 600})
    assert answer["speed"] == 600


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"advance": "soon"},
        {"advance": "-1h"},
        {"advance": 1.5},
        {"to": "2025-01-20T11:59:59Z"},
        {"to": "tomorrow"},
        {"advance": "1h", "to": "2026-01-01T00:00:00Z"},
        {"speed": -1},
        {"speed": 1e9},
        {"forward": "1h"},
    ],
)
async def test_time_goes_forward_only_and_is_written_as_documented(
    asking: Asking, body: dict[str, Any]
) -> None:
    before = await asking.get("/sandbox/clock")
    assert (await asking.post("/sandbox/clock", body, 400))["code"]
    assert await asking.get("/sandbox/clock") == before


async def test_the_time_of_a_stepped_world_survives(asking: Asking, tmp_path: Path) -> None:
    await asking.post("/sandbox/clock", {"advance": "5h"})
    await asking.sandbox.close()
    again = Sandbox(config(tmp_path))
    await again.open()
    assert again.clock.now() == START + 5 * HOUR
    await again.close()
    await asking.sandbox.open()


# ── Scenarios ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_scenarios_are_listed_with_their_titles(asking: Asking) -> None:
    items = (await asking.get("/sandbox/scenarios"))["items"]
    assert {item["name"]: item["title"] for item in items} == {s.name: s.title for s in library().values()}


@pytest.mark.parametrize("body", [MINIMAL, {"scenario": MINIMAL}])
async def test_a_document_of_ones_own_is_lived(asking: Asking, body: dict[str, Any]) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", body))["orderIds"]
    await asking.post("/sandbox/clock", {"advance": "1d"})
    assert await states(asking, order_id) == ["DELIVERED"]


@pytest.mark.parametrize(
    "body",
    [
        {"scenario": "teleported"},
        {"scenario": 5},
        {"scenario": {"name": "x"}},
        {**MINIMAL, "ends": {}, "extra": 1},
        {"orders": 0},
        {"packages": 4},
        {"oders": 1},
    ],
)
async def test_what_is_no_scenario_is_refused(asking: Asking, body: dict[str, Any]) -> None:
    await asking.post("/sandbox/scenarios", body, 400)
    assert (await asking.get("/sandbox/orders"))["items"] == []


async def test_an_order_that_is_not_placed_yet_is_found_by_nobody(asking: Asking) -> None:
    made = (await asking.post("/sandbox/scenarios", {"scenario": "recycled-number"}))["orderIds"]
    listed = (await asking.get("/sandbox/orders"))["items"]
    assert [order["orderId"] for order in listed] == made[:1]
    await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED", "orderId": made[1]}, 404)
    await asking.post("/sandbox/clock", {"advance": "105d"})
    old, new = [await asking.order(order_id) for order_id in made]
    numbers = [
        order["packageInformation"]["details"][0]["packageTracker"]["packageTrackerIdentifier"]
        for order in (old, new)
    ]
    assert numbers[0] == numbers[1]
    tracker = await asking.tracker(numbers[0]["carrierCode"], numbers[0]["trackingNumber"])
    assert tracker == new["packageInformation"]["details"][0]["packageTracker"]


# ── Orders and packages ────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_waits_until_its_fulfilment_is_started(asking: Asking) -> None:
    document = {**MINIMAL, "orders": [{"packages": ["box"], "fulfilment": "NOT_STARTED"}]}
    order_id = await started(asking, document)
    await asking.post("/sandbox/clock", {"advance": "10d"})
    assert await states(asking, order_id) == ["PENDING"]
    await asking.post("/sandbox/orders", {"orderId": order_id, "do": "startFulfilment"})
    await asking.post("/sandbox/orders", {"orderId": order_id, "do": "startFulfilment"}, 409)
    await asking.post("/sandbox/clock", {"advance": "30m"})
    assert await states(asking, order_id) == ["PENDING"]
    await asking.post("/sandbox/clock", {"advance": "31m"})
    assert await states(asking, order_id) == ["IN_TRANSIT"]
    await asking.post("/sandbox/clock", {"advance": "3h"})
    assert await states(asking, order_id) == ["DELIVERED"]


async def test_cancelling_an_order_cancels_what_is_pending_and_nothing_else(asking: Asking) -> None:
    order_id = await started(asking, "two-ship-events")
    await asking.post("/sandbox/clock", {"advance": "20h"})
    assert await states(asking, order_id) == ["IN_TRANSIT", "PENDING"]
    answer = await asking.post("/sandbox/orders", {"orderId": order_id, "do": "cancel"})
    assert [e["eventDescriptor"] for e in answer["events"]] == [
        "PACKAGE_DELIVERY_CANCELLED",
        "REFUND_REQUESTED",
    ]
    await asking.post("/sandbox/orders", {"orderId": order_id, "do": "cancel"}, 409)
    await asking.post("/sandbox/clock", {"advance": "10d"})
    assert await states(asking, order_id) == ["DELIVERED", "CANCELLED"]
    done = await asking.post("/sandbox/orders", {"orderId": order_id, "do": "completeRefunds"})
    assert [e["eventDescriptor"] for e in done["events"]] == ["REFUND_COMPLETED"]
    await asking.post("/sandbox/orders", {"orderId": order_id, "do": "completeRefunds"}, 409)


async def test_a_package_is_split_and_what_was_planned_for_it_happens_to_each_part(asking: Asking) -> None:
    order_id = await started(asking, {**MINIMAL, "orders": [{"packages": ["box"], "quantities": [2, 1]}]})
    order = await asking.order(order_id)
    (package,) = order["packageInformation"]["details"]
    one, other = (i["id"] for i in order["lineItems"])
    split = {
        "deliveryId": package["id"],
        "split": [
            [{"lineItemId": one, "units": 1}],
            [{"lineItemId": one, "units": 1}, {"lineItemId": other, "units": 1}],
        ],
    }
    parts = (await asking.post("/sandbox/packages", split))["deliveryIds"]
    assert package["id"] not in parts
    await asking.post("/sandbox/packages", split, 404)
    await asking.post("/sandbox/clock", {"advance": "10d"})
    order = await asking.order(order_id)
    shown = {d["id"]: d["state"] for d in order["packageInformation"]["details"]}
    assert shown == dict.fromkeys(parts, "DELIVERED")
    numbers = {
        d["packageTracker"]["packageTrackerIdentifier"]["trackingNumber"]
        for d in order["packageInformation"]["details"]
    }
    assert len(numbers) == 2


async def test_a_delivered_package_is_returned_by_hand(asking: Asking) -> None:
    made = await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED"})
    (listed,) = (await asking.get("/sandbox/orders"))["items"]
    (delivery_id,) = listed["deliveryIds"]
    answer = await asking.post("/sandbox/packages", {"deliveryId": delivery_id, "returned": "STARTED"})
    assert [e["eventDescriptor"] for e in answer["events"]] == ["RETURN_STARTED"]
    (listed,) = (await asking.get("/sandbox/orders"))["items"]
    (return_id,) = listed["returnIds"]
    moved = await asking.post("/sandbox/packages", {"deliveryId": return_id, "milestone": "IN_TRANSIT"})
    assert [e["eventDescriptor"] for e in moved["events"]] == [
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "RETURN_PACKAGE_IN_TRANSIT",
        "REFUND_REQUESTED",
    ]
    resource = moved["events"][0]["resources"][0].split("/")
    tracker = await asking.tracker(resource[3], resource[5])
    assert tracker["latestMilestone"]["status"]["code"] == "IN_TRANSIT"
    again = {
        "type": "RETURN_PACKAGE_DELIVERED",
        "carrierCode": resource[3],
        "trackingNumber": resource[5],
    }
    caused = await asking.post("/sandbox/events", again)
    assert caused["orderId"] == made["orderId"]
    assert caused["events"][-1]["eventDescriptor"] == "RETURN_PACKAGE_DELIVERED"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/sandbox/packages", {"deliveryId": "nobody", "state": "IN_TRANSIT"}, 404),
        ("/sandbox/packages", {"deliveryId": "nobody"}, 400),
        ("/sandbox/packages", {"deliveryId": "d", "state": "IN_TRANSIT", "milestone": "LOST"}, 400),
        ("/sandbox/packages", {"deliveryId": "d", "split": [[]]}, 404),
        ("/sandbox/orders", {}, 400),
        ("/sandbox/orders", {"orderId": "nobody", "do": "cancel"}, 404),
        ("/sandbox/orders", {"orderId": "nobody", "do": "completeRefunds"}, 404),
        ("/sandbox/orders", {"orderId": "nobody"}, 400),
        ("/sandbox/orders", {"orderId": "nobody", "do": "explode"}, 400),
        ("/sandbox/events", {"type": "INVENTORY_CHANGED"}, 400),
        ("/sandbox/faults", {"droop": 1}, 400),
        ("/sandbox/faults", {"drop": 7}, 400),
    ],
)
async def test_what_is_wrong_is_refused(asking: Asking, path: str, body: dict[str, Any], status: int) -> None:
    await asking.post(path, body, status)


async def test_faults_are_shown_and_changed(asking: Asking) -> None:
    shown = await asking.get("/sandbox/faults")
    assert shown["drop"] == 0
    assert (await asking.post("/sandbox/faults", {"drop": 0.5}))["drop"] == 0.5
    assert (await asking.post("/sandbox/faults", {"duplicate": 0.5}))["drop"] == 0.5
    assert set(await asking.get("/sandbox/faults")) == set(shown)


# ── What nobody thought of ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("product", ["a/b", "a//", "x\0y", ""])
async def test_a_business_product_that_no_event_could_carry_is_refused(asking: Asking, product: str) -> None:
    await asking.post("/sandbox/scenarios", {"scenario": "happy-path", "businessProductId": product}, 400)
    document = {"id": "o1", "packageInformation": {"details": [{"id": "d1"}]}}
    if product:
        await asking.post("/sandbox/orders", {"businessProductId": product, "order": document}, 400)
        await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED", "businessProductId": product}, 400)
    # And so the world goes on: one event that cannot be written would stop all of it.
    order_id = await started(asking, "happy-path")
    await asking.post("/sandbox/clock", {"advance": "20d"})
    assert await states(asking, order_id) == ["DELIVERED"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "o/1"},
        {"id": "o\n1"},
        {"packageInformation": {"details": [{"id": "d/1"}]}},
        {"packageInformation": {"details": [{"id": ""}]}},
        {
            "packageInformation": {
                "details": [
                    {
                        "id": "d1",
                        "state": "IN_TRANSIT",
                        "packageTracker": {
                            "packageTrackerIdentifier": {"carrierCode": "a/b", "trackingNumber": "1"}
                        },
                    }
                ]
            }
        },
        {"refunds": {"details": [{"id": "r/1"}]}},
        {"returns": {"details": [{"id": "r/1", "returnPackageDetails": [{"state": "CREATED"}]}]}},
    ],
)
async def test_a_document_whose_ids_no_event_could_carry_is_refused(
    asking: Asking, change: dict[str, Any]
) -> None:
    document = {"id": "o1", "packageInformation": {"details": [{"id": "d1"}]}}
    await asking.post("/sandbox/orders", {"order": document | change}, 400)
    await asking.post("/sandbox/orders", {"order": document})
    await asking.post("/sandbox/packages", {"deliveryId": "d1", "state": "IN_TRANSIT"})


@pytest.mark.parametrize(
    "change",
    [
        {"orders": []},
        {"orders": [{"packages": ["box"], "quantities": [1_000_000_000]}]},
        {"steps": [{"package": "box", "split": ["a", "b"]}, {"package": "a", "split": ["c", "d"]}]},
        {"steps": [{"package": "a", "split": ["c", "d"]}, {"package": "box", "split": ["a", "b"]}]},
        {"steps": [{"package": "box", "split": ["a", "a"]}]},
        {"steps": [{"package": "box", "split": ["box", "b"]}]},
        {"steps": [{"package": "box", "split": ["a"]}]},
        {"steps": [{"milestone": "IN_TRANSIT", "numberOf": "other/box"}]},
        {
            "orders": [{"packages": ["box"]}, {"name": "two", "packages": ["crate"]}],
            "steps": [{"milestone": "IN_TRANSIT", "numberOf": "crate"}],
        },
        {"steps": [{"milestone": "IN_TRANSITT"}]},
        {"steps": [{"state": "CANCELLED"}]},
        {"steps": [{"state": "CANCELLED", "reason": []}]},
        {"steps": [{"state": "CANCELLED", "reason": "WHATEVER"}]},
        {"steps": [{"state": "IN_TRANSIT", "reason": "UNDELIVERABLE"}]},
        {"steps": [{"milestone": "IN_TRANSIT", "estimate": {"earliest": "soon"}}]},
    ],
)
async def test_what_could_never_happen_in_a_scenario_is_refused_before_it_is_started(
    asking: Asking, change: dict[str, Any]
) -> None:
    await asking.post("/sandbox/scenarios", {**MINIMAL, **change}, 400)
    assert (await asking.get("/sandbox/orders"))["items"] == []


@pytest.mark.parametrize(
    "path",
    ["attempts?after={}:1:x", "attempts?after=1:{}:x", "credentials?after={}:x", "event-sources?after={}:x"],
)
@pytest.mark.parametrize("number", [10**30, -(10**30)])
async def test_a_page_behind_any_number_is_a_page(asking: Asking, path: str, number: int) -> None:
    assert (await asking.get("/sandbox/" + path.format(number)))["items"] == []


@pytest.mark.parametrize("list", ["attempts", "credentials", "event-sources"])
@pytest.mark.parametrize("after", ["", "x", "1", ":", "1.5:x"])
async def test_a_cursor_of_nothing_is_refused(asking: Asking, list: str, after: str) -> None:
    await asking.get(f"/sandbox/{list}?after={after}", 400 if after else 200)


async def test_an_order_never_gets_the_number_of_another(asking: Asking, tmp_path: Path) -> None:
    # Not read as files are, so it fails when it is planned, after its number was looked up.
    steps = [{"milestone": "IN_TRANSIT", "estimate": {"earliest": "soon"}}]
    unplannable = msgspec.convert({**MINIMAL, "steps": steps}, Scenario)
    with pytest.raises(Invalid, match="soon"):
        await asking.sandbox.keeper.start(1, unplannable)
    first = await started(asking, "happy-path")
    await asking.post("/sandbox/clock", {"advance": "20d"})
    await asking.sandbox.close()
    await asking.sandbox.open()
    keeper = asking.sandbox.keeper
    (second,) = await keeper.start(1, "happy-path")
    assert second != first
    lived = await keeper.order(first, None)
    assert lived is not None
    assert not lived.plan


async def test_what_is_triggered_while_the_clock_stands_still_keeps_its_order(asking: Asking) -> None:
    answer = await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERY_IN_TRANSIT"})
    order_id = answer["orderId"]
    await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED", "orderId": order_id})
    published = (await asking.get("/sandbox/events"))["items"]
    times = [event["eventTime"] for event in published]
    assert times == sorted(times)
    details = (await asking.order(order_id))["packageInformation"]["details"]
    milestones = next(d["packageTracker"]["milestones"] for d in details if d["packageTracker"])
    assert [m["status"]["code"] for m in milestones] == [
        "DELIVERED",
        "OUT_FOR_DELIVERY",
        "IN_TRANSIT",
        "INFO_RECEIVED",
    ]


async def test_a_package_that_nobody_scanned_is_delivered_with_a_tracking_number(asking: Asking) -> None:
    document = {"id": "o1", "packageInformation": {"details": [{"id": "d1"}]}}
    await asking.post("/sandbox/orders", {"order": document})
    await asking.post("/sandbox/packages", {"deliveryId": "d1", "state": "IN_TRANSIT"})
    await asking.post("/sandbox/packages", {"deliveryId": "d1", "state": "DELIVERED"})
    (event,) = (await asking.get("/sandbox/events?type=PACKAGE_DELIVERED"))["items"]
    (detail,) = event["data"]["order"]["packageInformation"]["details"]
    identifier = detail["packageTracker"]["packageTrackerIdentifier"]
    assert list(identifier) == ["trackingNumber", "carrierCode"]
    assert detail["packageTracker"]["trackingUrl"]
    assert await asking.tracker(identifier["carrierCode"], identifier["trackingNumber"])
