"""The page as somebody without scripts uses it: what it shows, and that everything it offers works."""

import copy

import pytest
from msgspec.structs import fields
from tests.unit.sandbox.markup import Browser, saying
from tests.unit.sandbox.page_browsing import moves, order_page, place, subscribe
from tests.unit.transports.receiver import Receiver

from milepost.domain.instant import DAY, HOUR
from milepost.sandbox.faults import Faults
from milepost.sandbox.page.routes import EVENTS_A_PAGE, ORDERS_A_PAGE
from milepost.sandbox.reading import parcels
from milepost.sandbox.scenarios import library
from milepost.sandbox.transitions import REASONS

LIVES = ("standard", "one-of-three-cancelled", "returned", "return-failed", "lost", "split", "starts-later")
RETURNING = (
    "RETURN_STARTED",
    "RETURN_PACKAGE_IN_TRANSIT",
    "RETURN_PACKAGE_DELIVERED",
    "RETURN_ITEM_GRADED",
    "RETURN_PACKAGE_DELIVERY_FAILED",
)


# ── What it shows ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_empty_world_says_what_to_do_first(browser: Browser) -> None:
    page = await browser.get("/")
    assert "milepost listen --forward-to" in page.text
    standing = page.form_of("scenario", scenario="none")
    shown = await browser.press(standing)
    assert "Not yet shipped" in shown.text
    assert "No parcel is on its way yet" not in (await browser.get("/")).text


async def test_an_order_is_shown_as_its_shopper_sees_it(browser: Browser) -> None:
    world = await place(browser, "standard")
    browser.sandbox.clock.advance(8 * DAY)
    await browser.sandbox.settle()
    page = await order_page(browser, world.id)
    assert "Delivered " in page.text
    for item in world.order["lineItems"]:
        assert item["product"]["title"] in page.text
        assert f"${item['product']['price']['amount']}" in page.text
    assert f"${world.order['totalPrice']['value']['amount']}" in page.text
    now = await browser.sandbox.keeper.order(world.id, None)
    assert now is not None
    tracker = now.order["packageInformation"]["details"][0]["packageTracker"]
    assert tracker["packageTrackerIdentifier"]["trackingNumber"] in page.text
    assert tracker["trackingUrl"] in page.links
    newest, oldest = tracker["milestones"][0], tracker["milestones"][-1]
    assert page.text.index(newest["status"]["message"]["value"]) < page.text.index(
        oldest["status"]["message"]["value"]
    )
    assert newest["address"]["locality"] in page.text


async def test_the_estimate_and_the_headline_follow_the_clock(browser: Browser) -> None:
    world = await place(browser)
    delivery_id = world.order["packageInformation"]["details"][0]["id"]
    for move in ({"do": "milestone", "value": "INFO_RECEIVED"}, {"do": "state", "value": "IN_TRANSIT"}):
        await browser.post("/sandbox/page/move", {"order": world.id, "parcel": delivery_id, **move})
    page = await order_page(browser, world.id)
    assert "Arriving Thu 23 Jan – Sat 25 Jan" in page.text, "the window of the first label"
    browser.sandbox.clock.advance(4 * DAY)
    assert "Arriving tomorrow" in (await order_page(browser, world.id)).text
    browser.sandbox.clock.advance(3 * DAY)
    assert "Running late" in (await order_page(browser, world.id)).text
    later = {"order": world.id, "parcel": delivery_id, "do": "window", "value": "+3d"}
    await browser.post("/sandbox/page/move", later)
    assert "Running late" not in (await order_page(browser, world.id)).text


async def test_orders_are_listed_newest_first_and_in_pages(browser: Browser) -> None:
    ids = await browser.sandbox.keeper.start(2 * ORDERS_A_PAGE + 5, None)
    seen: list[str] = []
    path: str | None = "/"
    sizes = []
    while path is not None:
        page = await browser.get(path)
        listed = [link.partition("id=")[2].partition("&")[0] for link in page.links if "order?id=" in link]
        seen += listed
        sizes.append(len(listed))
        path = next((link for link in page.links if link.startswith("/?after=")), None)
    assert seen == ids[::-1]
    assert sizes == [ORDERS_A_PAGE, ORDERS_A_PAGE, 5]


