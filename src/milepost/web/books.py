"""`/v1/accounting`: the accountant's rows, and the periods that are closed.

When rows are due is `domain.booking`'s, posting them and closing a period `pipeline.booking`'s.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import structlog
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.accounting import Entry, Period
from milepost.domain.booking import is_period
from milepost.domain.errors import Invalid, NotFound
from milepost.domain.instant import format_instant
from milepost.pipeline.booking import close_period
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct

Month = Annotated[str, PathParameter(description="The period: YYYY-MM.", max_length=16)]

log = structlog.get_logger()


class EntryItem(Document):
    """One row of the accounting feed; it never changes."""

    id: str
    business_product_id: str
    order_id: str
    delivery_id: str
    kind: str
    """shipped or delivered."""
    revision: int
    """From 1. A reversal has the revision that it reverses."""
    sign: int
    """1 states it; -1 reverses the row of the same delivery, kind and revision."""
    status: str
    """provisional or settled."""
    reason: str
    """new, correction, settled or withdrawn."""
    occurred_at: str
    destination_date: str
    """The local day at the destination."""
    origin_date: str
    """The local day where it was sent from."""
    zone: str
    """How the day that decides the tax period is known: offset-explicit, utc, inferred-from-place, date-only or
    unknown."""
    tax_period: str
    """The month of `originDate` when it shipped, of `destinationDate` when it was delivered."""
    posting_period: str
    """The month that it is posted to: the tax period, or the first open one after it."""
    posted_at: str
    evidence: dict[str, Any]
    """What showed it: kind, type, time, source, and the record's position and event id."""
    settles_at: str | None
    """When a provisional row was to be settled, as it was posted."""


class PeriodItem(Document):
    """A closed period: nothing is posted to it any more."""

    business_product_id: str
    period: str
    closed_at: str
    closed_by: str
    """An API key's id."""


@get(
    "/v1/accounting/entries",
    summary="List the accountant's rows, oldest first",
    tags=["Accounting"],
    responses=problems(),
)
async def list_entries(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    period: Annotated[
        str | None,
        QueryParameter(
            name="period", description="Only what is posted to this month: YYYY-MM.", max_length=16
        ),
    ] = None,
    order_id: Annotated[
        str | None, QueryParameter(name="orderId", description="Only of this order.", max_length=512)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[EntryItem]:
    """In the order in which they were posted. Rows are added and never changed, so a cursor goes on where it was; the
    signs of an order's delivery and kind sum to 1 while it is so, and to 0 when it is not."""
    if period is not None and not is_period(period):
        raise Invalid(f"{period!r} is no month, as in 2025-01", field="period")
    reach, size = caller.reach(business_product_id), page_size(limit)
    start = 0 if after is None else decode_cursor("entry", after, int)

    def read(tx: Transaction) -> Sequence[tuple[int, Entry]]:
        if order_id is not None and "\x00" in order_id:
            return []
        return tx.books.page(start, size + 1, reach, period, order_id)

    rows = await context.store.read(read)
    return cut("entry", rows, size, lambda row: row[0], lambda row: _entry_item(row[1]))


@get(
    "/v1/accounting/periods",
    summary="List closed periods",
    tags=["Accounting"],
    responses=problems(),
)
async def list_periods(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[PeriodItem]:
    """By business product and month. A period that is not listed is open."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    start = ("", "") if after is None else decode_cursor("period", after, tuple[str, str])
    rows = await context.store.read(lambda tx: tx.books.periods(start, size + 1, reach))
    return cut("period", rows, size, lambda row: (row.business_product_id, row.period), _period_item)


@post(
    "/v1/accounting/periods/{period:str}/close",
    summary="Close a period",
    tags=["Accounting"],
    opt=OPERATE,
    status_code=200,
    responses=problems(403, 404, 409),
)
async def close(
    context: Hub, caller: Caller, period: Month, business_product_id: BusinessProduct = None
) -> PeriodItem:
    """Nothing is posted to it from now on, for good: what turns out otherwise is reversed and restated in the first
    open period. Of one business product, which must be named unless the key is bound to just one. Again changes
    nothing. 409 `conflict` before it has ended everywhere."""
    now = context.clock()

    def write(tx: Transaction) -> Period:
        product = _product(tx, caller, business_product_id)
        return close_period(tx, product, period, caller.id, now)

    closed = await context.store.write(write)
    log.info("accounting.closed", period=closed.period, product=closed.business_product_id, by=caller.id)
    return _period_item(closed)


def _product(tx: Transaction, caller: Principal, named: str | None) -> str:
    """The one business product that is meant. Raises `Invalid` and `NotFound`."""
    reach = caller.reach(named)
    if named is None:
        if reach is None or len(reach) != 1:
            raise Invalid(
                "A period is closed for one business product: say which with ?businessProductId=.",
                field="businessProductId",
            )
        return next(iter(reach))
    if "\x00" in named or not _is_known(tx, named):
        raise NotFound("There is no such business product.", businessProductId=named)
    return named


def _is_known(tx: Transaction, business_product_id: str) -> bool:
    """Whether anything was ever heard of it; rows stay when every record of it is gone."""
    return business_product_id in tx.journal.business_products() or bool(
        tx.books.page(0, 1, (business_product_id,))
    )


def _entry_item(entry: Entry) -> EntryItem:
    shown = {name: getattr(entry, name) for name in entry.__struct_fields__}
    for name in ("occurred_at", "posted_at", "settles_at"):
        shown[name] = None if shown[name] is None else format_instant(shown[name])
    return EntryItem(**shown)


def _period_item(period: Period) -> PeriodItem:
    return PeriodItem(
        period.business_product_id, period.period, format_instant(period.closed_at), period.closed_by
    )


HANDLERS = [list_entries, list_periods, close]
