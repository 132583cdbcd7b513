"""Durable ingest at 64 connections with Basic authentication: Milepost, on both databases, beside floor and peer.

Rounds are interleaved (every server once a round), so that a machine whose speed drifts touches all alike; what
counts are ratios within a round, and their medians. Lost: events that were answered 2xx and are not in the
journal afterwards. wrk counts only answers that came in time, so stored events may exceed them, never the
other way round.
"""

import os
import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.report import Row, Table
from tests.benchmarks.servers import Server, hub, need, nginx, peer
from tests.postgres import Postgres

HERE = Path(__file__).parent
CONNECTIONS = 64
BARS = {"Milepost": (0.13, 8.0), "Milepost on PostgreSQL": (0.16, 10.0)}
"""(of nginx, times the peer) with consumers paused."""
RESULT = re.compile(r"RESULT requests=(\d+) us=(\d+) non2xx=(\d+) socket=(\d+) p50=(\d+) p99=(\d+)")


@dataclass
class Rounds:
    """What one server did, a value a round."""

    rate: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    database_us: list[float] = field(default_factory=list)
    memory_mb: float = 0.0
    acknowledged: int = 0
    refused: int = 0


def run(rounds: int, seconds: float) -> Table:
    """Load every server in turn, `rounds` times for `seconds` each."""
    need("wrk", "wrk")
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        postgres = stack.enter_context(Postgres())
        servers = [
            stack.enter_context(nginx(folder / "nginx")),
            stack.enter_context(hub(folder / "paused", consumers=False)),
            stack.enter_context(hub(folder / "running", consumers=True)),
            stack.enter_context(hub(folder / "paused_pg", consumers=False, postgres=postgres)),
            stack.enter_context(hub(folder / "running_pg", consumers=True, postgres=postgres)),
            stack.enter_context(peer(folder / "peer", postgres)),
        ]
        for server in servers:
            _load(server, Rounds(), 1.0, 0)
            server.suspend()
        before = {server.name: server.stored() for server in servers}
        results = {server.name: Rounds() for server in servers}
        for number in range(1, rounds + 1):
            for server in servers:
                # What one has left to do behind its journal, or to bring to the disk, is not the next one's.
                os.sync()
                server.resume()
                _load(server, results[server.name], seconds, number)
                server.suspend()
        for server in servers:
            server.resume()
        return _table(servers, results, before, rounds)


def _load(server: Server, result: Rounds, seconds: float, number: int) -> None:
    cpu, database = server.cpu_seconds(), server.database_cpu_seconds()
    command = [
        *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(HERE / "load.lua")),
        *(f"http://127.0.0.1:{server.port}", "--", str(number)),
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = RESULT.search(output)
    assert match, output
    requests, us, non2xx, broken, p50, p99 = map(int, match.groups())
    good = requests - non2xx
    result.rate.append(good / us * 1e6)
    result.p50_ms.append(p50 / 1000)
    result.p99_ms.append(p99 / 1000)
    result.cpu_us.append((server.cpu_seconds() - cpu) / max(requests, 1) * 1e6)
    result.database_us.append((server.database_cpu_seconds() - database) / max(requests, 1) * 1e6)
    result.memory_mb = max(result.memory_mb, server.memory_mb())
    result.acknowledged += good
    result.refused += non2xx + broken


def _table(
    servers: list[Server], results: dict[str, Rounds], before: dict[str, int | None], rounds: int
) -> Table:
    floor, slow = results[servers[0].name], results[servers[-1].name]
    table = Table(
        f"Durable ingest, {CONNECTIONS} connections, Basic auth ({rounds} interleaved rounds, medians)",
        (
            "server",
            "events/s",
            "of nginx",
            "x peer",
            "p50 ms",
            "p99 ms",
            "CPU µs/event",
            "of PostgreSQL",
            "MB",
            "refused",
            "lost",
        ),
    )
    for server in servers:
        result = results[server.name]
        stored = server.stored()
        start = before[server.name]
        lost = "" if stored is None or start is None else max(0, result.acknowledged - (stored - start))
        median = statistics.median
        of_floor = median(a / b for a, b in zip(result.rate, floor.rate, strict=True))
        of_peer = median(a / b for a, b in zip(result.rate, slow.rate, strict=True))
        table.rows.append(
            Row(
                server.name,
                f"{median(result.rate):,.0f}",
                f"{of_floor:.3f}",
                f"{of_peer:.1f}",
                f"{median(result.p50_ms):.2f}",
                f"{median(result.p99_ms):.2f}",
                f"{median(result.cpu_us):.1f}",
                f"{median(result.database_us):.1f}" if server.postgres is not None else "",
                f"{result.memory_mb:.0f}",
                result.refused,
                lost,
            )
        )
        if (bars := BARS.get(server.name)) is not None:
            what = f"ingest, {server.name}"
            table.bars.append((f"{what}, of nginx", of_floor, ">=", bars[0]))
            table.bars.append((f"{what}, times the peer", of_peer, ">=", bars[1]))
            table.bars.append((f"{what}, acknowledged events lost", float(lost or 0), "<=", 0.0))
    return table
