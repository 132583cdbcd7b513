"""`milepost demo --size N`: a hub's database with months of N deliveries, made by the sandbox's world.

What is made is `sandbox.histories`', how it gets into the database `sandbox.loading`'s; here it is opened, watched
and, if asked, served. The hub that serves it has no sandbox beside it: nothing new comes.
"""

import asyncio
import time
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from milepost import sql
from milepost.cli.client import console, errors, print_json
from milepost.cli.demo import HOST, link_secret
from milepost.config import Config, policy_of
from milepost.domain.instant import DAY, HOUR, Instant
from milepost.hub import Hub, calm_collector, now, projector_handler
from milepost.sandbox.histories import History
from milepost.sandbox.loading import Loaded, Loader
from milepost.store import Store

FIRST_DAY = "volume.until"
"""Where a load that was begun says up to when it goes."""


async def load(
    stop: asyncio.Event,
    *,
    size: int,
    seed: int,
    days: int,
    until: Instant | None,
    database: str | None,
    folder: str,
    port: int,
    workers: int,
    stay: bool,
    json: bool,
) -> bool:
    """Load a history of `size` deliveries up to `until` (None: the last full hour, or where it was begun before),
    tell, and serve it if asked. Returns whether it is whole. Raises what opening the database raises, and
    `Conflict` for one that holds anything else."""
    config = await asyncio.to_thread(_config, database, folder, port)
    store = await sql.open_store(
        config.database_url, clock=now, owner="milepost demo", encryption_key=config.encryption_keys
    )
    try:
        end = until or Instant(await _begun(store) or now() // HOUR * HOUR)
        history = History(seed, size, end, days)
        started = time.monotonic()
        loaded = await _watched(stop, store, config, history, workers, quiet=json)
        if loaded is None:
            errors.print("[yellow]interrupted[/]: the same command goes on where it was")
            return stay and stop.is_set()
        await _tell(store, config, history, loaded, time.monotonic() - started, json=json)
    finally:
        await store.close()
    if stay and not stop.is_set():
        await _serve(stop, config)
    return True


def _config(database: str | None, folder: str, port: int) -> Config:
    Path(folder).mkdir(parents=True, exist_ok=True)
    if database is None:
        database = f"sqlite:///{Path(folder) / 'hub.db'}"
    # Reads need no key from this machine; a key that is set still works.
    return Config.load(database_url=database, host=HOST, port=port, insecure=True, **link_secret(folder))


async def _begun(store: Store) -> int:
    return await store.read(lambda tx: tx.journal.checkpoint(FIRST_DAY))


async def _watched(
    stop: asyncio.Event, store: Store, config: Config, history: History, workers: int, *, quiet: bool
) -> Loaded | None:
    """Load with a bar on standard error; None when it was stopped before the end."""
    calm_collector()
    loader = Loader(
        store,
        history,
        lambda clock: projector_handler(config, store, clock),
        policy_of(config),
        workers=workers,
    )
    columns = (
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} deliveries"),
        BarColumn(),
        TextColumn("{task.fields[folded]:,} records, {task.fields[rate]:,.0f} a second"),
        TimeRemainingColumn(),
    )
    last = Loaded(0, history.chunks, 0, 0)
    with Progress(*columns, console=errors, disable=quiet, transient=True) as progress:
        task = progress.add_task("", total=history.deliveries, folded=0, rate=0.0)
        started = time.monotonic()

        def show(loaded: Loaded) -> None:
            nonlocal last
            last = loaded
            _show(progress, task, history, loaded, time.monotonic() - started)

        return last if await loader.load(stop, show) else None


def _show(progress: Progress, task: TaskID, history: History, loaded: Loaded, seconds: float) -> None:
    rate = loaded.folded / seconds if seconds > 0 else 0.0
    done = history.deliveries * loaded.chunks / loaded.of
    progress.update(task, completed=done, folded=loaded.folded, rate=rate)


async def _tell(
    store: Store, config: Config, history: History, loaded: Loaded, seconds: float, *, json: bool
) -> None:
    position = await store.read(lambda tx: tx.journal.last_position())
    size = await store.size()
    rate = loaded.folded / seconds if seconds > 0 else 0.0
    shown = sql.shown(config.database_url)
    if json:
        print_json(
            {
                "database": shown,
                "deliveries": history.deliveries,
                "records": position,
                "until": history.until,
                "seconds": round(seconds, 1),
                "recordsPerSecond": round(rate),
                "bytes": size,
            }
        )
        return
    first = Instant(history.until - history.days * DAY)
    console.print(f"{history.deliveries:,} deliveries ordered since {_day(first)} in {shown}", markup=False)
    console.print(f"  {position:,} records, {loaded.folded:,} of them now, {rate:,.0f} a second")
    if size:
        console.print(f"  {size / 2**20:,.0f} MB")


def _day(at: Instant) -> str:
    return time.strftime("%d %B %Y", time.gmtime(at / 1000))


async def _serve(stop: asyncio.Event, config: Config) -> None:
    hub = Hub(config)
    await hub.open()
    try:
        await hub.run(stop, lambda port: console.print(f"\n  hub      http://{HOST}:{port}   Ctrl-C ends it"))
    finally:
        await hub.close()
