"""When an endpoint that does not answer is left alone: a circuit breaker a lane, its state machine as a table.

Closed: everything is sent. After `Policy.failures` failures in a row it opens: nothing is tried until the
pause is over, then one message goes as the probe (half-open). An answer closes it; another failure opens it
again for the next longer pause, up to the last of the table. What waits keeps its place in its own schedule:
an open breaker uses up no try, and after the endpoint's return the longest pause is all that it can cost.

A failure is no answer, or one that says the endpoint cannot work now (408, 429, 5xx). Any other answer, a
refusal too, shows that somebody is there: a wrong route or secret is a matter of each message's schedule.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.instant import MINUTE, SECOND, Instant

State = Literal["closed", "open", "halfOpen"]
Sign = Literal["answered", "failed", "exhausted", "probed"]
"""What is seen of an endpoint: an answer, a failure, the last failure that a closed one bears, a probe begun."""

TABLE: Mapping[tuple[State, Sign], State] = {
    ("closed", "answered"): "closed",
    ("closed", "failed"): "closed",
    ("closed", "exhausted"): "open",
    ("open", "probed"): "halfOpen",
    # Tries that were under way when it opened: an answer is good news, a failure no news.
    ("open", "answered"): "closed",
    ("open", "failed"): "open",
    ("halfOpen", "answered"): "closed",
    ("halfOpen", "failed"): "open",
    # The probe was lost with its process, and its lease ran out.
    ("halfOpen", "probed"): "halfOpen",
}
"""Every step there is. `probed` cannot happen to a closed one: it needs no probe."""


class Policy(Struct, frozen=True):
    """How many failures in a row open a breaker, and how long each pause in a row is (milliseconds)."""

    failures: int = 5
    pauses: tuple[int, ...] = (30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE)


POLICY = Policy()


class Breaker(Struct, frozen=True):
    """What is known of one lane's endpoint. The plain one, closed and without failures, need not be stored."""

    lane: str
    state: State = "closed"
    failures: int = 0
    """In a row, while closed."""
    opened: int = 0
    """How often in a row it opened."""
    until: Instant = Instant(0)
    """Open: no try before this. Half-open: the probe is lost when nothing was heard by then."""

    @property
    def is_plain(self) -> bool:
        return self.state == "closed" and self.failures == 0


def allows(breaker: Breaker, at: Instant) -> Literal["all", "probe", "none"]:
    """What may be sent through it at `at`."""
    if breaker.state == "closed":
        return "all"
    return "probe" if breaker.until <= at else "none"


def probed(breaker: Breaker, until: Instant) -> Breaker:
    """One message was taken as the probe of an open breaker, under a lease that ends at `until`."""
    return replace(breaker, state=TABLE[breaker.state, "probed"], until=until)


def answered(breaker: Breaker) -> Breaker:
    """Somebody is there."""
    return Breaker(breaker.lane, TABLE[breaker.state, "answered"])


def failed(breaker: Breaker, policy: Policy, at: Instant, retry_after: int | None = None) -> Breaker:
    """A try failed at `at`. The endpoint may ask for a longer pause than its turn's, up to the longest."""
    failures = breaker.failures + 1
    last = breaker.state == "closed" and failures >= policy.failures
    state = TABLE[breaker.state, "exhausted" if last else "failed"]
    if state != "open":
        return replace(breaker, state=state, failures=failures)
    if breaker.state == "open":
        return breaker
    pause = policy.pauses[min(breaker.opened, len(policy.pauses) - 1)]
    if retry_after is not None:
        pause = max(pause, min(retry_after, policy.pauses[-1]))
    return Breaker(breaker.lane, "open", 0, breaker.opened + 1, Instant(at + pause))


def is_failure(status: int | None) -> bool:
    """Whether an answer (None: there was none) says that the endpoint cannot work now."""
    return status is None or status in (408, 429) or status >= 500
