"""`POST /webhooks/buy-with-prime`: the webhook body, or the EventBridge document from an API destination.

A raw ASGI endpoint, because this is the one hot path. In order: method, requests in flight, declared size, who
sends (Basic, bearer or API key, before a byte of the body is read), the body, its signature, `Ingest`. What
the answer promises:

| status | code                                | the event is                                                     |
|--------|-------------------------------------|------------------------------------------------------------------|
| 200    | accepted, duplicate                 | in the journal, durably                                          |
| 400    | malformed_event                     | in quarantine, durably, with the reason                          |
| 403    | unbound_business_product            | in quarantine, durably                                           |
| 400    | invalid_request                     | not kept: sent with a Content-Encoding                           |
| 401    | unauthenticated                     | not kept, hardly read                                            |
| 405    | method_not_allowed                  | not kept                                                         |
| 413    | too_large                           | not kept                                                         |
| 503    | store_unavailable, overloaded, …    | not kept; try again after Retry-After                            |

A client that leaves while its event is committed changes nothing: the event stays, and is a duplicate when sent
again. An API destination waits five seconds for its answer, so a commit that takes longer than `ANSWER_WITHIN_S` is
answered 503 while it still runs: its event may be kept all the same, and is a duplicate then when it comes again.
What a body means is `Ingest`'s; how long a request may take to arrive is `server`'s.
"""

import base64
import binascii
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from milepost.domain.errors import (
    Forbidden,
    Invalid,
    Malformed,
    MilepostError,
    Misconfigured,
    Overloaded,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    UpstreamUnavailable,
)
from milepost.domain.instant import SECOND, Instant
from milepost.pipeline.ingest import Ingest, Verifier
from milepost.transports.asgi import (
    JSON_TYPE,
    Disconnected,
    Headers,
    Receive,
    Scope,
    Send,
    declared_length,
    read_body,
    respond_method_not_allowed,
    respond_problem,
    too_large,
)
from milepost.transports.late import AnsweredLate, LateAnswers
from milepost.transports.oauth import Tokens
from milepost.transports.secret_table import SecretTable

MAX_BODY: Final = 1_048_576
MAX_IN_FLIGHT: Final = 1_000
ANSWER_WITHIN_S: Final = 3.75
"""Seconds from a whole body to its answer. One sweep looks at all requests, no timer at each: add a sixteenth."""

_CHALLENGE = (b"www-authenticate", b'Basic realm="milepost", Bearer realm="milepost"')
_OK_HEADERS: list[Headers] = [[JSON_TYPE, (b"content-length", b"%d" % n)] for n in range(100)]
"""The headers of a 200 by the length of its body."""
_log = structlog.get_logger()


class Credential(Struct, frozen=True):
    """A header value that lets a sender in, and the business products it may send events of (empty: all).

    Two with the same user name are a rotation: both hold."""

    header: bytes
    value: bytes
    business_product_ids: tuple[str, ...] = ()

    @classmethod
    def basic(cls, username: str, password: str, business_product_ids: tuple[str, ...] = ()) -> "Credential":
        """HTTP Basic: the subscription's `basicAuthConfig`, or an API destination's."""
        pair = base64.b64encode(f"{username}:{password}".encode())
        return cls(b"authorization", b"Basic " + pair, business_product_ids)

    @classmethod
    def api_key(cls, header: str, value: str, business_product_ids: tuple[str, ...] = ()) -> "Credential":
        """A key in a header of the operator's choice: an EventBridge API destination's API key."""
        return cls(header.lower().encode("latin-1"), value.encode(), business_product_ids)


