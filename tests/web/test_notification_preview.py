"""Previews by the API: of samples and of orders, in every language and form, under a policy that lets nothing in."""

import re
from typing import Any

import pytest
from tests.web.told import EMAIL, tell
from tests.web.world import HOUR, World, event, milestone, one_delivery, order, tracker

from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS
from milepost.shopper.catalogues import LOCALES
from milepost.shopper.composing import Brand
from milepost.shopper.samples import SAMPLES
from milepost.store import Store
from milepost.web.context import Shop

PATH = "/v1/notifications/preview"
BRAND = Brand(
    "Kettle <b>& Sons", "https://shop.example", "#ffcc00", "help@shop.example", "https://t.example/m/"
)


@pytest.fixture
async def shop(store: Store) -> World:
    return World(store, shop=Shop(BRAND, "es", KINDS))


async def composed(world: World, **parameters: Any) -> dict[str, Any]:
    answer = await world.get(PATH, format="json", **parameters)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_every_kind_is_shown_in_every_language_and_form(shop: World) -> None:
    for kind in SAMPLES:
        for locale in LOCALES:
            whole = await composed(shop, kind=kind, locale=locale)
            assert whole["locale"] == locale
            assert whole["subject"]
            text = await shop.get(PATH, kind=kind, locale=locale, format="text")
            assert (text.status_code, text.text) == (200, whole["text"])
            assert text.headers["content-type"].startswith("text/plain")
            page = await shop.get(PATH, kind=kind, locale=locale)
            assert (page.status_code, page.text) == (200, whole["html"])


async def test_a_page_does_nothing_but_show(shop: World) -> None:
    page = await shop.get(PATH, kind="delivered", format="html")
    assert page.headers["content-type"].startswith("text/html")
    policy = [part.strip() for part in page.headers["content-security-policy"].split(";")]
    assert policy[0] == "default-src 'none'"
    assert "sandbox" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [part for part in policy if part.startswith(("script-src", "connect-src", "img-src"))]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "Kettle &lt;b&gt;&amp; Sons" in page.text
    assert not re.search(r"<script|<img|<form|@import|url\(", page.text)


async def test_it_has_the_shops_looks_and_links_that_lead_nowhere(shop: World) -> None:
    whole = await composed(shop, kind="shipped")
    assert whole["locale"] == "es", "the shop's language"
    assert whole["document"]["links"] == {
        "tracking": "https://t.example/m/track/preview",
        "unsubscribe": "https://t.example/m/unsubscribe/preview",
    }


async def test_an_order_is_shown_as_it_stands(world: World) -> None:
    await one_delivery(world)
    whole = await composed(world, kind="delivered", orderId="order-1")
    assert whole["document"]["orderId"] == "order-1"
    assert whole["document"]["deliveryId"] == "delivery-1"
    assert "1Z999" in whole["text"]
    assert EMAIL not in str(whole)
    for kind in SAMPLES:
        assert (await composed(world, kind=kind, orderId="order-1"))["subject"], kind


async def test_of_what_the_ledger_has_the_newest_is_shown(world: World) -> None:
    await one_delivery(world)
    for number in (1, 2):
        world.now = Instant(world.now + HOUR)
        made = await tell(world, kind="attempt_failed", ordinal=str(number), data={"attempt": number})
    whole = await composed(world, kind="attempt_failed", orderId="order-1")
    assert whole["document"]["id"] == made.id
    assert whole["document"]["ordinal"] == "2"


async def test_a_delivery_can_be_named(world: World) -> None:
    moving = tracker(milestone("IN_TRANSIT", world.at()))
    known = order(
        "order-1", ("d-1", "CANCELLED", None), ("d-2", "IN_TRANSIT", moving), ("d-3", "PENDING", None)
    )
    await world.answer("order", known, order_id="order-1")
    await world.project()
    about = {
        (kind, named): (await composed(world, kind=kind, orderId="order-1", **named_as))["document"][
            "deliveryId"
        ]
        for kind in ("shipped", "cancelled", "all_delivered")
        for named, named_as in ((None, {}), ("d-3", {"deliveryId": "d-3"}))
    }
    assert about == {
        ("shipped", None): "d-2",
        ("shipped", "d-3"): "d-3",
        ("cancelled", None): "d-1",
        ("cancelled", "d-3"): "d-3",
        ("all_delivered", None): None,
        ("all_delivered", "d-3"): None,
    }
    assert (await world.get(PATH, kind="shipped", orderId="order-1", deliveryId="d-9")).status_code == 404


async def test_an_order_of_which_nothing_is_known_yet_has_a_preview(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", 1, "order/order-1/delivery/d-1"))
    await world.project()
    for kind in SAMPLES:
        assert (await composed(world, kind=kind, orderId="order-1"))["subject"], kind


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "kind"),
        ({"kind": "letter"}, "kind"),
        ({"kind": "delivered", "locale": "xx"}, "locale"),
        ({"kind": "delivered", "format": "pdf"}, "format"),
    ],
)
async def test_what_cannot_be_shown_is_refused(world: World, parameters: dict[str, str], field: str) -> None:
    answer = await world.get(PATH, **parameters)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid_request")
    assert field in problem.get("field", problem["detail"])


async def test_an_order_of_another_business_product_has_none(world: World) -> None:
    await one_delivery(world)
    foreign = await world.key("read", "bp-2")
    assert (await world.get(PATH, foreign, kind="shipped", orderId="order-1")).status_code == 404
    assert (await world.get(PATH, foreign, kind="shipped")).status_code == 200
    assert (await world.get(PATH, None, kind="shipped")).status_code == 401
