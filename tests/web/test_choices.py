"""Choices by the API: found by address or recipient, changed and forgotten, and never an address in an answer."""

from typing import Any

import msgspec
import pytest
import structlog
from tests.web.told import EMAIL
from tests.web.world import HOUR, World, event, one_delivery

from milepost.domain.contact import (
    Choices,
    make_unsubscribe,
    read_choices,
    recipient_id,
    write_choices,
)
from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS
from milepost.store import Store
from milepost.web.choices import OFFERED, ChoicesItem
from milepost.web.paging import Page

SECRET, OLDER = "s" * 40, "o" * 40
PATH, FIND = "/v1/choices", "/v1/choices/find"
RECIPIENT = recipient_id(SECRET, "bp-1", EMAIL)


@pytest.fixture
async def choosing(store: Store) -> World:
    world = World(store, tracking_secrets=(SECRET, OLDER))
    await one_delivery(world)
    return world


async def put(world: World, body: dict[str, Any], key: str | None = None, query: str = "") -> dict[str, Any]:
    async with world.client() if key is None else world.client(key) as client:
        answer = await client.put(PATH + query, json=body)
    assert answer.status_code == 200, answer.text
    assert "@" not in answer.text
    found: dict[str, Any] = answer.json()
    return found


async def forget(world: World, body: dict[str, Any]) -> dict[str, Any]:
    async with world.client() as client:
        answer = await client.request("DELETE", PATH, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def found(world: World, **whom: str) -> dict[str, Any]:
    answer = await world.post(FIND, whom)
    assert answer.status_code == 200, answer.text
    assert "@" not in answer.text
    shown: dict[str, Any] = answer.json()
    return shown


NOTHING = {"off": [], "locale": None, "blocked": None, "blockedAt": None, "changedAt": None}
HERS = {"recipient": RECIPIENT, "businessProductId": "bp-1"}


async def test_an_address_that_chose_nothing_has_a_recipient_all_the_same(choosing: World) -> None:
    assert await found(choosing, email=" Ada@Example.com ") == HERS | NOTHING
    assert (await choosing.get(PATH)).json()["items"] == []


async def test_what_is_left_out_of_a_change_stays(choosing: World) -> None:
    await put(choosing, {"email": EMAIL, "off": ["delayed", "lost/email", "delayed"], "locale": "es"})
    first = choosing.at()
    choosing.now = Instant(choosing.now + HOUR)
    blocked = await put(choosing, {"recipient": RECIPIENT, "blocked": " asked us to "})
    assert blocked == HERS | {
        "off": ["delayed", "lost/email"],
        "locale": "es",
        "blocked": "asked us to",
        "blockedAt": choosing.at(),
        "changedAt": choosing.at(),
    }
    since, choosing.now = choosing.at(), Instant(choosing.now + HOUR)
    again = await put(choosing, {"recipient": RECIPIENT, "blocked": "asked again"})
    assert (again["blocked"], again["blockedAt"]) == ("asked again", since)
    freed = await put(choosing, {"email": EMAIL, "blocked": None, "locale": None})
    assert (freed["blocked"], freed["blockedAt"], freed["locale"]) == (None, None, None)
    assert freed["off"] == ["delayed", "lost/email"]
    assert first != freed["changedAt"]
    same = await put(choosing, {"email": EMAIL, "blocked": None})
    assert same == freed


async def test_what_is_stored_is_what_the_rules_read(choosing: World) -> None:
    await put(choosing, {"email": EMAIL, "off": ["all"], "blocked": "complaint"})
    key = ("bp-1", RECIPIENT)
    stored = await choosing.store.read(lambda tx: tx.notifications.choices([key]))
    assert read_choices(stored.values()) == Choices(("all",), None, "complaint", choosing.now, choosing.now)


async def test_who_chose_before_a_secret_was_rotated_is_found_and_kept(choosing: World) -> None:
    older = ("bp-1", recipient_id(OLDER, "bp-1", EMAIL))
    kept = write_choices(Choices(off=("all",), changed_at=Instant(1)))
    await choosing.store.write(lambda tx: tx.notifications.choose({older: kept}))
    assert (await found(choosing, email=EMAIL))["off"] == ["all"]
    assert (await put(choosing, {"email": EMAIL, "blocked": "spam"}))["off"] == ["all"]
    assert (await found(choosing, recipient=RECIPIENT))["off"] == ["all"]
    await forget(choosing, {"email": EMAIL})
    assert await found(choosing, email=EMAIL) == HERS | NOTHING
    assert (await choosing.get(PATH)).json()["items"] == []


async def test_a_block_under_an_older_key_can_be_let_go(choosing: World) -> None:
    """Under each key that an address has: what an agent takes back holds nowhere any more."""
    older = ("bp-1", recipient_id(OLDER, "bp-1", EMAIL))
    kept = write_choices(Choices(("all",), "es", "complained", Instant(1), Instant(1)))
    await choosing.store.write(lambda tx: tx.notifications.choose({older: kept}))
    assert (await found(choosing, email=EMAIL))["blocked"] == "complained"
    freed = await put(choosing, {"email": EMAIL, "off": ["lost"], "blocked": None})
    assert (freed["off"], freed["blocked"], freed["locale"]) == (["lost"], None, "es")
    assert await found(choosing, email=EMAIL) == freed
    assert [item["recipient"] for item in (await choosing.get(PATH)).json()["items"]] == [RECIPIENT]


async def test_a_link_of_the_older_secret_hides_no_block(choosing: World) -> None:
    await put(choosing, {"email": EMAIL, "blocked": "complained"})
    token = make_unsubscribe(OLDER, "bp-1", recipient_id(OLDER, "bp-1", EMAIL), Instant(choosing.now + HOUR))
    choosing.now = Instant(choosing.now + 1)
    async with choosing.client(None) as client:
        form = {"wanted": "these", "group": "shipped"}
        answer = await client.post(f"/unsubscribe/{token}", data=form)
    assert answer.status_code == 303
    holds = await found(choosing, email=EMAIL)
    assert holds["blocked"] == "complained"
    assert "delayed" in holds["off"]


async def test_what_was_chosen_is_forgotten(choosing: World) -> None:
    await put(choosing, {"email": EMAIL, "off": ["all"], "blocked": "spam"})
    assert await forget(choosing, {"recipient": RECIPIENT}) == HERS | NOTHING
    assert await found(choosing, recipient=RECIPIENT) == HERS | NOTHING


async def test_choices_are_listed_in_pages_or_of_one_recipient(choosing: World) -> None:
    for n in range(5):
        await put(choosing, {"email": f"shopper-{n}@example.com", "off": ["all"]})
    whole = (await choosing.get(PATH)).json()["items"]
    assert len(whole) == 5
    pages: list[Any] = []
    after: dict[str, str] = {}
    while True:
        answer = await choosing.get(PATH, limit=2, **after)
        described = msgspec.json.decode(answer.content, type=Page[ChoicesItem], strict=True)
        assert msgspec.to_builtins(described) == answer.json()
        pages += answer.json()["items"]
        if answer.json()["next"] is None:
            break
        after = {"after": answer.json()["next"]}
    assert pages == whole
    one = whole[2]
    assert (await choosing.get(PATH, recipient=one["recipient"])).json()["items"] == [one]
    assert (await choosing.get(PATH, recipient="rcp_0")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": EMAIL, "recipient": RECIPIENT}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "@x.example"}, "email"),
        ({"email": "a\n@x.example"}, "email"),
        ({"recipient": ""}, "recipient"),
        ({"recipient": "rcp_\x00"}, "recipient"),
        ({"email": EMAIL, "off": ["letters"]}, "off"),
        ({"email": EMAIL, "off": ["delayed/pigeon"]}, "off"),
        ({"email": EMAIL, "locale": "xx"}, "locale"),
        ({"email": EMAIL, "blocked": " "}, "blocked"),
    ],
)
async def test_what_cannot_be_chosen_is_refused(choosing: World, body: dict[str, Any], field: str) -> None:
    answer = await choosing.put(PATH, body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (400, "invalid_request", field)
    assert "ada" not in answer.text


async def test_unknown_fields_are_refused(choosing: World) -> None:
    for body in ({"email": EMAIL, "phone": "1"}, {"email": 1}):
        assert (await choosing.put(PATH, body)).status_code == 400
        assert (await choosing.post(FIND, body)).status_code == 400


async def test_of_several_business_products_one_is_named(choosing: World) -> None:
    await choosing.event(event("PACKAGE_DELIVERED", 7, "order/o/delivery/d", "bp-2"))
    await choosing.project()
    answer = await choosing.post(FIND, {"email": EMAIL})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "ambiguous_id")
    assert problem["businessProductIds"] == ["bp-1", "bp-2"]
    theirs = await put(choosing, {"email": EMAIL, "off": ["all"]}, query="?businessProductId=bp-2")
    assert theirs["recipient"] != RECIPIENT
    # A recipient is one business product's, so the one that chose something needs no other word.
    assert (await found(choosing, recipient=theirs["recipient"]))["businessProductId"] == "bp-2"
    assert (await choosing.post(FIND, {"recipient": "rcp_0"})).status_code == 409


