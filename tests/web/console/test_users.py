"""The page of users: who is invited, changed, disabled, and by whom."""

import re

import pytest
from tests.web.console.people import HERE, PASSWORD, Person, browser, link_in, main_of, person
from tests.web.world import World, event

from milepost.domain.instant import DAY, Instant
from milepost.store import Store

GRACE = {"name": "Grace Hopper", "signInName": "grace@example.com", "role": "analyst", "businessProducts": ""}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def admin(world: World) -> Person:
    return await person(world, "admin")


async def user_named(world: World, name: str) -> str:
    users = await world.store.read(lambda tx: tx.users.page("", 99))
    return next(user.id for user in users if user.name == name)


async def test_an_invited_user_sets_a_password_and_may_what_the_role_allows(
    world: World, admin: Person
) -> None:
    async with admin.client() as client:
        shown = await client.post("/users", data=GRACE | admin.form, headers=HERE)
        assert shown.status_code == 200
        path = link_in(shown)
        assert f"http://127.0.0.1:8480{path}" in shown.text
        listed = main_of(await client.get("/users"))
        assert "Grace Hopper" in listed
        assert "Invited" in listed
        assert path not in listed
    async with browser(world) as client:
        page = await client.get(path)
        assert "grace@example.com" in page.text
        fields = {"password": PASSWORD, "again": PASSWORD, "name": "ignored", "signInName": "ignored"}
        assert (await client.post(path, data=fields, headers=HERE)).status_code == 303
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/users")).status_code == 403
        assert (await client.get(path)).status_code == 404
    user = await user_named(world, "Grace Hopper")
    entries = await world.store.read(lambda tx: tx.audit.page(0, 9, None))
    assert [(entry.actor, entry.action, entry.subject) for _, entry in entries] == [
        (admin.user.id, "user.invited", user),
        (user, "user.passwordSet", user),
    ]
    assert entries[0][1].details == {"role": "analyst", "businessProducts": "all"}


async def test_an_invitation_is_good_for_seven_days(world: World, admin: Person) -> None:
    async with admin.client() as client:
        path = link_in(await client.post("/users", data=GRACE | admin.form, headers=HERE))
        world.now = Instant(world.now + 7 * DAY - 1)
        assert (await client.get(path)).status_code == 200
        world.now = Instant(world.now + 1)
        assert (await client.get(path)).status_code == 404


async def test_a_link_uses_the_address_that_others_know(store: Store) -> None:
    world = World(store, public_url="https://hub.example/")
    admin = await person(world, "admin")
    async with browser(world) as client:
        client.cookies.set("__Host-milepost_session", admin.token, domain="127.0.0.1")
        shown = await client.post("/users", data=GRACE | admin.form, headers=HERE)
        assert f"https://hub.example{link_in(shown)}" in shown.text


async def test_a_new_link_voids_the_last_and_ends_sessions(world: World, admin: Person) -> None:
    ada = await person(world, "agent", name="ada")
    async with admin.client() as client:
        paths = [
            link_in(await client.post(f"/users/{ada.user.id}/link", data=admin.form, headers=HERE))
            for _ in range(2)
        ]
        assert [(await client.get(path)).status_code for path in paths] == [404, 200]
    async with ada.client() as client:
        assert (await client.get("/account")).status_code == 303
    async with browser(world) as client:
        fields = {"password": PASSWORD, "again": PASSWORD}
        assert (await client.post(paths[1], data=fields, headers=HERE)).status_code == 303
        assert (await client.get("/account")).status_code == 200


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "must not be empty"),
        ({"signInName": "two words"}, "one word"),
        ({"signInName": "ADMIN-ALL"}, "has this sign-in name already"),
        ({"role": "root"}, "role must be one"),
        ({"businessProducts": "x" * 201}, "no ids of business products"),
    ],
)
async def test_what_is_refused_keeps_what_was_written(
    world: World, admin: Person, changed: dict[str, str], said: str
) -> None:
    async with admin.client() as client:
        answer = await client.post("/users", data=GRACE | changed | admin.form, headers=HERE)
        assert answer.status_code == 400
        assert said in main_of(answer)
        kept = (GRACE | changed)["name" if "name" not in changed else "signInName"]
        assert f'value="{kept}"' in answer.text
    assert len(await world.store.read(lambda tx: tx.users.page("", 9))) == 1


