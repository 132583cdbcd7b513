"""Sending a message by HTTP: one POST, with no authentication, Basic, or OAuth 2.0 client credentials.

A destination of kind `webhook` has these settings (JSON, Amazon's names; buy-with-prime.md 2.1):

    {"url": "https://…", "method": "POST",
     "auth": {}
           | {"basicAuthConfig": {"username", "password"}}
           | {"oAuthConfig": {"clientParameters": {"clientId", "clientSecret"},
                              "authEndpoint", "httpMethod": "POST",
                              "httpParameters": {"bodyParameters": [{"key", "value"}], "headerParameters": […]}}},
     "authProfileId": null | "…",
     "signature": null | "amazon" | {"standardWebhooks": {"secrets": ["whsec_…", …]}}}

Other keys are somebody else's and ignored. What is posted is rendered before it comes here. Every attempt ends
within one total deadline and reads a bounded answer; redirects are not followed; the address is checked where
the socket is made, so a literal address, a name that resolves to one and a name that resolves differently the
second time are all the same to it. An OAuth token is fetched once for all who wait for it, kept until shortly
before it expires, and fetched anew once after a 401.

When an attempt is due, and what its outcome means, is `pipeline.publisher`'s.
"""

import asyncio
import errno
import ipaddress
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import aiohttp
import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination
from milepost.domain.errors import MilepostError, Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.retry import parse_retry_after
from milepost.pipeline.publisher import Outcome, Parcel

DEADLINE_S = 10.0
RESPONSE_CAP = 64 * 1024
TOKEN_MARGIN_S = 10.0
"""A token is fetched anew this long before it expires."""
USER_AGENT = "Milepost"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""NAT64: an IPv4 address in the last four bytes."""
_COMPATIBLE = ipaddress.ip_network("::/96")


# ── Addresses ──────────────────────────────────────────────────────────────────────────────────────────────


class AddressRefused(OSError):
    """The address is private, local or reserved, and not on the list of allowed ones."""


def networks(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """CIDRs as networks. Raises `Misconfigured` for what isn't one."""
    try:
        return tuple(ipaddress.ip_network(cidr.strip()) for cidr in cidrs if cidr.strip())
    except ValueError as e:
        raise Misconfigured(f"not a network in CIDR form: {e}", setting="EGRESS_ALLOW") from e


def is_allowed(host: str, allow: Sequence[Network]) -> bool:
    """Whether a socket may be opened to this literal address: a public one, or one in `allow`.

    An IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, Teredo, NAT64) is judged by what it
    carries as well (event-delivery.md 8, bar 26)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    carried = _carried(address)
    return any(_in(a, allow) for a in (address, *carried)) or all(_public(a) for a in (address, *carried))


def _in(address: Address, allow: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in allow)


def _public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: Address) -> tuple[Address, ...]:
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [a for a in (address.ipv4_mapped, address.sixtofour) if a is not None]
    if address.teredo is not None:
        found.extend(address.teredo)
    if any(address in n for n in (*_EMBEDDING, _COMPATIBLE)):
        found.append(ipaddress.IPv4Address(address.packed[-4:]))
    return tuple(found)


def checked_socket_factory(allow: Sequence[Network]) -> Callable[[Any], socket.socket]:
    """A socket factory for aiohttp's connector: every connection passes it with its resolved address."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), allow):
            raise AddressRefused(errno.EACCES, f"{address[0]} is not a public address and not allowed")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return make


# ── Settings ───────────────────────────────────────────────────────────────────────────────────────────────


class Pair(Struct, frozen=True):
    key: str
    value: str


class ClientParameters(Struct, frozen=True, rename="camel"):
    client_id: str
    client_secret: str


class HttpParameters(Struct, frozen=True, rename="camel"):
    body_parameters: tuple[Pair, ...] = ()
    header_parameters: tuple[Pair, ...] = ()


class OAuthConfig(Struct, frozen=True, rename="camel"):
    client_parameters: ClientParameters
    auth_endpoint: str
    http_method: Literal["POST"] = "POST"
    http_parameters: HttpParameters = HttpParameters()


class BasicAuthConfig(Struct, frozen=True):
    username: str
    password: str


class AuthConfig(Struct, frozen=True):
    basic: BasicAuthConfig | None = msgspec.field(default=None, name="basicAuthConfig")
    oauth: OAuthConfig | None = msgspec.field(default=None, name="oAuthConfig")


class StandardWebhooks(Struct, frozen=True):
    """Secrets to sign with (`whsec_…`): during a rotation the old one beside the new."""

    secrets: tuple[str, ...]


class StandardSignature(Struct, frozen=True):
    standard: StandardWebhooks = msgspec.field(name="standardWebhooks")


class WebhookSettings(Struct, frozen=True):
    """The settings of a `webhook` destination; `msgspec.json.encode` of it is what the store keeps."""

    url: str
    method: Literal["POST"] = "POST"
    auth: AuthConfig = AuthConfig()
    auth_profile_id: str | None = msgspec.field(default=None, name="authProfileId")
    signature: Literal["amazon"] | StandardSignature | None = None


class _Refused(MilepostError):
    """The receiver's token endpoint gave no token."""


class _Token(Struct, frozen=True):
    value: str
    good_until: float


