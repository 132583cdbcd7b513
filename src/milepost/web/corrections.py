"""`/v1/orders/{orderId}/corrections`: what an agent knows better than carriers and Buy with Prime (T11).

A correction is a record of the journal and a fact: the view shows the corrected state once the projector is past it,
and subscribers are told as of any change. It can't be changed, but withdrawn, and it may expire. `correct` and
`withdraw` are what the console's forms call too. What a correction does to a view is `domain.correction`'s.
"""

import secrets
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct

from milepost.domain.correction import DELIVERY_STATES, TRACKER_STAGES, about_of
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import MINUTE, Instant, format_instant, parse_stamp
from milepost.domain.record import (
    Correction,
    Record,
    Withdrawal,
    delivery_subject,
    order_subject,
    tracker_subject,
)
from milepost.store import NewRecord, Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, OrderId, Reach, decoded, find_view, parse_time

ROAD = "api"
MOST_CORRECTIONS = 100
"""Of one order: each is somebody's word."""
CLOCKS_DIFFER = 5 * MINUTE
"""How far ahead of the hub's clock an agent's may be."""

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Id = Annotated[str, Meta(max_length=512)]

log = structlog.get_logger()


class CorrectionRequest(Document, forbid_unknown_fields=True):
    """What is so, since when, and how it is known: of a delivery (`deliveryId` and `state`), or of a tracker
    (`carrierCode`, `trackingNumber` and `stage`)."""

    occurred_at: str
    """Since when it is so, as ISO 8601 with a time; what occurred before it is outranked."""
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    delivery_id: _Id | None = None
    state: str | None = None
    """IN_TRANSIT or DELIVERED."""
    carrier_code: _Id | None = None
    tracking_number: _Id | None = None
    stage: str | None = None
    """IN_TRANSIT, OUT_FOR_DELIVERY, AVAILABLE_FOR_PICKUP, DELIVERED, UNDELIVERABLE, LOST, RETURNING or RETURNED."""
    author: _Name | None = None
    """Who says so, as your own system names them; the API key's id when left out."""
    expires_at: str | None = None
    """From when on it counts no longer, as ISO 8601; never when left out."""


class WithdrawalRequest(Document, forbid_unknown_fields=True):
    """Why it counts no longer."""

    reason: Annotated[str, Meta(max_length=2_000)] = ""
    author: _Name | None = None


class CorrectionItem(Document):
    """A correction, and how it ended if it has."""

    position: int
    id: str
    order_id: str
    delivery_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    state: str
    """The delivery's state, or the tracker's stage."""
    occurred_at: str
    told_at: str
    author: str
    reason: str
    expires_at: str | None
    ended: str | None
    """withdrawn or expired."""
    ended_at: str | None
    ended_by: str | None
    end_reason: str | None


class Known(Struct, frozen=True):
    """A correction of an order as the journal has it."""

    position: int
    correction: Correction
    end: Withdrawal | None


async def correct(
    context: Hub, reach: Reach, order_id: str, asked: CorrectionRequest, author: str
) -> CorrectionItem:
    """Journal a correction. Raises `Invalid` for one that says nothing of this order or cannot be so, `NotFound`,
    `Ambiguous`, and `Conflict` where the order has too many."""
    now = context.clock()
    occurred_at, expires_at = _times(asked, now)
    if not asked.reason.strip():
        raise Invalid("reason: there is nothing in it", field="reason")
    name = f"cor_{secrets.token_hex(8)}"

    def write(tx: Transaction) -> CorrectionItem:
        view = find_view(tx, "order", order_id, reach)
        product = view.business_product_id
        subject, state = _named(asked, decoded(view))
        if len(corrections_of(tx, product, order_id)) >= MOST_CORRECTIONS:
            raise Conflict(
                f"Order {order_id!r} has {MOST_CORRECTIONS} corrections; it takes no more.",
                most=MOST_CORRECTIONS,
            )
        about = about_of(subject, order_id)
        told = Correction(
            name, subject, order_id, state, occurred_at, now, author, asked.reason, about, expires_at
        )
        body = msgspec.json.encode(told)
        record = NewRecord("correction", product, "correction", now, now, ROAD, body)
        return item_of(Known(tx.journal.add([record])[0], told, None))

    item = await context.store.write(write)
    log.info("correction.told", position=item.position, by=author)
    return item


