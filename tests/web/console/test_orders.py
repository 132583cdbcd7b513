"""The order page: its four answers, that it says what the API says, now and then, and what strangers may write."""

from typing import Any

import pytest
from tests.web.console.parsed import Element, Parsed
from tests.web.console.visits import TOKEN, fetch, look, send, sign_in
from tests.web.told import tell, went
from tests.web.world import World, event, milestone, one_delivery, order, tracker

from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, MINUTE, Instant, parse_instant
from milepost.pipeline.sweeper import Sweeper
from milepost.store import Store
from milepost.web.console.wording import plain

EVIL = "\"><script>alert('x')</script>"
PAGE, API = "/orders/order-1", "/v1/orders/order-1"


@pytest.fixture
def world(store: Store) -> World:
    return World(store, admin_key=None, insecure=True)


def answers(page: Parsed) -> list[str]:
    return [each.words for each in page.all("section") if "data-answer" in each.attributes]


def said_of(page: Parsed) -> dict[str, Any]:
    """What an order's page says of it, in the API's words."""
    return {
        "id": page.one("span", data_is="order-id").text,
        "deliveries": [
            _delivery(page, each) for each in page.all("section") if "data-delivery" in each.attributes
        ],
    }


def _delivery(page: Parsed, section: Element) -> dict[str, Any]:
    def at(name: str) -> str | None:
        found = page.all("dd", section, data_is=name)
        return page.one("time", found[0])["datetime"] if found else None

    return {
        "id": section["data-delivery"],
        "state": page.one(within=section, data_is="state")["data-code"],
        "shippedAt": at("shipped"),
        "deliveredAt": at("delivered"),
        "capture": page.one("dd", section, data_is="capture")["data-code"],
        "trackers": [
            {
                "name": each["data-tracker"],
                "stage": page.one(within=each, data_is="stage")["data-code"],
                "milestones": [scan["data-code"] for scan in page.all("li", each)],
            }
            for each in page.all("div", section)
            if "data-tracker" in each.attributes
        ],
    }


def told_by(document: dict[str, Any]) -> dict[str, Any]:
    """The same of the API's document."""
    return {
        "id": document["id"],
        "deliveries": [
            {
                **{key: each[key] for key in ("id", "state", "shippedAt", "deliveredAt")},
                "capture": each["capture"]["state"],
                "trackers": [
                    {
                        "name": f"{t['carrierCode']}/{t['trackingNumber']}",
                        "stage": t["stage"],
                        "milestones": [m["code"] for m in reversed(t["milestones"][-4:])],
                    }
                    for t in each["trackers"]
                ],
            }
            for each in document["deliveries"]
        ],
    }


async def test_the_page_says_what_the_api_says_now_and_at_every_time(world: World) -> None:
    times = await one_delivery(world)
    assert said_of(await look(world, PAGE)) == told_by((await world.get(API, None)).json())
    seen = []
    for time in times:
        page = await look(world, PAGE, asOf=time)
        assert said_of(page) == told_by((await world.get(API, None, asOf=time)).json())
        assert "This page shows the order as known at" in page.words
        assert not page.all("form", method="post"), "nothing is done in the past"
        seen.append(str(said_of(page)))
    assert len(set(seen)) == len(times), "each time knew something else"


async def test_the_timeline_says_what_the_api_says(world: World) -> None:
    await one_delivery(world)
    await world.post(f"{API}/notes", {"text": "left at the door", "author": "Robin"}, None)
    await world.project()
    page = await look(world, PAGE)
    shown = [(e["data-kind"], e["data-code"]) for e in page.all("li") if "data-kind" in e.attributes]
    said = (await world.get(f"{API}/timeline", None)).json()["items"]
    assert sorted(shown) == sorted((entry["kind"], entry["code"]) for entry in said)
    assert [day.words for day in page.all("h3", class_="day")] == ["21 Jan 2025", "20 Jan 2025"]
    assert {each["datetime"] for each in page.all("time", page.one(id="timeline"))} >= {
        "2025-01-21T10:00:00Z"
    }


async def test_lanes_are_switched_without_a_script(world: World) -> None:
    await one_delivery(world)
    page = await look(world, PAGE, lanes="tracker")
    kinds = {e["data-kind"] for e in page.all("li") if "data-kind" in e.attributes}
    assert kinds == {"milestone"}
    (chip,) = [c for c in page.all("a", class_="chip") if c.words.startswith("Payment")]
    more = await look(world, chip["href"].partition("#")[0])
    kinds = {e["data-kind"] for e in more.all("li") if "data-kind" in e.attributes}
    assert kinds == {"milestone", "capture"}


