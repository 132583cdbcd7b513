"""`milepost export`: a dataset of the analytics feed as a file, in pieces, so that it goes on where it broke off.

A piece is appended to FILE.part and brought to disk, then FILE.part.json says how far that is and which cursor goes
on; what is behind that, a resumed export cuts off. So the file is the same wherever it broke off, and FILE is there
only when it is whole. While the hub is away it is asked again and again, for a while. Parquet comes in pieces that
are files themselves; FILE.part holds them one behind the other, until they are put together.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn

import msgspec
import typer
from msgspec import Struct
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from milepost.cli.client import HubClient, console, errors, fail, print_json
from milepost.cli.show import Json, Key, Url

if TYPE_CHECKING:
    import httpx

FORMATS = ("csv", "jsonl", "parquet")
PIECE_ROWS = 10_000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
_PART = 65_536
_PLAIN = {"accept-encoding": "identity"}
_LENGTH = 8
"""Bytes before each piece of Parquet in FILE.part: how long it is."""


class _Away(Exception):
    """The hub does not answer, or not now; it is worth asking again."""


class _PatientClient(HubClient):
    """Raises `_Away` where other commands give up."""

    @contextmanager
    def piece(self, path: str, **parameters: object) -> "Iterator[httpx.Response]":
        """An answer whose body is read as it comes, and comes as it is: a proxy shall not compress it."""
        import httpx

        given: Any = {name: value for name, value in parameters.items() if value is not None}
        try:
            with self._http.stream("GET", path, params=given, headers=_PLAIN) as response:
                if response.status_code >= 400:
                    response.read()
                    self._refuse(response)
                yield response
        except httpx.HTTPError as e:
            self._unreachable(e)

    def _refuse(self, response: "httpx.Response") -> NoReturn:
        if response.status_code in (429, 502, 503, 504):
            raise _Away(f"it answers {response.status_code}")
        super()._refuse(response)

    def _unreachable(self, error: "httpx.HTTPError") -> NoReturn:
        raise _Away(str(error) or type(error).__name__)


class _Standing(Struct, rename="camel"):
    """FILE.part.json: what is exported, and how far FILE.part is whole."""

    dataset: str
    format: str
    business_product: str | None
    began: str | None
    """The cursor that it began behind."""
    after: str | None
    """The cursor of the next piece."""
    length: int = 0
    rows: int = 0
    since: str | None = None
    """Where the next export begins."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost export facts --format parquet --out facts.parquet --resume")(export)


