"""Publishing from a durable store to a mock receiver in another process: the engine beside its floor.

The floor is a bare loop of the same client with the same bodies: no store, no claim, no record, no signature.
Everything else is the publisher as it runs: events are appended, become messages, are claimed, signed, sent and
recorded, and the clock stops when the last outcome is committed. Rounds are interleaved; ratios are within one.

Latency is that of an idle publisher: one event at a time, from its append to the moment the receiver has it.
Lost: messages marked delivered that the receiver's log does not have, and events that came to no end.
"""

import asyncio
import gc
import os
import secrets
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import structlog
import uvloop
from tests.benchmarks.report import Row, Table
from tests.benchmarks.servers import Server, free_port, running

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.publisher import Parcel, Publisher
from milepost.sandbox.clock import WorldClock, real_now
from milepost.sql import open_store
from milepost.store import Arrival, Store
from milepost.transports.egress import LOOPBACK
from milepost.transports.request_signature import AmazonSigner
from milepost.transports.webhook_sender import (
    StandardSignature,
    StandardWebhooks,
    WebhookSender,
    WebhookSettings,
)

ENDPOINTS = 8
CONCURRENCY = 8
BATCH = 50
BODY_BYTES = 1_500
SINGLES = 50
"""Events of a round that find the publisher idle."""

NO, HMAC, ES384 = "unsigned", "Standard Webhooks, HMAC", "Amazon's, ES384"


@dataclass
class Rounds:
    """What one way of sending did, a value a round; latencies of all rounds together."""

    rate: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    idle_ms: list[float] = field(default_factory=list)
    lost: int = 0


def run(rounds: int, seconds: float) -> Table:
    """Every way of sending in turn, `rounds` times, about `seconds` each at the wanted rate."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    attempts = max(ENDPOINTS * BATCH, round(1_500 * seconds))
    results = {name: Rounds() for name in ("bare client", NO, HMAC, ES384)}
    with mock_receiver() as server:
        url = f"http://127.0.0.1:{server.port}"
        for number in range(rounds + 1):
            for name, result in results.items():
                # The first round warms up.
                kept = result if number else Rounds()
                if name == "bare client":
                    uvloop.run(_bare(url, attempts, kept))
                else:
                    uvloop.run(_published(url, attempts, name, kept))
                gc.collect()
    return _table(results, rounds, attempts)


@contextmanager
def mock_receiver() -> Iterator[Server]:
    """The receiver as a process."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.mock_receiver", str(port)]
    with (
        tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder,
        running(command, {}, port, Path(folder) / "log") as process,
    ):
        yield Server("mock receiver", port, process)


def body(number: int) -> bytes:
    event = {
        "idempotencyKey": f"key-{number}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/bp-1/order/o-{number}/delivery/d-{number}"],
        "eventId": f"event-{number}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "s",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
    }
    event["data"] = {"order": "x" * (BODY_BYTES - len(msgspec.json.encode(event)))}
    return msgspec.json.encode(event)


def _settings(url: str, signed: str) -> WebhookSettings:
    if signed == HMAC:
        secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
        return WebhookSettings(url, signature=StandardSignature(StandardWebhooks((secret,))))
    return WebhookSettings(url, signature="amazon" if signed == ES384 else None)


async def _timed(result: Rounds, attempts: int, work: Callable[[], Awaitable[None]]) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    await work()
    result.rate.append(attempts / (time.perf_counter() - started))
    result.cpu_us.append((time.process_time() - cpu) / attempts * 1e6)


async def _bare(url: str, attempts: int, result: Rounds) -> None:
    """The floor: the sender alone."""
    async with WebhookSender(real_now, allow=LOOPBACK) as sender:
        payload = body(1)

        async def post(number: int) -> None:
            at = number % ENDPOINTS
            settings = msgspec.json.encode(WebhookSettings(f"{url}/bare/{at}"))
            message = Message(f"m-{number}", "d", 1, "pending", 0, Instant(0))
            (outcome,) = await sender.send(Destination("d", "webhook", settings), [Parcel(message, payload)])
            assert outcome.status == 200, outcome

        numbers = iter(range(attempts))

        async def worker() -> None:
            for number in numbers:
                await post(number)

        async def all_of_them() -> None:
            await asyncio.gather(*(worker() for _ in range(ENDPOINTS * CONCURRENCY)))

        await _timed(result, attempts, all_of_them)
        await received_log(url)
        for number in range(SINGLES):
            began = time.time_ns()
            await post(number)
            ((_, _, came),) = await received_log(url)
            result.idle_ms.append((came - began) / 1e6)


