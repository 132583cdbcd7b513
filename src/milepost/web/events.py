"""`/v1/events`: the journal's events, and one of them with its body as received and every arrival.

An event can be read as soon as it was acknowledged: what the projector has not indexed yet is looked for in the
journal behind its checkpoint. Conflicting copies of an event stand with the event whose copies they are.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import PathParameter, QueryParameter
from msgspec import UNSET, UnsetType

from milepost.domain.errors import Ambiguous, Invalid, NotFound
from milepost.domain.event import canonical_type
from milepost.domain.instant import format_instant
from milepost.domain.record import Record, event_subject, key_subject
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import ArrivalRow, Transaction
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.outcomes import OutcomeDocument, outcome_document, outcomes_of
from milepost.web.paging import Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach

TAIL = 20_000
"""Records behind the projector's checkpoint that are looked through for an event at most."""

MOST_OUTCOMES = 100
"""Events on a page of a list that says what became of each."""

_CHUNK = 1_000

EventsAfter = Annotated[
    str | None,
    QueryParameter(name="after", description="The `next` of the page before, or an event's `position`."),
]


class EventItem(Document):
    """An event as journalled."""

    position: int
    event_id: str
    event_descriptor: str
    """The name it was sent under."""
    type: str
    """The catalogue's name for it."""
    business_product_id: str
    resources: list[str]
    event_time: str
    received_at: str
    arrivals: int
    """How often it came, the first time included."""
    roads: list[str]
    """The roads it came by, in the order it first came by each: webhook, eventbridge, or replay of an archive."""
    flags: list[str]
    outcome: OutcomeDocument | UnsetType = UNSET
    """What became of it; in lists only where it is asked for."""


class ArrivalItem(Document):
    """One arrival of an event."""

    received_at: str
    road: str
    lag_ms: int
    """From eventTime until it was received, in milliseconds."""
    behind_ms: int
    """Behind the first arrival, in milliseconds; 0 for the first."""
    subscription_id: str
    idempotency_key: str
    event_id: str
    conflict: bool
    """This copy's `data` differed."""


class ConflictItem(Document):
    """A copy of the event whose `data` differs, with its body as received."""

    position: int
    received_at: str
    road: str
    body: msgspec.Raw


class OtherBody(Document):
    """The same event as another live road brought it first."""

    road: str
    body: msgspec.Raw


class EventDocument(EventItem, kw_only=True):
    """An event with everything that is known of it."""

    idempotency_key: str
    subscription_id: str
    api_version: str
    road: str
    arrival_log: list[ArrivalItem]
    conflicts: list[ConflictItem]
    body: Any
    """As received, by the road that it came by first."""
    other_bodies: list[OtherBody]
    """As received by the other roads that it came by."""


def event_items(
    tx: Transaction, records: Sequence[Record], *, with_outcomes: bool = False
) -> list[EventItem]:
    """Events with their arrival counts and flags joined, and what became of each if that is wanted."""
    positions = [record.position for record in records]
    arrivals, flags = tx.journal.arrivals(positions), tx.views.flags(positions)
    items = [
        EventItem(**_fields(record, arrivals.get(record.position, ()), flags.get(record.position, ())))
        for record in records
    ]
    if with_outcomes:
        found = outcomes_of(tx, records)
        for item in items:
            item.outcome = outcome_document(found[item.position])
    return items


def _fields(record: Record, arrivals: Sequence[ArrivalRow], flags: Sequence[str]) -> dict[str, Any]:
    event = record.event()
    return {
        "position": record.position,
        "event_id": event.event_id,
        "event_descriptor": event.descriptor,
        "type": event.type,
        "business_product_id": record.business_product_id,
        "resources": [str(resource) for resource in event.resources],
        "event_time": event.event_time,
        "received_at": format_instant(record.received_at),
        "arrivals": len(arrivals),
        "roads": list(dict.fromkeys(arrival.road for arrival in arrivals)),
        "flags": list(dict.fromkeys((*record.flags, *flags))),
    }


@get("/v1/events", summary="List events in the journal's order", tags=["Events"], responses=problems())
async def list_events(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    type: Annotated[
        str | None,
        QueryParameter(name="type", description="Only this event type, by any of its names.", max_length=256),
    ] = None,
    outcomes: Annotated[
        bool,
        QueryParameter(
            name="outcomes",
            description="Say what became of each; a page has 100 events at most then.",
            required=False,
        ),
    ] = False,
    after: EventsAfter = None,
    limit: Limit = 100,
) -> Page[EventItem]:
    """Every event kept, oldest first. On the last page `next` is null; to follow on, pass the last item's
    `position` as `after`, or read `/v1/stream`."""
    size, start, reach = page_size(limit), _start(after), caller.reach(business_product_id)
    size = min(size, MOST_OUTCOMES) if outcomes else size
    wanted = None if type is None else canonical_type(type)

    def read(tx: Transaction) -> Page[EventItem]:
        records = tx.journal.events(start, size + 1, reach, wanted)
        items = {item.position: item for item in event_items(tx, records[:size], with_outcomes=outcomes)}
        return cut("event", records, size, lambda r: r.position, lambda r: items[r.position])

    return await context.store.read(read)


def _start(after: str | None) -> int:
    """The position to start behind. Raises `Invalid`."""
    if after is None:
        return 0
    if after.isascii() and after.isdigit() and len(after) <= 18:
        return int(after)
    return decode_cursor("event", after, int)


