"""What counts as lost: known to have happened, expected of a road in use, and never brought by it."""

from typing import Any

from milepost.domain.instant import HOUR, Instant, format_instant
from milepost.domain.loss import ALL, DELIVERED, GRACE_MS, SHIPPED, Happened, Loss, happened, losses
from milepost.domain.volume import MILESTONE, Span

NOW_HOUR = 500_000
NOW = Instant(NOW_HOUR * HOUR)
Document = dict[str, Any]


def hour(n: int) -> Instant:
    """So many hours ago."""
    return Instant(NOW - n * HOUR)


def event(ago: int = 20, kind: str = DELIVERED, subject: str = "delivery/d-1", **brought: int) -> Happened:
    total = {ALL: max(brought.values())} if brought else {}
    return Happened("bp-1", kind, subject, (hour(ago),), {**brought, **total})


def in_use(
    kind: str = DELIVERED, *, first: int = 48, last: int = 1, road: str = "webhook"
) -> dict[Any, Span]:
    return {("bp-1", kind, road): Span(NOW_HOUR - first, NOW_HOUR - last, 9)}


def test_what_the_road_brought_is_not_lost_and_what_it_did_not_is() -> None:
    rows = [
        event(webhook=1),
        event(21, subject="delivery/d-2"),
        event(22, subject="delivery/d-3", eventbridge=1),
    ]
    assert losses(rows, in_use(), NOW) == [
        Loss("webhook", DELIVERED, 3, 2, 1, ("delivery/d-2", "delivery/d-3"))
    ]


def test_of_a_road_that_is_not_in_use_nothing_is_lost() -> None:
    assert losses([event()], {}, NOW) == []
    assert losses([event()], in_use(road="eventbridge", kind=SHIPPED), NOW) == []


def test_only_what_happened_while_the_road_was_in_use_is_expected() -> None:
    use = in_use(first=40, last=10)
    grace = GRACE_MS // HOUR
    expected = {ago: len(losses([event(ago)], use, NOW)) for ago in (41, 40, 39, 10 + grace, 9 + grace, 3)}
    assert expected == {41: 0, 40: 0, 39: 1, 10 + grace: 1, 9 + grace: 0, 3: 0}
    assert losses([event(grace - 1)], in_use(last=0), NOW) == [], "it may still come"


def test_what_only_a_replay_brought_is_left_out() -> None:
    assert losses([event(replay=1)], in_use(), NOW) == []
    assert losses([event(replay=1, webhook=1)], in_use(), NOW)[0].lost == 0


def test_milestones_are_held_against_events_by_number() -> None:
    times = tuple(hour(ago) for ago in (60, 30, 25, 20, 2))
    row = Happened("bp-1", MILESTONE, "tracker/ups/1Z1", times, {"webhook": 1, "eventbridge": 3, ALL: 3})
    use = in_use(MILESTONE) | in_use(MILESTONE, road="eventbridge")
    bridge, webhook = sorted(losses([row], use, NOW), key=lambda loss: loss.road)
    assert (bridge.expected, bridge.lost) == (3, 0)
    assert (webhook.expected, webhook.lost, webhook.unheard) == (3, 2, 2)


def test_a_busy_loss_names_the_newest_ten() -> None:
    rows = [event(ago, subject=f"delivery/{ago}") for ago in range(47, 10, -1)]
    (loss,) = losses(rows, in_use(), NOW)
    assert loss.lost == loss.unheard == len(rows)
    assert loss.subjects == tuple(f"delivery/{ago}" for ago in range(11, 21))


# ── What must have happened ────────────────────────────────────────────────────────────────────────────────


def order(state: str, **more: Any) -> Document:
    milestones = [
        {"occurredAt": format_instant(hour(9)), "standing": "historyFill"},
        {"occurredAt": format_instant(hour(30)), "standing": "counts"},
        {"occurredAt": format_instant(hour(8)), "standing": "contradicted"},
        {"occurredAt": None, "standing": "counts"},
        {"occurredAt": "some day", "standing": "counts"},
    ]
    delivery = {
        "id": "d-1",
        "claimedState": state,
        "shippedAt": format_instant(hour(40)),
        "deliveredAt": format_instant(hour(9)),
        "trackers": [{"carrierCode": "UPS", "trackingNumber": "1Z1", "milestones": milestones}],
    }
    return {"businessProductId": "bp-1", "deliveries": [delivery | more]}


def test_a_delivered_delivery_was_shipped_and_delivered_and_each_scan_that_counts_was_a_milestone() -> None:
    brought = {("delivery/d-1", DELIVERED): {"webhook": 1, ALL: 1}}
    assert list(happened(order("DELIVERED"), brought)) == [
        Happened("bp-1", SHIPPED, "delivery/d-1", (hour(40),), {}),
        Happened("bp-1", DELIVERED, "delivery/d-1", (hour(9),), {"webhook": 1, ALL: 1}),
        Happened("bp-1", MILESTONE, "tracker/ups/1Z1", (hour(30), hour(9)), {}),
    ]


def test_what_only_a_carrier_says_of_a_delivery_is_no_event() -> None:
    kinds = {
        state: [h.type for h in happened(order(state), {})]
        for state in ("PENDING", "IN_TRANSIT", "CANCELLED")
    }
    assert kinds == {"PENDING": [MILESTONE], "IN_TRANSIT": [SHIPPED, MILESTONE], "CANCELLED": [MILESTONE]}
    unknown = order("DELIVERED", shippedAt=None, deliveredAt=None, trackers=[])
    assert list(happened(unknown, {})) == []
