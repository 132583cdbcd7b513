"""What was known when: the instants at which an order's page said something new, for the slider over them.

Knowledge changes when a record is received, and when a ledger moves; `asOf` any of these instants shows the page as
it was from then until the next one (tracking.md 12.2).
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.domain.instant import Instant
from milepost.web.timeline import Known

MOST: Final = 200
"""Steps of a slider; of more, these many spread over them, the first and the last among them."""


class Slider(Struct, frozen=True):
    """The steps, and where the page stands; the step behind the last instant is now."""

    instants: Sequence[Instant]
    value: int

    @property
    def last(self) -> int:
        return len(self.instants)


def slider(instants: Sequence[Instant], as_of: Instant | None) -> Slider:
    """The slider of a page as of then; now without."""
    value = len(instants) if as_of is None else max(0, bisect_right(instants, as_of) - 1)
    return Slider(instants, value)


def step_at(instants: Sequence[Instant], moment: int) -> Instant | None:
    """The instant of a step; None for now. Raises `Invalid` for a step that there is not."""
    if not 0 <= moment <= len(instants):
        raise Invalid(f"moment must be 0 to {len(instants)}", field="moment")
    return None if moment == len(instants) else instants[moment]


def instants_of(known: Known) -> list[Instant]:
    """The instants at which something became known of an order, the earliest first."""
    begin = min((fact.received_at for fact in known.loaded.facts), default=None)
    if begin is None:
        return []
    found = set(known.received().values())
    found.update(step.at for capture in known.captures for step in capture.history)
    found.update(step.at for notification in known.notifications for step in notification.history)
    # A tracker may have been known before its order was; there was no page then.
    instants = sorted(at for at in found if at >= begin)
    if len(instants) <= MOST:
        return instants
    return [instants[round(place * (len(instants) - 1) / (MOST - 1))] for place in range(MOST)]
