"""Keys that sign what subscribers get: making them, their texts, and what signs with one.

A text says by its prefix what it is (Standard Webhooks): `whsec_` an HMAC secret, `whsk_` an ed25519 private key,
`whpk_` the public key that belongs to one; behind it stands base64. A private key's bytes are its seed, or seed and
public key together, as libsodium writes them. How a message is signed is `domain.webhook_signature`'s.
"""

import binascii
import secrets
from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from milepost.domain.errors import Misconfigured
from milepost.domain.webhook_signature import Secret, Sign

SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
_SECRET_BYTES = 32
_KEY_BYTES = 32


def new_secret() -> str:
    """A new HMAC secret."""
    return SECRET + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def new_private_key() -> str:
    """A new ed25519 private key; `public_key_of` gives the half to show."""
    key = Ed25519PrivateKey.generate()
    both = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return PRIVATE + b64encode(both).decode()


def public_key_of(text: str) -> str:
    """The public key of a private one. Raises `Misconfigured`."""
    return PUBLIC + b64encode(_private(text).public_key().public_bytes_raw()).decode()


def check_key(text: str) -> None:
    """Raises `Misconfigured` unless something can be signed with it."""
    if text.startswith(PRIVATE):
        _private(text)
    else:
        Secret.parse(text)


def signer_of(text: str) -> Sign:
    """What signs with an ed25519 private key. Raises `Misconfigured`."""
    return _private(text).sign


def _private(text: str) -> Ed25519PrivateKey:
    given = _bytes(text, PRIVATE)
    if len(given) not in (_KEY_BYTES, 2 * _KEY_BYTES):
        raise Misconfigured(
            f"a private key is {PRIVATE} and the base64 of {_KEY_BYTES} or {2 * _KEY_BYTES} bytes"
        )
    key = Ed25519PrivateKey.from_private_bytes(given[:_KEY_BYTES])
    if given[_KEY_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise Misconfigured("the two halves of the private key do not belong together")
    return key


def _bytes(text: str, prefix: str) -> bytes:
    try:
        if not text.startswith(prefix):
            raise ValueError
        return binascii.a2b_base64(text.removeprefix(prefix).encode("ascii"), strict_mode=True)
    except ValueError as e:
        raise Misconfigured(f"not a key: {prefix} and base64") from e
