"""Commands that open the database themselves: migrate and rebuild. A SQLite file must not be in use by a hub then;
on PostgreSQL migrating goes on beside hubs that serve, and rebuilding needs that no hub makes the views.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from milepost.cli.client import console, errors, fail, print_json
from milepost.domain.errors import LeaseLost, StoreLocked

if TYPE_CHECKING:
    from milepost.config import Config
    from milepost.pipeline.lease import LeaseHolder
    from milepost.pipeline.rebuild import Difference

Database = Annotated[
    str | None, typer.Option("--database", help="Database URL (MILEPOST_DATABASE_URL).", metavar="URL")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost migrate --database sqlite:///milepost.db")(migrate)
    app.command("rebuild", epilog="Example: milepost rebuild --verify")(rebuild_views)


def migrate(database: Database = None, json: Json = False) -> None:
    """Bring the database's schema up to date. `serve` does it on start; this does only that.

    On PostgreSQL hubs may go on serving meanwhile: a step waits for a table no longer than 0.2 s at a time.
    """
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.config import Config

    config = Config.load(database_url=database)
    start_logging("info")
    before = sql.schema_version(config.database_url)
    sql.migrate(config.database_url)
    after = sql.schema_version(config.database_url)
    shown = sql.shown(config.database_url)
    if json:
        print_json({"database": shown, "before": before, "after": after})
    elif before == after:
        console.print(f"{shown} is up to date (schema {after})", markup=False)
    else:
        console.print(f"{shown} migrated from {before or 'nothing'} to {after}", markup=False)


def rebuild_views(
    check: Annotated[
        bool, typer.Option("--verify", help="Rebuild a temporary copy and compare; changes nothing.")
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Remake every view from the journal. With --verify: beside serving hubs, on a copy, changing nothing.

    Without it no hub may make views meanwhile: a SQLite file must not be in use; on PostgreSQL hubs that serve with
    --ingest-only go on acknowledging. The copy is a SQLite file in TMPDIR, as large as the database.
    """
    from milepost.config import Config

    config = Config.load(database_url=database)
    if check:
        differences, position = asyncio.run(_verify(config))
        if json:
            rows = [{"onlyIn": d.only_in, "row": list(d.row)} for d in differences[:100]]
            print_json({"position": position, "equal": not differences, "differences": rows})
        elif not differences:
            console.print(f"[green]equal[/]: views and rebuild agree byte for byte at position {position}")
        else:
            for difference in differences[:20]:
                console.print(f"only {difference.only_in}: {' '.join(difference.row[:4])}", markup=False)
        if differences:
            fail(f"{len(differences)} rows differ at position {position}")
        return
    started = time.monotonic()
    position = asyncio.run(_rebuild(config))
    seconds = time.monotonic() - started
    if json:
        print_json({"position": position, "seconds": round(seconds, 3)})
    else:
        console.print(f"rebuilt up to position {position} in {seconds:.1f} s")


async def _rebuild(config: "Config") -> int:
    """Under every lease a hub may have: sweeping, too, would go by views that are half made."""
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.hub import LEASES, calm_collector, now, party_of, projector_handler
    from milepost.pipeline.lease import Fenced, LeaseHolder
    from milepost.pipeline.projector import NAME
    from milepost.pipeline.rebuild import rebuild

    start_logging("warning")
    calm_collector()

    store = await sql.open_store(
        config.database_url, clock=now, owner="milepost rebuild", encryption_key=config.encryption_keys
    )
    party = party_of(config, "milepost rebuild")
    holders = {name: LeaseHolder(store, name, party, now) for name in LEASES}
    fenced = Fenced(store, holders[NAME])
    try:
        total = await store.read(lambda tx: tx.journal.last_position())
        with progress() as bar:
            task = bar.add_task("rebuild", total=total)
            async with AsyncExitStack() as leases:
                for holder in holders.values():
                    await _lead(leases, holder)
                return await rebuild(
                    fenced,
                    projector_handler(config, fenced, now),
                    now,
                    progress=lambda position: bar.update(task, completed=position),
                )
    finally:
        await store.close()


async def _lead(leases: AsyncExitStack, holder: "LeaseHolder") -> None:
    """Be who does this piece of work, until the stack ends."""
    try:
        await leases.enter_async_context(holder.leading())
    except LeaseLost as e:
        raise StoreLocked(
            f"{holder.leader or 'another hub'} does the work of the {holder.name}: stop every hub on this database"
            " first, or let it serve with --ingest-only; what one that died had is free after MILEPOST_LEASE_S"
        ) from e


async def _verify(config: "Config") -> "tuple[list[Difference], int]":
    from milepost import sql

    with tempfile.TemporaryDirectory(prefix="milepost-verify-") as folder:
        url = f"sqlite:///{Path(folder) / 'copy.db'}"
        await asyncio.to_thread(sql.copy_database, config.database_url, url)
        return await verify_copy(config, url)


async def verify_copy(config: "Config", url: str) -> "tuple[list[Difference], int]":
    """Where the views of a copy differ from a rebuild of it, and at which position. The copy is used up."""
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.hub import calm_collector, now, projector_handler
    from milepost.pipeline.projector import NAME
    from milepost.pipeline.rebuild import verify

    start_logging("warning")
    calm_collector()
    copy = await sql.open_store(url, clock=now, owner="milepost rebuild --verify", sealed=True)
    try:
        position = await copy.read(lambda tx: tx.journal.checkpoint(NAME))
        with progress() as bar:
            task = bar.add_task("verify", total=position)
            handler = projector_handler(config, copy, now)
            differences = await verify(copy, handler, now, progress=lambda at: bar.update(task, completed=at))
        return differences, position
    finally:
        await copy.close()


def progress() -> Progress:
    """How far a command is, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )
