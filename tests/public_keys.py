"""What a receiver checks signatures with: the public half of a pair, read as the texts of keys are."""

import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from milepost.domain.errors import Misconfigured
from milepost.domain.webhook_signature import Check
from milepost.pipeline.signing_keys import PUBLIC


def checker_of(text: str) -> Check:
    """What checks with an ed25519 public key (`whpk_…`). Raises `Misconfigured`."""
    try:
        if not text.startswith(PUBLIC):
            raise ValueError
        given = binascii.a2b_base64(text.removeprefix(PUBLIC).encode("ascii"), strict_mode=True)
        key = Ed25519PublicKey.from_public_bytes(given)
    except ValueError as e:
        raise Misconfigured(f"not a public key: {PUBLIC} and base64") from e

    def check(signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return check
