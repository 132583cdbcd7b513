"""Whom a notification goes to, and what they chose: contact, preferences, suppression list, unsubscribe links.

Nothing here keeps an address. The order's view has it, and it is read anew whenever something is sent (rule 16 of
tracking.md 11); what is kept is kept under a `recipient_id`, which only whoever has the secret can make from an
address, and nobody can turn back into one.

What people chose (`Choices`) is read at the moment of sending too (rule 13): `off` names what they do not want, as a
kind, as `kind/channel`, or as `all`; `blocked` is why nothing may be sent to them at all (an address that does not
exist, a complaint, an agent's word), which is the suppression list.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from milepost.domain.errors import NotFound
from milepost.domain.instant import SECOND, Instant
from milepost.domain.signed_token import sign, signed_claims

ALL: Final = "all"
"""What `Choices.off` names when nothing at all is wanted."""

_RECIPIENT = b"milepost recipient, version 1"
_UNSUBSCRIBE = b"milepost unsubscribe link, version 1"
_VERSION = 1


class Contact(Struct, frozen=True):
    """Whom the order's view names at this moment."""

    email: str | None = None


class Choices(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one recipient chose, and whether anything may be sent to them."""

    off: tuple[str, ...] = ()
    """Kinds, `kind/channel`, or `all`."""
    locale: str | None = None
    blocked: str = ""
    """Why nothing may be sent; empty: it may."""
    blocked_at: Instant | None = None
    changed_at: Instant | None = None

    def wants(self, kind: str, channel: str) -> bool:
        """Whether the recipient would be told of this kind by this channel. Blocking is another matter."""
        return not {ALL, kind, f"{kind}/{channel}"} & set(self.off)


def contact_of(order: Mapping[str, Any]) -> Contact:
    """The contact of an order's view; an address that is no address is none."""
    customer = order.get("customer") or {}
    email = customer.get("email")
    return Contact(email if isinstance(email, str) and _is_address(email) else None)


def recipient_id(secret: str, business_product_id: str, email: str) -> str:
    """The key of an address within a business product: 128 bits of a keyed hash of the normalised address."""
    key = hmac.digest(secret.encode("utf-8", "surrogatepass"), _RECIPIENT, hashlib.sha256)
    text = f"{business_product_id}\0{_normalised(email)}".encode("utf-8", "surrogatepass")
    return "rcp_" + hmac.digest(key, text, hashlib.sha256).hex()[:32]


def recipient_ids(secrets: Sequence[str], business_product_id: str, email: str) -> tuple[str, ...]:
    """Every key under which choices of an address may stand, the newest secret's first: who opted out before a secret
    was rotated stays opted out for as long as the old one is named."""
    return tuple(recipient_id(secret, business_product_id, email) for secret in secrets)


def read_choices(documents: Iterable[bytes | None]) -> Choices:
    """What holds of the documents that stand under a recipient's keys; of one alone, what it says. Of several (a
    secret was rotated, and a link of the old one still changes what stands under its key) whatever any of them
    switches off is off, and a block of any holds: none hides another's. The rest is as it was chosen last. Without
    any: the defaults, everything wanted and nothing blocked."""
    found = [_decode(document) for document in documents if document]
    found.sort(key=lambda choices: choices.changed_at or 0, reverse=True)
    if len(found) < 2:
        return found[0] if found else Choices()
    block = next((choices for choices in found if choices.blocked), found[0])
    return Choices(
        tuple(sorted({each for choices in found for each in choices.off})),
        next((choices.locale for choices in found if choices.locale), None),
        block.blocked,
        block.blocked_at,
        found[0].changed_at,
    )


def write_choices(choices: Choices) -> bytes:
    """The document that the store keeps; JSON."""
    return _encode(choices)


def make_unsubscribe(secret: str, business_product_id: str, recipient: str, expires_at: Instant) -> str:
    """The token of an unsubscribe link; its expiry is cut to whole seconds. It names no address."""
    claims = (_VERSION, business_product_id, recipient, expires_at // SECOND)
    return sign(secret, _UNSUBSCRIBE, _encode(claims))


def read_unsubscribe(secrets: Sequence[str], token: str, now: Instant) -> tuple[str, str]:
    """(business product, recipient) of a token that one of the secrets signed and that has not expired. Raises
    `NotFound`, whatever is wrong with it."""
    claims = signed_claims(secrets, _UNSUBSCRIBE, token)
    if claims is None:
        raise _no_link()
    try:
        version, product, recipient, expires_s = msgspec.json.decode(claims, type=tuple[int, str, str, int])
    except msgspec.MsgspecError as e:
        raise _no_link() from e
    if version != _VERSION or Instant(expires_s * SECOND) <= now:
        raise _no_link()
    return product, recipient


def _is_address(text: str) -> bool:
    local, at, domain = text.strip().rpartition("@")
    return bool(at and local and domain) and not any(c.isspace() or not c.isprintable() for c in text.strip())


def _normalised(email: str) -> str:
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def _no_link() -> NotFound:
    return NotFound("This unsubscribe link is not valid, or not any more.")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Choices).decode
