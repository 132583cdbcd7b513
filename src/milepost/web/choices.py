"""`/v1/choices`: what shoppers chose about notifications, and whom not to write to.

A recipient is known by a keyed hash of business product and address, which the notifications carry: no answer and no
log ever holds an address. Whoever has only that sends it in a body, never in an address line, which logs keep.
Choices are `domain.contact`'s; a shopper makes them at `unsubscribe`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import structlog
from litestar import delete, get, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from milepost.domain.contact import ALL, Choices, read_choices, recipient_ids, write_choices
from milepost.domain.errors import Ambiguous, Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant
from milepost.domain.notification import CHANNELS, KINDS
from milepost.shopper.catalogues import LOCALES
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, Reach

OFFERED = frozenset((ALL, *KINDS, *(f"{kind}/{channel}" for kind in KINDS for channel in CHANNELS)))
"""What can be switched off."""

Keys = Sequence[tuple[str, str]]
"""(business product, recipient) under which choices of one recipient may stand: where the address is known one for
each secret in use, the newest first."""

log = structlog.get_logger()


class Whom(Document, forbid_unknown_fields=True):
    """Who it is about: one of the two."""

    email: Annotated[str, Meta(max_length=320)] | None = None
    """Looked up and forgotten: no answer holds it."""
    recipient: Annotated[str, Meta(max_length=128)] | None = None
    """As a notification names it."""


class ChoicesRequest(Whom, forbid_unknown_fields=True):
    """What changes; what is left out stays."""

    off: Annotated[list[str], Meta(max_length=len(OFFERED))] | UnsetType = UNSET
    """Kinds (`delayed`), kinds by one channel (`delayed/email`), or `all`."""
    locale: Annotated[str, Meta(max_length=16)] | UnsetType | None = UNSET
    blocked: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    """Why nothing is sent to this recipient any more; null lets go."""


class ChoicesItem(Document):
    """What a recipient chose."""

    recipient: str
    business_product_id: str
    off: list[str]
    locale: str | None
    blocked: str | None
    """Why nothing is sent; null where something is."""
    blocked_at: str | None
    changed_at: str | None
    """Null where nothing was ever chosen."""


@get("/v1/choices", summary="List what recipients chose", tags=["Notifications"], responses=problems())
async def list_choices(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    recipient: Annotated[
        str | None, QueryParameter(name="recipient", description="Only of this recipient.", max_length=128)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[ChoicesItem]:
    """Of those who chose something or are blocked, by business product and recipient."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    start = ("", "") if after is None else decode_cursor("choices", after, tuple[str, str])

    def read(tx: Transaction) -> list[tuple[tuple[str, str], bytes]]:
        if recipient is None:
            return tx.notifications.choice_page(start, size + 1, reach)
        found = tx.notifications.choices([(product, recipient) for product in _products(tx, reach)])
        return sorted(row for row in found.items() if row[0] > start)

    rows = await context.store.read(read)
    return cut("choices", rows, size, lambda row: row[0], lambda row: _item([row[0]], read_choices([row[1]])))


@post(
    "/v1/choices/find",
    summary="Find what a recipient chose",
    tags=["Notifications"],
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(404, 409),
)
async def find_choices(
    context: Hub, caller: Caller, data: JSONBody[Whom], business_product_id: BusinessProduct = None
) -> ChoicesItem:
    """By address or recipient, in the body. Also tells the recipient of an address that chose nothing."""
    reach = caller.reach(business_product_id)

    def read(tx: Transaction) -> ChoicesItem:
        keys = _keys_of(context, tx, data, reach)
        return _item(keys, chosen(tx, keys))

    return await context.store.read(read)


