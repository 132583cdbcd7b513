"""`POST /webhooks/buy-with-prime` over real sockets, the real server and the real store: every answer it gives."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.transports.serving import Clock, Served

from milepost.domain.errors import Misconfigured, Unauthenticated, UpstreamUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.pipeline.ingest import Ingest
from milepost.sql import open_store
from milepost.store import Arrival, Receipt, Store
from milepost.transports.oauth import Client, Tokens
from milepost.transports.webhook import Authenticator, Credential, WebhookEndpoint

BASIC = {"Authorization": "Basic " + base64.b64encode(b"amazon:pa:ss").decode()}
KNOWN = Credential.basic("amazon", "pa:ss")


def event(n: int = 1, product: str = "bp-1", **changes: Any) -> bytes:
    document = {
        "idempotencyKey": f"key-{n}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/{product}/order/o-{n}/delivery/d-{n}"],
        "eventId": f"event-{n}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "s-1",
        "eventTime": "2025-01-20T12:34:50Z",
        "data": {},
        **changes,
    }
    return json.dumps(document).encode()


class GatedStore:
    """The store, with a gate in front of `append`: what a slow disk looks like."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Semaphore(0)

    async def write(self, function: Any) -> Any:
        await self.open.wait()
        return await self.store.write(function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        self.waiting.release()
        await self.open.wait()
        return await self.store.append(arrivals)


class Hook:
    """A served endpoint and everything behind it."""

    def __init__(self, endpoint: WebhookEndpoint, served: Served, store: GatedStore) -> None:
        self.endpoint, self.served, self.store = endpoint, served, store
        self.session = aiohttp.ClientSession()

    async def post(
        self, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> tuple[int, Any, Any]:
        """(status, JSON, headers)."""
        headers = BASIC if headers is None else headers
        async with self.session.request(method, self.served.url, data=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def counts(self) -> Any:
        return await self.store.read(lambda tx: tx.journal.counts("projector"))


Start = Callable[..., Awaitable[Hook]]


@pytest.fixture
async def start(serve_app: Any, clock: Clock, tmp_path: Path) -> AsyncIterator[Start]:
    store = GatedStore(await open_store(f"sqlite:///{tmp_path}/m.db", clock=clock))
    hooks: list[Hook] = []

    async def begin(authenticator: Authenticator | None = None, **limits: float) -> Hook:
        authenticator = authenticator or Authenticator([KNOWN])
        endpoint = WebhookEndpoint(Ingest(store, clock), authenticator, clock=clock, **limits)  # type: ignore[arg-type]
        hooks.append(Hook(endpoint, await serve_app(endpoint), store))
        return hooks[-1]

    yield begin
    for hook in hooks:
        await hook.session.close()
        hook.served.stop.set()
        await hook.served.task
    await store.store.close()


def is_problem(answer: tuple[int, Any, Any], status: int, code: str) -> bool:
    got, document, headers = answer
    assert headers["Content-Type"] == "application/problem+json"
    assert list(document) == ["type", "title", "status", "detail", "code"]
    assert (got, document["status"], document["code"]) == (status, status, code)
    return True


async def test_accepted_then_duplicate(start: Start) -> None:
    hook = await start()

    assert (await hook.post(event()))[:2] == (200, {"status": "accepted", "position": 1})
    assert (await hook.post(event()))[:2] == (200, {"status": "duplicate", "position": 1})
    assert (await hook.post(event(2)))[:2] == (200, {"status": "accepted", "position": 2})
    assert (hook.endpoint.outcomes.accepted, hook.endpoint.outcomes.duplicate) == (2, 1)
    assert hook.endpoint.outcomes.in_flight == 0


async def test_an_eventbridge_document_is_the_same_event(start: Start) -> None:
    hook = await start()
    await hook.post(event())
    document = {"version": "0", "id": "x", "detail-type": "PACKAGE_DELIVERED", "detail": json.loads(event())}

    assert (await hook.post(json.dumps(document)))[1] == {"status": "duplicate", "position": 1}


async def test_malformed_is_told_why_and_kept(start: Start) -> None:
    hook = await start()
    answer = await hook.post(event(resources=["order/o-1"]))

    assert is_problem(answer, 400, "malformed_event")
    assert "does not start with businessProduct" in answer[1]["detail"]
    assert (await hook.counts()).quarantined == hook.endpoint.outcomes.malformed == 1


async def test_a_business_product_that_is_not_the_sender_s_is_forbidden_and_kept(start: Start) -> None:
    one, two = Credential.basic("one", "1", ("bp-1",)), Credential.basic("two", "2", ("bp-2", "bp-3"))
    hook = await start(Authenticator([one, two]))

    def as_(credential: Credential) -> dict[str, str]:
        return {"Authorization": credential.value.decode()}

    assert (await hook.post(event(), as_(one)))[0] == 200
    assert is_problem(await hook.post(event(2), as_(two)), 403, "unbound_business_product")
    assert (await hook.post(event(3, "bp-3"), as_(two)))[0] == 200
    assert (await hook.counts()).quarantined == hook.endpoint.outcomes.forbidden == 1


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ***",
        "Basic " + base64.b64encode(b"amazon:wrong").decode(),
        "Basic " + base64.b64encode(b"amazon").decode(),
        "Bearer " + base64.b64encode(b"amazon:pa:ss").decode(),
        "Bearer a.b.c",
        "Digest x",
    ],
)
async def test_without_a_right_credential_nothing_is_kept(start: Start, authorization: str | None) -> None:
    hook = await start()
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await hook.post(event(), headers)

    assert is_problem(answer, 401, "unauthenticated")
    assert answer[2]["WWW-Authenticate"].startswith("Basic realm=")
    assert (await hook.counts()).arrivals == 0


async def test_a_body_is_not_read_before_the_sender_is_known(start: Start) -> None:
    hook = await start()
    reader, writer = await hook.served.open()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 500\r\n\r\n")

    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 401")
    writer.close()


@pytest.mark.parametrize("spelling", ["basic %s", "BASIC  %s", "Basic %s "])
async def test_basic_in_other_spellings(start: Start, spelling: str) -> None:
    hook = await start()
    pair = base64.b64encode(b"amazon:pa:ss").decode()

    assert (await hook.post(event(), {"Authorization": spelling % pair}))[0] == 200


async def test_both_passwords_hold_during_a_rotation(start: Start) -> None:
    old, new, gone = (Credential.basic("amazon", p) for p in ("old", "new", "gone"))
    hook = await start(Authenticator([new, old]))
    statuses = [
        (await hook.post(event(n), {"Authorization": c.value.decode()}))[0]
        for n, c in enumerate((old, new, gone))
    ]

    assert statuses == [200, 200, 401]


async def test_a_bearer_token_holds_after_a_restart_and_not_after_its_time(
    start: Start, clock: Clock
) -> None:
    client = Client("amazon", ("secret",), ("bp-1",))
    token = Tokens([client], clock=clock).issue("amazon", "secret")
    hook = await start(Authenticator(tokens=Tokens([client], clock=clock)))
    headers = {"Authorization": f"Bearer {token}"}

    assert (await hook.post(event(), headers))[0] == 200
    assert (await hook.post(event(2, "bp-2"), headers))[0] == 403
    assert (await hook.post(event(3), {"Authorization": f"Bearer {token[:-2]}"}))[0] == 401
    clock.pass_(900 * SECOND)
    assert (await hook.post(event(4), headers))[0] == 401


async def test_basic_or_bearer_or_an_api_key(start: Start, clock: Clock) -> None:
    tokens = Tokens([Client("amazon", ("secret",))], clock=clock)
    key = Credential.api_key("X-Api-Key", "k" * 32, ("bp-9",))
    hook = await start(Authenticator([KNOWN, key], tokens))
    bearer = {"Authorization": "Bearer " + tokens.issue("amazon", "secret")}

    assert (await hook.post(event(1), BASIC))[0] == 200
    assert (await hook.post(event(2), bearer))[0] == 200
    assert (await hook.post(event(3, "bp-9"), {"x-api-key": "k" * 32}))[0] == 200
    assert (await hook.post(event(4), {"x-api-key": "k" * 32}))[0] == 403
    assert (await hook.post(event(5), {"x-api-key": "wrong"}))[0] == 401
    assert (await hook.post(event(6), {**BASIC, "x-api-key": "wrong"}))[0] == 200


class Signed:
    """A verifier that takes one header value, and breaks in the ways a real one might."""

    async def verify(self, headers: Any, body: bytes) -> None:
        match headers.get(b"x-amzn-signature"):
            case b"good":
                return
            case b"away":
                raise UpstreamUnavailable("no keys")
            case b"bug":
                raise ZeroDivisionError
        raise Unauthenticated("not signed")


async def test_the_signature_is_asked_for_beside_the_credential(start: Start) -> None:
    hook = await start(Authenticator([KNOWN], verifier=Signed()))

    assert (await hook.post(event(), {**BASIC, "x-amzn-signature": "good"}))[0] == 200
    assert is_problem(await hook.post(event(2)), 401, "unauthenticated")
    assert (await hook.post(event(3), {"x-amzn-signature": "good"}))[0] == 401
    assert (await hook.post(event(4), {**BASIC, "x-amzn-signature": "bug"}))[0] == 401
    away = await hook.post(event(5), {**BASIC, "x-amzn-signature": "away"})
    assert is_problem(away, 503, "upstream_unavailable")
    assert away[2]["Retry-After"]
    assert (await hook.counts()).arrivals == 1


async def test_the_signature_alone_is_enough_when_nothing_else_is_set(start: Start) -> None:
    hook = await start(Authenticator(verifier=Signed()))

    assert (await hook.post(event(), {"x-amzn-signature": "good"}))[0] == 200
    assert (await hook.post(event(2), {}))[0] == 401


async def test_a_bug_in_authentication_lets_nobody_in(start: Start) -> None:
    authenticator = Authenticator([KNOWN])
    authenticator.identify = lambda headers: 1 / 0  # type: ignore[method-assign,assignment]
    hook = await start(authenticator)

    assert is_problem(await hook.post(event()), 401, "unauthenticated")


async def test_two_keys_hold_during_a_rotation(start: Start) -> None:
    new, old = (Credential.api_key("x-api-key", key) for key in ("new-key", "old-key"))
    hook = await start(Authenticator([new, old]))
    statuses = [
        (await hook.post(event(n), {"X-Api-Key": key}))[0]
        for n, key in enumerate(("new-key", "old-key", "no-key", ""))
    ]

    assert statuses == [200, 200, 401, 401]


async def test_what_an_api_destination_sends_beside_the_event_is_taken(start: Start) -> None:
    key = Credential.api_key("x-api-key", "k" * 32)
    hook = await start(Authenticator([key]))
    head = (
        b"POST /webhooks/buy-with-prime HTTP/1.1\r\nhost: hub.example.com\r\nX-Api-Key: "
        + b"k" * 32
        + b"\r\n"
        b"User-Agent: Amazon/EventBridge/ApiDestinations\r\nRange: bytes=0-1048575\r\n"
        b"Content-Type: application/json; charset=utf-8\r\nAccept-Encoding: gzip,deflate\r\n"
        b"Connection: close\r\ncontent-length: %d\r\n\r\n"
    )
    document = {"version": "0", "id": "x", "detail-type": "PACKAGE_DELIVERED", "detail": json.loads(event())}
    body = json.dumps(document).encode()

    answer = await hook.served.raw(head % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"status":"accepted","position":1}')
    assert b"content-encoding" not in answer.lower()


async def test_a_hub_without_any_authentication_beside_a_queue_lets_nobody_in(
    start: Start, clock: Clock
) -> None:
    closed = await start(Authenticator([], Tokens([], clock=clock), closed=True))
    bearer = Tokens([Client("amazon", ("",))], clock=clock)
    for headers in ({}, BASIC, {"x-api-key": ""}, {"Authorization": ""}, {"Authorization": "Bearer a.b.c"}):
        assert is_problem(await closed.post(event(), headers), 401, "unauthenticated")
    assert not bearer
    assert (await closed.counts()).arrivals == 0
    known = await start(Authenticator([KNOWN], closed=True))
    assert (await known.post(event(), BASIC))[0] == 200
    signed = await start(Authenticator(verifier=Signed(), closed=True))
    assert (await signed.post(event(2), {"x-amzn-signature": "good"}))[0] == 200
    laptop = await start(Authenticator(insecure=True, closed=True))
    assert (await laptop.post(event(3), {}))[0] == 200


async def test_nothing_set_up_takes_insecure(start: Start, clock: Clock) -> None:
    with pytest.raises(Misconfigured, match="MILEPOST_WEBHOOK_USERNAME"):
        Authenticator([], Tokens([], clock=clock))
    hook = await start(Authenticator(insecure=True))
    assert (await hook.post(event(), {}))[0] == 200
    still = await start(Authenticator([KNOWN], insecure=True))
    assert (await still.post(event(), {}))[0] == 401


async def test_only_post(start: Start) -> None:
    hook = await start()
    for method in ("GET", "PUT", "DELETE"):
        status, document, headers = await hook.post(None, method=method)
        assert (status, headers["Allow"], document["code"]) == (405, "POST", "method_not_allowed")


async def test_a_declared_size_over_the_cap_is_refused_unread(start: Start) -> None:
    hook = await start()
    reader, writer = await hook.served.open()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n")

    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_chunked_body_over_the_cap_is_refused_while_it_comes(start: Start) -> None:
    hook = await start(max_body=100_000)

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 10_000

    assert is_problem(await hook.post(chunks(11)), 413, "too_large")
    assert is_problem(await hook.post(chunks(10)), 400, "malformed_event")
    assert is_problem(await hook.post(b" " * 100_001), 413, "too_large")
    assert hook.endpoint.outcomes.too_large == 2
    assert (await hook.post(event()))[0] == 200


async def test_a_large_event_within_the_cap_is_taken(start: Start) -> None:
    hook = await start()
    body = event(data={"note": "x" * 900_000})

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]

    assert (await hook.post(chunks()))[1] == {"status": "accepted", "position": 1}
    assert (await hook.post(body))[1] == {"status": "duplicate", "position": 1}