def boxes(html: str) -> dict[str, bool]:
    """The business products that a form offers, and which of them are ticked."""
    found = re.findall(r'<input type="checkbox" name="product:([^"]+)" value="on"( checked)?>', html)
    return {name: bool(ticked) for name, ticked in found}


async def test_known_business_products_are_ticked_and_others_written(world: World, admin: Person) -> None:
    for product in ("bp-2", "bp-1"):
        await world.event(event("PACKAGE_DELIVERED", 1, "order/o-1/delivery/d-1", product))
    await world.project()
    async with admin.client() as client:
        page = (await client.get("/users")).text
        assert boxes(page) == {"bp-1": False, "bp-2": False}
        asked = GRACE | admin.form | {"product:bp-2": "on", "businessProducts": "bp-new"}
        wrong = await client.post("/users", data=asked | {"name": ""}, headers=HERE)
        assert boxes(wrong.text) == {"bp-1": False, "bp-2": True, "bp-new": True}, (
            "nothing is lost by a mistake"
        )
        assert (await client.post("/users", data=asked, headers=HERE)).status_code == 200
        grace = f"/users/{await user_named(world, 'Grace Hopper')}"
        page = (await client.get(grace)).text
        assert boxes(page) == {"bp-1": False, "bp-2": True, "bp-new": True}
        fields = {"name": "Grace Hopper", "role": "analyst", "product:bp-1": "on"} | admin.form
        assert (await client.post(grace, data=fields, headers=HERE)).status_code == 303
        page = (await client.get(grace)).text
        assert boxes(page) == {"bp-1": True, "bp-2": False}


async def test_an_admin_of_some_is_offered_only_those(world: World) -> None:
    some = await person(world, "admin", "bp-1", "bp-3")
    await world.event(event("PACKAGE_DELIVERED", 1, "order/o-1/delivery/d-1", "bp-2"))
    await world.project()
    async with some.client() as client:
        page = (await client.get("/users")).text
    assert boxes(page) == {"bp-1": False, "bp-3": False}
    assert 'name="businessProducts"' not in page


