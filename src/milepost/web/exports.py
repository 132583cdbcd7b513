"""`/v1/exports`: the analytics feed: which datasets there are, and their rows as files.

Without `limit` an answer is the whole of an export, streamed as fast as it is taken; one that breaks off is no whole
file, and its receiver sees that. With `limit` it is a piece of it, and `Milepost-Next` the cursor of the next piece:
so an export goes on where it broke off. Rows and cursors are `pipeline.exporting`'s, files are
`pipeline.export_formats`'.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Annotated, Any

import structlog
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import (
    Invalid,
    MilepostError,
    Misconfigured,
    NotFound,
    Overloaded,
)
from milepost.domain.feed import DATASETS, Dataset
from milepost.pipeline.export_formats import FORMATS, MEDIA_TYPES, Format, encoder_of
from milepost.pipeline.exporting import SOURCES, Exporter, Limits, Place, begin, behind
from milepost.pipeline.mappings import mappings_of
from milepost.store import Transaction
from milepost.web.authentication import Caller, Principal
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import decode_cursor, encode_cursor
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach
from milepost.web.streaming import Streamed, still_good

MOST = 4
"""Exports under way at once; one more is refused with `overloaded`. Each holds a page, or a Parquet row group."""
MOST_ROWS = 20_000
"""Rows a piece, about; more are clamped."""
MOST_BYTES = 4_000_000
"""Bytes a piece, about."""
MOST_PAGES = 100
"""Pages of the store that are read for a piece, whoever's they are: up to 50,000 records."""

log = structlog.get_logger()


class ColumnItem(Document):
    name: str
    type: str
    description: str


class DatasetItem(Document):
    """What can be exported under one name."""

    name: str
    description: str
    appended: bool
    """Rows are added and never change: what came since an export can be exported by itself."""
    count: int | None
    """How many views or entries there are now; null where they would have to be read to be counted."""
    last: int
    """The highest position, or number, there is now."""
    columns: list[ColumnItem]


class DatasetList(Document):
    mapping_version: int
    """The newest of what carriers' codes are taken to mean."""
    formats: list[str]
    items: list[DatasetItem]


@get("/v1/exports", summary="List what can be exported", tags=["Exports"], responses=problems())
async def list_exports(
    context: Hub, caller: Caller, business_product_id: BusinessProduct = None
) -> DatasetList:
    """Every dataset with its columns, and how much there is of it."""
    reach = caller.reach(business_product_id)

    def read(tx: Transaction) -> DatasetList:
        items = [_item(tx, dataset, reach) for dataset in DATASETS.values()]
        return DatasetList(mappings_of(tx).newest.version, list(FORMATS), items)

    return await context.store.read(read)


def _item(tx: Transaction, dataset: Dataset, reach: Reach) -> DatasetItem:
    count, last = SOURCES[dataset.name].extent(tx, reach)
    columns = [ColumnItem(column.name, column.type, column.text) for column in dataset.columns]
    return DatasetItem(dataset.name, dataset.text, dataset.appended, count, last, columns)