async def test_a_scan_stands_on_its_local_day_and_says_when_it_came_in(world: World) -> None:
    late = milestone("IN_TRANSIT", "2025-01-19T23:30:00-08:00")
    known = order("order-1", ("delivery-1", "IN_TRANSIT", tracker(late)))
    await world.answer("order", known, order_id="order-1")
    await world.project()
    page = await look(world, PAGE, lanes="tracker")
    assert [day.words for day in page.all("h3", class_="day")] == ["19 Jan 2025"]
    assert "received 20 Jan 2025, 12:00 UTC" in page.words


async def test_a_delivered_order_is_answered_at_a_glance(world: World) -> None:
    await one_delivery(world)
    await went(
        world, await tell(world, kind="delivered"), "claim", "sent", channel="email", sent_at=world.now
    )
    where, when, wrong, told = answers(await look(world, PAGE))
    assert "Delivered on 21 Jan 2025 in Portland, WA" in where
    assert "Arrived 21 Jan 2025" in when
    assert "On time: it was promised by 23 Jan 2025." in when
    assert "Nothing that we know of" in wrong
    assert "The parcel was delivered, by email just now" in told


async def test_a_late_parcel_is_called_late(world: World) -> None:
    moving = tracker(milestone("OUT_FOR_DELIVERY", "2025-01-20T11:00:00Z"))
    known = order("order-1", ("delivery-1", "IN_TRANSIT", moving))
    await world.answer("order", known, order_id="order-1")
    await world.project()
    where, when, _, told = answers(await look(world, PAGE))
    assert "Out for delivery with UPS; last scan 1 h ago in Seattle, WA" in where
    assert "Expected 22–23 Jan 2025, in 3 days" in when
    assert "On time, as far as is known." in when
    assert "Nothing: notifications are off" in told
    world.now = Instant(parse_instant("2025-01-20T12:00:00Z") + 6 * DAY)
    sweeper = Sweeper(world.store, Policy(), lambda: world.now)
    for _ in range(2):
        await sweeper.sweep()
        world.now = Instant(world.now + MINUTE)
    await world.project()
    _, when, wrong, _ = answers(await look(world, PAGE))
    assert "Late: it was promised by 23 Jan 2025." in when
    assert "The promised day has passed and the delivery is not there." in wrong
    said = (await world.get("/v1/search", None, q="order-1")).json()["items"][0]["conditions"]
    assert "LATE" in said


async def test_several_parcels_are_counted_and_the_worst_stands_first(world: World) -> None:
    lost = tracker(milestone("LOST", "2025-01-20T11:00:00Z"), number="1Z2")
    moves = tracker(milestone("IN_TRANSIT", "2025-01-20T11:00:00Z"), number="1Z3")
    known = order(
        "order-1",
        ("delivery-1", "DELIVERED", None),
        ("delivery-2", "IN_TRANSIT", lost),
        ("delivery-3", "IN_TRANSIT", moves),
    )
    await world.answer("order", known, order_id="order-1")
    await world.project()
    where, when, _, _ = answers(await look(world, PAGE))
    assert "3 parcels: 1 delivered, 2 on the way" in where
    assert "1 of 3 late or not coming" in when
    assert when.index("Parcel 2") < when.index("Parcel 3")


async def test_a_delivery_leads_to_its_place_on_the_page(world: World) -> None:
    await one_delivery(world)
    answer = await fetch(world, "/deliveries/delivery-1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders/order-1#parcel-1")
    assert (await look(world, PAGE)).one(id="parcel-1")["data-delivery"] == "delivery-1"


# ── What did we know then, and why ─────────────────────────────────────────────────────────────────────────


async def test_the_slider_goes_over_the_orders_own_instants(world: World) -> None:
    times = await one_delivery(world)
    page = await look(world, PAGE)
    slider = page.one("input", id="moment")
    assert (slider["min"], slider["value"], slider["max"]) == ("0", slider["max"], slider["max"])
    leads = []
    for step in range(int(slider["max"])):
        answer = await fetch(world, PAGE, moment=str(step))
        assert answer.status_code == 303
        leads.append(answer.headers["location"])
        then = await look(world, answer.headers["location"])
        assert then.one("input", id="moment")["value"] == str(step)
    assert len(set(leads)) == len(leads) == len(times)
    assert (await fetch(world, PAGE, moment=slider["max"])).headers["location"] == PAGE
    assert (await look(world, PAGE, 400, moment="99")).all("h1")


