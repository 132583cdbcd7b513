"""Secrets at rest: what the store keeps of subscribers' secrets is sealed, and opened again where it is read.

Sealed bytes are AES-256-GCM under one of the operator's keys:

    NUL "mk1" | key id, 4 bytes | nonce, 12 bytes | ciphertext and tag

No text begins with a NUL, so that what is in clear is told from what is sealed. A key's id is made from the key and
says nothing of it. The row's identity is sealed along (associated data): moved to another row, sealed bytes do not
open. Which rows are sealed, and what is done about many at once, is `sealed_rows`'; where keys lie, `key_file`'s.
"""

import binascii
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from milepost.domain.errors import Conflict, Misconfigured

Place = tuple[str, ...]
"""The row whose secret it is: its table and its key."""

PREFIX = "mpk_"
"""What a key's text begins with, so that whatever looks for secrets in files finds it."""
SETTING = "MILEPOST_ENCRYPTION_KEY"
_ADVICE = f"a secret is kept only sealed, and there is no key: set {SETTING} (`milepost keys new` makes one)"
_KEY_BYTES, _ID_BYTES, _NONCE_BYTES = 32, 4, 12
_MARK = b"\0mk1"
_HEAD = len(_MARK) + _ID_BYTES
_BODY = _HEAD + _NONCE_BYTES
_encode = msgspec.json.Encoder().encode


class Altered(Exception):
    """Sealed bytes that their own key does not open: they were changed, or belong to another row."""


class Key:
    """One key. Shown, logged or printed it is its id; `text` is for whoever keeps it."""

    __slots__ = ("_bytes", "cipher", "head", "id")

    def __init__(self, given: bytes) -> None:
        self._bytes = given
        self.cipher = AESGCM(given)
        number = sha256(b"milepost key\0" + given).digest()[:_ID_BYTES]
        self.id = number.hex()
        self.head = _MARK + number
        """How everything begins that it sealed."""

    @property
    def text(self) -> str:
        return PREFIX + urlsafe_b64encode(self._bytes).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Key({self.id})"


def new_key() -> Key:
    """A key that nobody has yet."""
    return Key(secrets.token_bytes(_KEY_BYTES))


def parse_keys(text: str, where: str = SETTING) -> tuple[Key, ...]:
    """The keys of a text, separated by commas or white space. Raises `Misconfigured`, which never quotes one."""
    found = [_parse(part, where) for part in text.replace(",", " ").split()]
    if not found:
        raise Misconfigured(f"{where} holds no key; `milepost keys new` makes one")
    return tuple({key.id: key for key in found}.values())


def given_keys(setting: str | None) -> tuple[Key, ...]:
    """The keys of the setting; none when it is not set. Raises `Misconfigured`."""
    return () if setting is None else parse_keys(setting)


def sealed_by(kept: bytes) -> str | None:
    """The id of the key that sealed something; None for what is in clear."""
    return kept[len(_MARK) : _HEAD].hex() if kept.startswith(_MARK) else None


class Secrets:
    """Seals and opens for one database. Threads may share it."""

    def __init__(self, keys: Iterable[Key] = (), make: Callable[[], Key] | None = None) -> None:
        """The first key seals, all open. Without one `make` makes it when it is first needed; without that too,
        secrets are refused."""
        self._keys = {key.head: key for key in keys}
        self._make = None if self._keys else make

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the keys there are, the one that seals first."""
        return tuple(key.id for key in self._keys.values())

    @property
    def can_seal(self) -> bool:
        """Whether there is a key, or one would be made."""
        return bool(self._keys) or self._make is not None

    def seal(self, place: Place, clear: bytes, *, secret: bool = True) -> bytes:
        """Sealed for that place. What holds no `secret` is kept in clear where there is no key. Raises
        `Conflict` for a secret without a key."""
        if not self.can_seal and not secret:
            return clear
        key = self._sealing()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return key.head + nonce + key.cipher.encrypt(nonce, clear, key.head + _encode(place))

    def open(self, place: Place, kept: bytes) -> bytes:
        """What was sealed for that place; what is in clear as it is. Raises `Misconfigured` when its key is not
        there, and `Altered`."""
        if not kept.startswith(_MARK):
            return kept
        head = kept[:_HEAD]
        key = self._keys.get(head)
        if key is None:
            raise Misconfigured(self.missing([head[len(_MARK) :].hex()]))
        try:
            # What it is for is sealed along; JSON, so that no two places look the same.
            return key.cipher.decrypt(kept[_HEAD:_BODY], kept[_BODY:], head + _encode(place))
        except (InvalidTag, ValueError) as e:
            raise Altered(f"{' '.join(place)} was altered, or was sealed for another row") from e

    def missing(self, ids: Sequence[str]) -> str:
        """What is wrong when these keys are wanted and not there, in words."""
        known = f"it has {', '.join(self.ids)}" if self._keys else "there is none"
        return (
            f"secrets in the database are sealed by key {', '.join(ids)}, and {known}: {SETTING} must name every"
            f" key that sealed something, or the file beside the database hold it; `milepost keys status` says more"
        )

    def _sealing(self) -> Key:
        if not self._keys:
            if self._make is None:
                raise Conflict(_ADVICE)
            made = self._make()
            self._keys = {made.head: made}
        return next(iter(self._keys.values()))


def _parse(text: str, where: str) -> Key:
    try:
        if not text.startswith(PREFIX):
            raise ValueError
        body = text.removeprefix(PREFIX).encode("ascii")
        given = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        if len(given) != _KEY_BYTES or urlsafe_b64encode(given).rstrip(b"=") != body:
            raise ValueError
    except (ValueError, binascii.Error):
        raise Misconfigured(
            f"{where} holds something that is no key: one is {PREFIX} and the base64 of {_KEY_BYTES} bytes, as"
            " `milepost keys new` prints it"
        ) from None
    return Key(given)
