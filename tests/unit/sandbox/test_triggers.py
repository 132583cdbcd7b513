"""Causing one event: prerequisites lead to it from every state, or it is refused."""

from typing import Any

import pytest
from tests.unit.sandbox.test_scenarios import START, lived, played

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.event import CATALOGUE
from milepost.sandbox.transitions import advance
from milepost.sandbox.triggers import TASKS, TRIGGERS, Trigger, deletion_task
from milepost.sandbox.world import new_order

STATES = ("PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED")
IMPOSSIBLE = {
    ("CANCELLED", "PACKAGE_DELIVERED"),
    ("DELIVERED", "PACKAGE_DELIVERY_CANCELLED"),
    *(("CANCELLED", t) for t in TRIGGERS if t.startswith("RETURN")),
}
UNCAUSED = {"BUYABILITY_CHANGED", "INVENTORY_CHANGED"}


def in_state(state: str) -> tuple[dict[str, Any], str]:
    """An order with one package that came to this state by itself."""
    order = new_order(1, 1, START, 1)
    delivery_id = order["packageInformation"]["details"][0]["id"]
    towards = {
        "IN_TRANSIT": "PACKAGE_DELIVERY_IN_TRANSIT",
        "DELIVERED": "PACKAGE_DELIVERED",
        "CANCELLED": "PACKAGE_DELIVERY_CANCELLED",
    }
    if state != "PENDING":
        for step in Trigger(order, delivery_id, START, 1).towards(towards[state]):
            order, _ = advance(order, step, 1)
    return order, delivery_id


def test_everything_that_this_world_can_cause_can_be_triggered() -> None:
    others = {t.name for t in CATALOGUE} - set(TRIGGERS)
    assert others == UNCAUSED | {t for t in others if t.startswith("PERSONAL_DATA")}


@pytest.mark.parametrize("type", TRIGGERS)
@pytest.mark.parametrize("before", STATES)
def test_prerequisites_lead_to_the_event_or_are_refused(type: str, before: str) -> None:
    order, delivery_id = in_state(before)
    last: list[str] = []
    try:
        steps = Trigger(order, delivery_id, START, 1).towards(type)
        for step in steps:
            order, published = advance(order, step, 1)
            last = [p.type for p in published]
    except Conflict:
        assert (before, type) in IMPOSSIBLE
        return
    assert (before, type) not in IMPOSSIBLE
    # Without steps it has happened already.
    assert type in last if steps else before in ("IN_TRANSIT", "DELIVERED", "CANCELLED")


def test_an_order_that_is_not_started_is_started_first() -> None:
    order, delivery_id = in_state("PENDING")
    order["metadata"]["executionState"] = "NOT_STARTED"
    steps = Trigger(order, delivery_id, START, 1).towards("PACKAGE_DELIVERED")
    for step in steps:
        order, _ = advance(order, step, 1)
    assert order["packageInformation"]["summary"]["state"] == "DELIVERED"
    assert order["metadata"]["executionState"] == "STARTED"


def test_a_return_that_arrived_cannot_fail() -> None:
    (world,) = lived("returned", 1)
    after, _ = played(world, 1)
    (given_back,) = after.order["returns"]["details"]
    with pytest.raises(Conflict, match="DELIVERED"):
        Trigger(after.order, given_back["id"], START, 1).towards("RETURN_PACKAGE_DELIVERY_FAILED")


def test_what_no_step_causes_is_refused() -> None:
    order, delivery_id = in_state("PENDING")
    with pytest.raises(Invalid, match="PACKAGE_DELIVERED"):
        Trigger(order, delivery_id, START, 1).towards("INVENTORY_CHANGED")


def test_a_task_is_the_orders_whatever_becomes_of_it() -> None:
    completed, failed = (deletion_task(name, 1, "order-1") for name in TASKS)
    assert completed.resource == failed.resource
    ((key, task),) = completed.resource
    assert (key, completed.data) == ("personalDataDeletionTask", {})
    assert task != dict(deletion_task(TASKS[0], 1, "order-2").resource)[key]
