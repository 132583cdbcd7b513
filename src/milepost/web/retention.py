"""`/v1/retention`: how long closed orders are kept, what would be removed now and what stays for which reason, and
removing it at once.

Removing is the pipeline's; it goes on by itself in the background. The numbers are of all business products, so a
key that is bound to some is refused.
"""

from typing import Annotated

import structlog
from litestar import get, post
from litestar.params import QueryParameter
from msgspec.structs import asdict

from milepost.domain.errors import Conflict, Forbidden, Invalid, Misconfigured
from milepost.domain.instant import format_instant
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.retention import Retention
from milepost.web.authentication import ADMIN, OPERATE, Caller, Principal
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.problems import problems

MOST_DAYS = 100_000

Behind = Annotated[
    int,
    QueryParameter(name="after", description="The `next` of the answer before.", ge=0, le=2**53),
]

log = structlog.get_logger()


class HorizonItem(Document):
    """Something that must be over before an order may be removed."""

    name: str
    days: int
    """After the last thing that came about the order."""
    text: str
    """Why, for people."""


class TallyDocument(Document):
    """How much is, or was, removed."""

    orders: int
    deliveries: int
    trackers: int
    records: int


class PlanDocument(Document):
    """A dry run: what would be removed now."""

    days: int
    removable: TallyDocument
    oldest: str | None
    """When the last thing about the oldest of them came."""
    kept: dict[str, int]
    """Groups of orders that are old enough and stay, by reason."""
    next: int | None
    """Pass it as `after` to count on; null when everything old enough was counted."""


class RetentionDocument(Document):
    """How long closed orders are kept, and what that means now."""

    days: int
    """0: for ever."""
    horizons: list[HorizonItem]
    """The longest first: fewer days than that are refused."""
    removed_records: int
    """Since the database was made."""
    last_run_at: str | None
    """When a hub last looked by itself for what may go."""
    plan: PlanDocument | None
    """Null when closed orders are kept for ever and no `days` were asked about."""


class RemovalDocument(Document):
    """What one request removed."""

    removed: TallyDocument
    next: int | None
    """Pass it as `after` to go on; null at the end."""


@get(
    "/v1/retention",
    summary="Show what would be removed",
    tags=["Operations"],
    opt=OPERATE,
    responses=problems(403, 409),
)
async def show_retention(
    context: Hub,
    caller: Caller,
    days: Annotated[
        int | None,
        QueryParameter(name="days", description="As if closed orders were kept so long.", ge=0, le=MOST_DAYS),
    ] = None,
    after: Behind = 0,
) -> RetentionDocument:
    """The setting, the horizons it must not fall short of, and a dry run that changes nothing. The dry run looks at a
    bounded part of the journal: where `plan.next` is not null, ask on behind it and add up."""
    retention = _retention(context, caller)
    try:
        plan = await retention.plan(days, after)
    except Misconfigured as e:
        raise Invalid(e.detail, field="days") from e
    counts = await context.store.read(lambda tx: tx.journal.counts(PROJECTOR))
    last_run = await retention.last_run()
    wanted = retention.days if days is None else days
    shown = PlanDocument(
        wanted,
        TallyDocument(**asdict(plan.removable)),
        None if plan.oldest is None else format_instant(plan.oldest),
        {str(reason): count for reason, count in sorted(plan.kept.items())},
        plan.next,
    )
    return RetentionDocument(
        retention.days,
        [HorizonItem(horizon.name, horizon.days, horizon.text) for horizon in retention.horizons],
        counts.removed,
        None if last_run is None else format_instant(last_run),
        shown if wanted else None,
    )


@post(
    "/v1/retention",
    summary="Remove closed orders now",
    tags=["Operations"],
    opt=ADMIN,
    status_code=200,
    responses=problems(403, 409),
)
async def run_retention(context: Hub, caller: Caller, after: Behind = 0) -> RemovalDocument:
    """Removes what may go, without waiting for the hub to do it by itself. One request looks at a bounded part of the
    journal: where `next` is not null, post on behind it. There is no way back. 409 while closed orders are kept
    for ever (MILEPOST_RETENTION_DAYS is 0)."""
    retention = _retention(context, caller)
    if not retention.days:
        raise Conflict(
            "Closed orders are kept for ever; MILEPOST_RETENTION_DAYS says for how long they should be."
        )
    done = await retention.remove(after)
    log.info(
        "retention.removed_by_hand", by=caller.id, orders=done.removed.orders, records=done.removed.records
    )
    return RemovalDocument(TallyDocument(**asdict(done.removed)), done.next)


def _retention(context: Context, caller: Principal) -> Retention:
    if caller.business_products is not None:
        raise Forbidden("Retention is of all business products; this key is bound to some.")
    if context.retention is None:
        raise Conflict("This program removes nothing: it has no retention.")
    return context.retention


HANDLERS = [show_retention, run_retention]
