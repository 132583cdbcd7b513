"""Commands that open the database themselves: migrate and rebuild, which take its writer lock.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from milepost.cli.client import console, errors, fail, print_json

if TYPE_CHECKING:
    from milepost.config import Config
    from milepost.pipeline.rebuild import Difference

Database = Annotated[
    str | None, typer.Option("--database", help="Database URL (MILEPOST_DATABASE_URL).", metavar="URL")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost migrate --database sqlite:///milepost.db")(migrate)
    app.command("rebuild", epilog="Example: milepost rebuild --verify")(rebuild_views)


def migrate(database: Database = None, json: Json = False) -> None:
    """Bring the database's schema up to date. `serve` does it on start; this does only that."""
    from milepost import sql
    from milepost.config import Config

    config = Config.load(database_url=database)
    before = sql.schema_version(config.database_url)
    sql.migrate(config.database_url)
    after = sql.schema_version(config.database_url)
    if json:
        print_json({"database": config.database_url, "before": before, "after": after})
    elif before == after:
        console.print(f"{config.database_url} is up to date (schema {after})")
    else:
        console.print(f"{config.database_url} migrated from {before or 'nothing'} to {after}")


def rebuild_views(
    check: Annotated[
        bool, typer.Option("--verify", help="Rebuild a temporary copy and compare; changes nothing.")
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Remake every view from the journal. With --verify: beside a serving hub, on a copy."""
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
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.hub import calm_collector, now, projector_handler
    from milepost.pipeline.rebuild import rebuild

    start_logging("warning")
    calm_collector()

    store = await sql.open_store(config.database_url, clock=now, owner="milepost rebuild")
    try:
        total = await store.read(lambda tx: tx.journal.last_position())
        with _progress() as bar:
            task = bar.add_task("rebuild", total=total)
            return await rebuild(
                store,
                projector_handler(config, store, now),
                now,
                progress=lambda position: bar.update(task, completed=position),
            )
    finally:
        await store.close()


async def _verify(config: "Config") -> "tuple[list[Difference], int]":
    from milepost import sql
    from milepost.cli.serve import start_logging
    from milepost.hub import calm_collector, now, projector_handler
    from milepost.pipeline.projector import NAME
    from milepost.pipeline.rebuild import verify

    start_logging("warning")
    calm_collector()

    with tempfile.TemporaryDirectory(prefix="milepost-verify-") as folder:
        url = f"sqlite:///{Path(folder) / 'copy.db'}"
        await asyncio.to_thread(sql.copy_database, config.database_url, url)
        copy = await sql.open_store(url, clock=now, owner="milepost rebuild --verify")
        try:
            position = await copy.read(lambda tx: tx.journal.checkpoint(NAME))
            with _progress() as bar:
                task = bar.add_task("verify", total=position)
                handler = projector_handler(config, copy, now)
                differences = await verify(
                    copy, handler, now, progress=lambda at: bar.update(task, completed=at)
                )
            return differences, position
        finally:
            await copy.close()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )
