"""Standard Webhooks: the official vector, exact bounds, rotation, and a verifier that any bytes leave standing."""

import base64
import hmac
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import example, given
from hypothesis import strategies as st

from milepost.domain.errors import Misconfigured, Unauthenticated
from milepost.domain.instant import SECOND, Instant
from milepost.domain.webhook_signature import Secret, sign, verify, webhook_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = Secret.parse(SECRET)
OTHER = Secret(b"another key of two dozen bytes")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
AT = Instant(1_614_265_330 * SECOND)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def pairs(headers: dict[str, str], **changes: str | None) -> list[tuple[bytes, bytes]]:
    changed = {**headers, **{k.replace("_", "-"): v for k, v in changes.items()}}
    return [(k.encode(), v.encode("utf-8", "surrogatepass")) for k, v in changed.items() if v is not None]


def given_headers(**changes: str | None) -> list[tuple[bytes, bytes]]:
    return pairs(sign(ID, AT, BODY, [KEY]), **changes)


def test_the_official_vector() -> None:
    assert sign(ID, AT, BODY, [KEY]) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }
    verify(given_headers(), BODY, AT, [KEY])


@pytest.mark.parametrize("off", [-300, 300])
def test_the_tolerance_is_exact(off: int) -> None:
    step = 1 if off > 0 else -1
    verify(given_headers(), BODY, Instant(AT + off * SECOND), [KEY])
    with pytest.raises(Unauthenticated, match="5 minutes"):
        verify(given_headers(), BODY, Instant(AT + off * SECOND + step), [KEY])


def test_an_attempt_signs_its_own_second_and_keeps_the_id() -> None:
    first, second = sign(ID, AT, BODY, [KEY]), sign(ID, Instant(AT + 1_999), BODY, [KEY])
    assert first["webhook-id"] == second["webhook-id"]
    assert second["webhook-timestamp"] == "1614265331"
    assert first["webhook-signature"] != second["webhook-signature"]


def test_during_a_rotation_both_secrets_are_good() -> None:
    both = sign(ID, AT, BODY, [OTHER, KEY])
    assert len(both["webhook-signature"].split(" ")) == 2
    for held in ([KEY], [OTHER], [OTHER, KEY]):
        verify(pairs(both), BODY, AT, held)
    with pytest.raises(Unauthenticated, match="does not fit"):
        verify(given_headers(), BODY, AT, [OTHER])


class Public:
    """An ed25519 public key as `verify` wants it."""

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        self._key = key

    def __call__(self, signature: bytes, signed: bytes) -> bool:
        try:
            self._key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def test_ed25519_beside_hmac() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = Public(private.public_key())
    signed = sign(ID, AT, BODY, [KEY], [private.sign])
    verify(pairs(signed), BODY, AT, [], [public])
    verify(pairs(signed), BODY, AT, [KEY])
    stranger = Public(ed25519.Ed25519PrivateKey.generate().public_key())
    with pytest.raises(Unauthenticated):
        verify(pairs(signed), BODY + b" ", AT, [KEY], [public])
    with pytest.raises(Unauthenticated):
        verify(pairs(signed), BODY, AT, [], [stranger])
    # One scheme's signature is not the other's, whatever the entry says.
    swapped = signed["webhook-signature"].replace("v1a,", "v2,").replace("v1,", "v1a,")
    with pytest.raises(Unauthenticated):
        verify(pairs(signed, webhook_signature=swapped), BODY, AT, [KEY], [public])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"webhook_id": None}, "webhook-id is missing"),
        ({"webhook_timestamp": None}, "webhook-timestamp is missing"),
        ({"webhook_signature": None}, "webhook-signature is missing"),
        ({"webhook_id": ""}, "full stop"),
        ({"webhook_id": "msg.1"}, "full stop"),
        ({"webhook_id": "m sg"}, "full stop"),
        ({"webhook_id": "é"}, "full stop"),
        ({"webhook_id": "m" * 257}, "full stop"),
        ({"webhook_timestamp": "1614265330.0"}, "number of seconds"),
        ({"webhook_timestamp": " 1614265330"}, "number of seconds"),
        ({"webhook_timestamp": "1_614_265_330"}, "number of seconds"),
        ({"webhook_timestamp": "+1614265330"}, "number of seconds"),
        ({"webhook_timestamp": "-1"}, "number of seconds"),
        ({"webhook_timestamp": "١٦١٤٢٦٥٣٣٠"}, "number of seconds"),
        ({"webhook_timestamp": "9" * 13}, "number of seconds"),
        ({"webhook_timestamp": "9" * 12}, "5 minutes"),
        ({"webhook_signature": ""}, "does not fit"),
        ({"webhook_signature": "v1"}, "does not fit"),
        ({"webhook_signature": SIGNATURE.replace("v1", "v2")}, "does not fit"),
        ({"webhook_signature": SIGNATURE[:-1]}, "does not fit"),
        ({"webhook_signature": SIGNATURE + "="}, "does not fit"),
        ({"webhook_signature": SIGNATURE.replace(",", ",,")}, "does not fit"),
        ({"webhook_signature": "v1,"}, "does not fit"),
        ({"webhook_signature": "v1,é"}, "does not fit"),
        ({"webhook_signature": "v1," * 3_000}, "too long"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unauthenticated, match=reason):
        verify(given_headers(**changes), BODY, AT, [KEY])