async def test_of_very_many_some_are_offered_and_the_others_written(
    world: World, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.web.console.users.MOST_OFFERED", 3)
    for number in range(5):
        await world.event(event("PACKAGE_DELIVERED", 1, "order/o-1/delivery/d-1", f"bp-{number}"))
    await world.project()
    async with admin.client() as client:
        page = (await client.get("/users")).text
    assert list(boxes(page)) == ["bp-0", "bp-1", "bp-2"]
    assert 'name="businessProducts"' in page


async def test_another_role_ends_the_sessions_and_another_name_does_not(world: World, admin: Person) -> None:
    ada = await person(world, "agent", name="ada")
    fields = {"name": "Ada L.", "role": "agent", "businessProducts": ""}
    async with admin.client() as client, ada.client() as hers:
        await client.post(f"/users/{ada.user.id}", data=fields | admin.form, headers=HERE)
        assert "Ada L." in (await hers.get("/account")).text
        changed = {"role": "operator", "businessProducts": "bp-1\nbp-2  bp-1"}
        answer = await client.post(f"/users/{ada.user.id}", data=fields | changed | admin.form, headers=HERE)
        assert answer.headers["location"] == f"/users/{ada.user.id}?done=changed"
        assert (await hers.get("/account")).status_code == 303
        assert "bp-1, bp-2" in (await client.get("/users")).text
    entries = await world.store.read(lambda tx: tx.audit.page(0, 9, None))
    assert [entry.details for _, entry in entries] == [
        {"name": "Ada L."},
        {"role": "agent to operator", "businessProducts": "bp-1, bp-2"},
    ]


async def test_who_is_disabled_is_out_at_once_and_back_when_enabled(world: World, admin: Person) -> None:
    ada = await person(world, "agent", name="ada", password=PASSWORD)
    async with admin.client() as client, ada.client() as hers:
        await client.post(f"/users/{ada.user.id}/link", data=admin.form, headers=HERE)
        assert (
            await client.post(f"/users/{ada.user.id}/disable", data=admin.form, headers=HERE)
        ).status_code == 303
        assert (await hers.get("/account")).status_code == 303
        refused = await client.post(f"/users/{ada.user.id}/link", data=admin.form, headers=HERE)
        assert (refused.status_code, "Enable them first" in refused.text) == (409, True)
        fields = {"name": "ada", "password": PASSWORD}
        assert (await hers.post("/sign-in", data=fields, headers=HERE)).status_code == 401
        await client.post(f"/users/{ada.user.id}/enable", data=admin.form, headers=HERE)
        assert (await hers.post("/sign-in", data=fields, headers=HERE)).status_code == 303
        assert (await hers.get("/account")).status_code == 200


async def test_the_last_admin_stays_one(world: World, admin: Person) -> None:
    bound = await person(world, "admin", "bp-1")
    demoted = {"name": "x", "role": "operator", "businessProducts": ""}
    less = {"name": "x", "role": "admin", "businessProducts": "bp-1"}
    path = f"/users/{admin.user.id}"
    async with admin.client() as client:
        for answer in (
            await client.post(f"{path}/disable", data=admin.form, headers=HERE),
            await client.post(path, data=demoted | admin.form, headers=HERE),
            await client.post(path, data=less | admin.form, headers=HERE),
        ):
            assert (answer.status_code, "the last admin" in main_of(answer)) == (409, True)
        assert (await client.post(f"/users/{bound.user.id}/disable", data=admin.form)).status_code == 303
        await person(world, "admin", name="second")
        assert (await client.post(path, data=demoted | admin.form, headers=HERE)).status_code == 303
        assert (await client.get("/account")).status_code == 303


async def test_a_bound_admin_manages_users_of_the_same_products_only(world: World) -> None:
    bound = await person(world, "admin", "bp-1")
    hers, others, everywhere = (
        await person(world, "agent", "bp-1"),
        await person(world, "agent", "bp-2"),
        await person(world, "agent"),
    )
    async with bound.client() as client:
        listed = main_of(await client.get("/users"))
        assert hers.user.name in listed
        for other in (others, everywhere):
            assert other.user.name not in listed
            path = f"/users/{other.user.id}"
            assert (await client.get(path)).status_code == 404
            for verb in ("", "/link", "/disable", "/enable"):
                data = GRACE | bound.form
                assert (await client.post(path + verb, data=data, headers=HERE)).status_code == 404, verb
        wider = {"name": "x", "role": "admin", "businessProducts": "bp-1 bp-2"}
        answer = await client.post(f"/users/{hers.user.id}", data=wider | bound.form, headers=HERE)
        assert (answer.status_code, "don&#39;t have" in answer.text) == (400, True)
        await client.post("/users", data=GRACE | bound.form, headers=HERE)
    grace = await user_named(world, "Grace Hopper")
    made = await world.store.read(lambda tx: tx.users.get(grace))
    assert made is not None
    assert made.business_products == ("bp-1",), "no more than the admin has"


async def test_script_in_every_field_is_text(world: World, admin: Person) -> None:
    fields = {"name": SCRIPT, "signInName": "<script>x", "role": "agent", "businessProducts": "<b>bp"}
    async with admin.client() as client:
        await client.post("/users", data=fields | admin.form, headers=HERE)
        user = await user_named(world, SCRIPT)
        await client.post(f"/users/{user}", data=fields | {"role": "analyst"} | admin.form, headers=HERE)
        pages = [
            await client.get("/users"),
            await client.get(f"/users/{user}"),
            await client.get(f"/audit?actor={SCRIPT}&action={SCRIPT}"),
            await client.get("/audit"),
            await client.post(f"/users/{user}/link", data=admin.form, headers=HERE),
            await client.post("/users", data=fields | admin.form, headers=HERE),
            await client.post("/sign-in", data={"name": SCRIPT, "next": SCRIPT}, headers=HERE),
            await client.get(
                link_in(await client.post(f"/users/{user}/link", data=admin.form, headers=HERE))
            ),
        ]
    for page in pages:
        assert "<script>" not in main_of(page)
        assert "<b>bp" not in page.text
    assert "&lt;script&gt;alert(1)" in pages[0].text


async def test_users_are_paged(world: World, admin: Person) -> None:
    for number in range(101):
        await person(world, "agent", name=f"n{number:03}")
    async with admin.client() as client:
        page = main_of(await client.get("/users"))
        assert page.count("<tr>") == 101
        (following,) = [
            part.split('"')[0] for part in page.split('href="')[1:] if part.startswith("/users?after=")
        ]
        assert main_of(await client.get(following)).count("<tr>") == 3
