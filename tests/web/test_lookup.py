"""Finding an order by its number and an email address: both must fit, and guessing is held back."""

import httpx
import pytest
from tests.web.world import World, one_delivery

from milepost.domain.instant import HOUR, MINUTE, Instant
from milepost.store import Store
from milepost.transports.egress import networks
from milepost.web.allowance import MOST_KEYS, Allowance, Lookups
from milepost.web.context import Shop

SECRET = "a-secret-of-at-least-thirty-two-characters"
EMAIL = "ada@example.com"


@pytest.fixture
async def shop(store: Store) -> World:
    world = World(store, tracking_secrets=(SECRET,))
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    return world


async def try_(world: World, number: str, email: str) -> httpx.Response:
    async with world.client(None) as client:
        return await client.post("/track", data={"number": number, "email": email})


async def test_the_orders_number_and_address_open_its_page(shop: World) -> None:
    order = (await shop.get("/v1/orders/order-1")).json()
    names = ["order-1", "#ORDER-1 ", *(alias["aliasId"] for alias in order["aliases"])]
    for name in names:
        answer = await try_(shop, name, order["customer"]["email"].upper())
        assert answer.status_code == 303, name
        page = await shop.get(answer.headers["location"], None)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "Delivered on" in page.text


@pytest.mark.parametrize(
    ("number", "email"),
    [
        ("order-1", "eve@example.com"),
        ("order-9", EMAIL),
        ("order", EMAIL),
        ("order-1", ""),
        ("", EMAIL),
        ("\x00", EMAIL),
    ],
)
async def test_what_does_not_fit_is_not_told(shop: World, number: str, email: str) -> None:
    order = (await shop.get("/v1/orders/order-1")).json()
    email = order["customer"]["email"] if email == EMAIL else email
    answer = await try_(shop, number, email)
    assert answer.status_code == 404
    assert "There is no order with this number" in answer.text


async def test_an_erased_address_opens_nothing(shop: World) -> None:
    assert (await try_(shop, "order-1", " ")).status_code == 404


async def test_guessing_one_order_is_held_back_and_let_go_of(shop: World) -> None:
    right = (await shop.get("/v1/orders/order-1")).json()["customer"]["email"]
    for n in range(5):
        assert (await try_(shop, "order-1", f"guess-{n}@example.com")).status_code == 404
    held = await try_(shop, "order-1", right)
    assert (held.status_code, "tried too often" in held.text) == (429, True)
    shop.now = Instant(shop.now + HOUR)
    assert (await try_(shop, "order-1", right)).status_code == 303


async def test_it_can_be_switched_off_and_is_without_links(store: Store) -> None:
    for world in (World(store), World(store, tracking_secrets=(SECRET,), shop=Shop(lookup=False))):
        assert (await try_(world, "order-1", EMAIL)).status_code == 404
        assert (await world.get("/track", None)).json()["code"] == "not_found"
        assert "Find your order" not in (await world.get("/track/no.token", None)).text


def test_one_address_may_try_many_orders_only_so_often() -> None:
    lookups, now = Lookups(), Instant(0)
    tries = [lookups.take(f"order-{n}", "8.8.8.8", now) for n in range(25)]
    assert (sum(tries), tries[:20]) == (20, [True] * 20)
    assert lookups.take("another", "9.9.9.9", now)
    assert lookups.take("another one", "8.8.8.8", Instant(now + 10 * MINUTE))


def test_a_proxy_stands_for_many_shoppers_and_all_together_are_limited() -> None:
    lookups = Lookups()
    tries = [lookups.take(f"order-{n}", "10.0.0.1", Instant(0)) for n in range(400)]
    assert sum(tries) == 300


def test_what_one_address_tries_too_often_is_not_counted_for_all() -> None:
    lookups, now = Lookups(), Instant(0)
    for n in range(400):
        lookups.take(f"order-{n}", "8.8.8.8", now)
        lookups.take("one-order", "10.0.0.1", now)
    assert lookups.take("another", "9.9.9.9", now)


def test_a_customers_ipv6_network_is_one_address() -> None:
    lookups, now = Lookups(), Instant(0)
    tries = [lookups.take(f"order-{n}", f"2a00:1450:4001:800::{n:x}", now) for n in range(25)]
    assert sum(tries) == 20


def test_a_number_is_not_forgotten_within_its_hour_by_trying_others() -> None:
    lookups = Lookups()
    assert [lookups.take("mine", "10.0.0.1", Instant(0)) for _ in range(6)].count(True) == 5
    for minute in range(59):
        for n in range(400):
            lookups.take(f"{minute}-{n}", "10.0.0.1", Instant(minute * MINUTE))
    assert not lookups.take("mine", "10.0.0.1", Instant(59 * MINUTE))


async def test_behind_a_trusted_proxy_each_shopper_has_an_address_of_their_own(store: Store) -> None:
    world = World(store, tracking_secrets=(SECRET,), proxies=networks(("127.0.0.0/8",)))

    async def from_(address: str, n: int) -> int:
        async with world.client(None) as client:
            form = {"number": f"order-{n}", "email": EMAIL}
            return (await client.post("/track", data=form, headers={"x-forwarded-for": address})).status_code

    answers = [await from_("203.0.113.9, 8.8.8.8", n) for n in range(21)]
    assert (answers[:20], answers[20]) == ([404] * 20, 429)
    assert await from_("9.9.9.9", 99) == 404


def test_it_forgets_rather_than_grows() -> None:
    allowance = Allowance(1, MINUTE)
    assert all(allowance.take(str(n), Instant(0)) for n in range(MOST_KEYS + 10))
    assert len(allowance._tries) == MOST_KEYS
    assert allowance.take("0", Instant(0)), "the oldest was forgotten"
