"""One's own account: another password, and the sessions there are."""

import pytest
from tests.web.console.people import HERE, PASSWORD, Person, browser, main_of, person
from tests.web.world import World

from milepost.domain.session import MOST
from milepost.web.console.account import browser_in
from milepost.web.sessions import hash_of_token

NEW = "another kettle in the rain"


@pytest.fixture
async def ada(world: World) -> Person:
    return await person(world, "agent", "bp-1", name="ada", password=PASSWORD)


def change(current: str, new: str = NEW, again: str = NEW) -> dict[str, str]:
    return {"current": current, "password": new, "again": again}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Safari/537.36 EdgA/140.0", "Edge on Android"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.5", "curl/8.5"),
        ("", "Unknown"),
    ],
)
def test_browsers_in_words(told: str, said: str) -> None:
    assert browser_in(told) == said


async def test_the_page_says_who_one_is(ada: Person) -> None:
    async with ada.client() as client:
        page = main_of(await client.get("/account"))
    for text in ("The ada", "Agent", "bp-1", "Firefox", "192.0.2.7", "This one"):
        assert text in page
    assert "Sign out everywhere else" not in page


async def test_another_password_ends_every_session_and_begins_one(world: World, ada: Person) -> None:
    elsewhere = await person(world, "agent", "bp-1", name="ada", password=PASSWORD)
    async with ada.client() as client:
        answer = await client.post("/account/password", data=change(PASSWORD) | ada.form, headers=HERE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=password")
        assert "Your password was changed" in (await client.get("/account?done=password")).text
        assert client.cookies.get("milepost_session", domain="127.0.0.1") != ada.token
    for token in (ada.token, elsewhere.token):
        async with browser(world, token) as client:
            assert (await client.get("/account")).status_code == 303
    async with browser(world) as client:
        for password, status in ((PASSWORD, 401), (NEW, 303)):
            fields = {"name": "ada", "password": password}
            assert (await client.post("/sign-in", data=fields, headers=HERE)).status_code == status


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        (change("wrong"), "current", "not your password"),
        (change(PASSWORD, "short", "short"), "password", "Too short"),
        (change(PASSWORD, NEW, "x"), "again", "not the same"),
        ({}, "password", "Too short"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_changes(
    world: World, ada: Person, fields: dict[str, str], field: str, said: str
) -> None:
    async with ada.client() as client:
        answer = await client.post("/account/password", data=fields | ada.form, headers=HERE)
        assert answer.status_code == 400
        assert said in answer.text.split(f'id="{field}-hint"')[1].split("</p>")[0]
        assert (await client.get("/account")).status_code == 200
    kept = await world.store.read(lambda tx: tx.users.get(ada.user.id))
    assert kept == ada.user


async def test_guessing_the_password_here_is_locked_out_too(world: World, ada: Person) -> None:
    async with ada.client() as client:
        statuses = [
            (
                await client.post("/account/password", data=change("wrong") | ada.form, headers=HERE)
            ).status_code
            for _ in range(6)
        ]
    assert statuses == [400] * 5 + [429]
    entries = await world.store.read(lambda tx: tx.audit.page(0, 9, None))
    assert [entry.action for _, entry in entries] == ["user.signInFailed"] * 5 + ["user.lockedOut"]


async def test_one_of_ones_own_sessions_is_ended_and_nobody_elses(world: World, ada: Person) -> None:
    other = await person(world, "agent", "bp-1", name="ada")
    bob = await person(world, "agent", name="bob")
    kept = await world.store.read(
        lambda tx: [*tx.users.sessions(ada.user.id, 9), *tx.users.sessions(bob.user.id, 9)]
    )
    named = {each.hash: each.id for each in kept}
    async with ada.client() as client:
        assert main_of(await client.get("/account")).count("<tr>") == 1 + 2
        for token, status in ((bob.token, 404), (other.token, 303), (other.token, 404)):
            path = f"/account/sessions/{named[hash_of_token(token)]}/end"
            assert (await client.post(path, data=ada.form, headers=HERE)).status_code == status
        assert (await client.get("/account")).status_code == 200
    for somebody, status in ((bob, 200), (other, 303)):
        async with somebody.client() as client:
            assert (await client.get("/account")).status_code == status


async def test_signing_out_everywhere_else_leaves_this_session(world: World, ada: Person) -> None:
    others = [await person(world, "agent", "bp-1", name="ada") for _ in range(3)]
    async with ada.client() as client:
        await client.post("/account/sessions/end-others", data=ada.form, headers=HERE)
        assert (await client.get("/account")).status_code == 200
    for other in others:
        async with other.client() as client:
            assert (await client.get("/account")).status_code == 303
    entries = await world.store.read(lambda tx: tx.audit.page(0, 9, None))
    assert [entry.action for _, entry in entries] == ["session.ended"]


async def test_there_are_no_more_than_twenty_sessions(world: World, ada: Person) -> None:
    for _ in range(MOST + 2):
        await person(world, "agent", "bp-1", name="ada")
    assert len(await world.store.read(lambda tx: tx.users.sessions(ada.user.id, 99))) == MOST
