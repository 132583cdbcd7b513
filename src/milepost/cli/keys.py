"""`milepost keys`: the keys that seal secrets at rest: making one, sealing all anew by it, how it stands.

It opens the database itself. A SQLite file must not be in use for `rotate`; `status` reads beside a serving hub.
What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from milepost.cli.client import console, fail, print_json
from milepost.cli.database import Database, Json, progress

if TYPE_CHECKING:
    from milepost.sql import Standing

keys_app = typer.Typer(
    no_args_is_help=True, help="Make, rotate and look at the keys that seal secrets at rest."
)


def register(app: typer.Typer) -> None:
    keys_app.command(epilog="Example: milepost keys new")(new)
    keys_app.command(epilog="Example: milepost keys rotate --new")(rotate)
    keys_app.command(epilog="Example: milepost keys status --json")(status)
    app.add_typer(keys_app, name="keys")


def new(json: Json = False) -> None:
    """Print a new key, for MILEPOST_ENCRYPTION_KEY. It is nowhere else: who loses it loses what it seals."""
    from milepost import sql

    key = sql.new_key()
    if json:
        print_json({"id": key.id, "key": key.text})
    else:
        print(key.text)


def rotate(
    new: Annotated[
        bool,
        typer.Option("--new", help="By a new key, which is put first in the key file beside the database."),
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Seal every secret anew, by the first key. Interrupted, it is run again; what was sealed before still opens.

    A SQLite file must not be in use. On PostgreSQL hubs go on serving, once each of them has the new key.
    """
    from milepost import sql
    from milepost.config import Config

    config = Config.load(database_url=database)
    with progress() as bar:
        task = bar.add_task("rotate", total=None)
        done = sql.rotate_keys(
            config.database_url,
            config.encryption_keys,
            new=new,
            progress=lambda at, of: bar.update(task, completed=at, total=of),
        )
    if json:
        print_json({"changed": done.changed, **_document(done.after, {})})
    else:
        first = done.after.keys[0] if done.after.keys else "no key"
        console.print(f"{done.changed} rows sealed anew; {done.after.sealed.get(first, 0)} are by {first}")
    _refuse(done.after)


def status(database: Database = None, json: Json = False) -> None:
    """Show which keys there are, what each of them sealed, and what lies in clear. Reads beside a serving hub."""
    from milepost import sql
    from milepost.config import Config

    config = Config.load(database_url=database)
    sources = sql.key_sources(config.database_url, config.encryption_keys)
    seen = sql.inspect(config.database_url, check=False, encryption_key=config.encryption_keys)
    if seen.secrets is None:
        fail(f"{seen.shown} has no schema of this version yet; `milepost migrate`")
    if json:
        print_json(_document(seen.secrets, sources))
    else:
        _tell(seen.secrets, sources)
    _refuse(seen.secrets)


def _document(standing: "Standing", sources: dict[str, str]) -> dict[str, object]:
    return {
        "keys": [
            {
                "id": key,
                "there": key in standing.keys,
                "from": sources.get(key),
                "rows": standing.sealed.get(key, 0),
            }
            for key in dict.fromkeys((*standing.keys, *standing.missing))
        ],
        "clear": standing.clear,
        "exposed": standing.exposed,
        "altered": list(standing.altered),
    }


def _tell(standing: "Standing", sources: dict[str, str]) -> None:
    if not standing.keys and not standing.sealed:
        console.print("there is no key, and nothing is sealed")
    for number, key in enumerate(standing.keys):
        what = "seals" if number == 0 else "opens"
        rows = standing.sealed.get(key, 0)
        console.print(f"{key}  {what}, {rows} rows are by it  ({sources.get(key, '')})", markup=False)
    if standing.clear:
        console.print(f"in clear: {standing.clear} rows, {standing.exposed} of them with a secret")


def _refuse(standing: "Standing") -> None:
    """End with 1 when something is not as it should be."""
    wrong = [f"key {one} is missing: {standing.sealed[one]} rows are by it" for one in standing.missing]
    wrong += [f"{row} was altered, and cannot be read" for row in standing.altered]
    if standing.exposed:
        wrong.append(f"{standing.exposed} rows with a secret are in clear: set MILEPOST_ENCRYPTION_KEY")
    if wrong:
        fail("; ".join(wrong))
