"""Ready replies: what an agent may send says what a notification would say, in the shopper's language."""

from copy import deepcopy
from typing import Any

import pytest
from tests.unit.shopper.views import BRAND

from milepost.domain.instant import parse_instant
from milepost.domain.notification import KINDS
from milepost.shopper.replying import kind_of, reply
from milepost.shopper.samples import DIGEST, sample

NOW = parse_instant("2026-01-21T12:00:00Z")
RAISED = {"estimate_missed": "LATE", "pickup_reminder": "PICKUP_AGING"}
"""Kinds that begin with a condition, which samples have none of."""
SAME = sorted(set(KINDS) - {"all_delivered", "estimate_moved", "correction", "in_transit"})
"""Kinds that tell how a parcel stands; the others tell what changed about it, or less than `shipped`."""
HEADLINES = {
    "delayed": ("Your parcel is delayed.", "Tu paquete se retrasa."),
    "lost": ("Your parcel seems to be lost.", "Parece que tu paquete se ha perdido."),
    "out_for_delivery": ("Your parcel is out for delivery.", "Tu paquete está en reparto."),
}


def order(name: str) -> dict[str, Any]:
    return deepcopy(dict(sample(name).order))


@pytest.mark.parametrize("kind", SAME)
def test_a_parcel_is_described_by_the_words_of_its_news(kind: str) -> None:
    deliveries = order(kind)["deliveries"]
    for delivery in deliveries:
        if kind in RAISED:
            raised = {"code": RAISED[kind], "kind": None, "raisedAt": "2026-01-21T10:00:00Z"}
            delivery["conditions"] = [
                raised | {"clearedAt": None, "count": 1, "evidence": {}, "source": "hub"}
            ]
    assert {kind_of(delivery) for delivery in deliveries} == {kind}


@pytest.mark.parametrize("kind", HEADLINES)
@pytest.mark.parametrize("place", [0, 1])
def test_a_reply_is_in_the_shoppers_language(kind: str, place: int) -> None:
    text = reply(order(kind), ("en", "es-MX")[place], BRAND, NOW)
    assert HEADLINES[kind][place] in text
    assert "Enamel mug" in text
    assert ("Order", "Pedido")[place] in text.splitlines()[0]


def test_a_reply_counts_its_parcels_and_names_the_page() -> None:
    text = reply(order(DIGEST), "en", BRAND, NOW, "https://hub.example/track/to.ken")
    assert "Parcel 1 of 3" in text
    assert "Parcel 3 of 3" in text
    assert text.endswith("Track your order:\nhttps://hub.example/track/to.ken\n")
    assert "Track your order" not in reply(order(DIGEST), "en", BRAND, NOW)
    assert "javascript" not in reply(order(DIGEST), "en", BRAND, NOW, "javascript:alert(1)")


def test_what_was_not_shipped_is_being_prepared() -> None:
    bare = order("shipped")
    bare["deliveries"] = []
    assert "It is being prepared and has not been shipped yet." in reply(bare, "en", BRAND, NOW)
    pending = order("shipped")
    pending["deliveries"][0] |= {"state": "PENDING", "shipEvidence": None, "trackers": [], "conditions": []}
    assert kind_of(pending["deliveries"][0]) is None
    assert "Se está preparando" in reply(pending, "es", BRAND, NOW)


def test_no_place_no_address_and_no_name_gets_into_a_reply() -> None:
    told = order("exception")
    told["customer"] = {"name": "Ada Lovelace", "email": "ada@example.com"}
    for tracker in told["deliveries"][0]["trackers"]:
        for scan in tracker["milestones"]:
            scan["address"] = {"locality": "Seattle", "region": "WA", "country": "US"}
            scan["message"] = "left with the neighbour at number 7"
    text = reply(told, "en", BRAND, NOW)
    for word in ("Ada", "ada@", "Seattle", "WA", "neighbour at number"):
        assert word not in text
