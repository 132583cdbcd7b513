"""Posts to the merchant's own notification system: what arrives, signed, and what its answers mean."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr
from tests.unit.transports.receiver import Received, Receiver, answering

from milepost.domain.errors import Misconfigured, Unauthenticated
from milepost.domain.instant import MINUTE, Instant, parse_instant
from milepost.domain.notification import Notification
from milepost.domain.webhook_signature import Secret, verify
from milepost.pipeline.channels import Outcome
from milepost.shopper.composing import Composed
from milepost.transports.notification_webhook import NotificationWebhook

NOW = parse_instant("2025-03-03T12:00:00Z")
SECRET = "whsec_" + "QUJD" * 10
NOTIFICATION = Notification("ntf_1", "bp", "o", "d", "delivered", "", "SENDING", NOW, NOW, NOW, ())
COMPOSED = Composed("delivered", "en", "It is there", "t", "<p>t</p>", "", {"id": "ntf_1", "text": "t — é"})
ADDRESS = "ada@shopper.example"


def clock() -> Instant:
    return NOW


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


async def post(receiver: Receiver, *, deadline_s: float = 5.0) -> Outcome:
    made = NotificationWebhook(f"{receiver.url}/notify", SecretStr(SECRET), clock, deadline_s=deadline_s)
    await made.open()
    try:
        return await made.send(NOTIFICATION, COMPOSED, ADDRESS, "https://shop.example/u/1")
    finally:
        await made.close()


async def test_the_document_arrives_signed_under_the_notification_s_id(receiver: Receiver) -> None:
    assert await post(receiver) == Outcome("sent")
    assert await post(receiver) == Outcome("sent")
    for received in receiver.received:
        assert received.path == "/notify"
        assert received.headers["webhook-id"] == "ntf_1"
        assert received.headers["content-type"] == "application/json"
        assert msgspec.json.decode(received.body) == COMPOSED.document
        assert ADDRESS.encode() not in received.body
        headers = [(name.encode(), value.encode()) for name, value in received.headers.items()]
        verify(headers, received.body, NOW, [Secret.parse(SECRET)])
        with pytest.raises(Unauthenticated):
            verify(headers, received.body + b" ", NOW, [Secret.parse(SECRET)])


@pytest.mark.parametrize(
    ("status", "result", "is_out"),
    [
        (200, "sent", False),
        (204, "sent", False),
        (301, "again", False),
        (400, "again", False),
        (401, "again", False),
        (410, "refused", False),
        (429, "again", True),
        (500, "again", True),
        (503, "again", True),
    ],
)
async def test_what_an_answer_means(receiver: Receiver, status: int, result: str, is_out: bool) -> None:
    receiver.answer = answering(status)
    outcome = await post(receiver)
    assert (outcome.result, outcome.is_out) == (result, is_out)
    assert result == "sent" or str(status) in outcome.detail


async def test_it_waits_as_long_as_it_is_asked_to(receiver: Receiver) -> None:
    receiver.answer = answering(503, retry_after="120")
    assert (await post(receiver)).retry_after == NOW + 2 * MINUTE


async def test_without_an_answer_nobody_knows(receiver: Receiver) -> None:
    async def hang_up(received: Received) -> web.StreamResponse:
        transport = receiver.requests[-1].transport
        assert transport is not None
        transport.close()
        return web.Response()

    receiver.answer = hang_up
    outcome = await post(receiver)
    assert (outcome.result, outcome.is_out) == ("unknown", True)


async def test_without_a_connection_it_certainly_did_not_come() -> None:
    async with Receiver() as gone:
        pass
    outcome = await post(gone)
    assert (outcome.result, outcome.is_out) == ("again", True)


@pytest.mark.parametrize("secret", ["", "mumble", "whsec_", "whsec_mumble", "whsec_" + "mumble!" * 6])
def test_a_secret_that_is_none_is_told_without_it(secret: str) -> None:
    with pytest.raises(Misconfigured, match="MILEPOST_NOTIFICATION_WEBHOOK_SECRET") as refused:
        NotificationWebhook("https://shop.example/notify", SecretStr(secret), clock)
    assert "mumble" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "shop.example", "ftp://shop.example", "https://u:pw@shop.example/x", "https://"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Misconfigured, match="MILEPOST_NOTIFICATION_WEBHOOK_URL") as refused:
        NotificationWebhook(url, SecretStr(SECRET), clock)
    assert "pw" not in str(refused.value)