async def test_a_list_of_a_thousand_orders_stays_short(browser: Browser) -> None:
    await browser.sandbox.keeper.start(1_000, None)
    answer = await browser.http.get("/")
    assert answer.text.count("order?id=") == ORDERS_A_PAGE
    assert len(answer.content) < 64 * 1024


async def test_orders_that_nobody_has_placed_yet_are_not_shown(browser: Browser) -> None:
    await browser.sandbox.keeper.populate(30)
    assert "No parcel is on its way yet" in (await browser.get("/")).text
    browser.sandbox.clock.advance(2 * DAY)
    page = await browser.get("/")
    assert sum("order?id=" in link for link in page.links) == ORDERS_A_PAGE


@pytest.mark.parametrize("name", ["late-on-month-end", "standard"])
async def test_a_scenario_is_started_whenever_it_places_its_order(browser: Browser, name: str) -> None:
    page = await browser.get("/sandbox/world")
    shown = await browser.press(page.form_of("scenario", scenario=name))
    later = name == "late-on-month-end"
    assert ("Planned." in shown.text) is later, "its order is placed at a time of its own"
    assert ("Move it on" in shown.text) is not later


# ── What it offers ─────────────────────────────────────────────────────────────────────────────────────────


async def test_every_offered_move_works(browser: Browser) -> None:
    """Each form of an order's page is sent for an order of its own that is in exactly that state."""
    for life in LIVES:
        await place(browser, life)
    keeper = browser.sandbox.keeper
    for event in RETURNING:
        await keeper.trigger(event, order_id=(await place(browser)).id)
    sent: set[tuple[str, ...]] = set()
    for _ in range(5):
        originals = [w for w in await keeper.everything() if not w.id.startswith("copy")]
        for world in originals:
            page = await order_page(browser, world.id)
            stand = {parcel_id: str(parcel["state"]) for parcel_id, parcel in parcels(world.order)}
            for way in [way for form in moves(page) for way in form.ways()]:
                parcel = stand.get(way.get("parcel", ""), "")
                kind = (way["do"], way.get("value", ""), way.get("reason", ""), parcel)
                if kind in sent:
                    continue
                copied = f"copy-{len(sent)}"
                sent.add(kind)
                await keeper.put(world.business_product_id, {**copy.deepcopy(world.order), "id": copied})
                leads_to = await browser.post("/sandbox/page/move", {**way, "order": copied})
                await browser.get(leads_to)
        browser.sandbox.clock.advance(30 * HOUR)
        await keeper.play_due()
    assert {do for do, *_ in sent} == {
        "state",
        "milestone",
        "returned",
        "refunded",
        "window",
        "cancel",
        "fulfilment",
    }
    returned = {value for do, value, *_ in sent if do == "returned"}
    assert returned >= {"STARTED", "DROPPED_OFF", "IN_TRANSIT", "DELIVERED", "FAILED", "GRADED", "COMPLETED"}


@pytest.mark.parametrize(("before", "after"), list(REASONS))
async def test_every_transition_of_the_table_is_offered_and_no_other(
    browser: Browser, before: str, after: str
) -> None:
    world = await place(browser)
    order = copy.deepcopy(world.order)
    for package in order["packageInformation"]["details"]:
        package["state"] = before
    await browser.sandbox.keeper.put(world.business_product_id, order)
    offered = {
        (form.fields["value"], form.fields.get("reason", ""))
        for form in moves(await order_page(browser, world.id))
        if form.fields["do"] == "state"
    }
    allowed = {(to, r) for (start, to), given in REASONS.items() if start == before for r in given or [""]}
    assert offered == allowed
    assert after in {to for to, _ in offered}


@pytest.mark.parametrize("state", ["DELIVERED", "CANCELLED"])
async def test_what_is_at_its_end_is_offered_no_state(browser: Browser, state: str) -> None:
    world = await place(browser)
    order = copy.deepcopy(world.order)
    for package in order["packageInformation"]["details"]:
        package["state"] = state
    await browser.sandbox.keeper.put(world.business_product_id, order)
    assert not [f for f in moves(await order_page(browser, world.id)) if f.fields["do"] == "state"]


