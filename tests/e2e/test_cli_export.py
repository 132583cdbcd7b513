"""`milepost export` beside a real hub: files that are whole or not there, killed and resumed, in constant memory."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow.parquet as pq
import pytest
from tests.benchmarks.history import fill
from tests.e2e.processes import (
    KEY,
    MILEPOST,
    PASSWORD,
    USERNAME,
    WAIT_S,
    Program,
    Ran,
    environment,
    free_port,
    run,
    started,
)

from milepost.hub import now
from milepost.sql import open_store

RECORDS = 21_000
"""Some 57,000 facts: 33 MB as JSON Lines, in some ten pieces."""
MB = 1_000_000


class Place(NamedTuple):
    folder: Path
    env: dict[str, str]
    serve: list[str]
    hub: Program

    def run(self, *arguments: str) -> Ran:
        return run(["export", *arguments], self.folder, self.env)

    def file(self, name: str) -> Path:
        return self.folder / name

    def get(self, path: str) -> bytes:
        url = f"{self.env['MILEPOST_URL']}{path}"
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            body: bytes = answer.read()
            return body

    def whole(self, name: str, format: str) -> bytes:
        return self.get(f"/v1/exports/{name}?format={format}")


async def _journal(file: Path) -> None:
    store = await open_store(f"sqlite:///{file}", clock=now, owner="test")
    try:
        await fill(store, RECORDS)
    finally:
        await store.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A hub that has a journal and folds nothing."""
    folder = tmp_path_factory.mktemp("exports")
    asyncio.run(_journal(folder / "hub.db"))
    port = str(free_port())
    env = environment(
        DATABASE_URL="sqlite:///hub.db",
        WEBHOOK_USERNAME=USERNAME,
        WEBHOOK_PASSWORD=PASSWORD,
        API_KEY=KEY,
        INGEST_ONLY="true",
        URL=f"http://127.0.0.1:{port}",
    )
    serve = ["serve", "--port", port]
    with started(serve, folder, env) as hub:
        hub.url()
        yield Place(folder, env, serve, hub)


@pytest.fixture(autouse=True)
def no_files(place: Place) -> Iterator[None]:
    yield
    for file in place.folder.glob("facts.*"):
        file.unlink()


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_file_is_what_the_hub_streams(place: Place, format: str) -> None:
    told = place.run("facts", "--out", f"facts.{format}", "--json").json()
    file = place.file(f"facts.{format}")
    assert file.read_bytes() == place.whole("facts", format)
    assert (told["dataset"], told["file"], told["bytes"]) == ("facts", file.name, file.stat().st_size)
    assert told["rows"] > 2 * RECORDS
    assert sorted(p.name for p in place.folder.glob("facts.*")) == [file.name]
    if format == "parquet":
        assert pq.ParquetFile(file).metadata.num_rows == told["rows"]
    later = place.run("facts", "--out", "facts.later.jsonl", "--since", told["since"], "--json").json()
    assert (later["rows"], later["since"]) == (0, told["since"])


