"""Tracking tokens: what a signed link to one order's status holds, and how it is made and checked.

The claims of such a `signed_token` are `[version, business product, order id, expiry in seconds]`. It is a bearer
secret for as long as it is good: whoever has the link sees the status. The first secret signs. Every token that is
not good is the same `NotFound`: nobody learns why.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from milepost.domain.errors import NotFound
from milepost.domain.instant import SECOND, Instant
from milepost.domain.signed_token import sign, signed_claims

VERSION = 1
SHORTEST_SECRET = 32
"""Characters of a secret: whoever guesses it can make links to every order."""

_PURPOSE = b"milepost tracking link, version 1"


class Link(Struct, frozen=True):
    """What a token says: the status of this order may be read until then."""

    business_product_id: str
    order_id: str
    expires_at: Instant


def make_token(secret: str, link: Link) -> str:
    """A token for a link; its expiry is cut to whole seconds."""
    expires_s = link.expires_at // SECOND
    claims = msgspec.json.encode((VERSION, link.business_product_id, link.order_id, expires_s))
    return sign(secret, _PURPOSE, claims)


def read_token(secrets: Sequence[str], token: str, now: Instant) -> Link:
    """The link of a token that one of the secrets signed and that has not expired. Raises `NotFound`."""
    claims = signed_claims(secrets, _PURPOSE, token)
    if claims is None:
        raise _no_link()
    try:
        version, product, order_id, expires_s = msgspec.json.decode(claims, type=tuple[int, str, str, int])
    except msgspec.MsgspecError as e:
        raise _no_link() from e
    link = Link(product, order_id, Instant(expires_s * SECOND))
    if version != VERSION or link.expires_at <= now:
        raise _no_link()
    return link


def _no_link() -> NotFound:
    return NotFound("This tracking link is not valid, or not any more.")
