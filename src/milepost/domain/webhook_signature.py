"""Standard Webhooks signatures: making them, and a verifier that is total (event-delivery.md 6).

What is signed is `{id}.{timestamp}.` and the raw body; the header lists `version,base64` entries parted by
spaces, of which one good one is enough. `v1` is HMAC-SHA256 under the decoded bytes of a `whsec_` secret, `v1a`
ed25519. During a rotation there are several secrets, hence several entries.

For any headers and any bytes `verify` accepts or raises `Unauthenticated`, nothing else. It refuses what lets a
signature mean something else than it says: an id with a full stop (it could move the border to the timestamp),
a timestamp that is not plain digits, a header given twice, a secret shorter than the standard's.

Ed25519 keys come from outside, as whatever signs and checks bytes: no key format is known here.
"""

import binascii
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from milepost.domain.errors import Misconfigured, Unauthenticated
from milepost.domain.instant import MINUTE, SECOND, Instant

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

TOLERANCE = 5 * MINUTE
"""How far a timestamp may be from now, either way."""
LEAST_SECRET, MOST_SECRET = 24, 64
"""Bytes of an HMAC secret."""
MAX_HEADER = 8_192
"""Bytes of a header that are looked at; ten entries take less than a thousand."""

_PREFIX = "whsec_"
_PIECE = 2_047
_ID = re.compile(rb"[!-\-/-~]{1,256}")
"""Visible ASCII, but no full stop."""
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")

Sign = Callable[[bytes], bytes]
"""An ed25519 private key's signature of bytes."""
Check = Callable[[bytes, bytes], bool]
"""Whether a signature of bytes is an ed25519 public key's: (signature, signed). It raises for nothing."""


class Secret:
    """An HMAC key with its pads computed: signing begins with a copy of them."""

    __slots__ = ("_start",)

    def __init__(self, key: bytes) -> None:
        """Raises `Misconfigured` for a key of another length than the standard's."""
        if not LEAST_SECRET <= len(key) <= MOST_SECRET:
            raise Misconfigured(f"a webhook secret has {LEAST_SECRET} to {MOST_SECRET} bytes, not {len(key)}")
        self._start = hmac.new(key, digestmod="sha256")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that a `whsec_…` text stands for. Raises `Misconfigured`."""
        try:
            if not text.startswith(_PREFIX):
                raise ValueError
            key = binascii.a2b_base64(text.removeprefix(_PREFIX).encode("ascii"), strict_mode=True)
        except ValueError as e:
            raise Misconfigured("a webhook secret is whsec_ and base64") from e
        return cls(key)

    def digest(self, signed: bytes) -> bytes:
        """HMAC-SHA256. In pieces below hashlib's limit for letting other threads run: to wait for one's turn
        again costs many times what the hash does."""
        mac = self._start.copy()
        for start in range(0, len(signed), _PIECE):
            mac.update(signed[start : start + _PIECE])
        return mac.digest()


def webhook_id(message_id: str) -> str:
    """A message's id as a header may hold it: without full stops, and two are never the same."""
    if message_id.isascii() and message_id.isprintable() and not set(message_id) & {".", "%", " "}:
        return message_id
    return "".join(
        c if "!" <= c <= "~" and c not in ".%" else "".join(f"%{b:02X}" for b in c.encode(errors="replace"))
        for c in message_id
    )


def sign(
    id: str, at: Instant, body: bytes, secrets: Sequence[Secret], private: Sequence[Sign] = ()
) -> dict[str, str]:
    """The three headers for this attempt: `secrets` sign `v1`, ed25519 keys `v1a`."""
    timestamp = str(at // SECOND)
    signed = b"%b.%b.%b" % (id.encode("ascii"), timestamp.encode(), body)
    entries = [f"v1,{_text(secret.digest(signed))}" for secret in secrets]
    entries.extend(f"v1a,{_text(key(signed))}" for key in private)
    return {ID: id, TIMESTAMP: timestamp, SIGNATURE: " ".join(entries)}


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    now: Instant,
    secrets: Sequence[Secret],
    public: Sequence[Check] = (),
) -> None:
    """Raises `Unauthenticated` unless one entry is a signature by one of the keys, made about now."""
    found = _three(headers)
    name, timestamp, signatures = found[ID], found[TIMESTAMP], found[SIGNATURE]
    if not _ID.fullmatch(name):
        raise Unauthenticated(f"{ID} is not visible ASCII without a full stop")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Unauthenticated(f"{TIMESTAMP} is not a number of seconds")
    if abs(now - int(timestamp) * SECOND) > TOLERANCE:
        raise Unauthenticated(f"{TIMESTAMP} is more than {TOLERANCE // MINUTE} minutes from now")
    signed = b"%b.%b.%b" % (name, timestamp, body)
    expected = [secret.digest(signed) for secret in secrets]
    for version, given in _entries(signatures):
        if version == b"v1" and any(hmac.compare_digest(given, e) for e in expected):
            return
        if version == b"v1a" and any(check(given, signed) for check in public):
            return
    raise Unauthenticated(f"{SIGNATURE} does not fit the body")


def _three(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, value in headers:
        key = name.decode("latin-1").lower()
        if key not in (ID, TIMESTAMP, SIGNATURE):
            continue
        if key in found:
            raise Unauthenticated(f"{key} is given twice")
        if len(value) > MAX_HEADER:
            raise Unauthenticated(f"{key} is too long")
        found[key] = value
    for key in (ID, TIMESTAMP, SIGNATURE):
        if key not in found:
            raise Unauthenticated(f"{key} is missing")
    return found


def _entries(header: bytes) -> Iterable[tuple[bytes, bytes]]:
    """(version, signature) of each entry that can be read; others are for somebody else. A signature is written in
    one way: the bits of its last character that carry nothing are not looked at by a decoder, and have to be zero."""
    for entry in header.split(b" "):
        version, _, encoded = entry.partition(b",")
        try:
            signature = binascii.a2b_base64(encoded, strict_mode=True)
        except ValueError:
            continue
        if b64encode(signature) == encoded:
            yield version, signature


def _text(signature: bytes) -> str:
    return b64encode(signature).decode()
