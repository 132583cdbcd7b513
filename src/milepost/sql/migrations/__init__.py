"""Bringing a database's schema up to date with Alembic: each step in `versions` once, in its own transaction.

`newest` is kept here as a constant so that opening a database that is up to date does not load Alembic; a test
holds it against the steps there are. What a step may do while hubs serve is in docs/postgresql.md.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from milepost.domain.errors import Misconfigured

if TYPE_CHECKING:
    from alembic.config import Config

_NEWEST = "0013"
_HERE = Path(__file__).parent
_FOLDERS: tuple[Path, ...] = (_HERE / "versions",)
_ONE = threading.Lock()
"""Alembic keeps what it is doing in globals: one database at a time."""


def newest() -> str:
    """The version this Milepost works with."""
    return _NEWEST


def version(connection: Connection) -> str | None:
    """The version a database has; None when it has no Milepost schema."""
    with connection.begin():
        if "alembic_version" not in _tables(connection):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def ensure(connection: Connection, where: str, *, migrate: bool) -> None:
    """Migrate the database if it is older, or raise `Misconfigured`: it is newer, foreign, or may not be touched.

    `where` names it in errors. The connection has no transaction begun."""
    found = known_version(connection, where)
    if found == _NEWEST:
        return
    if not migrate:
        raise Misconfigured(f"{where} has schema {found or 'none'}, not {_NEWEST}; run `milepost migrate`")
    upgrade(connection)


def known_version(connection: Connection, where: str) -> str | None:
    """The version a database has, one that there is a step to; None for one that has nothing in it. Raises
    `Misconfigured` for a newer or a foreign one."""
    found = version(connection)
    if found == _NEWEST or found in steps():
        return found
    with connection.begin():
        tables = _tables(connection)
    if found is not None and "checkpoints" in tables:
        raise Misconfigured(
            f"{where} was written by a newer Milepost (schema {found}, this one knows {_NEWEST});"
            " upgrade Milepost"
        )
    if found is not None or tables - {"alembic_version"}:
        raise Misconfigured(f"{where} is a database of another program")
    return None


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the steps that are missing, the last of all or up to one. The connection has no transaction begun."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    with _ONE:
        command.upgrade(config, to)


def steps() -> list[str]:
    """Every version there is a step to, oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _tables(connection: Connection) -> set[str]:
    """Of the schema that new tables would go to, and no other that the search path may name too."""
    return set(inspect(connection).get_table_names(connection.dialect.default_schema_name))


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    for name, value in (
        ("script_location", str(_HERE)),
        ("version_locations", "\n".join(str(folder) for folder in _FOLDERS)),
        ("path_separator", "newline"),
    ):
        config.set_main_option(name, value.replace("%", "%%"))
    return config
