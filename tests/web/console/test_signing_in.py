"""Signing in and out, and links to set a password."""

import asyncio
import time
from typing import Any

import pytest
import sqlalchemy
from tests.web.console.people import HERE, PASSWORD, browser, main_of, person
from tests.web.world import World

from milepost.domain.instant import DAY, HOUR, MINUTE, Instant
from milepost.domain.user import Invitation, User
from milepost.store import Store, Transaction
from milepost.transports.egress import networks
from milepost.web.console.signing_in import within
from milepost.web.hashing import MEMORY_KIB, hashing
from milepost.web.sessions import hash_of_token
from milepost.web.user_actions import invite_first

WRONG = "The sign-in name or the password is wrong."


@pytest.fixture
def world(store: Store) -> World:
    """Behind a proxy on this machine, as it is by default."""
    return World(store, proxies=networks(("127.0.0.0/8",)))


async def actions(world: World) -> list[tuple[str, str]]:
    rows = await world.store.read(lambda tx: tx.audit.page(0, 99, None))
    return [(entry.actor, entry.action) for _, entry in rows]


async def try_in(world: World, name: str, password: str, address: str = "198.51.100.1") -> tuple[int, str]:
    """(status, page) of a try to sign in from an address."""
    async with browser(world) as client:
        headers = HERE | {"x-forwarded-for": address}
        answer = await client.post("/sign-in", data={"name": name, "password": password}, headers=headers)
    return answer.status_code, answer.text


async def test_signing_in_leads_where_somebody_wanted_to_go(world: World) -> None:
    ada = await person(world, "agent", name="ada", password=PASSWORD)
    async with browser(world) as client:
        sent = await client.get("/account?done=password")
        assert (sent.status_code, sent.headers["location"]) == (
            303,
            "/sign-in?next=/account%3Fdone%3Dpassword",
        )
        form = await client.get(sent.headers["location"])
        assert 'name="next" value="/account?done=password"' in form.text
        assert 'autocomplete="username"' in form.text
        assert 'autocomplete="current-password"' in form.text
        fields = {"name": " ADA ", "password": PASSWORD, "next": "/account?done=password"}
        answer = await client.post("/sign-in", data=fields, headers=HERE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=password")
        cookie = answer.headers["set-cookie"]
        for part in ("milepost_session=", "HttpOnly", "SameSite=lax", "Path=/"):
            assert part in cookie
        assert "Secure" not in cookie
        assert (await client.get("/account")).status_code == 200
        again = await client.get("/sign-in?next=/account")
        assert (again.status_code, again.headers["location"]) == (303, "/account")
    assert await actions(world) == [(ada.user.id, "user.signedIn")]


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/orders/1?x=2", "/orders/1?x=2"),
        *((path, "/") for path in ("//evil.example", "/\\evil.example", "https://evil.example", "", "evil")),
        *((path, "/") for path in ("/a\\b", "/a\nb", "/\tevil", "/" + "x" * 500, "javascript:alert(1)")),
    ],
)
def test_only_paths_of_this_console_are_gone_on_to(path: str, there: str) -> None:
    assert within(path) == there


async def test_a_session_is_new_with_each_sign_in_and_the_former_one_ends(world: World) -> None:
    ada = await person(world, "agent", name="ada", password=PASSWORD)
    async with browser(world, ada.token) as client:
        await client.post("/sign-in", data={"name": "ada", "password": PASSWORD}, headers=HERE)
        fresh = client.cookies.get("milepost_session", domain="127.0.0.1")
        assert fresh != ada.token
        assert (await client.get("/account")).status_code == 200
    async with ada.client() as client:
        assert (await client.get("/account")).status_code == 303
    kept = await world.store.read(lambda tx: tx.users.sessions(ada.user.id, 9))
    assert [each.browser for each in kept] == ["Firefox"]
    assert fresh.encode() not in kept[0].hash


