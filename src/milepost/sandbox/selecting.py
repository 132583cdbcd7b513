"""What a query selects of a document, without running GraphQL: for many documents and few, known queries.

A query that the schema allows, on a document that has the schema's shape, answers what is picked here; that this is
so is tested against the schema itself. Documents of callers may have another shape, and faults change answers: both
are asked by GraphQL (`queries`, `default_query`).
"""

from functools import cache
from importlib import resources
from typing import Any

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, SelectionSetNode, parse

from milepost.domain.event import BY_NAME
from milepost.domain.record import package_details

Fields = tuple[tuple[str, "Fields | None"], ...]
"""(name, what is selected of it; None for a scalar), in the query's order."""


def default_data(type: str, order: dict[str, Any]) -> dict[str, Any]:
    """`data` of an event of this canonical type about an order; {} where the type has no query of an order."""
    known = BY_NAME.get(type)
    if known is None or not known.default_query.startswith("order "):
        return {}
    return {"order": pick(order, _of_type(type))}


def order_data(order: dict[str, Any]) -> dict[str, Any]:
    """What the hub's order query answers, packages at the order and at each line item."""
    details = package_details(order)
    items = [{**item, "packageInformation": _holding(item["id"], details)} for item in order["lineItems"]]
    answer: dict[str, Any] = pick({**order, "lineItems": items}, _of_query("order"))
    return answer


def tracker_data(tracker: dict[str, Any]) -> dict[str, Any]:
    """What the hub's packageTracker query answers."""
    answer: dict[str, Any] = pick(tracker, _of_query("package_tracker"))
    return answer


def pick(value: Any, fields: Fields | None) -> Any:
    """The selected fields of an object, or of each object of a list; null where there is none."""
    if fields is None or value is None:
        return value
    if isinstance(value, list):
        return [pick(each, fields) for each in value]
    return {name: pick(value.get(name), within) for name, within in fields}


def _holding(item_id: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [(d, d["packageInformationDetailsFor"]["orderLineItems"]) for d in details]
    return {"details": [d for d, held in entries if any(e["lineItem"]["id"] == item_id for e in held)]}


@cache
def _of_type(type: str) -> Fields | None:
    return _selected("{ " + BY_NAME[type].default_query + " }")


@cache
def _of_query(name: str) -> Fields | None:
    folder = resources.files("milepost.buywithprime").joinpath("queries")
    return _selected(folder.joinpath(f"{name}.graphql").read_text("utf-8"))


def _selected(query: str) -> Fields | None:
    """What a document of one query with one field at its root selects of that field."""
    first, *others = parse(query, no_location=True).definitions
    fragments = {each.name.value: each for each in others if isinstance(each, FragmentDefinitionNode)}
    ((_, within),) = _fields(first.selection_set, fragments)  # type: ignore[attr-defined]
    return within


def _fields(selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]) -> Fields:
    found: list[tuple[str, Fields | None]] = []
    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            found.extend(_fields(fragments[node.name.value].selection_set, fragments))
        elif isinstance(node, FieldNode):
            within = None if node.selection_set is None else _fields(node.selection_set, fragments)
            found.append((node.name.value, within))
    return tuple(found)
