"""Datasets as files: CSV, JSON Lines, Parquet. Rows in, bytes out; where the bytes go is the caller's.

| format  | times                          | null  | texts                                             |
|---------|--------------------------------|-------|---------------------------------------------------|
| csv     | ISO 8601 in UTC                | empty | RFC 4180; an apostrophe before would-be formulas  |
| jsonl   | ISO 8601 in UTC                | null  | as they are                                       |
| parquet | timestamp in milliseconds, UTC | null  | as they are; codes as a dictionary                |

CSV and JSON Lines are written row by row, so that a file is the sum of its pages, however they are cut. A Parquet
file ends with a description of all of it; its row groups have so many rows whatever the pages' size, so that the same
rows give the same file. It takes pyarrow (the extra `parquet`), which is loaded when it is first asked for.
"""

import asyncio
import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

import msgspec

from milepost.domain.errors import Misconfigured
from milepost.domain.feed import ROWS_VERSION, Cell, ColumnType, Dataset, Row
from milepost.domain.instant import format_instant

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}

ROWS_A_GROUP = 65_536
"""Rows of a Parquet row group: some 15 MB while one is gathered."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet may take for the beginning of a formula; the last four are wide forms of the first."""
T = TypeVar("T")


class Encoder(Protocol[T]):
    """Writes one file. `encode` keeps nothing, so that it may run on any thread, and again."""

    def head(self) -> bytes: ...

    def encode(self, rows: Sequence[Row]) -> T: ...

    async def put(self, encoded: T) -> bytes:
        """The next bytes of the file; maybe none yet."""
        ...

    async def tail(self) -> bytes: ...


def encoder_of(format: Format, dataset: Dataset, *, header: bool = True) -> Encoder[Any]:
    """The encoder of a new file; without `header` a CSV file begins with its first row. Raises `Misconfigured` for
    Parquet without pyarrow."""
    if format == "parquet":
        return _Parquet(dataset)
    return _Csv(dataset, header) if format == "csv" else _JsonLines(dataset)


# ── Texts ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Text:
    """What both text formats share: a page is bytes that are passed on as they are."""

    def head(self) -> bytes:
        return b""

    async def put(self, encoded: bytes) -> bytes:
        return encoded

    async def tail(self) -> bytes:
        return b""


class _Csv(_Text):
    def __init__(self, dataset: Dataset, header: bool) -> None:
        self._names = [column.name for column in dataset.columns] if header else []
        self._written = [_CSV_CELLS[column.type] for column in dataset.columns]

    def head(self) -> bytes:
        return _csv([self._names]) if self._names else b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        columns = zip(*rows, strict=True)
        return _csv(zip(*(w(column) for w, column in zip(self._written, columns, strict=True)), strict=True))


