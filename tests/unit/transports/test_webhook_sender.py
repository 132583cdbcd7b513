"""Sending by HTTP: authentication forms, deadlines, caps, redirects, and the table of refused addresses."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.public_keys import checker_of
from tests.unit.transports.receiver import Received, Receiver, accept, answering

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.webhook_settings import FormerSecret
from milepost.domain.webhook_signature import Secret, verify
from milepost.pipeline.publisher import Outcome, Parcel
from milepost.pipeline.sending import EXCERPT
from milepost.pipeline.signing_keys import new_private_key, public_key_of
from milepost.transports.webhook_sender import (
    AuthConfig,
    BasicAuthConfig,
    ClientParameters,
    HttpParameters,
    OAuthConfig,
    Pair,
    StandardSignature,
    StandardWebhooks,
    WebhookSender,
    WebhookSettings,
)

NOW = parse_instant("2025-01-20T12:00:00Z")
MESSAGE = Message("m", "d", 1, "pending", 0, NOW)
BODY = (
    b'{"idempotencyKey":"k","eventDescriptor":"PACKAGE_DELIVERED","resources":'
    b'["businessProduct/bp/order/o/delivery/d"],"eventId":"e","apiVersion":"2024-11-01",'
    b'"subscriptionId":"s","eventTime":"2025-01-20T12:34:56Z","data":{}}'
)


class Monotonic:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
async def sender(monotonic: Monotonic) -> AsyncIterator[WebhookSender]:
    made = WebhookSender(lambda: NOW, allow=("127.0.0.0/8",), deadline_s=5.0, monotonic=monotonic)
    async with made:
        yield made


async def one(sender: WebhookSender, destination: Destination) -> Outcome:
    (outcome,) = await sender.send(destination, [Parcel(MESSAGE, BODY)])
    return outcome


async def send(sender: WebhookSender, settings: WebhookSettings | dict[str, Any]) -> Outcome:
    destination = Destination("d", "webhook", msgspec.json.encode(settings))
    return await one(sender, destination)


class TokenServer:
    """A receiver with a token endpoint: `/token` counts, everything else wants the newest token."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.forms: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.lifetime: float | str = 900
        self.valid: set[str] = set()
        receiver.answer = self.answer

    @property
    def config(self) -> OAuthConfig:
        parameters = HttpParameters(
            (Pair("scope", "events"),), (Pair("content-type", "application/x-www-form-urlencoded"),)
        )
        return OAuthConfig(
            ClientParameters("id", "s%c ret&"), f"{self.receiver.url}/token", http_parameters=parameters
        )

    async def answer(self, received: Received) -> web.StreamResponse:
        if received.path != "/token":
            token = received.headers.get("authorization", "").removeprefix("Bearer ")
            return web.Response(status=200 if token in self.valid else 401)
        self.forms.append(parse_qs(received.body.decode()))
        self.headers.append(received.headers)
        token = f"token-{len(self.forms)}"
        self.valid = {token}
        return web.json_response({"access_token": token, "expires_in": self.lifetime})


