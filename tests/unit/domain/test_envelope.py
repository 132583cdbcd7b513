"""Both wires of an event, read and written: the seeds' documents, each way of being malformed, any bytes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from milepost.domain.envelope import (
    MAX_DEPTH,
    Bridge,
    Event,
    event_id_of,
    format_eventbridge,
    format_webhook,
    parse_event,
)
from milepost.domain.errors import Malformed
from milepost.domain.event import CATALOGUE
from milepost.domain.instant import Instant
from milepost.domain.resource import parse_resource

SEEDS = Path(__file__).parents[2] / "seeds"
PUBLISHED = Instant(1_737_376_496_000)
DELIVERY = "businessProduct/business-product-id/order/order-id/delivery/delivery-id"
TRACKER = "businessProduct/businessProductId/carrier/carrierCode/tracker/trackingNumber"


def seed(name: str) -> bytes:
    return (SEEDS / f"{name}.json").read_bytes()


def event(descriptor: str, *resources: str, type: str = "", **more: Any) -> Event:
    """An event with the seeds' sample values."""
    values: dict[str, Any] = {
        "idempotency_key": "example-idempotency-key",
        "event_id": "example-event-id",
        "api_version": "2024-11-01",
        "subscription_id": "example-subscription-id",
        "event_time": "2025-01-20T12:34:56Z",
        "published_at": PUBLISHED,
        **more,
    }
    return Event(
        descriptor=descriptor,
        type=type or descriptor,
        resources=tuple(map(parse_resource, resources)),
        **values,
    )


def bridge_of(detail_type: str, *resources: str, **more: Any) -> Bridge:
    values: dict[str, Any] = {
        "version": "0",
        "id": "example-event-id",
        "source": "aws.partner/buywithprime/partner-event-source-name",
        "account": "example-aws-account-id",
        "time": "2025-01-20T12:34:56Z",
        "region": "us-east-1",
        **more,
    }
    return Bridge(detail_type=detail_type, resources=resources, **values)


def both(descriptor: str, *resources: str, **more: Any) -> Event:
    return event(descriptor, *resources, bridge=bridge_of(descriptor, *resources), **more)


def compact(body: bytes) -> bytes:
    return json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


DATA = Raw(compact(json.dumps(json.loads(seed("delivered.webhook"))["data"]).encode()))
DIGITS = b'{"n":1.10,"big":123456789012345678901234567890}'

