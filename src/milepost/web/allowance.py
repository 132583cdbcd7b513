"""How often something may be tried: so many times in a window, counted by key, in this process.

For what nobody signs in for. Several hubs count each for itself. It forgets the keys that were seen longest ago
rather than growing, so that whoever sends many different ones fills no memory.
"""

import ipaddress
from collections import OrderedDict, deque

from milepost.domain.instant import HOUR, MINUTE, Instant
from milepost.web.remote import counted_as

MOST_KEYS = 20_000
"""More than `Lookups` lets through in an hour, so that nobody makes it forget a number by trying others."""


class Allowance:
    """`most` tries in `window_ms` for each key."""

    def __init__(self, most: int, window_ms: int) -> None:
        self._most = most
        self._window_ms = window_ms
        self._tries: OrderedDict[str, deque[Instant]] = OrderedDict()

    def is_left(self, key: str, now: Instant) -> bool:
        """Whether a try would be one of those that are allowed; it counts nothing."""
        tries = self._tries.get(key, ())
        return sum(at > now - self._window_ms for at in tries) < self._most

    def take(self, key: str, now: Instant) -> bool:
        """Whether this try is one of those that are allowed; it counts if it is."""
        tries = self._tries.setdefault(key, deque())
        self._tries.move_to_end(key)
        while tries and tries[0] <= now - self._window_ms:
            tries.popleft()
        if len(tries) >= self._most:
            return False
        tries.append(now)
        if len(self._tries) > MOST_KEYS:
            self._tries.popitem(last=False)
        return True


class Lookups:
    """What may still be tried, of one process."""

    def __init__(self) -> None:
        self._by_number = Allowance(5, HOUR)
        self._by_address = Allowance(20, 10 * MINUTE)
        self._altogether = Allowance(300, MINUTE)

    def take(self, number: str, address: str, now: Instant) -> bool:
        """Whether somebody at this address may try this number now. What is refused for its address or its number is
        not counted for all, so that nobody uses up by themselves what others have."""
        return (
            (_is_a_proxys(address) or self._by_address.take(counted_as(address), now))
            and self._altogether.is_left("", now)
            and self._by_number.take(number, now)
            and self._altogether.take("", now)
        )


def _is_a_proxys(address: str) -> bool:
    """Whether everybody may come from it: what stands in front of a hub has a private address."""
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return True
