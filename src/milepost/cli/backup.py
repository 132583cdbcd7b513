"""`milepost backup` and `milepost restore`: a SQLite database into one file while a hub serves, and back.

Both open the files themselves and need no hub. PostgreSQL's own tools do this for PostgreSQL (docs/backup.md). What a
command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from milepost.cli.client import console, errors, fail, print_json
from milepost.cli.database import Database, Json, progress, verify_copy

if TYPE_CHECKING:
    from milepost.config import Config
    from milepost.sql import Backup

MIB = 1024 * 1024

File = Annotated[Path, typer.Argument(help="The backup: one file.", metavar="FILE")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost backup milepost-2026-11-26.backup")(backup)
    app.command(epilog="Example: milepost restore milepost-2026-11-26.backup --yes")(restore)


def backup(
    file: File,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Rebuild the copy's views too, and compare them.")
    ] = True,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.1, help="Most megabytes a second (50).", metavar="MB")
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Copy the database into one new file, as it is at one position, while a hub serves.

    The file has its name once it is on disk, whole and found sound. Keys that seal secrets are not in it.
    """
    from milepost import sql
    from milepost.config import Config

    config = Config.load(database_url=database)
    compared: dict[str, int] = {}

    def check(copy: Path, made: "Backup") -> None:
        if verify and made.schema_version == sql.newest_schema():
            compared["differences"] = _differences(config, copy)

    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("backup, MiB", total=None)
        made = sql.back_up(
            config.database_url,
            file,
            rate=rate or sql.RATE,
            verify=check,
            progress=lambda done, of: bar.update(task, completed=done // MIB, total=of // MIB),
        )
    seconds = round(time.monotonic() - started, 3)
    differences = compared.get("differences")
    if json:
        print_json({**_document(file, made), "seconds": seconds, "differences": differences})
    else:
        _tell(file, made)
        console.print(f"{_verified(verify, differences)}; {seconds:.1f} s", soft_wrap=True)
        _warn(made)
    if differences:
        fail(
            f"{differences} rows of its views differ from a rebuild: the journal is whole, `milepost rebuild`"
        )


def restore(
    file: File,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Put it in the place of a database that is there; that is kept beside."),
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Put a backup in the place of the database. No hub may have it; an older version's backup is migrated.

    What was acknowledged after the backup is not in it. Nothing is touched before all of the file was read.
    """
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.config import Config

    config = Config.load(database_url=database)
    start_logging("warning")
    with progress() as bar:
        task = bar.add_task("restore, MiB", total=None)
        done = sql.restore(
            config.database_url,
            file,
            config.encryption_keys,
            replace=yes,
            progress=lambda at, of: bar.update(task, completed=at // MIB, total=of // MIB),
        )
    kept = None if done.kept is None else str(done.kept)
    if json:
        found = _document(file, done.backup)
        print_json(
            {**found, "kept": kept, "migratedTo": done.schema_version, "missingKeys": list(done.missing)}
        )
    else:
        _tell(file, done.backup)
        console.print(
            f"restored, schema {done.schema_version}" + (f"; what was there: {kept}" if kept else "")
        )
    if done.missing:
        fail(
            f"key {', '.join(done.missing)} is not here, and a hub will not start without it: put it in"
            " MILEPOST_ENCRYPTION_KEY, or its key file beside the database"
        )


def _differences(config: "Config", file: Path) -> int:
    """How many rows of the views a rebuild makes otherwise; of a copy, since that is used up."""
    with tempfile.TemporaryDirectory(prefix="milepost-verify-") as folder:
        copy = Path(folder) / "copy.db"
        shutil.copyfile(file, copy)
        differences, _ = asyncio.run(verify_copy(config, f"sqlite:///{copy}"))
    return len(differences)


def _verified(wanted: bool, differences: int | None) -> str:
    if differences is None:
        return "sound; not rebuilt: " + ("an older version's" if wanted else "--no-verify")
    return "sound; its views and a rebuild differ" if differences else "sound; its views equal a rebuild"


def _document(file: Path, made: "Backup") -> dict[str, object]:
    return {
        "file": str(file),
        "position": made.position,
        "records": made.records,
        "bytes": made.size,
        "sha256": made.sha256,
        "schema": made.schema_version,
        "keys": list(made.keys),
    }


def _tell(file: Path, made: "Backup") -> None:
    console.print(f"{file}: {made.records} records up to position {made.position}", markup=False)
    console.print(f"{made.size / MIB:,.1f} MiB, schema {made.schema_version}, sha256 {made.sha256}")


def _warn(made: "Backup") -> None:
    if made.keys:
        errors.print(
            f"[bold yellow]The keys are not in it.[/] Its secrets are sealed by key {', '.join(made.keys)}:"
            " without it a hub will not start on this backup. Keep MILEPOST_ENCRYPTION_KEY, or the .key file beside"
            " the database, at another place than the backups (docs/backup.md).",
            soft_wrap=True,
        )