CASES: dict[str, tuple[Event, bytes]] = {
    "seed 000, webhook": (
        event("PACKAGE_TRACKER_MILESTONE_CHANGED", TRACKER),
        compact(seed("milestone.webhook")),
    ),
    "seed 000, EventBridge": (
        both("PACKAGE_TRACKER_MILESTONE_CHANGED", TRACKER),
        compact(seed("milestone.eventbridge")),
    ),
    "seed 001, webhook": (
        event("PACKAGE_DELIVERY_IN_TRANSIT", DELIVERY),
        compact(seed("in_transit.webhook")),
    ),
    "seed 001, EventBridge": (
        both("PACKAGE_DELIVERY_IN_TRANSIT", DELIVERY),
        compact(seed("in_transit.eventbridge")),
    ),
    "seed 002, webhook": (
        event("PACKAGE_DELIVERED", DELIVERY, data=DATA, flags=("dataDisagreement",)),
        compact(seed("delivered.webhook")),
    ),
    "seed 002, EventBridge": (
        both("PACKAGE_DELIVERED", DELIVERY, data=DATA, flags=("dataDisagreement",)),
        compact(seed("delivered.eventbridge")),
    ),
    "a milestone as real traffic has it": (
        event("PACKAGE_TRACKER_MILESTONE_CHANGED", "businessProduct/bp-1/order/322-1/carrier/ups/tracker/1Z1"),
        (b'{"idempotencyKey":"example-idempotency-key","eventDescriptor":"PACKAGE_TRACKER_MILESTONE_CHANGED",'
        b'"resources":["businessProduct/bp-1/order/322-1/carrier/ups/tracker/1Z1"],"eventId":"example-event-id",'
        b'"apiVersion":"2024-11-01","subscriptionId":"example-subscription-id",'
        b'"eventTime":"2025-01-20T12:34:56Z","data":{}}'),
    ),
    "a former name, several resources": (
        event(
            "DELIVERY_COMPLETED",
            "businessProduct/bp-1/order/o/delivery/a",
            "businessProduct/bp-1/order/o/delivery/b",
            type="PACKAGE_DELIVERED",
        ),
        (b'{"idempotencyKey":"example-idempotency-key","eventDescriptor":"DELIVERY_COMPLETED","resources":'
        b'["businessProduct/bp-1/order/o/delivery/a","businessProduct/bp-1/order/o/delivery/b"],'
        b'"eventId":"example-event-id","apiVersion":"2024-11-01","subscriptionId":"example-subscription-id",'
        b'"eventTime":"2025-01-20T12:34:56Z","data":{}}'),
    ),
    "unknown type, version and fields": (
        event(
            "PARCEL_ABDUCTED",
            "businessProduct/bp-1/ufo/u-1",
            api_version="2031-01-01",
            flags=("unknownType", "unknownApiVersion"),
            extra={"priority": Raw(b"1.50"), "detail": Raw(b'{"id":1}'), "version": Raw(b'"7"')},
        ),
        (b'{"idempotencyKey":"example-idempotency-key","eventDescriptor":"PARCEL_ABDUCTED",'
        b'"resources":["businessProduct/bp-1/ufo/u-1"],"eventId":"example-event-id","apiVersion":"2031-01-01",'
        b'"subscriptionId":"example-subscription-id","eventTime":"2025-01-20T12:34:56Z","data":{},'
        b'"priority":1.50,"detail":{"id":1},"version":"7"}'),
    ),
    "unknown fields on both levels, replayed from an archive": (
        event(
            "PACKAGE_DELIVERED",
            DELIVERY,
            bridge=bridge_of(
                "PACKAGE_DELIVERED",
                DELIVERY,
                id="minted",
                replay_name="r-1",
                extra={"trace": Raw(b"[1]"), "data": Raw(b"2")},
            ),
            extra={"detail": Raw(b"null")},
        ),
        b'{"version":"0","id":"minted","detail-type":"PACKAGE_DELIVERED",'
        b'"source":"aws.partner/buywithprime/partner-event-source-name","account":"example-aws-account-id",'
        b'"time":"2025-01-20T12:34:56Z","region":"us-east-1",'
        b'"resources":["' + DELIVERY.encode() + b'"],"replay-name":"r-1","trace":[1],"data":2,'
        b'"detail":{"idempotencyKey":"example-idempotency-key","eventDescriptor":"PACKAGE_DELIVERED",'
        b'"resources":["' + DELIVERY.encode() + b'"],"eventId":"example-event-id","apiVersion":"2024-11-01",'
        b'"subscriptionId":"example-subscription-id","eventTime":"2025-01-20T12:34:56Z","data":{},"detail":null}}',
    ),
    "only an eventId, numbers that keep their digits": (
        event("PACKAGE_DELIVERED", DELIVERY, idempotency_key="", data=Raw(DIGITS)),
        b'{"eventDescriptor":"PACKAGE_DELIVERED","resources":["' + DELIVERY.encode() + b'"],'
        b'"eventId":"example-event-id","apiVersion":"2024-11-01","subscriptionId":"example-subscription-id",'
        b'"eventTime":"2025-01-20T12:34:56Z","data":' + DIGITS + b"}",
    ),
}  # fmt: skip


def formatted(parsed: Event) -> bytes:
    return format_webhook(parsed) if parsed.bridge is None else format_eventbridge(parsed, parsed.bridge)


@pytest.mark.parametrize(("expected", "body"), CASES.values(), ids=CASES.keys())
def test_reading(expected: Event, body: bytes) -> None:
    assert parse_event(body) == expected
    assert event_id_of(body) == expected.event_id


@pytest.mark.parametrize(("expected", "body"), CASES.values(), ids=CASES.keys())
def test_writing(expected: Event, body: bytes) -> None:
    assert formatted(expected) == body


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_seeds_keys_come_out_in_the_seeds_order(path: Path) -> None:
    body = path.read_bytes()

    assert compact(formatted(parse_event(body))) == compact(body)
    assert parse_event(body).road == path.stem.partition(".")[2]


def without_road(parsed: Event) -> Event:
    """An event without what only its envelope can say."""
    said = tuple(
        f for f in parsed.flags if f not in ("typeDisagreement", "timeDisagreement", "resourcesDisagreement")
    )
    return msgspec.structs.replace(parsed, bridge=None, flags=said)


def assert_round_trip(parsed: Event) -> None:
    bridge = parsed.bridge or bridge_of(
        parsed.descriptor, *map(str, parsed.resources), time=parsed.event_time
    )
    webhook, document = format_webhook(parsed), format_eventbridge(parsed, bridge)

    assert parse_event(webhook) == without_road(parsed)
    assert parse_event(document).bridge == bridge
    assert without_road(parse_event(document)) == without_road(parsed)


# ── What the envelope says ─────────────────────────────────────────────────────────────────────────────────


def document(**more: Any) -> dict[str, Any]:
    return {**json.loads(seed("in_transit.eventbridge")), **more}


