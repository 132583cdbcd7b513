"""How often something may be tried: so many times in a window, counted by key, in this process.

For what nobody signs in for. Several hubs count each for itself. It forgets the keys that were seen longest ago
rather than growing, so that whoever sends many different ones fills no memory.
"""

import ipaddress
from collections import OrderedDict, deque

from milepost.domain.instant import HOUR, MINUTE, Instant

MOST_KEYS = 10_000


class Allowance:
    """`most` tries in `window_ms` for each key."""

    def __init__(self, most: int, window_ms: int) -> None:
        self._most = most
        self._window_ms = window_ms
        self._tries: OrderedDict[str, deque[Instant]] = OrderedDict()

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
        """Whether somebody at this address may try this number now."""
        return (
            self._altogether.take("", now)
            and (_is_a_proxys(address) or self._by_address.take(address, now))
            and self._by_number.take(number, now)
        )


def _is_a_proxys(address: str) -> bool:
    """Whether everybody may come from it: what stands in front of a hub has a private address."""
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return True
