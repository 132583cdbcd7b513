"""Secrets at rest: what is kept is sealed for its row, what is read is open, and without its key nothing goes on."""

import asyncio
import re
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from milepost.domain.attempt import Destination
from milepost.domain.errors import Conflict, Misconfigured, StoreLocked, StoreUnavailable
from milepost.domain.webhook_settings import WebhookSettings, has_secrets
from milepost.sql import inspect, key_sources, open_store, rotate_keys
from milepost.sql.key_file import key_path, make_file, put_first, read_keys
from milepost.sql.secrets import Altered, Key, Secrets, new_key, parse_keys, sealed_by
from milepost.store import Store, Transaction, View

CANARY = "whsec_Q0FOQVJZLWluLXRoZS1zZXR0aW5ncw=="
SETTINGS = msgspec.json.encode(
    {
        "url": "https://shop.example/hook",
        "auth": {"basicAuthConfig": {"username": "shop", "password": "canary-of-the-password"}},
        "signature": {"standardWebhooks": {"secrets": [CANARY]}},
        "headers": [{"key": "x-key", "value": "canary-of-a-header"}],
    }
)
CANARIES = (CANARY.encode(), b"canary-of-the-password", b"canary-of-a-header", b"canary-of-the-sandbox")
SUBSCRIBER = Destination("sub-1", "webhook", SETTINGS, endpoint="https://shop.example/hook")
PROFILE = View("authProfile", "target", "p", b'{"auth":"canary-of-the-sandbox"}', "active")
PLAIN = msgspec.json.encode(WebhookSettings("https://shop.example/hook"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "milepost.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


def put(tx: Transaction) -> None:
    tx.attempts.put_destination(SUBSCRIBER)
    tx.views.put([PROFILE])


def settings(tx: Transaction) -> bytes:
    found = tx.attempts.destination(SUBSCRIBER.id)
    assert found is not None
    return found.settings


async def kept(url: str, key: str | None = None) -> bytes:
    """What a store that is opened anew reads."""
    store = await open_store(url, encryption_key=key)
    try:
        return await store.read(settings)
    finally:
        await store.close()


def run_sql(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement, values).fetchall()
        connection.commit()
    return rows


def in_clear(path: Path) -> None:
    """As the release before kept it."""
    run_sql(path, "PRAGMA secure_delete = OFF")
    run_sql(path, "UPDATE destinations SET settings = ? WHERE id = ?", SETTINGS, SUBSCRIBER.id)
    run_sql(path, "UPDATE views SET document = ? WHERE kind = 'authProfile'", PROFILE.document)


def canaries_in(*paths: Path) -> list[str]:
    return [
        f"{canary!r} in {path.name}"
        for path in paths
        if path.exists()
        for canary in CANARIES
        if canary in path.read_bytes()
    ]


def files_of(path: Path) -> list[Path]:
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + ".key")]


# ── One secret ─────────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=300), st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_what_is_sealed_opens_in_its_own_place_only(clear: bytes, parts: list[str]) -> None:
    secrets, place = Secrets([new_key()]), tuple(parts)
    sealed = secrets.seal(place, clear)
    assert secrets.open(place, sealed) == clear
    assert sealed_by(sealed) == secrets.ids[0]
    assert sealed != secrets.seal(place, clear)
    for other in ((*place, ""), ("x", *place), ("".join(place), *parts[:0], "|")):
        with pytest.raises(Altered):
            secrets.open(other, sealed)


@given(st.integers(min_value=0, max_value=79))
def test_a_changed_byte_is_noticed(at: int) -> None:
    secrets, place = Secrets([Key(b"k" * 32)]), ("table", "row")
    sealed = bytearray(secrets.seal(place, b"s" * 44))
    sealed[at] ^= 1
    changed = bytes(sealed)
    if sealed_by(changed) is None:
        assert (
            secrets.open(place, changed) == changed
        )  # it says no more that it is sealed: then it is no settings
        return
    with pytest.raises((Altered, Misconfigured)):
        secrets.open(place, changed)


def test_a_sealed_end_that_is_cut_off_is_noticed() -> None:
    secrets, place = Secrets([new_key()]), ("table", "row")
    sealed = secrets.seal(place, b"secret")
    for length in range(8, len(sealed)):
        with pytest.raises(Altered):
            secrets.open(place, sealed[:length])


