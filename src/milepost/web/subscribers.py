"""`/v1/subscribers`: the systems that are told, and how sending to each of them goes.

A subscriber belongs to the business products that it is limited to: a key that is bound to some manages those within
its own, and makes no others. What a request may say and what is shown is `subscriber_documents`'; enabling, testing
and rotating are `subscriber_actions`'.
"""

import secrets
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog
from litestar import delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET
from msgspec.structs import replace

from milepost.domain.attempt import Attempt, Destination, Replay
from milepost.domain.errors import Conflict, Forbidden, Invalid, NotFound
from milepost.domain.event import canonical_type
from milepost.domain.failing import stage
from milepost.domain.instant import DAY, Instant, format_instant, parse_instant
from milepost.domain.intent import TYPES
from milepost.domain.record import Record
from milepost.domain.subscriber import EventBusSettings, Filter
from milepost.domain.webhook_settings import StandardSignature, StandardWebhooks, WebhookSettings
from milepost.pipeline import subscribing
from milepost.pipeline.history import CONSUMER
from milepost.pipeline.subscribers import compile_expression
from milepost.pipeline.subscribing import Start
from milepost.store import Transaction
from milepost.web.authentication import ADMIN, OPERATE, Caller, Principal
from milepost.web.context import Context, Hub
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, Reach
from milepost.web.subscriber_documents import (
    Backfill,
    CreatedDocument,
    Health,
    NewSubscriber,
    SubscriberChange,
    SubscriberDocument,
    SubscriberId,
    SubscriberItem,
    attempt_document,
    changed_settings,
    decoded_settings,
    fields_of,
    filter_of,
    key_for,
    settings_of,
    shown_once,
)

T = TypeVar("T")

log = structlog.get_logger()


