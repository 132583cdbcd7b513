"""The GraphQL side: a request's body executed against `schema.graphql`, errors in Amazon's documented shape.

HTTP 200 with `errors` is the normal way to fail (buy-with-prime.md 3). Every field of Query and Mutation demands
its permission before it does anything (`permissions`). What a field answers is `queries`' and `mutations`'; the
shape of errors is `api_error`'s; how a request reaches this is `api`.

A query is measured before it runs: this schema goes round (line items have packages, which have line items), and so
a short text could ask for more than any machine can answer.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec
from ariadne import MutationType, QueryType, UnionType, make_executable_schema
from graphql import (
    ConstValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLSchema,
    SelectionSetNode,
    StringValueNode,
    execute,
    parse,
    validate,
)
from graphql.language import OperationDefinitionNode
from msgspec import Struct

from milepost.domain.errors import MilepostError
from milepost.domain.event import KNOWN_API_VERSIONS
from milepost.sandbox import mutations, queries
from milepost.sandbox.api_error import (
    THROTTLING,
    ApiError,
    access_denied,
    api_error,
    error_document,
    graph_error_document,
    invalid,
)
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.credentials import Credentials
from milepost.sandbox.events import API_VERSION
from milepost.sandbox.faults import Faults
from milepost.sandbox.graph_context import Context, Info, Resolver
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.orders import Orders
from milepost.sandbox.permissions import DEMANDED, Caller
from milepost.sandbox.scalars import DECIMAL
from milepost.sandbox.subscriptions import Subscriptions

TARGET_HEADERS = ("x-api-target-id", "x-omni-targetid", "x-omni-installationid")
"""The business product's header as the documentation spells it, and as older clients do."""
MOST_TOKENS = 5_000
"""Lexical tokens a query may have."""
MOST_FIELDS = 2_000
"""Fields it may select, fragments counted wherever they are spread."""
MOST_LEVELS = 12
"""Levels it may go down; introspection apart."""


class GraphRequest(Struct, frozen=True, rename="camel"):
    """The body of a POST to `/graphql`."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


class GraphApi:
    """Answers the bodies of `/graphql` requests. Never raises for what a caller sends."""

    def __init__(
        self,
        keeper: Keeper,
        credentials: Credentials,
        subscriptions: Subscriptions,
        clock: WorldClock,
    ) -> None:
        self._keeper = keeper
        self._credentials = credentials
        self._subscriptions = subscriptions
        self._orders = Orders(keeper, clock.now)
        self._clock = clock

    async def answer(self, headers: Mapping[str, str], body: bytes, faults: Faults) -> dict[str, Any]:
        """The response document of one request; `headers` have lower-case names."""
        try:
            caller = self._caller(headers)
            version = _version(headers)
            if faults.throttling:
                raise ApiError(THROTTLING, "Rate exceeded.")
            request = _request(body)
            document, errors = _document(request.query)
        except ApiError as e:
            return {"errors": [error_document(e)], "data": None}
        if document is None:
            return {"errors": [graph_error_document(error) for error in errors], "data": None}
        context = Context(
            self._keeper, self._orders, self._subscriptions, caller, faults, self._clock.now(), version
        )
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
            answer["errors"] = [graph_error_document(error) for error in result.errors]
        return {**answer, "data": result.data}

    def _caller(self, headers: Mapping[str, str]) -> Caller:
        """Who asks, from the request's headers in either spelling."""
        target = next((headers[name] for name in TARGET_HEADERS if headers.get(name)), None)
        try:
            return self._credentials.caller(headers.get("authorization", ""), target)
        except MilepostError as e:
            raise api_error(e) from e


def _version(headers: Mapping[str, str]) -> str:
    version = headers.get("x-api-version") or API_VERSION
    if version not in KNOWN_API_VERSIONS:
        raise invalid(f"There is no API version {version}.")
    return version


def _request(body: bytes) -> GraphRequest:
    try:
        return msgspec.json.decode(body, type=GraphRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise invalid(f"The body is no GraphQL request: {e}") from e


# ── Queries as texts ───────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=256)
def _document(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """A query parsed and checked against the schema; clients send the same few texts again and again."""
    try:
        document = parse(query, max_tokens=MOST_TOKENS)
        errors = tuple(validate(_schema(), document, max_errors=20))
        if not errors:
            _check_size(document)
    except GraphQLError as e:
        return None, (e,)
    except RecursionError:
        return None, (GraphQLError("The query is nested too deeply."),)
    return (None if errors else document), errors


def _check_size(document: DocumentNode) -> None:
    """Raises `GraphQLError` for a query that selects too much. Its fragments have no cycles: it is valid."""
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    sizes: dict[str, tuple[int, int]] = {}

    def size(selections: SelectionSetNode | None) -> tuple[int, int]:
        fields = levels = 0
        for node in selections.selections if selections is not None else ():
            if isinstance(node, FieldNode):
                below = (0, 0) if node.name.value.startswith("__") else size(node.selection_set)
                inner = below[0] + 1, below[1] + 1
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name not in sizes:
                    sizes[name] = size(fragments[name].selection_set)
                inner = sizes[name]
            else:
                inner = size(node.selection_set)  # type: ignore[attr-defined]
            fields += inner[0]
            levels = max(levels, inner[1])
        return fields, levels

    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            fields, levels = size(node.selection_set)
            if fields > MOST_FIELDS:
                raise GraphQLError(f"The query selects more than {MOST_FIELDS} fields.", node)
            if levels > MOST_LEVELS:
                raise GraphQLError(f"The query is nested too deeply: more than {MOST_LEVELS} levels.", node)


# ── The schema ─────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _schema() -> GraphQLSchema:
    text = resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8")
    query, mutation = QueryType(), MutationType()
    for kind, resolvers in ((query, queries.RESOLVERS), (mutation, mutations.RESOLVERS)):
        for name, resolve in resolvers.items():
            kind.set_field(name, _permitted(name, resolve))
    destination = UnionType("EventDestination", lambda value, *_: str(value["__typename"]))
    schema = make_executable_schema(text, query, mutation, destination, DECIMAL, *queries.TYPES)
    for known in schema.type_map.values():
        if isinstance(known, GraphQLEnumType):
            _take_quotes(known)
    return schema


def _permitted(name: str, resolve: Resolver) -> Resolver:
    """The resolver, for callers who have the field's permission only."""
    demanded = DEMANDED[name]

    async def checked(root: Any, info: Info, **arguments: Any) -> Any:
        if not info.context.caller.has(demanded):
            raise access_denied()
        return await resolve(root, info, **arguments)

    return checked


def _take_quotes(type: GraphQLEnumType) -> None:
    """Let values of an enum be written as texts too: `method: "POST"`, as the guides have it."""
    as_written = type.coerce_input_literal

    def coerce(node: ConstValueNode, hide_suggestions: bool = False) -> Any:
        if isinstance(node, StringValueNode):
            return type.coerce_input_value(node.value, hide_suggestions)
        return as_written(node, hide_suggestions)

    type.coerce_input_literal = coerce  # type: ignore[method-assign,assignment]
