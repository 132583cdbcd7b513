"""The GraphQL side: `schema.graphql` executed against the world, errors in Amazon's documented shape.

HTTP 200 with `errors` is the normal way to fail (buy-with-prime.md 3): each error has
`extensions.classification` with `type`, `errorType` and `errorCode`, or a `code` for a ValidationError. Where
the world's documents come from is `keeper`; how a request reaches this is `api`.
"""

import copy
import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec
from ariadne import ObjectType, QueryType, make_executable_schema
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    execute,
    parse,
    validate,
)
from msgspec import Struct

from milepost.domain.errors import MilepostError
from milepost.domain.event import KNOWN_API_VERSIONS
from milepost.domain.instant import SECOND, Instant
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.faults import Faults
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.reading import find_tracker
from milepost.sandbox.tokens import Tokens
from milepost.sandbox.transitions import ahead
from milepost.sandbox.world import WorldOrder

SANDBOX_TARGET = "sandbox"
"""The target id that reads every business product."""
MAX_TOKENS = 5_000
"""Lexical tokens a query may have."""

_CLASSES = {
    "AccessDeniedError": ("AccessDeniedException", 403),
    "InternalServerError": ("InternalServerException", 500),
    "ResourceNotFoundError": ("ResourceNotFoundException", 404),
    "ThrottlingError": ("ThrottlingException", 429),
    "ValidationError": ("ValidationException", 400),
}


