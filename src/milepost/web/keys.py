"""`/v1/keys`: API keys. A key is shown once, when it is made; after that only its hash exists."""

import secrets
from typing import Annotated

import structlog
from litestar import delete, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, field

from milepost.domain.errors import Forbidden, NotFound
from milepost.domain.instant import format_instant
from milepost.store import ApiKey, Scope, Transaction
from milepost.web.authentication import ADMIN, Caller, Principal, hash_of, new_key
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]

log = structlog.get_logger()


class KeyItem(Document):
    """An API key, without the key."""

    id: str
    name: str
    scope: Scope
    business_product_ids: list[str]
    """Those it is bound to; empty means all."""
    created_at: str
    revoked_at: str | None


class NewKeyRequest(Document, forbid_unknown_fields=True):
    """What the new key is for, and what it may."""

    name: Text
    scope: Scope = "read"
    business_product_ids: Annotated[list[Text], Meta(max_length=1000)] = field(default_factory=list)
    """Empty: those of the key that asks."""


class NewKeyDocument(KeyItem):
    """A new API key. `key` is shown this once."""

    key: str


@get("/v1/keys", summary="List API keys", tags=["Keys"], opt=ADMIN, responses=problems(403))
async def list_keys(context: Hub, caller: Caller, after: After = None, limit: Limit = 100) -> Page[KeyItem]:
    """API keys, oldest first, revoked ones among them; those within the asking key's business products."""
    size, start = page_size(limit), "" if after is None else decode_cursor("key", after, str)

    def read(tx: Transaction) -> list[ApiKey]:
        found: list[ApiKey] = []
        last = start
        while len(found) <= size:
            keys = tx.credentials.api_keys(last, size + 1)
            found.extend(key for key in keys if _manages(caller, key))
            if len(keys) <= size:
                break
            last = keys[-1].id
        return found

    return cut("key", await context.store.read(read), size, lambda key: key.id, _item)


@post(
    "/v1/keys",
    summary="Make an API key",
    tags=["Keys"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403),
)
async def create_key(context: Hub, caller: Caller, data: JSONBody[NewKeyRequest]) -> NewKeyDocument:
    """The answer holds the key; it can't be read again. A key can't be given more business products than the
    key that asks has."""
    own = caller.business_products
    products = tuple(sorted(set(data.business_product_ids))) or tuple(sorted(own or ()))
    if own is not None and not own.issuperset(products):
        raise Forbidden("A key can't be bound to business products that yours isn't bound to.")
    now = context.clock()
    key = new_key()
    # The time first, so that the order of ids is the order in which keys were made.
    row = ApiKey(f"key_{now:013x}{secrets.token_hex(5)}", data.name, hash_of(key), data.scope, products, now)
    await context.store.write(lambda tx: tx.credentials.put_api_key(row))
    log.info("key.created", id=row.id, scope=row.scope, businessProducts=len(products), by=caller.id)
    shown = _item(row)
    return NewKeyDocument(
        shown.id, shown.name, shown.scope, shown.business_product_ids, shown.created_at, None, key
    )


@delete(
    "/v1/keys/{key_id:str}",
    summary="Revoke an API key",
    tags=["Keys"],
    opt=ADMIN,
    responses=problems(403, 404),
)
async def revoke_key(
    context: Hub,
    caller: Caller,
    key_id: Annotated[str, PathParameter(description="The key's id.", max_length=128)],
) -> None:
    """From now on the key is refused. Again on a revoked key changes nothing."""

    def write(tx: Transaction) -> None:
        key = _key(tx, caller, key_id)
        if key.revoked_at is None:
            revoked = ApiKey(
                key.id,
                key.name,
                key.hash,
                key.scope,
                key.business_product_ids,
                key.created_at,
                context.clock(),
            )
            tx.credentials.put_api_key(revoked)

    await context.store.write(write)
    log.info("key.revoked", id=key_id, by=caller.id)


def _key(tx: Transaction, caller: Principal, key_id: str) -> ApiKey:
    after = ""
    while keys := tx.credentials.api_keys(after, 500):
        for key in keys:
            if key.id == key_id and _manages(caller, key):
                return key
        after = keys[-1].id
    raise NotFound(f"There is no API key {key_id!r}.")


def _manages(caller: Principal, key: ApiKey) -> bool:
    """A bound key manages the keys that are bound within its own business products."""
    own = caller.business_products
    return own is None or (bool(key.business_product_ids) and own.issuperset(key.business_product_ids))


def _item(key: ApiKey) -> KeyItem:
    return KeyItem(
        key.id,
        key.name,
        key.scope,
        list(key.business_product_ids),
        format_instant(key.created_at),
        None if key.revoked_at is None else format_instant(key.revoked_at),
    )


HANDLERS = [list_keys, create_key, revoke_key]
