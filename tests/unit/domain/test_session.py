"""How long a session lasts, and how often it is noted that it was seen."""

import pytest

from milepost.domain.instant import DAY, HOUR, MINUTE, Instant
from milepost.domain.session import Session, is_over, is_to_note

T0 = Instant(1_000_000_000)


def seen(after: int) -> Session:
    return Session(b"", "ses_1", "usr_1", T0, Instant(T0 + after))


@pytest.mark.parametrize(
    ("seen_after", "age", "over"),
    [
        (0, 0, False),
        (0, 12 * HOUR - 1, False),
        (0, 12 * HOUR, True),
        (HOUR, 12 * HOUR, False),
        (14 * DAY - 1, 14 * DAY - 1, False),
        (14 * DAY - 1, 14 * DAY, True),
    ],
)
def test_idle_and_absolute(seen_after: int, age: int, over: bool) -> None:
    assert is_over(seen(seen_after), Instant(T0 + age)) is over


def test_it_is_noted_once_in_five_minutes() -> None:
    assert not is_to_note(seen(0), Instant(T0 + 5 * MINUTE - 1))
    assert is_to_note(seen(0), Instant(T0 + 5 * MINUTE))