def parsed(value: object) -> Event:
    return parse_event(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"id": "another"}, ()),
        ({"detail-type": "DELIVERY_IN_TRANSIT"}, ("typeDisagreement",)),
        ({"detail-type": ""}, ()),
        ({"time": "2025-01-20T12:34:57Z"}, ("timeDisagreement",)),
        ({"time": "2025-01-20T07:34:56-05:00"}, ()),
        ({"time": "yesterday"}, ("timeDisagreement",)),
        ({"resources": ["businessProduct/other"]}, ("resourcesDisagreement",)),
        ({"resources": []}, ()),
    ],
)
def test_the_detail_holds_and_a_flag_records_the_disagreement(
    change: dict[str, Any], flags: tuple[str, ...]
) -> None:
    found = parsed(document(**change))

    assert found.flags == flags
    assert without_road(found) == without_road(parsed(document()))


def test_an_older_detail_may_leave_to_the_envelope_what_the_envelope_says() -> None:
    detail = {"eventId": "example-event-id"}
    found = parsed(document(**{"detail": detail, "detail-type": "DELIVERY_IN_TRANSIT"}))

    assert (found.type, found.descriptor) == ("PACKAGE_DELIVERY_IN_TRANSIT", "DELIVERY_IN_TRANSIT")
    assert (found.event_id, found.idempotency_key) == ("example-event-id", "")
    assert [str(r) for r in found.resources] == [DELIVERY]
    assert found.published_at == PUBLISHED
    assert found.flags == ("unknownApiVersion",)
    assert_round_trip(found)


def test_the_envelopes_id_never_stands_in_for_an_identity() -> None:
    with pytest.raises(Malformed, match="neither idempotencyKey nor eventId"):
        parsed(document(**{"detail": {}, "detail-type": "DELIVERY_IN_TRANSIT", "id": "minted"}))


def test_the_envelopes_id_stands_for_nothing_where_the_detail_has_an_id() -> None:
    detail = {k: v for k, v in document()["detail"].items() if k != "eventId"}

    assert parsed(document(detail=detail, id="minted")).event_id == ""


def test_an_escaped_key_is_the_same_key() -> None:
    body = seed("in_transit.eventbridge").replace(b'"detail":', b'"deta\\u0069l":')

    assert parse_event(body) == parse_event(seed("in_transit.eventbridge"))


# ── What data says ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("order", "flags"),
    [
        ({"id": "order-id"}, ()),
        ({"id": "another"}, ("dataDisagreement",)),
        ({"packageInformation": {"details": [{"id": "delivery-id"}, {"id": "other"}]}}, ()),
        ({"packageInformation": {"details": [{"id": "other"}]}}, ("dataDisagreement",)),
        ({"packageInformation": {"details": [{"id": ["delivery-id"]}, {}, 3, None]}}, ()),
        ({"packageInformation": {"details": {"id": "other"}}}, ()),
        ({"packageInformation": [], "id": 7}, ()),
        (["order"], ()),
        (None, ()),
    ],
)
def test_resources_hold_against_data_and_a_flag_records_it(order: object, flags: tuple[str, ...]) -> None:
    found = parsed({**json.loads(seed("in_transit.webhook")), "data": {"order": order}})

    assert found.flags == flags
    assert (found.resource_id("order"), found.resource_id("delivery")) == ("order-id", "delivery-id")
    assert found.decoded_data() == {"order": order}