async def withdraw(
    context: Hub, reach: Reach, order_id: str, position: int, author: str, reason: str = ""
) -> CorrectionItem:
    """Journal that a correction counts no longer. Raises `NotFound`, and `Conflict` where it has ended already."""
    now = context.clock()

    def write(tx: Transaction) -> CorrectionItem:
        product = find_view(tx, "order", order_id, reach).business_product_id
        record = tx.journal.records([position]).get(position)
        told = None if record is None else _correction(record)
        if (
            record is None
            or told is None
            or (record.business_product_id, told.order_id) != (product, order_id)
        ):
            raise NotFound(f"Order {order_id!r} has no correction at {position}.")
        known = {each.position: each for each in corrections_of(tx, product, order_id)}
        if (before := known.get(position)) is not None and before.end is not None:
            raise Conflict(f"The correction was {before.end.outcome} already.")
        end = Withdrawal(told.id, "withdrawn", now, author, told.about, reason)
        body = msgspec.json.encode(end)
        tx.journal.add([NewRecord("withdrawal", product, end.outcome, now, now, ROAD, body, origin=position)])
        return item_of(Known(position, told, end))

    item = await context.store.write(write)
    log.info("correction.withdrawn", position=position, by=author)
    return item


def corrections_of(tx: Transaction, business_product_id: str, order_id: str) -> list[Known]:
    """The corrections of an order, oldest first, as far as the projector is."""
    key = (business_product_id, order_subject(order_id))
    records = tx.journal.of_subjects([key]).get(key, ())
    return _paired(record for record in records if record.kind in ("correction", "withdrawal"))


def _paired(records: Iterable[Record]) -> list[Known]:
    told: list[tuple[int, Correction]] = []
    ends: dict[str, Withdrawal] = {}
    for record in records:
        if (correction := _correction(record)) is not None:
            told.append((record.position, correction))
        else:
            end = msgspec.json.decode(record.body, type=Withdrawal)
            ends.setdefault(end.correction, end)
    return [Known(position, correction, ends.get(correction.id)) for position, correction in told]


def _correction(record: Record) -> Correction | None:
    return msgspec.json.decode(record.body, type=Correction) if record.kind == "correction" else None


def item_of(known: Known) -> CorrectionItem:
    """A correction as the API shows it."""
    told, end = known.correction, known.end
    kind, _, name = told.subject.partition("/")
    carrier, _, number = name.partition("/")
    is_tracker = kind == "tracker"
    return CorrectionItem(
        known.position,
        told.id,
        told.order_id,
        None if is_tracker else name,
        carrier if is_tracker else None,
        number if is_tracker else None,
        told.state,
        told.occurred_at,
        format_instant(told.at),
        told.author,
        told.reason,
        None if told.expires_at is None else format_instant(told.expires_at),
        None if end is None else end.outcome,
        None if end is None else format_instant(end.at),
        None if end is None else end.author,
        None if end is None else end.reason,
    )


def _times(asked: CorrectionRequest, now: Instant) -> tuple[str, Instant | None]:
    try:
        occurred = parse_stamp(asked.occurred_at)
    except ValueError as e:
        raise Invalid(
            f"occurredAt {asked.occurred_at[:40]!r} is not an ISO 8601 time", field="occurredAt"
        ) from e
    if occurred.zone == "date-only":
        raise Invalid(
            "occurredAt needs a time of day: what occurred before it is outranked", field="occurredAt"
        )
    if occurred.at > now + CLOCKS_DIFFER:
        raise Invalid("occurredAt lies in the future", field="occurredAt")
    expires_at = parse_time(asked.expires_at, "expiresAt")
    if expires_at is not None and expires_at <= now:
        raise Invalid("expiresAt must lie in the future", field="expiresAt")
    return asked.occurred_at, expires_at


