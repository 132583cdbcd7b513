"""The tracker fold reads a set: the order in which facts arrive decides nothing, and no shape of answer stops it."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    MILESTONE,
    ORDER,
    SHIPPED,
    UPS,
    condition,
    event,
    journal,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.parcel import SUBJECT, bound, day, track

from milepost.domain.canonical import canonical
from milepost.domain.fact import fact_of
from milepost.domain.record import subjects_of
from milepost.domain.tracker import fold_tracker

CODES = (
    *(
        "PENDING",
        "INFO_RECEIVED",
        "IN_TRANSIT",
        "DELAYED",
        "OUT_FOR_DELIVERY",
        "AVAILABLE_FOR_PICKUP",
        "OutForDelivery",
    ),
    *(
        "DELIVERY_ATTEMPTED",
        "DELIVERED",
        "EXCEPTION",
        "LOST",
        "UNDELIVERABLE",
        "RETURN_TO_SENDER",
        "CUSTOMER_ACTION",
    ),
    "RECEIVED_BY_DRONE",
)
times = st.one_of(
    st.builds(
        "2025-{:02d}-{:02d}T{:02d}:00:00Z".format, st.integers(1, 3), st.integers(1, 28), st.integers(9, 11)
    ),
    st.builds("2025-01-{:02d}T12:00:00.{:03d}-08:00".format, st.integers(1, 9), st.integers(0, 2)),
    st.sampled_from(
        ["2031-01-01T00:00:00Z", "2025-01-05", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]
    ),
    st.none(),
)
milestones = st.lists(
    st.builds(scan, st.sampled_from(CODES), times, st.sampled_from(["", "Reno", "RENO", "Sparks"])),
    max_size=6,
)
moments = st.builds(
    "2025-{:02d}-{:02d}T12:{:02d}:00Z".format, st.integers(1, 3), st.integers(1, 28), st.integers(0, 2)
)
windows = st.one_of(
    st.none(), st.builds("2025-02-{:02d}".format, st.integers(1, 3)).map(lambda latest: {"latest": latest})
)
carriers = st.sampled_from([("ups", UPS[1]), ("UPS", UPS[1])])
whole = st.builds(
    lambda at, tracker, listed, window: tracker_answer(at, tracker, *listed, estimatedDeliveryDate=window),
    moments,
    carriers,
    milestones,
    windows,
)
partial = st.builds(
    lambda at, order, created, listed: bound(at, order, created, milestones=listed),
    moments,
    st.sampled_from([ORDER, "999-OTHER"]),
    st.one_of(st.none(), moments),
    milestones,
)
claims = st.builds(
    lambda name, at, given, listed: event(
        name,
        at,
        id=given and f"{given}-{at}",
        data={"order": order_object(package(BOX, tracker=UPS, milestones=listed))},
    ),
    st.sampled_from([SHIPPED, "ITEM_IN_TRANSIT", DELIVERED, "REFUND_REQUESTED"]),
    moments,
    st.sampled_from(["a", "b", None]),
    milestones,
)
thin = st.builds(
    lambda name, at, tracker, path: event(name, at, tracker=tracker, path=path),
    st.sampled_from([MILESTONE, "RETURN_PACKAGE_DELIVERED"]),
    moments,
    carriers,
    st.sampled_from([None, f"carrier/ups/tracker/{UPS[1]}"]),
)
swept = st.builds(
    lambda code, raised, number: condition(
        code, raised, f"2026-01-{number:02d}T{int(raised):02d}:00:00Z", SUBJECT
    ),
    st.sampled_from(["TRACKING_EXPIRED", "NEVER_SCANNED", "STALLED"]),
    st.booleans(),
    st.integers(1, 5),
)
histories = st.lists(st.one_of(whole, whole, partial, claims, thin, swept), max_size=8)


@settings(max_examples=150)
@given(histories, st.randoms(use_true_random=False))
def test_any_permutation_and_duplication_gives_one_canonical_document(history, shuffler):
    expected = track(*history)
    arrivals = [*history, *shuffler.choices(history, k=3)] if history else []
    shuffler.shuffle(arrivals)
    other = track(*arrivals)
    assert canonical(other.document) == canonical(expected.document)
    assert (other.stage, other.shipped, other.delivered) == (
        expected.stage,
        expected.shipped,
        expected.delivered,
    )


@settings(max_examples=50)
@given(histories, st.integers())
def test_the_list_of_facts_is_read_as_a_set(history, seed):
    facts = [fact_of(r) for r in journal(history)]
    shuffled = [*facts, *facts]
    random.Random(seed).shuffle(shuffled)
    assert fold_tracker(BP, *UPS, shuffled).document == fold_tracker(BP, *UPS, facts).document


@settings(max_examples=50)
@given(histories)
def test_every_history_can_be_explained(history):
    tracker = track(*history, explain=True)
    facts = [r.position for r in journal(history) if SUBJECT in subjects_of(r)]
    assert sorted({entry.position for entry in tracker.trace}) == facts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["DELIVERED", day(1)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "code",
                    "status",
                    "message",
                    "address",
                    "locality",
                    "occurredAt",
                    "earliest",
                    "locale",
                    "value",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, json_values, json_values, json_values)
def test_any_shape_of_answer_gives_a_view(listed, latest, window, metadata):
    odd = {
        "milestones": listed,
        "latestMilestone": latest,
        "estimatedDeliveryDate": window,
        "trackingUrl": metadata,
    }
    tracker = track(
        tracker_answer(day(2), UPS),
        order_answer(day(3), package(BOX, tracker=UPS, **odd), metadata=metadata),
        event(DELIVERED, day(4), data={"order": order_object(package(BOX, tracker=UPS, **odd))}),
        explain=True,
    )
    assert tracker.document["orders"] == [{"orderId": ORDER, "deliveryId": BOX}]
