"""Sending a message by HTTP: one POST, with no authentication, Basic, or OAuth 2.0 client credentials.

The settings of a destination of kind `webhook` are `domain.webhook_settings`'. What is posted is rendered before it
comes here; what is signed (`signature`: nothing, Amazon's way, or Standard Webhooks) is those bytes. While a secret
is rotated the former one signs along for as long as it was given. Every attempt ends within one total deadline,
token and connection included, and reads a bounded answer; redirects are not followed; addresses are `egress`'s to
refuse. Once a status has come it is the answer, whatever becomes of the rest; of its body the beginning is kept,
without the credentials that it may repeat. A 401 to a cached token is tried once more with a new one.

When an attempt is due, and what its outcome means, is `pipeline.publisher`'s.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Protocol, Self

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from msgspec import Struct
from yarl import URL

from milepost.domain import webhook_signature
from milepost.domain.attempt import Destination
from milepost.domain.errors import MilepostError, Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.retry import parse_retry_after
from milepost.domain.webhook_settings import (
    AuthConfig,
    BasicAuthConfig,
    ClientParameters,
    HttpParameters,
    OAuthConfig,
    Pair,
    StandardSignature,
    StandardWebhooks,
    WebhookSettings,
)
from milepost.pipeline import signing_keys
from milepost.pipeline.sending import EXCERPT, Outcome, Parcel
from milepost.transports.egress import checked_connector, networks
from milepost.transports.receiver_token import ReceiverTokens

__all__ = [
    "AuthConfig",
    "BasicAuthConfig",
    "ClientParameters",
    "HttpParameters",
    "OAuthConfig",
    "Pair",
    "StandardSignature",
    "StandardWebhooks",
    "WebhookSender",
    "WebhookSettings",
]

DEADLINE_S = 10.0
RESPONSE_CAP = 64 * 1024
LARGE = 512 * 1024
"""Bytes of a body that is written in pieces."""
PREPARED = 512
"""Destinations whose settings are kept ready: of thousands that one event is for, most are sent to once."""
USER_AGENT = "Milepost"
ORDINARY = frozenset(("accept", "accept-encoding", "connection", "content-type", "range", "user-agent"))
"""Headers of a destination's settings that hold no secret."""
HIDDEN = b"[hidden]"


class Signer(Protocol):
    """Signs the bytes of a request; the headers to add."""

    def sign(self, body: bytes) -> dict[str, str]: ...


class _Key(Struct, frozen=True):
    """What signs a destination's messages: an HMAC secret or an ed25519 key."""

    secret: webhook_signature.Secret | None
    private: webhook_signature.Sign | None
    until: Instant | None
    """When it ends, for one that another has taken the place of."""


class _Prepared(Struct, frozen=True):
    """A destination's settings, ready to send with."""

    url: URL
    target: str
    headers: dict[str, str]
    oauth: OAuthConfig | None
    amazon: bool
    keys: tuple[_Key, ...]
    secrets_sent: tuple[str, ...]
    """Those that its requests carry as they are."""


class _Try:
    """One attempt under way: what is known of it so far, whenever it ends."""

    __slots__ = ("_secrets", "reached", "response", "retry_after", "status", "target")

    def __init__(self) -> None:
        self._secrets: set[bytes] = set()
        self.target = ""
        self.reached = False
        self.status: int | None = None
        self.retry_after: int | None = None
        self.response = bytearray()

    def keep_to_ourselves(self, secrets: Iterable[str]) -> None:
        """What the answer may repeat and nobody may read in it."""
        self._secrets.update(secret.encode() for secret in secrets if secret)

    def add(self, chunk: bytes) -> None:
        """More of the answer's body: what is kept of it, and as much as a secret at the end of that may take."""
        most = EXCERPT + max(map(len, self._secrets), default=0)
        self.response += chunk[: max(0, most - len(self.response))]

    def outcome(self, error: str, duration_ms: int) -> Outcome:
        """A status that has come is the answer, whatever went wrong after it."""
        if self.status is not None:
            error = "" if 200 <= self.status < 300 else f"answered {self.status}"
        response = bytes(self.response)
        for secret in self._secrets:
            response = response.replace(secret, HIDDEN)
        text = response[:EXCERPT].decode("utf-8", "ignore")
        return Outcome(self.status, error, self.retry_after, duration_ms, self.reached, self.target, text)