def export(
    dataset: Annotated[str, typer.Argument(help="What: facts, orders, deliveries … (GET /v1/exports)")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file.", metavar="FILE")],
    written: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or parquet; by FILE's ending without.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with FILE.part, if there is one; else begin.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Only what came since: what an earlier export printed.", metavar="CURSOR"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
    business_product: Annotated[
        str | None, typer.Option("--business-product", help="Only this business product.")
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", min=0, help="Seconds to wait for a hub that is away.")
    ] = 60.0,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Export a dataset as a file; `--resume` goes on where an export broke off, `--since` has what came later."""
    wanted = _format(written, out)
    _loadable(wanted)
    asked = _Standing(dataset, wanted, business_product, since, since)
    unfinished = _Unfinished(out, asked, resume=resume, overwrite=overwrite)
    started = time.monotonic()
    hub = _PatientClient(url, api_key)
    with unfinished.opened() as file, _progress(out) as bar:
        for at, until in _pieces(hub, unfinished, file, patience):
            bar.show(unfinished.standing, at, until)
    standing = unfinished.standing
    size = unfinished.complete()
    told = {"dataset": dataset, "file": str(out), "rows": standing.rows, "bytes": size}
    if json:
        print_json({**told, "since": standing.since})
        return
    seconds = max(time.monotonic() - started, 0.001)
    console.print(
        f"{standing.rows:,} rows, {size / 1e6:,.1f} MB, in {seconds:,.1f} s: {escape(str(out))}",
        soft_wrap=True,
    )
    if standing.since is not None:
        console.print(f"what comes later: --since {standing.since}", soft_wrap=True)


def _format(written: str | None, out: Path) -> str:
    found = written or out.suffix.removeprefix(".") or "csv"
    if found not in FORMATS:
        fail(f"{escape(repr(found))} is no format: --format is one of {', '.join(FORMATS)}", 2)
    return found


def _loadable(wanted: str) -> None:
    """Before anything is asked for: pieces of Parquet are put together here."""
    if wanted == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - what is loaded here is not reported missing at the end
        except ImportError:
            fail("Parquet needs pyarrow: pip install 'milepost\\[parquet]'")


def _pieces(
    hub: _PatientClient, unfinished: "_Unfinished", file: BinaryIO, patience: float
) -> Iterator[tuple[int, int]]:
    """Fetch piece by piece until there is no next one; (where it is, where it ends) behind each. Fails when there is
    none for `patience` seconds."""
    came, pause, more = time.monotonic(), FIRST_PAUSE_S, True
    while more:
        try:
            at, until, more = _fetch(hub, unfinished, file)
        except _Away as e:
            left = came + patience - time.monotonic()
            if left <= 0:
                why = escape(str(e))
                fail(f"no answer from {hub.url} for {patience:g} s ({why}); --resume goes on from here")
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)
            continue
        yield at, until
        came, pause = time.monotonic(), FIRST_PAUSE_S


def _fetch(hub: _PatientClient, unfinished: "_Unfinished", file: BinaryIO) -> tuple[int, int, bool]:
    """One piece, kept: (where it ends, where the export ends, whether there is another one)."""
    standing = unfinished.standing
    with hub.piece(
        f"/v1/exports/{standing.dataset}",
        format=standing.format,
        after=standing.after,
        businessProductId=standing.business_product,
        limit=PIECE_ROWS,
        header="true" if standing.length == 0 else "false",
    ) as response:
        more = unfinished.keep(file, response)
        return int(response.headers["Milepost-At"]), int(response.headers["Milepost-Until"]), more


class _Unfinished:
    """FILE.part and FILE.part.json."""

    def __init__(self, out: Path, asked: _Standing, *, resume: bool, overwrite: bool) -> None:
        self.standing = asked
        self._out = out
        self._part = out.with_name(out.name + ".part")
        self._said = out.with_name(out.name + ".part.json")
        if not out.parent.is_dir():
            fail(f"{escape(str(out.parent))} is no directory", 2)
        if out.exists() and not overwrite:
            fail(f"{escape(str(out))} is there already: --overwrite replaces it", 2)
        if self._part.exists() or self._said.exists():
            if not resume:
                where = escape(str(self._part))
                fail(f"an export to this file broke off: --resume goes on with it, or remove {where}", 2)
            self._take_up()

    def _take_up(self) -> None:
        """Go on where it is known to be whole; from the beginning where nothing is."""
        try:
            known = msgspec.json.decode(self._said.read_bytes(), type=_Standing)
        except FileNotFoundError:
            return
        except msgspec.MsgspecError:
            fail(f"{escape(str(self._said))} cannot be read: remove it and {escape(self._part.name)}")
        asked = self.standing
        one = (known.dataset, known.format, known.business_product, known.began)
        if one != (asked.dataset, asked.format, asked.business_product, asked.began):
            what = f"{known.dataset} as {known.format}"
            fail(f"{escape(str(self._part))} is an export of {escape(what)}, begun with other options", 2)
        if not self._part.exists() or self._part.stat().st_size < known.length:
            fail(f"{escape(str(self._part))} is shorter than it was: remove it and {escape(self._said.name)}")
        self.standing = known

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """FILE.part for appending, nobody else's meanwhile. Where it came to nothing, nothing is left."""
        with self._part.open("r+b" if self._part.exists() else "w+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                fail(f"another export writes {escape(str(self._part))}")
            try:
                yield file
            except BaseException:
                if not self._said.exists():
                    self._part.unlink()
                raise

    def keep(self, file: BinaryIO, response: "httpx.Response") -> bool:
        """Append a piece behind what is known to be whole, and note that; whether there is another one."""
        headers, standing = response.headers, self.standing
        file.truncate(standing.length)
        start = standing.length + (_LENGTH if standing.format == "parquet" else 0)
        file.seek(start)
        for part in response.iter_bytes(_PART):
            file.write(part)
        end = file.tell()
        if standing.format == "parquet":
            file.seek(standing.length)
            file.write((end - start).to_bytes(_LENGTH, "big"))
        file.flush()
        os.fsync(file.fileno())
        following = headers.get("Milepost-Next")
        self.standing = msgspec.structs.replace(
            standing,
            after=following if following is not None else standing.after,
            length=end,
            rows=standing.rows + int(headers["Milepost-Rows"]),
            since=standing.since or headers.get("Milepost-Since"),
        )
        if following is not None:
            fresh = self._said.with_name(self._said.name + ".new")
            fresh.write_bytes(msgspec.json.encode(self.standing))
            fresh.replace(self._said)
        return following is not None

    def complete(self) -> int:
        """FILE.part becomes FILE; its size. Whenever this is killed, FILE is whole or FILE.part is as it was."""
        whole = _put_together(self._part) if self.standing.format == "parquet" else self._part
        whole.replace(self._out)
        self._part.unlink(missing_ok=True)
        self._said.unlink(missing_ok=True)
        return self._out.stat().st_size


def _put_together(part: Path) -> Path:
    """One Parquet file of many, with row groups of one size, so that it is the same however it was cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from milepost.pipeline.export_formats import ParquetFile

    whole = part.with_name(part.name + ".whole")
    with part.open("rb") as pieces, whole.open("wb") as file:
        written: ParquetFile | None = None
        while length := int.from_bytes(pieces.read(_LENGTH), "big"):
            table = pq.ParquetFile(pa.BufferReader(pieces.read(length))).read()
            written = written or ParquetFile(table.schema)
            for batch in table.to_batches():
                file.write(written.put(batch))
        if written is not None:
            file.write(written.finish())
        file.flush()
        os.fsync(file.fileno())
    return whole


class _Bar:
    """What a terminal shows meanwhile; nothing elsewhere."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(name), total=None, rows=0, size=0.0, rate=0.0)
        self._began = time.monotonic()
        self._before: int | None = None

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._progress.stop()

    def show(self, standing: _Standing, at: int, until: int) -> None:
        if self._before is None:
            self._before = standing.rows
        seconds = max(time.monotonic() - self._began, 0.001)
        self._progress.update(
            self._task,
            total=until,
            completed=at,
            rows=standing.rows,
            size=standing.length / 1e6,
            rate=(standing.rows - self._before) / seconds,
        )


def _progress(out: Path) -> _Bar:
    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[size]:,.1f} MB"),
        TextColumn("{task.fields[rate]:,.0f} rows/s"),
        TimeElapsedColumn(),
    ]
    progress = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    return _Bar(progress, out.name)