async def test_nothing_moves_before_fulfilment_is_started(browser: Browser) -> None:
    world = await place(browser, "starts-later")
    page = await order_page(browser, world.id)
    assert {form.fields["do"] for form in moves(page)} <= {"fulfilment", "cancel", "state"}
    assert {form.fields["value"] for form in moves(page) if form.fields["do"] == "state"} == {"CANCELLED"}
    started = await browser.press(page.form_of("move", do="fulfilment"))
    assert {"milestone", "state"} <= {form.fields["do"] for form in moves(started)}


async def test_a_move_says_how_many_events_it_published(browser: Browser) -> None:
    world = await place(browser)
    page = await order_page(browser, world.id)
    cancelling = page.form_of("move", do="state", value="CANCELLED", reason="UNFULFILLABLE")
    shown = await browser.press(cancelling)
    assert "2 events were published." in shown.text
    assert "REFUND_REQUESTED" in shown.text
    assert "PACKAGE_DELIVERY_CANCELLED" in shown.text
    assert "Cancelled" in shown.text


async def test_a_move_that_is_no_longer_possible_is_refused_as_a_page(browser: Browser) -> None:
    world = await place(browser)
    page = await order_page(browser, world.id)
    form = page.form_of("move", do="state", value="IN_TRANSIT")
    await browser.press(form)
    refused = await browser.post(form.action, form.ways()[0], 409)
    assert "cannot become IN_TRANSIT" in refused.text


@pytest.mark.parametrize(
    ("form", "fields", "status"),
    [
        ("move", {}, 400),
        ("move", {"order": "x", "do": "state", "value": "IN_TRANSIT"}, 404),
        ("scenario", {"scenario": "no-such"}, 400),
        ("scenario", {"scenario": "none", "orders": "1001"}, 400),
        ("scenario", {"scenario": "none", "orders": "many"}, 400),
        ("clock", {"advance": "-1h"}, 400),
        ("clock", {"advance": "soon"}, 400),
        ("clock", {"speed": "nan"}, 400),
        ("faults", {"drop": "2"}, 400),
        ("faults", {"drop": "inf"}, 400),
        ("faults", {"delayTypes": "NO_SUCH_TYPE"}, 400),
        ("resend", {"message": "x"}, 404),
        ("enable", {"subscription": "x"}, 404),
    ],
)
async def test_a_wrong_form_is_answered_with_a_page(
    browser: Browser, form: str, fields: dict[str, str], status: int
) -> None:
    page = await browser.post(f"/sandbox/page/{form}", fields, status)
    assert "That did not work" in page.text or "There is no such thing" in page.text


# ── Scenarios, faults, time ────────────────────────────────────────────────────────────────────────────────


async def test_every_scenario_can_be_started(browser: Browser) -> None:
    page = await browser.get("/sandbox/world")
    started = [form.fields["scenario"] for form in page.forms if form.action.endswith("/scenario")]
    assert started == list(library())
    for name in started:
        await browser.press(page.form_of("scenario", scenario=name))
    await place(browser)
    listing = await browser.get("/")
    (form,) = [form for form in listing.forms if form.action.endswith("/scenario")]
    assert form.options["scenario"] == ["mixed", "none", *library()]
    await browser.press(form)


async def test_faults_are_turned_on_and_off(browser: Browser) -> None:
    form = (await browser.get("/sandbox/world")).form_of("faults")
    assert {**form.fields}.keys() | {"apiDown", "throttling"} == {f.encode_name for f in fields(Faults)}
    changed = {"drop": "0.25", "apiDown": "on", "delayTypes": "PACKAGE_DELIVERED, REFUND_REQUESTED"}
    shown = await browser.get(await browser.post(form.action, form.fields | changed))
    assert browser.sandbox.faults.now == Faults(
        drop=0.25, api_down=True, delay_types=("PACKAGE_DELIVERED", "REFUND_REQUESTED")
    )
    assert "2 faults on" in shown.text
    kept = shown.form_of("faults").fields
    assert (kept["drop"], kept["apiDown"]) == ("0.25", "on")
    await browser.post(form.action, kept)
    assert browser.sandbox.faults.now.drop == 0.25, "sent as it stands it changes nothing"
    await browser.post(form.action, kept | {"off": "1"})
    assert browser.sandbox.faults.now == Faults()