async def test_no_content_encoding_is_taken(start: Start) -> None:
    hook = await start()
    bomb = {**BASIC, "Content-Encoding": "gzip"}

    assert is_problem(await hook.post(b"\x1f\x8b" + b"0" * 100, bomb), 400, "invalid_request")
    assert (await hook.post(event(), {**BASIC, "Content-Encoding": "identity"}))[0] == 200


async def test_more_requests_than_allowed_at_once_are_told_to_come_back(start: Start) -> None:
    hook = await start(max_in_flight=2)
    hook.store.open.clear()
    held = [asyncio.create_task(hook.post(event(n))) for n in range(2)]
    for _ in held:
        await asyncio.wait_for(hook.store.waiting.acquire(), 60)

    answer = await hook.post(event(9))
    assert is_problem(answer, 503, "overloaded")
    assert answer[2]["Retry-After"] == "1"
    hook.store.open.set()
    assert [(await task)[0] for task in held] == [200, 200]
    assert (await hook.post(event(9)))[1]["status"] == "accepted"
    assert hook.endpoint.outcomes.in_flight == 0


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_store_that_does_not_commit_is_answered_for_and_the_retry_is_a_duplicate(
    start: Start, chunked: bool
) -> None:
    """Of a small request, which is taken whole, and of one that goes uvicorn's way."""
    hook = await start(answer_within_s=0.2)

    async def chunks() -> AsyncIterator[bytes]:
        yield event()

    hook.store.open.clear()
    answer = await asyncio.wait_for(hook.post(chunks() if chunked else event()), 60)
    assert is_problem(answer, 503, "store_unavailable")
    assert answer[2]["Retry-After"] == "1"
    assert (hook.endpoint.outcomes.unavailable, hook.endpoint.outcomes.in_flight) == (1, 1)
    hook.store.open.set()
    assert (await hook.post(event()))[1] == {"status": "duplicate", "position": 1}
    assert hook.endpoint.outcomes.in_flight == 0
    assert (hook.endpoint.outcomes.accepted, hook.endpoint.outcomes.duplicate) == (0, 1)


