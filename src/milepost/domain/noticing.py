"""What a shopper may be told of an order: its view against what was noticed of it before (tracking.md 11, 1-5,
8-10).

`notice_order` is asked after each fold. It gives an occasion for each thing that became so since it was last asked
(rule 1: stage entry after folding, never an event that came in), and the standing to keep. An occasion has a kind
and an ordinal; together with the delivery they are its key for life (rule 2), so whatever the batches are, whatever
is folded again and whatever was forgotten, each is made once at most.

A fold may bring many things at once. Each that shows in the view is given, also a stage that a later one has passed
over by then: which of them is still worth a message is asked when the hold is over (rule 6 in `notification_rules`),
and each that is not says so by that rule. So whoever folds in one batch gives nothing that whoever folds bit by bit
would not give; only what came and went within a batch (an exception that was solved, a delivery that was taken back)
leaves no trace. What only a fold can tell is decided here, and the occasion is given suppressed:

- rule 8, history: a scan that was first seen after a later one (T4); a stage before one that was told already; a
  delivery that had arrived when anything of it was first seen; a scan that was there before and is only understood
  otherwise now (its code was mapped, what hid it was retracted); a local day of which only the time was corrected;
- rule 9, an estimate that moves to an earlier day, unless the shop wants these told.

A delivery that was taken back (T5) gives a `correction`, and whatever arrives after that another `delivered` with
ordinal 2; rule 10 decides over both when they are due. An internal task needs no occasion: the view has
CONTRADICTION.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.delivery import CONTRADICTION
from milepost.domain.delivery_news import (
    OUTCOMES,
    News,
    State,
    is_delivered,
    news_of,
    open_conditions,
    scan_of_state,
    states_of,
)
from milepost.domain.evidence import CANCELLED, DELIVERED
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.leg import DELIVERED_RETRACTED
from milepost.domain.noticed import (
    DeliveryNoticed,
    OrderNoticed,
    next_ordinal,
    occasion_key,
    parcel_sum,
    parcel_sums,
    read_noticed,
    write_noticed,
)
from milepost.domain.notification import Kind, Notification, Occasion, Transition, notification_id
from milepost.domain.notification_policy import NotificationPolicy

Document = Mapping[str, Any]

BY: Final = "projector"
"""Who makes notifications, and suppresses what a fold can tell."""

_MAY_COME_AGAIN: Final[Mapping[State, Kind]] = {
    "delivered": "delivered",
    "exception": "exception",
    "undeliverable": "exception",
    "customer_action": "customer_action",
}
_BEFORE_SCANS: Final[frozenset[Kind]] = frozenset({"shipped", "in_transit"})
_AFTER_THEM = frozenset({"out_for_delivery", "attempt_failed", "ready_for_pickup", "delivered", "returning"})


class Noticed(Struct, frozen=True):
    """What was noticed of one order."""

    standing: bytes
    """To be kept."""
    occasions: Sequence[Occasion] = ()


def notice_order(
    order: Document, before: bytes | None, at: Instant, now: Instant, policy: NotificationPolicy
) -> Noticed | None:
    """What is new of an order's view, given the standing that was kept; None when nothing is. `at` is when the newest
    fact became so, `now` the hub's clock: nothing is told to have happened later than that."""
    known = OrderNoticed() if not before else read_noticed(before)
    deliveries = {each.id: each for each in known.deliveries}
    occasions: list[Occasion] = []
    for delivery in order["deliveries"]:
        looking = _Delivery(delivery, deliveries.get(delivery["id"]), known.position, at, now, policy)
        deliveries[delivery["id"]] = looking.standing()
        occasions += looking.occasions
    told = known.told
    if (whole := _all_delivered(order, told, occasions, now)) is not None:
        occasions.append(whole)
        told = (*told, whole.kind)
    after = OrderNoticed(order["position"], told, tuple(deliveries.values()))
    if before and after.same_but_position(known):
        return None
    return Noticed(write_noticed(after), occasions)


