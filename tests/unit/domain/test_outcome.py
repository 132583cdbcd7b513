"""What became of an event: each line of the table, and which of several folds counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.hydration import MILESTONE
from milepost.domain.outcome import CODES, ORDER, Reading, Told, outcome_of
from milepost.domain.trace import TraceEntry

DELIVERED = "PACKAGE_DELIVERED"


def _line(used: bool, rule: str = "D1", text: str = "so it is") -> TraceEntry:
    return TraceEntry(1, "event", DELIVERED, used, rule, text)


def _told(standing: str, rule: str = "T1") -> Reading:
    return Reading((), told=Told({"code": "IN_TRANSIT", "standing": standing}, _line(False, rule, standing)))


def _code(type: str = DELIVERED, *readings: Reading, **fields: Any) -> str:
    return outcome_of(fields.pop("kind", "event"), type, 1, (), readings, **fields).code


@pytest.mark.parametrize(
    ("expected", "type", "readings"),
    [
        ("applied", DELIVERED, [Reading((_line(False), _line(True)))]),
        ("noOp", DELIVERED, [Reading((_line(False),))]),
        ("noOp", DELIVERED, [Reading(())]),
        ("noOp", "REFUND_REQUESTED", []),
        ("historyFill", DELIVERED, [Reading((_line(False, "design 4"), _line(False, "T4")))]),
        ("duplicate", DELIVERED, [Reading((_line(False, "design 6"), _line(False, "D1")))]),
        ("unmapped", "SOMETHING_NEW", []),
        ("orphan", MILESTONE, [Reading((_line(True),), orphan=True)]),
        ("waiting", MILESTONE, [Reading((_line(True, "design 8"),), told=Told())]),
        ("noOp", MILESTONE, [Reading((), told=Told(settled="noNewMilestone"))]),
        ("unanswered", MILESTONE, [Reading((), told=Told(settled="gaveUp"))]),
        ("applied", MILESTONE, [_told("counts")]),
        ("applied", MILESTONE, [_told("annotates", "T5")]),
        ("historyFill", MILESTONE, [_told("historyFill", "T4")]),
        ("unmapped", MILESTONE, [_told("unmapped", "T10")]),
        ("noOp", MILESTONE, [_told("contradicted", "T5")]),
        ("noOp", MILESTONE, [_told("superseded", "T8")]),
        ("applied", DELIVERED, [Reading((_line(False),)), Reading((_line(True),))]),
        ("historyFill", MILESTONE, [_told("setAside"), _told("historyFill", "T4")]),
    ],
)
def test_each_line_of_the_table(expected: str, type: str, readings: list[Reading]) -> None:
    assert _code(type, *readings) == expected


def test_what_stands_before_every_fold() -> None:
    read = Reading((_line(True),))
    assert _code(DELIVERED, read, failed=True, folded=True) == "failed"
    assert _code(DELIVERED, read, folded=False) == "notFolded"
    assert _code(DELIVERED, read, kind="conflict") == "conflict"
    assert _code(DELIVERED, read, kind="conflict", folded=False) == "notFolded"
    assert _code("SOMETHING_NEW", failed=True) == "failed"


def test_the_rule_and_the_text_are_those_of_the_line_that_decided() -> None:
    lines = (_line(False, "D1", "told already"), _line(True, "D4", "this tells when it was shipped"))
    found = outcome_of("event", DELIVERED, 3, ("keyReuse", "conflict"), [Reading(lines)])
    assert (found.rule, found.text) == ("D4", "this tells when it was shipped")
    assert (found.copies, found.key_reuse, found.disputed) == (2, True, True)
    milestone = outcome_of("event", MILESTONE, 1, (), [_told("historyFill", "T4")])
    assert (milestone.rule, milestone.text) == ("T4", "historyFill")
    assert (milestone.copies, milestone.key_reuse, milestone.disputed) == (0, False, False)


lines = st.builds(
    _line, st.booleans(), st.sampled_from(("D1", "D4", "T4", "T8", "design 4", "design 6", "design 8"))
)
tellings = st.builds(
    Told,
    st.none()
    | st.sampled_from(("counts", "historyFill", "unmapped", "setAside")).map(
        lambda standing: {"code": "IN_TRANSIT", "standing": standing}
    ),
    st.none() | lines,
    st.sampled_from(("", "noNewMilestone", "gaveUp")),
)
readings = st.lists(
    st.builds(Reading, st.lists(lines, max_size=4).map(tuple), st.booleans(), st.none() | tellings),
    max_size=4,
)


@given(
    st.sampled_from((DELIVERED, MILESTONE, "REFUND_REQUESTED", "SOMETHING_NEW")),
    readings,
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.randoms(),
)
def test_it_is_total_and_the_order_of_folds_decides_nothing(
    type: str, given_readings: list[Reading], arrivals: int, folded: bool, failed: bool, random: Any
) -> None:
    found = outcome_of("event", type, arrivals, (), given_readings, folded=folded, failed=failed)
    assert found.code in CODES
    assert found.rule
    assert found.text
    assert found.copies == max(0, arrivals - 1)
    shuffled = list(given_readings)
    random.shuffle(shuffled)
    again = outcome_of("event", type, arrivals, (), shuffled, folded=folded, failed=failed)
    assert again.code == found.code
    assert set(ORDER) | {"conflict", "notFolded", "failed"} == set(CODES)