@get(
    "/v1/events/{event_id:str}",
    summary="Show an event with its body and every arrival",
    tags=["Events"],
    responses=problems(404, 409),
)
async def get_event(
    context: Hub,
    caller: Caller,
    event_id: Annotated[str, PathParameter(description="The event's eventId.", max_length=512)],
    business_product_id: BusinessProduct = None,
    position: Annotated[
        int | None,
        QueryParameter(name="position", description="Which record, where several have this eventId."),
    ] = None,
) -> EventDocument:
    """One event, readable as soon as it was acknowledged. Where several records have the eventId (it was reused
    on another type or resource, or two business products have it) the answer is 409 `ambiguous_id` with their
    `positions`; say which with `position` or `businessProductId`."""
    reach = caller.reach(business_product_id)

    def read(tx: Transaction) -> EventDocument:
        found = _records(tx, event_id, reach)
        return event_document(tx, _the_one(found, event_id, position), found)

    return await context.store.read(read)


def _the_one(found: list[Record], event_id: str, position: int | None) -> Record:
    events = [record for record in found if record.kind == "event"]
    if position is not None:
        events = [record for record in events if record.position == position]
    if not events:
        raise NotFound(f"There is no event {event_id!r}.")
    if len(events) > 1:
        raise Ambiguous(
            f"{len(events)} records have eventId {event_id!r}; say which with ?position= or ?businessProductId=.",
            positions=[record.position for record in events],
            businessProductIds=sorted({record.business_product_id for record in events}),
        )
    return events[0]


def _records(tx: Transaction, event_id: str, reach: Reach) -> list[Record]:
    """Every record of an eventId, indexed or not yet, lowest position first."""
    if "\x00" in event_id:
        raise Invalid("an eventId has no NUL", field="eventId")
    products = tx.journal.business_products() if reach is None else reach
    subject = event_subject(event_id)
    indexed = tx.journal.of_subjects([(product, subject) for product in products])
    found = {record.position: record for records in indexed.values() for record in records}
    for record in _unindexed(tx, event_id):
        if reach is None or record.business_product_id in reach:
            found[record.position] = record
    return [found[at] for at in sorted(found)]


def _unindexed(tx: Transaction, event_id: str) -> list[Record]:
    needle = event_id.encode("utf-8", "surrogatepass")
    found: list[Record] = []
    position = tx.journal.checkpoint(PROJECTOR)
    for _ in range(TAIL // _CHUNK):
        records = tx.journal.after(position, _CHUNK)
        # Parsing each would cost; a body that doesn't hold the id's bytes can only spell it with escapes.
        found.extend(
            record
            for record in records
            if record.kind in ("event", "conflict")
            and (needle in record.body or b"\\" in record.body)
            and record.event().event_id == event_id
        )
        if len(records) < _CHUNK:
            break
        position = records[-1].position
    return found


def at_position(tx: Transaction, position: int, reach: Reach) -> EventDocument:
    """The event, or the conflicting copy of one, that stands there. Raises `NotFound`."""
    record = tx.journal.records([position]).get(position) if 0 < position < 1 << 53 else None
    is_mine = record is not None and (reach is None or record.business_product_id in reach)
    if record is None or not is_mine or record.kind not in ("event", "conflict"):
        raise NotFound(f"There is no event at position {position}.")
    event_id = record.event().event_id
    return event_document(
        tx, record, _records(tx, event_id, {record.business_product_id}) if event_id else []
    )


def event_document(tx: Transaction, record: Record, found: list[Record]) -> EventDocument:
    """An event with everything that is known of it; `found` are all records of its eventId."""
    rows = tx.journal.arrivals([record.position]).get(record.position, [])
    flags = tx.views.flags([record.position]).get(record.position, ())
    event = record.event()
    return EventDocument(
        **_fields(record, rows, flags),
        idempotency_key=event.idempotency_key,
        subscription_id=event.subscription_id,
        api_version=event.api_version,
        road=record.road,
        arrival_log=[_arrival(row, record) for row in rows],
        conflicts=_conflicts(tx, record, found),
        body=msgspec.Raw(record.body),
        other_bodies=[
            OtherBody(road, msgspec.Raw(body))
            for road, body in tx.journal.other_bodies(record.position).items()
        ],
        outcome=outcome_document(outcomes_of(tx, [record])[record.position]),
    )


def _arrival(row: ArrivalRow, record: Record) -> ArrivalItem:
    return ArrivalItem(
        format_instant(row.received_at),
        row.road,
        row.received_at - record.published_at,
        # Two hubs' clocks may differ by more than the roads do.
        max(0, row.received_at - record.received_at),
        row.subscription_id,
        row.idempotency_key,
        row.event_id,
        row.conflict,
    )


def _conflicts(tx: Transaction, record: Record, found: list[Record]) -> list[ConflictItem]:
    """The conflicting copies: among the records of its eventId, or of its idempotencyKey."""
    key = (record.business_product_id, key_subject(record.event().idempotency_key))
    copies = {r.position: r for r in (*found, *tx.journal.of_subjects([key])[key])}
    return [
        ConflictItem(copy.position, format_instant(copy.received_at), copy.road, msgspec.Raw(copy.body))
        for _, copy in sorted(copies.items())
        if copy.kind == "conflict" and copy.origin == record.position
    ]


HANDLERS = [list_events, get_event]