async def test_signing_out_ends_the_session_here_and_in_the_browser(world: World) -> None:
    ada = await person(world, "agent", name="ada")
    async with ada.client() as client:
        assert (await client.post("/sign-out", data={})).status_code == 403
        assert (await client.get("/account")).status_code == 200
        answer = await client.post("/sign-out", data=ada.form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert "Max-Age=0" in answer.headers["set-cookie"]
    async with ada.client() as client:
        assert (await client.get("/account")).status_code == 303
    assert (ada.user.id, "user.signedOut") in await actions(world)


async def test_who_does_not_exist_is_answered_like_who_does(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    await person(world, "agent", name="gone", password=PASSWORD)
    await world.store.write(
        lambda tx: tx.users.put(User("usr_gone", "G", "gone", "agent", world.now, (), "h", world.now))
    )
    answers = {
        name: await try_in(world, name, "wrong", f"198.51.100.{n}")
        for n, name in enumerate(("ada", "nobody", "gone", "", "x" * 5_000, "\x00"))
    }
    for name, (status, text) in answers.items():
        assert (status, WRONG in text) == (401, True), name[:20]
    assert [action for _, action in await actions(world)] == ["user.signInFailed"] * 2, "of known users only"


async def test_a_try_of_an_unknown_name_is_as_much_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both compare with a hash: neither takes a fifth of the other's time, as it would if one did not."""
    monkeypatch.setattr(hashing, "memory_kib", MEMORY_KIB)
    await person(world, "agent", name="ada", password=PASSWORD)
    took: dict[str, list[float]] = {"ada": [], "nobody": []}
    for number in range(4):
        for name, times in took.items():
            begun = time.process_time()
            await try_in(world, name, "wrong", f"198.51.100.{number}")
            times.append(time.process_time() - begun)
    known, unknown = min(took["ada"]), min(took["nobody"])
    assert max(known, unknown) < 5 * min(known, unknown), (known, unknown)


async def test_a_try_of_an_unknown_name_is_written_as_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    write, writes = world.store.write, list[str]()

    def changes(tx: Any) -> int:
        changed: int = tx.users._connection.execute(sqlalchemy.text("select total_changes()")).scalar_one()
        return changed

    async def counted(function: Any) -> Any:
        def noted(tx: Transaction) -> Any:
            before = changes(tx)
            found = function(tx)
            writes.append("changed" if changes(tx) > before else "nothing")
            return found

        return await write(noted)

    monkeypatch.setattr(world.store, "write", counted)
    for name in ("ada", "nobody"):
        writes.clear()
        await try_in(world, name, "wrong")
        assert writes == ["changed", "changed"], name


async def test_a_stranger_who_tries_a_name_keeps_nobody_out_of_where_they_work(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    assert (await try_in(world, "ada", PASSWORD, "192.0.2.1"))[0] == 303
    for number in range(5):
        await try_in(world, "ada", "wrong", f"198.51.100.{number}")
    assert (await try_in(world, "ada", PASSWORD, "198.51.100.9"))[0] == 429
    assert (await try_in(world, "ada", PASSWORD, "192.0.2.2"))[0] == 429
    assert (await try_in(world, "ada", "wrong", "192.0.2.1"))[0] == 401
    assert (await try_in(world, "ada", PASSWORD, "192.0.2.1"))[0] == 303
    for _ in range(31):
        status, _ = await try_in(world, "ada", "wrong", "192.0.2.1")
    assert status == 429, "the address is locked all the same"
    world.now = Instant(world.now + 30 * DAY)
    for number in range(5):
        await try_in(world, "ada", "wrong", f"198.51.100.{number}")
    assert (await try_in(world, "ada", PASSWORD, "192.0.2.1"))[0] == 429, "that was long ago"


async def test_five_wrong_tries_lock_a_name_for_longer_and_longer(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    for name in ("ada", "nobody"):
        for number in range(5):
            assert (await try_in(world, name, "wrong", f"198.51.100.{number}"))[0] == 401
        status, text = await try_in(world, name, PASSWORD, "198.51.100.9")
        assert (status, "Try again in 1 min" in text) == (429, True), name
    world.now = Instant(world.now + MINUTE)
    assert (await try_in(world, "ada", "wrong"))[0] == 401
    assert "Try again in 2 min" in (await try_in(world, "ada", PASSWORD))[1]
    world.now = Instant(world.now + 2 * MINUTE)
    assert (await try_in(world, "ada", PASSWORD))[0] == 303
    for _ in range(4):
        assert (await try_in(world, "ada", "wrong"))[0] == 401, "a right one forgets those before"
    locked = [action for _, action in await actions(world) if action == "user.lockedOut"]
    assert len(locked) == 2


async def test_many_tries_at_once_are_no_more_than_one_after_another(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    answers = await asyncio.gather(
        *(try_in(world, "ada", f"wrong {n}", f"198.51.100.{n}") for n in range(20))
    )
    assert sorted(status for status, _ in answers) == [401] * 5 + [429] * 15


async def test_an_address_is_locked_after_thirty_whoever_is_tried(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    for number in range(30):
        assert (await try_in(world, f"name-{number}", "x"))[0] == 401
    assert (await try_in(world, "ada", PASSWORD))[0] == 429
    assert (await try_in(world, "ada", PASSWORD, "203.0.113.5, 198.51.100.1"))[0] == 429, (
        "the left is anybody's"
    )
    assert (await try_in(world, "ada", PASSWORD, "198.51.100.2"))[0] == 303


async def test_a_form_of_another_site_is_refused(world: World) -> None:
    await person(world, "agent", name="ada", password=PASSWORD)
    async with browser(world) as client:
        for headers, status in (
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"sec-fetch-site": "same-site"}, 403),
            ({"origin": "https://evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({"origin": "http://127.0.0.1:8480"}, 303),
        ):
            fields = {"name": "ada", "password": PASSWORD}
            answer = await client.post("/sign-in", data=fields, headers=headers)
            assert answer.status_code == status, headers


async def test_behind_tls_the_cookie_is_for_this_host_and_https_only(store: Store) -> None:
    world = World(store, public_url="https://hub.example")
    ada = await person(world, "agent", name="ada", password=PASSWORD)
    async with browser(world) as client:
        origin = {"origin": "https://hub.example"}
        answer = await client.post("/sign-in", data={"name": "ada", "password": PASSWORD}, headers=origin)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-milepost_session=")
        for part in ("Secure", "HttpOnly", "Path=/", "SameSite=lax"):
            assert part in cookie
        assert "Domain" not in cookie
    async with ada.client() as client:
        assert (await client.get("/account")).status_code == 303, "a cookie of the other name is none"


async def test_a_session_ends_when_it_is_idle_or_old(world: World) -> None:
    ada = await person(world, "agent", name="ada")
    start = world.now
    async with ada.client() as client:
        for hours in range(11, 14 * 24, 11):
            world.now = Instant(start + hours * HOUR)
            assert (await client.get("/account")).status_code == 200, hours
        world.now = Instant(start + 14 * DAY)
        assert (await client.get("/account")).status_code == 303
    bob = await person(world, "agent", name="bob")
    async with bob.client() as client:
        world.now = Instant(world.now + 12 * HOUR)
        assert (await client.get("/account")).status_code == 303


async def test_that_a_session_was_seen_is_written_once_in_five_minutes(world: World) -> None:
    ada = await person(world, "agent", name="ada")
    start = world.now
    async with ada.client() as client:
        seen = []
        for minutes in (1, 4, 5, 6, 9, 11):
            world.now = Instant(start + minutes * MINUTE)
            await client.get("/account")
            (kept,) = await world.store.read(lambda tx: tx.users.sessions(ada.user.id, 9))
            seen.append((kept.seen_at - start) // MINUTE)
    assert seen == [0, 0, 5, 5, 5, 11]


async def test_a_cookie_opens_no_api_and_a_key_no_page(world: World) -> None:
    ada = await person(world, "admin", name="ada")
    async with ada.client() as client:
        assert (await client.get("/v1/orders")).status_code == 401
        assert (await client.get("/users")).status_code == 200
    for path in ("/users", "/", "/account"):
        assert (await world.get(path)).status_code == 303, path
    assert (await world.post("/users", {})).status_code == 401


async def test_a_part_of_a_page_takes_the_whole_page_to_the_sign_in(world: World) -> None:
    async with browser(world) as client:
        answer = await client.get("/users", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in?next=/users")


async def test_a_cookie_that_is_none(world: World) -> None:
    await person(world, "agent", name="ada")
    for token in ("x", "x" * 5_000, "no/thing", "%00"):
        async with browser(world, token) as client:
            assert (await client.get("/account")).status_code == 303


# ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def first(world: World, token: str = "first-token") -> str:
    assert await world.store.write(lambda tx: invite_first(tx, token, world.now))
    return f"/setup/{token}"


FIELDS = {"name": "Ada Lovelace", "signInName": "ada@example.com", "password": PASSWORD, "again": PASSWORD}


async def test_the_first_link_makes_an_admin_who_is_signed_in(world: World) -> None:
    path = await first(world)
    async with browser(world) as client:
        assert "milepost serve printed a link" in (await client.get("/sign-in")).text
        for _ in range(2):
            page = await client.get(path)
            assert page.status_code == 200, "looking uses nothing up"
        assert page.text.count('autocomplete="new-password"') == 2
        answer = await client.post(path, data=FIELDS, headers=HERE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "Ada Lovelace" in (await client.get("/users")).text
        assert (await client.get(path)).status_code == 404
        assert (await client.post(path, data=FIELDS, headers=HERE)).status_code == 404
    (user,) = await world.store.read(lambda tx: tx.users.page("", 9))
    assert (user.role, user.business_products, user.state) == ("admin", (), "active")
    assert PASSWORD not in user.password_hash
    assert user.password_hash.startswith("$argon2id$")
    assert not await world.store.write(lambda tx: invite_first(tx, "another", world.now))
    assert (await try_in(world, "Ada@Example.com", PASSWORD))[0] == 303


async def test_a_later_first_link_voids_those_before_and_each_lasts_a_day(world: World) -> None:
    former, path = await first(world), await first(world, "later-token")
    async with browser(world) as client:
        assert (await client.get(former)).status_code == 404
        world.now = Instant(world.now + 24 * HOUR - 1)
        assert (await client.get(path)).status_code == 200
        world.now = Instant(world.now + 1)
        answer = await client.get(path)
        assert (answer.status_code, "not valid" in main_of(answer)) == (404, True)


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"password": "short", "again": "short"}, "password", "Too short"),
        ({"password": "ada@example.com", "again": "ada@example.com"}, "password", "sign-in name"),
        ({"password": "password12345", "again": "password12345"}, "password", "tried first"),
        ({"again": PASSWORD + "x"}, "again", "not the same"),
        ({"name": " "}, "name", "must not be empty"),
        ({"signInName": "two words"}, "signInName", "one word"),
    ],
)
async def test_a_form_says_what_is_wrong_with_which_field(
    world: World, changed: dict[str, str], field: str, said: str
) -> None:
    path = await first(world)
    async with browser(world) as client:
        answer = await client.post(path, data=FIELDS | changed, headers=HERE)
        assert answer.status_code == 400
        hint = answer.text.split(f'id="{field}-hint"')[1].split("</p>")[0]
        assert said in hint
        assert PASSWORD not in answer.text
        assert (await client.post(path, data=FIELDS, headers=HERE)).status_code == 303, "it is still good"


async def test_a_link_is_used_once_however_many_use_it_at_once(world: World) -> None:
    path = await first(world)

    async def use(number: int) -> int:
        async with browser(world) as client:
            fields = FIELDS | {"signInName": f"user-{number}"}
            return (await client.post(path, data=fields, headers=HERE)).status_code

    statuses = await asyncio.gather(*map(use, range(5)))
    assert sorted(statuses) == [303, 404, 404, 404, 404]
    assert len(await world.store.read(lambda tx: tx.users.page("", 9))) == 1


async def test_a_link_of_somebody_disabled_or_gone_is_none(world: World) -> None:
    ada = await person(world, "agent", name="ada")
    links = [
        Invitation(hash_of_token(t), "reset", world.now, u) for t, u in (("a", ada.user.id), ("b", "usr_9"))
    ]
    await world.store.write(lambda tx: [tx.users.put_invitation(link) for link in links])
    async with browser(world) as client:
        assert (await client.get("/setup/a")).status_code == 200
        gone = User(ada.user.id, "A", "ada", "agent", world.now, (), "h", world.now)
        await world.store.write(lambda tx: tx.users.put(gone))
        for token in ("a", "b", "c", "x" * 128):
            assert (await client.get(f"/setup/{token}")).status_code == 404
            answer = await client.post(f"/setup/{token}", data=FIELDS, headers=HERE)
            assert answer.status_code == 404


async def test_a_hub_that_needs_no_sign_in_has_none(store: Store) -> None:
    world = World(store, insecure=True, admin_key=None)
    async with browser(world) as client:
        for answer in (await client.get("/sign-in"), await client.post("/sign-in", data={}, headers=HERE)):
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "Nobody signs in to this hub" in (await client.get("/account")).text


async def test_what_is_over_is_removed_when_somebody_signs_in(world: World) -> None:
    ada = await person(world, "agent", name="ada", password=PASSWORD)
    await try_in(world, "nobody", "x")
    await first_after(world)
    world.now = Instant(world.now + 15 * DAY)
    assert (await try_in(world, "ada", PASSWORD))[0] == 303
    left = await world.store.read(lambda tx: tx.users.sessions(ada.user.id, 9))
    assert [each.created_at for each in left] == [world.now]
    assert await world.store.read(lambda tx: tx.users.invitation(hash_of_token("old"))) is None


async def first_after(world: World) -> None:
    """A link that nobody uses."""
    link = Invitation(hash_of_token("old"), "invite", world.now, "usr_ada")
    await world.store.write(lambda tx: tx.users.put_invitation(link))
