"""Sessions of people who signed in: how long one lasts.

| a session ends                                | when                                              |
|-----------------------------------------------|---------------------------------------------------|
| by itself                                     | 12 hours after it was last seen, or after 14 days |
| with its user                                 | who is disabled, or gets another role or reach    |
| at a sign-out, or ended from another session  | at once                                           |
| when a password is set                        | all of them, then a new one begins                |

A sign-in always begins a new session, so that nobody can be given one whose token is known to others. When it was
seen is written once in `NOTED_EVERY`, so an idle session may last that much longer.
"""

from typing import Final

from msgspec import Struct

from milepost.domain.instant import DAY, HOUR, MINUTE, Instant

IDLE: Final = 12 * HOUR
ABSOLUTE: Final = 14 * DAY
NOTED_EVERY: Final = 5 * MINUTE
MOST: Final = 20
"""Sessions a user; the one that was seen longest ago ends for another."""


class Session(Struct, frozen=True):
    """A browser that somebody signed in with."""

    hash: bytes
    """SHA-256 of the token, which is 256 random bits and in the browser's cookie only."""
    id: str
    """To name it by; good for nothing else."""
    user_id: str
    created_at: Instant
    seen_at: Instant
    browser: str = ""
    """What it called itself when it signed in."""
    address: str = ""
    """Where from, then."""


def is_over(session: Session, now: Instant) -> bool:
    """Whether it ended by itself."""
    return now >= session.seen_at + IDLE or now >= session.created_at + ABSOLUTE


def is_to_note(session: Session, now: Instant) -> bool:
    """Whether it is time to write down that it was seen."""
    return now >= session.seen_at + NOTED_EVERY
