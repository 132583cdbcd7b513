"""The contract of users: accounts, sessions, one-time links, tries to sign in; and of the audit log."""

import pytest
from msgspec.structs import replace
from tests.contract.harness import T0

from milepost.domain.audit_entry import AuditEntry
from milepost.domain.errors import Conflict
from milepost.domain.instant import DAY, HOUR, Instant
from milepost.domain.lockout import Tries
from milepost.domain.session import Session
from milepost.domain.user import Invitation, User, folded
from milepost.store import Store


def user(number: int, name: str = "", **fields: object) -> User:
    given = {"role": "agent", "created_at": T0, "password_hash": "hash"} | fields
    return User(f"usr_{number}", f"User {number}", name or f"user{number}", **given)  # type: ignore[arg-type]


def session(number: int, user_id: str = "usr_1", seen: int = 0, created: int = 0) -> Session:
    times = (Instant(T0 + created), Instant(T0 + seen))
    return Session(bytes([number]) * 32, f"ses_{number}", user_id, *times, "Firefox", "192.0.2.1")


class UsersContract:
    async def test_a_user_comes_back_and_is_replaced_under_its_id(self, store: Store) -> None:
        assert not await store.read(lambda tx: tx.users.any())
        one = user(1, "Ada@Example.com", business_products=("bp-1",))
        await store.write(lambda tx: [tx.users.put(each) for each in (one, user(2))])
        assert await store.read(lambda tx: tx.users.any())
        assert await store.read(lambda tx: tx.users.get("usr_1")) == one
        assert await store.read(lambda tx: tx.users.get("usr_9")) is None
        found = await store.read(lambda tx: tx.users.by_sign_in_name(folded("ADA@example.COM")))
        assert found == one
        changed = replace(one, role="admin", sign_in_name="grace")
        await store.write(lambda tx: tx.users.put(changed))
        assert await store.read(lambda tx: tx.users.by_sign_in_name(folded("ada@example.com"))) is None
        assert await store.read(lambda tx: tx.users.page("", 1)) == [changed]
        assert await store.read(lambda tx: tx.users.page("usr_1", 9)) == [user(2)]
        names = await store.read(lambda tx: tx.users.named(["usr_1", "key_1", "usr_2"]))
        assert names == {"usr_1": "User 1", "usr_2": "User 2"}

    async def test_a_sign_in_name_is_one_users(self, store: Store) -> None:
        await store.write(lambda tx: tx.users.put(user(1, "Straße")))
        for name in ("strasse", "STRASSE"):
            with pytest.raises(Conflict):
                await store.write(lambda tx, name=name: tx.users.put(user(2, name)))  # type: ignore[misc]
        await store.write(lambda tx: tx.users.put(user(1, "strasse")))
        assert [u.id for u in await store.read(lambda tx: tx.users.page("", 9))] == ["usr_1"]

    async def test_an_admin_besides_can_sign_in_and_sees_all(self, store: Store) -> None:
        await store.write(lambda tx: tx.users.put(user(1, role="admin")))
        for number, other in enumerate(
            (
                user(2, role="operator"),
                user(3, role="admin", disabled_at=T0),
                user(4, role="admin", password_hash=""),
                user(5, role="admin", business_products=("bp-1",)),
            )
        ):
            await store.write(lambda tx, other=other: tx.users.put(other))  # type: ignore[misc]
            assert not await store.read(lambda tx: tx.users.is_admin_besides("usr_1")), number
        assert await store.read(lambda tx: tx.users.is_admin_besides("usr_2"))
        await store.write(lambda tx: tx.users.put(user(6, role="admin")))
        assert await store.read(lambda tx: tx.users.is_admin_besides("usr_1"))

    async def test_a_session_comes_with_its_user_and_is_noted_forward_only(self, store: Store) -> None:
        await store.write(lambda tx: [tx.users.put(user(1)), tx.users.put_session(session(1))])
        assert await store.read(lambda tx: tx.users.session(b"\1" * 32)) == (session(1), user(1))
        assert await store.read(lambda tx: tx.users.session(b"\2" * 32)) is None
        for at, seen in ((T0 + 9, 9), (T0 + 5, 9)):
            await store.write(lambda tx, at=at: tx.users.note_seen(b"\1" * 32, Instant(at)))  # type: ignore[misc]
            found = await store.read(lambda tx: tx.users.session(b"\1" * 32))
            assert found is not None
            assert found[0] == session(1, seen=seen)

    async def test_sessions_end_all_at_once_or_some(self, store: Store) -> None:
        made = [session(1), session(2, seen=2), session(3, seen=1), session(4, "usr_2")]
        await store.write(lambda tx: [tx.users.put_session(each) for each in made])
        mine = await store.read(lambda tx: tx.users.sessions("usr_1", 9))
        assert [each.id for each in mine] == ["ses_2", "ses_3", "ses_1"]
        assert len(await store.read(lambda tx: tx.users.sessions("usr_1", 2))) == 2
        assert await store.write(lambda tx: tx.users.end_sessions("usr_1", ["ses_3", "ses_4"])) == 1
        assert await store.write(lambda tx: tx.users.end_sessions("usr_1", [])) == 0
        assert await store.write(lambda tx: tx.users.end_sessions("usr_1")) == 2
        assert [s.id for s in await store.read(lambda tx: tx.users.sessions("usr_2", 9))] == ["ses_4"]

    async def test_links_are_found_by_hash_and_void_by_user(self, store: Store) -> None:
        links = [Invitation(b"a", "first", T0), Invitation(b"b", "invite", T0, "usr_1")]
        await store.write(lambda tx: [tx.users.put_invitation(each) for each in links])
        assert await store.read(lambda tx: tx.users.invitation(b"b")) == links[1]
        await store.write(lambda tx: tx.users.void_invitations(""))
        assert await store.read(lambda tx: tx.users.invitation(b"a")) is None
        await store.write(lambda tx: tx.users.void_invitations("usr_1"))
        assert await store.read(lambda tx: tx.users.invitation(b"b")) is None

    async def test_tries_are_counted_under_their_keys(self, store: Store) -> None:
        one, other = Tries("name:a", 3, T0), Tries("address:b", 40, T0, Instant(T0 + 60_000))
        await store.write(lambda tx: tx.users.put_tries([one, other]))
        await store.write(lambda tx: tx.users.put_tries([replace(one, wrong=4)]))
        found = await store.read(lambda tx: tx.users.tries(["name:a", "address:b", "name:c"]))
        assert found == {"name:a": replace(one, wrong=4), "address:b": other}
        await store.write(lambda tx: tx.users.forget_tries(["name:a"]))
        assert await store.read(lambda tx: tx.users.tries(["name:a"])) == {}

    async def test_what_is_over_goes_so_many_at_a_time(self, store: Store) -> None:
        await store.write(
            lambda tx: [
                *(tx.users.put_session(each) for each in (session(1), session(2), session(3, seen=HOUR))),
                tx.users.put_session(session(4, seen=13 * DAY, created=-DAY)),
                tx.users.put_invitation(Invitation(b"a", "first", T0)),
                tx.users.put_invitation(Invitation(b"b", "invite", T0, "usr_1")),
                tx.users.put_tries([Tries("name:a", 1, T0), Tries("name:b", 1, Instant(T0 + HOUR))]),
            ]
        )
        assert await store.write(lambda tx: tx.users.clean(T0, 9)) == 0
        idle = Instant(T0 + 12 * HOUR)
        assert await store.write(lambda tx: tx.users.clean(idle, 1)) == 1
        assert await store.write(lambda tx: tx.users.clean(idle, 9)) == 1
        day = Instant(T0 + DAY)
        assert await store.write(lambda tx: tx.users.clean(day, 9)) == 3, "session 3, link a, tries of a"
        assert await store.read(lambda tx: tx.users.invitation(b"b")) is not None
        assert list(await store.read(lambda tx: tx.users.tries(["name:a", "name:b"]))) == ["name:b"]
        assert await store.write(lambda tx: tx.users.clean(Instant(T0 + 13 * DAY), 9)) == 3
        assert await store.read(lambda tx: tx.users.session(b"\4" * 32)) is None

    async def test_the_audit_log_is_read_from_either_end(self, store: Store) -> None:
        made = [
            AuditEntry(T0, "usr_1", "user.signedIn", "usr_1"),
            AuditEntry(Instant(T0 + 1), "usr_2", "note.added", "order-1", "bp-1", {"length": "12"}),
            AuditEntry(Instant(T0 + 2), "usr_1", "note.added", "order-2", "bp-2"),
        ]
        await store.write(lambda tx: [tx.audit.add(entry) for entry in made])
        oldest = await store.read(lambda tx: tx.audit.page(0, 9, None))
        assert [entry for _, entry in oldest] == made
        assert await store.read(lambda tx: tx.audit.page(oldest[0][0], 1, None)) == [oldest[1]]
        for limit in (1, 9):
            actions = await store.read(lambda tx, limit=limit: tx.audit.actions(limit))  # type: ignore[misc]
            assert actions == ["note.added", "user.signedIn"][:limit]
        newest = await store.read(lambda tx: tx.audit.page(0, 9, None, newest_first=True))
        assert newest == oldest[::-1]
        assert await store.read(lambda tx: tx.audit.page(newest[0][0], 1, None, newest_first=True)) == [
            newest[1]
        ]
        for wanted, found in (
            ((None, "usr_1", None), [made[0], made[2]]),
            ((None, None, "note.added"), [made[1], made[2]]),
            ((None, "usr_1", "note.added"), [made[2]]),
            ((["bp-1"], None, None), [made[1]]),
            (([], None, None), []),
        ):
            page = await store.read(lambda tx, wanted=wanted: tx.audit.page(0, 9, *wanted))  # type: ignore[misc]
            assert [entry for _, entry in page] == found, wanted