class WebhookSender:
    """Sends to `webhook` destinations. Open it inside a running loop, close it after the publisher."""

    batch = 1

    def __init__(
        self,
        clock: Callable[[], Instant],
        *,
        allow: Sequence[str] = (),
        deadline_s: float = DEADLINE_S,
        response_cap: int = RESPONSE_CAP,
        signer: Signer | None = None,
        resolver: AbstractResolver | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allow` are CIDRs of addresses that are allowed though they aren't public; `signer` signs Amazon's way;
        names are resolved by `resolver` (the system's). Token lifetimes run by `monotonic`, since the
        receiver's clock is no simulated one. Raises `Misconfigured` for a bad CIDR."""
        self._clock = clock
        self._allow = networks(allow)
        self._deadline_s = deadline_s
        self._response_cap = response_cap
        self._signer = signer
        self._resolver = resolver
        self._monotonic = monotonic
        self._prepared: dict[bytes, _Prepared] = {}

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=checked_connector(self._allow, self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            # One deadline is over everything an attempt does, so none of the client's own.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=("accept", "accept-encoding"),
            headers={"user-agent": USER_AGENT},
        )
        self._tokens = ReceiverTokens(self._session, deadline_s=self._deadline_s, monotonic=self._monotonic)

    async def close(self) -> None:
        await self._tokens.close()
        await self._session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        """POST each body once (twice when a cached token turned out to be refused). Never raises for what the
        destination does."""
        return [await self._send(destination, parcel) for parcel in parcels]

    async def _send(self, destination: Destination, parcel: Parcel) -> Outcome:
        started = self._monotonic()
        attempt = _Try()
        error = ""
        try:
            prepared = self._prepare(destination.settings)
            attempt.target = prepared.target
            attempt.keep_to_ourselves(prepared.secrets_sent)
            headers = {**prepared.headers, **self._signed(prepared, parcel)}
            async with asyncio.timeout(self._deadline_s):
                await self._authorized(prepared, parcel.body, headers, attempt)
        except TimeoutError:
            error = f"no answer within {self._deadline_s:g} s"
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as e:
            attempt.reached = False
            error = _words(e)
        except (aiohttp.ClientError, OSError) as e:
            error = _words(e)
        except (MilepostError, msgspec.DecodeError) as e:
            # No token, or settings that nothing can be sent with. After a 401 there is that answer.
            attempt.reached = attempt.status is not None
            error = _words(e)
        return attempt.outcome(error, round((self._monotonic() - started) * 1000))

    async def _authorized(
        self, prepared: _Prepared, body: bytes, headers: dict[str, str], attempt: _Try
    ) -> None:
        """POST, and once more with a new token if a kept one is refused."""
        oauth = prepared.oauth
        if oauth is not None:
            headers["authorization"] = await self._tokens.authorization(oauth)
            attempt.keep_to_ourselves([_credential(headers["authorization"])])
        await self._post(prepared.url, body, headers, attempt)
        if attempt.status == 401 and oauth is not None:
            refused = headers["authorization"]
            headers["authorization"] = await self._tokens.authorization(oauth, refused=refused)
            attempt.keep_to_ourselves([_credential(headers["authorization"])])
            attempt.status = None
            await self._post(prepared.url, body, headers, attempt)

    async def _post(self, url: URL, body: bytes, headers: dict[str, str], attempt: _Try) -> None:
        """One request. The answer is read to the end, so that its connection can be used again, unless it is
        longer than the cap: that costs the connection."""
        attempt.reached = True
        # aiohttp writes bytes at one go; a large body would keep everybody else waiting, and it warns of that.
        data = body if len(body) < LARGE else BytesIO(body)
        async with self._session.post(url, data=data, headers=headers, allow_redirects=False) as response:
            header = response.headers.get("retry-after")
            attempt.retry_after = None if header is None else parse_retry_after(header, self._clock())
            attempt.status = response.status
            attempt.response.clear()
            left = self._response_cap
            while left > 0 and (chunk := await response.content.read(min(left, 16_384))):
                attempt.add(chunk)
                left -= len(chunk)
            if not response.content.at_eof():
                response.close()

    # ── Settings ───────────────────────────────────────────────────────────────────────────────────────────

    def _prepare(self, settings: bytes) -> _Prepared:
        """Decoded once a destination and change. Raises `DecodeError` and `Misconfigured`."""
        known = self._prepared.get(settings)
        if known is None:
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            known = self._prepared[settings] = _prepared(settings)
        return known

    def _signed(self, prepared: _Prepared, parcel: Parcel) -> dict[str, str]:
        if prepared.keys:
            now = self._clock()
            good = [key for key in prepared.keys if key.until is None or now < key.until]
            secrets = [key.secret for key in good if key.secret is not None]
            private = [key.private for key in good if key.private is not None]
            name = webhook_signature.webhook_id(parcel.message.id)
            return webhook_signature.sign(name, now, parcel.body, secrets, private)
        if not prepared.amazon:
            return {}
        if self._signer is None:
            raise Misconfigured("there is no key to sign Amazon's way with")
        return self._signer.sign(parcel.body)


def _prepared(settings: bytes) -> _Prepared:
    decoded = msgspec.json.decode(settings, type=WebhookSettings)
    try:
        url = URL(decoded.url)
        plain = url.user is None and url.password is None
    except ValueError as e:
        raise Misconfigured(f"not a URL: {e}") from e
    if not plain:
        raise Misconfigured("a URL holds no credentials: they go into auth")
    headers = {"content-type": "application/json"}
    headers.update((pair.key.lower(), pair.value) for pair in decoded.headers)
    if decoded.auth.basic is not None:
        pair = f"{decoded.auth.basic.username}:{decoded.auth.basic.password}".encode()
        headers["authorization"] = f"Basic {b64encode(pair).decode()}"
    keys: tuple[_Key, ...] = ()
    if isinstance(decoded.signature, StandardSignature):
        keys = _keys(decoded.signature.standard)
    sent = tuple(
        _credential(value) if name == "authorization" else value
        for name, value in headers.items()
        if name not in ORDINARY
    )
    amazon = decoded.signature == "amazon"
    return _Prepared(url, decoded.url, headers, decoded.auth.oauth, amazon, keys, sent)


def _keys(signature: StandardWebhooks) -> tuple[_Key, ...]:
    if not signature.secrets:
        raise Misconfigured("a signature needs a secret")
    given = [(secret, None) for secret in signature.secrets]
    return tuple(
        _Key(None, signing_keys.signer_of(text), until)
        if text.startswith(signing_keys.PRIVATE)
        else _Key(webhook_signature.Secret.parse(text), None, until)
        for text, until in (*given, *((former.secret, former.until) for former in signature.former))
    )


def _credential(header: str) -> str:
    """An Authorization header without the word that says how it authenticates."""
    return header.rpartition(" ")[2]


def _words(error: BaseException) -> str:
    """An error for people, without the request's headers or body."""
    return f"{type(error).__name__}: {error}"[:500]
