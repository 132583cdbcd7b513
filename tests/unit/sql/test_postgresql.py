"""What is PostgreSQL's own: its addresses, and what its failures mean."""

import socket
from typing import Literal

import asyncpg
import pytest

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.sql.postgresql import address_of, connect, sqlstate, trouble_of


def test_addresses() -> None:
    for url in (
        "postgresql://a:s%40crt@h:1/db",
        "postgres://a:s%40crt@h:1/db",
        "postgresql+asyncpg://a:s%40crt@h:1/db",
    ):
        address = address_of(url)
        assert address.dsn == "postgresql://a:s%40crt@h:1/db"
        assert address.url.drivername == "postgresql+asyncpg"
        assert address.url.password == "s@crt"
        assert address.shown == "postgresql://a:***@h:1/db"
    shown = address_of("postgresql:///db?host=/tmp/x&password=secret").shown
    assert shown == "postgresql:///db?host=%2Ftmp%2Fx"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///milepost.db", "a PostgreSQL URL looks like"),
        ("postgresql+psycopg://me:secret@host/db", "a PostgreSQL URL looks like"),
        ("postgresql://me:secret@host:port/db", "no database URL"),
        ("postgresql://me:secret@host:99999/db", "is no port"),
        ("postgresql://me:secret@host/", "name the database"),
        ("milepost", "no database URL"),
        ("", "no database URL"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        address_of(url)
    assert "secret" not in str(caught.value)


def test_the_server_shows_whose_connections_they_are() -> None:
    address = address_of("postgresql://a:secret@h/db").named("milepost serve " + "x" * 80)
    assert address.dsn == "postgresql://a:secret@h/db?application_name=milepost+serve+" + "x" * 48
    given = address_of("postgresql://h/db?application_name=mine")
    assert given.named("milepost serve") == given


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("57P01", "lost", "shutting down"),
        ("08006", "lost", "connection was lost"),
        ("25006", "lost", "read-only"),
        ("53300", "lost", "no connection left"),
        ("40001", "again", "in each other's way"),
        ("40P01", "again", "in each other's way"),
        ("53100", "refused", "disk is full"),
        ("55P03", "refused", "locked by another process"),
        ("XX001", "refused", "damaged"),
    ],
)
def test_failures_of_the_database(code: str, kind: Literal["lost", "again", "refused"], says: str) -> None:
    error = asyncpg.PostgresError.new({"C": code, "M": "the server's words", "S": "ERROR"})
    assert sqlstate(error) == code
    trouble = trouble_of(error)
    assert trouble is not None
    assert trouble.kind == kind
    assert isinstance(trouble.failure, StoreUnavailable)
    assert says in trouble.failure.detail
    assert trouble.failure.context == {}, "callers are not shown the server's words"


@pytest.mark.parametrize("code", ["22P02", "23505", "42P01", "54000"])
def test_failures_of_whoever_asked(code: str) -> None:
    assert trouble_of(asyncpg.PostgresError.new({"C": code, "M": "no", "S": "ERROR"})) is None


def test_a_closed_connection_is_a_lost_one_for_the_database_only() -> None:
    assert trouble_of(ConnectionResetError()) is None
    lost = trouble_of(ConnectionResetError(), closed=True)
    assert lost is not None
    assert lost.kind == "lost"
    assert trouble_of(KeyError("of the caller"), closed=True) is None


async def test_a_server_that_vanishes_is_noticed(postgres_url: str) -> None:
    connection = await connect(address_of(postgres_url))
    try:
        used = connection._transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
    finally:
        await connection.close()
