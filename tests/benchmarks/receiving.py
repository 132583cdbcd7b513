"""Receiving from SQS: `milepost receive` beside a bare aiobotocore receive-and-delete loop, on one fake queue.

What is compared is the time from the first receive to the last delete, as the queue sees it, in interleaved rounds
with the same number of pollers. Lost: messages that left the queue and are not in the journal.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from tests.benchmarks.report import Row, Table

ROOT = Path(__file__).parent.parent.parent
MESSAGES = 10_000
POLLERS = 4
QUEUE = "events"


def document(number: str) -> str:
    """An event as a rule of EventBridge puts it into a queue."""
    resources = [f"businessProduct/bp-bench/order/order-{number}/delivery/delivery-{number}"]
    detail = {
        "idempotencyKey": f"key-{number}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": resources,
        "eventId": f"event-{number}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "sub-bench",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
    }
    envelope = {
        "version": "0",
        "id": f"event-{number}",
        "detail-type": "PACKAGE_DELIVERED",
        "source": "aws.partner/buywithprime/bench",
        "account": "123456789012",
        "time": "2025-01-20T12:34:56Z",
        "region": "us-east-1",
        "resources": resources,
        "detail": detail,
    }
    return json.dumps(envelope)


@contextmanager
def queue_server(folder: Path) -> Iterator[str]:
    """The fake SQS as a process; its address."""
    command = [sys.executable, "-m", "tests.sqs_fake"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split()[-1].decode()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def run(rounds: int) -> Table:
    """Empty a queue in turn with the bare loop and with Milepost."""
    rates: dict[str, list[float]] = {"bare aiobotocore loop": [], "milepost receive": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    memory = dict.fromkeys(rates, 0.0)
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as temporary:
        folder = Path(temporary)
        with queue_server(folder) as server:
            url = f"{server}/123456789012/{QUEUE}"
            bare = [sys.executable, "-m", "tests.benchmarks.bare_sqs", url, str(POLLERS), str(MESSAGES)]
            ours = [sys.executable, "-m", "milepost.cli.main", "receive", "--queue", url, "--once"]
            for number in range(rounds):
                for name, command in zip(rates, (bare, ours), strict=True):
                    _fill(server, f"{number}-{name.split()[0]}")
                    used, peak = _empty(command, server, folder)
                    seconds = _progress(server)["seconds"]
                    rates[name].append(MESSAGES / seconds)
                    cpu[name].append(used / MESSAGES * 1e6)
                    memory[name] = max(memory[name], peak)
            lost = _lost(folder, rounds)
    table = Table(
        f"Receiving from SQS, {POLLERS} pollers, {MESSAGES:,} messages ({rounds} interleaved rounds, medians)",
        ("receiver", "messages/s", "min", "max", "of the bare loop", "CPU µs/message", "MB", "lost"),
    )
    floor = rates["bare aiobotocore loop"]
    for name, values in rates.items():
        share = statistics.median(a / b for a, b in zip(values, floor, strict=True))
        own = name == "milepost receive"
        table.rows.append(
            Row(
                name,
                f"{statistics.median(values):,.0f}",
                f"{min(values):,.0f}",
                f"{max(values):,.0f}",
                f"{share:.2f}",
                f"{statistics.median(cpu[name]):.0f}",
                f"{memory[name]:.0f}",
                lost if own else "",
            )
        )
        if own:
            table.bars.append(("receiving from SQS, of the bare loop", share, ">=", 0.8))
            table.bars.append(("messages deleted and not journalled", float(lost), "<=", 0.0))
    return table


def _fill(server: str, prefix: str) -> None:
    for start in range(0, MESSAGES, 2_000):
        bodies = [document(f"{prefix}-{n}") for n in range(start, min(start + 2_000, MESSAGES))]
        answer = httpx.post(
            f"{server}/fill", json={"queue": QUEUE, "bodies": bodies, "more": start > 0}, timeout=30.0
        )
        answer.raise_for_status()


def _empty(command: list[str], server: str, folder: Path) -> tuple[float, float]:
    """Run a receiver until the queue is empty: its processor seconds and its peak memory in MB."""
    environment = {
        **os.environ,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_ENDPOINT_URL_SQS": server,
        "MILEPOST_DATABASE_URL": f"sqlite:///{folder / 'hub.db'}",
        "MILEPOST_SQS_POLLERS": str(POLLERS),
        "MILEPOST_LOG_LEVEL": "error",
    }
    process = psutil.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command} ended with {status}"
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _progress(server: str) -> dict[str, float]:
    seen: dict[str, float] = httpx.get(f"{server}/progress", params={"queue": QUEUE}).json()
    assert seen["left"] == 0, f"{seen['left']} messages are left"
    return seen


def _lost(folder: Path, rounds: int) -> int:
    """Messages that left the queue and are not in the journal."""
    connection = sqlite3.connect(f"file:{folder / 'hub.db'}?mode=ro", uri=True)
    try:
        there = connection.execute("SELECT count(*) FROM records WHERE kind = 'event'").fetchone()[0]
    finally:
        connection.close()
    return max(0, rounds * MESSAGES - int(there))