def test_the_first_key_seals_and_every_key_opens() -> None:
    old, new = new_key(), new_key()
    sealed = Secrets([old]).seal(("t", "r"), b"secret")
    both = Secrets([new, old])
    assert both.open(("t", "r"), sealed) == b"secret"
    assert sealed_by(both.seal(("t", "r"), b"secret")) == new.id
    with pytest.raises(Misconfigured, match=old.id):
        Secrets([new]).open(("t", "r"), sealed)


def test_a_key_is_read_as_it_is_printed_and_shown_to_nobody() -> None:
    one, other = new_key(), new_key()
    assert [key.id for key in parse_keys(f"{one.text}, {other.text},{one.text}")] == [one.id, other.id]
    assert one.text not in repr(one) + repr([one]) + str(one)
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize(
    "text", ["", " , ", "mpk_", "mpk_short", "secret", "mpk_" + "A" * 44, "mpk_" + "é" * 43]
)
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        parse_keys(text, "the setting")
    assert "the setting" in str(refused.value)
    assert len(text) < 6 or text not in str(refused.value)


@pytest.mark.parametrize(
    ("clear", "secret"),
    [
        (b"", False),
        (b"{}", False),
        (PLAIN, False),
        (b'{"url":"https://x.example","signature":"amazon"}', False),
        (b'{"bus":"b","region":"us-east-1","source":"s"}', False),
        (SETTINGS, True),
        (b'{"headers":[{"key":"a","value":"b"}]}', True),
        (b'{"signature":{"standardWebhooks":{"secrets":[]}}}', True),
        (b'{"auth":{"basicAuthConfig":null,"oAuthConfig":{"x":1}}}', True),
        (b'{"auth":"word"}', True),
        (b"no json", True),
        (b"[1]", True),
    ],
)
def test_which_settings_hold_a_secret(clear: bytes, secret: bool) -> None:
    assert has_secrets(clear) is secret


# ── The key file ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_file_is_its_owners_alone_and_never_made_twice(path: Path) -> None:
    file = key_path(path)
    key = make_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.id for one in read_keys(file)] == [key.id]
    with pytest.raises(StoreUnavailable):
        make_file(file)
    assert [one.id for one in read_keys(file)] == [key.id]
    newer = new_key()
    put_first(file, newer)
    assert [one.id for one in read_keys(file)] == [newer.id, key.id]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [file]


def test_a_key_file_of_no_key_is_refused(path: Path) -> None:
    key_path(path).write_text("# nothing\n")
    with pytest.raises(Misconfigured, match="holds no key"):
        read_keys(key_path(path))
    key_path(path).write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="it is no text"):
        read_keys(key_path(path))


async def test_the_key_is_made_when_the_first_secret_is_kept(store: Store, path: Path) -> None:
    assert not key_path(path).exists()
    await store.read(lambda tx: tx.attempts.destinations("", 10))
    assert not key_path(path).exists()
    await store.write(put)
    assert await store.read(settings) == SETTINGS
    made = key_path(path).read_bytes()
    await store.write(put)
    assert key_path(path).read_bytes() == made


# ── A database ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_byte_of_a_secret_is_in_the_files(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(put)
    await store.write(lambda tx: tx.attempts.put_destination(replace(SUBSCRIBER, name="changed")))
    assert await store.read(settings) == SETTINGS
    (profile,) = (await store.read(lambda tx: tx.views.find("authProfile", "p", None)),)
    assert [view.document for view in profile] == [PROFILE.document]
    assert canaries_in(*files_of(path)) == []
    await store.close()
    assert canaries_in(*files_of(path)) == []
    assert await kept(url) == SETTINGS


