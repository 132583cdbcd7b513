"""`milepost bench`: load on a running hub, from outside, and an account of every event afterwards.

It posts thin events with fresh ids over keep-alive connections, then reads the hub's own counts: events that
were acknowledged and are not in the journal are the losses, and the number that matters. How Milepost compares
with its floor and its peers is `make bench`'s.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import base64
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct
from rich.table import Table

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.domain.envelope import Event, format_webhook
from milepost.domain.instant import Instant, format_instant
from milepost.domain.resource import parse_resource

if TYPE_CHECKING:
    import aiohttp

    from milepost.config import Config


class Outcome(Struct):
    """What the load saw."""

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    latencies_ms: list[float] = []
    seconds: float = 0.0


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost bench --events 20000 --connections 64")(bench)


def bench(
    events: Annotated[int, typer.Option("--events", min=1, max=1_000_000, help="How many to post.")] = 5_000,
    connections: Annotated[int, typer.Option("--connections", min=1, max=512, help="At a time.")] = 64,
    url: Annotated[str | None, typer.Option("--url", help="The hub (MILEPOST_URL).")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", help="MILEPOST_API_KEY.")] = None,
    business_product: Annotated[str, typer.Option("--business-product", help="Whose events.")] = "bp-bench",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Post events to a running hub and account for every one of them."""
    from milepost.config import Config

    config = Config.load()
    hub = HubClient(url, api_key)
    before = _stored(hub)
    outcome = asyncio.run(_load(hub.url, config, events, connections, business_product))
    lost = outcome.acknowledged - (_stored(hub) - before)
    report = _report(outcome, max(lost, 0))
    if json:
        print_json(report)
    else:
        table = Table(*report.keys(), box=None, pad_edge=False)
        table.add_row(*(str(value) for value in report.values()))
        console.print(table)
    if lost > 0:
        fail(f"{lost} acknowledged events are not in the journal")
    if outcome.refused:
        fail(f"{outcome.refused} of {outcome.sent} were refused; see the hub's log")


def _stored(hub: HubClient) -> int:
    """Event records in the journal, from the hub's own metrics."""
    name = "milepost_events_total "
    values = [line for line in hub.text("/metrics").splitlines() if line.startswith(name)]
    return int(float(values[0].removeprefix(name)))


def _report(outcome: Outcome, lost: int) -> dict[str, Any]:
    ordered = sorted(outcome.latencies_ms)

    def percentile(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0

    return {
        "sent": outcome.sent,
        "acknowledged": outcome.acknowledged,
        "lost": lost,
        "refused": outcome.refused,
        "events/s": round(outcome.acknowledged / outcome.seconds) if outcome.seconds else 0,
        "p50 ms": percentile(0.50),
        "p99 ms": percentile(0.99),
    }


async def _load(url: str, config: "Config", events: int, connections: int, business_product: str) -> Outcome:
    import aiohttp

    headers = {"content-type": "application/json"}
    if config.webhook_username is not None and config.webhook_password is not None:
        pair = f"{config.webhook_username}:{config.webhook_password.get_secret_value()}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    outcome = Outcome()
    bodies = iter([_body(business_product) for _ in range(events)])
    started = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        address = f"{url}/webhooks/buy-with-prime"
        await asyncio.gather(*(_post_all(session, address, bodies, outcome) for _ in range(connections)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def _post_all(session: "aiohttp.ClientSession", url: str, bodies: Any, outcome: Outcome) -> None:
    import aiohttp

    for body in bodies:
        started = time.perf_counter()
        outcome.sent += 1
        try:
            async with session.post(url, data=body) as response:
                await response.read()
                good = response.status == 200
        except aiohttp.ClientError:
            good = False
        if good:
            outcome.acknowledged += 1
            outcome.latencies_ms.append((time.perf_counter() - started) * 1000)
        else:
            outcome.refused += 1


def _body(business_product: str) -> bytes:
    published_at = Instant(time.time_ns() // 1_000_000)
    resource = f"businessProduct/{business_product}/order/{uuid.uuid4()}/delivery/{uuid.uuid4()}"
    event = Event(
        idempotency_key=str(uuid.uuid4()),
        descriptor="PACKAGE_DELIVERY_IN_TRANSIT",
        type="PACKAGE_DELIVERY_IN_TRANSIT",
        resources=(parse_resource(resource),),
        event_id=str(uuid.uuid4()),
        api_version="2024-11-01",
        subscription_id="milepost-bench",
        event_time=format_instant(published_at),
        published_at=published_at,
    )
    return format_webhook(event)
