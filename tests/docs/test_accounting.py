"""The example of docs/accounting.md is played as the page tells it, and ends in the rows that the page prints."""

import re
from pathlib import Path

from tests.unit.domain.history import (
    DELIVERED,
    SHIPPED,
    UPS,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.bookkeeping import World

from milepost.domain.instant import parse_instant

PAGE = Path(__file__).parents[2] / "docs" / "accounting.md"
EVENTS = {SHIPPED, DELIVERED}


def table(head: str) -> list[list[str]]:
    """The rows of the table of the page that begins so."""
    text = PAGE.read_text("utf-8")
    (body,) = re.findall(rf"^\| {re.escape(head)} \|[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)*)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


async def play(world: World, at: str, what: str) -> None:
    world.now = parse_instant(at)
    if (named := re.fullmatch(r"the event (\w+)", what)) is not None:
        assert named[1] in EVENTS
        await world.come(event(named[1], at))
    elif (closed := re.fullmatch(r"([\d-]+) is closed", what)) is not None:
        await world.close_month(closed[1])
    elif what.startswith("the carrier's scans come: "):
        told = (text.split() for text in what.partition(": ")[2].split(", "))
        await world.come(tracker_answer(at, UPS, *(scan(code, when) for code, when in told)))
    else:
        assert what == "a week is over: both are settled"
        assert await world.accountant.settle() == 2


async def test_the_example_ends_in_the_rows_that_are_printed(tmp_path: Path) -> None:
    world = await World(f"sqlite:///{tmp_path / 'hub.db'}").open()
    try:
        await world.come(order_answer("2025-01-30T00:00:00Z", package(tracker=UPS)))
        for at, what in table("at | what happens"):
            await play(world, at, what)
        shown = [
            [
                f"{e.sign}",
                e.kind,
                f"{e.revision}",
                e.status,
                e.reason,
                e.origin_date if e.kind == "shipped" else e.destination_date,
                e.zone,
                e.tax_period,
                e.posting_period,
            ]
            for e in await world.entries()
        ]
    finally:
        await world.close()
    assert table("sign | kind | revision | status | reason | day | zone | taxPeriod | postingPeriod") == shown
