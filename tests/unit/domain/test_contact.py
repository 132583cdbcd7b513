"""Recipients, choices and unsubscribe links: no address is kept, an opt-out outlives a rotation."""

import random

import msgspec
import pytest

from milepost.domain.contact import (
    Choices,
    Contact,
    contact_of,
    make_unsubscribe,
    read_choices,
    read_unsubscribe,
    recipient_id,
    recipient_ids,
    write_choices,
)
from milepost.domain.errors import NotFound
from milepost.domain.instant import SECOND, Instant
from milepost.domain.tracking_token import Link, make_token, read_token

SECRET, OTHER = "s" * 32, "o" * 32
NOW = Instant(1_737_374_400_000)
WHO = recipient_id(SECRET, "bp-1", "ann@shopper.example")


@pytest.mark.parametrize(
    "spelling",
    ["ann@shopper.example", " Ann@Shopper.Example\n", "ANN@SHOPPER.EXAMPLE", "\uff41nn@shopper.example"],
)
def test_one_address_is_one_recipient_however_it_is_written(spelling: str) -> None:
    assert recipient_id(SECRET, "bp-1", spelling) == WHO


def test_another_address_product_or_secret_is_another_recipient() -> None:
    others = {
        recipient_id(SECRET, "bp-1", "anne@shopper.example"),
        recipient_id(SECRET, "bp-2", "ann@shopper.example"),
        recipient_id(OTHER, "bp-1", "ann@shopper.example"),
        recipient_id(SECRET, "bp-1", ""),
        recipient_id(SECRET, "bp-1", "\ud800@x"),
    }
    assert len(others | {WHO}) == 6
    assert "ann" not in WHO
    assert len(WHO) == len("rcp_") + 32


@pytest.mark.parametrize(
    ("customer", "contact"),
    [
        ({"email": "ann@shopper.example", "name": "Ann"}, Contact("ann@shopper.example")),
        ({"email": None, "name": "Ann"}, Contact()),
        ({"email": "not an address", "name": None}, Contact()),
        ({"email": "a@b\r\nBcc: all@example", "name": None}, Contact()),
        ({"email": "@b", "name": None}, Contact()),
        (None, Contact()),
    ],
)
def test_the_contact_is_the_orders(customer: dict[str, object] | None, contact: Contact) -> None:
    assert contact_of({"customer": customer}) == contact


@pytest.mark.parametrize(
    ("off", "kind", "channel", "wanted"),
    [
        ((), "shipped", "email", True),
        (("shipped",), "shipped", "email", False),
        (("shipped",), "delivered", "email", True),
        (("shipped/email",), "shipped", "email", False),
        (("shipped/email",), "shipped", "webhook", True),
        (("all",), "customer_action", "webhook", False),
    ],
)
def test_what_is_off_is_off(off: tuple[str, ...], kind: str, channel: str, wanted: bool) -> None:
    assert Choices(off).wants(kind, channel) is wanted


def test_choices_come_back_as_they_were_written() -> None:
    choices = Choices(("shipped", "all"), "es", "bounced", NOW, NOW)
    assert read_choices([write_choices(choices)]) == choices
    assert read_choices([]) == read_choices([None, b""]) == Choices()
    assert msgspec.json.decode(write_choices(Choices(blocked="bounced", blocked_at=NOW))) == {
        "blocked": "bounced",
        "blockedAt": NOW,
    }


def test_who_opted_out_before_a_secret_was_rotated_stays_out() -> None:
    old, new = recipient_id(SECRET, "bp-1", "ann@shopper.example"), "ann@shopper.example"
    assert recipient_ids((OTHER, SECRET), "bp-1", new) == (recipient_id(OTHER, "bp-1", new), old)
    out = write_choices(Choices(("all",), changed_at=NOW))
    assert read_choices([None, out]).off == ("all",)


@pytest.mark.parametrize("turned", [False, True])
def test_under_two_keys_no_document_hides_what_the_other_switches_off(turned: bool) -> None:
    """A link of the old secret changes what stands under the old key, later than a block under the new one."""
    later = Instant(NOW + 1)
    blocked = write_choices(Choices(("lost",), "es", "complained", NOW, NOW))
    by_old_link = write_choices(Choices(("delayed",), changed_at=later))
    documents = [by_old_link, blocked] if turned else [blocked, by_old_link]
    assert read_choices(documents) == Choices(("delayed", "lost"), "es", "complained", NOW, later)
    out = write_choices(Choices(("all",), changed_at=NOW))
    assert read_choices([by_old_link, out]).off == ("all", "delayed")
    assert read_choices([out, write_choices(Choices(locale="en", changed_at=later))]).locale == "en"


def test_an_unsubscribe_link_says_who_and_ends() -> None:
    token = make_unsubscribe(SECRET, "bp-1", WHO, Instant(NOW + 10 * SECOND))
    assert read_unsubscribe((OTHER, SECRET), token, NOW) == ("bp-1", WHO)
    for secrets, now in (((OTHER,), NOW), ((), NOW), ((SECRET,), Instant(NOW + 10 * SECOND))):
        with pytest.raises(NotFound):
            read_unsubscribe(secrets, token, now)


def test_a_tracking_link_unsubscribes_nobody_and_the_other_way_round() -> None:
    """Both are signed by the same secret and hold the same four things."""
    until = Instant(NOW + 10 * SECOND)
    with pytest.raises(NotFound):
        read_unsubscribe((SECRET,), make_token(SECRET, Link("bp-1", WHO, until)), NOW)
    with pytest.raises(NotFound):
        read_token((SECRET,), make_unsubscribe(SECRET, "bp-1", WHO, until), NOW)


def test_a_changed_link_is_none() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    token = make_unsubscribe(SECRET, "bp-1", WHO, Instant(NOW + 10 * SECOND))
    for _ in range(2_000):
        place = chance.randrange(len(token))
        text = token[:place] + chance.choice("aB3-_.=+\x00é\ud800") + token[place + chance.randint(0, 1) :]
        try:
            who = read_unsubscribe((SECRET,), text, NOW)
        except NotFound:
            continue
        # Base64 leaves a few bits of its last letter unread.
        assert who == ("bp-1", WHO)
