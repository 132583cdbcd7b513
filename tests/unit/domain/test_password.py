"""Which passwords are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.password import LONGEST, SHORTEST, complaint, normal


@pytest.mark.parametrize(
    "password",
    [
        *(
            "password1234",
            "Password!2345",
            "passwordpassword",
            "PASSWORDPASSWORD1!",
            "qwertyuiop123",
            "123456789012",
        ),
        *("210987654321", "abcdefghijklm", "1q2w3e4r5t6789", "buywithprime1", "correct-horse-battery-staple"),
        *("iloveyou20261", "administrator", "changeme1234", "trustno111111"),
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    assert "tried first" in (complaint(password, "ada") or "")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "Too short"),
        ("x7!pQ2-kd9z", "Too short"),
        ("aaaabbbbaaaa", "Too few"),
        ("x7!pQ2-kd9z0" * 22, "Too long"),
        ("Ada.Lovelace@Example.com", "sign-in name"),
        ("ada.lovelace@example.com123", "sign-in name"),
    ],
)
def test_a_refusal_says_why(password: str, why: str) -> None:
    assert why in (complaint(password, "ada.lovelace@example.com") or "")


@pytest.mark.parametrize(
    "password",
    ["kettle under winter rain", "x7!pQ2-kd9z0", "Blumentopf-über-Dachs", "mot de passe de cuisine"],
)
def test_others_are_taken(password: str) -> None:
    assert complaint(password, "ada") is None


def test_how_a_keyboard_composes_a_character_is_no_difference() -> None:
    assert normal("caf\u00e9 au lait noir") == normal("cafe\u0301 au lait noir")


@given(st.text(max_size=300), st.text(max_size=40))
def test_whatever_is_taken_is_long_enough_and_not_the_name(password: str, name: str) -> None:
    if complaint(password, name) is None:
        assert SHORTEST <= len(normal(password)) <= LONGEST
        assert normal(password).casefold() != normal(name).casefold().strip()
