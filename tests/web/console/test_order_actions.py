"""What an agent does on an order's page: each form does what the API does, in the agent's name, and no one else's."""

import asyncio
from html import unescape
from typing import Any

import pytest
from tests.web.console.parsed import Parsed
from tests.web.console.visits import fetch, look, send, sign_in
from tests.web.told import tell, went
from tests.web.world import World, milestone, one_delivery, order, tracker

from milepost.shopper.composing import Brand
from milepost.store import Store
from milepost.web.context import Shop
from milepost.web.notifications import CONSENT

SECRET = "a-secret-of-at-least-thirty-two-characters"
PAGE, API = "/orders/order-1", "/v1/orders/order-1"
FORMS = {
    "notes": {"text": "left at the door"},
    "resend": {"notification": "ntf_1"},
    "shopper-page": {},
    "reply": {},
    "corrections": {"subject": "delivery/delivery-1", "state": "DELIVERED", "reason": "seen"},
    "corrections/1/withdraw": {},
}


@pytest.fixture
async def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(store, admin_key=None, insecure=True, tracking_secrets=(SECRET,), notifying=True)
    await one_delivery(world)
    sign_in(monkeypatch, "agent")
    return world


def fields_of(page: Parsed, action: str) -> dict[str, str]:
    """What a form of the page sends as it stands, without the token."""
    form = page.one("form", action=action)
    inputs = {e["name"]: e.attributes.get("value", "") for e in page.all("input", form)}
    for select in page.all("select", form):
        inputs[select["name"]] = page.all("option", select)[0]["value"]
    return {name: value for name, value in inputs.items() if name != "form_token"}


async def test_a_note_is_the_agents(world: World) -> None:
    sent = await send(world, f"{PAGE}/notes", text="left at the door", delivery="delivery-1")
    assert (sent.status_code, sent.headers["location"]) == (303, f"{PAGE}?done=noted#timeline")
    await world.project()
    (note,) = (await world.get(f"{API}/notes", None)).json()["items"]
    assert (note["author"], note["text"], note["deliveryId"]) == (
        "Robin Sample",
        "left at the door",
        "delivery-1",
    )
    page = await look(world, sent.headers["location"])
    assert "Robin Sample: left at the door" in page.words
    assert "The note is kept." in page.words
    for odd in ("", "   ", "x" * 4_001):
        assert (await send(world, f"{PAGE}/notes", text=odd)).status_code == 400


async def test_the_answer_to_a_note_waits_until_the_page_shows_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(store, admin_key=None, insecure=True, fold_wait_s=60.0)
    await one_delivery(world)
    sign_in(monkeypatch, "agent")
    before = await store.read(lambda tx: tx.journal.last_position())
    sending = asyncio.create_task(send(world, f"{PAGE}/notes", text="left at the door"))
    await store.changed(before, 60)
    for _ in range(100):
        await store.read(lambda tx: tx.journal.last_position())
        assert not sending.done()
    await world.project()
    page = await look(world, (await sending).headers["location"])
    assert "left at the door" in page.words


async def test_a_message_is_sent_again_and_twice_only_with_consent(world: World) -> None:
    told = await tell(world, kind="delivered")
    await went(world, told, "claim", "sent", channel="email", sent_at=world.now)
    page = await look(world, PAGE)
    fields = fields_of(page, f"{PAGE}/resend")
    assert fields["notification"] == told.id
    refused = await send(world, f"{PAGE}/resend", notification=told.id)
    assert refused.status_code == 409
    assert CONSENT in unescape(refused.text)
    sent = await send(world, f"{PAGE}/resend", notification=told.id, reason="asked", acknowledge="on")
    assert sent.headers["location"] == f"{PAGE}?done=resent#messages"
    shown = (await world.get(f"/v1/notifications/{told.id}", None)).json()
    assert shown["state"] == "WAITING"
    assert (shown["history"][-1]["by"], shown["history"][-1]["reason"]) == ("Robin Sample", "asked")
    assert "1 more is about to be sent" in (await look(world, PAGE)).words


async def test_a_message_of_another_order_is_not_sent_from_here(world: World) -> None:
    told = await tell(world, order_id="order-2")
    await went(world, told, "suppress", rule=6)
    assert (await send(world, f"{PAGE}/resend", notification=told.id)).status_code == 404


async def test_a_correction_stands_until_it_is_withdrawn(world: World) -> None:
    page = await look(world, PAGE)
    fields = fields_of(page, f"{PAGE}/corrections")
    assert fields["subject"] == "delivery/delivery-1"
    said = fields | {"subject": "tracker/ups/1Z999", "state": "LOST", "reason": "they called", "expires": ""}
    sent = await send(world, f"{PAGE}/corrections", **said)
    assert sent.headers["location"] == f"{PAGE}?done=corrected#corrections"
    await world.project()
    (known,) = (await world.get(f"{API}/corrections", None)).json()["items"]
    assert (known["author"], known["state"], known["reason"]) == ("Robin Sample", "LOST", "they called")
    page = await look(world, PAGE)
    (withdrawal,) = [f["action"] for f in page.all("form") if f["action"].endswith("/withdraw")]
    assert "Robin Sample: they called" in page.words
    assert "Robin Sample corrected it to lost" in page.words
    assert (await send(world, withdrawal)).status_code == 303
    await world.project()
    assert (await world.get(f"{API}/corrections", None)).json()["items"][0]["endedBy"] == "Robin Sample"
    assert not [f for f in (await look(world, PAGE)).all("form") if f["action"].endswith("/withdraw")]


