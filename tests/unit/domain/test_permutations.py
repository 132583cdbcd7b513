"""Scenario 2: whatever order facts arrive in, and however often, the canonical view is one (design, flow 4).

Everything goes through the real journal rules and folds: arrivals get positions and received times by arrival,
duplicates leave no record, a copy with other data leaves a conflict.
"""

import itertools
import random

from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    SECOND_BOX,
    SHIPPED,
    THIRD_BOX,
    UPS,
    USPS,
    Arrived,
    Folded,
    condition,
    correction,
    event,
    fold,
    null_order_answer,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
    withdrawal,
)

from milepost.domain.canonical import canonical
from milepost.domain.correction import DELIVERY_STATES, TRACKER_STAGES
from milepost.domain.instant import HOUR, MINUTE, Instant, format_instant, parse_instant
from milepost.domain.record import delivery_subject, tracker_subject
from milepost.domain.timeline import timeline

START = parse_instant("2025-01-20T08:00:00Z")
BOXES = (BOX, SECOND_BOX, THIRD_BOX)
LEGACY = {SHIPPED: "ITEM_IN_TRANSIT", DELIVERED: "DELIVERY_COMPLETED", CANCELLED: "DELIVERY_CANCELLED"}


def views(folded: Folded) -> object:
    """What must not depend on arrival: every view, and what stands in the timeline."""
    entries = timeline(folded.facts, folded.trackers, folded.tracker_facts, folded.order.deliveries)
    told = [
        (e["occurredAt"], e["publishedAt"], e["kind"], e["code"], e["deliveryId"], e["trackingNumber"])
        for e in entries
        if e["kind"] not in ("condition", "conflict", "event")
    ]
    events = sorted(
        (e["publishedAt"], e["code"], e["deliveryId"] or "") for e in entries if e["kind"] == "event"
    )
    trackers = {subject: canonical(t.document) for subject, t in folded.trackers.items()}
    return canonical(folded.document), trackers, told, events if "conflict" not in kinds(entries) else None


def kinds(entries: list) -> set:
    return {entry["kind"] for entry in entries}


def test_scenario_02_all_permutations_of_six_facts_give_one_view():
    delivered_data = {"order": order_object(package(state="DELIVERED", tracker=UPS, items=[("li-1", None)]))}
    history = [
        event(SHIPPED, "2025-01-20T10:00:00Z"),
        order_answer(
            "2025-01-20T10:00:05Z",
            package(state="IN_TRANSIT", tracker=UPS, items=[("li-1", "2")]),
            payments={"summary": {"state": "AUTHORIZED"}},
            customer={"contact": {"name": "Ana de Souza", "email": None}},
        ),
        event(MILESTONE, "2025-01-21T15:00:00Z", tracker=UPS),
        tracker_answer(
            "2025-01-21T15:00:05Z",
            UPS,
            scan("INFO_RECEIVED", "2025-01-20T09:00:00Z"),
            scan("IN_TRANSIT", "2025-01-20T09:30:00-05:00"),
            scan("OUT_FOR_DELIVERY", "2025-01-21T08:00:00-05:00"),
            scan("DELIVERED", "2025-01-21T09:45:00-05:00"),
        ),
        event(DELIVERED, "2025-01-21T15:10:00Z", data=delivered_data),
        order_answer(
            "2025-01-21T15:10:05Z",
            package(state="DELIVERED", tracker=UPS, items=[("li-1", "1")]),
            payments={"summary": {"state": "CAPTURED"}},
            customer={"contact": {"name": None, "email": "ana@example.com"}},
        ),
    ]
    expected = fold(*history)
    assert expected.document["state"] == "DELIVERED"
    assert expected.document["payment"]["state"] == "CAPTURED"
    assert expected.document["customer"] == {"name": "Ana de Souza", "email": "ana@example.com"}
    assert expected.delivery()["lineItems"] == [{"id": "li-1", "quantity": "1", "unit": "ONE"}]
    assert expected.delivery()["shippedAt"] == "2025-01-20T14:30:00Z"
    assert expected.delivery()["shipEvidence"]["type"] == SHIPPED
    wanted = views(expected)
    count = 0
    for permutation in itertools.permutations(history):
        assert views(fold(*permutation)) == wanted, [(a.kind, a.type) for a in permutation]
        count += 1
    assert count == 720


