"""`PUT /v1/orders/{orderId}/authorization`: until when payment of an order may be collected.

Buy with Prime's events do not say it; the merchant's order management does, often before any event of the order came.
So the order need not be known: it becomes known by this. What was told is a fact of the order: its view shows the
newest, the sweeper warns before the deadline (`domain.authorization`).
"""

import msgspec
import structlog
from litestar import put
from litestar.params import JSONBody

from milepost.domain.errors import Ambiguous, Invalid
from milepost.domain.fact import AuthorizationFact, fact_of
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import Authorization, order_subject
from milepost.store import NewRecord, Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.documents import AuthorizationDocument, Document
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, OrderId, Reach

ROAD = "api"

log = structlog.get_logger()


class AuthorizationRequest(Document, forbid_unknown_fields=True):
    """Until when, as ISO 8601."""

    capture_before: str
    authorized_at: str | None = None


@put(
    "/v1/orders/{order_id:str}/authorization",
    summary="Tell until when payment may be collected",
    tags=["Captures"],
    opt=OPERATE,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def put_authorization(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    data: JSONBody[AuthorizationRequest],
    business_product_id: BusinessProduct = None,
) -> AuthorizationDocument:
    """The newest that was told holds; the same again changes nothing. Of an order that nothing is known of yet, the
    business product must be plain: say it with `?businessProductId=` unless the key is bound to one."""
    reach, now = caller.reach(business_product_id), context.clock()
    before = _instant("captureBefore", data.capture_before)
    authorized_at = None if data.authorized_at is None else _instant("authorizedAt", data.authorized_at)
    if authorized_at is not None and authorized_at > before:
        raise Invalid("authorizedAt must not be after captureBefore", field="authorizedAt")
    if not order_id.strip() or "/" in order_id or not order_id.isprintable():
        raise Invalid("This can't be an order's id.", field="orderId")

    def write(tx: Transaction) -> Instant:
        product, subject = _product(tx, order_id, reach), order_subject(order_id)
        told = _newest(tx, (product, subject))
        if told is not None and (told.capture_before, told.authorized_at) == (before, authorized_at):
            return told.at
        fact = Authorization(order_id, before, now, (subject,), authorized_at)
        body = msgspec.json.encode(fact)
        tx.journal.add([NewRecord("authorization", product, "authorization", now, now, ROAD, body)])
        return now

    told_at = await context.store.write(write)
    log.info("authorization.told", by=caller.id)
    return AuthorizationDocument(
        None if authorized_at is None else format_instant(authorized_at),
        format_instant(before),
        format_instant(told_at),
    )


def _instant(field: str, text: str) -> Instant:
    try:
        return parse_instant(text)
    except ValueError as e:
        raise Invalid(f"{field} {text[:40]!r} is not an ISO 8601 time", field=field) from e


def _product(tx: Transaction, order_id: str, reach: Reach) -> str:
    """The business product of an order: the one that knows it, else the only one there may be."""
    known = {view.business_product_id for view in tx.views.find("order", order_id, reach)}
    products = known or set(reach or ())
    if len(products) == 1:
        return products.pop()
    if known:
        raise Ambiguous(
            f"{len(known)} business products have order {order_id!r}; say which with ?businessProductId=.",
            businessProductIds=sorted(known),
        )
    raise Invalid(
        f"Order {order_id!r} is not known yet; say with ?businessProductId= whose it is.",
        field="businessProductId",
    )


def _newest(tx: Transaction, key: tuple[str, str]) -> Authorization | None:
    """What was told of it last, as far as the projector is."""
    records = [r for r in tx.journal.of_subjects([key]).get(key, ()) if r.kind == "authorization"]
    facts = [fact for record in records if isinstance(fact := fact_of(record), AuthorizationFact)]
    return max((f.authorization for f in facts), key=lambda a: (a.at, a.capture_before), default=None)


HANDLERS = [put_authorization]