def nested(levels: int) -> bytes:
    """An object with arrays in it, this deep in all."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_nesting_has_a_limit_so_that_everybody_can_read_it_again() -> None:
    body = format_webhook(event("PACKAGE_DELIVERED", DELIVERY))
    deep, too_deep = (body.replace(b'"data":{}', b'"data":' + nested(n)) for n in (MAX_DEPTH, MAX_DEPTH + 1))
    wide = body.replace(b'"data":{}', b'"data":{"a":[' + b"[]," * 500 + b"[]]}")

    assert parse_event(deep).decoded_data()
    assert len(parse_event(wide).decoded_data()["a"]) == 501
    for broken in (too_deep, body.replace(b"{}", nested(100_000)), body[:-1] + b',"x":' + nested(101) + b"}"):
        with pytest.raises(Malformed):
            parse_event(broken)


# ── Malformed ──────────────────────────────────────────────────────────────────────────────────────────────

WEBHOOK = json.loads(seed("in_transit.webhook"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"idempotencyKey": "", "eventId": ""}, "idempotencyKey"),
        ({"idempotencyKey": 7}, "idempotencyKey"),
        ({"eventDescriptor": ""}, "eventDescriptor"),
        ({"eventDescriptor": None}, "eventDescriptor"),
        ({"resources": []}, "resources"),
        ({"resources": "businessProduct/bp-1"}, "resources"),
        ({"resources": [7]}, "resources[0]"),
        ({"resources": ["order/o-1"]}, "resources"),
        ({"resources": ["businessProduct/bp-1/order"]}, "resources"),
        ({"resources": ["businessProduct/bp-1/order/"]}, "resources"),
        ({"resources": ["businessProduct/bp-1/order/o", "businessProduct/bp-2/order/o"]}, "resources"),
        ({"eventTime": ""}, "eventTime"),
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventTime": "0001-01-01T00:00:00+14:00"}, "eventTime"),
        ({"eventTime": 1_737_376_496}, "eventTime"),
        ({"data": []}, "data"),
        ({"data": None}, "data"),
        ({"data": "{}"}, "data"),
        ({"subscriptionId": {}}, "subscriptionId"),
    ],
)
def test_each_way_to_be_malformed_names_the_field_on_either_wire(change: dict[str, Any], field: str) -> None:
    detail = {**WEBHOOK, **change}
    envelope = {"version": "0", "id": "", "detail-type": "", "time": "", "resources": [], "detail": detail}

    for value, prefix in ((detail, ""), ({**detail, "unknown": 1}, ""), (envelope, "detail.")):
        with pytest.raises(Malformed) as refused:
            parsed(value)
        assert refused.value.context["field"] in (field, prefix + field)
        assert field[:8] in refused.value.detail


def test_a_notification_of_sns_says_what_to_switch_on() -> None:
    wrapped = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:…", "Message": "{}"}
    with pytest.raises(Malformed, match="switch on raw message delivery"):
        parse_event(msgspec.json.encode(wrapped))


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"[]", b"7", b'"x"', b"{", b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"detail":[]}',
     b'{"detail":null}', b'{"detail":{}}', b"not json", b"[" * 100_000, b'{"a":' * 100_000],
)  # fmt: skip
def test_what_is_no_event_at_all(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_event(body)


@pytest.mark.parametrize("raw", [b"{]", b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"a":01}', b'{"a":1e999}'])
def test_broken_json_in_what_stays_as_it_was_sent(raw: bytes) -> None:
    body = format_webhook(event("PACKAGE_DELIVERED", DELIVERY))

    for broken in (body.replace(b"{}", raw), body[:-1] + b',"unknown":' + raw + b"}"):
        with pytest.raises(Malformed):
            parse_event(broken)


# ── Anything ───────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [*WEBHOOK, *document(), "replay-name", "unknown"]
ID = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.binary() | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda d: json.dumps(d).encode()) | JSON.map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_any_bytes_give_an_event_or_malformed(body: bytes) -> None:
    try:
        found = parse_event(body)
    except Malformed as e:
        assert "field" in e.context  # noqa: PT017 - either outcome is fine, its shape is tested
        return
    assert event_id_of(body) == found.event_id
    assert_round_trip(found)


@given(
    base=st.sampled_from(
        ["in_transit.webhook", "in_transit.eventbridge", "delivered.webhook", "delivered.eventbridge"]
    ),
    field=st.sampled_from(FIELDS),
    inside=st.booleans(),
    value=JSON,
)
def test_any_value_in_any_field_gives_an_event_or_malformed(
    base: str, field: str, inside: bool, value: object
) -> None:
    body = json.loads(seed(base))
    (body["detail"] if inside and "detail" in body else body)[field] = value
    try:
        found = parsed(body)
    except Malformed:
        return
    assert event_id_of(json.dumps(body).encode()) == found.event_id
    assert_round_trip(found)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Events of known, former and unknown types, with every form of resource and fields nobody documented."""
    bp = draw(ID)
    forms = (
        "order/{}/delivery/{}",
        "carrier/{}/tracker/{}",
        "order/o-1/carrier/{}/tracker/{}",
        "order/{}/return/{}",
        "future/{}/thing/{}",
    )
    resource = st.builds(
        lambda form, a, b: f"businessProduct/{bp}/{form.format(a, b)}", st.sampled_from(forms), ID, ID
    )
    names = st.sampled_from([name for t in CATALOGUE for name in (t.name, *t.former_names)])
    extra = st.dictionaries(ID.filter(lambda name: name not in FIELDS), JSON, max_size=2)
    body = {
        "idempotencyKey": draw(ID),
        "eventDescriptor": draw(names | ID),
        "resources": draw(st.lists(resource, min_size=1, max_size=3)),
        "eventId": draw(st.just("") | ID),
        "apiVersion": draw(st.sampled_from(["2024-11-01", "2024-01-01", "2030-01-01", ""])),
        "subscriptionId": draw(st.just("") | ID),
        "eventTime": draw(
            st.sampled_from(["2025-01-20T12:34:56Z", "2025-01-20T12:34:56.123+02:00", "2025-01-20"])
        ),
        "data": draw(st.dictionaries(ID | st.just("order"), JSON, max_size=3)),
        **draw(extra),
    }
    return parsed(body)


@given(events())
def test_generated_events_round_trip_through_both_wires(found: Event) -> None:
    assert_round_trip(found)
    assert found.type in {t.name for t in CATALOGUE} or "unknownType" in found.flags