class Generated:
    """A history made by one random generator: parcels that ship, move, arrive, are cancelled or contradict."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.boxes = BOXES[: dice.randint(1, 3)]
        self.arrivals: list[Arrived] = []
        common = [self.claim, self.order_answered, self.tracked]
        for _ in range(dice.randint(5, 14)):
            self.arrivals += dice.choice([*common, *common, self.other, self.corrected])()

    def time(self) -> str:
        """Some minute of the first four days; few enough that ties happen."""
        return format_instant(
            Instant(START + self.dice.randint(0, 16) * 6 * HOUR + self.dice.choice([0, 0, 7]) * MINUTE)
        )

    def tracker(self) -> tuple[str, str] | None:
        return self.dice.choice([UPS, UPS, USPS, None])

    def package(self, box: str) -> dict:
        state = self.dice.choice(["PENDING", "IN_TRANSIT", "IN_TRANSIT", "DELIVERED", "CANCELLED", "ODD"])
        reason = (
            self.dice.choice(["CUSTOMER_REQUESTED", "UNDELIVERABLE", None]) if state == "CANCELLED" else None
        )
        items = [("li-1", self.dice.choice(["1", "2", None]))] if self.dice.random() < 0.7 else []
        return package(box, state, reason=reason, tracker=self.tracker(), items=items)

    def packages(self) -> list[dict]:
        return [self.package(box) for box in self.boxes if self.dice.random() < 0.8]

    def claim(self) -> list[Arrived]:
        kind, box, at = (
            self.dice.choice([SHIPPED, SHIPPED, DELIVERED, CANCELLED]),
            self.dice.choice(self.boxes),
            self.time(),
        )
        data = {"order": order_object(*self.packages())} if self.dice.random() < 0.4 else None
        made = [event(kind, at, box, data=data)]
        luck = self.dice.random()
        if luck < 0.2:
            made.append(event(LEGACY[kind], self.time(), box))
        elif luck < 0.4:
            made.append(event(kind, at, box, data=data, key=f"other-{kind}-{box}-{at}", road="eventbridge"))
        elif luck < 0.5:
            made.append(event(kind, at, box, data={"order": order_object(*self.packages())}))
        return made

    def order_answered(self) -> list[Arrived]:
        at = self.time()
        if self.dice.random() < 0.1:
            return [null_order_answer(at)]
        name = self.dice.choice(["Ana", "Bea", None])
        return [order_answer(at, *self.packages(), customer={"contact": {"name": name}} if name else None)]

    def tracked(self) -> list[Arrived]:
        tracker, at = self.dice.choice([UPS, USPS]), self.time()
        codes = [
            "INFO_RECEIVED",
            "IN_TRANSIT",
            "OUT_FOR_DELIVERY",
            "DELIVERY_ATTEMPTED",
            "DELIVERED",
            "DELAYED",
        ]
        codes += [
            "EXCEPTION",
            "RETURN_TO_SENDER",
            "AVAILABLE_FOR_PICKUP",
            "BY_DRONE",
            "OutForDelivery",
            "LOST",
        ]
        places = ["Reno", "Elko"]
        scans = [
            scan(self.dice.choice(codes), self.time(), self.dice.choice(places))
            for _ in range(self.dice.randint(0, 5))
        ]
        return [event(MILESTONE, at, tracker=tracker), tracker_answer(at, tracker, *scans)]

    def other(self) -> list[Arrived]:
        box = self.dice.choice(self.boxes)
        return [
            event("RETURN_STARTED", self.time(), path="return/r-1"),
            condition("LATE", self.dice.random() < 0.6, self.time(), f"delivery/{box}"),
        ]

    def corrected(self) -> list[Arrived]:
        """An agent's word of a delivery or a tracker, which may be taken back."""
        at = self.time()
        if self.dice.random() < 0.5:
            subject = tracker_subject(*self.dice.choice([UPS, USPS]))
            told = correction(self.dice.choice(TRACKER_STAGES), at, subject, told=self.time())
        else:
            subject = delivery_subject(self.dice.choice(self.boxes))
            told = correction(self.dice.choice(DELIVERY_STATES), at, subject, told=self.time())
        if self.dice.random() < 0.3:
            return [told, withdrawal(told, self.time(), self.dice.choice(["withdrawn", "expired"]))]
        return [told]


def shuffled(arrivals: list[Arrived], dice: random.Random) -> list[Arrived]:
    """The same arrivals in any order, some of them up to three times."""
    copies = [a for a in arrivals for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    dice.shuffle(copies)
    return copies


def test_two_thousand_shuffles_with_duplicates_of_generated_histories_give_one_view_each():
    for seed in range(200):
        dice = random.Random(seed)
        history = Generated(dice).arrivals
        wanted = views(fold(*history))
        for attempt in range(10):
            assert views(fold(*shuffled(history, dice))) == wanted, f"seed {seed}, shuffle {attempt}"