async def test_a_body_that_cannot_be_put_aside_in_time_is_answered_for_too(start: Start) -> None:
    hook = await start(answer_within_s=0.2)
    hook.store.open.clear()

    assert is_problem(await hook.post(b"{"), 503, "store_unavailable")
    hook.store.open.set()
    assert is_problem(await hook.post(b"["), 400, "malformed_event")
    assert (await hook.counts()).quarantined == 2
    assert (hook.endpoint.outcomes.malformed, hook.endpoint.outcomes.in_flight) == (1, 0)


async def test_a_store_that_hangs_is_not_fed_more_than_what_may_be_in_flight(start: Start) -> None:
    hook = await start(answer_within_s=0.2, max_in_flight=3)
    hook.store.open.clear()
    answers = await asyncio.gather(*(hook.post(event(n)) for n in range(3)))
    assert [answer[1]["code"] for answer in answers] == ["store_unavailable"] * 3

    assert is_problem(await hook.post(event(9)), 503, "overloaded")
    hook.store.open.set()
    async with asyncio.timeout(60):
        while hook.endpoint.outcomes.in_flight:
            await hook.counts()
    assert [(await hook.post(event(n)))[1]["status"] for n in range(3)] == ["duplicate"] * 3


async def test_a_commit_in_time_is_waited_for_however_many_are_under_way(start: Start) -> None:
    hook = await start(answer_within_s=30)
    hook.store.open.clear()
    held = [asyncio.create_task(hook.post(event(n))) for n in range(50)]
    for _ in held:
        await asyncio.wait_for(hook.store.waiting.acquire(), 60)
    hook.store.open.set()

    assert {(await task)[0] for task in held} == {200}


