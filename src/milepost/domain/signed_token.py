"""Signed tokens: claims that whoever holds the token may show, and nobody else can make.

A token is base64 of the claims, a dot, and base64 of their HMAC-SHA256. Its key is made from the secret of the
settings and from what the token is for, so that one secret signing several sorts of token never lets one pass for
another. Several secrets overlap while one is rotated. What the claims mean is said where they are made.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

_LONGEST = 2_048
"""Characters; ids are short, so anything longer is no token."""


def sign(secret: str, purpose: bytes, claims: bytes) -> str:
    """A token of these claims."""
    return f"{_text(claims)}.{_text(_signature(secret, purpose, claims))}"


def signed_claims(secrets: Sequence[str], purpose: bytes, token: str) -> bytes | None:
    """The claims of a token that one of the secrets signed for this purpose; None: it is none."""
    text, dot, signed = token.partition(".")
    if not dot or len(token) > _LONGEST:
        return None
    try:
        claims, signature = _bytes(text), _bytes(signed)
    except (binascii.Error, ValueError):
        return None
    good = [hmac.compare_digest(signature, _signature(secret, purpose, claims)) for secret in secrets]
    return claims if any(good) else None


def _signature(secret: str, purpose: bytes, claims: bytes) -> bytes:
    key = hmac.digest(secret.encode("utf-8", "surrogatepass"), purpose, hashlib.sha256)
    return hmac.digest(key, claims, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
