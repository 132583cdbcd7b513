"""`/v1/subscribers/{id}/enable|disable|test|rotate`: what is done with a subscriber beside changing it."""

import msgspec
import structlog
from litestar import post
from litestar.params import JSONBody
from msgspec.structs import replace

from milepost.domain.attempt import Destination
from milepost.domain.errors import Conflict
from milepost.domain.instant import HOUR, Instant, format_instant
from milepost.domain.subscriber import rotated
from milepost.domain.webhook_settings import StandardSignature, StandardWebhooks, WebhookSettings
from milepost.pipeline import signing_keys, subscribing
from milepost.store import Transaction
from milepost.web.authentication import ADMIN, OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.subscriber_documents import (
    RotatedDocument,
    Rotation,
    SubscriberId,
    SubscriberItem,
    decoded_settings,
    fields_of,
    filter_of,
    key_for,
    keys_of,
    shown_once,
    signature_of,
)
from milepost.web.subscribers import managed, update

log = structlog.get_logger()


class Sent(Document):
    """A message that is under way; `/v1/attempts?messageId=` shows what comes of it."""

    message_id: str
    position: int
    created_at: str


@post(
    "/v1/subscribers/{subscriber_id:str}/enable",
    summary="Take a disabled subscriber up again",
    tags=["Subscribers"],
    opt=ADMIN,
    status_code=200,
    responses=problems(403, 404),
)
async def enable_subscriber(context: Hub, caller: Caller, subscriber_id: SubscriberId) -> SubscriberItem:
    """With everything that was kept for it meanwhile."""

    def write(tx: Transaction) -> Destination:
        managed(tx, caller, subscriber_id)
        tx.attempts.enable(subscriber_id)
        return managed(tx, caller, subscriber_id)

    found = await context.store.write(write)
    context.published()
    log.info("subscriber.enabled", id=subscriber_id, by=caller.id)
    return SubscriberItem(**fields_of(found, context.clock()))


@post(
    "/v1/subscribers/{subscriber_id:str}/disable",
    summary="Stop sending to a subscriber for now",
    tags=["Subscribers"],
    opt=ADMIN,
    status_code=200,
    responses=problems(403, 404),
)
async def disable_subscriber(context: Hub, caller: Caller, subscriber_id: SubscriberId) -> SubscriberItem:
    """What comes for it is kept until it is enabled."""

    def write(tx: Transaction) -> Destination:
        if managed(tx, caller, subscriber_id).enabled:
            tx.attempts.disable(subscriber_id, f"disabled by {caller.id}")
        return managed(tx, caller, subscriber_id)

    found = await context.store.write(write)
    context.published()
    log.info("subscriber.disabled", id=subscriber_id, by=caller.id)
    return SubscriberItem(**fields_of(found, context.clock()))


@post(
    "/v1/subscribers/{subscriber_id:str}/test",
    summary="Send a test message",
    tags=["Subscribers"],
    opt=OPERATE,
    status_code=202,
    responses=problems(403, 404, 409),
)
async def test_subscriber(context: Hub, caller: Caller, subscriber_id: SubscriberId) -> Sent:
    """A message of type `test` (in Amazon's form: `MILEPOST_TEST`) about no order, signed and sent as every other."""
    now = context.clock()

    def write(tx: Transaction) -> Sent:
        found = managed(tx, caller, subscriber_id)
        products = filter_of(found).business_product_ids
        message = subscribing.send_test(tx, found, products[0] if products else "", now)
        return Sent(message.id, message.position, format_instant(now))

    sent = await context.store.write(write)
    context.published()
    return sent


@post(
    "/v1/subscribers/{subscriber_id:str}/rotate",
    summary="Give a subscriber a new key",
    tags=["Subscribers"],
    opt=ADMIN,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def rotate_key(
    context: Hub, caller: Caller, subscriber_id: SubscriberId, data: JSONBody[Rotation]
) -> RotatedDocument:
    """The new key signs from now on; the old one signs along for `overlapHours`, so that a receiver may change over
    at any time until then. The answer holds the secret; it can't be read again."""
    now = context.clock()
    until = Instant(now + round(data.overlap_hours * HOUR))
    made: list[str | None] = []

    def change(tx: Transaction, found: Destination) -> Destination:
        settings = decoded_settings(found)
        if not isinstance(settings, WebhookSettings):
            raise Conflict("What is put on a bus is not signed.")
        signature = signature_of(settings) or StandardWebhooks(())
        scheme = data.signature
        if scheme is None and data.secret is None:
            is_pair = signature.secrets and signature.secrets[0].startswith(signing_keys.PRIVATE)
            scheme = "v1a" if is_pair else "v1"
        key = key_for(scheme, data.secret)
        assert key is not None
        made[:] = [key]
        after = StandardSignature(rotated(signature, key, now, until))
        return replace(found, settings=msgspec.json.encode(replace(settings, signature=after)))

    changed = await update(context, caller, subscriber_id, change)
    log.info("subscriber.rotated", id=subscriber_id, by=caller.id)
    return RotatedDocument(keys_of(signature_of(decoded_settings(changed)), now), shown_once(made[0]))


HANDLERS = [enable_subscriber, disable_subscriber, test_subscriber, rotate_key]
