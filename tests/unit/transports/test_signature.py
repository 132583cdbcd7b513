"""The request signature: real P-384 keys, a JWKS served by a real server, and headers of any kind."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transports.serving import Clock

from milepost.domain.errors import Unauthenticated, UpstreamUnavailable
from milepost.domain.instant import DAY, SECOND, Instant
from milepost.transports.signature import SignatureVerifier, parse_jwks

BODY = b'{"eventDescriptor":"PACKAGE_DELIVERED"}'


class Jwks:
    """A JWKS endpoint that counts how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.body is not None:
            return web.Response(status=self.status, body=self.body)
        return web.json_response({"keys": self.keys}, status=self.status)

    def publish(self, key: Any, key_id: str, **changes: Any) -> None:
        algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else None
        document = (algorithm or jwt.algorithms.RSAAlgorithm).to_jwk(key.public_key(), as_dict=True)
        self.keys.append({**document, "kid": key_id, "alg": "ES384", "use": "sig", **changes})


@pytest.fixture
async def jwks() -> AsyncIterator[Jwks]:
    served = Jwks()
    app = web.Application()
    app.router.add_get("/jwks.json", served.answer)
    server = TestServer(app)
    await server.start_server()
    served.url = str(server.make_url("/jwks.json"))
    yield served
    await server.close()


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def signed(key: ec.EllipticCurvePrivateKey, body: bytes = BODY, key_id: bytes = b"one") -> dict[bytes, bytes]:
    der = key.sign(body, ec.ECDSA(SHA384()))
    return {b"x-amzn-signature": base64.b64encode(der), b"x-amzn-kid": key_id}