async def _published(url: str, attempts: int, signed: str, result: Rounds) -> None:
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
        store = await open_store(f"sqlite:///{folder}/bench.db")
        signer = AmazonSigner() if signed == ES384 else None
        async with WebhookSender(real_now, allow=LOOPBACK, signer=signer) as sender:
            publisher = Publisher(
                store,
                {"webhook": sender},
                real_now,
                wait=WorldClock().wait,
                random=lambda: 0.5,
                concurrency=CONCURRENCY,
            )
            for n in range(ENDPOINTS):
                target = _settings(f"{url}/{n}", signed)
                settings = msgspec.json.encode(target)
                made = Destination(f"d{n}", "webhook", settings, endpoint=target.url)
                await store.write(lambda tx, d=made: tx.attempts.put_destination(d))  # type: ignore[misc]
            stop = asyncio.Event()
            consumer = Consumer(store, "publisher", publisher.prepare, real_now)
            tasks = [asyncio.create_task(part.run(stop)) for part in (consumer, publisher)]
            await _load(store, url, attempts, result)
            await _singles(store, url, attempts, result)
            stop.set()
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


async def _load(store: Store, url: str, attempts: int, result: Rounds) -> None:
    events = [body(n) for n in range(attempts // ENDPOINTS)]

    async def publish() -> None:
        for start in range(0, len(events), BATCH):
            await store.append(
                [Arrival(parse_event(b), b, real_now(), "bench") for b in events[start : start + BATCH]]
            )
        await _all_delivered(store, len(events) * ENDPOINTS)

    await _timed(result, len(events) * ENDPOINTS, publish)
    came = Counter(path for path, _, _ in await received_log(url))
    result.lost += sum(max(0, len(events) - came[f"/{n}"]) for n in range(ENDPOINTS))


async def _singles(store: Store, url: str, attempts: int, result: Rounds) -> None:
    """One event at a time: when the first of its messages reached the receiver, and when the last."""
    for n in range(1, ENDPOINTS):
        await store.write(lambda tx, i=f"d{n}": tx.attempts.remove_destination(i))  # type: ignore[misc]
    done = attempts // ENDPOINTS * ENDPOINTS
    for number in range(SINGLES):
        payload = body(10**6 + number)
        began = time.time_ns()
        await store.append([Arrival(parse_event(payload), payload, real_now(), "bench")])
        await _all_delivered(store, done + number + 1)
        entries = await received_log(url)
        if not entries:
            result.lost += 1
            continue
        result.idle_ms.append((entries[0][2] - began) / 1e6)


async def _all_delivered(store: Store, count: int) -> None:
    async with asyncio.timeout(120):
        while (await store.read(lambda tx: tx.attempts.count())).get("delivered", 0) < count:
            await asyncio.sleep(0.01)


async def received_log(url: str) -> list[tuple[str, str, int]]:
    """(path, message id, nanoseconds) of what the receiver acknowledged since it was last asked."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/log")).text
    return [(path, name, int(at)) for path, name, at in (line.split(" ") for line in text.splitlines())]


def _table(results: dict[str, Rounds], rounds: int, attempts: int) -> Table:
    median = statistics.median
    floor = results["bare client"]
    table = Table(
        f"Publishing {attempts:,} webhooks to {ENDPOINTS} endpoints of a receiver in another process"
        f" ({rounds} interleaved rounds, medians; {os.cpu_count()} CPUs)",
        (
            "sender",
            "attempts/s",
            "of the bare client",
            "CPU µs/attempt",
            "idle p50 ms",
            "idle p99 ms",
            "lost",
        ),
    )
    for name, result in results.items():
        ratio = median(a / b for a, b in zip(result.rate, floor.rate, strict=True))
        idle = sorted(result.idle_ms)
        p50, p99 = idle[len(idle) // 2], idle[len(idle) * 99 // 100]
        table.rows.append(
            Row(
                name if name == "bare client" else f"Milepost, {name}",
                f"{median(result.rate):,.0f}",
                f"{ratio:.3f}",
                f"{median(result.cpu_us):.0f}",
                f"{p50:.2f}",
                f"{p99:.2f}",
                result.lost if result is not floor else "",
            )
        )
        if name == HMAC:
            table.bars.append(("attempts/s signed with HMAC", median(result.rate), ">=", 1_500.0))
            table.bars.append(("event to first attempt when idle, p99 ms", p99, "<=", 100.0))
    table.bars.append(("published events lost", float(sum(r.lost for r in results.values())), "<=", 0.0))
    return table