@get(
    "/v1/subscribers", summary="List subscribers", tags=["Subscribers"], opt=OPERATE, responses=problems(403)
)
async def list_subscribers(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[SubscriberItem]:
    """Subscribers, oldest first; those within the key's business products."""
    size, start = page_size(limit), "" if after is None else decode_cursor("subscriber", after, str)
    reach, now = caller.reach(business_product_id), context.clock()

    rows = await context.store.read(lambda tx: subscribers_after(tx, reach, start, size + 1))
    return cut("subscriber", rows, size, lambda d: d.id, lambda d: SubscriberItem(**fields_of(d, now)))


@post(
    "/v1/subscribers",
    summary="Add a subscriber",
    tags=["Subscribers"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 409),
)
async def add_subscriber(context: Hub, caller: Caller, data: JSONBody[NewSubscriber]) -> CreatedDocument:
    """The answer holds the secret; it can't be read again. With `from`, history is sent first, then everything new,
    without gap or overlap."""
    now = context.clock()
    settings = settings_of(data)
    if isinstance(settings, EventBusSettings):
        check_may_use_bus(caller)
    check_reachable(context, settings)
    key = None
    if isinstance(settings, WebhookSettings):
        key = key_for(data.signature, data.secret)
        if key is not None:
            settings = replace(settings, signature=StandardSignature(StandardWebhooks((key,))))
    products = own_products(caller, data.business_product_ids)
    wanted = Filter(products, tuple(data.carriers), data.expression)
    destination = Destination(
        # The time first, so that the order of ids is the order in which subscribers were added.
        f"sub_{now:013x}{secrets.token_hex(5)}",
        data.kind,
        msgspec.json.encode(settings),
        types_of(data.event_types, data.form),
        endpoint=endpoint_of(settings),
        name=data.name,
        form=data.form,
        filter=filter_bytes(wanted, data.form),
        ordered=data.ordered,
        rate=data.rate,
        created_at=now,
    )
    begin = start_of(data.begin)

    def write(tx: Transaction) -> tuple[Destination, Replay | None]:
        if tx.attempts.destinations_version()[0] >= subscribing.MOST_SUBSCRIBERS:
            raise Conflict(f"There are {subscribing.MOST_SUBSCRIBERS} subscribers; remove one first.")
        backfill = subscribing.take_on(tx, destination, begin, f"rpl_{now:013x}{secrets.token_hex(5)}")
        put = tx.attempts.destination(destination.id)
        assert put is not None
        return put, backfill

    put, backfill = await context.store.write(write)
    context.published()
    log.info("subscriber.added", id=put.id, kind=put.kind, form=put.form, by=caller.id)
    replay_id = None if backfill is None else backfill.id
    return CreatedDocument(**fields_of(put, now), secret=shown_once(key), replay_id=replay_id)


@get(
    "/v1/subscribers/{subscriber_id:str}",
    summary="Show a subscriber",
    tags=["Subscribers"],
    opt=OPERATE,
    responses=problems(403, 404),
)
async def get_subscriber(context: Hub, caller: Caller, subscriber_id: SubscriberId) -> SubscriberDocument:
    """One subscriber with its health: since when it fails, what is kept for it, its last attempt, its history."""
    now = context.clock()

    def read(tx: Transaction) -> SubscriberDocument:
        found = managed(tx, caller, subscriber_id)
        return SubscriberDocument(**fields_of(found, now), health=_health(tx, caller, context, found, now))

    return await context.store.read(read)


@patch(
    "/v1/subscribers/{subscriber_id:str}",
    summary="Change a subscriber",
    tags=["Subscribers"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def change_subscriber(
    context: Hub, caller: Caller, subscriber_id: SubscriberId, data: JSONBody[SubscriberChange]
) -> SubscriberItem:
    """What is named is changed, and holds from now on. What is still to be sent goes by the new address, settings and
    rate; of business products that it is no longer to get, nothing more is sent. Other filters say only what of new
    messages it gets."""

    def change(tx: Transaction, found: Destination) -> Destination:
        changed = _changed(caller, found, data)
        check_reachable(context, decoded_settings(changed))
        products = filter_of(changed).business_product_ids
        if products and products != filter_of(found).business_product_ids:
            tx.attempts.drop_outside(
                found.id, products, "the subscriber no longer gets this business product"
            )
        return changed

    changed = await update(context, caller, subscriber_id, change)
    log.info("subscriber.changed", id=subscriber_id, by=caller.id)
    return SubscriberItem(**fields_of(changed, context.clock()))


@delete(
    "/v1/subscribers/{subscriber_id:str}",
    summary="Remove a subscriber",
    tags=["Subscribers"],
    opt=ADMIN,
    responses=problems(403, 404),
)
async def remove_subscriber(context: Hub, caller: Caller, subscriber_id: SubscriberId) -> None:
    """Nothing more is sent to it. What was sent, and every attempt, stays readable as history."""
    now = context.clock()

    def write(tx: Transaction) -> None:
        managed(tx, caller, subscriber_id)
        tx.attempts.remove_destination(subscriber_id, now)

    await context.store.write(write)
    context.published()
    log.info("subscriber.removed", id=subscriber_id, by=caller.id)


# ── Whose ──────────────────────────────────────────────────────────────────────────────────────────────────


def subscribers_after(tx: Transaction, reach: Reach, after: str, limit: int) -> list[Destination]:
    """The subscribers behind an id that are limited to these business products, oldest first, `limit` at most."""
    found: list[Destination] = []
    last = after
    while len(found) < limit:
        page = tx.attempts.destinations(last, limit)
        found.extend(d for d in page if is_within(d, reach))
        if len(page) < limit:
            break
        last = page[-1].id
    return found[:limit]


def is_within(destination: Destination, reach: Reach) -> bool:
    """Whether a subscriber is limited to these business products (None: there is no limit to keep)."""
    if reach is None:
        return True
    products = filter_of(destination).business_product_ids
    return bool(products) and set(reach).issuperset(products)


def is_about(caller: Principal, record: Record | None) -> bool:
    """Whether a record is of the caller's business products; of one that was removed nobody knows."""
    if caller.business_products is None:
        return True
    return record is not None and record.business_product_id in caller.business_products


def managed(tx: Transaction, caller: Principal, id: str) -> Destination:
    """The subscriber, if it is the caller's. Raises `NotFound`."""
    found = None if "\x00" in id else tx.attempts.destination(id)
    if found is None or not is_within(found, caller.business_products):
        raise NotFound(f"There is no subscriber {id!r}.")
    return found


def own_products(caller: Principal, wanted: list[str]) -> tuple[str, ...]:
    """The business products to limit a subscriber to: the wanted ones, or all of the key's. Raises `Forbidden`."""
    own = caller.business_products
    products = tuple(sorted(set(wanted))) or tuple(sorted(own or ()))
    if own is not None and not own.issuperset(products):
        raise Forbidden("A subscriber can't get business products that your key isn't bound to.")
    return products


async def update(
    context: Context, caller: Principal, id: str, change: Callable[[Transaction, Destination], Destination]
) -> Destination:
    """Read, change and put a subscriber in one write, so that nothing that happens meanwhile is lost."""

    def write(tx: Transaction) -> Destination:
        changed = change(tx, managed(tx, caller, id))
        tx.attempts.put_destination(changed)
        return changed

    changed = await context.store.write(write)
    context.published()
    return changed


# ── What a request says ────────────────────────────────────────────────────────────────────────────────────


def types_of(names: list[str], form: str) -> tuple[str, ...]:
    """Event types, Amazon's by any of their names. Raises `Invalid` for one that no message has."""
    if form == "amazon":
        return tuple(dict.fromkeys(map(canonical_type, names)))
    for name in names:
        if name not in TYPES:
            raise Invalid(f"{name[:60]!r} is not one of {', '.join(TYPES)}", field="eventTypes")
    return tuple(dict.fromkeys(names))


def filter_bytes(wanted: Filter, form: str) -> bytes:
    """A filter as it is kept. Raises `Invalid` for an expression that cannot be used."""
    if wanted.expression:
        compile_expression(wanted.expression, form)
    return msgspec.json.encode(wanted) if wanted != Filter() else b""


def endpoint_of(settings: WebhookSettings | EventBusSettings) -> str:
    """What really answers: those with the same one share concurrency and breaker."""
    return settings.url if isinstance(settings, WebhookSettings) else f"{settings.bus} {settings.region}"


def check_reachable(context: Context, settings: WebhookSettings | EventBusSettings) -> None:
    """Raises `Invalid` for an address that nothing would be sent to: names are judged when they are resolved."""
    if isinstance(settings, WebhookSettings) and not context.may_reach(settings.url):
        raise Invalid(
            "url names an address that is not public; MILEPOST_EGRESS_ALLOW lists the exceptions", field="url"
        )


def check_may_use_bus(caller: Principal) -> None:
    """Raises `Forbidden` for a key that is bound to business products: what goes to a bus goes there by the hub's own
    identity at AWS, which is nothing of theirs."""
    if caller.business_products is not None:
        raise Forbidden("Only a key of every business product chooses an event bus.")


def start_of(begin: str | int) -> Start:
    """Raises `Invalid`."""
    if isinstance(begin, int):
        if not 0 <= begin < 1 << 53:
            raise Invalid("from is not a position", field="from")
        return Start(after=begin)
    if begin in ("now", "start"):
        return Start(after=0 if begin == "start" else None)
    try:
        return Start(at=parse_instant(begin))
    except ValueError as e:
        raise Invalid("from is now, start, a position or an ISO 8601 time", field="from") from e


def _changed(caller: Principal, found: Destination, change: SubscriberChange) -> Destination:
    settings = changed_settings(decoded_settings(found), change)
    if any(value is not UNSET for value in (change.bus, change.region, change.source)):
        check_may_use_bus(caller)
    wanted = filter_of(found)
    if change.business_product_ids is not UNSET:
        wanted = replace(wanted, business_product_ids=own_products(caller, change.business_product_ids))
    if change.carriers is not UNSET:
        wanted = replace(wanted, carriers=tuple(change.carriers))
    if change.expression is not UNSET:
        wanted = replace(wanted, expression=change.expression)
    return replace(
        found,
        name=found.name if change.name is UNSET else change.name,
        settings=msgspec.json.encode(settings),
        endpoint=endpoint_of(settings),
        event_types=(
            found.event_types if change.event_types is UNSET else types_of(change.event_types, found.form)
        ),
        filter=filter_bytes(wanted, found.form),
        ordered=found.ordered if change.ordered is UNSET else change.ordered,
        rate=found.rate if change.rate is UNSET else change.rate,
    )


# ── Health ─────────────────────────────────────────────────────────────────────────────────────────────────


def _health(tx: Transaction, caller: Principal, context: Context, found: Destination, now: Instant) -> Health:
    counts = tx.attempts.count(found.id)
    since, days = found.failing_since, context.disable_after_days
    last = _last_attempt(tx, caller, found)
    running = subscribing.running_replays(tx, found.id)
    return Health(
        None if since is None else format_instant(since),
        stage(since, now, round(days * DAY)) or None,
        days,
        pending=counts.get("pending", 0),
        waiting=counts.get("waiting", 0),
        held=counts.get("held", 0),
        delivered=counts.get("delivered", 0),
        failed=counts.get("failed", 0),
        dropped=counts.get("dropped", 0),
        last_attempt=None if last is None else attempt_document(last),
        backfill=_backfill(tx, running[0]) if running else None,
    )


def _last_attempt(tx: Transaction, caller: Principal, found: Destination) -> Attempt | None:
    """Of what the caller may see: the answer to another's message is not its own."""
    last = tx.attempts.last_attempt(found.id)
    if last is None or caller.business_products is None:
        return last
    message = tx.attempts.message(last.message_id)
    record = None if message is None else tx.journal.records({message.position}).get(message.position)
    return last if is_about(caller, record) else None


def _backfill(tx: Transaction, replay: Replay) -> Backfill:
    until = tx.journal.checkpoint(CONSUMER) if replay.until is None else replay.until
    return Backfill(replay.id, replay.kind, replay.cursor, max(until, replay.cursor), replay.enqueued)


HANDLERS = [list_subscribers, add_subscriber, get_subscriber, change_subscriber, remove_subscriber]
