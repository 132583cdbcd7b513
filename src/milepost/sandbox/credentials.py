"""API credentials of the sandbox, and the access tokens they are exchanged for.

A credential is a client id, a secret, the business product it speaks for (its target id) and permissions. It is
kept as a view of kind `credential` whose document has the SHA-256 of the secret, which is 256 random bits, and
never the secret. One is always there, from the settings: `sandbox`, with every permission and the target id
`sandbox`, which reads every business product.

Tokens live in memory and by the machine's monotonic clock: a client holds real ones, whatever the world's clock
does. Each is good for fifteen minutes, any number at once; asking for them in quick succession is throttled by
client id, at a pace that no well-made client reaches (buy-with-prime.md 3). Revoking a credential ends its tokens.
"""

import hmac
import secrets
import string
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from milepost.domain.errors import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unauthenticated
from milepost.domain.instant import Instant
from milepost.sandbox.permissions import EVERY_SCOPE, SANDBOX_TARGET, Caller
from milepost.store import Store, Transaction, View, ViewKind

KIND: ViewKind = "credential"
LIFETIME_S = 900
"""Fifteen minutes, as documented."""
MOST_TOKENS = 100_000
"""How many valid tokens are remembered; the oldest go first."""
REQUESTS, PER_S = 300, 10.0
"""Token requests that one client id may make in so many seconds."""
MOST_CLIENTS = 10_000
"""Client ids whose pace is remembered."""
LONGEST_NAME = 100
LONGEST_TARGET = 100
_ALPHABET = string.ascii_lowercase + string.digits


class Credential(Struct, frozen=True, rename="camel"):
    """A credential as it is kept."""

    client_id: str
    name: str
    target_id: str
    scopes: tuple[str, ...]
    secret_hash: str
    """Hexadecimal SHA-256 of the secret."""
    created_at: Instant

    def proves(self, secret: str) -> bool:
        """Whether this is its secret; takes as long for any other."""
        return hmac.compare_digest(self.secret_hash, _hash(secret))


class _Token(Struct, frozen=True):
    good_until: float
    credential: Credential


