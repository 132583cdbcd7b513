"""Records: identity (what is one event and what is another), and what a record is about."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.unit.domain import history
from tests.unit.domain.history import (
    BOX,
    BP,
    ORDER,
    UPS,
    USPS,
    condition,
    order_object,
    package,
    tracker_answer,
)

from milepost.domain.envelope import Bridge, Event, format_eventbridge, format_webhook, parse_event
from milepost.domain.event import CATALOGUE, canonical_type
from milepost.domain.instant import Instant
from milepost.domain.record import (
    Record,
    Snapshot,
    canonical_data,
    conflict_hash,
    identity_hashes,
    subjects_of,
    tracker_subject,
    trackers_in_order,
)
from milepost.domain.resource import parse_resource

WHEN = "2025-01-20T12:34:56Z"


def an_event(
    descriptor="PACKAGE_DELIVERED",
    resources=(f"order/{ORDER}/delivery/{BOX}",),
    key="key-1",
    id="id-1",
    data=None,
    bp=BP,
):
    made = Event(
        key,
        descriptor,
        canonical_type(descriptor),
        tuple(parse_resource(f"businessProduct/{bp}/{r}") for r in resources),
        id,
        "2024-11-01",
        "subscription-1",
        WHEN,
        Instant(1_737_376_496_000),
        Raw(msgspec.json.encode(data or {})),
    )
    return parse_event(format_webhook(made))


def record(event, kind="event"):
    return Record(1, kind, BP, event.type, Instant(0), Instant(0), "webhook", (), None, format_webhook(event))


names = st.text("abcXYZ019-:.", min_size=1, max_size=8)
resource_lists = st.lists(
    st.builds("order/{}/delivery/{}".format, names, names)
    | st.builds("carrier/{}/tracker/{}".format, names, names),
    min_size=1,
    max_size=4,
    unique=True,
)
legacy = st.sampled_from([(old, t.name) for t in CATALOGUE for old in t.former_names])


class TestIdentity:
    @given(resource_lists, st.randoms(use_true_random=False))
    def test_the_order_of_resources_does_not_matter(self, resources, shuffler):
        shuffled = shuffler.sample(resources, k=len(resources))
        assert identity_hashes(an_event(resources=shuffled)) == identity_hashes(an_event(resources=resources))

    @given(legacy, resource_lists)
    def test_a_legacy_name_is_the_same_identity(self, names, resources):
        old, new = names
        assert identity_hashes(an_event(old, resources)) == identity_hashes(an_event(new, resources))

    @given(resource_lists, resource_lists)
    def test_other_resources_are_another_identity(self, one, other):
        same = set(identity_hashes(an_event(resources=one))) & set(identity_hashes(an_event(resources=other)))
        assert bool(same) == (sorted(one) == sorted(other))

    @given(names, names)
    def test_each_id_is_its_own_identity_and_one_match_is_enough(self, one, other):
        by_key, by_id = identity_hashes(an_event(key=one, id=other))
        assert identity_hashes(an_event(key=one, id=other + "x"))[0] == by_key
        assert identity_hashes(an_event(key=one + "x", id=other))[1] == by_id
        assert by_key not in identity_hashes(an_event(key=one + "x", id=other))
        # A key never matches an eventId, even of the same text.
        assert by_key != by_id

    def test_type_and_business_product_are_part_of_it(self):
        mine = set(identity_hashes(an_event()))
        assert not mine & set(identity_hashes(an_event("PACKAGE_DELIVERY_IN_TRANSIT")))
        assert not mine & set(identity_hashes(an_event(bp="bp-other")))

    def test_the_road_is_not(self):
        event = an_event()
        bridge = Bridge(
            "0", "minted-by-the-bridge", event.descriptor, "aws.partner/x", "1", WHEN, "us-east-1", ()
        )
        assert identity_hashes(parse_event(format_eventbridge(event, bridge))) == identity_hashes(event)

    def test_a_missing_id_has_none(self):
        assert identity_hashes(an_event(key=""))[0] is None
        assert identity_hashes(an_event(id=""))[1] is None

    def test_sixteen_bytes_each(self):
        assert [len(h) for h in identity_hashes(an_event())] == [16, 16]


class TestConflicts:
    def test_data_is_compared_without_the_order_of_keys_and_white_space(self):
        one = an_event(data={"a": 1, "b": {"c": 2, "d": [3]}})
        other = an_event(data={"b": {"d": [3], "c": 2}, "a": 1})
        assert canonical_data(one) == canonical_data(other) == b'{"a":1,"b":{"c":2,"d":[3]}}'
        assert conflict_hash(4, one) == conflict_hash(4, other)

    def test_other_data_or_another_original_is_another_conflict(self):
        assert conflict_hash(4, an_event(data={"a": 1})) != conflict_hash(4, an_event(data={"a": 2}))
        assert conflict_hash(4, an_event()) != conflict_hash(5, an_event())


class TestSubjects:
    def test_an_event_is_about_its_ids_its_order_and_every_tracker_it_names(self):
        data = {"order": order_object(package(BOX, tracker=UPS), package("box-9", tracker=USPS))}
        assert subjects_of(record(an_event(data=data))) == (
            "event/id-1",
            "key/key-1",
            f"order/{ORDER}",
            tracker_subject(*UPS),
            tracker_subject(*USPS),
        )

    @pytest.mark.parametrize("named", [{"id": "another-order"}, {"id": None}, {"id": []}, {}])
    def test_an_event_is_not_about_the_trackers_of_another_order(self, named: dict[str, object]):
        data = {"order": {**order_object(package(BOX, tracker=UPS)), "id": None, **named}}
        assert subjects_of(record(an_event(data=data)))[2:] == (f"order/{ORDER}",)

    def test_carrier_codes_are_compared_without_case(self):
        subjects = subjects_of(record(an_event(resources=("carrier/UPS/tracker/1Z",))))
        assert subjects[2:] == ("tracker/ups/1Z",)

    def test_a_conflict_is_about_the_same(self):
        assert subjects_of(record(an_event(), "conflict")) == subjects_of(record(an_event()))

    def test_an_order_answer_is_about_its_trackers_at_both_levels(self):
        line_items = [
            {"packageInformation": {"details": [package("box-9", tracker=USPS), package(tracker=UPS)]}}
        ]
        answer = history.order_answer(WHEN, package(BOX, tracker=UPS), lineItems=line_items)
        [kept] = history.journal([answer])
        assert subjects_of(kept) == (f"order/{ORDER}", tracker_subject(*UPS), tracker_subject(*USPS))

    def test_a_null_tracker_answer_is_about_what_was_asked(self):
        body = msgspec.json.encode(
            Snapshot("packageTracker", Instant(0), Instant(0), None, None, "UPS", "1Z")
        )
        kept = Record(
            1, "snapshot", BP, "packageTracker", Instant(0), Instant(0), "hydration", (), None, body
        )
        assert subjects_of(kept) == ("tracker/ups/1Z",)

    def test_a_tracker_answer_and_a_condition(self):
        snapshot, change = history.journal([tracker_answer(WHEN, UPS), condition("LATE", True, WHEN)])
        assert subjects_of(snapshot) == (tracker_subject(*UPS),)
        assert subjects_of(change) == (f"order/{ORDER}", f"delivery/{BOX}")

    @given(
        st.recursive(
            st.none() | st.text(max_size=3) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["packageInformation", "details", "lineItems", "packageTracker"]),
                    inner,
                    max_size=3,
                )
            ),
        )
    )
    def test_odd_answers_name_what_can_be_read(self, odd):
        assert trackers_in_order(odd) == []
        assert trackers_in_order({"lineItems": odd, **order_object(package(BOX, tracker=UPS))}) == [UPS]
