"""The inbox and the page of one event: listed, narrowed, paged both ways, and what became of each."""

import time

import msgspec
import pytest
from tests.web.console.lookers import SCRIPT, look_as, opened, outcome_at, rows, sent, words
from tests.web.world import MINUTE, World, event, milestone, one_delivery, order, tracker

from milepost.domain.errors import Malformed
from milepost.domain.instant import Instant
from milepost.store import FailedFold, Store
from milepost.web.console.wording import plain

DELIVERY = "order/order-1/delivery/delivery-1"
TRACKER = "carrier/UPS/tracker/1Z999"


@pytest.fixture
def world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None)


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "operator")


async def _many(world: World, count: int, **fields: str) -> None:
    for number in range(count):
        await world.event(
            event("PACKAGE_DELIVERED", number, f"order/o-{number}/delivery/d-{number}", **fields)
        )
    await world.project()


async def _positions(world: World) -> dict[str, int]:
    """By eventId."""
    listed = (await world.get("/v1/events", None, limit=500)).json()["items"]
    return {item["eventId"]: item["position"] for item in listed}


async def test_events_are_listed_newest_first_and_paged_both_ways(world: World) -> None:
    await _many(world, 120)
    listed = sorted((await _positions(world)).values(), reverse=True)
    first = await opened(world, "/events")
    assert rows(first) == listed[:50]
    second = await opened(world, "/events", before=listed[49])
    assert rows(second) == listed[50:100]
    last = await opened(world, "/events", before=listed[99])
    assert rows(last) == listed[100:]
    assert 'rel="next"' not in last
    assert 'rel="prev"' not in first
    assert rows(await opened(world, "/events", after=listed[100])) == listed[50:100]
    assert rows(await opened(world, "/events", after=listed[50])) == listed[:50]
    assert f"/events?before={listed[49]}" in first
    assert f"/events?after={listed[100]}" in last


async def test_what_became_of_an_event_is_what_explain_says(world: World) -> None:
    await one_delivery(world)
    page = await opened(world, "/events")
    positions = await _positions(world)
    assert rows(page) == [positions["event-2"], positions["event-1"]]
    explained = (await world.get("/v1/deliveries/delivery-1/explain", None)).json()["facts"]
    for position in rows(page):
        lines = [line for line in explained if line["position"] == position and line["used"]]
        assert outcome_at(page, position) == "Applied"
        assert plain(lines[0]["text"]) in words(page)


async def test_every_outcome_can_be_seen_and_asked_for(world: World) -> None:
    """One event for each outcome that a store without an API can give; each filter shows those and no others."""
    await one_delivery(world)
    again = event("PACKAGE_DELIVERED", 2, DELIVERY, when="2025-01-21T10:01:00Z")
    await world.event(again)
    await world.event(again | {"data": {"order": {"id": "order-1", "changed": True}}})
    orphan = "carrier/DHL/tracker/LONELY"
    await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", 20, orphan))
    await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", 21, TRACKER))
    await world.event(event("SOMETHING_NEW", 22, DELIVERY))
    await world.event(event("REFUND_REQUESTED", 23, "order/order-1/refund/r-1"))
    reused = event("REFUND_REQUESTED", 24, "order/order-1/refund/r-2") | {"idempotencyKey": "key-23"}
    await world.event(reused)
    failing = await world.event(event("PACKAGE_DELIVERED", 25, "order/order-9/delivery/delivery-9"))
    await world.project()
    failure = FailedFold("projector", failing.position, "bp-1", "order/order-9", "ValueError: no", world.now)
    await world.store.write(lambda tx: tx.views.fail([failure]))
    await world.event(event("PACKAGE_DELIVERED", 26, "order/order-10/delivery/delivery-10"))
    at = await _positions(world)
    first, second = at["event-1"], at["event-2"]
    (copy,) = (await world.get("/v1/events/event-2", None)).json()["conflicts"]
    page = await opened(world, "/events")
    expected = {
        second: "Applied",
        copy["position"]: "Conflict",
        at["event-20"]: "Orphan",
        at["event-21"]: "Waiting for an answer",
        at["event-22"]: "Unmapped",
        at["event-23"]: "No-op",
        at["event-24"]: "No-op",
        at["event-25"]: "Failed",
        at["event-26"]: "Not folded yet",
    }
    assert {position: outcome_at(page, position) for position in expected} == expected
    narrowed = {
        "applied": [second, first],
        "duplicate": [second],
        "conflict": [copy["position"], second],
        "orphan": [at["event-20"]],
        "waiting": [at["event-21"]],
        "unmapped": [at["event-22"]],
        "noOp": [at["event-24"], at["event-23"]],
        "failed": [at["event-25"]],
        "notFolded": [at["event-26"]],
        "keyReuse": [at["event-24"], at["event-23"]],
        "historyFill": [],
        "unanswered": [],
    }
    for outcome, positions in narrowed.items():
        assert rows(await opened(world, "/events", outcome=outcome)) == positions, outcome
    listed = (await world.get("/v1/events", None, outcomes=True)).json()["items"]
    found = {item["eventId"]: item["outcome"] for item in listed}
    assert found["event-20"]["code"] == "orphan"
    assert found["event-25"]["code"] == "failed"
    assert (await world.get("/v1/events/event-21", None)).json()["outcome"] == found["event-21"]


