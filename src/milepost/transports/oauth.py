"""`POST /oauth/token`: OAuth 2.0 client credentials, for the subscription's auth profile (buy-with-prime.md 1.6).

Amazon fetches a token here and calls the webhook with it. Tokens are JWTs (HS256) signed with a key derived
from the client secret, so they need no storage, survive a restart, and die with the secret they were asked
with. Rotation: a client has one or more secrets, each of which gets tokens and has its tokens accepted.

An EventBridge connection fetches its token here, too. AWS documents neither where its request has the client
credentials nor in which form, and sends a `grant_type` only when the connection adds one. So they may stand in the
body or in a Basic header or in both, the body may be a form or a JSON object, and the one grant that there is need
not be named.

**Failed tries** are limited three ways, and a right secret is never locked out by somebody else's:

- a client id at one address: 10 at once, then one each six seconds. Beyond it every try is refused unread (429),
  so guessing is slow; whoever knows neither the client id nor the address cannot cause it, and the wait of a right
  secret is six seconds at most once the wrong ones stop;
- an address, and all addresses together: beyond it a wrong secret gets 429 instead of 401, a right one its token.

A refused try prolongs nothing. Addresses are those of the connection: behind a proxy, the proxy's.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from hmac import digest as hmac_digest
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
import msgspec
import structlog
from msgspec import Struct

from milepost.domain.errors import TooLarge, Unauthenticated
from milepost.domain.instant import SECOND, Instant
from milepost.transports.asgi import (
    JSON_TYPE,
    Disconnected,
    Receive,
    Scope,
    Send,
    declared_length,
    read_body,
    respond,
    respond_method_not_allowed,
    too_large,
)
from milepost.transports.secret_table import SecretTable, keyed_hash

LIFETIME = 900
"""Seconds a token lives."""
MAX_FORM = 8_192
"""Bytes of a token request's form."""
MAX_TOKEN = 4_096
GRANT = "client_credentials"

