"""The sandbox's HTTP: documented queries with every field, documented errors, and driving the world."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.sandbox.asking import Asking, error_of

from milepost.domain.instant import DAY, MINUTE

STATE_QUERY = (
    "query($id: ID!) { order(orderIdentifier: {orderId: $id}) { id packageInformation { summary { state } "
    "details { id state reason packageTracker { packageTrackerIdentifier { trackingNumber carrierCode } } } } } }"
)


async def order_with(asking: Asking, type: str = "PACKAGE_DELIVERED", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await asking.post("/sandbox/events", {"type": type, **more})
    return answer


async def test_packages_stand_at_order_level_and_at_their_line_items(asking: Asking) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", {"packages": 3}))["orderIds"]
    order = await asking.order(order_id)
    at_order = {d["id"]: d for d in order["packageInformation"]["details"]}
    assert len(at_order) == 3
    at_items: dict[str, Any] = {}
    for item in order["lineItems"]:
        for detail in item["packageInformation"]["details"]:
            entries = detail["packageInformationDetailsFor"]["orderLineItems"]
            assert item["id"] in {e["lineItem"]["id"] for e in entries}
            at_items[detail["id"]] = detail
    assert at_items == at_order


async def test_an_order_is_found_by_its_alias(asking: Asking) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", {}))["orderIds"]
    (alias,) = (await asking.order(order_id))["aliases"]
    text = (
        "query($a: AliasInput) { order(orderIdentifier: {alias: $a}) { id } "
        'both: order(orderIdentifier: {alias: $a, orderId: "x"}) { id } '
        "neither: order(orderIdentifier: {}) { id } }"
    )
    answer = await asking.query(text, {"a": alias})
    assert answer["data"] == {"order": {"id": order_id}, "both": None, "neither": None}
    assert {e["path"][0] for e in answer["errors"]} == {"both", "neither"}
    assert {e["extensions"]["classification"]["type"] for e in answer["errors"]} == {"ValidationError"}


# ── Errors ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_order_and_tracker_are_not_found(asking: Asking) -> None:
    answer = await asking.query(STATE_QUERY, {"id": "322-NONE-NOWHERE"})
    assert error_of(answer) == {
        "type": "ResourceNotFoundError",
        "errorType": "ResourceNotFoundException",
        "errorCode": 404,
    }
    assert answer["data"] == {"order": None}
    assert answer["errors"][0]["path"] == ["order"]
    answer = await asking.query(
        "query { packageTracker(packageTrackerInput: {packageTrackerIdentifier: "
        '{trackingNumber: "1Z", carrierCode: "ups"}}) { trackingUrl } }'
    )
    assert error_of(answer)["type"] == "ResourceNotFoundError"


@pytest.mark.parametrize(
    ("number", "carrier", "code"), [(" ", "ups", "InvalidTrackingNumber"), ("1Z", "", "InvalidCarrierCode")]
)
async def test_an_empty_tracker_id_is_invalid(asking: Asking, number: str, carrier: str, code: str) -> None:
    answer = await asking.query(
        "query($n: String!, $c: String!) { packageTracker(packageTrackerInput: "
        "{packageTrackerIdentifier: {trackingNumber: $n, carrierCode: $c}}) { trackingUrl } }",
        {"n": number, "c": carrier},
    )
    assert error_of(answer)["code"] == code


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic c2FuZGJveDpzYW5kYm94"},
        {"x_api_target_id": ""},
    ],
)
async def test_without_token_or_target_access_is_denied(asking: Asking, headers: dict[str, str]) -> None:
    answer = await asking.query("{ __typename }", **headers)
    assert error_of(answer) == {
        "type": "AccessDeniedError",
        "errorType": "AccessDeniedException",
        "errorCode": 403,
    }
    assert answer["data"] is None


async def test_the_older_headers_are_read_and_an_unknown_version_is_refused(asking: Asking) -> None:
    older = {"x_api_target_id": "", "x_omni_targetid": "sandbox", "x_api_version": ""}
    assert (await asking.query("{ __typename }", **older))["data"] == {"__typename": "Query"}
    oldest = {"x_api_target_id": "", "x_omni_installationid": "sandbox", "x_api_access_key": "any"}
    assert (await asking.query("{ __typename }", **oldest))["data"] == {"__typename": "Query"}
    answer = await asking.query("{ __typename }", x_api_version="1999-01-01")
    assert error_of(answer)["type"] == "ValidationError"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (b"grant_type=client_credentials&client_id=sandbox&client_secret=wrong", 401),
        (b"grant_type=client_credentials&client_id=other&client_secret=sandbox", 401),
        (b"grant_type=client_credentials", 401),
        (b"grant_type=password&client_id=sandbox&client_secret=sandbox", 400),
        (b"\xff\xfe", 400),
        (b"&".join(b"a%d=1" % n for n in range(100)), 400),
        (b"grant_type=client_credentials&client_id=%00&client_secret=%00", 401),
    ],
)
async def test_wrong_token_requests_are_refused(asking: Asking, form: bytes, status: int) -> None:
    answer = await asking.post("/token", form, status)
    assert set(answer) == {"error", "error_description"}


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{ order", None),
        ("", None),
        ("{ orders { id } }", None),
        ("query($id: ID!) { order(orderIdentifier: {orderId: $id}) { id } }", None),
        ("query($id: ID!) { order(orderIdentifier: {orderId: $id}) { id } }", {"id": {"a": 1}}),
        ("{ order(orderIdentifier: {alias: {aliasId: 5}}) { id } }", None),
        ("{" * 3_000, None),
        ("query a { __typename } query b { __typename }", None),
    ],
)
async def test_a_wrong_query_is_a_validation_error(
    asking: Asking, text: str, variables: dict[str, Any] | None
) -> None:
    answer = await asking.query(text, variables)
    kinds = {e["extensions"]["classification"]["type"] for e in answer["errors"]}
    assert kinds == {"ValidationError"}
    assert answer["data"] is None


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "replace")))
async def test_no_bytes_make_graphql_fail(asking: Asking, body: bytes) -> None:
    if not asking.token:
        await asking.log_in()
    headers = {"authorization": f"Bearer {asking.token}", "x-api-target-id": "sandbox"}
    answer = await asking.sandbox.graph.answer(headers, body, asking.sandbox.faults.now)
    assert "errors" in answer


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/sandbox/events", {"type": "PACKAGE_TELEPORTED"}, 400),
        ("/sandbox/events", {"type": "INVENTORY_CHANGED"}, 400),
        ("/sandbox/events", {"type": "PACKAGE_DELIVERED", "orderId": "none"}, 404),
        ("/sandbox/events", {"type": "PACKAGE_DELIVERED", "deliveryId": "none"}, 404),
        ("/sandbox/events", {"type": "PACKAGE_DELIVERED", "trackingNumber": "none"}, 404),
        ("/sandbox/events", {"type": "PACKAGE_DELIVERED", "eventbridge": True}, 400),
        ("/sandbox/events", {"typ": "PACKAGE_DELIVERED"}, 400),
        ("/sandbox/events", b"[", 400),
        ("/sandbox/scenarios", {"scenario": "teleported"}, 400),
        ("/sandbox/scenarios", {"orders": 0}, 400),
        ("/sandbox/scenarios", {"packages": 4}, 400),
        ("/sandbox/packages", {"deliveryId": "d"}, 400),
        ("/sandbox/packages", {"deliveryId": "d", "state": "DELIVERED"}, 404),
        ("/sandbox/orders", {"order": {}}, 400),
        ("/sandbox/faults", {"apiDown": "yes"}, 400),
        ("/sandbox/nothing", {}, 404),
    ],
)
async def test_wrong_requests_are_problems(asking: Asking, path: str, body: Any, status: int) -> None:
    problem = await asking.post(path, body, status)
    assert problem["status"] == status
    assert problem["detail"]


# ── Driving the world ──────────────────────────────────────────────────────────────────────────────────────


async def test_trigger_includes_prerequisites_and_returns_what_is_stored(asking: Asking) -> None:
    answer = await order_with(asking)
    assert [e["eventDescriptor"] for e in answer["events"]] == [
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "PACKAGE_DELIVERY_IN_TRANSIT",
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "PACKAGE_DELIVERED",
    ]
    positions = [e["position"] for e in answer["events"]]
    records = await asking.sandbox.store.read(lambda tx: tx.journal.records(positions))
    assert [records[p].event().event_id for p in positions] == [e["eventId"] for e in answer["events"]]
    order = await asking.order(answer["orderId"])
    assert order["packageInformation"]["summary"] == {"state": "DELIVERED"}
    times = [
        m["occurredAt"] for m in order["packageInformation"]["details"][0]["packageTracker"]["milestones"]
    ]
    assert times == sorted(set(times), reverse=True)


async def test_a_second_trigger_of_the_same_state_is_a_new_event(asking: Asking) -> None:
    first = await order_with(asking)
    second = await order_with(asking, orderId=first["orderId"])
    (event,) = second["events"]
    assert event["eventDescriptor"] == "PACKAGE_DELIVERED"
    assert event["eventId"] not in {e["eventId"] for e in first["events"]}
    conflict = {"type": "PACKAGE_DELIVERY_CANCELLED", "orderId": first["orderId"]}
    assert (await asking.post("/sandbox/events", conflict, 409))["code"] == "conflict"


async def test_an_old_name_causes_the_event_it_became(asking: Asking) -> None:
    answer = await order_with(asking, "DELIVERY_CANCELLED", reason="UNDELIVERABLE")
    assert [e["eventDescriptor"] for e in answer["events"]][-2:] == [
        "PACKAGE_DELIVERY_CANCELLED",
        "REFUND_REQUESTED",
    ]


async def test_documents_with_the_examples_ids_are_taken_as_they_are(asking: Asking) -> None:
    document = {
        "id": "order-id",
        "aliases": [{"aliasId": "alias-id", "aliasType": "EXTERNAL_ID"}],
        "packageInformation": {
            "details": [
                {
                    "id": "delivery-id",
                    "state": "IN_TRANSIT",
                    "packageTracker": {
                        "packageTrackerIdentifier": {
                            "trackingNumber": "trackingNumber",
                            "carrierCode": "carrierCode",
                        },
                        "trackingUrl": "https://example.com",
                    },
                    "packageInformationDetailsFor": {
                        "orderLineItems": [{"lineItem": {"id": "line-item-id"}}]
                    },
                }
            ]
        },
    }
    await asking.post("/sandbox/orders", {"businessProductId": "business-product-id", "order": document})
    state = (await asking.query(STATE_QUERY, {"id": "order-id"}))["data"]["order"]
    assert state["packageInformation"]["details"][0]["state"] == "IN_TRANSIT"
    in_transit = await order_with(asking, "PACKAGE_DELIVERY_IN_TRANSIT", deliveryId="delivery-id")
    assert in_transit["events"][0]["resources"] == [
        "businessProduct/business-product-id/order/order-id/delivery/delivery-id"
    ]
    milestone = await order_with(
        asking,
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        carrierCode="carrierCode",
        trackingNumber="trackingNumber",
        milestone="OUT_FOR_DELIVERY",
    )
    assert milestone["events"][0]["resources"] == [
        "businessProduct/business-product-id/carrier/carrierCode/tracker/trackingNumber"
    ]
    tracker = await asking.tracker("carriercode", "trackingNumber")
    assert tracker["latestMilestone"]["status"]["code"] == "OUT_FOR_DELIVERY"


async def test_a_target_reads_its_own_business_product_only(asking: Asking) -> None:
    made = await asking.post("/sandbox/scenarios", {"businessProductId": "bp-other"})
    (order_id,) = made["orderIds"]
    asking.target = "bp-other"
    assert (await asking.query(STATE_QUERY, {"id": order_id}))["data"]["order"]["id"] == order_id
    asking.target = "bp-mine"
    assert error_of(await asking.query(STATE_QUERY, {"id": order_id}))["type"] == "ResourceNotFoundError"


async def test_packages_are_moved_by_hand(asking: Asking) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", {"packages": 1}))["orderIds"]
    listed = (await asking.get("/sandbox/orders"))["items"]
    (delivery_id,) = next(o for o in listed if o["orderId"] == order_id)["deliveryIds"]
    move = {"deliveryId": delivery_id}
    assert (await asking.post("/sandbox/packages", {**move, "state": "DELIVERED"}, 409))["code"] == "conflict"
    await asking.post("/sandbox/packages", {**move, "milestone": "INFO_RECEIVED"})
    moved = await asking.post("/sandbox/packages", {**move, "state": "IN_TRANSIT"})
    assert [e["eventDescriptor"] for e in moved["events"]] == ["PACKAGE_DELIVERY_IN_TRANSIT"]
    # What was planned no longer fits where it was overtaken, and hurts nothing.
    await asking.step(10 * DAY)
    order = await asking.order(order_id)
    assert order["packageInformation"]["summary"]["state"] in ("DELIVERED", "CANCELLED")


async def test_faults(asking: Asking) -> None:
    order_id = (await order_with(asking, "PACKAGE_DELIVERY_IN_TRANSIT"))["orderId"]
    await asking.post("/sandbox/faults", {"throttling": True})
    assert error_of(await asking.query(STATE_QUERY, {"id": order_id}))["type"] == "ThrottlingError"
    assert (await asking.post("/sandbox/faults", {"throttling": False, "trackerNullSeconds": 60}))[
        "trackerNullSeconds"
    ] == 60
    state = (await asking.query(STATE_QUERY, {"id": order_id}))["data"]["order"]
    assert state["packageInformation"]["details"][0]["packageTracker"] is None
    await asking.step(MINUTE)
    state = (await asking.query(STATE_QUERY, {"id": order_id}))["data"]["order"]
    identifier = state["packageInformation"]["details"][0]["packageTracker"]["packageTrackerIdentifier"]
    await asking.post("/sandbox/faults", {"orderBehindSeconds": 60})
    await order_with(asking, orderId=order_id)
    state = (await asking.query(STATE_QUERY, {"id": order_id}))["data"]["order"]
    assert state["packageInformation"]["summary"]["state"] == "IN_TRANSIT"
    await asking.step(MINUTE)
    state = (await asking.query(STATE_QUERY, {"id": order_id}))["data"]["order"]
    assert state["packageInformation"]["summary"]["state"] == "DELIVERED"
    assert await asking.tracker(identifier["carrierCode"], identifier["trackingNumber"])
    await asking.post("/sandbox/faults", {"apiDown": True})
    await asking.post("/token", b"", 503)
    await asking.post("/graphql", {"query": "{ __typename }"}, 503)
    await asking.get("/healthz")