async def test_no_authentication_sends_the_body_as_it_is(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        outcome = await send(sender, {"url": f"{receiver.url}/hook?x=1", "method": "POST", "auth": {}})
        assert outcome.status == 200
        (received,) = receiver.received
        assert received.body == BODY
        assert received.headers["content-type"] == "application/json"
        assert "authorization" not in received.headers


async def test_basic(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        auth = AuthConfig(basic=BasicAuthConfig("user", "pä:ss"))
        await send(sender, WebhookSettings(receiver.url, auth=auth))
        expected = b64encode("user:pä:ss".encode()).decode()
        assert receiver.received[0].headers["authorization"] == f"Basic {expected}"


async def test_oauth_fetches_one_token_for_all_who_wait(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        server = TokenServer(receiver)
        settings = WebhookSettings(receiver.url, auth=AuthConfig(oauth=server.config))
        outcomes = await asyncio.gather(*(send(sender, settings) for _ in range(20)))
        assert {o.status for o in outcomes} == {200}
        assert server.forms == [
            {
                "grant_type": ["client_credentials"],
                "client_id": ["id"],
                "client_secret": ["s%c ret&"],
                "scope": ["events"],
            }
        ]
        assert server.headers[0]["content-type"] == "application/x-www-form-urlencoded"


async def test_an_expired_token_is_fetched_anew_before_it_is_used(
    sender: WebhookSender, monotonic: Monotonic
) -> None:
    async with Receiver() as receiver:
        server = TokenServer(receiver)
        settings = WebhookSettings(receiver.url, auth=AuthConfig(oauth=server.config))
        await send(sender, settings)
        monotonic.now += 880
        await send(sender, settings)
        assert len(server.forms) == 1
        monotonic.now += 15
        assert (await send(sender, settings)).status == 200
        assert len(server.forms) == 2
        assert sum(r.path != "/token" for r in receiver.received) == 3


async def test_a_refused_token_is_fetched_anew_once(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        server = TokenServer(receiver)
        settings = WebhookSettings(receiver.url, auth=AuthConfig(oauth=server.config))
        await send(sender, settings)
        server.valid = set()
        outcomes = await asyncio.gather(*(send(sender, settings) for _ in range(5)))
        assert {o.status for o in outcomes} == {200}
        assert len(server.forms) == 2

        async def refuse(received: Received) -> web.StreamResponse:
            return await server.answer(received) if received.path == "/token" else web.Response(status=401)

        receiver.answer = refuse
        receiver.received.clear()
        outcome = await send(sender, settings)
        assert (outcome.status, outcome.error) == (401, "answered 401")
        assert [r.path for r in receiver.received] == ["/", "/token", "/"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (302, b"{}"),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"access_token": 5}'),
        (200, b'{"access_token": "a\\r\\nX-Evil: 1", "expires_in": 900}'),
    ],
)
async def test_no_token_is_a_failure_that_never_reached_the_webhook(
    sender: WebhookSender, answer: tuple[int, bytes]
) -> None:
    async def wrong(received: Received) -> web.StreamResponse:
        return web.Response(status=answer[0], body=answer[1])

    async with Receiver(wrong) as receiver:
        config = OAuthConfig(ClientParameters("id", "secret-canary"), f"{receiver.url}/token")
        outcome = await send(sender, WebhookSettings(receiver.url, auth=AuthConfig(oauth=config)))
        assert outcome.status is None
        assert not outcome.reached
        assert "secret-canary" not in outcome.error
        assert [r.path for r in receiver.received] == ["/token"]


SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"whsec_{b64encode(b'x' * 32).decode()}")


async def test_standard_webhooks_signs_every_attempt_with_every_secret(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        signature = StandardSignature(StandardWebhooks(SECRETS))
        destination = Destination(
            "d.1", "webhook", msgspec.json.encode(WebhookSettings(receiver.url, signature=signature))
        )
        parcel = Parcel(replace(MESSAGE, id="1-d.1"), BODY)
        for _ in range(2):
            (outcome,) = await sender.send(destination, [parcel])
            assert outcome.status == 200
        assert {r.headers["webhook-id"] for r in receiver.received} == {"1-d%2E1"}
        for received in receiver.received:
            headers = [(k.encode(), v.encode()) for k, v in received.headers.items()]
            for secret in SECRETS:
                verify(headers, received.body, NOW, [Secret.parse(secret)])
            assert len(received.headers["webhook-signature"].split()) == 2


async def test_a_former_secret_signs_along_until_its_time(monotonic: Monotonic) -> None:
    now = NOW
    async with (
        WebhookSender(lambda: now, allow=("127.0.0.0/8",), monotonic=monotonic) as sender,
        Receiver() as receiver,
    ):
        former = FormerSecret(SECRETS[0], Instant(NOW + 1_000))
        signature = StandardSignature(StandardWebhooks(SECRETS[1:], (former,)))
        settings = WebhookSettings(receiver.url, signature=signature)
        for now, entries in ((NOW, 2), (Instant(NOW + 999), 2), (Instant(NOW + 1_000), 1)):
            await send(sender, settings)
            headers = receiver.received[-1].headers
            assert len(headers["webhook-signature"].split()) == entries
            pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
            verify(pairs, BODY, now, [Secret.parse(SECRETS[1])])


async def test_an_ed25519_key_signs_beside_a_secret(sender: WebhookSender) -> None:
    private = new_private_key()
    async with Receiver() as receiver:
        signature = StandardSignature(
            StandardWebhooks((private,), (FormerSecret(SECRETS[0], Instant(NOW + 1)),))
        )
        await send(sender, WebhookSettings(receiver.url, signature=signature))
        headers = receiver.received[-1].headers
        versions = [entry.split(",")[0] for entry in headers["webhook-signature"].split()]
        assert sorted(versions) == ["v1", "v1a"]
        pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
        verify(pairs, BODY, NOW, [], [checker_of(public_key_of(private))])
        verify(pairs, BODY, NOW, [Secret.parse(SECRETS[0])])


@pytest.mark.parametrize("secrets", [[], ["whsec_AA=="], ["canary"], ["whsk_AAAA"]])
async def test_a_secret_that_cannot_sign_sends_nothing(sender: WebhookSender, secrets: list[str]) -> None:
    async with Receiver() as receiver:
        settings = {"url": receiver.url, "signature": {"standardWebhooks": {"secrets": secrets}}}
        outcome = await send(sender, settings)
        assert (outcome.status, outcome.reached) == (None, False)
        assert "canary" not in outcome.error
        assert not receiver.received


async def test_the_beginning_of_the_answer_is_kept(sender: WebhookSender) -> None:
    async def talk(received: Received) -> web.StreamResponse:
        return web.Response(status=500, text="é" * 5_000)

    async with Receiver(talk) as receiver:
        outcome = await send(sender, WebhookSettings(f"{receiver.url}/hook"))
        assert outcome.response == "é" * 512
        assert outcome.target == f"{receiver.url}/hook"


@pytest.mark.parametrize("before", [0, EXCERPT - 10])
async def test_credentials_that_an_answer_repeats_are_not_kept(sender: WebhookSender, before: int) -> None:
    """As receivers that answer an error with the request's headers do."""

    async def echo(received: Received) -> web.StreamResponse:
        if received.path == "/token":
            return web.json_response({"access_token": "tok/en+1", "expires_in": 900})
        text = " ".join(received.headers.get(name, "") for name in ("authorization", "x-api-key"))
        return web.Response(status=401, text="." * before + text)

    async with Receiver(echo) as receiver:
        oauth = OAuthConfig(ClientParameters("id", "secret"), f"{receiver.url}/token")
        basic = AuthConfig(basic=BasicAuthConfig("user", "pa ss"))
        url, key = f"{receiver.url}/hook", (Pair("X-Api-Key", "key with spaces"),)
        for auth in (basic, AuthConfig(oauth=oauth), AuthConfig()):
            outcome = await send(sender, WebhookSettings(url, auth=auth, headers=key))
            assert outcome.response.strip(".")[:4] in ("Basi", "Bear", " [hi")
            for secret in (b64encode(b"user:pa ss").decode(), "tok/en+1", "key with spaces"):
                assert secret[:8] not in outcome.response
            assert len(outcome.response) <= EXCERPT


async def test_an_answer_that_never_ends_is_still_an_answer(monotonic: Monotonic) -> None:
    """One byte and then nothing: the status came, so the receiver has it; the deadline ends the rest."""
    never = asyncio.Event()

    async def drip(received: Received) -> web.StreamResponse:
        response = web.StreamResponse()
        request = receiver.requests[-1]
        await response.prepare(request)
        await response.write(b"x")
        await never.wait()
        return response

    async with (
        WebhookSender(lambda: NOW, allow=("127.0.0.1",), deadline_s=0.3, monotonic=monotonic) as sender,
        Receiver(drip) as receiver,
    ):
        outcome = await send(sender, WebhookSettings(receiver.url))
        assert (outcome.status, outcome.error, outcome.response) == (200, "", "x")
        never.set()


async def test_a_name_that_does_not_resolve_was_never_reached(sender: WebhookSender) -> None:
    outcome = await send(sender, WebhookSettings("http://no-such-name.invalid/"))
    assert (outcome.status, outcome.reached) == (None, False)
    assert outcome.error


@pytest.mark.parametrize(
    "endpoint",
    ["http://token.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "no", "http://a:b@127.0.0.1/", ""],
)
async def test_a_token_is_fetched_by_https_or_on_loopback_only(sender: WebhookSender, endpoint: str) -> None:
    async with Receiver() as receiver:
        config = OAuthConfig(ClientParameters("id", "secret-canary"), endpoint)
        outcome = await send(sender, WebhookSettings(receiver.url, auth=AuthConfig(oauth=config)))
        assert (outcome.status, outcome.reached) == (None, False)
        assert "token endpoint" in outcome.error
        assert not receiver.received


async def test_rotated_credentials_are_used_from_the_next_message_on(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        server = TokenServer(receiver)
        old = server.config
        new = OAuthConfig(ClientParameters("id", "new"), old.auth_endpoint)
        assert (await send(sender, WebhookSettings(receiver.url, auth=AuthConfig(oauth=old)))).status == 200
        assert (await send(sender, WebhookSettings(receiver.url, auth=AuthConfig(oauth=new)))).status == 200
        assert [form["client_secret"] for form in server.forms] == [["s%c ret&"], ["new"]]


@pytest.mark.parametrize("lifetime", [10**400, 1e300, -1, "soon"], ids=["huge", "large", "over", "no number"])
async def test_any_lifetime_of_a_token_is_borne(sender: WebhookSender, lifetime: float) -> None:
    async with Receiver() as receiver:
        server = TokenServer(receiver)
        server.lifetime = lifetime
        settings = WebhookSettings(receiver.url, auth=AuthConfig(oauth=server.config))
        assert (await send(sender, settings)).status == 200


async def test_a_redirect_is_not_followed(sender: WebhookSender) -> None:
    async with Receiver() as target, Receiver(answering(302, location=target.url)) as receiver:
        assert (await send(sender, WebhookSettings(receiver.url))).status == 302
        assert not target.received


async def test_a_silent_receiver_is_an_unknown_outcome(monotonic: Monotonic) -> None:
    never = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await never.wait()
        return await accept(received)

    async with (
        WebhookSender(lambda: NOW, allow=("127.0.0.1",), deadline_s=0.2, monotonic=monotonic) as sender,
        Receiver(hang) as receiver,
    ):
        outcome = await send(sender, WebhookSettings(receiver.url))
        assert (outcome.status, outcome.reached) == (None, True)
        assert "0.2 s" in outcome.error
        never.set()


async def test_an_endless_answer_is_read_up_to_the_cap(monotonic: Monotonic) -> None:
    written = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                written += 65_536
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        WebhookSender(
            lambda: NOW, allow=("127.0.0.1",), deadline_s=5.0, response_cap=1_000, monotonic=monotonic
        ) as sender,
    ):
        outcome = await send(sender, WebhookSettings(f"http://127.0.0.1:{port}/"))
        # The status is an answer, whatever follows it; the rest was not read.
        assert outcome.status == 200
    assert written < 64 * 1024 * 1024


async def test_nobody_there_never_reached(sender: WebhookSender) -> None:
    async with Receiver() as receiver:
        url = receiver.url
    outcome = await send(sender, WebhookSettings(url))
    assert (outcome.status, outcome.reached) == (None, False)


@pytest.mark.parametrize(
    "settings",
    [b"{", b"{}", b'{"url": 5}', b'{"url": "ftp://127.0.0.1/"}', b'{"url": "http://"}', b'{"url": "no"}'],
)
async def test_settings_that_cannot_be_used_are_a_failure(sender: WebhookSender, settings: bytes) -> None:
    outcome = await one(sender, Destination("d", "webhook", settings))
    assert (outcome.status, outcome.reached) == (None, False)
    assert outcome.error


async def test_retry_after_is_read(sender: WebhookSender) -> None:
    async with Receiver(answering(503, retry_after="Mon, 20 Jan 2025 12:01:00 GMT")) as receiver:
        outcome = await send(sender, WebhookSettings(receiver.url))
        assert outcome.retry_after == Instant(60_000)
