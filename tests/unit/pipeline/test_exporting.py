"""Exports: bounded, resumed anywhere, in the documented types; on SQLite and PostgreSQL."""

import csv
import io
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from tests.benchmarks.history import PRODUCT, fill
from tests.chance import SEED
from tests.unit.domain.history import BP
from tests.unit.pipeline.projecting import clock, forget, handler

from milepost.domain.accounting import Entry, entry_id
from milepost.domain.capture import Capture, Transition, capture_id
from milepost.domain.errors import Conflict, Invalid, StoreUnavailable
from milepost.domain.feed import DATASETS, ROWS_VERSION, ColumnType, Dataset
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.notification import Notification
from milepost.pipeline import export_formats, exporting
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.export_formats import FORMATS, Format, arrow_schema, encoder_of
from milepost.pipeline.exporting import SOURCES, Exporter, Limits, Place, Reach, begin, behind
from milepost.pipeline.projector import NAME
from milepost.sql import open_store
from milepost.store import NewRecord, Store, Transaction

AT = parse_instant("2025-01-20T12:00:00Z")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await open_store(database_url, clock=lambda: AT, owner="test")
    yield opened
    await opened.close()


@pytest.fixture
def rng() -> random.Random:
    print(f"MILEPOST_SEED={SEED}")
    return random.Random(SEED)


async def project(store: Store) -> None:
    await Consumer(store, NAME, handler(store), clock).catch_up()


async def begun(
    store: Store,
    name: str,
    reach: Reach = None,
    given: Place | None = None,
    until: int | None = None,
    product: str | None = None,
) -> Place:
    return await store.read(lambda tx: begin(tx, DATASETS[name], reach, product, given, until))


def exporter(store: Store, name: str, format: Format, place: Place, **more: Any) -> Exporter:
    dataset = DATASETS[name]
    header = more.pop("header", True)
    reach = more.pop("reach", None)
    return Exporter(store, dataset, reach, place, encoder_of(format, dataset, header=header), **more)


def piece(rows: int) -> Limits:
    return Limits(rows, 10**9, 10**9)


async def whole(store: Store, name: str, format: Format = "jsonl", place: Place | None = None) -> bytes:
    made = exporter(store, name, format, place or await begun(store, name))
    return b"".join([part async for part in made.parts()])


async def rows(
    store: Store, name: str, place: Place | None = None, reach: Reach = None
) -> list[dict[str, Any]]:
    place = place or await begun(store, name, reach)
    made = exporter(store, name, "jsonl", place, reach=reach)
    return [json.loads(line) for line in b"".join([p async for p in made.parts()]).splitlines()]


def entry(n: int, product: str = BP) -> Entry:
    return Entry(
        entry_id(product, f"o-{n}", f"d-{n}", "delivered", 1, 1),
        product,
        f"o-{n}",
        f"d-{n}",
        "delivered",
        1,
        1,
        "provisional",
        "new",
        Instant(AT + n),
        "2025-01-20",
        "2025-01-20",
        "offset-explicit",
        "2025-01",
        "2025-01",
        AT,
        {"kind": "milestone", "position": n, "eventId": "e"},
    )


def capture(n: int, product: str = BP) -> Capture:
    steps = (Transition(AT, "READY", "projector"),)
    name = capture_id(product, f"o-{n}", f"d-{n}")
    return Capture(name, product, f"o-{n}", f"d-{n}", "READY", AT, (), (), steps)


def notification(n: int, product: str = BP) -> Notification:
    return Notification(f"ntf_{n}", product, f"o-{n}", "", "shipped", "", "WAITING", AT, AT, AT, ())


async def grow(store: Store, n: int) -> None:
    """One more of everything, and a view that is written anew."""

    def write(tx: Transaction) -> None:
        body = json.dumps({"subject": f"order/o-{n}", "code": "LATE", "raised": True, "at": AT, "about": []})
        tx.journal.add([NewRecord("condition", BP, "LATE", AT, AT, "sweeper", body.encode())])
        tx.books.post([entry(n)])
        tx.ledger.put_captures([capture(n)])
        tx.notifications.add([notification(n)])
        pages = tx.views.page("delivery", None, 1_000, None)
        if pages:
            tx.views.put([replace(pages[n % len(pages)][1], state="DELIVERED")])

    await store.write(write)


