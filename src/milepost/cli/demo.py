"""The demo: hub and sandbox in one process, a seeded world played fast, and an account of what happened.

Some events are sent twice and some out of order, on purpose. It looks at both stores directly, as tests do; what
a user would look at is printed at the end. Run again on the same folder, it goes on where it was.
"""

import asyncio
import os
import secrets
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec import Struct
from pydantic import SecretStr
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import DEFAULT_SANDBOX_URL, DEFAULT_URL, console, errors, fail, print_json
from milepost.cli.looks import state
from milepost.config import Config
from milepost.domain.errors import MilepostError
from milepost.domain.instant import DAY, Instant, format_instant
from milepost.domain.tracking_token import Link, make_token
from milepost.hub import Hub, now
from milepost.pipeline.projector import NAME
from milepost.sandbox.program import Sandbox, SandboxConfig
from milepost.store import Counts, View
from milepost.transports.egress import LOOPBACK

WORLD_DAYS = 14
"""Nearly every order's life is over in so many days."""
AT_MOST_S = 115.0
HOST = "127.0.0.1"
GOOD_FOR = 30 * DAY
"""How long a link to a shopper's page is good."""
WORD = "sandbox"
"""User name, password, client id and secret of everything in the demo."""


class Look(Struct):
    """How things stand, from one read of each store."""

    counts: Counts
    states: dict[str, int]
    orders: list[View]
    asks: dict[str, int]
    messages: dict[str, int]
    steps_left: int
    world_time: Instant
    is_hurrying: bool
    """Once the world runs at the real pace, nobody waits for what is still planned."""

    @property
    def finished(self) -> bool:
        waiting = self.counts.pending + self.asks.get("open", 0) + self.messages.get("pending", 0)
        is_over = self.steps_left == 0 or not self.is_hurrying
        return is_over and waiting == 0 and self.counts.events > 0


async def play(
    stop: asyncio.Event,
    *,
    orders: int,
    seed: int,
    port: int,
    sandbox_port: int,
    folder: str,
    seconds: float,
    stay: bool,
    json: bool,
) -> bool:
    """Start both, play until the world is through (or two minutes), tell; then stay up if asked.

    Port 0 takes a free one. Returns whether everything was played, published, asked and folded. Raises what
    opening either raises."""
    await asyncio.to_thread(Path(folder).mkdir, parents=True, exist_ok=True)
    port, sandbox_port = _chosen(port, sandbox_port)
    hub = Hub(_hub_config(port, sandbox_port, folder))
    world = Sandbox(_sandbox_config(port, sandbox_port, folder, seed, orders, WORLD_DAYS * 86_400 / seconds))
    await hub.open()
    try:
        await world.open()
        try:
            return await _play(stop, hub, world, stay=stay, json=json)
        finally:
            await world.close()
    finally:
        await hub.close()


def link_secret(folder: str) -> dict[str, SecretStr]:
    """What signs links to shoppers' pages, for `Config.load`: the environment's, else one that is kept in the folder,
    so that a link is good as long as what it leads to."""
    if "MILEPOST_TRACKING_SECRET" in os.environ:
        return {}
    path = Path(folder) / "tracking.secret"
    with suppress(FileExistsError), open(path, "x", opener=_for_its_owner) as file:
        file.write(secrets.token_urlsafe(32))
    return {"tracking_secret": SecretStr(path.read_text())}


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _chosen(*ports: int) -> list[int]:
    """The ports, with a free one in place of each 0: hub and sandbox are told of each other before either
    listens, so a port cannot be left for the server to choose."""
    with ExitStack() as held:
        chosen = []
        for port in ports:
            if port:
                chosen.append(port)
                continue
            # Held until all are chosen, so that no two are the same.
            free = held.enter_context(socket.socket())
            free.bind((HOST, 0))
            chosen.append(free.getsockname()[1])
        return chosen


def _hub_config(port: int, sandbox_port: int, folder: str) -> Config:
    return Config.load(
        database_url=f"sqlite:///{Path(folder) / 'hub.db'}",
        host=HOST,
        port=port,
        webhook_username=WORD,
        webhook_password=SecretStr(WORD),
        # Reads need no key from this machine; a key that is set still works.
        insecure=True,
        bwp_api_url=f"http://{HOST}:{sandbox_port}",
        bwp_client_id=WORD,
        bwp_client_secret=SecretStr(WORD),
        bwp_target_id=WORD,
        queries_per_minute=6_000,
        sweep_interval_s=5.0,
        # What subscribes to a demo runs beside it.
        egress_allow=LOOPBACK,
        **link_secret(folder),
    )


def _sandbox_config(
    port: int, sandbox_port: int, folder: str, seed: int, orders: int, speed: float
) -> SandboxConfig:
    return SandboxConfig(
        host=HOST,
        port=sandbox_port,
        database_url=f"sqlite:///{Path(folder) / 'sandbox.db'}",
        seed=seed,
        speed=speed,
        orders=orders,
        hub_url=f"http://{HOST}:{port}/webhooks/buy-with-prime",
        username=WORD,
        password=WORD,
        duplicate_rate=0.2,
        shuffle_rate=0.2,
    )


async def _play(stop: asyncio.Event, hub: Hub, world: Sandbox, *, stay: bool, json: bool) -> bool:
    halt, listening = asyncio.Event(), asyncio.Semaphore(0)
    running = [
        asyncio.create_task(hub.run(halt, lambda port: listening.release())),
        asyncio.create_task(world.run(halt, lambda port: listening.release())),
    ]
    try:
        await _both_listen(running, listening)
        look = await _watch(stop, hub, world, quiet=json)
        if json:
            print_json(_account(look))
        else:
            _tell(look, hub, world)
        if stay and not stop.is_set():
            console.print("\nStaying up. Ctrl-C ends it; what was played is kept.")
            await stop.wait()
        return look.finished or stop.is_set()
    finally:
        halt.set()
        await asyncio.gather(*running, return_exceptions=True)