async def test_a_client_that_leaves_during_the_commit_stalls_nothing_and_its_event_stays(
    start: Start,
) -> None:
    hook = await start()
    hook.store.open.clear()
    body = event(1)
    leaving = []
    for _ in range(3):
        _, writer = await hook.served.open()
        authorization = BASIC["Authorization"].encode()
        writer.write(
            b"POST / HTTP/1.1\r\nhost: x\r\nauthorization: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (authorization, len(body), body)
        )
        leaving.append(writer)
        await asyncio.wait_for(hook.store.waiting.acquire(), 60)
    for writer in leaving:
        writer.transport.abort()
    staying = asyncio.create_task(hook.post(event(2)))
    await asyncio.wait_for(hook.store.waiting.acquire(), 60)
    hook.store.open.set()

    assert (await asyncio.wait_for(staying, 60))[0] == 200
    assert (await hook.post(body))[1]["status"] == "duplicate"
    counts = await hook.counts()
    assert (counts.events, counts.duplicates) == (2, 3)
    assert hook.endpoint.outcomes.in_flight == 0


async def test_a_request_cancelled_during_the_commit_stalls_nothing(start: Start) -> None:
    """What the server does to a request that outlasts the drain."""
    hook = await start()
    ingest = Ingest(hook.store.store, lambda: Instant(0))
    waiting = [asyncio.create_task(ingest.ingest(event(n))) for n in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [isinstance(r, Receipt) for r in results] == [False, True] * 10
    assert (await hook.post(event(99)))[0] == 200


async def test_a_client_that_leaves_before_its_body_is_complete(start: Start) -> None:
    hook = await start()
    reader, writer = await hook.served.open()
    writer.write(
        b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nauthorization: %b\r\ncontent-length: 900\r\n\r\n"
        % BASIC["Authorization"].encode()
    )
    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 100")
    assert hook.endpoint.outcomes.in_flight == 1
    writer.transport.abort()

    async with asyncio.timeout(60):
        while hook.endpoint.outcomes.in_flight:
            await hook.post(event())
    assert hook.endpoint.outcomes.disconnected == 1


async def test_a_full_disk_is_a_503_never_a_promise_and_ends_by_itself(start: Start) -> None:
    hook = await start()
    await hook.post(event())

    def limit(pages: int | None) -> Callable[[Any], None]:
        def set_limit(tx: Any) -> None:
            run = tx.journal._connection.exec_driver_sql
            used = run("PRAGMA page_count").scalar_one()
            run(f"PRAGMA max_page_count = {pages if pages is not None else used + 2}")

        return set_limit

    await hook.store.write(limit(None))
    statuses, n = [], 2
    while 503 not in statuses and n < 500:
        answer = await hook.post(event(n, data={"note": "x" * 5_000}))
        statuses.append(answer[0])
        n += 1
    assert is_problem(answer, 503, "store_unavailable")
    assert answer[2]["Retry-After"]
    unreadable = await hook.post(b"x" * 20_000)
    assert is_problem(unreadable, 503, "store_unavailable")
    assert (await hook.counts()).quarantined == 0

    await hook.store.write(limit(1_000_000))
    assert (await hook.post(event(n - 1, data={"note": "x" * 5_000})))[1]["status"] == "accepted"
    assert is_problem(await hook.post(b"x" * 20_000), 400, "malformed_event")
    assert (await hook.counts()).events == 1 + statuses.count(200) + 1
    assert hook.endpoint.outcomes.unavailable == 2


async def test_a_bug_behind_the_door_costs_a_retry(start: Start) -> None:
    hook = await start()

    async def broken(arrivals: Sequence[Arrival]) -> list[Receipt]:
        raise ZeroDivisionError

    hook.endpoint._ingest = Ingest(hook.store, Clock()).ingest
    hook.endpoint._ingest.__self__._append = broken  # type: ignore[attr-defined]
    answer = await hook.post(event())

    assert is_problem(answer, 500, "internal")
    assert hook.endpoint.outcomes.failed == 1
    assert hook.endpoint.outcomes.in_flight == 0


_NAMES = st.sampled_from(
    [
        "authorization",
        "content-encoding",
        "x-amzn-signature",
        "x-amzn-kid",
        "x-api-key",
        "content-type",
        "expect",
    ]
)
_VALUES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=40).map(lambda b: b"Basic " + base64.b64encode(b)),
    st.binary(max_size=40).map(lambda b: b"Bearer " + b),
    st.just(BASIC["Authorization"].encode()),
)


@pytest.fixture
async def guarded(start: Start) -> Hook:
    return await start(Authenticator([KNOWN, Credential.api_key("x-api-key", "k")], verifier=Signed()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=5))
async def test_no_header_gives_a_server_error(guarded: Hook, headers: list[tuple[str, bytes]]) -> None:
    body = event()
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    answer = await guarded.served.raw(
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n%b"
        % (lines, len(body), body)
    )

    assert answer[9:12] in (b"200", b"400", b"401", b"100")
