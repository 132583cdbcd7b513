"""The client of the Buy with Prime API: the order and packageTracker queries, their errors told apart.

`BuyWithPrimeClient` fulfils `pipeline.inquiry.ApiClient`. An answer with HTTP 200 may hold `errors`
(buy-with-prime.md 3); each is one of five `UpstreamError`s, by its type:

| type on the wire                                        | error               | answered |
|---------------------------------------------------------|---------------------|----------|
| no answer, HTTP 5xx                                     | UpstreamUnavailable | no       |
| InternalServerError, or none that is known              | UpstreamUnavailable | yes      |
| ThrottlingError, HTTP 429 (with Retry-After)            | UpstreamThrottled   | no       |
| AccessDeniedError                                       | UpstreamDenied      | yes      |
| HTTP 401, 403, credentials refused at /token            | UpstreamDenied      | no       |
| ResourceNotFoundError                                   | UpstreamNotFound    | yes      |
| ValidationError, ConflictError, a schema without a field | UpstreamRejected    | yes      |

`answered` is in the error's context: "no" is about the API as a whole, "yes" about this one query.
A query with a field that the schema does not have, or that is denied us and takes the whole answer along, is asked
again in a smaller form, from then on: without what is optional in it, then with the least that will do. That and
partial answers are named in `degraded`. Queries are documents in `queries/`.
"""

import re
from collections.abc import Callable, Iterable
from importlib.resources import files
from time import time_ns
from typing import Any

import aiohttp
import msgspec

from milepost.buywithprime.token import Token, TokenSource
from milepost.buywithprime.wire import Answer, post, raise_for_status
from milepost.domain.errors import (
    UpstreamDenied,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamUnavailable,
)
from milepost.domain.instant import MINUTE, Instant

API_VERSION = "2024-11-01"

_FRESH = MINUTE
"""A token younger than this that is denied is not to blame."""
_LONGEST_DETAIL = 300
_PARTIAL = "answered in part: "

_DOCUMENTS = {
    "order": ("order.graphql", "order_minimal.graphql"),
    "packageTracker": ("package_tracker.graphql", "package_tracker_minimal.graphql"),
}
_TYPES: dict[str, type[UpstreamError]] = {
    "throttling": UpstreamThrottled,
    "toomanyrequests": UpstreamThrottled,
    "accessdenied": UpstreamDenied,
    "unauthorized": UpstreamDenied,
    "resourcenotfound": UpstreamNotFound,
    "internalserver": UpstreamUnavailable,
    "validation": UpstreamRejected,
    "conflict": UpstreamRejected,
}
_STATUSES: dict[int, type[UpstreamError]] = {
    400: UpstreamRejected,
    401: UpstreamDenied,
    403: UpstreamDenied,
    404: UpstreamNotFound,
    429: UpstreamThrottled,
}
_RANK = (UpstreamThrottled, UpstreamDenied, UpstreamUnavailable, UpstreamNotFound, UpstreamRejected)
"""Of several errors, the one to act on first."""
_OPTIONAL = re.compile(r"\n *# Optional: .*?\n *# End\.(?=\n)", re.DOTALL)
"""What a document marks as optional: fields that nobody promises."""
_UNKNOWN_FIELD = re.compile(
    r"Cannot query field|FieldUndefined|Field '[^']*' (?:in type .* )?is (?:undefined|not defined)"
    r"|Unknown field|Undefined field|Unknown type|UnknownType",
    re.IGNORECASE,
)
"""How GraphQL servers say that the schema has no such field or type (graphql-js and -core, graphql-java, AppSync)."""


