"""Signing webhooks as Amazon is said to: ES384 over the raw body, `x-amzn-signature` and `x-amzn-kid`.

The other side of `signature`, with the same caution: the scheme is a third party's claim (buy-with-prime.md 1.6).
The signature is base64 of DER, as AWS KMS gives it; a key id is its RFC 7638 thumbprint.

A signer has at least two keys: the active one, and the next, which is in the JWKS already, so that a receiver
who keeps the JWKS for a day knows a key before it is used. `rotate` makes the next one active; what signed
before stays in the JWKS, for what is still under way, until `retire` takes it out.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from milepost.domain.errors import Misconfigured

SIGNATURE_HEADER = "x-amzn-signature"
KEY_ID_HEADER = "x-amzn-kid"

_ECDSA = ec.ECDSA(SHA384())
_CURVE = ec.SECP384R1
_FIELD = 48
"""Bytes of a coordinate."""


class _Key:
    __slots__ = ("id", "jwk", "private")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        numbers = private.public_key().public_numbers()
        public = {"crv": "P-384", "kty": "EC", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        text = json.dumps(public, sort_keys=True, separators=(",", ":"))
        self.private = private
        self.id = _unpadded(sha256(text.encode()).digest())
        self.jwk: dict[str, Any] = {**public, "kid": self.id, "use": "sig", "alg": "ES384"}


class AmazonSigner:
    """Signs with one active key; `jwks()` tells all public ones."""

    def __init__(self, pems: Sequence[bytes] = ()) -> None:
        """`pems` are what `pems()` gave; without them keys are made. Raises `Misconfigured`: no P-384 keys."""
        keys = [_loaded(pem) for pem in pems]
        while len(keys) < 2:
            keys.append(_made())
        self._keys = keys
        """Oldest first: those that signed before, the active one, the next."""

    @property
    def key_id(self) -> str:
        """The active key's."""
        return self._active.id

    def sign(self, body: bytes) -> dict[str, str]:
        """The headers for these bytes."""
        key = self._active
        signature = b64encode(key.private.sign(body, _ECDSA)).decode()
        return {SIGNATURE_HEADER: signature, KEY_ID_HEADER: key.id}

    def rotate(self) -> str:
        """Sign with the next key from now on; its id."""
        self._keys.append(_made())
        return self.key_id

    def retire(self) -> None:
        """Take the keys that signed before out of the JWKS: nothing they signed is under way any more."""
        del self._keys[:-2]

    def jwks(self) -> dict[str, Any]:
        """The JWKS document."""
        return {"keys": [key.jwk for key in self._keys]}

    def pems(self) -> list[bytes]:
        """The private keys, for keeping: a signer made from them goes on where this one stood."""
        return [
            key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in self._keys
        ]

    @property
    def _active(self) -> _Key:
        return self._keys[-2]


def _made() -> _Key:
    return _Key(ec.generate_private_key(_CURVE()))


def _loaded(pem: bytes) -> _Key:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as e:
        raise Misconfigured("a key to sign with is not a private key in PEM form") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVE):
        raise Misconfigured("a key to sign with is not on the curve P-384")
    return _Key(key)


def _coordinate(number: int) -> str:
    return _unpadded(number.to_bytes(_FIELD, "big"))


def _unpadded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
