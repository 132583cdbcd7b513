"""Where in the journal a time is: by halves, since positions rise with times."""

from milepost.domain.instant import Instant
from milepost.store import Transaction

_ASKED = 9
"""Records that each step looks at."""


def position_at(tx: Transaction, at: Instant) -> int:
    """The last position that was received by then. Times rise with positions but for a while in which a clock was
    wrong: so each step of the search asks a few records that follow on each other, and the middle one counts."""
    low, high = 0, tx.journal.last_position()
    while low < high:
        middle = (low + high + 1) // 2
        some = [record for record in tx.journal.after(middle - 1, _ASKED) if record.position <= high]
        if some and sorted(record.received_at for record in some)[(len(some) - 1) // 2] <= at:
            low = some[0].position
        else:
            high = middle - 1
    following = tx.journal.after(low, _ASKED)
    return max((record.position for record in following if record.received_at <= at), default=low)
