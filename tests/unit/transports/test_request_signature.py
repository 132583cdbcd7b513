"""Amazon's way of signing, checked by the verifier of the other side over a JWKS from a real server."""

import json
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.transports.receiver import Received, Receiver
from tests.unit.transports.serving import Clock

from milepost.domain.attempt import Destination, Message
from milepost.domain.errors import Misconfigured, Unauthenticated
from milepost.domain.instant import SECOND, Instant
from milepost.pipeline.sending import Outcome, Parcel
from milepost.transports.egress import LOOPBACK
from milepost.transports.request_signature import AmazonSigner
from milepost.transports.signature import SignatureVerifier, parse_jwks
from milepost.transports.webhook_sender import WebhookSender, WebhookSettings

BODY = b'{"eventDescriptor":"PACKAGE_DELIVERED"}'
NOW = Instant(1_737_376_496_000)


class Keys:
    """Serves a signer's JWKS, and keeps what is posted anywhere else."""

    def __init__(self, signer: AmazonSigner) -> None:
        self.signer = signer
        self.posted: list[Received] = []

    async def __call__(self, received: Received) -> web.StreamResponse:
        if received.path == "/jwks.json":
            return web.json_response(self.signer.jwks())
        self.posted.append(received)
        return web.Response()


def lowered(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {k.encode(): v.encode() for k, v in headers.items()}


async def test_what_it_signs_the_verifier_accepts() -> None:
    signer = AmazonSigner()
    async with Receiver(Keys(signer)) as receiver:
        verifier = SignatureVerifier(f"{receiver.url}/jwks.json", clock=Clock())
        await verifier.verify(lowered(signer.sign(BODY)), BODY)
        with pytest.raises(Unauthenticated):
            await verifier.verify(lowered(signer.sign(BODY)), BODY + b" ")


async def test_a_rotation_is_known_before_it_happens() -> None:
    """The next key is in the JWKS already: a receiver that fetched once needs no second fetch."""
    signer = AmazonSigner()
    async with Receiver(Keys(signer)) as receiver:
        clock = Clock()
        verifier = SignatureVerifier(f"{receiver.url}/jwks.json", clock=clock)
        under_way = signer.sign(BODY)
        await verifier.verify(lowered(under_way), BODY)
        before = signer.key_id
        assert signer.rotate() == signer.key_id != before
        await verifier.verify(lowered(signer.sign(BODY)), BODY)
        await verifier.verify(lowered(under_way), BODY)
        assert len(receiver.received) == 1
        # The one after that is fetched when it is met, with those that signed before beside it.
        signer.rotate()
        clock.pass_(30 * SECOND)
        for headers in (signer.sign(BODY), under_way):
            await verifier.verify(lowered(headers), BODY)
        assert len(receiver.received) == 2


def test_the_jwks_has_every_public_key_and_nothing_private() -> None:
    signer = AmazonSigner()
    first = signer.key_id
    signer.rotate()
    document = signer.jwks()
    assert len(document["keys"]) == len(parse_jwks(json.dumps(document).encode())) == 3
    assert {k["alg"] for k in document["keys"]} == {"ES384"}
    assert not [k for k in document["keys"] if "d" in k]
    assert first in {k["kid"] for k in document["keys"]}
    signer.retire()
    assert first not in {k["kid"] for k in signer.jwks()["keys"]}
    assert signer.key_id in {k["kid"] for k in signer.jwks()["keys"]}


def test_a_signer_goes_on_where_it_was_kept() -> None:
    signer = AmazonSigner()
    signer.rotate()
    again = AmazonSigner(signer.pems())
    assert again.jwks() == signer.jwks()
    assert again.rotate() == signer.rotate()


def _pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


@pytest.mark.parametrize(
    "pem",
    [b"", b"no", _pem(ec.generate_private_key(ec.SECP256R1())), _pem(ed25519.Ed25519PrivateKey.generate())],
)
def test_other_keys_are_a_wrong_setting(pem: bytes) -> None:
    with pytest.raises(Misconfigured):
        AmazonSigner([pem])


async def sent(sender: WebhookSender, settings: WebhookSettings) -> Outcome:
    message = Message("m", "d", 1, "pending", 0, NOW)
    destination = Destination("d", "webhook", msgspec.json.encode(settings))
    (outcome,) = await sender.send(destination, [Parcel(message, BODY)])
    return outcome


async def test_a_destination_chooses_to_be_signed_for() -> None:
    signer = AmazonSigner()
    keys = Keys(signer)
    async with (
        Receiver(keys) as receiver,
        WebhookSender(lambda: NOW, allow=LOOPBACK, signer=signer) as sender,
    ):
        assert (await sent(sender, WebhookSettings(receiver.url, signature="amazon"))).status == 200
        assert (await sent(sender, WebhookSettings(receiver.url))).status == 200
        signed, plain = keys.posted
        verifier = SignatureVerifier(f"{receiver.url}/jwks.json", clock=Clock())
        await verifier.verify(lowered(signed.headers), signed.body)
        assert "x-amzn-signature" not in plain.headers


async def test_without_a_key_nothing_goes_out_unsigned() -> None:
    async with Receiver() as receiver, WebhookSender(lambda: NOW, allow=LOOPBACK) as sender:
        outcome = await sent(sender, WebhookSettings(receiver.url, signature="amazon"))
        assert (outcome.status, outcome.reached) == (None, False)
        assert "no key" in outcome.error
        assert not receiver.received
