"""The page of the audit log: the newest first, by person and by action, as the API has it."""

import re

from tests.web.console.people import main_of, person
from tests.web.world import World

from milepost.domain.instant import Instant
from milepost.web.audit import audit


async def some(world: World, count: int) -> None:
    """Entries of two people about orders of two business products."""
    for number in range(count):
        world.now = Instant(world.now + 1_000)
        who, product = (("usr_a", "bp-1"), ("usr_b", "bp-2"))[number % 2]
        await world.store.write(
            lambda tx, n=number, who=who, product=product: audit(  # type: ignore[misc]
                tx,
                who,
                "note.added",
                f"order-{n}",
                {"n": n, "left": None},
                at=world.now,
                business_product_id=product,
            )
        )


def subjects(text: str) -> list[str]:
    return re.findall(r'data-label="To">(order-\d+)', text)


async def test_the_newest_come_first_page_by_page(world: World) -> None:
    await some(world, 60)
    admin = await person(world, "admin")
    async with admin.client() as client:
        first = main_of(await client.get("/audit"))
        assert subjects(first) == [f"order-{n}" for n in range(59, 9, -1)]
        (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
        second = main_of(await client.get(older.replace("&amp;", "&")))
        assert subjects(second) == [f"order-{n}" for n in range(9, -1, -1)]
        assert 'rel="next"' not in second
        assert 'rel="prev" href="/audit?"' in second


async def test_it_is_filtered_by_person_and_action(world: World) -> None:
    await some(world, 6)
    ada = await person(world, "admin", name="a")
    async with ada.client() as client:
        page = main_of(await client.get("/audit?actor=usr_a"))
        assert subjects(page) == ["order-4", "order-2", "order-0"]
        assert "The a" in page
        assert '<option value="usr_a" selected>' in page
        assert subjects(main_of(await client.get("/audit?action=note.added&actor=usr_b"))) == [
            f"order-{n}" for n in (5, 3, 1)
        ]
        assert "Nothing was done yet" in main_of(await client.get("/audit?action=user.signedIn"))
        assert (await client.get("/audit?before=x")).status_code == 400


async def test_a_bound_admin_sees_what_was_done_to_their_products(world: World) -> None:
    await some(world, 4)
    bound = await person(world, "admin", "bp-2")
    async with bound.client() as client:
        assert subjects(main_of(await client.get("/audit"))) == ["order-3", "order-1"]


async def test_the_api_has_the_same_from_the_oldest(world: World) -> None:
    await some(world, 3)
    first = (await world.get("/v1/audit", limit=2)).json()
    second = (await world.get("/v1/audit", limit=2, after=first["next"])).json()
    items = first["items"] + second["items"]
    assert [item["subject"] for item in items] == ["order-0", "order-1", "order-2"]
    assert second["next"] is None
    assert items[0] == {
        "number": items[0]["number"],
        "at": "2025-01-20T12:00:01Z",
        "actor": "usr_a",
        "actorName": None,
        "action": "note.added",
        "subject": "order-0",
        "subjectName": None,
        "businessProductId": "bp-1",
        "details": {"n": "0"},
    }
    for parameters, found in (
        ({"actor": "usr_b"}, ["order-1"]),
        ({"action": "none"}, []),
        ({"businessProductId": "bp-2"}, ["order-1"]),
    ):
        listed = (await world.get("/v1/audit", **parameters)).json()["items"]
        assert [item["subject"] for item in listed] == found
