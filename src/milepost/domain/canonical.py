"""The canonical view: what a view says regardless of when and in which order its facts arrived (design, flow 4).

Two sets of the same facts, arrived in any order, by any road, any number of times, have equal canonical views.
"""

from typing import Any

_LEFT_OUT = frozenset(
    ("position", "lastFactAt", "observedAt", "receivedAt", "firstReceivedAt", "arrivals", "raisedAt")
)


def canonical(document: dict[str, Any]) -> dict[str, Any]:
    """`document` (a tracker, delivery or order view) without positions, received and observed times, arrival
    counts, `lastFactAt`, and the times at which conditions were raised and cleared.

    Of `clearedAt` it keeps whether (`cleared`), not when. A milestone that fills history counts: that it was
    seen late says when somebody looked. The document itself stays as it is.
    """
    plain: dict[str, Any] = _plain(document)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    plain = {k: _plain(v) for k, v in value.items() if k not in _LEFT_OUT and k != "clearedAt"}
    if "clearedAt" in value:
        plain["cleared"] = value["clearedAt"] is not None
    if plain.get("standing") == "historyFill":
        plain["standing"] = "counts"
    return plain