# ── Sender ─────────────────────────────────────────────────────────────────────────────────────────────────


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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allow` are CIDRs of addresses that are allowed though they aren't public. Token lifetimes run by
        `monotonic`, since the receiver's clock is no simulated one. Raises `Misconfigured` for a bad CIDR."""
        self._clock = clock
        self._allow = networks(allow)
        self._deadline_s = deadline_s
        self._response_cap = response_cap
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._tokens: dict[OAuthConfig, _Token] = {}
        self._fetching: dict[OAuthConfig, asyncio.Task[_Token]] = {}

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=0, socket_factory=checked_socket_factory(self._allow)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"user-agent": USER_AGENT},
        )

    async def close(self) -> None:
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        if self._session is not None:
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
        reached = False

        def outcome(status: int | None, error: str = "", retry_after: int | None = None) -> Outcome:
            return Outcome(status, error, retry_after, round((self._monotonic() - started) * 1000), reached)

        try:
            settings = msgspec.json.decode(destination.settings, type=WebhookSettings)
            async with asyncio.timeout(self._deadline_s):
                headers = await self._authorization(settings.auth, fresh=False)
                reached = True
                status, retry_after = await self._post(settings, parcel.body, headers)
                if status == 401 and settings.auth.oauth is not None:
                    headers = await self._authorization(settings.auth, fresh=True, refused=headers)
                    status, retry_after = await self._post(settings, parcel.body, headers)
            good = 200 <= status < 300
            return outcome(status, "" if good else f"answered {status}", retry_after)
        except TimeoutError:
            return outcome(None, f"no answer within {self._deadline_s:g} s")
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as e:
            reached = False
            return outcome(None, _words(e))
        except (aiohttp.ClientError, OSError) as e:
            return outcome(None, _words(e))
        except (MilepostError, msgspec.DecodeError) as e:
            reached = False
            return outcome(None, _words(e))

    async def _post(
        self, settings: WebhookSettings, payload: bytes, headers: dict[str, str]
    ) -> tuple[int, int | None]:
        """One request; the answer's body is read up to the cap and left."""
        assert self._session is not None, "open the sender first"
        async with self._session.request(
            settings.method,
            settings.url,
            data=payload,
            headers={"content-type": "application/json", **headers},
            allow_redirects=False,
        ) as response:
            await self._read(response)
            header = response.headers.get("retry-after")
            retry_after = None if header is None else parse_retry_after(header, self._clock())
            return response.status, retry_after

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """At most the cap; a longer answer costs its connection, never memory."""
        chunks: list[bytes] = []
        left = self._response_cap
        while left > 0 and (chunk := await response.content.read(min(left, 16_384))):
            chunks.append(chunk)
            left -= len(chunk)
        if not response.content.at_eof():
            response.close()
        return b"".join(chunks)

    # ── Authorization ──────────────────────────────────────────────────────────────────────────────────────

    async def _authorization(
        self, auth: AuthConfig, *, fresh: bool, refused: dict[str, str] | None = None
    ) -> dict[str, str]:
        if auth.basic is not None:
            pair = f"{auth.basic.username}:{auth.basic.password}".encode()
            return {"authorization": f"Basic {b64encode(pair).decode()}"}
        if auth.oauth is None:
            return {}
        known = self._tokens.get(auth.oauth)
        # Someone else may have fetched a new one since the refused request went out.
        if fresh and known is not None and refused == _bearer(known):
            known = None
        if known is None or known.good_until <= self._monotonic():
            known = await self._fetch_once(auth.oauth)
        return _bearer(known)

    async def _fetch_once(self, config: OAuthConfig) -> _Token:
        """Whoever waits for this token waits for one request, which outlives any of them."""
        task = self._fetching.get(config)
        if task is None:
            task = asyncio.create_task(self._fetch(config))
            self._fetching[config] = task
            task.add_done_callback(lambda done: self._fetched(config, done))
        return await asyncio.shield(task)

    def _fetched(self, config: OAuthConfig, task: asyncio.Task[_Token]) -> None:
        del self._fetching[config]
        if not task.cancelled() and task.exception() is None:
            self._tokens[config] = task.result()

    async def _fetch(self, config: OAuthConfig) -> _Token:
        assert self._session is not None, "open the sender first"
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_parameters.client_id,
            "client_secret": config.client_parameters.client_secret,
            **{p.key: p.value for p in config.http_parameters.body_parameters},
        }
        async with (
            asyncio.timeout(self._deadline_s),
            self._session.request(
                config.http_method,
                config.auth_endpoint,
                data=form,
                headers={p.key: p.value for p in config.http_parameters.header_parameters},
                allow_redirects=False,
            ) as response,
        ):
            body = await self._read(response)
            if response.status != 200:
                raise _Refused(f"the token endpoint answered {response.status}")
        return _token(body, self._monotonic())


def _bearer(token: _Token) -> dict[str, str]:
    return {"authorization": f"Bearer {token.value}"}


def _token(body: bytes, now: float) -> _Token:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise _Refused("the token endpoint's answer is not JSON") from e
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise _Refused("the token endpoint's answer has no access_token")
    lifetime = answer.get("expires_in")
    seconds = float(lifetime) if isinstance(lifetime, int | float) else 0.0
    return _Token(value, now + max(0.0, seconds - TOKEN_MARGIN_S))


def _words(error: BaseException) -> str:
    """An error for people, without the request's headers or body."""
    return f"{type(error).__name__}: {error}"[:500]
