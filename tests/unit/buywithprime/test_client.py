"""The client against a real HTTP server: headers, documents, tokens, and every error told apart."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.unit.buywithprime.api_server import ApiServer, Fault, errors, http, serve

from milepost.buywithprime.client import BuyWithPrimeClient
from milepost.buywithprime.wire import LARGEST_ANSWER, post
from milepost.domain.errors import (
    UpstreamDenied,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamUnavailable,
)
from milepost.domain.instant import Instant

BP = "bp-1"
ORDER = {"id": "o1", "lineItems": []}


class Clock:
    def __init__(self) -> None:
        self.now = 1_737_376_496_000

    def __call__(self) -> Instant:
        return Instant(self.now)


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with serve() as server:
        server.orders["o1"] = ORDER
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(api: ApiServer, clock: Clock) -> AsyncIterator[BuyWithPrimeClient]:
    made = BuyWithPrimeClient(api.url + "/", "client-1", "s3cret", clock=clock)
    yield made
    await made.close()


async def test_the_order_query_carries_the_documented_headers_and_shape(
    api: ApiServer, client: BuyWithPrimeClient
) -> None:
    assert await client.order("o1", BP) == ORDER
    assert api.tokens == [
        {"grant_type": "client_credentials", "client_id": "client-1", "client_secret": "s3cret"}
    ]
    (request,) = api.requests
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["x-api-target-id"] == BP
    assert request.headers["x-api-version"] == "2024-11-01"
    assert request.variables == {"orderIdentifier": {"orderId": "o1"}}
    for field in ("aliases", "email", "estimatedDeliveryDate", "milestones", "payments", "price", "value"):
        assert field in request.query
    assert request.query.count("...Package") == 2


async def test_the_tracker_query_and_a_null_answer(api: ApiServer, client: BuyWithPrimeClient) -> None:
    tracker = {"packageTrackerIdentifier": {"trackingNumber": "1Z", "carrierCode": "UPS"}, "milestones": []}
    assert await client.package_tracker("UPS", "1Z", BP) is None
    api.trackers["1Z"] = tracker
    assert await client.package_tracker("UPS", "1Z", BP) == tracker
    identifier = {"trackingNumber": "1Z", "carrierCode": "UPS"}
    assert api.requests[0].variables == {"packageTrackerInput": {"packageTrackerIdentifier": identifier}}


async def test_a_configured_target_id_holds(api: ApiServer) -> None:
    client = BuyWithPrimeClient(api.url, "c", "s", "target-1")
    await client.order("o1", BP)
    assert api.requests[0].headers["x-api-target-id"] == "target-1"
    await client.close()


# ── Tokens ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_concurrent_callers_share_one_token_request(api: ApiServer, client: BuyWithPrimeClient) -> None:
    await asyncio.gather(*(client.order("o1", BP) for _ in range(20)))
    assert len(api.tokens) == 1


async def test_concurrent_callers_share_one_failure(api: ApiServer, client: BuyWithPrimeClient) -> None:
    api.token_faults.append(http(503))
    outcomes = await asyncio.gather(*(client.order("o1", BP) for _ in range(5)), return_exceptions=True)
    assert [type(o) for o in outcomes] == [UpstreamUnavailable] * 5
    assert len(api.tokens) == 1


async def test_a_token_is_refreshed_a_minute_before_it_ends(
    api: ApiServer, client: BuyWithPrimeClient, clock: Clock
) -> None:
    await client.order("o1", BP)
    clock.now += (900 - 61) * 1000
    await client.order("o1", BP)
    assert len(api.tokens) == 1
    clock.now += 1000
    await client.order("o1", BP)
    assert len(api.tokens) == 2
    assert api.requests[-1].headers["Authorization"] == "Bearer token-2"


async def test_a_living_token_is_used_on_when_its_early_refresh_fails(
    api: ApiServer, client: BuyWithPrimeClient, clock: Clock
) -> None:
    await client.order("o1", BP)
    clock.now += 899 * 1000
    api.token_faults.append(http(500))
    assert await client.order("o1", BP) == ORDER
    clock.now += 1000
    api.token_faults.append(http(500))
    with pytest.raises(UpstreamUnavailable):
        await client.order("o1", BP)


async def test_a_caller_that_gives_up_leaves_the_refresh_to_the_others(
    api: ApiServer, client: BuyWithPrimeClient
) -> None:
    first = asyncio.ensure_future(client.order("o1", BP))
    second = asyncio.ensure_future(client.order("o1", BP))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ORDER
    assert len(api.tokens) == 1


async def test_a_refused_token_is_replaced_once(api: ApiServer, client: BuyWithPrimeClient) -> None:
    await client.order("o1", BP)
    api.valid.clear()
    assert await client.order("o1", BP) == ORDER
    assert len(api.tokens) == 2
    api.faults.extend([http(401), http(401), http(401)])
    with pytest.raises(UpstreamDenied) as refused:
        await client.order("o1", BP)
    assert refused.value.context["answered"] is False
    assert len(api.tokens) == 3
    assert len(api.faults) == 1


async def test_access_denied_blames_the_token_only_when_it_is_old(
    api: ApiServer, client: BuyWithPrimeClient, clock: Clock
) -> None:
    api.faults.append(errors("AccessDeniedError", code=403))
    with pytest.raises(UpstreamDenied) as denied:
        await client.order("o1", BP)
    assert denied.value.context["answered"] is True
    assert len(api.tokens) == 1
    clock.now += 120_000
    api.faults.append(errors("AccessDeniedError"))
    assert await client.order("o1", BP) == ORDER
    assert len(api.tokens) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (http(400, '{"error": "invalid_client"}'), UpstreamDenied),
        (http(401), UpstreamDenied),
        (http(429, **{"Retry-After": "7"}), UpstreamThrottled),
        (http(500), UpstreamUnavailable),
        (http(200, "not json"), UpstreamUnavailable),
        (http(200, '{"expires_in": 900}'), UpstreamUnavailable),
    ],
)
async def test_what_the_token_endpoint_may_answer(
    api: ApiServer, client: BuyWithPrimeClient, fault: Fault, error: type[UpstreamError]
) -> None:
    api.token_faults.append(fault)
    with pytest.raises(error) as raised:
        await client.order("o1", BP)
    assert raised.value.context["answered"] is False
    assert "s3cret" not in str(raised.value)
    assert await client.order("o1", BP) == ORDER


@pytest.mark.parametrize("expires_in", [None, "900", "soon", -1, True])
async def test_a_token_without_a_readable_life_lives_the_usual_time(
    api: ApiServer, client: BuyWithPrimeClient, clock: Clock, expires_in: object
) -> None:
    api.expires_in = expires_in
    await client.order("o1", BP)
    clock.now += 800_000
    await client.order("o1", BP)
    assert len(api.tokens) == 1


# ── Errors ─────────────────────────────────────────────────────────────────────────────────────────────────


def plain(error: dict[str, object], status: int = 200) -> Fault:
    return lambda: web.json_response({"errors": [error]}, status=status)


@pytest.mark.parametrize(
    ("fault", "error", "answered"),
    [
        (errors("ThrottlingError"), UpstreamThrottled, False),
        (errors("ThrottlingException"), UpstreamThrottled, False),
        (errors("AccessDeniedError"), UpstreamDenied, True),
        (errors("InternalServerError"), UpstreamUnavailable, True),
        (errors("ResourceNotFoundError"), UpstreamNotFound, True),
        (errors("ValidationError", "InvalidTrackingNumber"), UpstreamRejected, True),
        (errors("ConflictException"), UpstreamRejected, True),
        (errors("SomethingNew", code=503), UpstreamUnavailable, True),
        (errors("SomethingNew", code=404), UpstreamNotFound, True),
        (errors("SomethingNew"), UpstreamUnavailable, True),
        (errors("InternalServerError", op=None, status=500), UpstreamUnavailable, False),
        (plain({"message": "no", "errorType": "AccessDeniedException"}), UpstreamDenied, True),
        (
            plain({"message": "no", "extensions": {"classification": "ValidationError"}}),
            UpstreamRejected,
            True,
        ),
        (plain({"message": "no"}), UpstreamUnavailable, True),
        (plain({"message": "syntax"}, 400), UpstreamRejected, True),
        (http(429, **{"Retry-After": "7"}), UpstreamThrottled, False),
        (http(503, "<html>"), UpstreamUnavailable, False),
        (http(400, "no"), UpstreamRejected, True),
        (http(302, Location="https://elsewhere.example/"), UpstreamUnavailable, False),
        (http(200, "<html>"), UpstreamUnavailable, True),
        (http(200, '{"data": {}}'), UpstreamUnavailable, True),
        (http(200, '{"data": {"order": 7}}'), UpstreamUnavailable, True),
        (http(200, "[" * 100_000), UpstreamUnavailable, True),
        (http(200, "x" * (LARGEST_ANSWER + 1)), UpstreamUnavailable, False),
    ],
)
async def test_every_failure_is_told_apart(
    api: ApiServer, client: BuyWithPrimeClient, fault: Fault, error: type[UpstreamError], answered: bool
) -> None:
    api.faults.append(fault)
    with pytest.raises(UpstreamError) as raised:
        await client.order("o1", BP)
    assert type(raised.value) is error
    assert raised.value.context["answered"] is answered
    assert client.degraded == {}


async def test_retry_after_is_passed_on(api: ApiServer, client: BuyWithPrimeClient) -> None:
    api.faults.append(http(429, **{"Retry-After": "7"}))
    api.faults.append(http(503, **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    for seconds in (7.0, 0.0):
        with pytest.raises(UpstreamError) as raised:
            await client.order("o1", BP)
        assert raised.value.context["retry_after"] == seconds


async def test_of_several_errors_throttling_comes_first(api: ApiServer, client: BuyWithPrimeClient) -> None:
    found = [{"message": m, "errorType": m} for m in ("ValidationError", "ThrottlingError")]
    api.faults.append(lambda: web.json_response({"errors": found, "data": None}))
    with pytest.raises(UpstreamThrottled):
        await client.order("o1", BP)


async def test_an_api_that_cannot_be_reached() -> None:
    async with serve() as server:
        url = server.url
    client = BuyWithPrimeClient(url, "c", "s")
    with pytest.raises(UpstreamUnavailable) as raised:
        await client.order("o1", BP)
    assert raised.value.context["answered"] is False
    await client.close()


async def test_a_request_has_a_deadline(api: ApiServer) -> None:
    api.open.clear()
    async with aiohttp.ClientSession() as session:
        body = b'{"query":"","operationName":"order","variables":{}}'
        with pytest.raises(UpstreamUnavailable, match="within"):
            await post(session, f"{api.url}/graphql", body=body, headers={}, deadline_s=0.05)


# ── A schema that changed ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault",
    [
        plain({"message": "Cannot query field 'email' on type 'Contact'."}, 400),
        plain(
            {
                "message": "Validation error (FieldUndefined@[order/payments]) : Field 'payments' in type "
                "'Order' is undefined",
                "extensions": {"classification": "ValidationError"},
            }
        ),
        errors("ValidationError", "Field 'payments' is not defined"),
    ],
)
async def test_a_field_the_schema_no_longer_has_costs_that_field_only(
    api: ApiServer, client: BuyWithPrimeClient, fault: Fault
) -> None:
    api.faults += [fault, fault]
    assert await client.order("o1", BP) == ORDER
    assert await client.order("o1", BP) == ORDER
    full, without, smaller, again = api.requests
    assert "recipients" in full.query
    assert "payments" in full.query
    assert "recipients" not in without.query
    assert "payments" in without.query
    assert "payments" not in smaller.query
    assert smaller.query == again.query
    assert list(client.degraded) == ["order"]
    assert "smaller form" in client.degraded["order"]
    api.trackers["1Z"] = {"milestones": []}
    await client.package_tracker("UPS", "1Z", BP)
    assert "message" in api.requests[-1].query


async def test_without_what_is_optional_everything_else_is_still_asked(
    api: ApiServer, client: BuyWithPrimeClient
) -> None:
    api.faults.append(plain({"message": "Cannot query field 'recipients' on type 'Order'."}, 400))
    assert await client.order("o1", BP) == ORDER
    assert await client.order("o1", BP) == ORDER
    full, without, again = api.requests
    assert without.query == again.query
    gone = set(full.query.split()) - set(without.query.split())
    assert gone >= {"recipients", "shippingAddress", "countryCode"}
    assert not gone & {"payments", "email", "createdAt", "region", "milestones"}
    assert "recipients" in client.degraded["order"]


async def test_a_field_that_is_denied_and_takes_the_order_along_is_left_out(
    api: ApiServer, client: BuyWithPrimeClient
) -> None:
    denied = {"message": "no", "path": ["order", "recipients", 0], "errorType": "AccessDeniedException"}
    api.faults.append(lambda: web.json_response({"data": {"order": None}, "errors": [denied]}))
    assert await client.order("o1", BP) == ORDER
    assert await client.order("o1", BP) == ORDER
    full, without, again = api.requests
    assert "recipients" in full.query
    assert "recipients" not in without.query
    assert without.query == again.query
    assert "AccessDenied" in client.degraded["order"]


async def test_a_query_that_is_gone_is_named(api: ApiServer, client: BuyWithPrimeClient) -> None:
    api.always = plain({"message": "Cannot query field 'packageTracker' on type 'Query'."}, 400)
    with pytest.raises(UpstreamRejected):
        await client.package_tracker("UPS", "1Z", BP)
    assert "no longer answered" in client.degraded["packageTracker"]
    api.always = None
    assert await client.order("o1", BP) == ORDER


async def test_an_answer_in_part_is_used_and_named_until_it_is_whole(
    api: ApiServer, client: BuyWithPrimeClient
) -> None:
    error = {"message": "no", "path": ["order", "payments"], "errorType": "AccessDeniedException"}
    api.faults.append(
        lambda: web.json_response({"data": {"order": {**ORDER, "payments": None}}, "errors": [error]})
    )
    assert await client.order("o1", BP) == {**ORDER, "payments": None}
    assert client.degraded == {"order": "answered in part: AccessDeniedException at order.payments"}
    assert await client.order("o1", BP) == ORDER
    assert client.degraded == {}


async def test_no_redirect_is_followed(api: ApiServer, client: BuyWithPrimeClient) -> None:
    api.faults.append(http(307, Location=f"{api.url}/graphql"))
    with pytest.raises(UpstreamUnavailable, match="redirect"):
        await client.order("o1", BP)
    assert len(api.requests) == 1
