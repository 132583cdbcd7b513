"""The servers that the ingest benchmark loads, each a process of its own on a free loopback port.

nginx answering 204 is the floor; the hub, on SQLite and on PostgreSQL, is what is measured; FastAPI + SQLAlchemy +
PostgreSQL is the peer. Both that use PostgreSQL use one server (`tests.postgres`), by its socket.
"""

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import psutil
from tests.postgres import Postgres

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Server:
    """A running server: its name in the table, its port, its process, and how many events it has stored."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    database: Path | str | None = None
    """A SQLite file, or the address of a database on PostgreSQL."""
    postgres: Postgres | None = None

    def cpu_seconds(self) -> float:
        return sum(t.user + t.system for t in (p.cpu_times() for p in self._processes()))

    def database_cpu_seconds(self) -> float:
        """Of the PostgreSQL server's processes that live: within a round, those of this server's connections."""
        if self.postgres is None:
            return 0.0
        parent = psutil.Process(self.postgres.pid)
        times = [p.cpu_times() for p in (parent, *parent.children())]
        return sum(t.user + t.system for t in times)

    def suspend(self) -> None:
        """Let it do nothing until `resume`, while another one is measured."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def memory_mb(self) -> float:
        return sum(p.memory_info().rss for p in self._processes()) / 1e6

    def stored(self) -> int | None:
        """Events in the journal, read from the file itself; None where the server keeps none."""
        if self.database is None:
            return None
        if isinstance(self.database, str):
            return asyncio.run(_count(self.database))
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            count = connection.execute("SELECT count(*) FROM records WHERE kind = 'event'").fetchone()[0]
        connection.close()
        return int(count)

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        count = await connection.fetchval("SELECT count(*) FROM records WHERE kind = 'event'")
        return int(count)
    finally:
        await connection.close()


def need(program: str, package: str) -> str:
    """The path of a program, installing its Debian package if need be. Fails saying what to install."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package} …", file=sys.stderr)
        for arguments in (["update"], ["install", "-y", package]):
            subprocess.run(["apt-get", "-qq", *arguments], check=False, capture_output=True)
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise SystemExit(f"make bench needs {program}: apt-get install {package}")
    return found


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """nginx, one worker, 204 to everything after reading the body."""
    port = free_port()
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ client_body_buffer_size 64k; return 204; }} }} }}
"""
    )
    command = [need("nginx", "nginx-light"), "-p", str(folder), "-c", str(config)]
    with running(command, {}, port, folder / "log") as process:
        yield Server("nginx 204", port, process)


@contextmanager
def hub(
    folder: Path,
    *,
    consumers: bool,
    database: Path | None = None,
    postgres: Postgres | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Milepost with Basic authentication, on SQLite or a new database of `postgres`; `consumers` off: acknowledge
    and journal only. `settings` are environment variables beyond these."""
    folder.mkdir()
    kept: Path | str = database or folder / "hub.db"
    url = f"sqlite:///{kept}"
    if postgres is not None:
        asyncio.run(postgres.create(folder.name))
        kept = url = postgres.url(folder.name, tcp=False)
    port = free_port()
    environment = {
        "MILEPOST_DATABASE_URL": url,
        "MILEPOST_PORT": str(port),
        "MILEPOST_WEBHOOK_USERNAME": "bench",
        "MILEPOST_WEBHOOK_PASSWORD": "bench",
        "MILEPOST_API_KEY": "bench-key",
        "MILEPOST_INGEST_ONLY": "false" if consumers else "true",
        "MILEPOST_LOG_LEVEL": "error",
        **(settings or {}),
    }
    command = [sys.executable, "-m", "milepost.cli.main", "serve"]
    with running(command, environment, port, folder / "log") as process:
        name = "Milepost" if postgres is None else "Milepost on PostgreSQL"
        yield Server(name + (", consumers running" if consumers else ""), port, process, kept, postgres)


@contextmanager
def peer(folder: Path, postgres: Postgres) -> Iterator[Server]:
    """FastAPI + SQLAlchemy + PostgreSQL, an insert a request, one uvicorn worker."""
    folder.mkdir()
    asyncio.run(postgres.create(folder.name))
    url = postgres.url(folder.name, tcp=False)
    port = free_port()
    environment = {"PEER_DATABASE_URL": "postgresql+asyncpg" + url[url.index(":") :]}
    command = [
        *(sys.executable, "-m", "uvicorn", "tests.benchmarks.peer_fastapi:app", "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"),
    ]
    with running(command, environment, port, folder / "log") as process:
        yield Server("FastAPI + SQLAlchemy + PostgreSQL", port, process, None, postgres)


@contextmanager
def running(
    command: list[str], environment: dict[str, str], port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program as a process that answers at /healthz; it is ended when the block is."""
    env = {**os.environ, **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1.0)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit(f"{process.args} did not start:\n{log.read_text()[-2000:]}")