async def _both_listen(running: list[asyncio.Task[None]], listening: asyncio.Semaphore) -> None:
    for _ in running:
        ready = asyncio.create_task(listening.acquire())
        done, _ = await asyncio.wait([ready, *running], return_when=asyncio.FIRST_COMPLETED)
        if ready not in done:
            ready.cancel()
            error = next(iter(done)).exception()
            if isinstance(error, MilepostError):
                raise error
            fail(f"could not start: {error}. Is the port taken? --port and --sandbox-port choose others.")


async def _watch(stop: asyncio.Event, hub: Hub, world: Sandbox, *, quiet: bool) -> Look:
    look = await _look(hub, world)
    try:
        async with asyncio.timeout(AT_MOST_S):
            with Live(_table(look), console=errors, refresh_per_second=4, transient=True) as live:
                while not look.finished and not stop.is_set():
                    await hub.store.changed(look.counts.last_position, 0.5)
                    look = await _look(hub, world)
                    if not quiet:
                        live.update(_table(look))
    except TimeoutError:
        errors.print("[yellow]two minutes are over and not everything is through; it goes on behind[/]")
    return look


async def _look(hub: Hub, world: Sandbox) -> Look:
    counts, asks, orders = await hub.store.read(
        lambda tx: (tx.journal.counts(NAME), tx.work.count(), tx.views.page("order", None, 500, None))
    )
    messages = await world.store.read(lambda tx: tx.attempts.count())
    worlds = await world.keeper.page(None, 500)
    views = [view for _, view in orders]
    states: dict[str, int] = {}
    for view in views:
        states[view.state] = states.get(view.state, 0) + 1
    left = sum(len(one.plan) + len(one.outbox) for _, one in worlds)
    return Look(counts, states, views, asks, messages, left, world.clock.now(), world.clock.pace > 1)


def _table(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    states = "  ".join(f"{state(name)} {count}" for name, count in sorted(look.states.items()))
    table.add_row("the world's time", f"{format_instant(look.world_time)[:16].replace('T', ' ')} UTC")
    table.add_row("still to happen", f"{look.steps_left} steps")
    table.add_row(
        "arrived",
        f"{look.counts.arrivals} ({look.counts.events} events, {look.counts.duplicates} duplicates)",
    )
    table.add_row("asked and kept", f"{look.counts.records - look.counts.events} records")
    table.add_row("orders", states or "…")
    return table


def _account(look: Look) -> dict[str, object]:
    return {
        "finished": look.finished,
        "arrivals": look.counts.arrivals,
        "events": look.counts.events,
        "duplicates": look.counts.duplicates,
        "records": look.counts.records,
        "pending": look.counts.pending,
        "failedFolds": look.counts.failed_folds,
        "messages": look.messages,
        "orders": look.states,
    }


def _tell(look: Look, hub: Hub, world: Sandbox) -> None:
    console.print(_table(look))
    hub_url, sandbox_url = f"http://{HOST}:{hub.port}", f"http://{HOST}:{world.port}"
    order = _telling(look.orders)
    console.print("\n[bold]What happened[/]")
    console.print(
        f"  {look.counts.arrivals} arrivals were {look.counts.events} events: {look.counts.duplicates} came twice,"
        " some overtook others, and no state depends on that."
    )
    for view in look.orders[:12]:
        mark = " [dim]← look at this one[/]" if order is not None and view.id == order.id else ""
        console.print(f"  {escape(view.id)}  {state(view.state)}{mark}")
    console.print("\n[bold]Where to look[/]")
    console.print('  export PATH="$PWD/.venv/bin:$PATH"', markup=False)
    if hub_url != DEFAULT_URL:
        console.print(f"  export MILEPOST_URL={hub_url}", markup=False)
    if sandbox_url != DEFAULT_SANDBOX_URL:
        console.print(f"  export MILEPOST_SANDBOX_URL={sandbox_url}", markup=False)
    if order is not None:
        console.print(f"  {hub_url}/orders/{order.id}   in the console", markup=False, soft_wrap=True)
        if page := _page(hub, order):
            console.print(f"  {hub_url}{page}   as its shopper sees it", markup=False, soft_wrap=True)
        console.print(f"  milepost orders {order.id}", markup=False)
        console.print(f"  milepost explain {order.id}", markup=False)
        console.print(f"  curl -s {hub_url}/v1/orders/{order.id}/timeline", markup=False, soft_wrap=True)
    console.print("  milepost tail --no-follow", markup=False)
    console.print("  milepost trigger PACKAGE_DELIVERED", markup=False)
    console.print(f"\n  hub      {hub_url}   (the console; webhooks: user {WORD}, password {WORD})")
    console.print(f"  sandbox  {sandbox_url}   (a page to look at; client id, secret and target id: {WORD})")


def _page(hub: Hub, order: View) -> str:
    """Where the shopper's page of an order is; empty where links are not signed."""
    signing = hub.config.tracking_secrets
    if not signing:
        return ""
    return f"/track/{make_token(signing[0], Link(order.business_product_id, order.id, Instant(now() + GOOD_FOR)))}"


def _telling(orders: list[View]) -> View | None:
    """The order most worth a look: the one with most in its document."""
    return max(orders, key=lambda view: len(view.document), default=None)