def notification_of(
    business_product_id: str,
    order_id: str,
    occasion: Occasion,
    since: Instant,
    now: Instant,
    policy: NotificationPolicy,
) -> Notification:
    """The notification of an occasion: held (rule 6), or suppressed by what the fold decided. `since` is when
    notifications were switched on: what occurred before is history (rule 8)."""
    rule, reason = occasion.rule, occasion.reason
    if not rule and occasion.occurred_at < since:
        rule, reason = 8, "It happened before notifications were switched on."
    subject = (business_product_id, order_id, occasion.delivery_id, occasion.kind, occasion.ordinal)
    steps = (Transition(now, "WAITING", BY),)
    if rule:
        steps = (Transition(now, "SUPPRESSED", BY, rule, reason),)
    return Notification(
        notification_id(*subject),
        business_product_id,
        order_id,
        occasion.delivery_id,
        occasion.kind,
        occasion.ordinal,
        steps[-1].state,
        occasion.occurred_at,
        now,
        Instant(now + policy.hold_of(occasion.kind)),
        steps,
        rule,
        reason,
        occasion.data,
    )


def _all_delivered(
    order: Document, told: Sequence[str], occasions: Sequence[Occasion], now: Instant
) -> Occasion | None:
    """Rule 11: the last of several deliveries arrived. It is history where all that arrived just now are."""
    if "all_delivered" in told:
        return None
    shown = [delivery for delivery in order["deliveries"] if delivery["state"] != CANCELLED]
    if len(shown) < 2 or not all(map(is_delivered, shown)):
        return None
    arrivals = [state["delivered"] or now for state in map(states_of, shown)]
    just_now = [occasion for occasion in occasions if occasion.kind == "delivered"]
    history = just_now[-1] if just_now and all(occasion.rule for occasion in just_now) else None
    rule, reason = (0, "") if history is None else (history.rule, history.reason)
    return Occasion(
        "all_delivered",
        min(max(arrivals), now),
        rule=rule,
        reason=reason,
        data={"deliveries": len(shown)},
    )


