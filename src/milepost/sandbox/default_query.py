"""What fills an event's `data`: the answer to its type's default query, run against the order as it is.

"eventDescriptor determines the default query" (seeds): each type of the catalogue has one, or none where its page
shows `data: {}`. The query is executed by the sandbox's own schema; there are no resolvers, the order document
has the schema's shape. Keys come in the query's order, which is the seed's.
"""

from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    parse,
    validate,
)
from graphql.execution import execute_sync

from milepost.domain.event import CATALOGUE
from milepost.sandbox.order_shape import order_schema


def default_answer(type: str, order: dict[str, Any]) -> dict[str, Any]:
    """`data` of an event of this canonical type about this order; {} where the type has no query of an order."""
    query = _queries().get(type)
    if query is None:
        return {}
    schema, document = query
    # Callers may put documents into the world that the schema would not answer: those are answered with less.
    return execute_sync(schema, document, root_value={"order": order}).data or {}


@lru_cache(maxsize=1)
def _queries() -> dict[str, tuple[GraphQLSchema, DocumentNode]]:
    """Types whose default query is about an order, and that query checked against the schema."""
    order = order_schema().get_type("Order")
    assert isinstance(order, GraphQLObjectType)
    schema = GraphQLSchema(GraphQLObjectType("DefaultQuery", {"order": GraphQLField(order)}))
    found: dict[str, tuple[GraphQLSchema, DocumentNode]] = {}
    for known in CATALOGUE:
        if known.default_query.startswith("order "):
            document = parse("{ " + known.default_query + " }")
            assert not validate(schema, document), f"the default query of {known.name} is not the schema's"
            found[known.name] = schema, document
    return found
