"""Returns and refunds: their events, each when its page says, and what `data` then shows."""

from typing import Any

import pytest
from tests.unit.sandbox.test_scenarios import START, lived, played
from tests.unit.sandbox.test_triggers import in_state

from milepost.domain.errors import Conflict, Invalid, MilepostError, NotFound
from milepost.sandbox.returning import RETURNED
from milepost.sandbox.transitions import advance
from milepost.sandbox.world import Step


def events_of(name: str) -> list[tuple[str, dict[str, Any]]]:
    (world,) = lived(name, 3)
    _, published = played(world, 3)
    return [(p.type, p.data) for p, _ in published if p.type.startswith(("RETURN", "REFUND"))]


def test_the_whole_way_back() -> None:
    assert [name for name, _ in events_of("returned")] == [
        "RETURN_STARTED",
        "REFUND_REQUESTED",
        "RETURN_PACKAGE_IN_TRANSIT",
        "RETURN_PACKAGE_DELIVERED",
        "RETURN_ITEM_GRADED",
        "RETURN_COMPLETED",
        "REFUND_COMPLETED",
    ]


def test_data_is_the_answer_at_the_time_of_each_event() -> None:
    data = dict(events_of("returned"))
    (requested,) = data["REFUND_REQUESTED"]["order"]["refunds"]["details"]
    (completed,) = data["REFUND_COMPLETED"]["order"]["refunds"]["details"]
    assert (requested["state"], completed["state"]) == ("REQUESTED", "SUCCESS")
    assert requested["refundTotal"] == completed["refundTotal"]
    assert float(requested["refundTotal"]["totalAmount"]["amount"]) > 0
    (returned,) = data["RETURN_COMPLETED"]["order"]["returns"]["details"]
    assert returned["state"] == "COMPLETED"
    for name in ("RETURN_STARTED", "RETURN_PACKAGE_IN_TRANSIT", "RETURN_ITEM_GRADED"):
        assert data[name] == {}


def test_a_return_that_fails_does_so_as_undeliverable() -> None:
    (world,) = lived("return-failed", 3)
    after, published = played(world, 3)
    assert published[-1][0].type == "RETURN_PACKAGE_DELIVERY_FAILED"
    (given_back,) = after.order["returns"]["details"]
    (parcel,) = given_back["returnPackageDetails"]
    assert (parcel["state"], parcel["reason"]) == ("FAILED", "UNDELIVERABLE")


def test_a_return_has_a_tracker_of_its_own_or_goes_on_with_its_packages() -> None:
    (world,) = lived("returned", 3)
    after, _ = played(world, 3)
    there = after.order["packageInformation"]["details"][0]["packageTracker"]
    back = after.order["returns"]["details"][0]["returnPackageDetails"][0]["packageTracker"]
    assert back["packageTrackerIdentifier"] != there["packageTrackerIdentifier"]
    (world,) = lived("return-on-same-number", 3)
    after, _ = played(world, 3)
    there = after.order["packageInformation"]["details"][0]["packageTracker"]
    back = after.order["returns"]["details"][0]["returnPackageDetails"][0]["packageTracker"]
    assert back["packageTrackerIdentifier"] == there["packageTrackerIdentifier"]
    assert back["milestones"][-len(there["milestones"]) :] == there["milestones"]


@pytest.mark.parametrize("state", ["PENDING", "IN_TRANSIT", "CANCELLED"])
def test_what_was_not_delivered_cannot_be_returned(state: str) -> None:
    order, delivery_id = in_state(state)
    with pytest.raises(Conflict, match="delivered first"):
        advance(order, Step(START, delivery_id, returned="STARTED"), 1)


@pytest.mark.parametrize("first", RETURNED)
@pytest.mark.parametrize("then", RETURNED)
def test_only_what_can_come_next_happens(first: str, then: str) -> None:
    """After STARTED and `first`, `then`: by the table, whatever it says, never by another error."""
    order, delivery_id = in_state("DELIVERED")
    order, _ = advance(order, Step(START, delivery_id, returned="STARTED"), 1)
    return_id = order["returns"]["details"][0]["id"]
    allowed = {
        "STARTED": {"DROPPED_OFF", "IN_TRANSIT"},
        "DROPPED_OFF": {"IN_TRANSIT"},
        "IN_TRANSIT": {"DELIVERED", "FAILED"},
    }
    if first != "STARTED":
        if first not in allowed["STARTED"]:
            with pytest.raises(Conflict):
                advance(order, Step(START, return_id, returned=first), 1)
            return
        order, _ = advance(order, Step(START, return_id, returned=first), 1)
    step = Step(START, return_id, returned=then)
    if then == "STARTED":
        with pytest.raises(NotFound):
            advance(order, step, 1)
    elif then in allowed[first]:
        advance(order, step, 1)
    else:
        with pytest.raises(Conflict):
            advance(order, step, 1)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(START, "nobody", returned="DELIVERED"), NotFound),
        (Step(START, "nobody", returned="STARTED"), NotFound),
        (Step(START, "nobody", refunded=True), Conflict),
        (Step(START, "", returned="SOMEHOW"), Invalid),
    ],
)
def test_what_is_not_there_is_refused(step: Step, error: type[MilepostError]) -> None:
    (world,) = lived("returned", 3)
    after, _ = played(world, 3)
    return_id = after.order["returns"]["details"][0]["id"]
    if not step.delivery_id:
        step = Step(START, return_id, returned=step.returned)
    with pytest.raises(error):
        advance(after.order, step, 3)


def test_a_refund_is_completed_once() -> None:
    (world,) = lived("returned", 3)
    after, _ = played(world, 3)
    (refund,) = after.order["refunds"]["details"]
    with pytest.raises(Conflict, match="no refund"):
        advance(after.order, Step(START, refund["id"], refunded=True), 3)
