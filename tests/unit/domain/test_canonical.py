"""The canonical view: what it leaves out, what it keeps, and that it touches nothing."""

import copy

from tests.unit.domain.history import UPS, event, order_answer, package, scan, tracker_answer
from tests.unit.domain.parcel import day, track

from milepost.domain.canonical import canonical

VIEW = {
    "stage": "IN_TRANSIT",
    "milestones": [
        {"code": "IN_TRANSIT", "standing": "historyFill", "observedAt": day(2), "position": 3},
        {"code": "DELIVERED", "standing": "superseded", "observedAt": day(2), "position": 4},
    ],
    "conditions": [
        {"code": "LATE", "kind": None, "raisedAt": day(3), "clearedAt": None},
        {"code": "STALLED", "kind": None, "raisedAt": day(3), "clearedAt": day(4)},
    ],
    "arrivals": 3,
    "lastFactAt": day(5),
    "position": 9,
}


def test_it_leaves_out_positions_arrivals_and_when_things_were_received_observed_raised_and_cleared():
    assert canonical(VIEW) == {
        "stage": "IN_TRANSIT",
        "milestones": [
            {"code": "IN_TRANSIT", "standing": "counts"},
            {"code": "DELIVERED", "standing": "superseded"},
        ],
        "conditions": [
            {"code": "LATE", "kind": None, "cleared": False},
            {"code": "STALLED", "kind": None, "cleared": True},
        ],
    }


def test_the_document_stays_as_it_is():
    before = copy.deepcopy(VIEW)
    canonical(VIEW)
    assert before == VIEW


def test_it_is_its_own_canonical_view():
    once = canonical(VIEW)
    assert canonical(once) == once


def test_it_keeps_when_things_occurred():
    one, other = (track(tracker_answer(day(9), UPS, scan("IN_TRANSIT", day(n)))).document for n in (1, 2))
    assert canonical(one) != canonical(other)


def test_later_copies_in_another_order_change_nothing():
    answers = [
        tracker_answer(day(3), UPS, scan("IN_TRANSIT", day(1))),
        order_answer(day(4), package(tracker=UPS)),
        event("PACKAGE_TRACKER_MILESTONE_CHANGED", day(2), tracker=UPS),
    ]
    forward, backward = track(*answers).document, track(*reversed(answers), *answers).document
    assert forward != backward
    assert canonical(forward) == canonical(backward)