async def test_a_time_before_anything_was_known_and_one_that_is_none(world: World) -> None:
    await one_delivery(world)
    page = await look(world, PAGE, 404, asOf="2020-01-01T00:00")
    assert "Nothing was known of order 'order-1'" in page.words
    assert (await fetch(world, PAGE, asOf="yesterday")).status_code == 400


async def test_why_lists_what_was_used_and_what_was_set_aside(world: World) -> None:
    await one_delivery(world)
    await world.event(event("REFUND_REQUESTED", 9, "order/order-1"))
    await world.project()
    page = await look(world, f"{PAGE}/why")
    said = (await world.get(f"{API}/explain", None)).json()
    shown = [
        (int(e["data-position"]), e["data-used"] == "true")
        for e in page.all("li")
        if "data-used" in e.attributes
    ]
    assert sorted(shown) == sorted((fact["position"], fact["used"]) for fact in said["facts"])
    assert plain(said["state"]) in page.words
    tracked = (await world.get("/v1/trackers/ups/1Z999/explain", None)).json()
    assert plain(tracked["state"]) in page.words
    assert "set aside by rule design 9" in page.words
    assert plain(tracked["state"]) in (await look(world, "/trackers/ups/1Z999/why")).words
    then = await look(world, f"{PAGE}/why", asOf="2025-01-20T12:30:00Z")
    assert "As known at 20 Jan 2025, 12:30 UTC." in then.words


async def test_a_record_is_a_click_away_and_no_other_orders_is(world: World) -> None:
    await one_delivery(world)
    await world.event(event("REFUND_REQUESTED", 9, "order/order-2"))
    await world.project()
    page = await look(world, PAGE)
    links = [a["href"] for a in page.all("a") if "/records/" in a["href"]]
    assert "eventDescriptor" in (await look(world, f"{PAGE}/records/1")).words
    assert {(await fetch(world, link)).status_code for link in links} == {200}
    other = (await world.get("/v1/events/event-9", None)).json()["position"]
    assert (await fetch(world, f"{PAGE}/records/{other}")).status_code == 404


# ── Who sees what ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_another_business_products_is_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_delivery(world)
    sign_in(monkeypatch, "agent", "bp-2")
    paths = (
        *(PAGE, f"{PAGE}/why", f"{PAGE}/reply", f"{PAGE}/records/1", "/deliveries/delivery-1"),
        *("/trackers/ups/1Z999", "/trackers/ups/1Z999/why", f"{PAGE}?businessProductId=bp-1"),
    )
    for path in paths:
        assert (await fetch(world, path)).status_code == 404, path
    for form in ("notes", "resend", "shopper-page", "reply", "corrections", "corrections/1/withdraw"):
        sent = await send(
            world,
            f"{PAGE}/{form}",
            text="a note",
            subject="delivery/delivery-1",
            state="DELIVERED",
            reason="seen",
            occurred="2025-01-20T12:00",
        )
        assert sent.status_code == 404, form


async def test_an_id_that_several_have_asks_which(world: World) -> None:
    for product in ("bp-1", "bp-2"):
        await one_delivery(world, product)
    page = await look(world, PAGE, 409, lanes="tracker")
    links = [a["href"] for a in page.all("a", page.one("main")) if "businessProductId" in a["href"]]
    assert links == [f"{PAGE}?lanes=tracker&businessProductId={product}" for product in ("bp-1", "bp-2")]
    for link, product in zip(links, ("bp-1", "bp-2"), strict=True):
        chosen = await look(world, link)
        assert product in chosen.words
        own = [a["href"] for a in chosen.all("a", chosen.one("main")) if a["href"].startswith("/orders")]
        assert all(f"businessProductId={product}" in href for href in own)


