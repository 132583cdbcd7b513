"""Histories drawn at random: facts in any order, in any groups, some of them again, with people who wait in between.

Every (subject, kind, ordinal) is given once at most; folding again gives nothing; what one batch gives, bit by bit
gives too; nothing is sent that a later stage overtook while it was held, and nobody is told twice that something
arrived unless that was taken back in between.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    Arrived,
    condition,
    event,
    fold,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.shop import EVERYTHING, POLICY, Shop, known, t

from milepost.domain.contact import Choices, Contact
from milepost.domain.instant import DAY, HOUR, MINUTE, Instant, format_instant
from milepost.domain.noticing import notice_order
from milepost.domain.notification import Notification
from milepost.domain.notification_policy import quiet_hours_from
from milepost.domain.notification_rules import Postpone, Send, Suppress, decide
from milepost.domain.record import tracker_subject

START = t("2025-03-07T12:00:00Z")
PARCELS = ((BOX, UPS), (SECOND_BOX, USPS))
CODES = (
    "INFO_RECEIVED",
    "IN_TRANSIT",
    "OUT_FOR_DELIVERY",
    "DELIVERY_ATTEMPTED",
    "AVAILABLE_FOR_PICKUP",
    "DELIVERED",
    "DELAYED",
    "EXCEPTION",
    "CUSTOMER_ACTION",
    "LOST",
    "UNDELIVERABLE",
    "RETURN_TO_SENDER",
    "BY_DRONE",
)
LIKELY = ("IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED", "DELIVERED", "OUT_FOR_DELIVERY")
STAGES = ("shipped", "in_transit", "out_for_delivery", "attempt_failed", "ready_for_pickup")


def drawn(chance: random.Random) -> list[Arrived]:
    """Facts of one order with one or two deliveries, over days in which clocks go forward, in the order in which they
    were true. Answers list the scans until then, sometimes without one of them."""
    parcels = PARCELS[: chance.randint(1, 2)]
    packages = [package(box, "PENDING", tracker=tracker) for box, tracker in parcels]
    facts = [known(_text(START), *packages)]
    paths: dict[str, list[tuple[str, str | None]]] = {box: [] for box, _ in parcels}
    at = START
    for _ in range(chance.randint(3, 14)):
        at = Instant(at + chance.randint(1, chance.choice((20, 400, 2_000))) * MINUTE)
        box, tracker = chance.choice(parcels)
        draw = chance.random()
        if draw < 0.25:
            facts.append(event(chance.choice((SHIPPED, SHIPPED, DELIVERED, CANCELLED)), _text(at), box))
        elif draw < 0.32:
            code = chance.choice(("LATE", "NEVER_SCANNED"))
            facts.append(condition(code, chance.random() < 0.7, _text(at), f"delivery/{box}"))
        elif draw < 0.36:
            facts.append(
                condition(
                    "PICKUP_AGING", True, _text(at), tracker_subject(*tracker), count=chance.randint(1, 3)
                )
            )
        else:
            facts.append(_answer(chance, at, tracker, paths[box]))
    return facts


def _answer(
    chance: random.Random, at: Instant, tracker: tuple[str, str], path: list[tuple[str, str | None]]
) -> Arrived:
    for _ in range(chance.randint(0, 2)):
        code = chance.choice(chance.choice((CODES, LIKELY)))
        occurred = Instant(at - chance.choice((1, 1, 5, 90, 1_500)) * MINUTE)
        path.append((code, None if chance.random() < 0.04 else _text(occurred, chance.choice((0, -8, -7)))))
    listed = list(path)
    if listed and chance.random() < 0.1:
        listed.pop(chance.randrange(len(listed)))
    more = {}
    if chance.random() < 0.4:
        day = format_instant(Instant(at + chance.randint(0, 4) * DAY))[:10]
        more["estimatedDeliveryDate"] = {"earliest": None, "latest": day}
    return tracker_answer(_text(at), tracker, *(scan(code, when) for code, when in listed), **more)


def _text(at: Instant, offset: int = 0) -> str:
    """ISO 8601, with the offset in hours if there is one."""
    if not offset:
        return format_instant(at)
    return format_instant(Instant(at + offset * HOUR))[:-1] + f"-{-offset:02d}:00"


def groups(chance: random.Random, facts: Sequence[Arrived]) -> Iterator[list[Arrived]]:
    """The facts shuffled a little or wholly, some twice, in batches."""
    listed = [*facts, *chance.sample(facts, min(2, len(facts)))]
    if chance.random() < 0.5:
        chance.shuffle(listed)
    else:
        listed.sort(key=lambda f: f.published_at + chance.randint(0, 600) * MINUTE)
    while listed:
        size = chance.choice((1, 1, 1, 2, 5, 20))
        yield listed[:size]
        listed = listed[size:]


class Watched(Shop):
    """A shop that is looked at whenever it does something."""

    forgetful = False
    """Its standing was lost: what is given again is there already."""

    def notice(self, at: Instant | None = None) -> int:
        known = set(self.ledger)
        noticed = notice_order(self.order, self.standing, self.now, self.now, self.policy)
        if noticed is not None:
            keys = [(o.delivery_id, o.kind, o.ordinal) for o in noticed.occasions]
            assert len(set(keys)) == len(keys)
            if not self.forgetful:
                assert not {(n.delivery_id, n.kind, n.ordinal) for n in self.ledger.values()} & set(keys)
            again = notice_order(self.order, noticed.standing, self.now, self.now, self.policy)
            assert again is None
        count = super().notice(at)
        if not self.forgetful:
            assert count == (0 if noticed is None else len(noticed.occasions))
        assert set(self.ledger) >= known
        return count

    def act(self, notification: Notification, decision: Send | Suppress | Postpone) -> None:
        if isinstance(decision, Send):
            told = [notification, *(self.ledger[covered] for covered in decision.covers)]
            subjects = [each.delivery_id for each in told]
            assert len(set(subjects)) == len(subjects)
            for each in told:
                assert each.state == "WAITING"
                assert each.kind == notification.kind or notification.kind == "all_delivered"
                assert self.now >= each.decided_at + self.policy.hold_of(each.kind)
                self._is_news(each)
        super().act(notification, decision)

    def _is_news(self, notification: Notification) -> None:
        """Nothing that came to be known by now overtook it."""
        if notification.kind not in STAGES:
            return
        mine = [n for n in self.ledger.values() if n.delivery_id == notification.delivery_id]
        shown = next(d for d in self.order["deliveries"] if d["id"] == notification.delivery_id)
        reopened = any(c["code"] == "CONTRADICTION" and not c["clearedAt"] for c in shown["conditions"])
        assert shown["state"] != "DELIVERED" or reopened
        later = STAGES[max(STAGES.index(notification.kind) + 1, 2 if notification.kind != "shipped" else 1) :]
        if notification.kind in ("shipped", "in_transit"):
            assert not [n for n in mine if n.kind in later and n.rule != 8 and self._tells(n)]

    def _tells(self, notification: Notification) -> bool:
        return notification.kind in self.policy.kinds and self.choices.wants(notification.kind, "email")


def look_at_the_end(shop: Shop) -> None:
    told = [each for sent in shop.sent for each in (sent, *(shop.ledger[covered] for covered in sent.covers))]
    for box, _ in PARCELS:
        mine = [n for n in told if n.delivery_id == box]
        keys = [(n.kind, n.ordinal) for n in mine]
        assert len(set(keys)) == len(keys)
        believed = 0
        for notification in mine:
            believed += {"delivered": 1, "correction": -1}.get(notification.kind, 0)
            assert believed in (0, 1), keys
        days = [n.ordinal for n in mine if n.kind == "out_for_delivery"]
        assert days == sorted(set(days))
        moves = [n.sent_at or n.history[-1].at for n in mine if n.kind == "estimate_moved"]
        assert all(later - earlier >= DAY for earlier, later in pairwise(moves))
    for notification in shop.ledger.values():
        assert notification.state in ("SENT", "SUPPRESSED")
        assert bool(notification.rule) == bool(notification.reason) == (notification.state == "SUPPRESSED")


def play(chance: random.Random) -> Shop:
    policy = chance.choice(
        (POLICY, EVERYTHING, replace(EVERYTHING, quiet_hours=quiet_hours_from("21:00-08:00")))
    )
    off = chance.choice(((), (), ("out_for_delivery",), ("all_delivered",)))
    shop = Watched(replace(policy, per_day=chance.choice((3, 99))), Choices(off))
    shop.now = START
    for group in groups(chance, drawn(chance)):
        shop.come(format_instant(Instant(shop.now + chance.choice((1, 7, 25, 200, 900)) * MINUTE)), *group)
        if chance.random() < 0.05:
            shop.standing, shop.forgetful = None, True  # as retention forgets it
            shop.notice()
    shop.wait(10 * 24 * 60)
    look_at_the_end(shop)
    return shop


def played(count: int) -> int:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    return sum(len(play(chance).sent) for _ in range(count))


def test_nobody_is_told_the_same_twice_or_what_is_overtaken() -> None:
    assert played(150) > 100


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_the_same_of_two_thousand_histories() -> None:
    assert played(2_000) > 1_500


def test_what_one_batch_gives_bit_by_bit_gives_too() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(100):
        facts = drawn(chance)
        chance.shuffle(facts)
        now = Instant(START + 5 * DAY)
        whole = notice_order(fold(*facts).document, None, now, now, EVERYTHING)
        assert whole is not None
        given: set[tuple[str, str, str]] = set()
        standing = None
        for count in range(1, len(facts) + 1):
            noticed = notice_order(fold(*facts[:count]).document, standing, now, now, EVERYTHING)
            if noticed is not None:
                standing = noticed.standing
                given |= {(o.delivery_id, o.kind, o.ordinal) for o in noticed.occasions}
        assert {(o.delivery_id, o.kind, o.ordinal) for o in whole.occasions} <= given


def test_no_view_stops_the_rules() -> None:
    """Times at the ends of the calendar, scans without any, and every kind asked of every such view."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    odd = (
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2031-01-01T00:00:00Z",
        "2025-03-08",
        None,
    )
    for _ in range(150):
        codes = [scan(chance.choice(CODES), chance.choice(odd)) for _ in range(chance.randint(1, 4))]
        window = {"earliest": chance.choice(odd), "latest": chance.choice(odd)}
        facts = (
            known(_text(START), package(BOX, "IN_TRANSIT", tracker=UPS)),
            tracker_answer(_text(START), UPS, *codes, estimatedDeliveryDate=window),
        )
        shop = Shop(replace(EVERYTHING, quiet_hours=(0, 1)))
        shop.now = START
        shop.come(_text(START), *facts)
        for notification in shop.ledger.values():
            every = list(shop.ledger.values())
            decide(notification, every, shop.order, Choices(), Contact("a@b"), shop.policy, shop.now)
