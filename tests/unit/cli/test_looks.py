"""How parcels, times and estimates are drawn in a terminal; a word stands beside every colour."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.text import Text

from milepost.cli.looks import ago, dot, expected, last_scan, steps, trouble, window


def delivery(*codes: str, state: str = "IN_TRANSIT", **fields: Any) -> dict[str, Any]:
    milestones = [
        {"code": code, "standing": "counts", "occurredAt": f"2025-01-{day:02}T10:00:00Z"}
        for day, code in enumerate(codes, 20)
    ]
    return {
        "state": state,
        "shipEvidence": {"inferred": False},
        "estimatedDelivery": None,
        "trackers": [{"milestones": milestones}],
    } | fields


def test_steps_are_hollow_where_nobody_recorded_them() -> None:
    assert str(steps(delivery("IN_TRANSIT"))) == "● ordered ━━ ● shipped ── ○ out for delivery ── ○ delivered"
    skipped = str(steps(delivery("IN_TRANSIT", "DELIVERED", state="DELIVERED")))
    assert skipped == "● ordered ━━ ● shipped ━━ ○ out for delivery (no scan) ━━ ● delivered"
    nothing = delivery(state="PENDING", shipEvidence=None)
    assert str(steps(nothing)) == "● ordered ── ○ shipped ── ○ out for delivery ── ○ delivered"


def test_a_scan_that_was_taken_back_is_no_step() -> None:
    taken_back = delivery("OUT_FOR_DELIVERY")
    taken_back["trackers"][0]["milestones"][0]["standing"] = "retracted"
    assert "━━ ● out" not in str(steps(taken_back))
    assert last_scan({"deliveries": [taken_back]}) is None


def test_the_newest_scan_of_any_parcel() -> None:
    order = {"deliveries": [delivery("IN_TRANSIT"), delivery("IN_TRANSIT", "OUT_FOR_DELIVERY")]}
    assert last_scan(order) == "2025-01-21T10:00:00Z"


@pytest.mark.parametrize(
    ("back", "said"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=30), "1 d ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(hours=-1), ""),
    ],
)
def test_how_long_ago(back: timedelta, said: str) -> None:
    assert ago((datetime.now(UTC) - back).isoformat()) == said
    assert ago(None) == ""


def test_windows_and_what_is_expected() -> None:
    assert window({"earliestDate": "2025-01-22", "latestDate": "2025-01-23"}) == "2025-01-22 – 2025-01-23"
    assert window({"earliestDate": None, "latestDate": "2025-01-23"}) == "2025-01-23"
    assert window(None) == ""
    first = delivery(estimatedDelivery={"earliestDate": "2025-01-22", "latestDate": None})
    later = delivery(estimatedDelivery={"earliestDate": "2025-01-24", "latestDate": "2025-01-26"})
    there = delivery(
        state="DELIVERED", estimatedDelivery={"earliestDate": "2025-01-01", "latestDate": "2025-01-02"}
    )
    assert expected({"deliveries": [first, later, there]}) == "2025-01-22 – 2025-01-26"
    assert expected({"deliveries": [there]}) == ""


def test_a_word_stands_beside_every_colour() -> None:
    assert "Out for delivery" in dot("OUT_FOR_DELIVERY")
    assert str(Text.from_markup(dot("[bold]x"))) == "● [bold]x", "a state is text, whatever it is"
    assert (trouble("LATE"), trouble("STALLED")) == ("red", "yellow")
