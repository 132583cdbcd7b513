"""Pacing: how many messages each destination that asked for a rate may be given now, and until when it rests.

A destination's next message is due one interval after the one before it. Who comes late to that (turns are not taken
by the microsecond) may catch up on `SLACK`, no more, so over any stretch of time a destination gets its rate and at
most `SLACK` of it on top. Only what a destination has free hands for is counted in, so that a slow one does not get
all at once what piled up in its lane. It goes by the clock that it is told, a clock that is set back included; what
it knows is of this process, and after a restart it begins with the same slack.
"""

import math
from collections.abc import Iterable, Mapping

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import SECOND, Instant

SLACK = SECOND // 4
"""Milliseconds that may be caught up on."""


class Pace:
    """One rate, in messages a second: `tokens` may go now; `take` says that some did."""

    __slots__ = ("following", "interval")

    def __init__(self, rate: float) -> None:
        self.interval = SECOND / rate
        """Milliseconds from one message to the next."""
        self.following = -math.inf
        """When the next is due."""

    def tokens(self, now: Instant) -> int:
        since = now - self._begun(now)
        return 0 if since < 0 else 1 + int(since / self.interval)

    def take(self, now: Instant, count: int) -> None:
        self.following = self._begun(now) + count * self.interval

    def rests(self, now: Instant) -> Instant | None:
        """Until when nothing more may go; None when something may."""
        return Instant(math.ceil(self.following)) if self._begun(now) > now else None

    def _begun(self, now: Instant) -> float:
        """From when on that may go which did not."""
        if self.following > now + self.interval:
            self.following = now  # The clock was set back.
        return max(self.following, now - SLACK)


class _Paced(Pace):
    __slots__ = ("under_way",)

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.under_way: set[tuple[str, bool]] = set()

    @property
    def most(self) -> int:
        return 1 + int(SLACK / self.interval)


class Pacing:
    """At most `concurrency` messages, or what the slack amounts to, are under way to a destination with a rate."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._paces: dict[str, _Paced] = {}

    def allowed(self, now: Instant) -> dict[str, int]:
        """How many each may be given now. One that is not named has been given nothing of late: it may have one."""
        allowed: dict[str, int] = {}
        for destination, pace in [*self._paces.items()]:
            if not pace.under_way and pace.following < now - SLACK:
                del self._paces[destination]
                continue
            hands = max(self._concurrency, pace.most) - len(pace.under_way)
            allowed[destination] = max(0, min(pace.tokens(now), hands))
        return allowed

    def resting(self, now: Instant) -> dict[str, Instant]:
        """Until when each is given nothing more."""
        resting = ((destination, pace.rests(now)) for destination, pace in self._paces.items())
        return {destination: until for destination, until in resting if until is not None}

    def given(
        self, now: Instant, messages: Iterable[Message], destinations: Mapping[str, Destination]
    ) -> None:
        """These were claimed, for these destinations as they are now."""
        for message in messages:
            destination = destinations.get(message.destination_id)
            if destination is None or not destination.rate:
                self._paces.pop(message.destination_id, None)
                continue
            pace = self._paces.setdefault(destination.id, _Paced(destination.rate))
            pace.interval = SECOND / destination.rate
            pace.take(now, 1)
            pace.under_way.add(_key(message))

    def ended(self, messages: Iterable[Message]) -> None:
        """These are under way no more: something came of them, or they were given back."""
        for message in messages:
            if (pace := self._paces.get(message.destination_id)) is not None:
                pace.under_way.discard(_key(message))

    def __bool__(self) -> bool:
        return bool(self._paces)

    def forget(self) -> None:
        """Destinations were changed: what is under way goes on counting, their rates are learnt anew."""
        self._paces = {key: pace for key, pace in self._paces.items() if pace.under_way}
        for pace in self._paces.values():
            pace.following = -math.inf


def _key(message: Message) -> tuple[str, bool]:
    return message.id, message.manual
