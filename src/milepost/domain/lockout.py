"""Lock-out: wrong tries to sign in, counted, and how long nobody may try after too many.

Counted twice: by sign-in name, whether anybody has it or not (so that the answers tell nothing), and by the address
that tries come from, which many people may share and which is given more.

| tries in a row that were wrong | a name is locked | an address is locked |
|--------------------------------|------------------|----------------------|
| up to 4                        | not              | not                  |
| 5, 6, 7, 8, 9 and more         | 1, 2, 4, 8, 15 m | not, up to 29        |
| 30, 31, 32, 33, 34 and more    | 15 min           | 1, 2, 4, 8, 15 min   |

A try is counted before the password is looked at, so that many at once are no more than one after another. A right
one forgets a name's count, and only itself of an address's: who has one account cannot go on guessing others. Counts
are forgotten a day after the last try. A name's lock does not hold where its user signed in of late
(`web.signing_in`): otherwise whoever knows a name could keep its user out for ever.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from milepost.domain.instant import DAY, MINUTE, Instant

Counted = Literal["name", "address"]
LIMITS: Final[Mapping[Counted, int]] = {"name": 5, "address": 30}
FIRST_LOCK: Final = MINUTE
LONGEST_LOCK: Final = 15 * MINUTE
FORGOTTEN_AFTER: Final = DAY


class Tries(Struct, frozen=True):
    """Wrong tries in a row, of a name or from an address."""

    key: str
    wrong: int = 0
    last_at: Instant = Instant(0)
    locked_until: Instant = Instant(0)


def is_locked(tries: Tries, now: Instant) -> bool:
    return now < tries.locked_until


def tried(tries: Tries, counted: Counted, now: Instant) -> Tries:
    """With one more try, taken for wrong until it is `forgiven`."""
    before = 0 if now >= tries.last_at + FORGOTTEN_AFTER else tries.wrong
    wrong = before + 1
    over = wrong - LIMITS[counted]
    locked = Instant(0) if over < 0 else Instant(now + min(FIRST_LOCK << min(over, 10), LONGEST_LOCK))
    return Tries(tries.key, wrong, now, locked)


def forgiven(tries: Tries, counted: Counted) -> Tries | None:
    """After a try that was right; None: nothing is left to remember."""
    if counted == "name" or tries.wrong <= 1:
        return None
    return Tries(tries.key, tries.wrong - 1, tries.last_at, Instant(0))