def _csv(rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _as_it_is(column: Sequence[Any]) -> Sequence[Any]:
    return column


def _instants(column: Sequence[Any]) -> Sequence[Any]:
    return [None if at is None else format_instant(at) for at in column]


def _booleans(column: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else "true" if value else "false" for value in column]


def _guarded(column: Sequence[Any]) -> Sequence[Any]:
    """A text that begins as a formula does is none behind an apostrophe; hardly ever is there one."""
    if any(text.startswith(FORMULAS) for text in set(column) if text):
        return [f"'{text}" if text and text.startswith(FORMULAS) else text for text in column]
    return column


_Convert = Callable[[Sequence[Any]], Sequence[Any]]
_CSV_CELLS: dict[ColumnType, _Convert] = {
    "integer": _as_it_is,
    "boolean": _booleans,
    "instant": _instants,
    "date": _guarded,
    "text": _guarded,
    "code": _guarded,
}
_JSON_CELLS: dict[ColumnType, _Convert] = dict.fromkeys(get_args(ColumnType), _as_it_is) | {
    "instant": _instants
}


class _JsonLines(_Text):
    def __init__(self, dataset: Dataset) -> None:
        self._written = [_JSON_CELLS[column.type] for column in dataset.columns]
        self._line = _line_of(tuple(column.name for column in dataset.columns))
        self._lines = msgspec.json.Encoder().encode_lines

    def encode(self, rows: Sequence[Row]) -> bytes:
        columns = zip(*rows, strict=True)
        written = [w(column) for w, column in zip(self._written, columns, strict=True)]
        try:
            return self._lines([self._line(*cells) for cells in zip(*written, strict=True)])
        except UnicodeEncodeError:
            clean = [_sound(column) for column in written]
            return self._lines([self._line(*cells) for cells in zip(*clean, strict=True)])


@cache
def _line_of(names: tuple[str, ...]) -> Callable[..., Any]:
    """Makes an object with these keys: four times as fast as a dict a line."""
    fields = [f"f{number}" for number in range(len(names))]
    return msgspec.defstruct("Line", fields, rename=dict(zip(fields, names, strict=True)))


def _sound(column: Sequence[Any]) -> list[Any]:
    """Ids may hold lone surrogates, which no file may."""
    return [t.encode("utf-8", "replace").decode() if isinstance(t, str) else t for t in column]


# ── Parquet ────────────────────────────────────────────────────────────────────────────────────────────────


class _Parquet:
    def __init__(self, dataset: Dataset) -> None:
        self._schema = arrow_schema(dataset)
        self._file = ParquetFile(self._schema)

    def head(self) -> bytes:
        return b""

    def encode(self, rows: Sequence[Row]) -> "pa.RecordBatch":
        pa = _pyarrow()
        arrays = []
        for column, field in zip(zip(*rows, strict=True), self._schema, strict=True):
            values = _days(column) if pa.types.is_date(field.type) else column
            try:
                arrays.append(pa.array(values, field.type))
            except (UnicodeEncodeError, pa.ArrowInvalid):
                arrays.append(pa.array(_sound(values), field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    async def put(self, encoded: "pa.RecordBatch") -> bytes:
        if self._file.pending + len(encoded) < ROWS_A_GROUP:
            return self._file.put(encoded)
        return await asyncio.to_thread(self._file.put, encoded)

    async def tail(self) -> bytes:
        return await asyncio.to_thread(self._file.finish)


class ParquetFile:
    """A Parquet file that is written piece by piece: `put` and `finish` give its next bytes."""

    def __init__(self, schema: "pa.Schema") -> None:
        import pyarrow.parquet as pq

        self.pending = 0
        """Rows that wait until their group is full."""
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")

    def put(self, batch: "pa.RecordBatch") -> bytes:
        self._batches.append(batch)
        self.pending += len(batch)
        while self.pending >= ROWS_A_GROUP:
            self._write(ROWS_A_GROUP)
        return self._sink.take()

    def finish(self) -> bytes:
        """What is left, and the description of it all."""
        if self.pending:
            self._write(self.pending)
        self._writer.close()
        return self._sink.take()

    def _write(self, rows: int) -> None:
        table = _pyarrow().Table.from_batches(self._batches, self._schema)
        self._writer.write_table(_one_dictionary(table.slice(0, rows)), rows)
        rest = table.slice(rows)
        self._batches, self.pending = rest.to_batches(), len(rest)


def _one_dictionary(table: "pa.Table") -> "pa.Table":
    """Codes with one dictionary, in the order in which they come: those of the batches tell how these were cut."""
    pa = _pyarrow()
    columns = [
        column.cast(pa.string()).combine_chunks().dictionary_encode()
        if pa.types.is_dictionary(column.type)
        else column
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


class _Sink(io.RawIOBase):
    """Takes what is written until somebody takes it away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def arrow_schema(dataset: Dataset) -> "pa.Schema":
    """The documented types. The version of rows is among the file's own metadata."""
    pa = _pyarrow()
    types: dict[ColumnType, Any] = {
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "instant": pa.timestamp("ms", "UTC"),
        "date": pa.date32(),
        "text": pa.string(),
        "code": pa.dictionary(pa.int32(), pa.string()),
    }
    fields = [pa.field(c.name, types[c.type], metadata={"description": c.text}) for c in dataset.columns]
    about = {"milepost.dataset": dataset.name, "milepost.rowsVersion": str(ROWS_VERSION)}
    return pa.schema(fields, metadata=about)


def _days(column: Sequence[Any]) -> list[Any]:
    return [None if day is None else _day(day) for day in column]


@lru_cache(maxsize=4_096)
def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # erased, or written by nobody we know
        return None


@cache
def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as e:
        raise Misconfigured("Parquet needs pyarrow: pip install 'milepost[parquet]'") from e
    return pyarrow