@pytest.mark.parametrize(
    "odd",
    [
        {"subject": "delivery/delivery-9"},
        {"subject": ""},
        {"state": "LOST"},
        {"reason": " "},
        {"reason": "x" * 2_001},
        {"occurred": "soon"},
        {"occurred": "2030-01-01T00:00"},
        {"expires": "2020-01-01T00:00"},
    ],
)
async def test_a_correction_that_cannot_be_so_is_refused(world: World, odd: dict[str, str]) -> None:
    good = {"subject": "delivery/delivery-1", "state": "DELIVERED", "reason": "seen"}
    sent = await send(world, f"{PAGE}/corrections", **good | {"occurred": "2025-01-21T11:00"} | odd)
    assert sent.status_code == 400
    assert "That did not work" in sent.text
    assert (await world.get(f"{API}/corrections", None)).json()["items"] == []


async def test_a_reply_is_ready_in_the_shoppers_language(world: World) -> None:
    page = await look(world, PAGE)
    assert "Your parcel was delivered." in page.one("textarea", id="reply").text
    told = await tell(world)
    await went(world, told, "claim", "sent", channel="email", sent_at=world.now, locale="es")
    page = await look(world, PAGE)
    assert "Tu paquete se ha entregado." in page.one("textarea", id="reply").text
    assert page.one("textarea", id="reply")["lang"] == "es"
    (english,) = [a["href"] for a in page.all("a") if a.attributes.get("lang") == "en"]
    assert "Your parcel was delivered." in (await look(world, english)).one("textarea").text
    assert page.one("button", data_copy=page.one("textarea", id="reply").text).attributes


async def test_a_reply_takes_a_link_that_leads_to_the_order(world: World, store: Store) -> None:
    sent = await send(world, f"{PAGE}/reply", locale="en")
    text = Parsed(sent.text).one("textarea").text
    token = text.rpartition("/track/")[2].strip()
    assert (await world.get(f"/track/{token}.json", None)).json()["orderId"] == "order-1"
    assert "http://127.0.0.1:8480/track/" in text
    brand = Brand("Fern & Flint", None, "#2457a6", None, "https://orders.example")
    away = World(store, admin_key=None, insecure=True, tracking_secrets=(SECRET,), shop=Shop(brand))
    text = Parsed((await send(away, f"{PAGE}/reply", locale="en")).text).one("textarea").text
    assert "https://orders.example/track/" in text


async def test_the_shoppers_page_is_opened_by_a_new_link(world: World) -> None:
    page = await look(world, PAGE)
    assert page.one("form", action=f"{PAGE}/shopper-page")["target"] == "_blank"
    sent = await send(world, f"{PAGE}/shopper-page")
    address = sent.headers["location"]
    assert address.startswith("/track/")
    assert (await world.get(f"{address}.json", None)).json()["orderId"] == "order-1"


async def test_without_a_secret_it_says_that_links_are_off(store: Store, world: World) -> None:
    off = World(store, admin_key=None, insecure=True)
    page = await look(off, PAGE)
    assert "MILEPOST_TRACKING_SECRET" in page.words
    assert not page.all("form", action=f"{PAGE}/shopper-page")
    for form in ("shopper-page", "reply"):
        assert (await send(off, f"{PAGE}/{form}")).status_code == 409
    assert "MILEPOST_TRACKING_SECRET" in (await look(off, f"{PAGE}/reply")).words


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("token", [None, "", "another"])
async def test_a_form_without_its_token_is_refused(world: World, form: str, token: str | None) -> None:
    before = (await world.get(f"{API}/timeline", None)).json()
    sent = await send(world, f"{PAGE}/{form}", token=token, **FORMS[form])
    assert sent.status_code == 403
    await world.project()
    assert (await world.get(f"{API}/timeline", None)).json() == before


async def test_a_form_of_another_site_is_refused(world: World) -> None:
    async with world.client(None) as client:
        given: dict[str, Any] = {"text": "a note", "form_token": "the-form-token"}
        sent = await client.post(f"{PAGE}/notes", data=given, headers={"sec-fetch-site": "cross-site"})
    assert sent.status_code == 403


async def test_an_id_with_odd_characters_has_every_page(world: World) -> None:
    name = "a b?c#d&e%f"
    parcel = ("delivery x", "IN_TRANSIT", tracker(milestone("IN_TRANSIT", world.at()), number="1Z 9?"))
    await world.answer("order", order(name, parcel), order_id=name)
    await world.project()
    answer = await fetch(world, "/", q=name)
    page = await look(world, answer.headers["location"])
    assert page.one(data_is="order-id").text == name
    for link in page.all("a", page.one("main")):
        if link["href"].startswith("/"):
            assert (await fetch(world, link["href"].partition("#")[0])).status_code in (200, 303), link[
                "href"
            ]
    for form in page.all("form", page.one("main"), method="post"):
        assert form["action"].startswith("/orders/a%20b%3Fc%23d%26e%25f/"), form["action"]