async def test_a_milestone_event_has_the_outcome_of_the_milestone_that_it_told(world: World) -> None:
    world.now = Instant(world.now + 48 * 60 * MINUTE)
    about = {"carrier_code": "UPS", "tracking_number": "1Z999"}
    moving = milestone("IN_TRANSIT", "2025-01-20T12:30:00Z")
    out = milestone("OUT_FOR_DELIVERY", "2025-01-21T08:00:00Z")
    late = milestone("IN_TRANSIT", "2025-01-20T18:00:00Z", "Tacoma")
    odd = milestone("TELEPORTED", "2025-01-21T09:00:00Z")
    known = order("order-1", ("delivery-1", "IN_TRANSIT", tracker()))
    await world.answer("order", known, order_id="order-1")
    shown = [moving]
    positions = []
    for number, scan in enumerate((moving, out, late, odd)):
        shown = [*shown, scan] if number else shown
        receipt = await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", number, TRACKER))
        positions.append(receipt.position)
        world.now = Instant(world.now + MINUTE)
        await world.answer("packageTracker", tracker(*shown), **about)
    await world.project()
    page = await opened(world, "/events")
    assert [outcome_at(page, at) for at in positions] == ["Applied", "Applied", "History fill", "Unmapped"]
    assert rows(await opened(world, "/events", outcome="historyFill")) == [positions[2]]
    facts = (await world.get("/v1/trackers/ups/1Z999/explain", None)).json()["facts"]
    found = (await world.get("/v1/events/event-2", None)).json()["outcome"]
    assert found["text"] in [line["text"] for line in facts if line["rule"] == "T4"]


async def test_events_are_narrowed_by_what_they_are_and_name(world: World) -> None:
    await one_delivery(world)
    bridge = event("ITEM_IN_TRANSIT", 50, "order/order-2/delivery/delivery-2")
    document = {
        "version": "0",
        "id": "b-1",
        "detail-type": "ITEM_IN_TRANSIT",
        "source": "aws.partner/x",
        "account": "1",
        "time": "2025-01-20T12:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": bridge,
    }
    world.now = Instant(world.now + 60 * MINUTE)
    at = world.at()[:16]
    await world.ingest.ingest(msgspec.json.encode(document))
    await world.project()
    at_event = await _positions(world)
    first, second, third = (at_event[f"event-{n}"] for n in (1, 2, 50))
    for narrowed in (
        {"type": "DELIVERY_IN_TRANSIT", "road": "eventbridge"},
        {"about": "order-2"},
        {"about": "delivery-2"},
        {"about": "event-50"},
        {"about": "key-50"},
        {"since": at},
    ):
        assert rows(await opened(world, "/events", **narrowed)) == [third], narrowed
    assert rows(await opened(world, "/events", about="order-1")) == [second, first]
    assert rows(await opened(world, "/events", until=at, type="PACKAGE_DELIVERED")) == [second]
    assert rows(await opened(world, "/events", about="nobody")) == []
    assert "is no time" in words(await opened(world, "/events", since="yesterday"))


async def test_what_is_in_quarantine_stands_among_the_newest(world: World) -> None:
    await one_delivery(world)
    with pytest.raises(Malformed):
        await world.ingest.ingest(b"{" + SCRIPT.encode())
    page = await opened(world, "/events")
    assert page.index('id="q1"') < page.index('<tr id="e')
    assert SCRIPT not in page
    answer = await world.get("/events", None, outcome="quarantined")
    assert (answer.status_code, answer.headers["location"]) == (303, "/quarantine")


