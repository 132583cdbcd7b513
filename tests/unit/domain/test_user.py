"""Users: names as they are compared, what an admin manages, how long links are good."""

import pytest

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, Instant
from milepost.domain.user import Invitation, User, check_name, check_sign_in_name, folded, manages

T0 = Instant(1_000_000_000)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "CAFE\u0301"),
        ("ﬁn", "FIN"),
    ],
)
def test_one_name_however_it_is_written(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert folded(folded(one)) == folded(one)


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "Ada\nLovelace", "Ada\u202eLovelace", "a\0b"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name, "name")


def test_a_sign_in_name_is_one_word() -> None:
    assert check_sign_in_name(" ada@example.com ") == "ada@example.com"
    with pytest.raises(Invalid):
        check_sign_in_name("Ada Lovelace")


@pytest.mark.parametrize(
    ("own", "theirs", "may"),
    [
        (None, (), True),
        (None, ("bp-1",), True),
        (("bp-1", "bp-2"), ("bp-1",), True),
        (("bp-1",), ("bp-1", "bp-2"), False),
        (("bp-1",), (), False),
    ],
)
def test_who_is_managed_by_whom(own: tuple[str, ...] | None, theirs: tuple[str, ...], may: bool) -> None:
    assert manages(own, theirs) is may


def test_states_and_links() -> None:
    user = User("usr_1", "Ada", "ada", "agent", T0)
    assert user.state == "invited"
    assert user.reach is None
    assert User("u", "A", "a", "agent", T0, password_hash="h").state == "active"
    assert User("u", "A", "a", "agent", T0, password_hash="h", disabled_at=T0).state == "disabled"
    for purpose, days in (("first", 1), ("invite", 7), ("reset", 7)):
        link = Invitation(b"", purpose, T0)  # type: ignore[arg-type]
        assert link.is_good(Instant(T0 + days * DAY - 1))
        assert not link.is_good(Instant(T0 + days * DAY))