class Credentials:
    """The credentials of one sandbox and the tokens it has given."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        client_id: str,
        client_secret: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client_id` and `client_secret` are those of the credential that is always there."""
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._own = Credential(
            client_id,
            "Built in",
            SANDBOX_TARGET,
            tuple(sorted(EVERY_SCOPE)),
            _hash(client_secret),
            Instant(0),
        )
        self._tokens: dict[bytes, _Token] = {}
        """By the token's hash, oldest first."""
        self._revoked: set[str] = set()
        """Since this process began: a token request under way must not outlive the revocation."""
        self._asked: dict[str, deque[float]] = {}

    # ── Credentials ────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, name: str, target_id: str, scopes: frozenset[str]) -> tuple[Credential, str]:
        """A new credential, and its secret, which nobody can be told again. Raises `Invalid`."""
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise Invalid(f"a name is 1 to {LONGEST_NAME} printable characters", field="name")
        if (
            not target_id
            or len(target_id) > LONGEST_TARGET
            or not target_id.isprintable()
            or "/" in target_id
        ):
            raise Invalid(f"a target id is 1 to {LONGEST_TARGET} printable characters", field="targetId")
        secret = secrets.token_urlsafe(32)
        made = Credential(
            f"client-{''.join(secrets.choice(_ALPHABET) for _ in range(25))}",
            name.strip(),
            target_id,
            tuple(sorted(scopes)),
            _hash(secret),
            self._clock(),
        )
        document = msgspec.json.encode(made)
        await self._store.write(
            lambda tx: tx.views.put([View(KIND, "", made.client_id, document, "active", check_at=None)])
        )
        return made, secret

    async def page(self, after: tuple[int, str] | None, limit: int) -> list[tuple[int, Credential]]:
        """Credentials, oldest first, each with its number; the one that is always there is not among them."""
        where = None if after is None else (after[0], "", after[1])
        found = await self._store.read(lambda tx: tx.views.page(KIND, where, limit, None))
        return [(number, _decoded(view)) for number, view in found]

    async def revoke(self, client_id: str) -> None:
        """Delete a credential and end its tokens. Raises `NotFound`, and `Conflict` for the one of the settings."""
        if client_id == self._own.client_id:
            raise Conflict("the credential of the sandbox's settings cannot be deleted", clientId=client_id)

        def remove(tx: Transaction) -> bool:
            known = _find(tx, client_id) is not None
            tx.views.remove([(KIND, "", client_id)])
            return known

        if not await self._store.write(remove):
            raise NotFound(f"there is no credential {client_id}", clientId=client_id)
        self._revoked.add(client_id)
        for key in [k for k, t in self._tokens.items() if t.credential.client_id == client_id]:
            del self._tokens[key]

    # ── Tokens ─────────────────────────────────────────────────────────────────────────────────────────────

    async def issue(self, form: bytes) -> dict[str, object]:
        """The answer to a token request's form body. Raises `Invalid` for another grant type or no form,
        `Unauthenticated` for wrong credentials, `TooManyRequests`."""
        try:
            fields = dict(parse_qsl(form.decode("utf-8"), max_num_fields=20))
        except ValueError as e:
            raise Invalid("the body is not a form", field="body") from e
        if fields.get("grant_type") != "client_credentials":
            raise Invalid("grant_type must be client_credentials", field="grant_type")
        client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
        self._check_pace(client_id)
        credential = await self._find(client_id)
        if credential is None or client_id in self._revoked or not credential.proves(secret):
            raise Unauthenticated("client_id or client_secret is wrong")
        return {
            "access_token": self._token(credential),
            "token_type": "Bearer",
            "expires_in": LIFETIME_S,
        }

    def caller(self, authorization: str, target_id: str | None) -> Caller:
        """Who sends a request with these headers. Raises `Unauthenticated` for a token that is not good (any
        more), `Forbidden` for no target, or for one that its credential doesn't speak for."""
        scheme, _, value = authorization.partition(" ")
        token = self._tokens.get(_digest(value.strip())) if scheme.lower() == "bearer" else None
        if token is None or self._monotonic() >= token.good_until:
            raise Unauthenticated("the access token is missing, wrong or expired")
        credential = token.credential
        if not target_id:
            raise Forbidden("the x-api-target-id header is missing")
        if credential.target_id not in (SANDBOX_TARGET, target_id):
            raise Forbidden("the credentials are for another target id")
        return Caller(credential.client_id, target_id, frozenset(credential.scopes))

    def _token(self, credential: Credential) -> str:
        now = self._monotonic()
        # All live equally long, so the oldest are those that expire first.
        while self._tokens:
            oldest = next(iter(self._tokens))
            if self._tokens[oldest].good_until > now and len(self._tokens) < MOST_TOKENS:
                break
            del self._tokens[oldest]
        value = secrets.token_urlsafe(32)
        self._tokens[_digest(value)] = _Token(now + LIFETIME_S, credential)
        return value

    def _check_pace(self, client_id: str) -> None:
        now = self._monotonic()
        if client_id not in self._asked and len(self._asked) >= MOST_CLIENTS:
            del self._asked[next(iter(self._asked))]
        times = self._asked.setdefault(client_id, deque())
        while times and times[0] <= now - PER_S:
            times.popleft()
        if len(times) >= REQUESTS:
            raise TooManyRequests(
                f"more than {REQUESTS} token requests of one client id in {PER_S:g} s; a token lives {LIFETIME_S} s"
            )
        times.append(now)

    async def _find(self, client_id: str) -> Credential | None:
        if client_id == self._own.client_id:
            return self._own
        return await self._store.read(lambda tx: _find(tx, client_id))


def _find(tx: Transaction, client_id: str) -> Credential | None:
    if "\0" in client_id:
        return None
    view = tx.views.get([(KIND, "", client_id)]).get((KIND, "", client_id))
    return None if view is None else _decoded(view)


def _decoded(view: View) -> Credential:
    return msgspec.json.decode(view.document, type=Credential)


def _digest(value: str) -> bytes:
    return sha256(value.encode("utf-8", "surrogatepass")).digest()


def _hash(secret: str) -> str:
    return _digest(secret).hex()
