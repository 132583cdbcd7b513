"""What is shown of a delivery: items and how many, how far it came, when it is expected, who has it."""

from typing import Any

import pytest
from tests.unit.shopper.views import delivery_of

from milepost.shopper.catalogues import catalogue
from milepost.shopper.parcels import MOST_ITEMS, Item, Parcel, one_line, parcel_of, safe_url
from milepost.shopper.samples import sample


def shown(delivery: dict[str, Any], titles: Any = None, locale: str = "en", **options: Any) -> Parcel:
    given = {item["id"]: item for item in sample("shipped").order["lineItems"]} if titles is None else titles
    return parcel_of(delivery, given, catalogue(locale), locale, **options)


def progress(delivery: dict[str, Any]) -> list[str]:
    return [step.progress for step in shown(delivery).steps]


# ── Items ──────────────────────────────────────────────────────────────────────────────────────────────────


def held(quantity: str | None, unit: str | None = "ONE") -> dict[str, Any]:
    return delivery_of("shipped", lineItems=[{"id": "line", "quantity": quantity, "unit": unit}])


def ordered(quantity: str | None, deliveries: int = 1, title: str | None = "Mug") -> dict[str, Any]:
    named = [{"deliveryId": str(n), "quantity": None} for n in range(deliveries)]
    return {"line": {"id": "line", "title": title, "quantity": quantity, "unit": "ONE", "deliveries": named}}


def test_items_have_the_quantities_of_this_delivery() -> None:
    assert shown(held("2"), ordered("5")).items == [Item("Mug", "2")]


@pytest.mark.parametrize(
    ("quantity", "unit", "locale", "expected"),
    [
        ("2.0", "ONE", "en", "2"),
        ("1234.5", None, "en", "1,234.5"),
        ("1.5", "KILOGRAM", "es", "1,5 KILOGRAM"),
        ("many", "ONE", "en", ""),
        ("NaN", "ONE", "en", ""),
        ("1e999999", "ONE", "en", ""),
    ],
)
def test_quantities_are_written_as_people_write_them(
    quantity: str, unit: str | None, locale: str, expected: str
) -> None:
    assert shown(held(quantity, unit), ordered("9"), locale).items == [Item("Mug", expected)]


def test_a_quantity_that_nobody_told_is_the_whole_where_no_other_delivery_has_any() -> None:
    assert shown(held(None), ordered("3")).items == [Item("Mug", "3")]
    assert shown(held(None), ordered("3", deliveries=2)).items == [Item("Mug", "")]


def test_an_item_without_a_title_is_called_an_item() -> None:
    assert shown(held("1"), ordered("1", title=None)).items == [Item("An item of your order", "1")]
    assert shown(held("1"), {}).items == [Item("An item of your order", "1")]


@pytest.mark.parametrize(
    ("count", "beside", "listed", "more"),
    [(20, 1, 20, 0), (21, 1, 19, 2), (500, 2, 19, 481), (5, 10, 3, 2), (4, 10, 4, 0)],
)
def test_a_long_list_ends(count: int, beside: int, listed: int, more: int) -> None:
    items = [{"id": str(n), "quantity": "1", "unit": "ONE"} for n in range(count)]
    parcel = shown(delivery_of("shipped", lineItems=items), {}, beside=beside)
    assert (len(parcel.items), parcel.more) == (listed, more)
    assert len(parcel.items) <= MOST_ITEMS


# ── Steps ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_steps_that_were_passed_over_are_hollow() -> None:
    assert progress(delivery_of("delivered")) == ["done", "done", "skipped", "done"]


def test_steps_that_are_to_come_are_ahead() -> None:
    assert progress(delivery_of("shipped")) == ["done", "done", "ahead", "ahead"]
    assert progress(delivery_of("cancelled")) == ["done", "ahead", "ahead", "ahead"]
    assert progress(delivery_of("out_for_delivery")) == ["done", "done", "done", "ahead"]


def test_a_shipment_that_only_its_delivery_tells_of_is_hollow() -> None:
    """T3: delivered implies shipped, and nothing is invented."""
    delivery = delivery_of("delivered")
    delivery["shipEvidence"] = {**delivery["shipEvidence"], "inferred": True}
    assert progress(delivery) == ["done", "skipped", "skipped", "done"]


def test_rule_4_carriers_or_the_order_may_say_that_it_arrived() -> None:
    assert progress({**delivery_of("delivered"), "state": "IN_TRANSIT"})[-1] == "done"
    assert progress({**delivery_of("delivered"), "trackers": []})[-1] == "done"


def test_what_a_carrier_took_back_did_not_arrive() -> None:
    delivery = delivery_of("correction")
    assert delivery["state"] == "DELIVERED"
    assert progress(delivery) == ["done", "done", "done", "ahead"]


# ── Expected, and who has it ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["delivered", "all_delivered", "cancelled", "lost", "returning", "ready_for_pickup"]
)
def test_what_ended_or_waits_is_expected_no_more(name: str) -> None:
    assert shown(delivery_of(name)).window is None


def test_an_estimate_can_be_left_out() -> None:
    assert shown(delivery_of("shipped")).window is not None
    assert shown(delivery_of("shipped"), estimated=False).window is None


def test_carriers_are_named_as_people_know_them() -> None:
    parcels = [shown(dict(delivery)) for delivery in sample("digest").order["deliveries"]]
    assert [c.name for parcel in parcels for c in parcel.carriers] == ["UPS", "USPS", "Amazon"]
    (carrier,) = shown(delivery_of("shipped", trackers=[tracker(carrierCode="FAST_MAIL")])).carriers
    assert (carrier.code, carrier.name) == ("FAST_MAIL", "FAST MAIL")


def tracker(**fields: Any) -> dict[str, Any]:
    return {**delivery_of("shipped")["trackers"][0], **fields}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://carrier.example/1?a=b&c=%20", "https://carrier.example/1?a=b&c=%20"),
        ("http://carrier.example", "http://carrier.example"),
        ("javascript:alert(1)", ""),
        ("JavaScript:alert(1)//https://", ""),
        ("data:text/html,<b>", ""),
        ("//carrier.example", ""),
        ('https://carrier.example/"onclick=x', ""),
        ("https://carrier.example/ x", ""),
        ("https://carrier.example/\u202e", ""),
        ("https://" + "a" * 2_000, ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_only_plain_links_are_links(url: object, expected: str) -> None:
    assert safe_url(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" two\r\nlines\tand  more ", "two lines and more"),
        ("bell\x07, turn\u202eed, \ud800half, zero\u200bwidth", "bell, turned, half, zerowidth"),
        ("x" * 121, "x" * 119 + "…"),
        ("", ""),
        (None, ""),
        (12, "12"),
    ],
)
def test_texts_of_others_are_one_plain_line(text: object, expected: str) -> None:
    assert one_line(text) == expected
