"""Captures as values: the state table, cell by cell, ids for life, holds that are taken over, answers."""

from typing import get_args

import pytest
from msgspec.structs import replace

from milepost.domain.capture import (
    HISTORY,
    PROJECTOR,
    Action,
    Capture,
    Transition,
    acknowledges,
    capture_id,
    held_by,
    move,
    sendable,
)
from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant

T0 = Instant(1_740_800_000_000)
STATES = ("READY", "SENT", "FAILED", "HELD", "ACKED", "VOID")
TABLE = {
    "take": "SENT = SENT = = =",
    "give_up": "FAILED = = = = =",
    "acknowledge": "ACKED ACKED ACKED ACKED = ACKED",
    "fail": "FAILED FAILED = - - -",
    "hold": "HELD HELD HELD = - -",
    "release": "- - - READY - -",
    "void": "VOID VOID VOID VOID - =",
}
"""What the module's table says: `=` changes nothing, `-` is refused."""


def capture(state: str = "READY", by: str = PROJECTOR) -> Capture:
    return Capture(
        capture_id("bp-1", "o-1", "d-1"),
        "bp-1",
        "o-1",
        "d-1",
        state,  # type: ignore[arg-type]
        T0,
        (),
        (),
        (Transition(T0, state, by),),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("action", get_args(Action))
@pytest.mark.parametrize("number", range(len(STATES)))
def test_the_table_cell_by_cell(action: Action, number: int) -> None:
    state, wanted = STATES[number], TABLE[action].split()[number]
    before = capture(state, "key-1")
    if wanted == "-":
        with pytest.raises(Conflict, match=state):
            move(before, action, "key-2", "why", T0)
        return
    after = move(before, action, "key-2", "why", Instant(T0 + 1))
    if wanted == "=":
        assert replace(after, sent_at=None) == before
        return
    assert after.state == wanted
    assert after.history == (*before.history, Transition(Instant(T0 + 1), after.state, "key-2", "why"))
    assert after.reason == ("why" if wanted in ("HELD", "FAILED", "VOID") else "")


def test_the_first_time_it_was_taken_is_kept_in_whatever_state() -> None:
    for state in STATES:
        taken = move(capture(state), "take", "sub", "", Instant(T0 + 5))
        assert taken.sent_at == T0 + 5
        assert move(taken, "take", "sub", "", Instant(T0 + 9)).sent_at == T0 + 5


@pytest.mark.parametrize("state", ["READY", "SENT", "FAILED"])
def test_a_release_goes_back_to_where_it_was(state: str) -> None:
    held = move(capture(state), "hold", "key-1", "looks odd", T0)
    assert (held.state, held.reason, held_by(held)) == ("HELD", "looks odd", "key-1")
    released = move(held, "release", "key-1", "", T0)
    assert (released.state, released.reason, held_by(released)) == (state, "", "")


@pytest.mark.parametrize(("state", "wanted"), [("READY", "SENT"), ("FAILED", "SENT"), ("SENT", "SENT")])
def test_a_release_knows_that_it_was_taken_meanwhile(state: str, wanted: str) -> None:
    held = move(capture(state), "hold", "key-1", "looks odd", Instant(T0 + 1))
    taken = move(held, "take", "sub", "", Instant(T0 + 2))
    assert (taken.state, taken.sent_at) == ("HELD", T0 + 2)
    assert move(taken, "release", "key-1", "", Instant(T0 + 3)).state == wanted


def test_that_it_failed_after_it_was_taken_outlives_a_hold() -> None:
    failed = move(move(capture(), "take", "sub", "", T0), "fail", "key-1", "no funds", Instant(T0 + 1))
    held = move(failed, "hold", "key-1", "", Instant(T0 + 2))
    assert move(held, "release", "key-1", "", Instant(T0 + 3)).state == "FAILED"


def test_a_person_takes_a_hold_over_from_the_projector_and_never_the_other_way_round() -> None:
    held = move(capture(), "hold", PROJECTOR, "cancelled_but_moving", T0)
    assert move(held, "hold", PROJECTOR, "cancelled_but_moving", T0) is held
    other = move(held, "hold", PROJECTOR, "evidence_withdrawn", T0)
    assert other.reason == "evidence_withdrawn"
    mine = move(other, "hold", "key-1", "wait for me", T0)
    assert (held_by(mine), mine.reason) == ("key-1", "wait for me")
    assert move(mine, "hold", "key-2", "me too", T0) is mine
    assert move(mine, "release", "key-1", "", T0).state == "READY"


def test_what_becomes_of_its_messages() -> None:
    verdicts = [sendable(capture(state)) for state in STATES]
    assert verdicts == ["send", "send", "send", "hold", "drop", "drop"]


def test_the_history_is_bounded_and_keeps_its_beginning() -> None:
    moving = capture()
    for n in range(HISTORY):
        moving = move(moving, "hold", "key", str(n), Instant(T0 + n))
        moving = move(moving, "release", "key", "", Instant(T0 + n))
    assert len(moving.history) == HISTORY
    assert moving.history[0] == capture().history[0]
    assert moving.history[-2].reason == str(HISTORY - 1)


def test_an_id_is_of_its_delivery_and_no_other() -> None:
    assert capture_id("bp", "o", "d") == capture_id("bp", "o", "d")
    others = {
        capture_id(*ids) for ids in (("bp", "o", "d"), ("b", "po", "d"), ("bp", "od", ""), ("bp", "d", "o"))
    }
    assert len(others) == 4


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"status": "acknowledged"}', True),
        ('{"status":"Captured","amount":1}', True),
        ('{"status": "ok"}', False),
        ('{"status": 7}', False),
        ("[]", False),
        ("", False),
        ('{"status": "acknowledged"', False),
        ("\ud800", False),
        ('{"a":' + "[" * 1_000, False),
    ],
)
def test_answers(answer: str, wanted: bool) -> None:
    assert acknowledges(answer) is wanted
