"""Bringing a database's schema up to date with Alembic: each step in `versions` once, in its own transaction.

`newest` is kept here as a constant so that opening a database that is up to date does not load Alembic; a test
holds it against the steps there are.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect

from milepost.domain.errors import Misconfigured

if TYPE_CHECKING:
    from alembic.config import Config

_NEWEST = "0003"


def newest() -> str:
    """The version this Milepost works with."""
    return _NEWEST


def version(engine: Engine) -> str | None:
    """The version a database has; None when it has no Milepost schema."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def ensure(engine: Engine, path: Path, *, migrate: bool) -> None:
    """Migrate the database if it is older, or raise `Misconfigured`: it is newer, foreign, or may not be touched."""
    found = version(engine)
    if found == _NEWEST:
        return
    if found is None:
        with engine.connect() as connection:
            if set(inspect(connection).get_table_names()) - {"alembic_version"}:
                raise Misconfigured(f"{path} is a database of another program")
    elif found not in steps():
        raise Misconfigured(
            f"{path} was written by a newer Milepost (schema {found}, this one knows {_NEWEST}); upgrade Milepost"
        )
    if not migrate:
        raise Misconfigured(f"{path} has schema {found or 'none'}, not {_NEWEST}; run `milepost migrate`")
    upgrade(engine)


def upgrade(engine: Engine, to: str = "head") -> None:
    """Run the steps that are missing, the last of all or up to one."""
    from alembic import command

    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def steps() -> list[str]:
    """Every version there is a step to, oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