_CACHE = 1_024
_NO_STORE = [JSON_TYPE, (b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
_log = structlog.get_logger()


class Client(Struct, frozen=True):
    """An OAuth client: its secrets (during a rotation the new one and the old), and what it may send."""

    id: str
    secrets: tuple[str, ...]
    business_product_ids: tuple[str, ...] = ()
    """Empty means all."""


class Grant(Struct, frozen=True):
    """One secret of one client."""

    client_id: str
    key_id: str
    key: bytes
    business_product_ids: tuple[str, ...]


class Tokens:
    """Issues and checks tokens. `clock` gives milliseconds UTC; `lifetime` is in seconds."""

    def __init__(
        self, clients: Iterable[Client], *, clock: Callable[[], Instant], lifetime: int = LIFETIME
    ) -> None:
        self._clock = clock
        self.lifetime = lifetime
        grants = [
            (secret, _grant(client, secret)) for client in clients for secret in client.secrets if secret
        ]
        self._by_secret = SecretTable((_pair(g.client_id, secret), g) for secret, g in grants)
        self._by_key_id = {grant.key_id: grant for _, grant in grants}
        self._seen: dict[bytes, tuple[Instant, tuple[str, ...]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key_id)

    def issue(self, client_id: str, secret: str) -> str:
        """A token for these client credentials. Raises `Unauthenticated`."""
        grant = self._by_secret.find(_pair(client_id, secret))
        if grant is None:
            raise Unauthenticated("the client id or the client secret is wrong")
        now = self._clock() // SECOND
        claims = {"iss": "milepost", "sub": grant.client_id, "iat": now, "exp": now + self.lifetime}
        return jwt.encode(claims, grant.key, algorithm="HS256", headers={"kid": grant.key_id})

    def check(self, token: bytes) -> tuple[str, ...]:
        """The business products the token's client is bound to (empty: all). Raises `Unauthenticated`."""
        now = self._clock()
        seen_as = keyed_hash(token)
        seen = self._seen.get(seen_as)
        if seen is None:
            seen = self._decode(token)
            self._remember(seen_as, seen, now)
        if now >= seen[0]:
            raise Unauthenticated("the access token has expired; ask for another")
        return seen[1]

    def _decode(self, token: bytes) -> tuple[Instant, tuple[str, ...]]:
        """(when it expires, business products) of a token with a right signature."""
        try:
            if len(token) > MAX_TOKEN:
                raise ValueError("longer than any token of ours")
            grant = self._by_key_id[str(jwt.get_unverified_header(token).get("kid"))]
            # Times are held against our own clock, not the library's.
            options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp"]}
            claims = jwt.decode(token, grant.key, algorithms=["HS256"], issuer="milepost", options=options)
            return Instant(int(claims["exp"]) * SECOND), grant.business_product_ids
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as e:
            raise Unauthenticated("the access token is not one of ours") from e

    def _remember(self, seen_as: bytes, seen: tuple[Instant, tuple[str, ...]], now: Instant) -> None:
        if len(self._seen) >= _CACHE:
            self._seen = {k: v for k, v in self._seen.items() if v[0] > now}
            if len(self._seen) >= _CACHE:
                self._seen.clear()
        self._seen[seen_as] = seen


def _grant(client: Client, secret: str) -> Grant:
    key = hmac_digest(secret.encode(), b"milepost token", "sha256")
    # Public: says which secret signed, and nothing about it.
    key_id = sha256(b"milepost key id\x00" + client.id.encode() + b"\x00" + key).hexdigest()[:16]
    return Grant(client.id, key_id, key, client.business_product_ids)


def _pair(client_id: str, secret: str) -> bytes:
    id_bytes = client_id.encode("utf-8", "surrogatepass")
    return b"%d:%b%b" % (len(id_bytes), id_bytes, secret.encode("utf-8", "surrogatepass"))


class FailureLimits:
    """How many failed tries are allowed, a key: a burst, then one an interval (in milliseconds)."""

    ONE_CLIENT = (10, 6 * SECOND)
    ONE_ADDRESS = (20, 3 * SECOND)
    ALL = (100, 600)
    _KEYS = 4_096

    def __init__(self) -> None:
        self._full_again: dict[tuple[str, ...], int] = {}

    def wait(self, key: tuple[str, ...], rate: tuple[int, int], now: Instant) -> int:
        """Milliseconds until `key` has a try left; 0 when it has one."""
        burst, interval = rate
        return max(0, self._full_again.get(key, now) - now - (burst - 1) * interval)

    def spend(self, key: tuple[str, ...], rate: tuple[int, int], now: Instant) -> int:
        """Count a failed try; returns what `wait` said. One that was over the limit counts for nothing."""
        wait = self.wait(key, rate, now)
        if not wait:
            if len(self._full_again) >= self._KEYS:
                self._forget()
            self._full_again[key] = max(self._full_again.get(key, now), now) + rate[1]
        return wait

    def _forget(self) -> None:
        """Drop the half that is nearest to full again, so that the ones at their limit stay."""
        by_time = sorted(self._full_again.items(), key=itemgetter(1))
        self._full_again = dict(by_time[self._KEYS // 2 :])


class _Refused(Exception):
    """A token request refused with an error of RFC 6749 5.2."""

    def __init__(self, status: int, error: str, description: str, *headers: tuple[bytes, bytes]) -> None:
        self.status, self.error, self.description, self.headers = status, error, description, headers


class TokenEndpoint:
    """The raw ASGI endpoint. Client credentials come in the body, in a Basic header, or the same ones in both."""

    def __init__(self, tokens: Tokens, *, clock: Callable[[], Instant]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._failures = FailureLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond_method_not_allowed(send)
            return
        headers = dict(scope["headers"])
        client = scope.get("client")
        try:
            if declared_length(headers) > MAX_FORM:
                raise too_large(MAX_FORM)
            form = _form(headers, await read_body(receive, MAX_FORM))
            token = self._issue(client[0] if client else "", *_client_credentials(headers, form))
        except Disconnected:
            return
        except _Refused as refused:
            answer: dict[str, Any] = {"error": refused.error, "error_description": refused.description}
            await respond(send, refused.status, [*_NO_STORE, *refused.headers], msgspec.json.encode(answer))
        except TooLarge as error:
            answer = {"error": "invalid_request", "error_description": error.detail}
            await respond(send, 413, _NO_STORE, msgspec.json.encode(answer))
        else:
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": self._tokens.lifetime}
            await respond(send, 200, _NO_STORE, msgspec.json.encode(answer))

    def _issue(self, address: str, client_id: str, secrets: tuple[str, ...]) -> str:
        """A token, for the first of the readings of one presented secret that is right."""
        now = self._clock()
        # The id is the caller's text: by its hash, keys stay small.
        one_client = ("client", address, keyed_hash(client_id.encode("utf-8", "surrogatepass")).hex())
        if wait := self._failures.wait(one_client, FailureLimits.ONE_CLIENT, now):
            raise _too_many(wait)
        for secret in secrets:
            try:
                return self._tokens.issue(client_id, secret)
            except Unauthenticated:
                continue
        wait = max(
            self._failures.spend(("all",), FailureLimits.ALL, now),
            self._failures.spend(("address", address), FailureLimits.ONE_ADDRESS, now),
        )
        if wait:
            raise _too_many(wait)
        self._failures.spend(one_client, FailureLimits.ONE_CLIENT, now)
        _log.warning("token refused", address=address, reason="the client id or the client secret is wrong")
        raise _invalid_client("the client id or the client secret is wrong")


def _form(headers: Mapping[bytes, bytes], body: bytes) -> dict[str, str]:
    """The fields of the form, or of the JSON object. Raises `_Refused`: neither, a repeated field, another grant."""
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type == b"application/x-www-form-urlencoded":
        form = _fields(body)
    elif content_type == b"application/json":
        try:
            form = msgspec.json.decode(body, type=dict[str, str])
        except (msgspec.DecodeError, ValueError) as e:
            raise _Refused(400, "invalid_request", "the JSON object of texts cannot be read") from e
    else:
        raise _Refused(400, "invalid_request", "send the request as application/x-www-form-urlencoded")
    if form.get("grant_type", GRANT) != GRANT:
        raise _Refused(400, "unsupported_grant_type", f"grant_type must be {GRANT}")
    return form


def _fields(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError as e:
        raise _Refused(400, "invalid_request", "the form cannot be read") from e
    form = dict(fields)
    if len(form) != len(fields):
        raise _Refused(400, "invalid_request", "a field is repeated")
    return form


def _client_credentials(headers: Mapping[bytes, bytes], form: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """(client id, the readings of its secret). RFC 6749 2.3.1 has clients form-encode both inside the Basic
    header; many don't, so a secret there is read as it stands and decoded."""
    authorization = headers.get(b"authorization")
    if authorization is None:
        if not form.get("client_id") or not form.get("client_secret"):
            raise _invalid_client("client_id and client_secret are missing")
        return form["client_id"], (form["client_secret"],)
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise _invalid_client("the Authorization header is not Basic")
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as e:
        raise _invalid_client("the Basic header cannot be read") from e
    if not colon:
        raise _invalid_client("the Basic header has no secret")
    client_id = unquote_plus(client_id) if "%" in client_id else client_id
    if form.get("client_id", client_id) != client_id:
        raise _Refused(400, "invalid_request", "client_id differs between the header and the form")
    readings = (secret, unquote_plus(secret))
    if "client_secret" in form and form["client_secret"] not in readings:
        raise _Refused(400, "invalid_request", "client_secret differs between the header and the form")
    return client_id, readings


def _invalid_client(description: str) -> _Refused:
    return _Refused(401, "invalid_client", description, (b"www-authenticate", b'Basic realm="milepost"'))


def _too_many(wait: int) -> _Refused:
    """RFC 6749 has no error for this; `temporarily_unavailable` is its word for the authorization endpoint."""
    description = "too many failed tries; wait and try again"
    seconds = b"%d" % max(1, -(-wait // SECOND))
    return _Refused(429, "temporarily_unavailable", description, (b"retry-after", seconds))
