"""The fake of API destinations does what AWS documents, to a server whose answers a test writes."""

import asyncio
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from tests.api_destination import HEADERS, ApiDestinations, Delivery, api_key, basic, oauth
from tests.partner_bus import ACCOUNT, PartnerBus
from tests.unit.transports.serving import Clock

from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND

SOURCE = "aws.partner/buywithprime/events"
EVERY = 0.5
"""What the fake's random says: pauses of three quarters."""


class Receiver:
    """Answers what it was told to, then 200; `requests` has the headers and the body of each."""

    def __init__(self) -> None:
        self.answers: deque[int | tuple[int, dict[str, str]]] = deque()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.tokens = 0
        self.forms: list[tuple[str, str | None, bytes]] = []
        self.held = asyncio.Event()
        self.held.set()

    async def event(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        await self.held.wait()
        answer = self.answers.popleft() if self.answers else 200
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers, text="said so")

    async def token(self, request: web.Request) -> web.Response:
        self.forms.append((request.content_type, request.headers.get("Authorization"), await request.read()))
        self.tokens += 1
        given = {"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": 900}
        return web.json_response(given)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.add_routes([web.post("/hook", made.event), web.post("/token", made.token)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"  # type: ignore[attr-defined]
    yield made
    made.held.set()
    await runner.cleanup()


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        made.client("events").create_partner_event_source(Name=SOURCE, Account=ACCOUNT)
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def destinations(bus: PartnerBus, clock: Clock) -> ApiDestinations:
    return ApiDestinations(bus, clock, lambda: EVERY)


def put(bus: PartnerBus, count: int = 1) -> None:
    entries = [
        {"Source": SOURCE, "DetailType": "PACKAGE_DELIVERED", "Detail": json.dumps({"n": n})}
        for n in range(count)
    ]
    assert bus.client("events").put_partner_events(Entries=entries)["FailedEntryCount"] == 0


async def to_the_end(destinations: ApiDestinations, clock: Clock) -> None:
    """Every attempt that there will be."""
    while (due := destinations.next_due) is not None:
        clock.pass_(max(0, due - clock()))
        await destinations.deliver_due()


def only(destinations: ApiDestinations) -> Delivery:
    (delivery,) = destinations.deliveries
    return delivery


async def test_an_event_goes_out_once_with_aws_s_headers(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any
) -> None:
    destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    put(bus)
    assert await destinations.deliver_due() == 1
    assert await destinations.deliver_due() == 0
    ((headers, body),) = receiver.requests
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["X-Api-Key"] == "key"
    assert json.loads(body) == only(destinations).document
    assert json.loads(body)["detail"] == {"n": 0}
    assert (only(destinations).ended, only(destinations).statuses) == ("taken", [200])


async def test_basic_is_sent_as_basic(bus: PartnerBus, destinations: ApiDestinations, receiver: Any) -> None:
    destinations.set_up(SOURCE, f"{receiver.url}/hook", basic("user", "pa:ss"))
    put(bus)
    await destinations.deliver_due()
    assert receiver.requests[0][0]["Authorization"] == "Basic dXNlcjpwYTpzcw=="


@pytest.mark.parametrize("status", [401, 407, 409, 429, 500, 502, 503, 504])
async def test_what_aws_tries_again_is_tried_again_after_a_growing_pause(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any, clock: Clock, status: int
) -> None:
    destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    receiver.answers.extend([status] * 3)
    put(bus)
    await to_the_end(destinations, clock)
    delivery = only(destinations)
    assert (delivery.ended, delivery.statuses) == ("taken", [status] * 3 + [200])
    at = [attempt.at - delivery.since for attempt in delivery.attempts]
    assert at == [0, 750, 750 + 1_500, 750 + 1_500 + 3_000]


@pytest.mark.parametrize("status", [300, 302, 400, 403, 404, 410, 413, 422])
async def test_anything_else_goes_to_the_dead_letters_at_once(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any, clock: Clock, status: int
) -> None:
    _, queue = destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    receiver.answers.append(status)
    put(bus)
    await to_the_end(destinations, clock)
    delivery = only(destinations)
    assert (delivery.ended, delivery.statuses) == ("dead-lettered", [status])
    ((document, attributes),) = destinations.dead_letters(queue)
    assert document == delivery.document
    assert attributes == {
        "RULE_ARN": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{SOURCE}/events",
        "TARGET_ARN": delivery.target["Arn"],
        "ERROR_CODE": "ERROR_FROM_TARGET",
        "ERROR_MESSAGE": f"The target answered with status {status}.",
        "RETRY_ATTEMPTS": "0",
    }


async def test_after_185_retries_or_a_day_it_is_over(bus: PartnerBus, clock: Clock, receiver: Any) -> None:
    seed = random.randrange(1_000)
    print(f"seed {seed}")
    destinations = ApiDestinations(bus, clock, random.Random(seed).random)
    _, queue = destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    receiver.answers.extend([503] * 1_000)
    put(bus)
    await to_the_end(destinations, clock)
    delivery = only(destinations)
    ((_, attributes),) = destinations.dead_letters(queue)
    assert attributes["EXHAUSTED_RETRY_CONDITION"] in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    assert attributes["RETRY_ATTEMPTS"] == str(len(delivery.attempts) - 1)
    assert len(delivery.attempts) <= 186
    assert 20 * HOUR < delivery.attempts[-1].at - delivery.since <= DAY


@pytest.mark.parametrize(
    ("policy", "tries", "condition"),
    [
        ({"MaximumRetryAttempts": 0}, 1, "MaximumRetryAttempts"),
        ({"MaximumRetryAttempts": 2}, 3, "MaximumRetryAttempts"),
        ({"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 185}, 7, "MaximumEventAgeInSeconds"),
    ],
)
async def test_a_target_s_own_policy_holds(
    bus: PartnerBus,
    destinations: ApiDestinations,
    receiver: Any,
    clock: Clock,
    policy: dict[str, int],
    tries: int,
    condition: str,
) -> None:
    _, queue = destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "k"), **policy)
    receiver.answers.extend([503] * 100)
    put(bus)
    await to_the_end(destinations, clock)
    ((_, attributes),) = destinations.dead_letters(queue)
    assert len(receiver.requests) == tries
    assert attributes["RETRY_ATTEMPTS"] == str(tries - 1)
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == condition


async def test_retry_after_is_waited_for_when_it_is_later_and_a_negative_one_ends_it(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any, clock: Clock
) -> None:
    destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    receiver.answers.extend([(503, {"Retry-After": "60"}), (429, {"Retry-After": "0"})])
    receiver.answers.append((503, {"Retry-After": "-1"}))
    put(bus)
    await to_the_end(destinations, clock)
    delivery = only(destinations)
    assert [attempt.at - delivery.since for attempt in delivery.attempts] == [0, MINUTE, MINUTE + 1_500]
    assert delivery.ended == "dead-lettered"


async def test_an_answer_that_does_not_come_in_time_and_a_closed_port_are_tried_again(
    bus: PartnerBus, receiver: Any, clock: Clock
) -> None:
    destinations = ApiDestinations(bus, clock, lambda: EVERY, timeout_s=0.2)
    name, queue = destinations.set_up(
        SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"), MaximumRetryAttempts=2
    )
    receiver.held.clear()
    put(bus)
    await destinations.deliver_due()
    events = bus.client("events")
    events.update_api_destination(Name=name, InvocationEndpoint="http://127.0.0.1:9/hook")
    await to_the_end(destinations, clock)
    delivery = only(destinations)
    assert delivery.statuses == [None, None, None]
    assert delivery.attempts[0].error.startswith("TimeoutError")
    ((_, attributes),) = destinations.dead_letters(queue)
    assert attributes["ERROR_CODE"] == "CONNECTION_FAILURE"


@pytest.mark.parametrize("form", ["form", "json", "basic"])
async def test_a_token_is_kept_until_near_its_expiry_or_a_refusal(
    bus: PartnerBus, receiver: Any, clock: Clock, form: Any
) -> None:
    destinations = ApiDestinations(bus, clock, lambda: EVERY, token_request=form)
    auth = oauth(f"{receiver.url}/token", "client", "secret", grant_type="client_credentials")
    destinations.set_up(SOURCE, f"{receiver.url}/hook", auth)
    for passed in (0, 839 * SECOND, SECOND):
        clock.pass_(passed)
        put(bus, 3)
        await destinations.deliver_due()
    receiver.answers.append(401)
    put(bus)
    await to_the_end(destinations, clock)
    used = [headers["Authorization"] for headers, _ in receiver.requests]
    assert used == ["Bearer token-1"] * 6 + ["Bearer token-2"] * 4 + ["Bearer token-3"]
    content_type, authorization, body = receiver.forms[0]
    assert content_type == {"json": "application/json"}.get(form, "application/x-www-form-urlencoded")
    assert (authorization is not None) == (form == "basic") == (b"secret" not in body)
    assert b"client_credentials" in body


async def test_no_more_go_out_in_a_second_than_the_destination_allows(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any, clock: Clock
) -> None:
    destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"), rate=5)
    put(bus, 12)
    sent = []
    for _ in range(4):
        sent.append(await destinations.deliver_due())
        clock.pass_(SECOND)
    assert sent == [5, 5, 2, 0]


async def test_without_a_dead_letter_queue_an_event_is_dropped(
    bus: PartnerBus, destinations: ApiDestinations, receiver: Any
) -> None:
    name, _ = destinations.set_up(SOURCE, f"{receiver.url}/hook", api_key("X-Api-Key", "key"))
    events = bus.client("events")
    (target,) = events.list_targets_by_rule(Rule=name, EventBusName=SOURCE)["Targets"]
    del target["DeadLetterConfig"]
    events.put_targets(Rule=name, EventBusName=SOURCE, Targets=[target])
    receiver.answers.append(400)
    put(bus)
    await destinations.deliver_due()
    assert only(destinations).ended == "dropped"