def test_it_says_what_it_did_and_what_to_do_next(place: Place) -> None:
    ran = place.run("orders", "--out", "facts.orders.csv")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("0 rows, 0.0 MB, in ")
    assert "--since" not in ran.out
    assert "what comes later: --since W" in place.run("accounting", "--out", "facts.accounting.csv").out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("facts", "--out", "facts.xlsx"), 2, "is no format"),
        (("facts", "--out", "nowhere/facts.csv"), 2, "is no directory"),
        (("facts",), 2, "--out"),
        (("nothing", "--out", "facts.csv"), 1, "There is no dataset"),
        (("orders", "--out", "facts.csv", "--since", "x"), 1, "not a cursor"),
        (("facts", "--out", "facts.csv", "--url", "http://127.0.0.1:9", "--patience", "0"), 1, "no answer"),
        (("facts", "--out", "facts.csv", "--api-key", "wrong"), 1, "unauthenticated"),
    ],
)
def test_what_cannot_be_exported(place: Place, arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = place.run(*arguments)
    assert (ran.code, says in ran.err) == (code, True), ran
    assert "Traceback" not in ran.err
    assert list(place.folder.glob("facts.csv*")) == []


def test_nothing_is_overwritten_unasked(place: Place) -> None:
    file = place.file("facts.csv")
    file.write_text("mine")
    assert place.run("orders", "--out", "facts.csv").code == 2
    assert file.read_text() == "mine"
    assert place.run("orders", "--out", "facts.csv", "--overwrite").code == 0
    assert file.read_text().startswith("number,id,")


def test_an_unfinished_one_is_taken_up_only_when_asked_and_only_as_it_was_begun(place: Place) -> None:
    with _begun(place, "csv") as exporting:
        exporting.ended(signal.SIGKILL)
    part = place.file("facts.csv.part")
    assert part.exists()
    assert place.run("facts", "--out", "facts.csv").code == 2
    other = place.run("orders", "--out", "facts.csv", "--resume")
    assert (other.code, "is an export of facts" in other.err) == (2, True)
    narrowed = place.run("facts", "--out", "facts.csv", "--resume", "--business-product", "bp-bench")
    assert narrowed.code == 2
    with part.open("ab") as file:
        file.write(b"half a line")
    assert place.run("facts", "--out", "facts.csv", "--resume").code == 0
    assert place.file("facts.csv").read_bytes() == place.whole("facts", "csv")


@contextmanager
def _begun(place: Place, format: str) -> Iterator[Program]:
    """An export in a process of its own, once it has brought a piece to disk."""
    said = place.file(f"facts.{format}.part.json")
    before = said.read_bytes() if said.exists() else b""
    arguments = ["export", "facts", "--out", f"facts.{format}", "--resume"]
    with started(arguments, place.folder, place.env) as program:
        deadline = time.monotonic() + WAIT_S
        while not said.exists() or said.read_bytes() == before:
            assert program.process.poll() is None, program.log
            assert time.monotonic() < deadline
            time.sleep(0.005)  # a file gives no signal of its own
        yield program


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_killed_again_and_again_it_ends_with_the_same_file(place: Place, format: str) -> None:
    lengths = [0]
    for _ in range(2):
        with _begun(place, format) as exporting:
            exporting.ended(signal.SIGKILL)
        assert not place.file(f"facts.{format}").exists()
        lengths.append(json.loads(place.file(f"facts.{format}.part.json").read_bytes())["length"])
    assert lengths == sorted(set(lengths)), "every try gets further"
    told = place.run("facts", "--out", f"facts.{format}", "--resume", "--json").json()
    assert place.file(f"facts.{format}").read_bytes() == place.whole("facts", format)
    assert told["rows"] > 2 * RECORDS


def test_two_at_a_time_do_not_write_one_file(place: Place) -> None:
    with _begun(place, "csv") as exporting:
        exporting.process.send_signal(signal.SIGSTOP)
        second = place.run("facts", "--out", "facts.csv", "--resume")
        exporting.process.send_signal(signal.SIGCONT)
        assert (second.code, "another export writes" in second.err) == (1, True)
        assert exporting.ended() == 0
    assert place.file("facts.csv").read_bytes() == place.whole("facts", "csv")


def test_it_survives_a_hub_that_is_killed_and_comes_back(place: Place) -> None:
    """Last but one of those that use the hub: it ends the one that was there."""
    expected = place.whole("facts", "jsonl")
    with _begun(place, "jsonl") as exporting:
        exporting.process.send_signal(signal.SIGSTOP)
        place.hub.ended(signal.SIGKILL)
        exporting.process.send_signal(signal.SIGCONT)
        with started(place.serve, place.folder, place.env) as again:
            again.url()
            assert exporting.ended() == 0, exporting.log
            assert place.file("facts.jsonl").read_bytes() == expected
            _constant_memory(place, again)


def _constant_memory(place: Place, hub: Program) -> None:
    """A file of 30 MB and more makes neither side grow by half of it: a page is held, a piece, and the caches of the
    database's connections, which are full by then. `make bench` does it with a million facts."""
    process = psutil.Process(hub.process.pid)
    place.get("/v1/exports/facts?format=jsonl&until=3000")
    empty = _peak(place, "accounting", "facts.none.jsonl")
    before = process.memory_info().rss
    full = _peak(place, "facts", "facts.all.jsonl")
    size = place.file("facts.all.jsonl").stat().st_size
    assert size > 30 * MB
    assert full - empty < size / 2, (full / MB, empty / MB)
    peak = _peak_of(process, place)
    print(
        f"{size / MB:.0f} MB: the command grew by {(full - empty) / MB:.1f} MB, the hub by {(peak - before) / MB:.1f}"
    )
    assert peak - before < size / 2, (peak / MB, before / MB)


def _peak(place: Place, name: str, out: str) -> int:
    """The most memory that an export took, in bytes. (What the system keeps of ended processes counts the one that
    started them.)"""
    command = [str(MILEPOST), "export", name, "--out", out]
    with psutil.Popen(command, cwd=place.folder, env=place.env, stdout=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)
    assert process.returncode == 0
    return peak


def _peak_of(process: psutil.Process, place: Place) -> int:
    """The most memory that the hub has while it streams all of it."""
    url = f"{place.env['MILEPOST_URL']}/v1/exports/facts?format=jsonl"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {KEY}"})
    peak = process.memory_info().rss
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        while answer.read(MB):
            peak = max(peak, process.memory_info().rss)
    return peak