async def test_an_analyst_sees_the_order_and_not_the_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_delivery(world)
    await world.post(f"{API}/notes", {"text": "the-note", "author": "the-agent"}, None)
    fixed = {"deliveryId": "delivery-1", "state": "DELIVERED", "reason": "the-reason", "author": "the-agent"}
    await world.post(f"{API}/corrections", {**fixed, "occurredAt": "2025-01-21T10:00:00Z"}, None)
    await world.project()
    sign_in(monkeypatch, "analyst")
    for path in (PAGE, f"{PAGE}?asOf={world.at()}", f"{PAGE}/why"):
        page = await look(world, path)
        for word in ("Ada", "ada@", "the-note", "the-reason"):
            assert word not in page.words, (path, word)
        assert not page.all("form", page.one("main"), method="post")
        assert not [a for a in page.all("a") if "/records/" in a["href"]]
    assert said_of(await look(world, PAGE)) == told_by((await world.get(API, None)).json())
    for path in (f"{PAGE}/records/1", f"{PAGE}/reply"):
        assert (await fetch(world, path)).status_code == 403
    for form in ("notes", "resend", "shopper-page", "reply", "corrections", "corrections/1/withdraw"):
        assert (await send(world, f"{PAGE}/{form}", text="a note")).status_code == 403
    sign_in(monkeypatch, "agent")
    page = await look(world, PAGE)
    assert page.one(data_is="name").text == "Ada Lovelace"
    assert page.one(data_is="email").text == "ada@example.com"


async def test_the_carriers_words_are_for_who_serves_customers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = milestone("DELIVERED", "2025-01-20T11:00:00Z")
    scan["status"]["message"] = [{"locale": "en-US", "value": "left with Mrs. Lovelace"}]
    await world.answer(
        "order", order("order-1", ("delivery-1", "DELIVERED", tracker(scan))), order_id="order-1"
    )
    await world.project()
    paths = (PAGE, f"{PAGE}/why", "/trackers/UPS/1Z999", "/trackers/UPS/1Z999/why")
    shown = [path for path in paths if "left with" in (await look(world, path)).words]
    assert shown == [PAGE, "/trackers/UPS/1Z999"]
    sign_in(monkeypatch, "analyst")
    for path in paths:
        assert "left with" not in (await look(world, path)).words, path


async def test_script_in_any_field_is_text(world: World) -> None:
    scan = milestone("IN_TRANSIT", "2025-01-20T11:00:00Z", EVIL) | {
        "status": {"code": "IN_TRANSIT", "message": [{"locale": "en-US", "value": EVIL}]}
    }
    number, carrier = '1Z"><script>', f"UPS{EVIL}".replace("/", "")
    parcel = tracker(scan, number=number, carrier=carrier) | {"trackingUrl": "javascript:alert(1)"}
    known = order("order-1", ("delivery-1", "IN_TRANSIT", parcel))
    known["customer"] = {"contact": {"name": EVIL, "email": f"{EVIL}@example.com"}}
    known["aliases"] = [{"aliasId": EVIL, "aliasType": EVIL}]
    known["lineItems"][0] = {
        "id": "item-1",
        "product": {"title": EVIL, "price": {"amount": EVIL, "currencyCode": EVIL}},
    }
    known["totalPrice"] = {"value": {"amount": EVIL, "currencyCode": EVIL}}
    await world.answer("order", known, order_id="order-1")
    await world.project()
    await world.post(f"{API}/notes", {"text": EVIL, "author": EVIL}, None)
    await went(world, await tell(world, reason=EVIL), "suppress", reason=EVIL)
    await world.project()
    for path in ("/", "/?q=order&show=all", PAGE, f"{PAGE}/why", f"{PAGE}/reply"):
        answer = await fetch(world, path)
        assert answer.status_code == 200, path
        assert "<script>" not in answer.text, path
        assert "javascript:" not in answer.text, path
        page = Parsed(answer.text)
        if path == PAGE:
            assert page.one(data_is="name").text == page.one(data_is="alias").text == EVIL
            assert page.all("li", page.one(id="parcel-1"))[0].words == " ".join(f"{EVIL} × 1".split())
            (link,) = [a["href"] for a in page.all("a") if a["href"].startswith("/trackers/")]
            shown = Parsed((await fetch(world, link)).text)
            assert number in shown.words
            assert EVIL in shown.words


async def test_a_search_for_script_is_text(world: World) -> None:
    assert "<script>" not in (await fetch(world, "/", q=EVIL)).text


async def test_an_anonymous_visitor_is_sent_away(store: Store) -> None:
    world = World(store)
    for path in ("/", PAGE, f"{PAGE}/why", "/trackers/ups/1Z999", "/deliveries/delivery-1", f"{PAGE}/reply"):
        assert (await fetch(world, path)).status_code in (401, 303), path
    assert (await send(world, f"{PAGE}/notes", text="a note", token=TOKEN)).status_code in (401, 403, 303)
