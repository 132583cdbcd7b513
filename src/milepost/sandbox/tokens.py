"""Access tokens of the sandbox's `/token`: client credentials in, a bearer token for fifteen minutes out.

Tokens live in memory and by the machine's monotonic clock: a client holds real ones, whatever the world's clock
does. Any number of them may be valid at once, as at Amazon (buy-with-prime.md 3).
"""

import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qsl

from milepost.domain.errors import Invalid, Unauthenticated

LIFETIME_S = 900
"""Fifteen minutes, as documented."""
MOST = 100_000
"""How many valid tokens are remembered; the oldest go first."""


class Tokens:
    """Issues and checks tokens for one client id."""

    def __init__(
        self, client_id: str, client_secret: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._monotonic = monotonic
        self._good_until: dict[str, float] = {}

    def issue(self, form: bytes) -> dict[str, object]:
        """The answer to a token request's form body. Raises `Invalid` for another grant type or no form,
        `Unauthenticated` for wrong credentials."""
        try:
            fields = dict(parse_qsl(form.decode("utf-8"), max_num_fields=20))
        except ValueError as e:
            raise Invalid("the body is not a form", field="body") from e
        if fields.get("grant_type") != "client_credentials":
            raise Invalid("grant_type must be client_credentials", field="grant_type")
        given = (fields.get("client_id", ""), fields.get("client_secret", ""))
        wanted = (self._client_id, self._client_secret)
        if not all(
            secrets.compare_digest(g.encode(), w.encode()) for g, w in zip(given, wanted, strict=True)
        ):
            raise Unauthenticated("client_id or client_secret is wrong")
        now = self._monotonic()
        for token in [t for t, until in self._good_until.items() if until <= now]:
            del self._good_until[token]
        while len(self._good_until) >= MOST:
            del self._good_until[next(iter(self._good_until))]
        token = secrets.token_urlsafe(32)
        self._good_until[token] = now + LIFETIME_S
        return {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_S}

    def is_valid(self, authorization: str) -> bool:
        """Whether an Authorization header carries a token that is still good."""
        scheme, _, token = authorization.partition(" ")
        good_until = self._good_until.get(token.strip())
        return scheme.lower() == "bearer" and good_until is not None and self._monotonic() < good_until
