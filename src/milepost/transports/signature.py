"""The request signature of webhooks: ES384 over the raw body, with keys from a JWKS.

**Unconfirmed by Amazon's own text.** Amazon's pages name the header `x-amzn-signature` and say it is optional
beside an auth profile; the algorithm and the keys are a third party's claim (buy-with-prime.md 1.6). So the
verifier is pluggable (`ingest.Verifier`) and lenient where the claim is vague: base64 of either a DER
signature (what AWS KMS gives) or the plain 96 bytes r||s (what JWS gives), the key named by `x-amzn-kid`.

It is total: whatever the headers hold, the outcome is acceptance, `Unauthenticated`, or, when the keys cannot
be fetched, `UpstreamUnavailable` (retryable). It never accepts what it could not check.
"""

import asyncio
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from milepost.domain.errors import Unauthenticated, UpstreamUnavailable
from milepost.domain.instant import DAY, SECOND, Instant

SIGNATURE_HEADER = b"x-amzn-signature"
KEY_ID_HEADER = b"x-amzn-kid"

FRESH = DAY
"""Milliseconds for which fetched keys are used without asking again."""
STALE = 7 * DAY
"""Milliseconds for which they are still used while the JWKS cannot be fetched."""
BETWEEN_FETCHES = 30 * SECOND
FETCH_TIMEOUT = 3.0
"""Seconds for the whole fetch."""
MAX_JWKS = 262_144
MAX_SIGNATURE = 512
"""Bytes of the header; a P-384 signature takes 128 to 140."""

_ECDSA = ec.ECDSA(SHA384())
_RAW = 96
_log = structlog.get_logger()


class JwksKeys:
    """The public keys at a URL, by key id. Fetched when first needed, once a day, and for an unknown key id;
    never more often than every 30 seconds. One fetch at a time, which everybody who needs it waits for."""

    def __init__(self, url: str, *, clock: Callable[[], Instant]) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self._fetched_at: Instant | None = None
        self._tried_at: Instant | None = None
        self._failed = False
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        """The key, or None when the JWKS doesn't have it. Raises `UpstreamUnavailable` when that cannot be told."""
        if (key := self._within(key_id, FRESH)) is not None:
            return key
        async with self._fetching:
            key = self._within(key_id, FRESH)
            if key is None and self._may_fetch():
                await self._fetch()
        key = key or self._within(key_id, STALE if self._failed else FRESH)
        if key is None and self._failed:
            raise UpstreamUnavailable("the keys of request signatures cannot be fetched now")
        return key

    def _within(self, key_id: str, age: int) -> ec.EllipticCurvePublicKey | None:
        if self._fetched_at is None or not 0 <= self._clock() - self._fetched_at < age:
            return None
        return self._keys.get(key_id)

    def _may_fetch(self) -> bool:
        # A clock set back must not stop fetching for as long as it was set back.
        return self._tried_at is None or not 0 <= self._clock() - self._tried_at < BETWEEN_FETCHES

    async def _fetch(self) -> None:
        self._tried_at = self._clock()
        try:
            keys = parse_jwks(await self._get())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            self._failed = True
            _log.warning("jwks not fetched", url=self._url, error=f"{type(e).__name__}: {e}"[:200])
            return
        self._keys, self._fetched_at, self._failed = keys, self._clock(), False
        _log.info("jwks fetched", url=self._url, keys=len(keys))

    async def _get(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"answered {response.status}")
            body = bytearray()
            async for part in response.content.iter_chunked(65_536):
                body += part
                if len(body) > MAX_JWKS:
                    raise ValueError(f"larger than {MAX_JWKS} bytes")
            return bytes(body)


def parse_jwks(body: bytes) -> dict[str, ec.EllipticCurvePublicKey]:
    """The P-384 signature keys of a JWKS, by key id; others are passed over. Raises ValueError: no JWKS."""
    try:
        document = msgspec.json.decode(body)
        entries = document["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as e:
        raise ValueError("not a JWKS") from e
    keys: dict[str, ec.EllipticCurvePublicKey] = {}
    for entry in entries if isinstance(entries, list) else ():
        if (key := _public_key(entry)) is not None:
            keys[entry["kid"]] = key
    return keys


def _public_key(entry: Any) -> ec.EllipticCurvePublicKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if (entry.get("kty"), entry.get("crv")) != ("EC", "P-384") or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", "ES384") != "ES384":
        return None
    try:
        key = jwt.PyJWK(entry, algorithm="ES384").key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


class SignatureVerifier:
    """An `ingest.Verifier` for `x-amzn-signature`."""

    def __init__(self, jwks_url: str, *, clock: Callable[[], Instant]) -> None:
        self._keys = JwksKeys(jwks_url, clock=clock)

    async def verify(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Raises `Unauthenticated` (no, unknown or wrong signature), `UpstreamUnavailable` (no keys to tell)."""
        candidates = _signatures(headers.get(SIGNATURE_HEADER))
        key_id = headers.get(KEY_ID_HEADER)
        if not key_id:
            raise Unauthenticated("x-amzn-kid is missing")
        key = await self._keys.key(key_id.decode("latin-1"))
        if key is None:
            raise Unauthenticated("x-amzn-kid names a key that the JWKS doesn't have")
        for signature in candidates:
            try:
                key.verify(signature, body, _ECDSA)
            except (InvalidSignature, ValueError):
                continue
            return
        raise Unauthenticated("x-amzn-signature does not fit the body")


def _signatures(header: bytes | None) -> list[bytes]:
    """The DER signatures that the header may mean. Raises `Unauthenticated`: none."""
    if not header:
        raise Unauthenticated("x-amzn-signature is missing")
    try:
        if len(header) > MAX_SIGNATURE:
            raise ValueError("too long")
        given = binascii.a2b_base64(header, strict_mode=True)
    except ValueError as e:
        raise Unauthenticated("x-amzn-signature is not base64") from e
    if len(given) != _RAW:
        return [given]
    r, s = int.from_bytes(given[:48], "big"), int.from_bytes(given[48:], "big")
    # A DER signature of 96 bytes is possible, if hardly likely.
    return [encode_dss_signature(r, s), given]
