"""The shopper's document: what is in it, by which day, and that nothing else can get in."""

from typing import Any

import pytest
from tests.unit.domain.history import (
    BOX,
    ORDER,
    SECOND_BOX,
    UPS,
    USPS,
    condition,
    fold,
    order_answer,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.status import status_of
from milepost.domain.wording import MILESTONE_TEXTS

ASKED = "2025-01-20T12:00:00Z"
ITEMS = [
    {"id": "item-1", "product": {"title": "Kettle"}, "amount": {"value": 2, "unit": "ONE"}},
    {"id": "item-2", "product": {"title": "Cup"}, "amount": {"value": 1, "unit": "ONE"}},
]
KEYS = {"orderId", "state", "summary", "estimatedDelivery", "items", "deliveries"}
DELIVERY_KEYS = {"state", "stages", "shippedOn", "deliveredOn", "estimatedDelivery", "items", "days"}


def window(earliest: str, latest: str) -> dict[str, Any]:
    return {"estimatedDeliveryDate": {"earliest": earliest, "latest": latest}}


def test_it_has_these_fields_and_no_other() -> None:
    answer = order_answer(
        ASKED,
        package(BOX, "IN_TRANSIT", tracker=UPS, items=[("item-1", "2")]),
        lineItems=ITEMS,
        customer={"contact": {"name": "Ada Lovelace", "email": "ada@example.com"}},
    )
    scans = tracker_answer(ASKED, UPS, scan("IN_TRANSIT", "2025-01-20T08:00:00Z", "Reno"))
    document = status_of(fold(answer, scans, condition("STALLED", True, ASKED)).document)
    assert document.keys() == KEYS
    (delivery,) = document["deliveries"]
    assert delivery.keys() == DELIVERY_KEYS
    assert {k for day in delivery["days"] for m in day["milestones"] for k in m} == {
        "code",
        "text",
        "occurredAt",
    }
    for word in ("Ada", "Reno", "NV", UPS[1], BOX, "STALLED", "track.example", "item-1"):
        assert word not in str(document), word


def test_items_are_called_what_the_order_calls_them() -> None:
    answer = order_answer(
        ASKED, package(BOX, "IN_TRANSIT", items=[("item-1", "1"), ("gone", "3")]), lineItems=ITEMS
    )
    document = status_of(fold(answer).document)
    assert [(i["title"], i["quantity"]) for i in document["items"]] == [
        ("Kettle", "2"),
        ("Cup", "1"),
        (None, None),
    ]
    assert [(i["title"], i["quantity"]) for i in document["deliveries"][0]["items"]] == [
        ("Kettle", "1"),
        (None, "3"),
    ]


def test_the_estimate_spans_what_is_under_way() -> None:
    answer = order_answer(
        ASKED,
        package(BOX, "IN_TRANSIT", tracker=UPS, **window("2025-01-22", "2025-01-23")),
        package(SECOND_BOX, "PENDING", tracker=USPS, **window("2025-01-21", "2025-01-22")),
        package("third", "DELIVERED", tracker=("dhl", "1"), **window("2025-01-01", "2025-02-01")),
    )
    document = status_of(fold(answer).document)
    assert document["estimatedDelivery"] == {"earliest": "2025-01-21", "latest": "2025-01-23"}
    assert [d["estimatedDelivery"] for d in document["deliveries"]] == [
        {"earliest": "2025-01-22", "latest": "2025-01-23"},
        {"earliest": "2025-01-21", "latest": "2025-01-22"},
        None,
    ]


def test_milestones_stand_by_the_local_day_on_which_they_occurred() -> None:
    """Scenario 19: a scan at 23:30 belongs to that day, whatever day it is in UTC."""
    answer = order_answer(ASKED, package(BOX, "IN_TRANSIT", tracker=UPS))
    scans = tracker_answer(
        "2025-02-02T00:00:00Z",
        UPS,
        scan("IN_TRANSIT", "2025-01-31T23:30:00-08:00"),
        scan("OUT_FOR_DELIVERY", "2025-02-01T07:00:00-08:00"),
        scan("DELIVERED", "2025-02-01T12:00:00-08:00"),
    )
    (delivery,) = status_of(fold(answer, scans).document)["deliveries"]
    assert [(day["date"], [m["code"] for m in day["milestones"]]) for day in delivery["days"]] == [
        ("2025-01-31", ["IN_TRANSIT"]),
        ("2025-02-01", ["OUT_FOR_DELIVERY", "DELIVERED"]),
    ]
    for day in delivery["days"]:
        for milestone in day["milestones"]:
            assert milestone["text"] == MILESTONE_TEXTS[milestone["code"]]


def test_a_date_alone_stays_a_date() -> None:
    answer = order_answer(ASKED, package(BOX, "IN_TRANSIT", tracker=UPS))
    scans = tracker_answer(ASKED, UPS, scan("IN_TRANSIT", "2025-01-19"))
    (delivery,) = status_of(fold(answer, scans).document)["deliveries"]
    (day,) = delivery["days"]
    assert (day["date"], day["milestones"][0]["occurredAt"]) == ("2025-01-19", None)


@pytest.mark.parametrize("code", ["PACKAGE_RECEIVED_BY_DRONE", "OutForDelivery"])
def test_a_code_that_nobody_knows_is_left_out(code: str) -> None:
    answer = order_answer(ASKED, package(BOX, "IN_TRANSIT", tracker=UPS))
    scans = tracker_answer(ASKED, UPS, scan(code, "2025-01-20T08:00:00Z"))
    (delivery,) = status_of(fold(answer, scans).document)["deliveries"]
    shown = [m["code"] for day in delivery["days"] for m in day["milestones"]]
    assert shown == (["OUT_FOR_DELIVERY"] if code == "OutForDelivery" else [])


def test_a_delivery_that_a_later_scan_belied_is_not_told() -> None:
    """Scenario 11: the shopper is told what stands."""
    answer = order_answer(ASKED, package(BOX, "IN_TRANSIT", tracker=UPS))
    scans = tracker_answer(
        "2025-01-22T00:00:00Z",
        UPS,
        scan("DELIVERED", "2025-01-20T17:00:00Z"),
        scan("OUT_FOR_DELIVERY", "2025-01-21T09:00:00Z"),
    )
    (delivery,) = status_of(fold(answer, scans).document)["deliveries"]
    assert [m["code"] for day in delivery["days"] for m in day["milestones"]] == ["OUT_FOR_DELIVERY"]


def test_an_order_that_nothing_is_known_of_has_a_status() -> None:
    document = status_of(fold(order_answer(ASKED)).document)
    assert (document["orderId"], document["state"], document["deliveries"]) == (ORDER, "PENDING", [])