def test_unknown_versions_and_odd_entries_are_passed_over() -> None:
    header = f"v9,AAAA  {SIGNATURE.replace('g0', 'h0')} v1,!! , {SIGNATURE}"
    verify(given_headers(webhook_signature=header), BODY, AT, [KEY])


@pytest.mark.parametrize("name", [b"webhook-id", b"Webhook-Timestamp", b"WEBHOOK-SIGNATURE"])
def test_a_repeated_header_is_refused(name: bytes) -> None:
    headers = given_headers()
    again = next(value for key, value in headers if key == name.lower())
    with pytest.raises(Unauthenticated, match="twice"):
        verify([*headers, (name, again)], BODY, AT, [KEY])


def test_a_signature_is_written_in_one_way() -> None:
    """`E` and `F` before the padding decode to the same bytes: the bits that they differ in carry nothing."""
    assert base64.b64decode("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=") == base64.b64decode(
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF="
    )
    with pytest.raises(Unauthenticated):
        verify(given_headers(webhook_signature=SIGNATURE[:-2] + "F="), BODY, AT, [KEY])


def test_a_dotted_id_cannot_move_the_border_to_the_timestamp() -> None:
    """`a.1` at 2 signs the same bytes as `a` at `1.2`: neither is accepted."""
    signed = sign("a", AT, b"5." + BODY, [KEY])
    moved = pairs(signed, webhook_id=f"a.{AT // SECOND}", webhook_timestamp=str(AT // SECOND))
    with pytest.raises(Unauthenticated):
        verify(moved, BODY, AT, [KEY])


@pytest.mark.parametrize(
    "secret",
    [
        "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AA==", "whsec_not base64!", "whsec_é",
        "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsk_" + base64.b64encode(b"x" * 32).decode(),
    ],
)  # fmt: skip
def test_a_short_or_odd_secret_is_a_wrong_setting(secret: str) -> None:
    with pytest.raises(Misconfigured):
        Secret.parse(secret)


@pytest.mark.parametrize("length", [0, 1, 23, 65])
def test_a_key_that_is_too_short_or_long_verifies_nothing(length: int) -> None:
    with pytest.raises(Misconfigured):
        Secret(b"x" * length)


@pytest.mark.parametrize("length", [0, 1, 2_046, 2_047, 2_048, 4_094, 70_000])
def test_pieces_make_the_same_digest(length: int) -> None:
    signed = bytes(n % 251 for n in range(length))
    assert Secret(b"k" * 32).digest(signed) == hmac.digest(b"k" * 32, signed, "sha256")


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2, unique=True))
def test_ids_stay_different_and_fit_a_header(ids: list[str]) -> None:
    one, other = map(webhook_id, ids)
    if not any("\ud800" <= c <= "\udfff" for text in ids for c in text):
        assert one != other
    for made in (one, other):
        assert made.isascii()
        assert "." not in made
        assert " " not in made


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"Webhook-Id", b"\xff"]),
        st.binary(max_size=80)
        | st.sampled_from([ID.encode(), b"1614265330", SIGNATURE.encode()])
        | st.binary(max_size=40).map(lambda b: b"v1," + base64.b64encode(b)),
    ),
    max_size=5,
)


@given(_HEADERS, st.binary(max_size=60), st.integers(-(10**15), 10**15))
@example([], b"", 0)
def test_any_bytes_are_accepted_or_one_error(
    headers: list[tuple[bytes, bytes]], body: bytes, now: int
) -> None:
    try:
        verify(headers, body, Instant(now), [KEY], [lambda signature, signed: False])
    except Unauthenticated:
        return
    # Nothing but the vector itself can have been accepted.
    assert (ID.encode(), SIGNATURE.encode(), body) == (
        {k.lower(): v for k, v in headers}[b"webhook-id"],
        {k.lower(): v for k, v in headers}[b"webhook-signature"],
        BODY,
    )


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64), st.integers(0, 10**12))
def test_what_is_signed_is_accepted_and_another_body_is_not(body: bytes, key: bytes, at: int) -> None:
    secret = Secret(key)
    headers = pairs(sign("m-1", Instant(at), body, [secret]))
    verify(headers, body, Instant(at), [secret])
    with pytest.raises(Unauthenticated):
        verify(headers, body + b"x", Instant(at), [secret])