async def test_what_lay_in_clear_is_sealed_at_the_start_and_leaves_no_trace(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(put)
    await store.write(
        lambda tx: [tx.attempts.put_destination(replace(SUBSCRIBER, id=f"s{n}")) for n in range(90)]
    )
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("UPDATE destinations SET settings = ?", (SETTINGS,))
        connection.commit()
        # What a longer row left behind, and a table that was dropped: pages that nobody reads any more.
        connection.execute(
            "UPDATE destinations SET settings = ? WHERE id > 's5'", (SETTINGS[:40] + b"x" * 900,)
        )
        connection.execute("CREATE TABLE once AS SELECT * FROM destinations")
        connection.execute("UPDATE once SET settings = ?", (SETTINGS,))
        connection.commit()
        connection.execute("DROP TABLE once")
        connection.execute("UPDATE destinations SET settings = ?", (SETTINGS,))
        connection.commit()
    in_clear(path)
    assert canaries_in(path)
    assert (await kept(url)) == SETTINGS
    assert canaries_in(*files_of(path)) == []
    assert inspect(url).problems == ()
    seen = inspect(url).secrets
    assert seen is not None
    assert (seen.clear, seen.exposed, seen.altered, seen.missing) == (0, 0, (), ())
    assert seen.sealed == {seen.keys[0]: 92}


async def test_the_setting_seals_and_the_file_still_opens(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(put)
    await store.close()
    key = new_key()
    assert await kept(url, key.text) == SETTINGS
    assert list(key_sources(url, key.text)) == [key.id, read_keys(key_path(path))[0].id]
    store = await open_store(url, encryption_key=key.text)
    await store.write(put)
    await store.close()
    with pytest.raises(Misconfigured, match=key.id):
        await open_store(url)
    key_path(path).unlink()
    assert await kept(url, key.text) == SETTINGS


async def test_a_key_file_that_others_can_read_is_told(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(put)
    await store.close()
    assert inspect(url).open_key_file is None
    key_path(path).chmod(0o640)
    assert inspect(url).open_key_file == key_path(path)


@pytest.mark.parametrize("given", [None, new_key().text], ids=["no key", "another key"])
async def test_without_its_key_nothing_starts(url: str, path: Path, given: str | None) -> None:
    store = await open_store(url)
    await store.write(put)
    await store.close()
    wanted = read_keys(key_path(path))[0].id
    key_path(path).rename(path.parent / "elsewhere")
    with pytest.raises(Misconfigured, match=wanted):
        await open_store(url, encryption_key=given)
    # Neither was a new key made in its place, nor the lock kept.
    assert not key_path(path).exists()
    seen = inspect(url, encryption_key=given).secrets
    assert seen is not None
    assert seen.missing == (wanted,)
    with pytest.raises(Misconfigured, match=wanted):
        rotate_keys(url, given)
    copy = await open_store(url, sealed=True)
    assert await copy.read(lambda tx: tx.journal.last_position()) == 0
    await copy.close()
    reading = await open_store(url, encryption_key=given, read_only=True)
    with pytest.raises(Misconfigured, match=wanted):
        await reading.read(settings)
    await reading.close()


async def test_a_secret_that_was_moved_or_altered_stops_its_own_subscriber_only(url: str, path: Path) -> None:
    other = replace(SUBSCRIBER, id="sub-2", settings=SETTINGS.replace(b"shop", b"them"))
    store = await open_store(url)
    await store.write(lambda tx: [tx.attempts.put_destination(one) for one in (SUBSCRIBER, other)])
    await store.close()
    run_sql(path, "UPDATE destinations SET settings = (SELECT settings FROM destinations WHERE id = 'sub-2')")
    store = await open_store(url)
    found = {one.id: one for one in await store.read(lambda tx: tx.attempts.destinations("", 10))}
    assert found["sub-2"].settings == other.settings
    assert b"secrets" not in found["sub-1"].settings
    await store.close()
    seen = inspect(url).secrets
    assert seen is not None
    assert seen.altered == ("destinations sub-1",)


async def test_the_way_out_when_a_key_is_lost_is_the_documents(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(lambda tx: tx.attempts.put_destination(SUBSCRIBER))
    await store.close()
    key_path(path).unlink()
    with pytest.raises(Misconfigured, match="there is none"):
        await open_store(url)
    page = (Path(__file__).parents[3] / "docs" / "secrets.md").read_text()
    (statement,) = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    run_sql(path, statement)
    store = await open_store(url)
    found = await store.read(lambda tx: tx.attempts.destination(SUBSCRIBER.id))
    assert found is not None
    assert (found.enabled, found.reason) == (False, "the key of its secrets was lost")
    assert msgspec.json.decode(found.settings, type=WebhookSettings).url == ""
    await store.close()


# ── Rotation ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_secret_is_sealed_anew_by_a_new_key_in_the_file(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.write(put)
    with pytest.raises(StoreLocked):
        await asyncio.to_thread(rotate_keys, url, None, new=True)
    await store.close()
    (before,) = read_keys(key_path(path))
    told: list[tuple[int, int]] = []
    done = await asyncio.to_thread(rotate_keys, url, None, new=True, progress=lambda *at: told.append(at))
    first, second = read_keys(key_path(path))
    assert (done.changed, second.id) == (2, before.id)
    assert done.after.sealed == {first.id: 2}
    assert told == [(1, 2), (2, 2)]
    assert rotate_keys(url, None).changed == 0
    assert await kept(url) == SETTINGS


async def test_every_secret_is_sealed_anew_by_the_first_key_of_the_setting(url: str) -> None:
    old, new = new_key(), new_key()
    store = await open_store(url, encryption_key=old.text)
    await store.write(put)
    await store.close()
    both = f"{new.text},{old.text}"
    with pytest.raises(Misconfigured, match="MILEPOST_ENCRYPTION_KEY"):
        rotate_keys(url, both, new=True)
    assert rotate_keys(url, both).after.sealed == {new.id: 2}
    assert await kept(url, new.text) == SETTINGS
    with pytest.raises(Misconfigured, match=new.id):
        await open_store(url, encryption_key=old.text)


# ── PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_on_postgresql_a_secret_needs_a_key(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    await store.write(lambda tx: tx.attempts.put_destination(replace(SUBSCRIBER, settings=PLAIN)))
    with pytest.raises(Conflict, match="MILEPOST_ENCRYPTION_KEY"):
        await store.write(put)
    assert await store.read(settings) == PLAIN
    await store.close()


async def test_on_postgresql_secrets_are_sealed_rotated_and_refused(postgres_url: str) -> None:
    old, new = new_key(), new_key()
    store = await open_store(postgres_url, encryption_key=old.text)
    await store.write(put)
    assert await dumped(store, CANARIES) == []
    # A hub serves meanwhile; it was given both keys before.
    serving = await open_store(postgres_url, encryption_key=f"{old.text},{new.text}")
    done = await asyncio.to_thread(rotate_keys, postgres_url, f"{new.text},{old.text}")
    assert done.after.sealed == {new.id: 2}
    assert await serving.read(settings) == SETTINGS
    with pytest.raises(Misconfigured, match=new.id):
        await store.read(settings)
    await serving.close()
    await store.close()
    with pytest.raises(Misconfigured, match=new.id):
        await open_store(postgres_url, encryption_key=old.text)
    with pytest.raises(Misconfigured, match="there is no key"):
        await asyncio.to_thread(rotate_keys, postgres_url, None)
    assert await kept(postgres_url, new.text) == SETTINGS


async def test_on_postgresql_what_lies_in_clear_is_told_and_sealed_with_the_first_key(
    postgres_url: str,
) -> None:
    key = new_key()
    store = await open_store(postgres_url, encryption_key=key.text)
    await store.write(put)
    await store.write(in_clear_there)
    assert len(await dumped(store, CANARIES)) == 3
    await store.close()
    assert await kept(postgres_url) == SETTINGS
    seen = await asyncio.to_thread(inspect, postgres_url)
    assert seen.secrets is not None
    assert (seen.secrets.clear, seen.secrets.exposed) == (1, 1)
    store = await open_store(postgres_url, encryption_key=key.text)
    assert await store.read(settings) == SETTINGS
    assert await dumped(store, CANARIES) == []
    await store.close()


def in_clear_there(tx: Transaction) -> None:
    tx.connection.exec_driver_sql("UPDATE destinations SET settings = $1", (SETTINGS,))  # type: ignore[attr-defined]
    tx.connection.exec_driver_sql("DELETE FROM views")  # type: ignore[attr-defined]


async def dumped(store: Store, canaries: tuple[bytes, ...]) -> list[str]:
    """Which canaries a dump of every row of every table would show."""

    def look(tx: Transaction) -> list[str]:
        connection = tx.connection  # type: ignore[attr-defined]
        tables = connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        ).scalars()
        text = b""
        for table in list(tables):
            for row in connection.exec_driver_sql(f'SELECT * FROM "{table}"').all():
                text += b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
        return [canary.decode() for canary in canaries if canary in text]

    return await store.read(look)
