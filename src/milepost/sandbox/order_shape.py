"""Whether an order document that a caller gives has the shape that `schema.graphql` says of an order.

Only shape: lists where lists belong, objects where objects do, texts that are times. What is missing may be missing,
and what the schema doesn't name may be there; what packages need besides is `reading.complete`'s. Pure.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
)

from milepost.domain.errors import Invalid
from milepost.domain.instant import parse_instant

DEEPEST = 40
"""Levels of an order document: packages have line items, which have packages."""


@lru_cache(maxsize=1)
def order_schema() -> GraphQLSchema:
    """`schema.graphql` without resolvers."""
    return build_schema(resources.files("milepost.sandbox").joinpath("schema.graphql").read_text("utf-8"))


def check_shape(order: Mapping[str, Any]) -> None:
    """Raises `Invalid` that names the place where the document is none of an order."""
    known = order_schema().get_type("Order")
    assert isinstance(known, GraphQLObjectType)
    _check(order, known, "order", DEEPEST)


def _check(value: Any, wanted: GraphQLOutputType, path: str, levels: int) -> None:
    kind = wanted.of_type if isinstance(wanted, GraphQLNonNull) else wanted
    if value is None:
        if kind is not wanted:
            raise Invalid(f"{path} must not be null", field=path)
        return
    if levels == 0:
        raise Invalid(f"{path} is nested too deeply", field=path)
    if isinstance(kind, GraphQLList):
        if not isinstance(value, list):
            raise Invalid(f"{path} must be a list", field=path)
        for n, element in enumerate(value):
            _check(element, kind.of_type, f"{path}[{n}]", levels - 1)
    elif isinstance(kind, GraphQLObjectType):
        if not isinstance(value, dict):
            raise Invalid(f"{path} must be an object", field=path)
        for name, field in kind.fields.items():
            if name in value:
                _check(value[name], field.type, f"{path}.{name}", levels - 1)
    else:
        _check_leaf(value, kind, path)


def _check_leaf(value: Any, type: GraphQLOutputType, path: str) -> None:
    name = type.name if isinstance(type, GraphQLScalarType) else "String"
    if name == "Boolean":
        good = isinstance(value, bool)
    elif name in ("Decimal", "Int"):
        good = _is_number(value)
    elif name == "DateTime":
        good = isinstance(value, str) and _is_time(value)
    else:
        good = isinstance(value, str)
    if not good:
        kind = {"Boolean": "true or false", "Decimal": "a number", "DateTime": "an ISO 8601 time"}
        raise Invalid(f"{path} must be {kind.get(name, 'a text')}", field=path)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return abs(float(value)) < 1e12
    except (TypeError, ValueError, OverflowError):
        return False


def _is_time(value: str) -> bool:
    # Carriers give days without a time, too (tracking.md 13, scenario 18).
    try:
        parse_instant(value if "T" in value else f"{value}T00:00:00Z")
    except ValueError:
        return False
    return True