def _now() -> Instant:
    return Instant(time_ns() // 1_000_000)


def _new_session() -> aiohttp.ClientSession:
    """Without cookies, without the environment's proxies and .netrc."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)


def _forms(full: str, least: str) -> tuple[str, ...]:
    """A query's documents, the largest first."""
    texts = [(files("milepost.buywithprime") / "queries" / name).read_text("utf-8") for name in (full, least)]
    return tuple(dict.fromkeys((texts[0], _OPTIONAL.sub("", texts[0]), texts[1])))


class BuyWithPrimeClient:
    """One set of API credentials. `target_id` is sent as `x-api-target-id`; None: the event's business product.

    `degraded` names the queries that Amazon's schema or our permissions answer only in part, with the reason."""

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        target_id: str | None = None,
        *,
        session: Callable[[], aiohttp.ClientSession] = _new_session,
        clock: Callable[[], Instant] = _now,
    ) -> None:
        self.degraded: dict[str, str] = {}
        base = base_url.rstrip("/")
        self._url = f"{base}/graphql"
        self._target_id = target_id
        self._new_session = session
        self._open: aiohttp.ClientSession | None = None
        self._clock = clock
        self._tokens = TokenSource(f"{base}/token", client_id, client_secret, self._session, clock)
        self._documents = {name: _forms(*names) for name, names in _DOCUMENTS.items()}
        self._form = dict.fromkeys(_DOCUMENTS, 0)
        """The largest form of each query that the schema has, as far as it has said."""

    async def order(self, order_id: str, business_product_id: str) -> dict[str, Any] | None:
        """The order object, or None when the API answers null. Raises `UpstreamError`s (see the module)."""
        variables = {"orderIdentifier": {"orderId": order_id}}
        return await self._query("order", variables, business_product_id)

    async def package_tracker(
        self, carrier_code: str, tracking_number: str, business_product_id: str
    ) -> dict[str, Any] | None:
        """The package tracker, or None while the API has none. Raises `UpstreamError`s (see the module)."""
        identifier = {"trackingNumber": tracking_number, "carrierCode": carrier_code}
        variables = {"packageTrackerInput": {"packageTrackerIdentifier": identifier}}
        return await self._query("packageTracker", variables, business_product_id)

    async def check(self) -> None:
        """Get a token: whether the API answers and takes these credentials. Raises `UpstreamError`s."""
        await self._tokens.get()

    async def close(self) -> None:
        """Close the session and end a token refresh under way."""
        await self._tokens.close()
        if self._open is not None:
            await self._open.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            self._open = self._new_session()
        return self._open

    async def _query(self, name: str, variables: dict[str, Any], target: str) -> dict[str, Any] | None:
        """Ask in full, or in a smaller form once the larger one was refused for a field."""
        smallest = len(self._documents[name]) - 1
        while (form := self._form[name]) < smallest:
            try:
                return await self._with_token(name, form, variables, target)
            except (UpstreamRejected, UpstreamDenied) as e:
                if not (e.context.get("schema") or e.context.get("field")):
                    raise
                self._form[name] = max(self._form[name], form + 1)
                self.degraded[name] = f"asked in its smaller form: {e.detail}"
        try:
            return await self._with_token(name, smallest, variables, target)
        except UpstreamRejected as e:
            if e.context.get("schema"):
                self.degraded[name] = f"no longer answered: {e.detail}"
            raise

    async def _with_token(
        self, name: str, form: int, variables: dict[str, Any], target: str
    ) -> dict[str, Any] | None:
        """Ask; when the token may be what is refused, once more with a new one."""
        token = await self._tokens.get()
        try:
            return await self._ask(name, form, variables, target, token)
        except UpstreamDenied as e:
            expired = e.context.get("status") == 401 or self._clock() - token.fetched_at > _FRESH
            if not expired:
                raise
        self._tokens.drop(token)
        return await self._ask(name, form, variables, target, await self._tokens.get())

    async def _ask(
        self, name: str, form: int, variables: dict[str, Any], target: str, token: Token
    ) -> dict[str, Any] | None:
        headers = {
            "Authorization": f"Bearer {token.value}",
            "Content-Type": "application/json",
            "x-api-target-id": self._target_id or target,
            "x-api-version": API_VERSION,
        }
        query = self._documents[name][form]
        body = msgspec.json.encode({"query": query, "operationName": name, "variables": variables})
        answer = await post(self._session(), self._url, body=body, headers=headers)
        return self._read(name, answer)

    def _read(self, name: str, answer: Answer) -> dict[str, Any] | None:
        """The object under the query's name. An answer in part is an answer: what it lacks is asked again by the
        rules of hydration, and named in `degraded`."""
        errors = [e for e in _list(answer.document.get("errors")) if isinstance(e, dict)]
        data = answer.document.get("data")
        value = data.get(name) if isinstance(data, dict) else None
        if isinstance(value, dict) and answer.status < 300:
            self._note_partial(name, errors)
            return value
        if errors:
            raise _worst(_error(name, e, answer) for e in errors)
        raise_for_status(answer, name)
        if answer.status >= 300:
            raise UpstreamRejected(f"{name}: HTTP {answer.status}", query=name, answered=True)
        if not isinstance(data, dict) or name not in data or value is not None:
            raise UpstreamUnavailable(f"{name}: the answer is not a GraphQL answer", answered=True)
        return None

    def _note_partial(self, name: str, errors: list[dict[str, Any]]) -> None:
        if errors:
            places = sorted({".".join(map(str, _list(e.get("path")))) or "?" for e in errors})
            kinds = sorted({_kind(e)[0] or "error" for e in errors})
            self.degraded[name] = f"{_PARTIAL}{', '.join(kinds)} at {', '.join(places)}"[:_LONGEST_DETAIL]
        elif self.degraded.get(name, "").startswith(_PARTIAL):
            del self.degraded[name]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(error: dict[str, Any]) -> tuple[str, int | None]:
    """(type as written, errorCode) of one GraphQL error, wherever its server keeps them."""
    extensions = error.get("extensions")
    classification = extensions.get("classification") if isinstance(extensions, dict) else None
    code: object = None
    names: list[object] = [classification]
    if isinstance(classification, dict):
        names = [classification.get("type"), classification.get("errorType")]
        code = classification.get("errorCode")
    names.append(error.get("errorType"))
    name = next((n for n in names if isinstance(n, str) and n), "")
    return name, code if isinstance(code, int) and not isinstance(code, bool) else None


def _error(name: str, error: dict[str, Any], answer: Answer) -> UpstreamError:
    """One GraphQL error as ours."""
    kind, code = _kind(error)
    message = error.get("message")
    message = message if isinstance(message, str) else "no message"
    schema = _UNKNOWN_FIELD.search(message) is not None
    found = _TYPES.get(re.sub(r"(error|exception)$", "", kind.lower()))
    if found is None and schema:
        found = UpstreamRejected
    if found is None and code is not None:
        found = UpstreamUnavailable if code >= 500 else _STATUSES.get(code)
    if found is None:
        found = UpstreamUnavailable if answer.status >= 500 else _STATUSES.get(answer.status)
    found = found or UpstreamUnavailable
    detail = f"{name}: {kind or 'error'}: {message}"[:_LONGEST_DETAIL]
    whole = found is UpstreamThrottled or answer.status >= 500 or answer.status == 401
    context: dict[str, object] = {"query": name, "answered": not whole, "status": answer.status}
    if whole:
        context["retry_after"] = answer.retry_after
    if found is UpstreamRejected:
        context["schema"] = schema
    # Of a field within the answer, which took all of it along: another form may do without.
    context["field"] = context["answered"] is True and len(_list(error.get("path"))) > 1
    return found(detail, **context)


def _worst(errors: Iterable[UpstreamError]) -> UpstreamError:
    return min(errors, key=lambda e: _RANK.index(type(e)))
