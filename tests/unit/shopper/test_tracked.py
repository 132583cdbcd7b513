"""What the tracking page says of an order: the one thing to say of each parcel, what happened, and what never gets
out."""

import re
from copy import deepcopy
from typing import Any

import pytest
from tests.unit.shopper.views import BRAND, Change, changed

from milepost.domain.instant import DAY, Instant, parse_instant
from milepost.domain.wording import MILESTONE_TEXTS
from milepost.shopper import tracked as module
from milepost.shopper.catalogues import LOCALES, catalogue
from milepost.shopper.samples import SAMPLES, sample
from milepost.shopper.tracked import Tracked, tracked_of
from milepost.shopper.tracking import lookup_page, lost_page, tracking_page

NOW = parse_instant("2026-01-23T18:00:00Z")


def shown(name: str, *changes: Change, locale: str = "en", now: Instant = NOW) -> Tracked:
    return tracked_of(changed(name, *changes).order, catalogue(locale), locale, now)


@pytest.mark.parametrize(
    ("name", "headline", "tone"),
    [
        ("shipped", "On its way", "active"),
        ("out_for_delivery", "Out for delivery", "active"),
        ("ready_for_pickup", "Ready for pickup", "active"),
        ("attempt_failed", "Not delivered yet", "bad"),
        ("customer_action", "The carrier needs something from you", "bad"),
        ("exception", "Something went wrong at the carrier", "bad"),
        ("delivered", "Delivered on Friday, January 23", "good"),
        ("returning", "On its way back to us", "bad"),
        ("lost", "Lost", "bad"),
        ("cancelled", "Cancelled", "quiet"),
    ],
)
def test_the_one_thing_to_say(name: str, headline: str, tone: str) -> None:
    tracked = shown(name)
    assert (tracked.packages[0].headline, tracked.packages[0].tone) == (headline, tone)
    if len(tracked.packages) == 1:
        assert tracked.headline == headline


def test_several_parcels_are_counted_without_those_that_were_cancelled() -> None:
    def three(order: dict[str, Any]) -> None:
        first = order["deliveries"][0]
        moving = deepcopy(sample("shipped").order["deliveries"][0])
        gone = deepcopy(sample("cancelled").order["deliveries"][0])
        order["deliveries"] = [first, {**moving, "id": "second"}, {**gone, "id": "third"}]
        order["summary"] |= {"deliveries": 3, "delivered": 1, "cancelled": 1}

    assert shown("delivered", three).headline == "1 of 2 parcels delivered"


def test_an_order_without_parcels_is_being_prepared() -> None:
    def none(order: dict[str, Any]) -> None:
        order["deliveries"] = []

    assert shown("shipped", none).headline == "Your order is being prepared"
    assert shown("shipped", none, locale="es").headline == "Estamos preparando tu pedido"


def test_what_was_passed_over_is_not_invented() -> None:
    def no_scan_on_the_way(order: dict[str, Any]) -> None:
        for tracker in order["deliveries"][0]["trackers"]:
            tracker["milestones"] = [m for m in tracker["milestones"] if m["code"] != "OUT_FOR_DELIVERY"]

    steps = {s.key: s.progress for s in shown("delivered", no_scan_on_the_way).packages[0].parcel.steps}
    assert steps["outForDelivery"] == "skipped"


def test_an_estimate_that_is_over_is_not_shown() -> None:
    assert shown("shipped").packages[0].parcel.window is not None
    assert shown("shipped", now=Instant(NOW + 30 * DAY)).packages[0].parcel.window is None
    assert shown("attempt_failed").packages[0].parcel.window is None


def test_places_are_told_on_the_way_and_not_where_the_shopper_lives() -> None:
    def at_home(order: dict[str, Any]) -> None:
        for milestone in order["deliveries"][0]["trackers"][0]["milestones"]:
            milestone["address"] |= {"locality": f"Town of {milestone['code']}"}

    days = shown("delivered", at_home).packages[0]
    places = [m.place for day in (*days.recent, *days.earlier) for m in day.moments]
    assert any("IN_TRANSIT" in place for place in places)
    assert not any("DELIVERED" in place or "OUT_FOR" in place for place in places)


def test_what_a_carrier_wrote_and_what_is_the_merchants_stays_inside() -> None:
    def private(order: dict[str, Any]) -> None:
        order["customer"] = {"name": "Alex Doe", "email": "alex@shopper.example"}
        for milestone in order["deliveries"][0]["trackers"][0]["milestones"]:
            milestone["message"] = "Left with Alex at door 7"
            milestone["messages"] = [{"locale": "en", "text": "Left with Alex at door 7"}]

    page = tracking_page(changed("delivered", private).order, "en", BRAND, NOW).html
    assert not re.search(r"Alex|door 7|CONTRADICTION|bp-sample|evidence", page)


def test_a_code_that_nobody_knows_is_left_out() -> None:
    def drone(order: dict[str, Any]) -> None:
        order["deliveries"][0]["trackers"][0]["milestones"][-1]["code"] = "PACKAGE_RECEIVED_BY_DRONE"

    assert "DRONE" not in tracking_page(changed("out_for_delivery", drone).order, "en", BRAND, NOW).html


def test_every_documented_code_has_a_sentence() -> None:
    assert set(module._TEXTS) == set(MILESTONE_TEXTS) - {"PENDING"}


def test_older_events_are_a_click_away() -> None:
    def many(order: dict[str, Any]) -> None:
        tracker = order["deliveries"][0]["trackers"][0]
        first = tracker["milestones"][0]
        tracker["milestones"] += [{**first, "code": "IN_TRANSIT", "position": 100 + n} for n in range(5)]

    package = shown("out_for_delivery", many).packages[0]
    assert sum(len(day.moments) for day in package.recent) == module.RECENT
    assert package.earlier
    assert "<details>" in tracking_page(changed("out_for_delivery", many).order, "en", BRAND, NOW).html


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_order_has_a_page_in_every_language(name: str, locale: str) -> None:
    page = tracking_page(sample(name).order, locale, BRAND, NOW)
    assert f'<html lang="{locale}">' in page.html
    assert "<script" not in page.html
    assert " style=" not in page.html


@pytest.mark.parametrize("locale", LOCALES)
def test_the_other_pages_speak_every_language(locale: str) -> None:
    for page in (lookup_page(locale, BRAND, "unknown", "#1042"), lost_page(locale, BRAND, can_look_up=True)):
        assert f'<html lang="{locale}">' in page.html
    assert 'value="#1042"' in lookup_page(locale, BRAND, "too_many", "#1042").html