async def test_the_clock_goes_forward_and_leads_back(browser: Browser) -> None:
    world = await place(browser, "standard")
    page = await order_page(browser, world.id)
    form = page.form_of("clock")
    assert [name and value for _, name, value in form.buttons] == ["1h", "6h", "1d", "next"]
    start = browser.sandbox.clock.now()
    assert world.id in await browser.post(form.action, form.fields | {"advance": "6h"})
    assert browser.sandbox.clock.now() == start + 6 * HOUR
    due = await browser.sandbox.keeper.next_due()
    await browser.post(form.action, form.fields | {"advance": "next"})
    assert browser.sandbox.clock.now() == due
    assert "Info received" in (await order_page(browser, world.id)).text
    world_page = await browser.get("/sandbox/world")
    speeds = next(f for f in world_page.forms if "speed" in f.options)
    await browser.press(speeds, {"speed": "600"})
    assert browser.sandbox.clock.speed == 600


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "/graphql", "/?\n"]
)
async def test_a_form_leads_back_to_this_page_only(browser: Browser, back: str) -> None:
    assert await browser.post("/sandbox/page/clock", {"advance": "1s", "back": back}) == "/"


# ── What was published ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_is_shown_with_every_attempt_and_sent_again(browser: Browser) -> None:
    world = await place(browser)
    async with Receiver(saying(503, '{"why": "<b>no</b>"}')) as receiver:
        await subscribe(browser, f"{receiver.url}/hook", "PACKAGE_DELIVERY_IN_TRANSIT")
        page = await order_page(browser, world.id)
        await browser.press(page.form_of("move", do="state", value="IN_TRANSIT"))
        await browser.sandbox.settle()
        listed = await browser.get("/sandbox/published")
        assert "1 pending" in listed.text
        assert "next try" in listed.text
        (link,) = [link for link in listed.links if "event?position=" in link]
        event = await browser.get(link)
        for shown in ("PACKAGE_DELIVERY_IN_TRANSIT", "HTTP 503", '{"why": "<b>no</b>"}', "Try 1 failed"):
            assert shown in event.text
        assert "a-secret" not in event.text
        receiver.answer = saying(200, "fine")
        await browser.press(event.form_of("resend"))
        await browser.sandbox.settle()
        event = await browser.get(link)
        assert "Try 2 was taken" in event.text
        assert "by hand" in event.text
        assert "HTTP 200" in event.text
        assert '"subscriptionId": "sub-1"' in event.text
        assert "1 delivered" in (await browser.get("/sandbox/published")).text


async def test_a_disabled_subscription_says_why_and_is_enabled(browser: Browser) -> None:
    await subscribe(browser, "http://127.0.0.1:9/hook")
    await browser.sandbox.store.write(lambda tx: tx.attempts.disable("sub-1", "it answered 410"))
    page = await browser.get("/sandbox/published/subscriptions")
    assert "Disabled: it answered 410" in page.text
    assert "basic authentication" in page.text
    shown = await browser.press(page.form_of("enable"))
    assert "Disabled" not in shown.text


async def test_events_are_listed_newest_first_and_in_pages(browser: Browser) -> None:
    for _ in range(EVENTS_A_PAGE // 2 + 1):
        world = await place(browser)
        await browser.sandbox.keeper.trigger("PACKAGE_DELIVERED", order_id=world.id)
    last = await browser.sandbox.store.read(lambda tx: tx.journal.last_position())
    assert last > EVENTS_A_PAGE
    seen: list[int] = []
    path: str | None = "/sandbox/published"
    while path is not None:
        page = await browser.get(path)
        found = [int(link.partition("position=")[2]) for link in page.links if "position=" in link]
        assert len(found) <= EVENTS_A_PAGE
        seen += found
        path = next((link for link in page.links if "published?before=" in link), None)
    assert seen == list(range(last, 0, -1))