class _Delivery:
    """One delivery, while what is new of it is looked for."""

    def __init__(
        self,
        delivery: Document,
        old: DeliveryNoticed | None,
        position: int,
        at: Instant,
        now: Instant,
        policy: NotificationPolicy,
    ) -> None:
        self._delivery, self._policy, self._at, self._now = delivery, policy, at, now
        self._first = old is None
        self._old = DeliveryNoticed(delivery["id"]) if old is None else old
        self._states = states_of(delivery)
        self._open = tuple(state for state in _MAY_COME_AGAIN if state in self._states)
        self._told = list(self._old.told)
        self._position = position
        self._arrived_unseen = self._first and "delivered" in self._states and not _was_under_way(delivery)
        self.occasions: list[Occasion] = []

    def standing(self) -> DeliveryNoticed:
        """What is kept of it; `occasions` then has what is new."""
        listed = list(news_of(self._delivery, self._policy.zone, self._at))
        self._days = sum(news.kind == "out_for_delivery" for news in listed)
        for news in (*listed, *self._entered(), *self._taken_back()):
            self._give(news)
        estimate = self._estimate()
        scans = [scan["position"] for tracker in self._delivery["trackers"] for scan in tracker["milestones"]]
        unmapped = sum(
            c["count"] or 0 for c in open_conditions(self._delivery) if c["code"] == "UNMAPPED_CODE"
        )
        return DeliveryNoticed(
            self._old.id,
            tuple(self._told),
            self._open,
            estimate,
            parcel_sums(self._delivery),
            max(scans, default=0),
            unmapped,
        )

    def _entered(self) -> Iterator[News]:
        """What is so, was not at the last fold, and may have been before."""
        for state in self._open:
            if state not in self._old.open:
                kind = _MAY_COME_AGAIN[state]
                # The order's own word needs no scan: that an old scan is there does not make it old.
                own_word = state == "delivered" and self._delivery["state"] == DELIVERED
                scan = None if own_word else scan_of_state(self._delivery, state)
                ordinal = next_ordinal(self._told, kind)
                data = {"code": state.upper()} if kind == "exception" else {}
                yield News(kind, self._states[state] or self._at, ordinal, scan, data)

    def _taken_back(self) -> Iterator[News]:
        """It was delivered and is not: a carrier scanned it later (T5), or took that scan back (T8). One more parcel
        that is now known of, or one on its way back, takes nothing back."""
        if "delivered" not in self._old.open or {"delivered", "returning"} & self._states.keys():
            return
        retracted = [
            condition
            for condition in open_conditions(self._delivery)
            if condition["code"] == CONTRADICTION and condition["kind"] == DELIVERED_RETRACTED
        ]
        if retracted or not any(tracker["deliveredAt"] for tracker in self._delivery["trackers"]):
            at = parse_instant(retracted[0]["raisedAt"]) if retracted else self._at
            yield News("correction", at, next_ordinal(self._told, "correction"))

    def _estimate(self) -> str:
        """Rule 9: the last day of the estimate against the one that the shopper knows, as local dates; what day the
        shopper knows of from now on."""
        known, estimate = self._old.estimate, self._delivery["estimatedDelivery"]
        day = estimate and (estimate["latestDate"] or estimate["earliestDate"])
        if not day or day == known or OUTCOMES & self._states.keys():
            return known
        if not known:
            return str(day)
        earlier = day < known
        data = {"before": known, "day": day, "from": estimate["earliestDate"]}
        moved = News("estimate_moved", self._at, str(day), data=data)
        if earlier and not self._policy.earlier_estimates:
            self._give(moved, 9, "The estimate moved to an earlier day.")
            return known
        self._give(moved)
        return str(day)

    def _give(self, news: News, rule: int = 0, reason: str = "") -> None:
        key = occasion_key(news.kind, news.ordinal)
        if key in self._told:
            return
        if not rule:
            rule, reason = self._history(news)
        self._told.append(key)
        occurred_at = min(news.occurred_at, self._now)
        self.occasions.append(
            Occasion(news.kind, occurred_at, self._old.id, news.ordinal, rule, reason, news.data)
        )

    def _history(self, news: News) -> tuple[int, str]:
        """Rule 8: whether this is only now known, not only now so."""
        if self._arrived_unseen:
            return 8, "It had been delivered when anything of it was first seen."
        if news.scan is not None:
            if news.scan["standing"] == "historyFill":
                return 8, "The carrier reported it after what came later."
            if self._was_seen(news.scan):
                return 8, "The scan was there before; only what it means is new."
        told = {key.partition("/")[0] for key in self._old.told}
        if news.kind in _BEFORE_SCANS and told & _AFTER_THEM:
            return 8, "A later stage was told already."
        days_told = sum(key.startswith("out_for_delivery/") for key in self._old.told)
        if news.kind == "out_for_delivery" and self._days <= days_told:
            return 8, "Only the time of a scan was corrected."
        return 0, ""

    def _was_seen(self, scan: Document) -> bool:
        """Whether it was in the view at the last fold: folded by then, and of a parcel that was known by then."""
        if scan["position"] > self._position:
            return False
        trackers = (t for t in self._delivery["trackers"] if any(m is scan for m in t["milestones"]))
        return any(parcel_sum(tracker) in self._old.parcels for tracker in trackers)


def _was_under_way(delivery: Document) -> bool:
    """Whether anything was known of a delivery before it was known to have arrived: an event of it came, or a scan
    was seen before that of its arrival."""
    events = delivery["events"]
    if events["inTransit"] is not None or events["delivered"] is not None:
        return True
    scans = [scan for tracker in delivery["trackers"] for scan in tracker["milestones"]]
    arrived = [scan["observedAt"] for scan in scans if scan["code"] == DELIVERED]
    known_at = min(arrived, default=delivery["deliveredAt"])
    return known_at is not None and any(
        parse_instant(scan["observedAt"]) < parse_instant(known_at) for scan in scans
    )
