"""Tracking tokens: what a signed link to one order's status holds, and how it is made and checked.

A token is base64 of `[version, business product, order id, expiry in seconds]`, a dot, and base64 of its HMAC-SHA256.
It is a bearer secret for as long as it is good: whoever has the link sees the status. Its key is made from the secret
of the settings, so that the same secret signing something else gives no token. Several secrets overlap while one is
rotated; the first signs. Every token that is not good is the same `NotFound`: nobody learns why.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from milepost.domain.errors import NotFound
from milepost.domain.instant import SECOND, Instant

VERSION = 1
LONGEST = 2_048
"""Characters; ids are short, so anything longer is no token."""
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
    return f"{_text(claims)}.{_text(_signature(secret, claims))}"


def read_token(secrets: Sequence[str], token: str, now: Instant) -> Link:
    """The link of a token that one of the secrets signed and that has not expired. Raises `NotFound`."""
    claims, signature = _parts(token)
    good = [hmac.compare_digest(signature, _signature(secret, claims)) for secret in secrets]
    if not any(good):
        raise _no_link()
    try:
        version, product, order_id, expires_s = msgspec.json.decode(claims, type=tuple[int, str, str, int])
    except msgspec.MsgspecError as e:
        raise _no_link() from e
    link = Link(product, order_id, Instant(expires_s * SECOND))
    if version != VERSION or link.expires_at <= now:
        raise _no_link()
    return link


def _parts(token: str) -> tuple[bytes, bytes]:
    claims, dot, signature = token.partition(".")
    if not dot or len(token) > LONGEST:
        raise _no_link()
    try:
        return _bytes(claims), _bytes(signature)
    except (binascii.Error, ValueError) as e:
        raise _no_link() from e


def _signature(secret: str, claims: bytes) -> bytes:
    key = hmac.digest(secret.encode("utf-8", "surrogatepass"), _PURPOSE, hashlib.sha256)
    return hmac.digest(key, claims, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _no_link() -> NotFound:
    return NotFound("This tracking link is not valid, or not any more.")