def raw(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The same signature as r||s."""
    r, s = decode_dss_signature(base64.b64decode(headers[b"x-amzn-signature"]))
    return {**headers, b"x-amzn-signature": base64.b64encode(r.to_bytes(48, "big") + s.to_bytes(48, "big"))}


async def test_a_right_signature_is_accepted_in_both_forms(
    jwks: Jwks, key: ec.EllipticCurvePrivateKey
) -> None:
    jwks.publish(key, "one")
    verifier = SignatureVerifier(jwks.url, clock=Clock())

    await verifier.verify(signed(key), BODY)
    await verifier.verify(raw(signed(key)), BODY)

    assert jwks.asked == 1


async def test_another_body_key_or_hash_is_not(jwks: Jwks, key: ec.EllipticCurvePrivateKey) -> None:
    jwks.publish(key, "one")
    verifier = SignatureVerifier(jwks.url, clock=Clock())
    other = ec.generate_private_key(ec.SECP384R1())
    by_sha256 = base64.b64encode(key.sign(BODY, ec.ECDSA(SHA256())))

    for headers, body in [
        (signed(key), BODY + b" "),
        (raw(signed(key)), BODY + b" "),
        (signed(other), BODY),
        ({b"x-amzn-signature": by_sha256, b"x-amzn-kid": b"one"}, BODY),
    ]:
        with pytest.raises(Unauthenticated, match="does not fit"):
            await verifier.verify(headers, body)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"x-amzn-signature": None}, "x-amzn-signature is missing"),
        ({b"x-amzn-kid": None}, "x-amzn-kid is missing"),
        ({b"x-amzn-kid": b"unheard-of"}, "doesn't have"),
        ({b"x-amzn-signature": b"*not base64*"}, "not base64"),
        ({b"x-amzn-signature": b"A" * 600}, "not base64"),
        ({b"x-amzn-signature": base64.b64encode(b"\0" * 96)}, "does not fit"),
        ({b"x-amzn-signature": base64.b64encode(b"\xff" * 96)}, "does not fit"),
    ],
)
async def test_missing_and_unreadable_headers(
    jwks: Jwks, key: ec.EllipticCurvePrivateKey, change: dict[bytes, bytes | None], reason: str
) -> None:
    jwks.publish(key, "one")
    headers = {k: v for k, v in {**signed(key), **change}.items() if v is not None}

    with pytest.raises(Unauthenticated, match=reason):
        await SignatureVerifier(jwks.url, clock=Clock()).verify(headers, BODY)


async def test_only_p384_signature_keys_count(jwks: Jwks, key: ec.EllipticCurvePrivateKey) -> None:
    jwks.publish(ec.generate_private_key(ec.SECP256R1()), "p256")
    jwks.publish(rsa.generate_private_key(65_537, 2_048), "rsa")
    jwks.publish(key, "encryption", use="enc")
    jwks.publish(key, "other", alg="ES256")
    jwks.publish(key, "off the curve", x=base64.urlsafe_b64encode(b"\1" * 48).decode())
    jwks.publish(key, "one")
    jwks.keys += [{"kid": 7}, "text", {**jwks.keys[-1], "kid": None}]  # type: ignore[list-item]
    verifier = SignatureVerifier(jwks.url, clock=Clock())

    await verifier.verify(signed(key), BODY)
    for key_id in (b"p256", b"rsa", b"encryption", b"other", b"off the curve"):
        with pytest.raises(Unauthenticated, match="doesn't have"):
            await verifier.verify(signed(key, key_id=key_id), BODY)


async def test_a_private_key_in_the_jwks_is_passed_over(key: ec.EllipticCurvePrivateKey) -> None:
    leaked = {**jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), "kid": "leaked"}

    assert parse_jwks(json.dumps({"keys": [leaked]}).encode()) == {}


async def test_a_new_key_is_fetched_but_not_more_often_than_every_30_seconds(
    jwks: Jwks, key: ec.EllipticCurvePrivateKey
) -> None:
    clock = Clock()
    verifier = SignatureVerifier(jwks.url, clock=clock)
    jwks.publish(key, "one")
    await verifier.verify(signed(key), BODY)
    new = ec.generate_private_key(ec.SECP384R1())
    jwks.publish(new, "two")

    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await verifier.verify(signed(new, key_id=b"two"), BODY)
    assert jwks.asked == 1

    clock.pass_(30 * SECOND)
    await verifier.verify(signed(new, key_id=b"two"), BODY)
    assert jwks.asked == 2


async def test_a_withdrawn_key_ends_after_a_day(jwks: Jwks, key: ec.EllipticCurvePrivateKey) -> None:
    clock = Clock()
    verifier = SignatureVerifier(jwks.url, clock=clock)
    jwks.publish(key, "one")
    await verifier.verify(signed(key), BODY)
    jwks.keys.clear()

    clock.pass_(DAY - 1)
    await verifier.verify(signed(key), BODY)
    clock.pass_(1)
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(key), BODY)


async def test_known_keys_serve_for_a_week_while_the_jwks_is_away(
    jwks: Jwks, key: ec.EllipticCurvePrivateKey
) -> None:
    clock = Clock()
    verifier = SignatureVerifier(jwks.url, clock=clock)
    jwks.publish(key, "one")
    await verifier.verify(signed(key), BODY)
    jwks.status = 500

    clock.pass_(3 * DAY)
    await verifier.verify(signed(key), BODY)
    with pytest.raises(UpstreamUnavailable):
        await verifier.verify(signed(key, key_id=b"two"), BODY)
    clock.pass_(4 * DAY)
    with pytest.raises(UpstreamUnavailable):
        await verifier.verify(signed(key), BODY)
    jwks.status = 200
    clock.pass_(30 * SECOND)
    await verifier.verify(signed(key), BODY)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (302, b""), (200, b"no JSON"), (200, b"[]"), (200, b" " * 300_000)]
)
async def test_without_keys_it_fails_closed_and_can_be_tried_again(
    jwks: Jwks, key: ec.EllipticCurvePrivateKey, status: int, body: bytes
) -> None:
    jwks.status, jwks.body = status, body
    verifier = SignatureVerifier(jwks.url, clock=Clock())

    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            await verifier.verify(signed(key), BODY)
    assert jwks.asked == 1


async def test_an_address_that_refuses_connections_fails_closed(key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(UpstreamUnavailable):
        await SignatureVerifier("http://127.0.0.1:9/jwks.json", clock=Clock()).verify(signed(key), BODY)


async def test_a_clock_set_back_does_not_stop_fetching(jwks: Jwks, key: ec.EllipticCurvePrivateKey) -> None:
    clock = Clock()
    verifier = SignatureVerifier(jwks.url, clock=clock)
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(key), BODY)
    jwks.publish(key, "one")

    clock.pass_(-DAY)
    await verifier.verify(signed(key), BODY)


_KEY = ec.generate_private_key(ec.SECP384R1())
_ANY_HEADER = st.one_of(
    st.binary(max_size=700), st.binary(max_size=120).map(base64.b64encode), st.just(b"one"), st.none()
)


@given(signature=_ANY_HEADER, key_id=_ANY_HEADER, body=st.binary(max_size=50))
async def test_any_bytes_are_refused_with_one_error(
    signature: bytes | None, key_id: bytes | None, body: bytes
) -> None:
    verifier = SignatureVerifier("http://127.0.0.1:9/", clock=lambda: Instant(DAY))
    # The keys as after a fetch, so that no example waits for the network.
    verifier._keys._keys = {"one": _KEY.public_key()}
    verifier._keys._fetched_at = verifier._keys._tried_at = Instant(DAY)
    headers = {
        name: value
        for name, value in ((b"x-amzn-signature", signature), (b"x-amzn-kid", key_id))
        if value is not None
    }

    with pytest.raises(Unauthenticated):
        await verifier.verify(headers, body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_jwks_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_jwks(body), dict)