@get(
    "/v1/exports/{dataset:str}",
    summary="Export a dataset",
    tags=["Exports"],
    responses={
        **problems(404, 409),
        200: ResponseSpec(bytes, description="The file, or a piece of it.", media_type="text/csv"),
    },
)
async def export(
    context: Hub,
    caller: Caller,
    dataset: Annotated[str, PathParameter(description="The dataset's name.", max_length=64)],
    in_format: Annotated[
        str, QueryParameter(name="format", description="csv, jsonl or parquet.", required=False)
    ] = "csv",
    business_product_id: BusinessProduct = None,
    after: Annotated[
        str | None,
        QueryParameter(
            name="after",
            description="`Milepost-Next` of the piece before, or `Milepost-Since` of an earlier export.",
            max_length=1_024,
        ),
    ] = None,
    until: Annotated[
        int | None,
        QueryParameter(
            name="until", description="Not beyond this position (of accounting: number).", ge=0, le=2**63 - 1
        ),
    ] = None,
    limit: Annotated[
        int | None,
        QueryParameter(name="limit", description="A piece of about so many rows; the whole without.", ge=1),
    ] = None,
    header: Annotated[
        bool, QueryParameter(name="header", description="Whether CSV begins with the columns' names.")
    ] = True,
) -> Response[Any]:
    """Rows from the beginning, or behind a cursor, up to what is there when the export begins."""
    _UNDER_WAY.check()
    wanted, written = _dataset(dataset), _format(in_format)
    reach = caller.reach(business_product_id)
    name = _cursor_name(wanted)
    given = None if after is None else decode_cursor(name, after, Place)

    def start(tx: Transaction) -> tuple[Place, int]:
        return begin(tx, wanted, reach, business_product_id, given, until), mappings_of(tx).newest.version

    place, version = await context.store.read(start)
    try:
        # What writes Parquet is loaded when it is first asked for, which takes a while.
        encoder = await asyncio.to_thread(encoder_of, written, wanted, header=header)
    except Misconfigured as e:
        raise Invalid(f"this hub cannot write that: {e.detail}", field="format") from e
    exporter = Exporter(context.store, wanted, reach, place, encoder, still_good(context, caller))
    body = _Counted(_told(exporter, wanted, caller, limit))
    saved = {"Content-Disposition": f'attachment; filename="{wanted.name}.{written}"'}
    if limit is None:
        headers = _headers(wanted, exporter, version) | saved
        return Streamed(body, body.end, headers=headers, media_type=MEDIA_TYPES[written])
    piece = b"".join([part async for part in body])
    headers = _headers(wanted, exporter, version) | saved | {"Milepost-Rows": str(exporter.rows)}
    if not exporter.place.done:
        headers["Milepost-Next"] = encode_cursor(name, exporter.place)
    return Response(piece, headers=headers, media_type=MEDIA_TYPES[written])


def _dataset(name: str) -> Dataset:
    found = DATASETS.get(name)
    if found is None:
        raise NotFound(f"There is no dataset {name!r}; there are {', '.join(DATASETS)}.")
    return found


def _format(name: str) -> Format:
    for known in FORMATS:
        if name == known:
            return known
    raise Invalid(f"format is {name[:20]!r}; it must be one of {', '.join(FORMATS)}", field="format")


def _cursor_name(dataset: Dataset) -> str:
    return f"export/{dataset.name}"


def _headers(dataset: Dataset, exporter: Exporter, version: int) -> dict[str, str]:
    """The newest version of what codes mean, where the export is and where it ends; `Milepost-Since` is where the
    next one begins."""
    place = exporter.place
    headers = {
        "Milepost-Mapping-Version": str(version),
        "Milepost-At": str(place.after),
        "Milepost-Until": str(place.until),
    }
    since = behind(place, dataset)
    return (
        headers
        if since is None
        else headers | {"Milepost-Since": encode_cursor(_cursor_name(dataset), since)}
    )


async def _told(
    exporter: Exporter, dataset: Dataset, caller: Principal, limit: int | None
) -> AsyncIterator[bytes]:
    """The parts of the file, and a word on how it ended."""
    limits = None if limit is None else Limits(min(limit, MOST_ROWS), MOST_BYTES, MOST_PAGES)
    try:
        async for part in exporter.parts(limits):
            yield part
    except MilepostError as e:
        if limit is None:
            log.warning("export.broke_off", dataset=dataset.name, rows=exporter.rows, error=e.code)
        raise
    if limit is None:
        log.info("export.ended", dataset=dataset.name, rows=exporter.rows, by=caller.id)


class _UnderWay:
    """How many exports are under way."""

    def __init__(self) -> None:
        self.count = 0

    def check(self) -> None:
        """Raises `Overloaded`."""
        if self.count >= MOST:
            raise Overloaded(f"{MOST} exports are under way; wait for one.")

    def begin(self) -> None:
        """One more. Raises `Overloaded`."""
        self.check()
        self.count += 1

    def end(self) -> None:
        self.count -= 1


class _Counted(AsyncIterator[bytes]):
    """The parts of an export, which is under way from now on until they end, break off, or nobody holds them."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        _UNDER_WAY.begin()
        self._parts = parts
        self.end = weakref.finalize(self, _UNDER_WAY.end)
        """It is under way no more; again changes nothing."""

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except BaseException:
            self.end()
            raise


_UNDER_WAY = _UnderWay()

HANDLERS = [list_exports, export]