@pytest.fixture
async def filled(store: Store) -> Store:
    """Twelve parcels with views, and some entries in each ledger."""
    await fill(store, 84)
    await project(store)
    for n in range(9):
        await grow(store, n)
    return store


# ── Cut anywhere ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("name", DATASETS)
async def test_a_resumed_export_equals_an_uninterrupted_one(
    filled: Store, name: str, format: Format, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut behind any page, pages of any size, while records are appended, ledgers grow and views are rewritten."""
    place = await begun(filled, name)
    expected = await whole(filled, name, format, place)
    changes = 0
    for turn in range(4):
        found, at = b"", place
        while True:
            monkeypatch.setattr(exporting, "RECORDS", rng.randint(1, 30))
            monkeypatch.setattr(exporting, "OTHERS", rng.randint(1, 8))
            monkeypatch.setattr(exporting, "BYTES", rng.choice((1, 2_000, 1_000_000)))
            part = exporter(filled, name, format, at, header=at == place)
            found += b"".join([p async for p in part.parts(piece(rng.randint(1, 40)))])
            at = part.place
            if at.done:
                break
            if DATASETS[name].appended or turn >= 2:
                await grow(filled, 1_000 + changes)
                changes += 1
            # What was cut is taken up from its cursor by somebody who knows nothing else.
            assert await begun(filled, name, given=at) == at
        if DATASETS[name].appended or turn < 2:
            assert found == expected
        else:
            assert keys(name, found, format) == keys(name, expected, format)


def keys(name: str, file: bytes, format: Format) -> list[tuple[object, ...]]:
    """Which rows a file has, in their order, whatever they say."""
    columns = [
        c for c in ("position", "number", "part", "id") if c in {d.name for d in DATASETS[name].columns}
    ]
    if format == "csv":
        return [
            tuple(row[c] for c in columns if c != "position")
            for row in csv.DictReader(io.StringIO(file.decode()))
        ]
    return [tuple(json.loads(line)[c] for c in columns if c != "position") for line in file.splitlines()]


async def test_pages_by_size_are_cut_between_records(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    place = await begun(filled, "facts")
    expected = await whole(filled, "facts", "jsonl", place)
    monkeypatch.setattr(exporting, "BYTES", 1)
    part = exporter(filled, "facts", "jsonl", place)
    parts = [p async for p in part.parts()]
    assert b"".join(parts) == expected
    positions = [[json.loads(line)["position"] for line in p.splitlines()] for p in parts]
    assert all(len(set(of)) == 1 for of in positions)
    assert len(parts) == len({p for of in positions for p in of})


@pytest.mark.parametrize("name", ["facts", "accounting"])
async def test_what_came_since_is_an_export_of_its_own(filled: Store, name: str) -> None:
    first = await begun(filled, name)
    before = await whole(filled, name, "jsonl", first)
    since = behind(first, DATASETS[name])
    assert since is not None
    assert await begun(filled, name, given=since) == since
    await grow(filled, 500)
    more = await begun(filled, name, given=since)
    after = await whole(filled, name, "jsonl", more)
    assert after
    assert before + after == await whole(filled, name, "jsonl")


async def test_an_export_ends_where_it_began_however_much_comes(filled: Store) -> None:
    for number, name in enumerate(DATASETS):
        place = await begun(filled, name)
        expected = await whole(filled, name, "jsonl", place)
        part = exporter(filled, name, "jsonl", place)
        found = [p async for p in part.parts(piece(1))]
        for n in range(3):
            await grow(filled, 2_000 + 10 * number + n)
        rest = exporter(filled, name, "jsonl", part.place)
        found += [p async for p in rest.parts()]
        assert keys(name, b"".join(found), "jsonl") == keys(name, expected, "jsonl")


async def test_until_ends_an_export_of_what_only_grows(filled: Store) -> None:
    place = await begun(filled, "facts", until=20)
    assert {row["position"] for row in await rows(filled, "facts", place)} == set(range(1, 21))
    assert (await begun(filled, "facts", until=10**9)).until == await filled.read(
        lambda tx: tx.journal.last_position()
    )
    with pytest.raises(Invalid):
        await begun(filled, "orders", until=3)
    with pytest.raises(Invalid):
        await begun(filled, "facts", given=replace(place, after=3), until=10)


async def test_what_was_removed_leaves_a_gap_and_no_end(filled: Store) -> None:
    place = await begun(filled, "facts")
    everything = await rows(filled, "facts", place)
    await filled.write(lambda tx: tx.journal.remove(range(5, 60)))
    left = [row for row in everything if not 5 <= row["position"] < 60]
    assert await rows(filled, "facts", place) == left
    last = await filled.read(lambda tx: tx.journal.last_position())
    assert await rows(filled, "facts", replace(place, until=50)) == [r for r in left if r["position"] < 5]
    assert last == place.until


async def test_a_cursor_of_something_else_is_refused(filled: Store) -> None:
    place = replace(await begun(filled, "facts"), after=3)
    for wrong in (
        replace(place, rows=ROWS_VERSION + 1),
        replace(place, business_product_id="bp-2"),
        replace(place, after=place.until + 1),
    ):
        with pytest.raises(Invalid):
            await begun(filled, "facts", given=wrong)
    done = await begun(filled, "orders")
    with pytest.raises(Invalid):
        await begun(filled, "orders", given=replace(done, after=done.until))


@pytest.mark.parametrize("name", ["orders", "deliveries", "trackers", "milestones"])
async def test_an_export_that_a_rebuild_falls_into_says_so(filled: Store, name: str) -> None:
    interrupted = replace(await begun(filled, name), after=1)
    assert await whole(filled, name, place=interrupted)
    await forget(filled)
    with pytest.raises(Conflict):
        await whole(filled, name, "jsonl", interrupted)
    await project(filled)
    with pytest.raises(Conflict):
        await whole(filled, name, "jsonl", interrupted)
    assert await whole(filled, name)


async def test_only_the_reach_is_exported(filled: Store) -> None:
    await filled.write(lambda tx: tx.books.post([entry(900, "bp-2")]))
    for name in DATASETS:
        everything = await rows(filled, name)
        for reach in ([BP], [PRODUCT], ["bp-2"], [BP, PRODUCT], []):
            mine = [row for row in everything if row["businessProductId"] in reach]
            assert await rows(filled, name, reach=reach) == mine
        extent = await filled.read(lambda tx, n=name: SOURCES[n].extent(tx, []))  # type: ignore[misc]
        assert extent[0] in (0, None)


async def test_whoever_may_no_longer_is_told_nothing_more(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "RECORDS", 10)
    asked = 0

    def allowed(tx: Transaction) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise StoreUnavailable("no longer")

    place = await begun(filled, "facts")
    made = exporter(filled, "facts", "jsonl", place, allowed=allowed)
    assert [p async for p in made.parts(piece(1))]
    with pytest.raises(StoreUnavailable):
        [p async for p in made.parts()]


async def test_a_piece_ends_in_time_also_for_who_sees_nothing(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "RECORDS", 10)
    place = await begun(filled, "facts", [])
    made = exporter(filled, "facts", "jsonl", place, reach=[])
    assert [p async for p in made.parts(Limits(10, 10**9, 2))] == []
    assert (made.place.after, made.place.done) == (20, False)
    everything = exporter(filled, "facts", "jsonl", await begun(filled, "facts"))
    found = b"".join([p async for p in everything.parts(Limits(10**9, 1, 10**9))])
    assert json.loads(found.splitlines()[-1])["position"] == everything.place.after == 10


async def test_an_empty_hub_has_empty_files(store: Store) -> None:
    for name in DATASETS:
        place = await begun(store, name)
        assert place == Place(ROWS_VERSION, None, 0, 0)
        assert await whole(store, name) == b""
        names = ",".join(column.name for column in DATASETS[name].columns)
        assert await whole(store, name, "csv") == f"{names}\r\n".encode()
        assert pq.read_table(pa.BufferReader(await whole(store, name, "parquet"))).num_rows == 0


# ── Formats ────────────────────────────────────────────────────────────────────────────────────────────────


DUCK: dict[ColumnType, str] = {
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "instant": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "text": "VARCHAR",
    "code": "VARCHAR",
}
POLARS: dict[ColumnType, str] = {
    "integer": "Int64",
    "boolean": "Boolean",
    "instant": "Datetime(time_unit='ms', time_zone='UTC')",
    "date": "Date",
    "text": "String",
    "code": "Categorical",
}


@pytest.mark.parametrize("name", DATASETS)
async def test_parquet_opens_in_polars_and_duckdb_with_the_documented_types(
    filled: Store, name: str, tmp_path: Any
) -> None:
    file = tmp_path / f"{name}.parquet"
    file.write_bytes(await whole(filled, name, "parquet"))
    dataset = DATASETS[name]
    expected = await rows(filled, name)
    frame = polars.read_parquet(file)
    assert {c: str(t) for c, t in frame.schema.items()} == {c.name: POLARS[c.type] for c in dataset.columns}
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        assert {row[0]: row[1] for row in described} == {c.name: DUCK[c.type] for c in dataset.columns}
        connection.execute("SET TimeZone = 'UTC'")
        counted = connection.execute(f"SELECT count(*) FROM '{file}'").fetchone()
    assert counted == (len(expected),)
    assert expected
    assert [_as_json(dataset, row) for row in frame.to_dicts()] == expected


def _as_json(dataset: Dataset, row: dict[str, Any]) -> dict[str, Any]:
    """A row out of a data frame as JSON Lines has it."""
    found: dict[str, Any] = {}
    for column in dataset.columns:
        value = row[column.name]
        if value is not None and column.type == "instant":
            value = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")[:-6] + "Z"
        elif value is not None and column.type == "date":
            value = value.isoformat()
        found[column.name] = value
    return found


async def test_a_parquet_file_is_the_same_however_its_pages_were_cut(
    filled: Store, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_formats, "ROWS_A_GROUP", 50)
    place = await begun(filled, "facts")
    expected = await whole(filled, "facts", "parquet", place)
    described = pq.ParquetFile(pa.BufferReader(expected)).metadata
    sizes = [described.row_group(n).num_rows for n in range(described.num_row_groups)]
    assert set(sizes[:-1]) == {50}
    assert described.metadata[b"milepost.rowsVersion"] == str(ROWS_VERSION).encode()
    for _ in range(4):
        monkeypatch.setattr(exporting, "RECORDS", rng.randint(1, 30))
        assert await whole(filled, "facts", "parquet", place) == expected


def test_formulas_are_texts_in_csv_only() -> None:
    dataset = DATASETS["captures"]
    width = len(dataset.columns)
    texts = [
        '=HYPERLINK("http://evil")',
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\n=1",
        "\uff1d1",
        "a=1",
        'say "so", it is',
        "é\ud800",
    ]
    given = [(-5, text, None, text, *([None] * (width - 5)), -7) for text in texts]
    read = list(csv.reader(io.StringIO(encoder_of("csv", dataset).encode(given).decode("utf-8"), newline="")))
    assert [row[1] for row in read] == [
        '\'=HYPERLINK("http://evil")',
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "'\tx",
        "'\rx",
        "'\n=1",
        "'\uff1d1",
        "a=1",
        'say "so", it is',
        "é?",
    ]
    assert {(row[0], row[2], row[-1]) for row in read} == {("-5", "", "-7")}
    lines = encoder_of("jsonl", dataset).encode(given).splitlines()
    sound = [*texts[:-1], "é?"]
    assert [json.loads(line)["id"] for line in lines] == sound
    assert encoder_of("parquet", dataset).encode(given).column("id").to_pylist() == sound


def test_csv_is_what_rfc_4180_says() -> None:
    dataset = DATASETS["captures"]
    encoder = encoder_of("csv", dataset)
    head = encoder.head()
    assert head.endswith(b"\r\n")
    assert head.count(b",") == len(dataset.columns) - 1
    assert encoder_of("csv", dataset, header=False).head() == b""
    row = (1, 'a "quoted", text\r\nof two lines', *([None] * (len(dataset.columns) - 2)))
    assert encoder.encode([row]).startswith(b'1,"a ""quoted"", text\r\nof two lines",,')


def test_every_format_and_dataset_has_an_encoder_and_a_source() -> None:
    assert set(SOURCES) == set(DATASETS)
    for dataset in DATASETS.values():
        assert arrow_schema(dataset).names == [column.name for column in dataset.columns]
        for each in FORMATS:
            assert encoder_of(each, dataset)