async def test_an_event_has_its_arrivals_its_body_and_its_neighbours(world: World) -> None:
    await one_delivery(world)
    copy = event("PACKAGE_DELIVERED", 2, DELIVERY, when="2025-01-21T10:01:00Z")
    await world.event(copy)
    await world.event(copy | {"data": {"order": {"id": "order-1"}}})
    await world.project()
    at = await _positions(world)
    (dispute,) = (await world.get("/v1/events/event-2", None)).json()["conflicts"]
    page = await opened(world, f"/events/{at['event-2']}")
    said = words(page)
    assert "Applied +2 copies Disputed" in said
    assert "3 in all" in said
    assert '"eventId": "event-2"' in said
    assert f'href="/events/{at["event-1"]}"' in page
    assert f'href="/events/{dispute["position"]}"' in page
    assert "/orders/order-1?businessProductId=bp-1" in page
    assert "A copy of an earlier event" in words(await opened(world, f"/events/{dispute['position']}"))
    assert "not posted again from here" in said


async def test_an_event_shows_its_body_as_each_road_brought_it(world: World) -> None:
    by_webhook = event("PACKAGE_DELIVERED", 1, DELIVERY)
    await world.event(by_webhook)
    envelope = {
        "version": "0",
        "id": "bridge-1",
        "detail-type": "PACKAGE_DELIVERED",
        "source": "aws.partner/x",
    }
    envelope |= {"account": "1", "region": "us-east-1", "time": by_webhook["eventTime"]}
    envelope |= {"resources": by_webhook["resources"], "detail": by_webhook}
    for _ in range(2):
        assert (await world.ingest.ingest(msgspec.json.encode(envelope))).status == "duplicate"
    await world.project()
    page = await opened(world, "/events/1")
    assert page.count("<section data-road=") == 2
    first, other = page.split("<section data-road=")[1:]
    assert first.startswith('"webhook"')
    assert "By webhook, first" in first
    assert "bridge-1" not in first
    assert other.startswith('"eventbridge"')
    assert "bridge-1" in other
    assert "event-1" in other


async def test_script_in_every_field_of_an_event_is_text(world: World) -> None:
    hostile = event(
        "X" + SCRIPT, 1, f"order/o{SCRIPT.replace('/', '')}/delivery/d", product=SCRIPT.replace("/", "")
    )
    fields = ("idempotencyKey", "eventId", "apiVersion", "subscriptionId")
    body = hostile | {name: SCRIPT + name for name in fields} | {"data": {"note": SCRIPT}, "more": SCRIPT}
    await world.event(body)
    milestones = tracker(milestone(SCRIPT, "2025-01-20T12:30:00Z", SCRIPT), carrier=SCRIPT, number=SCRIPT)
    hooked = event("PACKAGE_DELIVERED", 2, DELIVERY)
    hooked["data"] = {"order": order("order-1", ("delivery-1", "DELIVERED", milestones))}
    await world.event(hooked)
    await world.project()
    asked = {"about": SCRIPT, "type": SCRIPT}
    pages: list[tuple[str, dict[str, str]]] = [("/events", {}), ("/events", asked)]
    pages += [(f"/events/{at}", {}) for at in (await _positions(world)).values()]
    for path, parameters in pages:
        page = await opened(world, path, **parameters)
        assert "<script>" not in page.partition("<body")[2], path
        assert "&lt;script&gt;" in page, path


async def test_other_business_products_are_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    at = await _positions(world)
    look_as(monkeypatch, "operator", "bp-2")
    page = await opened(world, "/events")
    assert rows(page) == [at["event-101"], at["event-100"]]
    assert "bp-1" not in page
    for path in ("/events/1", "/events/2", "/events/999"):
        assert (await world.get(path, None)).status_code == 404, path
    assert (await world.get("/events", None, product="bp-1")).status_code == 404
    assert f"/events/{at['event-2']}" not in await opened(world, f"/events/{at['event-100']}")
    assert rows(await opened(world, "/events", about="order-1")) == []


@pytest.mark.parametrize("role", ["agent", "analyst"])
async def test_only_who_operates_may_look(world: World, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    await one_delivery(world)
    look_as(monkeypatch, role)  # type: ignore[arg-type]
    for path in ("/events", "/events/1", "/events/live", "/quarantine", "/subscribers", "/health"):
        assert (await world.get(path, None)).status_code == 403, path
    assert (await sent(world, "/events/1/resend", message="x")).status_code == 403


async def test_a_page_folds_each_order_once_and_is_quick(world: World) -> None:
    for number in range(300):
        name = f"o-{number % 40}"
        await world.event(event("PACKAGE_DELIVERED", number, f"order/{name}/delivery/d-{name}"))
    await world.project()
    await opened(world, "/events")
    began = time.process_time()
    for _ in range(5):
        await opened(world, "/events")
    assert (time.process_time() - began) / 5 < 0.6
