"""What became of each event of every scenario, held against what `explain` says of it.

For each order of the world: its events as `/v1/events` lists them with their outcomes, and every line of `explain`
about the order, its deliveries and its trackers.
"""

from collections import defaultdict
from typing import Any, Protocol

from milepost.domain.hydration import MILESTONE

Document = dict[str, Any]

EXPECTED: dict[str, set[str]] = {
    "happy-path": {"applied"},
    "five-copies": {"applied"},
    "unknown-code": {"applied", "unmapped"},
    "milestone-first": {"applied"},
    "both-roads": {"applied"},
    "two-names": {"applied"},
    "milestone-vanishes": {"applied", "noOp"},
    "delivered-then-out": {"applied", "noOp"},
    "cancelled": {"applied"},
}
"""Of these scenarios exactly the outcomes that their events have at the end."""
USED = {"applied"}
SET_ASIDE = {"noOp", "duplicate", "historyFill", "unmapped"}


class Client(Protocol):
    async def get(self, path: str) -> Document: ...


async def outcomes(client: Client) -> list[Document]:
    """Every event, with what became of it."""
    found: list[Document] = []
    after: str | None = ""
    while after is not None:
        page = await client.get(f"/v1/events?outcomes=true&limit=100{f'&after={after}' if after else ''}")
        found += page["items"]
        after = page["next"]
    return found


async def explained(client: Client, order_id: str) -> dict[int, list[Document]]:
    """Every line about an order, its deliveries and its trackers, by position."""
    lines: dict[int, list[Document]] = defaultdict(list)
    for fact in (await client.get(f"/v1/orders/{order_id}/explain"))["facts"]:
        lines[fact["position"]].append(fact)
    return lines


async def orphaned(client: Client, events: list[Document]) -> set[int]:
    """Where the milestone events of trackers are whose views say that no order is known."""
    found: set[int] = set()
    for event in events:
        _, _, _, carrier, _, number = (event["resources"][0].split("/") + [""] * 6)[:6]
        said = event["type"] == MILESTONE and event["outcome"]["code"] == "orphan"
        if said and (await client.get(f"/v1/trackers/{carrier}/{number}"))["orphan"]:
            found.add(event["position"])
    return found


def disagreements(
    event: Document, lines: list[Document], everything: set[tuple[str, str]], orphans: set[int]
) -> list[str]:
    """In what an outcome differs from what `explain` says of the event; `everything`: (rule, text) of all lines."""
    outcome = event["outcome"]
    here = f"{event['position']} {event['type']} is {outcome['code']} ({outcome['rule']}: {outcome['text']})"
    code = outcome["code"]
    if event["type"] == MILESTONE:
        # It says only that a milestone changed: the line is that of the milestone, in the answer that showed it.
        if code == "orphan":
            return [] if event["position"] in orphans else [f"{here}, and an order is known"]
        is_known = (
            code in ("waiting", "unanswered", "noOp") or (outcome["rule"], outcome["text"]) in everything
        )
        return [] if is_known else [f"{here}, which explain does not say"]
    closer = [line for line in lines if not line["about"].startswith("order/")] or lines
    used = any(line["used"] for line in closer)
    if (code in USED and not used) or (code in SET_ASIDE and used):
        return [f"{here}, and explain says {[(x['about'], x['used'], x['rule']) for x in closer]}"]
    said = {(line["rule"], line["text"]) for line in closer}
    return [] if not lines or (outcome["rule"], outcome["text"]) in said else [f"{here}, not {said}"]


async def check_outcomes(client: Client, orders: dict[str, str]) -> list[str]:
    """What is wrong, for all orders of a world: order id to its scenario's name."""
    wrong: list[str] = []
    by_scenario: dict[str, set[str]] = defaultdict(set)
    events = await outcomes(client)
    about = {order_id: await explained(client, order_id) for order_id in orders}
    orphans = await orphaned(client, events)
    everything = {(x["rule"], x["text"]) for lines in about.values() for xs in lines.values() for x in xs}
    for event in events:
        read_by = [order_id for order_id, lines in about.items() if event["position"] in lines]
        lines = [line for order_id in read_by for line in about[order_id][event["position"]]]
        wrong += disagreements(event, lines, everything, orphans)
        if event["outcome"]["copies"] != event["arrivals"] - 1:
            wrong.append(f"{event['position']}: {event['outcome']['copies']} copies of {event['arrivals']}")
        for order_id in read_by:
            by_scenario[orders[order_id]].add(event["outcome"]["code"])
    wrong += [
        f"{name}: {sorted(by_scenario[name])}, not {sorted(codes)}"
        for name, codes in EXPECTED.items()
        if by_scenario[name] != codes
    ]
    return wrong
