"""What a shopper picks from, and what a pick means; also over random choices."""

import random

import pytest

from milepost.domain.choosing import GROUPS, offered, picked, silenced
from milepost.domain.contact import ALL, Choices
from milepost.domain.instant import Instant
from milepost.domain.notification import CHANNELS, KINDS

NOW, LATER = Instant(1_000), Instant(2_000)
NAMES = tuple(GROUPS)


def test_only_groups_that_the_shop_tells_of_are_offered() -> None:
    assert list(offered(Choices(), KINDS)) == list(NAMES)
    assert offered(Choices(), ("delayed", "all_delivered")) == {"delivered": True, "dates": True}
    assert offered(Choices(), ()) == {}


@pytest.mark.parametrize(
    ("off", "is_on"),
    [((), True), (("lost",), True), (("delayed",), False), (("delayed/email",), False), ((ALL,), False)],
)
def test_a_group_is_on_when_everything_in_it_comes_by_mail(off: tuple[str, ...], is_on: bool) -> None:
    assert offered(Choices(off=off), KINDS)["dates"] is is_on


def test_what_a_channel_of_the_shop_does_not_carry_is_no_pick_of_the_shopper() -> None:
    assert offered(Choices(off=("delayed/webhook",)), KINDS)["dates"]


def test_silence_keeps_everything_else_and_is_silence_once() -> None:
    before = Choices(off=("lost",), locale="es", blocked="x", blocked_at=NOW, changed_at=NOW)
    after = silenced(before, LATER)
    assert (after.off, after.locale, after.blocked, after.changed_at) == ((ALL, "lost"), "es", "x", LATER)
    assert silenced(after, Instant(9_000)) is after


@pytest.mark.parametrize("seed", range(30))
def test_what_is_picked_is_what_comes(seed: int) -> None:
    """And what was not offered stays as it was, but for all being off: then it stays off by name."""
    dice = random.Random(seed)
    names = [*KINDS, *(f"{kind}/{channel}" for kind in KINDS for channel in CHANNELS)]
    off = dice.sample(names, dice.randrange(8)) + ([ALL] if dice.random() < 0.3 else [])
    before = Choices(off=tuple(off), blocked=dice.choice(("", "spam")))
    told = dice.sample(KINDS, dice.randrange(1, len(KINDS)))
    shown = offered(before, told)
    wanted = {name for name in shown if dice.random() < 0.6}
    after = picked(before, told, wanted | {"no-such-group"}, "es", NOW)
    print(f"seed {seed}: {before} of {told}, wants {wanted}: {after}")
    assert (after.blocked, after.locale) == (before.blocked, "es")
    if not wanted:
        assert ALL in after.off
        return
    assert ALL not in after.off
    assert offered(after, told) == {name: name in wanted for name in shown}
    for kind in (kind for name, kinds in GROUPS.items() if name not in shown for kind in kinds):
        for channel in CHANNELS:
            assert after.wants(kind, channel) is before.wants(kind, channel), (kind, channel)
    assert picked(after, told, wanted, "es", NOW) == after, "again changes nothing"