class ApiError(Exception):
    """An error the API documents: its type, a sentence, and for a ValidationError its code."""

    def __init__(self, type: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.code = code


class Request(Struct, frozen=True, rename="camel"):
    """The body of a POST to `/graphql`."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


class Context(Struct, frozen=True):
    """What one request's resolvers work with."""

    keeper: Keeper
    faults: Faults
    now: Instant
    business_product_id: str | None
    """The one whose data may be read; None reads all."""


class GraphApi:
    """Answers the bodies of `/graphql` requests. Never raises for what a caller sends."""

    def __init__(self, keeper: Keeper, tokens: Tokens, clock: WorldClock) -> None:
        self._keeper = keeper
        self._tokens = tokens
        self._clock = clock

    async def answer(self, headers: Mapping[str, str], body: bytes, faults: Faults) -> dict[str, Any]:
        """The response document of one request; `headers` have lower-case names."""
        try:
            product = self._business_product(headers)
            if faults.throttling:
                raise ApiError("ThrottlingError", "Rate exceeded.")
            request = _request(body)
            document, errors = _document(request.query)
        except ApiError as e:
            return {"errors": [_error(str(e), e)], "data": None}
        if document is None:
            return {"errors": [_formatted(error) for error in errors], "data": None}
        context = Context(self._keeper, faults, self._clock.now(), product)
        result = execute(
            _schema(),
            document,
            context_value=context,
            variable_values=request.variables,
            operation_name=request.operation_name,
        )
        if inspect.isawaitable(result):
            result = await result
        answer: dict[str, Any] = {}
        if result.errors:
            answer["errors"] = [_formatted(error) for error in result.errors]
        return {**answer, "data": result.data}

    def _business_product(self, headers: Mapping[str, str]) -> str | None:
        """The business product that a request may read (None: all), from its headers in either spelling."""
        if not self._tokens.is_valid(headers.get("authorization", "")):
            raise ApiError("AccessDeniedError", "The access token is missing, wrong or expired.")
        target = headers.get("x-api-target-id") or headers.get("x-omni-targetid")
        if not target:
            raise ApiError("AccessDeniedError", "The x-api-target-id header is missing.")
        version = headers.get("x-api-version")
        if version and version not in KNOWN_API_VERSIONS:
            raise ApiError("ValidationError", f"There is no API version {version}.")
        return None if target == SANDBOX_TARGET else target


def _request(body: bytes) -> Request:
    try:
        return msgspec.json.decode(body, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ApiError("ValidationError", f"The body is no GraphQL request: {e}") from e


@lru_cache(maxsize=256)
def _document(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """A query parsed and checked against the schema; clients send the same few texts again and again."""
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
        errors = tuple(validate(_schema(), document, max_errors=20))
    except GraphQLError as e:
        return None, (e,)
    except RecursionError:
        return None, (GraphQLError("The query is nested too deeply."),)
    return (None if errors else document), errors


def _formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if not isinstance(cause, ApiError):
        # Without a cause the query itself is wrong; with another, the sandbox is.
        failed = cause is not None and not isinstance(cause, GraphQLError)
        kind = "InternalServerError" if failed else "ValidationError"
        detail = cause.detail if isinstance(cause, MilepostError) else error.message
        cause = ApiError(kind, detail)
    locations = [{"line": at.line, "column": at.column} for at in error.locations or ()]
    return _error(str(cause), cause, locations, list(error.path or ()))


def _error(
    message: str,
    cause: ApiError,
    locations: list[dict[str, int]] | None = None,
    path: list[str | int] | None = None,
) -> dict[str, Any]:
    error_type, error_code = _CLASSES[cause.type]
    classification: dict[str, Any] = {
        "type": cause.type,
        "errorType": error_type,
        "errorCode": error_code,
    }
    if cause.code is not None:
        classification["code"] = cause.code
    return {
        "message": message,
        "locations": locations or [],
        "path": path or [],
        "extensions": {"classification": classification},
    }


# ── Resolvers ──────────────────────────────────────────────────────────────────────────────────────────────

Info = GraphQLResolveInfo[Context]

_query = QueryType()
_message = ObjectType("LocalizedMessage")
_message.set_alias("language", "locale")
_message.set_alias("content", "value")
_return = ObjectType("ReturnDetails")
_return.set_alias("returnDeliveryDetails", "returnPackageDetails")


@_query.field("order")
async def _resolve_order(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    identifier = arguments["orderIdentifier"]
    order_id, alias = identifier.get("orderId"), identifier.get("alias")
    if (order_id is None) == (alias is None):
        raise ApiError("ValidationError", "Give either orderId or alias.", "InvalidOrderIdentifier")
    if order_id is not None:
        world = await context.keeper.order(order_id, context.business_product_id)
    else:
        world = await context.keeper.by_alias(
            alias["aliasType"], alias["aliasId"], context.business_product_id
        )
    if world is None:
        raise ApiError("ResourceNotFoundError", "There is no such order.")
    return order_answer(world, context.faults, context.now, context.keeper.seed)


@_query.field("packageTracker")
async def _resolve_tracker(_: Any, info: Info, **arguments: Any) -> dict[str, Any] | None:
    context = info.context
    identifier = arguments["packageTrackerInput"]["packageTrackerIdentifier"]
    carrier, number = identifier["carrierCode"], identifier["trackingNumber"]
    if not number.strip():
        raise ApiError("ValidationError", "The tracking number is empty.", "InvalidTrackingNumber")
    if not carrier.strip():
        raise ApiError("ValidationError", "The carrier code is empty.", "InvalidCarrierCode")
    world = await context.keeper.by_tracker(carrier, number, context.business_product_id)
    if world is None:
        raise ApiError("ResourceNotFoundError", "There is no such tracker, or it has expired.")
    found = find_tracker(world.order, carrier, number)
    if found is not None:
        hidden = _is_hidden(world, found[0], context.faults.over(world.faults), context.now)
        return None if hidden else found[1]
    raise ApiError("ResourceNotFoundError", "There is no such tracker, or it has expired.")


def order_answer(world: WorldOrder, faults: Faults, now: Instant, seed: int) -> dict[str, Any]:
    """The order as the query answers it: packages at order level and at each line item, whole line items
    wherever one is referred to, and the faults that are on."""
    faults = faults.over(world.faults)
    behind = now - world.changed_at < faults.order_behind_seconds * SECOND
    order = copy.deepcopy(world.previous if behind and world.previous is not None else world.order)
    if faults.order_ahead_seconds:
        order = copy.deepcopy(ahead(world, Instant(round(now + faults.order_ahead_seconds * SECOND)), seed))
    items = {item["id"]: item for item in order.get("lineItems") or ()}
    details = order["packageInformation"]["details"]
    for detail in details:
        if _is_hidden(world, detail["id"], faults, now):
            detail["packageTracker"] = None
        _link(detail["packageInformationDetailsFor"].get("orderLineItems"), items)
    for refund in (order.get("refunds") or {}).get("details") or ():
        _link((refund.get("refundFor") or {}).get("orderLineItems"), items)
    for given_back in (order.get("returns") or {}).get("details") or ():
        _link(given_back.get("returnLineItems"), items)
    for item in items.values():
        item.setdefault("packageInformation", _packages_of(item["id"], order["packageInformation"]))
    return order


def _link(entries: list[dict[str, Any]] | None, items: dict[str, dict[str, Any]]) -> None:
    for entry in entries or ():
        reference = entry["lineItem"]
        entry["lineItem"] = items.get(reference["id"], reference)


def _packages_of(item_id: str, information: dict[str, Any]) -> dict[str, Any]:
    """The packages a line item is in, as its own packageInformation."""
    details = [
        detail
        for detail in information["details"]
        if any(
            entry["lineItem"]["id"] == item_id
            for entry in detail["packageInformationDetailsFor"].get("orderLineItems") or ()
        )
    ]
    return {"summary": information.get("summary"), "details": details}


def _is_hidden(world: WorldOrder, delivery_id: str, faults: Faults, now: Instant) -> bool:
    shipped_at = world.shipped_at.get(delivery_id)
    return shipped_at is not None and now - shipped_at < faults.tracker_null_seconds * SECOND


@lru_cache(maxsize=1)
def _schema() -> GraphQLSchema:
    text = resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8")
    return make_executable_schema(text, _query, _message, _return)
