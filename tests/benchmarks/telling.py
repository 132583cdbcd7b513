"""Telling subscribers, by a real hub: a crowd of them, and one among many that never answers.

- **crowd**: 10,000 subscribers and one event. How much the hub's memory grows until the last of them has it, beside
  the same hub before the event, when it had sent another to a hundred; how many have not got it.
- **neighbours**: a hundred subscribers and an event every tenth of a second, with all of them well, then with one
  that never answers. How long the others waited, from the event's post to its arrival, in interleaved rounds.

How fast a hub publishes is `publishing`'s.
"""

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import psutil
import uvloop
from tests.benchmarks.publishing import body, mock_receiver
from tests.benchmarks.report import Row, Table
from tests.benchmarks.servers import Server, hub

from milepost.domain.attempt import Destination
from milepost.domain.webhook_settings import StandardSignature, StandardWebhooks, WebhookSettings
from milepost.sql import open_store

CROWD = 10_000
FIRST = 100
TYPE = "PACKAGE_DELIVERED"
FIRST_TYPE = "PACKAGE_DELIVERY_IN_TRANSIT"
NEIGHBOURS = 100
EVENTS = 30
PAUSE_S = 0.1
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
DEADLINE_S = 120


class Crowd(NamedTuple):
    """What one event for everybody cost."""

    seconds: float
    grown: float
    lost: int


def run(rounds: int) -> Table:
    """Both workloads, the second one in `rounds` interleaved rounds."""
    table = Table(
        f"Telling subscribers, HMAC-signed ({rounds} interleaved rounds, medians)",
        ("workload", "messages", "messages/s", "p50 ms", "p99 ms", "memory", "lost"),
    )
    with mock_receiver() as receiver:
        url = f"http://127.0.0.1:{receiver.port}"
        crowd = _crowd(url)
        row = ("10,000 subscribers × 1 event", CROWD, f"{CROWD / crowd.seconds:,.0f}", "", "")
        table.rows.append(Row(*row, f"{100 * (crowd.grown - 1):+.0f} %", crowd.lost))
        waits: dict[str, list[list[float]]] = {"all well": [], "one never answers": []}
        lost = 0
        for _ in range(rounds):
            for name, rounds_waits in waits.items():
                latencies, missing = _neighbours(url, silent="never" in name)
                rounds_waits.append(latencies)
                lost += missing
    for name, rounds_waits in waits.items():
        p50 = statistics.median(_quantile(one, 0.5) for one in rounds_waits)
        p99 = statistics.median(_quantile(one, 0.99) for one in rounds_waits)
        messages = sum(map(len, rounds_waits))
        table.rows.append(Row(f"100 subscribers, {name}", messages, "", f"{p50:.1f}", f"{p99:.1f}", "", lost))
    both = zip(waits["one never answers"], waits["all well"], strict=True)
    ratio = statistics.median(_quantile(ill, 0.99) / _quantile(well, 0.99) for ill, well in both)
    table.bars.append(("memory grown by one event for 10,000 subscribers", crowd.grown, "<=", 1.2))
    table.bars.append(("p99 of the others beside one that never answers, times", ratio, "<=", 2.0))
    table.bars.append(("messages that never came", float(lost + crowd.lost), "<=", 0.0))
    return table


def _crowd(url: str) -> Crowd:
    with ExitStack() as stack:
        others = [f"{url}/first/{n}" for n in range(FIRST)]
        server = _hub(stack, [f"{url}/crowd/{n}" for n in range(CROWD)], others)
        process = psutil.Process(server.process.pid)
        # Without a first event for a few others, what is counted is what sending anything at all loads and opens.
        _post(server, -1, FIRST_TYPE)
        _received(url, FIRST, within_s=DEADLINE_S)
        before = peak = process.memory_info().rss
        started = time.perf_counter()
        _post(server, 0)
        came = 0
        while came < CROWD and time.perf_counter() - started < DEADLINE_S:
            time.sleep(0.1)
            came += len(_log(url))
            peak = max(peak, process.memory_info().rss)
        return Crowd(time.perf_counter() - started, peak / before, CROWD - came)


def _neighbours(url: str, *, silent: bool) -> tuple[list[float], int]:
    """How long each message took (milliseconds), and how many never came, without the one that may be silent."""
    first = f"{url}/hang/0" if silent else f"{url}/well/0"
    with ExitStack() as stack:
        server = _hub(stack, [first, *(f"{url}/others/{n}" for n in range(1, NEIGHBOURS))])
        posted: dict[int, int] = {}
        for number in range(EVENTS):
            began = time.time_ns()
            posted[_post(server, number)] = began
            time.sleep(max(0.0, PAUSE_S - (time.time_ns() - began) / 1e9))
        wanted = EVENTS * (NEIGHBOURS - 1)
        came = [line for line in _received(url, wanted, within_s=DEADLINE_S) if line[0].startswith("/others")]
        waits = [(at - posted[int(name.partition("-")[0])]) / 1e6 for _, name, at in came]
        return waits, max(0, wanted - len({name for _, name, _ in came}))


def _hub(stack: ExitStack, urls: list[str], others: list[str] | None = None) -> Server:
    """A hub that has these subscribers from the beginning, and `others` that want only the first event."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="milepost-bench-")))
    wanted = [(url, TYPE) for url in urls] + [(url, FIRST_TYPE) for url in others or ()]
    uvloop.run(_subscribed(folder / "hub.db", wanted))
    allow = {"MILEPOST_EGRESS_ALLOW": "127.0.0.0/8"}
    return stack.enter_context(
        hub(folder / "hub", consumers=True, database=folder / "hub.db", settings=allow)
    )


async def _subscribed(path: Path, wanted: list[tuple[str, str]]) -> None:
    store = await open_store(f"sqlite:///{path}")
    signature = StandardSignature(StandardWebhooks((SECRET,)))
    subscribers = [
        Destination(
            f"sub_{number:05}",
            "webhook",
            msgspec.json.encode(WebhookSettings(url, signature=signature)),
            (event_type,),
            endpoint=url,
            form="amazon",
        )
        for number, (url, event_type) in enumerate(wanted)
    ]
    try:
        for start in range(0, len(subscribers), 1_000):
            some = subscribers[start : start + 1_000]
            await store.write(lambda tx, some=some: [tx.attempts.put_destination(one) for one in some])  # type: ignore[misc]
    finally:
        await store.close()


def _post(server: Server, number: int, type: str = TYPE) -> int:
    """Post an event as Amazon does; its position."""
    document = msgspec.json.decode(body(number))
    document["eventDescriptor"] = type
    url = f"http://127.0.0.1:{server.port}/webhooks/buy-with-prime"
    answer = httpx.post(url, json=document, auth=("bench", "bench"))
    answer.raise_for_status()
    position: int = answer.json()["position"]
    return position


def _received(url: str, count: int, within_s: float) -> list[tuple[str, str, int]]:
    """What the receiver acknowledged, once that is so much, or when time is up."""
    found: list[tuple[str, str, int]] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and (not count or len(found) < count):
        found += _log(url)
        time.sleep(0.05)
    return found


def _log(url: str) -> list[tuple[str, str, int]]:
    lines = (line.split(" ") for line in httpx.get(f"{url}/log").text.splitlines())
    return [(path, name, int(at)) for path, name, at in lines]


def _quantile(values: list[float], share: float) -> float:
    listed = sorted(values)
    return listed[min(len(listed) - 1, int(len(listed) * share))]
