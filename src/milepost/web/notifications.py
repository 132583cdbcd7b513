"""`/v1/notifications`: what shoppers were told and what was kept back, and what people do about it.

The states and what leads from one to another are `domain.notification`'s; sending is the notifier's. How they are
shown, and pages of them, are `notification_documents`'; how they look to a shopper is `notification_preview`'s.
"""

from typing import Annotated, Final

import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from milepost.domain.errors import Conflict, NotFound
from milepost.domain.notification import Notification, move
from milepost.domain.notification_worth import was_told
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.notification_documents import (
    NotificationDocument,
    NotificationItem,
    actions_of,
    document_of,
    notification_page,
    wanted,
)
from milepost.web.paging import After, Limit, Page, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, OrderId, Reach, find_view

CONSENT: Final = "may arrive twice"
"""What one who sends again has to acknowledge where the first may have arrived."""
_TOLD_BY_ANOTHER: Final = frozenset({2, 4, 11})
"""Rules that keep one back since another notification tells the same."""

NotificationId = Annotated[str, PathParameter(description="The notification's id.", max_length=128)]
InState = Annotated[
    str | None, QueryParameter(name="state", description="Only in this state.", max_length=16)
]
OfKind = Annotated[str | None, QueryParameter(name="kind", description="Only of this kind.", max_length=32)]
ByRule = Annotated[
    int | None, QueryParameter(name="rule", description="Only those that this rule kept back, 1 to 17.")
]

log = structlog.get_logger()


class SuppressRequest(Document, forbid_unknown_fields=True):
    """Why; it stands in the history."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class ResendRequest(Document, forbid_unknown_fields=True):
    """Why, and the consent that one which may have arrived takes."""

    reason: Annotated[str, Meta(max_length=500)] = ""
    acknowledge: Annotated[str, Meta(max_length=64)] = ""
    """`may arrive twice`, where the shopper may know it already."""


@get("/v1/notifications", summary="List notifications", tags=["Notifications"], responses=problems())
async def list_notifications(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: InState = None,
    kind: OfKind = None,
    rule: ByRule = None,
    order_id: Annotated[
        str | None, QueryParameter(name="orderId", description="Only of this order.", max_length=512)
    ] = None,
    delivery_id: Annotated[
        str | None, QueryParameter(name="deliveryId", description="Only of this delivery.", max_length=512)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[NotificationItem]:
    """In the order in which they were decided, sent and kept back alike. With `kind` or `rule` a page may be short,
    or empty, while `next` is not null."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    narrowed = wanted(in_state, kind, rule, order_id, delivery_id)
    return await context.store.read(lambda tx: notification_page(tx, narrowed, after, size, reach))


@get(
    "/v1/orders/{order_id:str}/notifications",
    summary="Show what the shopper was told of an order",
    tags=["Notifications"],
    responses=problems(404, 409),
)
async def list_told(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[NotificationItem]:
    """What was sent and what was not, each of these with the number of the rule that kept it back and a sentence.
    They stand in the order's timeline too."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    narrowed = wanted(None, None, None, order_id, None)

    def read(tx: Transaction) -> Page[NotificationItem]:
        view = find_view(tx, "order", order_id, reach)
        return notification_page(tx, narrowed, after, size, {view.business_product_id})

    return await context.store.read(read)


@get(
    "/v1/notifications/{notification_id:str}",
    summary="Show a notification",
    tags=["Notifications"],
    responses=problems(404),
)
async def get_notification(
    context: Hub, caller: Caller, notification_id: NotificationId
) -> NotificationDocument:
    """One notification with its history, and what may be done to it now."""
    reach = caller.business_products
    return await context.store.read(lambda tx: document_of(_visible(tx, notification_id, reach)))


@post(
    "/v1/notifications/{notification_id:str}/resend",
    summary="Send a notification again",
    tags=["Notifications"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def resend_notification(
    context: Hub,
    caller: Caller,
    notification_id: NotificationId,
    data: JSONBody[ResendRequest | None] = None,
) -> NotificationDocument:
    """Now, under the same id. What is or ever was SENT or UNCERTAIN, or was told by another one, may arrive twice, so
    it takes that consent; rules that protect a shopper who wants no messages hold all the same. 409 `conflict`
    without consent, and while it is under way."""
    asked = data or ResendRequest()
    return document_of(await resend(context, caller.business_products, notification_id, asked, caller.id))


async def resend(
    context: Context, reach: Reach, notification_id: str, asked: ResendRequest, by: str
) -> Notification:
    """Make a notification within `reach` due now, because `by` asked for it. Raises `NotFound`, and `Conflict`
    without the consent that it takes, while it is under way, and while notifications are off."""
    now = context.clock()

    def write(tx: Transaction) -> Notification:
        before = _visible(tx, notification_id, reach)
        if not context.notifying:
            raise Conflict("Notifications are off: nothing would send it. Set MILEPOST_NOTIFICATIONS=true.")
        try:
            after = move(
                before,
                "resend",
                now,
                by,
                reason=asked.reason.strip(),
                due_at=now,
                lease_until=None,
                tries=0,
                by_hand=True,
            )
        except Conflict as e:
            raise _refused(before, e) from e
        if may_be_known(before) and asked.acknowledge != CONSENT:
            raise Conflict(
                f'What it tells may be known: send {{"acknowledge": "{CONSENT}"}} if that is meant.',
                state=before.state,
                acknowledge=CONSENT,
            )
        tx.notifications.put([after])
        return after

    shown = await context.store.write(write)
    context.notified()
    log.info("notification.resent", id=notification_id, by=by)
    return shown


@post(
    "/v1/notifications/{notification_id:str}/suppress",
    summary="Keep a notification from being sent",
    tags=["Notifications"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def suppress_notification(
    context: Hub,
    caller: Caller,
    notification_id: NotificationId,
    data: JSONBody[SuppressRequest | None] = None,
) -> NotificationDocument:
    """One that is WAITING is not sent any more. 409 `conflict` when it was sent, is being sent, or was kept back by a
    rule."""
    now, reason = context.clock(), "" if data is None else data.reason.strip()

    def write(tx: Transaction) -> Notification:
        before = _visible(tx, notification_id, caller.business_products)
        try:
            after = move(before, "suppress", now, caller.id, reason=reason or f"suppressed by {caller.id}")
        except Conflict as e:
            raise _refused(before, e) from e
        tx.notifications.put([after])
        return after

    shown = await context.store.write(write)
    log.info("notification.suppressed", id=notification_id, by=caller.id)
    return document_of(shown)


def may_be_known(notification: Notification) -> bool:
    """Whether its shopper may have been told, by this one at any time or by another."""
    told_by_another = notification.state == "SUPPRESSED" and notification.rule in _TOLD_BY_ANOTHER
    return was_told(notification) or told_by_another


def _refused(notification: Notification, error: Conflict) -> Conflict:
    """The same, with which actions the notification's state leaves."""
    left = actions_of(notification)
    way_out = f"; what can be done: {', '.join(left)}" if left else "; nothing can be done to it now"
    return Conflict(error.detail + way_out, state=notification.state, actions=left)


def _visible(tx: Transaction, id: str, reach: Reach) -> Notification:
    """The notification of that id, for who may see it. Raises `NotFound`."""
    found = None if "\x00" in id else tx.notifications.get([id]).get(id)
    if found is None or (reach is not None and found.business_product_id not in reach):
        raise NotFound(f"There is no notification {id!r}.")
    return found


HANDLERS = [list_notifications, list_told, get_notification, resend_notification, suppress_notification]
