"""When a failed attempt is tried again: a table of delays, and one function over it.

The table is the Standard Webhooks one (event-delivery.md 7): now, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h,
20 h, 24 h; about 75 hours in all, so that a destination may be down for three days and still get everything.
Every failed answer counts the same here, 4xx too: operators repair a wrong route or secret, and a lost parcel
event costs more than nine refused ones. Which answer ends a message (2xx, 410) is the publisher's to say.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

from msgspec import Struct

from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant, instant_of

STANDARD_DELAYS: tuple[int, ...] = (
    0,
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
"""Milliseconds before each attempt, counted from the end of the one before it."""

RETRY_AFTER_CAP = DAY
"""The longest wait that a destination may ask for."""


class Schedule(Struct, frozen=True):
    """Delays before the first, second, … attempt (milliseconds), and how far each is spread."""

    delays: tuple[int, ...] = STANDARD_DELAYS
    jitter: float = 0.2
    """0.2 spreads a delay evenly over 80 % to 120 % of itself."""


STANDARD = Schedule()


def span(schedule: Schedule) -> int:
    """Milliseconds from a first attempt to the last that there may be: each delay spread as far as it goes, or as
    long as a destination may ask for. An attempt itself takes seconds."""
    return sum(max(round(delay * (1 + schedule.jitter)), RETRY_AFTER_CAP) for delay in schedule.delays[1:])


def next_due(
    schedule: Schedule,
    tries: int,
    failed_at: Instant,
    retry_after: int | None,
    random: Callable[[], float],
    *,
    since: Instant | None = None,
) -> Instant | None:
    """When the next attempt is due after `tries` failed ones, the last at `failed_at`; None when that was the
    last. `retry_after` is what the destination asked for in milliseconds: honoured up to `RETRY_AFTER_CAP`,
    never to come sooner than the schedule says. `random` gives numbers from 0 up to 1.

    `since` is when the message was made: however its delays were spread, nothing is given up before the whole
    span of the schedule has passed (one message in five would otherwise miss the end of a 72 hours' outage)."""
    if tries >= len(schedule.delays):
        return None
    spread = 1 + schedule.jitter * (2 * random() - 1)
    delay = round(schedule.delays[tries] * spread)
    if retry_after is not None:
        delay = max(delay, min(retry_after, RETRY_AFTER_CAP))
    due = failed_at + delay
    if since is not None and tries == len(schedule.delays) - 1:
        due = max(due, since + sum(schedule.delays))
    return Instant(due)


def parse_retry_after(text: str, now: Instant) -> int | None:
    """A Retry-After header (seconds, or an HTTP date) in milliseconds from `now`; None when it is neither.

    A date in the past is 0. Total: any text gives an answer."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        # More digits than a sane number of seconds has: more than the cap, whatever it says.
        return int(text) * SECOND if len(text) <= 9 else RETRY_AFTER_CAP
    try:
        return max(0, instant_of(parsedate_to_datetime(text)) - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