async def test_a_key_reaches_its_own_business_products_only(choosing: World) -> None:
    await put(choosing, {"email": EMAIL, "off": ["all"]})
    foreign, own = await choosing.key("operate", "bp-2"), await choosing.key("operate", "bp-1")
    assert (await choosing.get(PATH, foreign)).json()["items"] == []
    assert (await choosing.get(PATH, foreign, recipient=RECIPIENT)).json()["items"] == []
    theirs = (await choosing.post(FIND, {"email": EMAIL}, foreign)).json()
    assert (theirs["businessProductId"], theirs["off"]) == ("bp-2", [])
    assert theirs["recipient"] != RECIPIENT
    assert (await choosing.post(FIND, {"email": EMAIL}, own)).json()["off"] == ["all"]
    async with choosing.client(foreign) as client:
        for method in ("PUT", "DELETE"):
            query = {"businessProductId": "bp-1"}
            answer = await client.request(method, PATH, params=query, json={"email": EMAIL})
            assert answer.status_code == 404


async def test_without_a_secret_no_address_is_looked_up(world: World) -> None:
    await one_delivery(world)
    answer = await world.post(FIND, {"email": EMAIL})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "MILEPOST_TRACKING_SECRET" in answer.json()["detail"]
    assert (await world.post(FIND, {"recipient": RECIPIENT})).status_code == 200


async def test_without_any_business_product_there_is_nobody(store: Store) -> None:
    world = World(store, tracking_secrets=(SECRET,))
    assert (await world.post(FIND, {"email": EMAIL})).status_code == 404
    named = await put(world, {"email": EMAIL, "off": ["all"]}, query="?businessProductId=bp-9")
    assert named["businessProductId"] == "bp-9"


async def test_no_log_holds_an_address(choosing: World) -> None:
    with structlog.testing.capture_logs() as logs:
        await put(choosing, {"email": EMAIL, "blocked": "spam"})
        await forget(choosing, {"email": EMAIL})
    assert [line["event"] for line in logs] == ["choices.changed", "choices.forgotten"]
    assert EMAIL not in str(logs)
    assert {line["recipient"] for line in logs} == {RECIPIENT}


def test_every_kind_can_be_switched_off_by_itself() -> None:
    assert {"all", *KINDS} <= OFFERED