def _named(asked: CorrectionRequest, order: dict[str, Any]) -> tuple[str, str]:
    """The subject of a correction, and the state or stage that it says. Raises `Invalid`."""
    if asked.delivery_id is not None:
        if asked.tracking_number is not None or asked.carrier_code is not None or asked.stage is not None:
            raise Invalid("Name a delivery and its state, or a tracker and its stage.", field="deliveryId")
        if asked.delivery_id not in {delivery["id"] for delivery in order["deliveries"]}:
            raise Invalid(f"Order {order['id']!r} has no delivery {asked.delivery_id!r}.", field="deliveryId")
        return delivery_subject(asked.delivery_id), _one_of(asked.state, DELIVERY_STATES, "state")
    if asked.carrier_code is None or asked.tracking_number is None or asked.state is not None:
        raise Invalid("Name a delivery and its state, or a tracker and its stage.", field="deliveryId")
    subject = tracker_subject(asked.carrier_code, asked.tracking_number)
    shown = (tracker for delivery in order["deliveries"] for tracker in delivery["trackers"])
    if subject not in {tracker_subject(t["carrierCode"], t["trackingNumber"]) for t in shown}:
        raise Invalid(f"Order {order['id']!r} has no such tracker.", field="trackingNumber")
    return subject, _one_of(asked.stage, TRACKER_STAGES, "stage")


def _one_of(value: str | None, allowed: tuple[str, ...], field: str) -> str:
    if value not in allowed:
        raise Invalid(f"{field} must be one of {', '.join(allowed)}", field=field)
    return value


@post(
    "/v1/orders/{order_id:str}/corrections",
    summary="Correct a delivery's state or a tracker's stage",
    tags=["Orders"],
    opt=OPERATE,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def add_correction(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    data: JSONBody[CorrectionRequest],
    business_product_id: BusinessProduct = None,
) -> CorrectionItem:
    """Answers 201 once it is journalled. It outranks what occurred before `occurredAt`, and nothing that occurred
    after it. An order takes 100, then 409 `conflict`."""
    reach = caller.reach(business_product_id)
    return await correct(context, reach, order_id, data, data.author or caller.id)


@get(
    "/v1/orders/{order_id:str}/corrections",
    summary="List the corrections of an order",
    tags=["Orders"],
    responses=problems(404, 409),
)
async def list_corrections(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[CorrectionItem]:
    """Oldest first, those that have ended too. What each does is in the view's `corrections` and in `explain`."""
    size, reach = page_size(limit), caller.reach(business_product_id)
    start = 0 if after is None else decode_cursor("correction", after, int)

    def read(tx: Transaction) -> list[Known]:
        view = find_view(tx, "order", order_id, reach)
        return [k for k in corrections_of(tx, view.business_product_id, order_id) if k.position > start]

    known = await context.store.read(read)
    return cut("correction", known[: size + 1], size, lambda k: k.position, item_of)


@post(
    "/v1/orders/{order_id:str}/corrections/{position:int}/withdraw",
    summary="Withdraw a correction",
    tags=["Orders"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def withdraw_correction(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    position: Annotated[int, PathParameter(description="The correction's position.", ge=1)],
    data: JSONBody[WithdrawalRequest],
    business_product_id: BusinessProduct = None,
) -> CorrectionItem:
    """From now on it counts as if it had not been told."""
    reach = caller.reach(business_product_id)
    return await withdraw(context, reach, order_id, position, data.author or caller.id, data.reason)


HANDLERS = [add_correction, list_corrections, withdraw_correction]
