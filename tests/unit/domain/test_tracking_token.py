"""Tracking tokens: what was signed comes back, and nothing else does."""

import base64
import hashlib
import hmac
import random

import pytest

from milepost.domain.errors import NotFound
from milepost.domain.instant import SECOND, Instant
from milepost.domain.tracking_token import Link, make_token, read_token

SECRET, OTHER = "s" * 32, "o" * 32
NOW = Instant(1_737_374_400_000)
LINK = Link("bp-1", "322-43Q4-R3S5J8", Instant(NOW + 10 * SECOND))


@pytest.mark.parametrize("order_id", ["1", "322-43Q4-R3S5J8", "ö/ä", "x" * 512])
def test_what_was_signed_comes_back(order_id: str) -> None:
    link = Link("bp-1", order_id, Instant(NOW + SECOND))
    assert read_token((SECRET,), make_token(SECRET, link), NOW) == link


def test_a_token_goes_into_an_address_as_it_is() -> None:
    token = make_token(SECRET, LINK)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_it_ends_when_it_says() -> None:
    token = make_token(SECRET, LINK)
    assert read_token((SECRET,), token, Instant(LINK.expires_at - 1)) == LINK
    with pytest.raises(NotFound):
        read_token((SECRET,), token, LINK.expires_at)


def test_secrets_overlap_and_a_foreign_one_is_none() -> None:
    token = make_token(OTHER, LINK)
    assert read_token((SECRET, OTHER), token, NOW) == LINK
    for secrets in ((), (SECRET,), ("",)):
        with pytest.raises(NotFound):
            read_token(secrets, token, NOW)


def test_the_same_secret_signing_something_else_makes_no_token() -> None:
    claims = make_token(SECRET, LINK).partition(".")[0]
    raw = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
    plain = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), raw, hashlib.sha256)).rstrip(b"=")
    with pytest.raises(NotFound):
        read_token((SECRET,), f"{claims}.{plain.decode()}", NOW)


def test_a_token_with_anything_changed_is_none_and_nothing_but_that() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    token = make_token(SECRET, LINK)
    alphabet = token + "=+/.% \x00é\ud800"
    for _ in range(3_000):
        changed = list(token)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(changed))
            changed[place : place + chance.randint(0, 1)] = chance.choice(alphabet)
        text = "".join(changed)
        try:
            link = read_token((SECRET,), text, NOW)
        except NotFound:
            continue
        # Base64 leaves a few bits of its last letter unread.
        assert link == LINK


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a" * 5_000, "a" * 1_000 + "." + "b" * 1_200, "é.é"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(NotFound):
        read_token((SECRET,), text, NOW)
