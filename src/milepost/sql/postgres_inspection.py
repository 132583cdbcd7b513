"""Looking at a PostgreSQL database for `doctor`: what the server says of itself, and whether the books agree."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import Connection

from milepost.sql import migrations
from milepost.sql.append import Row
from milepost.sql.inspection import Inspection, Server, with_books
from milepost.sql.postgres_database import check_server, run
from milepost.sql.postgresql import address_of
from milepost.sql.secrets import Key, Secrets

# As a hub's own connections have it, which set what they can.
_SERVER = (
    "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('fsync'),"
    " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int,"
    " pg_database_size(current_database())"
)
# An index that CREATE INDEX CONCURRENTLY could not finish is kept up to date and never used.
_INVALID = (
    "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
    " WHERE relnamespace = current_schema()::regnamespace AND NOT indisvalid ORDER BY 1"
)
_UNLOGGED = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
    " AND relpersistence <> 'p' ORDER BY 1"
)
_ENDS = "SELECT (SELECT position FROM journal_end), (SELECT coalesce(max(position), 0) FROM records)"


def inspect(url: str, projector: str, *, check: bool, keys: Sequence[Key]) -> Inspection:
    """`check` compares the end of the journal with its last record, and looks for what a server lost or left."""
    where = address_of(url)

    def look(connection: Connection) -> Inspection:
        check_server(connection, where, read_only=True)
        newest, version = migrations.newest(), migrations.version(connection)
        with connection.begin():
            server, size = _server(connection)
            seen = Inspection(where.shown, True, version, newest, size=size, server=server)
            if version != newest:
                return seen
            seen = with_books(seen, connection, _insert_nothing, Secrets(keys), projector)
            return replace(seen, problems=_problems(connection)) if check else seen

    return run(where, look)


def _server(connection: Connection) -> tuple[Server, int]:
    """The server, and the size of the database."""
    version, standby, fsync, pages, commit, used, usable, size = connection.exec_driver_sql(_SERVER).one()
    unsafe = [
        f"{name} = {value}"
        for name, value in (("fsync", fsync), ("full_page_writes", pages), ("synchronous_commit", commit))
        if value == "off"
    ]
    return Server(version, standby, tuple(unsafe), used, usable), size


def _problems(connection: Connection) -> tuple[str, ...]:
    invalid = connection.exec_driver_sql(_INVALID).scalars().all()
    unlogged = connection.exec_driver_sql(_UNLOGGED).scalars().all()
    end, last = connection.exec_driver_sql(_ENDS).one()
    found = [f"the index {name} was never finished" for name in invalid]
    found += [f"the table {name} would be empty after a crash" for name in unlogged]
    if end != last:
        found.append(f"the journal's end is at {end}, its last record at {last}")
    return tuple(found)


def _insert_nothing(connection: Connection, rows: Sequence[Row]) -> list[int | None]:
    """Looking inserts nothing."""
    return [None] * len(rows)
