"""`/v1/missing`: what did not come: silent subscriptions, a missing scope, what each road loses, what is overdue.

`look` is what this page and `/metrics` tell; the rules are `domain.volume`'s, `loss`'s and `missing`'s.
"""

from collections.abc import Iterator, Sequence

from litestar import get
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily, Metric

from milepost.domain.errors import Invalid
from milepost.domain.event import VIEW_TRACKER
from milepost.domain.instant import HOUR, Instant, format_instant
from milepost.domain.loss import GRACE_MS, Loss, losses
from milepost.domain.missing import next_ask, overdue
from milepost.domain.volume import MILESTONE, Scope, Silence, scopes
from milepost.pipeline.reconciler import PAGE, STAGES, Open, Place, walk
from milepost.pipeline.sampling import Sample, sample
from milepost.pipeline.volume import lately, listen
from milepost.store import Transaction
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, decode_cursor, encode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach

MOST_PAGES = 10
"""Pages of open views that one request looks through."""


class SilentDocument(Document):
    """A road that stopped to bring something that it used to bring."""

    business_product_id: str
    road: str
    type: str
    """An event type; or `order` or `milestone`, all package events of that family together."""
    since: str
    """The end of the hour in which the last one came."""
    expected: float
    """How many should have come since, by what is usual in these hours of the week. Nine and more is no chance."""


class ScopeDocument(Document):
    """Order events come and parcels are scanned, but no milestone event comes."""

    business_product_id: str
    missing: str
    """The event type that never came."""
    permission: str
    """What credentials need to subscribe to it."""
    order_events: int
    scanned_deliveries: int


class LossDocument(Document):
    """What one road did not bring of a type, among the orders looked at."""

    road: str
    type: str
    expected: int
    lost: int
    loss_rate: float
    unheard: int
    """Those of the lost that no road brought: an answer of the API told of them."""
    subjects: list[str]
    """What the newest of the lost are about, at most ten."""


class MissingDocument(Document):
    """What did not come, and what was looked at."""

    silent: list[SilentDocument]
    scopes: list[ScopeDocument]
    losses: list[LossDocument]
    """Only of roads and types in use: what nobody subscribed to is not lost."""
    orders: int
    """How many orders the losses were measured on."""
    since: str | None
    """When the oldest record came that was looked at."""
    grace_ms: int
    """An event is given so long to come before it counts as lost."""
    watched_hours: int
    """Hours of the last six weeks in which a hub counted. Silence can be told after two weeks."""


class ExpectedDocument(Document):
    """One thing that should have been heard."""

    code: str
    since: str
    due_at: str


class OverdueItem(Document):
    """A delivery or a tracker of which something should have been heard by now."""

    kind: str
    business_product_id: str
    id: str
    order_id: str | None
    state: str
    expected: list[ExpectedDocument]
    """What should have been, the longest overdue first."""
    next_ask_at: str | None
    """When Buy with Prime is asked about it next."""


class Looked(Struct):
    """What one read found."""

    silent: Sequence[Silence]
    scopes: Sequence[Scope]
    losses: Sequence[Loss]
    sample: Sample
    watched_hours: int


def look(tx: Transaction, reach: Reach, now: Instant) -> Looked:
    """What is missing as of now, at a cost that does not grow with the journal."""
    heard, spans, seen = listen(tx, now, reach), lately(tx, now, reach), sample(tx, now, reach)
    lost = losses(seen.happened, spans, now)
    return Looked(heard.silences, scopes(spans, seen.scanned), lost, seen, heard.watched)


def metrics_of(looked: Looked) -> Iterator[Metric]:
    """The same numbers for Prometheus."""
    silent = "Subscriptions that fell silent against their usual volume."
    yield GaugeMetricFamily("milepost_silent_subscriptions", silent, len(looked.silent))
    scopes_missing = "Business products whose milestone events nobody subscribed to."
    yield GaugeMetricFamily("milepost_missing_scopes", scopes_missing, len(looked.scopes))
    for name, text, values in (
        (
            "expected",
            "Events of the orders looked at that this road should have brought.",
            [x.expected for x in looked.losses],
        ),
        ("lost", "Of those expected, the ones that it never brought.", [x.lost for x in looked.losses]),
    ):
        family = GaugeMetricFamily(f"milepost_loss_{name}", text, labels=["road", "type"])
        for one, value in zip(looked.losses, values, strict=True):
            family.add_metric([one.road, one.type], value)
        yield family


@get("/v1/missing", summary="Show which events did not come", tags=["Events"], responses=problems())
async def show_missing(
    context: Hub, caller: Caller, business_product_id: BusinessProduct = None
) -> MissingDocument:
    """Subscriptions that fell silent against their usual volume, milestone events that nobody subscribed to, and how
    much each road loses, measured on at most 200 orders, spread over the records of the last two weeks but for the
    newest six hours, whose events may still come."""
    reach, now = caller.reach(business_product_id), context.clock()
    looked = await context.store.read(lambda tx: look(tx, reach, now))
    since = looked.sample.since
    return MissingDocument(
        [_silent(one) for one in looked.silent],
        [_scope(one) for one in looked.scopes],
        [_loss(one) for one in looked.losses],
        looked.sample.orders,
        None if since is None else format_instant(since),
        GRACE_MS,
        looked.watched_hours,
    )


def _silent(one: Silence) -> SilentDocument:
    since = format_instant(Instant((one.last_hour + 1) * HOUR))
    return SilentDocument(one.business_product_id, one.road, one.type, since, one.expected)


def _scope(one: Scope) -> ScopeDocument:
    return ScopeDocument(one.business_product_id, MILESTONE, VIEW_TRACKER, one.order_events, one.scanned)


def _loss(one: Loss) -> LossDocument:
    rate = round(one.lost / one.expected, 4)
    return LossDocument(one.road, one.type, one.expected, one.lost, rate, one.unheard, list(one.subjects))


@get(
    "/v1/missing/overdue",
    summary="List deliveries and trackers of which something should have been heard",
    tags=["Events"],
    responses=problems(),
)
async def list_overdue(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[OverdueItem]:
    """Open deliveries, then trackers, oldest first. One request looks through a bounded number of them, so that a
    page may hold fewer than `limit` and still have a `next`."""
    size, reach, now = page_size(limit), caller.reach(business_product_id), context.clock()
    place = Place() if after is None else decode_cursor("overdue", after, Place)
    if not 0 <= place.stage < len(STAGES):
        raise Invalid("after is not a cursor of this list", field="after")
    policy = context.policy

    def read(tx: Transaction) -> tuple[list[Open], Place | None]:
        found: list[Open] = []
        where: Place | None = place
        for _ in range(MOST_PAGES):
            if where is None:
                break
            rows, where = walk(tx, where, policy, reach, PAGE)
            for behind, one in rows:
                if overdue(one.expected, now):
                    found.append(one)
                if len(found) == size:
                    return found, behind
        return found, where

    found, following = await context.store.read(read)
    cursor = None if following is None else encode_cursor("overdue", following)
    return Page([_overdue(one, now) for one in found], cursor)


def _overdue(one: Open, now: Instant) -> OverdueItem:
    again = next_ask(one.expected, now)
    return OverdueItem(
        one.kind,
        one.view.business_product_id,
        one.view.id,
        one.view.parent,
        one.view.state,
        [ExpectedDocument(e.code, e.since, format_instant(e.due_at)) for e in overdue(one.expected, now)],
        None if again is None else format_instant(again),
    )


HANDLERS = [show_missing, list_overdue]
