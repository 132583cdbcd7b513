"""Keys that sign: made, read, shown by halves; and that both kinds verify."""

from base64 import b64encode

import pytest
from tests.public_keys import checker_of

from milepost.domain.errors import Misconfigured, Unauthenticated
from milepost.domain.instant import Instant
from milepost.domain.webhook_signature import Secret, sign, verify
from milepost.pipeline.signing_keys import (
    check_key,
    new_private_key,
    new_secret,
    public_key_of,
    signer_of,
)

AT = Instant(1_614_265_330_000)


def test_both_kinds_sign_and_verify() -> None:
    private, secret = new_private_key(), new_secret()
    check_key(private)
    check_key(secret)
    headers = sign("m-1", AT, b"{}", [Secret.parse(secret)], [signer_of(private)])
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    verify(pairs, b"{}", AT, [Secret.parse(secret)])
    verify(pairs, b"{}", AT, [], [checker_of(public_key_of(private))])
    with pytest.raises(Unauthenticated):
        verify(pairs, b"{ }", AT, [], [checker_of(public_key_of(private))])
    with pytest.raises(Unauthenticated):
        verify(pairs, b"{}", AT, [], [checker_of(public_key_of(new_private_key()))])


def test_a_checker_raises_for_nothing() -> None:
    check = checker_of(public_key_of(new_private_key()))
    for signature in (b"", b"x", b"\0" * 64, b"\xff" * 64, b"x" * 1_000):
        assert not check(signature, b"signed")


def test_keys_differ() -> None:
    assert len({new_secret() for _ in range(20)} | {new_private_key() for _ in range(20)}) == 40


def test_a_seed_alone_is_a_private_key() -> None:
    seed = "whsk_" + b64encode(b"s" * 32).decode()
    assert public_key_of(seed).startswith("whpk_")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsk_",
        "whsk_x",
        "whsec_",
        "whsec_AAAA",
        "whsk_" + b64encode(b"s" * 64).decode(),
        "whpk_é",
        "whsk_AAAA",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        check_key(text)
    with pytest.raises(Misconfigured):
        checker_of(text)
