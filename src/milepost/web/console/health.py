"""`/health`: whether everything runs: parts and who leads them, what did not come, what is asked of the API, what
failed, and what `milepost doctor` would complain about as far as this process can tell.

The API's own functions tell it. Counts of everything are shown only to whoever sees every business product.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from msgspec import Struct

from milepost.domain.errors import Conflict
from milepost.domain.finding import Finding
from milepost.domain.instant import HOUR, Instant
from milepost.domain.volume import HourVolume
from milepost.pipeline.history import CONSUMER as PUBLISHER
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.volume import today
from milepost.store import Ask, Counts, FailedFold, Transaction
from milepost.web.authentication import Principal
from milepost.web.console.acting import acting, said
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import tell
from milepost.web.context import Context, Hub
from milepost.web.findings import books_findings, missing_findings
from milepost.web.missing import MissingDocument, show_missing
from milepost.web.operations import RetryRequest, retry_hydration
from milepost.web.reading import Reach
from milepost.web.roads import RoadsDocument, show_roads
from milepost.web.visiting import Looking, Visitor, needs

CONSUMERS: Final = (PROJECTOR, HYDRATOR, PUBLISHER)
PRIORITIES: Final = {0: "money (a parcel was shipped)", 1: "what people see", 2: "the rest"}
LISTED: Final = 20
OPEN: Final = 500
"""Open questions that are counted by priority."""
LOOKED_EVERY_MS: Final = 60_000
"""What did not come and the roads change slowly and are read from many records: a page in between shows what the last
one found."""


class Everything(Struct):
    """What is of all business products together."""

    counts: Counts
    asks: dict[str, int]
    leases: dict[str, list[str]]
    """Who has which, now."""
    positions: list[tuple[str, int, int]]
    """Consumer, its position, how many positions it is behind."""


class Read(Struct):
    """What one read of the store gave."""

    everything: Everything | None
    hours: list[HourVolume]
    open: dict[int, int]
    given_up: list[Ask]
    failures: list[FailedFold]


class Bar(Struct):
    """An hour of the chart, in the units of its drawing: 24 wide, 100 high."""

    at: Instant
    events: int
    usual: float | None
    height: int
    usual_height: int | None


@get("/health", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def health(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, state: State
) -> Response[str]:
    return await _page(context, request, visitor, state)


async def _page(
    context: Context, request: Request[Any, Any, Any], visitor: Visitor, state: State, error: str = ""
) -> Response[str]:
    caller, now = acting(visitor), context.clock()
    read: Read = await context.store.read(lambda tx: _read(tx, visitor.business_products, now))
    roads, missing = await _looked(context, caller, state, now)
    moving, told = context.ready()
    findings = list(missing_findings(msgspec.to_builtins(missing)))
    if read.everything is not None:
        findings = [*books_findings(read.everything.counts, read.everything.asks), *findings]
    if not moving:
        failing = ", ".join(map(str, _list(told, "failing"))) or "a part"
        findings.insert(0, Finding("parts", False, f"{failing} does not move", "see the hub's log"))
    return page(
        request,
        visitor,
        "health.html",
        now=now,
        status=409 if error else 200,
        read=read,
        bars=bars_of(read.hours),
        roads=roads,
        missing=missing,
        findings=findings,
        told=told,
        parts=_parts(told),
        queues=told.get("queues") or {},
        budget=None if context.hydration_budget is None else context.hydration_budget(),
        in_part=context.answered_in_part(),
        can_ask=context.hydrator is not None,
        priorities=PRIORITIES,
        size=await context.store.size() if read.everything is not None else 0,
        version=context.version,
        done=request.query_params.get("done", ""),
        error=error,
    )


def _read(tx: Transaction, reach: Reach, now: Instant) -> Read:
    products = tx.journal.business_products() if reach is None else sorted(reach)
    asks = tx.work.page(None, OPEN, reach, "open")
    return Read(
        _everything(tx, now) if reach is None else None,
        today(tx, now, products),
        dict(sorted(Counter(ask.priority for ask in asks).items())),
        tx.work.page(None, LISTED, reach, "gaveUp"),
        tx.views.failures(0, LISTED, reach),
    )


def _everything(tx: Transaction, now: Instant) -> Everything:
    leases: dict[str, list[str]] = {}
    for lease in tx.leases.all():
        if lease.until > now:
            leases.setdefault(lease.label or lease.owner, []).append(lease.name)
    last = tx.journal.last_position()
    positions = [(name, at := tx.journal.checkpoint(name), max(0, last - at)) for name in CONSUMERS]
    return Everything(tx.journal.counts(PROJECTOR), tx.work.count(), leases, positions)


async def _looked(
    context: Context, caller: Principal, state: State, now: Instant
) -> tuple[RoadsDocument, MissingDocument]:
    """The roads and what did not come, of the last minute; kept for whoever sees all business products."""
    kept = state.get("looked") if caller.business_products is None else None
    if kept is not None and kept[0] is context.store and 0 <= now - kept[1] < LOOKED_EVERY_MS:
        return kept[2], kept[3]
    roads: RoadsDocument = await show_roads.fn(context, caller)
    missing: MissingDocument = await show_missing.fn(context, caller)
    if caller.business_products is None:
        state.looked = context.store, now, roads, missing
    return roads, missing


def _list(told: Mapping[str, object], name: str) -> list[object]:
    found = told.get(name)
    return list(found) if isinstance(found, list | tuple) else []


def _parts(told: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """(part, leading or standby, who leads) of this process."""
    found = told.get("parts")
    if not isinstance(found, Mapping):
        return []
    return [
        (str(name), str(part.get("state")), str(part.get("leader") or "")) for name, part in found.items()
    ]


def bars_of(hours: list[HourVolume]) -> list[Bar]:
    """The hours as bars of at most 100; an hour with anything is at least 2 high."""
    top = max((max(hour.events, hour.usual or 0) for hour in hours), default=0)

    def height(value: float) -> int:
        return 0 if not value or not top else max(2, round(100 * value / top))

    return [
        Bar(
            Instant(one.hour * HOUR),
            one.events,
            one.usual,
            height(one.events),
            None if one.usual is None else height(one.usual),
        )
        for one in hours
    ]


@post("/health/hydration", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def ask_again(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, state: State
) -> Response[str]:
    """Ask the API again now about what was given up."""
    form = await read_form(request, visitor)
    wanted = RetryRequest(form.get("product", ""), form.get("target", ""))
    try:
        await retry_hydration.fn(context, acting(visitor), wanted)
    except Conflict as e:
        return await _page(context, request, visitor, state, said(e))
    product = wanted.business_product_id
    await tell(context, visitor, "hydration.retried", wanted.target, product=product)
    return see_other("/health?done=asked")


HANDLERS = [health, ask_again]