@put(
    "/v1/choices",
    summary="Choose for a recipient",
    tags=["Notifications"],
    opt=OPERATE,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def put_choices(
    context: Hub, caller: Caller, data: JSONBody[ChoicesRequest], business_product_id: BusinessProduct = None
) -> ChoicesItem:
    """Block, let go, switch kinds off for a channel or for all, set the language. What is left out stays, so a block
    never undoes what the shopper chose. It holds for what is about to be sent, too."""
    reach, now = caller.reach(business_product_id), context.clock()
    _check(data)

    def write(tx: Transaction) -> ChoicesItem:
        keys = _keys_of(context, tx, data, reach)
        after = _changed(chosen(tx, keys), data, now)
        choose(tx, keys, after)
        return _item(keys, after)

    item = await context.store.write(write)
    log.info("choices.changed", recipient=item.recipient, by=caller.id)
    return item


@delete(
    "/v1/choices",
    summary="Forget what a recipient chose",
    tags=["Notifications"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def delete_choices(
    context: Hub, caller: Caller, data: JSONBody[Whom], business_product_id: BusinessProduct = None
) -> ChoicesItem:
    """As if nothing was ever chosen, by the shopper or for them; a block goes too. The answer is what holds then."""
    reach = caller.reach(business_product_id)

    def write(tx: Transaction) -> ChoicesItem:
        keys = _keys_of(context, tx, data, reach)
        tx.notifications.choose(dict.fromkeys(keys, b""))
        return _item(keys, Choices())

    item = await context.store.write(write)
    log.info("choices.forgotten", recipient=item.recipient, by=caller.id)
    return item


def chosen(tx: Transaction, keys: Keys) -> Choices:
    """What a recipient chose; the defaults where nothing was."""
    found: Mapping[tuple[str, str], bytes] = tx.notifications.choices(keys)
    return read_choices([found.get(key) for key in keys])


def choose(tx: Transaction, keys: Keys, choices: Choices) -> None:
    """From now on this holds. It is kept under the newest key alone: what stood under an older one is in it by now,
    and would hold against whoever takes it back later."""
    tx.notifications.choose({keys[0]: write_choices(choices)} | dict.fromkeys(keys[1:], b""))


def _check(data: ChoicesRequest) -> None:
    """Raises `Invalid` for what cannot be chosen."""
    if data.off is not UNSET and (unknown := sorted(set(data.off) - OFFERED)):
        raise Invalid(f"off names {unknown[0][:64]!r}: take all, a kind, or a kind/channel", field="off")
    if data.locale is not UNSET and data.locale is not None and data.locale not in LOCALES:
        raise Invalid(f"locale must be one of {', '.join(LOCALES)}", field="locale")
    if data.blocked is not UNSET and data.blocked is not None and not data.blocked.strip():
        raise Invalid("blocked must say why; null lets go", field="blocked")


def _changed(before: Choices, data: ChoicesRequest, now: Instant) -> Choices:
    after = before
    if data.off is not UNSET:
        after = replace(after, off=tuple(sorted(set(data.off))))
    if data.locale is not UNSET:
        after = replace(after, locale=data.locale)
    if data.blocked is not UNSET:
        reason = "" if data.blocked is None else data.blocked.strip()
        since = None if not reason else before.blocked_at if before.blocked else now
        after = replace(after, blocked=reason, blocked_at=since)
    return before if after == before else replace(after, changed_at=now)


def _keys_of(context: Context, tx: Transaction, whom: Whom, reach: Reach) -> Keys:
    """Whose choices. Raises `Invalid`, `NotFound`, `Ambiguous`, and `Conflict` while no secret is set."""
    if (whom.email is None) == (whom.recipient is None):
        raise Invalid("give either email or recipient", field="email")
    products = _products(tx, reach)
    if whom.recipient is not None:
        if not whom.recipient.isascii() or not whom.recipient.isprintable() or not whom.recipient:
            raise Invalid("recipient is not what a notification names", field="recipient")
        return [(_product_of(tx, whom.recipient, products), whom.recipient)]
    email = (whom.email or "").strip()
    if not all(email.partition("@")) or not email.isprintable():
        raise Invalid("email is not an address", field="email")
    if not context.tracking_secrets:
        raise Conflict(
            "Addresses cannot be looked up. Set MILEPOST_TRACKING_SECRET to 32 characters or more."
        )
    product = _the_one(products)
    return [(product, each) for each in recipient_ids(context.tracking_secrets, product, email)]


def _products(tx: Transaction, reach: Reach) -> Sequence[str]:
    return sorted(tx.journal.business_products() if reach is None else reach)


def _product_of(tx: Transaction, recipient: str, products: Sequence[str]) -> str:
    """A recipient is one business product's: the one in which something was chosen, else the only one."""
    if len(products) > 1 and (found := tx.notifications.choices([(p, recipient) for p in products])):
        return min(found)[0]
    return _the_one(products)


def _the_one(products: Sequence[str]) -> str:
    if not products:
        raise NotFound("No business product is known yet; say which with ?businessProductId=.")
    if len(products) > 1:
        raise Ambiguous(
            f"There are {len(products)} business products; say which with ?businessProductId=.",
            businessProductIds=list(products),
        )
    return products[0]


def _item(keys: Keys, choices: Choices) -> ChoicesItem:
    product, recipient = keys[0]
    return ChoicesItem(
        recipient,
        product,
        list(choices.off),
        choices.locale,
        choices.blocked or None,
        None if choices.blocked_at is None else format_instant(choices.blocked_at),
        None if choices.changed_at is None else format_instant(choices.changed_at),
    )


HANDLERS = [list_choices, find_choices, put_choices, delete_choices]
