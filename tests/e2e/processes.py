"""Real processes: a served hub and a sandbox that publishes to it, and the `milepost` command beside them.

Every process that is started here is ended here, whatever a test does; every wait has an end.
"""

import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

MILEPOST = Path(sys.executable).with_name("milepost")
WAIT_S = 60.0
"""How long anything may take; only a failure takes so long."""
USERNAME, PASSWORD, KEY = "sender-of-the-test", "word-of-the-test", "mp_key-of-the-test"


def environment(**settings: str) -> dict[str, str]:
    """The machine's environment with these MILEPOST_ settings and no others, and no terminal's width."""
    left_out = re.compile(r"MILEPOST_|COLUMNS$|LINES$")
    kept = {name: value for name, value in os.environ.items() if not left_out.match(name)}
    path = f"{MILEPOST.parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "TZ": "UTC"} | {f"MILEPOST_{name}": text for name, text in settings.items()}


class Program:
    """A process that stays up: `milepost`, or another program. `printed` has its lines of standard output so far,
    `log` those of standard error."""

    def __init__(
        self, arguments: list[str], folder: Path, env: dict[str, str], program: Path = MILEPOST
    ) -> None:
        self.process = subprocess.Popen(
            [str(program), *arguments],
            cwd=folder,
            env=env | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.printed: list[str] = []
        self.log: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.printed)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def line(self, holding: str) -> str:
        """The first line of standard output that holds this, as soon as there is one."""
        return self._line(self.printed, holding)

    def logged(self, holding: str) -> str:
        """The same of standard error."""
        return self._line(self.log, holding)

    def _line(self, lines: list[str], holding: str) -> str:
        def found() -> str | None:
            return next((line for line in lines if holding in line), None)

        def over() -> bool:
            return not any(reader.is_alive() for reader in self._readers)

        with self._changed:
            deadline = time.monotonic() + WAIT_S
            while found() is None and not over() and time.monotonic() < deadline:
                self._changed.wait(1.0)
        line = found()
        assert line is not None, f"no {holding!r} in {self.printed}; the log: {self.log[-20:]}"
        return line

    def url(self) -> str:
        """Where a server listens, once it does."""
        return self.line(" listens on ").rpartition(" ")[2]

    def ended(self, signal: int | None = None) -> int:
        """The exit code, after this signal or by itself."""
        if signal is not None:
            self.process.send_signal(signal)
        return self.process.wait(WAIT_S)

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
        self.process.wait(20)
        for reader in self._readers:
            reader.join(20)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def started(arguments: list[str], folder: Path, env: dict[str, str]) -> Iterator[Program]:
    """A command that stays up, ended at the end."""
    program = Program(arguments, folder, env)
    try:
        yield program
    finally:
        program.end()


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as the one JSON document that it must be, of a command that went well."""
        assert self.code == 0, self
        return json.loads(self.out)


def run(arguments: list[str], folder: Path, env: dict[str, str]) -> Ran:
    """Run `milepost` with these arguments to its end."""
    done = subprocess.run(
        [str(MILEPOST), *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Place(NamedTuple):
    """A served hub and its sandbox, and the folder that both run in."""

    folder: Path
    env: dict[str, str]
    hub: Program
    hub_url: str
    sandbox_url: str
    login: tuple[str, str]
    key: str | None

    def run(self, *arguments: str) -> Ran:
        return run(list(arguments), self.folder, self.env)

    def get(self, path: str) -> Any:
        """A JSON document of the hub."""
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.hub_url}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return json.load(answer)

    def send(self, body: bytes) -> int:
        """POST to the webhook; the status."""
        pair = base64.b64encode(":".join(self.login).encode()).decode()
        url = f"{self.hub_url}/webhooks/buy-with-prime"
        request = urllib.request.Request(url, body, {"authorization": f"Basic {pair}"}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    def deliver(self) -> dict[str, Any]:
        """Let one more parcel of the sandbox's world be delivered; its order, once the hub shows it whole."""
        caused = self.run("trigger", "PACKAGE_DELIVERED", "--json").json()
        _, _, order_id, _, delivery_id = caused["events"][-1]["resources"][0].split("/")[1:]
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            order = self._order(order_id)
            parcels = [d for d in (order or {}).get("deliveries", ()) if d["id"] == delivery_id]
            is_there = parcels and parcels[0]["state"] == "DELIVERED" and _arrived(parcels[0])
            # Who ordered it is known from the API's answer only, the rest from the event as well.
            if order is not None and is_there and order["customer"] is not None:
                return order
            time.sleep(0.05)  # a fold gives no signal to another process
        raise AssertionError(
            f"order {order_id} is not delivered within {WAIT_S:g} s: {self._order(order_id)}"
        )

    def _order(self, order_id: str) -> dict[str, Any] | None:
        try:
            order: dict[str, Any] = self.get(f"/v1/orders/{order_id}")
            return order
        except urllib.error.HTTPError as refused:
            refused.close()
            return None


def _arrived(delivery: dict[str, Any]) -> bool:
    return any(tracker["stage"] == "DELIVERED" for tracker in delivery["trackers"])


@contextmanager
def place(
    folder: Path,
    login: tuple[str, str] = (USERNAME, PASSWORD),
    key: str | None = KEY,
    database: str = "sqlite:///run/hub.db",
    **settings: str,
) -> Iterator[Place]:
    """A fresh hub and a fresh sandbox of four orders in processes of their own; files in `folder`/run.

    `settings` are more of the hub's; without a key the hub needs one that lets it go without."""
    (folder / "run").mkdir()
    sandbox_port = free_port()
    env = environment(
        WEBHOOK_USERNAME=login[0],
        WEBHOOK_PASSWORD=login[1],
        DATABASE_URL=database,
        BWP_API_URL=f"http://127.0.0.1:{sandbox_port}",
        BWP_CLIENT_ID="sandbox",
        BWP_CLIENT_SECRET="sandbox",
        BWP_TARGET_ID="sandbox",
        QUERIES_PER_MINUTE="6000",
        **({} if key is None else {"API_KEY": key}),
        **settings,
    )
    with started(["serve", "--port", "0"], folder, env) as hub:
        hub_url = hub.url()
        webhook = f"{hub_url}/webhooks/buy-with-prime"
        world = f"sandbox --port {sandbox_port} --orders 4 --seed 7 --hub {webhook}".split()
        with started([*world, "--database", "sqlite:///run/sandbox.db"], folder, env) as sandbox:
            env = env | {"MILEPOST_URL": hub_url, "MILEPOST_SANDBOX_URL": sandbox.url()}
            yield Place(folder, env, hub, hub_url, sandbox.url(), login, key)


def free_port() -> int:
    """A port below those that the system gives out by itself: the hub is told of it before the sandbox listens."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 50):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