class Authenticator:
    """Who may send events: one of `credentials` or a token of `tokens`, and the signature when there is a verifier.

    With none of the three everybody may, which takes `insecure` (a laptop), or nobody, which takes `closed` (events
    come from a queue); else raises `Misconfigured`.
    """

    def __init__(
        self,
        credentials: Sequence[Credential] = (),
        tokens: Tokens | None = None,
        verifier: Verifier | None = None,
        *,
        insecure: bool = False,
        closed: bool = False,
    ) -> None:
        nothing = not credentials and not tokens and verifier is None
        if nothing and not insecure and not closed:
            raise Misconfigured(
                "nothing authenticates webhooks: set MILEPOST_WEBHOOK_USERNAME and MILEPOST_WEBHOOK_PASSWORD, "
                "MILEPOST_WEBHOOK_API_KEY, MILEPOST_OAUTH_CLIENT_ID and MILEPOST_OAUTH_CLIENT_SECRET, or "
                "MILEPOST_SIGNATURE_JWKS_URL; a hub that takes its events from a queue needs none of them"
            )
        self.verifier = verifier
        self._tokens = tokens
        self._named = bool(credentials) or bool(tokens) or (nothing and not insecure)
        by_header: dict[bytes, list[tuple[bytes, tuple[str, ...]]]] = {}
        for credential in credentials:
            entry = (credential.value, credential.business_product_ids)
            by_header.setdefault(credential.header, []).append(entry)
        self._authorization = SecretTable(by_header.pop(b"authorization", ()))
        self._keys = [(header, SecretTable(entries)) for header, entries in by_header.items()]

    def identify(self, headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
        """The business products the sender is bound to (empty: all). Raises `Unauthenticated`."""
        if not self._named:
            return ()
        authorization = headers.get(b"authorization")
        if authorization is not None:
            bound = self._authorization.find(authorization)
            return self._by_scheme(authorization) if bound is None else bound
        for header, table in self._keys:
            key = headers.get(header)
            if key is not None and (bound := table.find(key)) is not None:
                return bound
        raise Unauthenticated("no credential was given, or the API key is wrong")

    def _by_scheme(self, authorization: bytes) -> tuple[str, ...]:
        """Bearer, or Basic in another spelling than the usual one."""
        scheme, _, rest = authorization.partition(b" ")
        scheme = scheme.lower()
        if scheme == b"bearer" and self._tokens:
            return self._tokens.check(rest.strip())
        if scheme == b"basic":
            try:
                pair = base64.b64decode(rest.strip(), validate=True)
            except (binascii.Error, ValueError) as e:
                raise Unauthenticated("the Basic header cannot be read") from e
            bound = self._authorization.find(b"Basic " + base64.b64encode(pair))
            if bound is not None:
                return bound
        raise Unauthenticated("the credential is wrong")


class Outcomes(Struct):
    """How many requests ended how, since the start; `in_flight` is how many have not."""

    accepted: int = 0
    duplicate: int = 0
    malformed: int = 0
    unauthenticated: int = 0
    forbidden: int = 0
    invalid: int = 0
    too_large: int = 0
    unavailable: int = 0
    overloaded: int = 0
    disconnected: int = 0
    failed: int = 0
    in_flight: int = 0


class WebhookEndpoint:
    """The endpoint. `outcomes` may be read at any time. `clock` only spaces out log lines."""

    def __init__(
        self,
        ingest: Ingest,
        authenticator: Authenticator,
        *,
        clock: Callable[[], Instant],
        max_body: int = MAX_BODY,
        max_in_flight: int = MAX_IN_FLIGHT,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self.outcomes = Outcomes()
        self._ingest = ingest.ingest
        self._identify = authenticator.identify
        self._verifier = authenticator.verifier
        self._clock = clock
        self._max_body = max_body
        self._max_in_flight = max_in_flight
        self._logged: dict[str, Instant] = {}
        self._late = LateAnswers(answer_within_s, self._answer_late)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond_method_not_allowed(send)
            return
        outcomes = self.outcomes
        if outcomes.in_flight >= self._max_in_flight:
            await self._refuse(send, Overloaded(), scope)
            return
        outcomes.in_flight += 1
        try:
            await self._take(scope, receive, send)
        except Disconnected:
            outcomes.disconnected += 1
        except AnsweredLate:
            # Counted and answered; it was in flight until now, so that a store that hangs is not fed for ever.
            pass
        except MilepostError as error:
            await self._refuse(send, error, scope)
        except Exception as e:  # noqa: BLE001 - a bug must cost the sender a retry, not the hub its life
            _log_failure("webhook failed", e)
            await self._refuse(send, MilepostError("something went wrong here; it is logged"), scope)
        finally:
            outcomes.in_flight -= 1

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if declared_length(headers) > self._max_body:
            raise too_large(self._max_body)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Invalid("send the body as it is: no Content-Encoding is taken", field="content-encoding")
        bound = self._sender(headers)
        body = await read_body(receive, self._max_body)
        late = self._late
        late.watch(send)
        try:
            if self._verifier is not None:
                await self._check_signature(self._verifier, headers, body)
            receipt = await self._ingest(body, bound)
        finally:
            late.done(send)
        if receipt.status == "accepted":
            self.outcomes.accepted += 1
            answer = b'{"status":"accepted","position":%d}' % receipt.position
        else:
            self.outcomes.duplicate += 1
            answer = b'{"status":"duplicate","position":%d}' % receipt.position
        await send({"type": "http.response.start", "status": 200, "headers": _OK_HEADERS[len(answer)]})
        await send({"type": "http.response.body", "body": answer})

    async def _answer_late(self, send: Send) -> None:
        await self._refuse(send, StoreUnavailable("the event is not committed yet; send it again"), {})

    def _sender(self, headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
        try:
            return self._identify(headers)
        except Unauthenticated:
            raise
        except Exception as e:
            _log_failure("authentication failed", e)
            raise Unauthenticated from e

    async def _check_signature(self, verifier: Verifier, headers: Mapping[bytes, bytes], body: bytes) -> None:
        try:
            await verifier.verify(headers, body)
        except (Unauthenticated, UpstreamUnavailable):
            raise
        except Exception as e:
            _log_failure("signature verification failed", e)
            raise Unauthenticated from e

    async def _refuse(self, send: Send, error: MilepostError, scope: Scope) -> None:
        self._count(error)
        self._tell(error, scope)
        if isinstance(error, Unauthenticated):
            await respond_problem(send, error, _CHALLENGE)
        elif error.retryable or error.code == MilepostError.code:
            await respond_problem(send, error, (b"retry-after", b"1"))
        else:
            await respond_problem(send, error)

    def _count(self, error: MilepostError) -> None:
        outcomes = self.outcomes
        match error:
            case Malformed():
                outcomes.malformed += 1
            case Unauthenticated():
                outcomes.unauthenticated += 1
            case Forbidden():
                outcomes.forbidden += 1
            case Invalid():
                outcomes.invalid += 1
            case TooLarge():
                outcomes.too_large += 1
            case Overloaded():
                outcomes.overloaded += 1
            case _ if error.code == MilepostError.code:
                outcomes.failed += 1
            case _:
                outcomes.unavailable += 1

    def _tell(self, error: MilepostError, scope: Scope) -> None:
        """One log line a second for each kind of refusal: a flood of them must not become a flood of lines.

        The detail may quote the body, so it stays in the answer and in quarantine."""
        now = self._clock()
        if 0 <= now - self._logged.get(error.code, Instant(-SECOND)) < SECOND:
            return
        self._logged[error.code] = now
        client = scope.get("client")
        _log.warning(
            "webhook refused",
            code=error.code,
            field=error.context.get("field"),
            address=client[0] if client else None,
            so_far=msgspec.to_builtins(self.outcomes),
        )


def _log_failure(what: str, error: Exception) -> None:
    """Where it broke; neither the message nor the frames' variables, which may hold the body."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error(what, error=type(error).__name__, where=where)
