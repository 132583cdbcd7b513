"""Finding what a presented secret grants, in constant time and at a cost that doesn't grow with their number.

Secrets are looked up by a hash keyed with random bytes of this process: nobody outside can steer two values to
nearby hashes, so how long a lookup takes says nothing about how much of a guess was right. Secrets themselves
are not kept.
"""

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Generic, TypeVar

G = TypeVar("G")

_KEY = secrets.token_bytes(32)


def keyed_hash(secret: bytes) -> bytes:
    """32 bytes; differs from process to process."""
    return blake2b(secret, digest_size=32, key=_KEY).digest()


class SecretTable(Generic[G]):
    """Secret to grant. The first of two equal secrets wins."""

    def __init__(self, entries: Iterable[tuple[bytes, G]] = ()) -> None:
        self._grants: dict[bytes, G] = {}
        for secret, grant in entries:
            self._grants.setdefault(keyed_hash(secret), grant)

    def find(self, secret: bytes) -> G | None:
        return self._grants.get(keyed_hash(secret))

    def __len__(self) -> int:
        return len(self._grants)
