"""Leases as every store has them: which of several hubs on one database does what only one may do."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from milepost.domain.instant import Instant


class Lease(Struct, frozen=True):
    """Who does a piece of work (`name`: projector, hydrator, sweeper …) until when.

    `fence` goes up whenever the holder changes, so that what an earlier holder still commits can be told."""

    name: str
    owner: str
    """One process: no two hubs, and no two starts of one, have the same."""
    fence: int
    until: Instant
    label: str = ""
    """For people: which program, on which host, with which pid."""


class Leases(Protocol):
    def take(self, name: str, owner: str, label: str, now: Instant, until: Instant) -> Lease | None:
        """Take a lease that is free or has run out, or prolong one's own; None while somebody else has it."""
        ...

    def give_up(self, name: str, owner: str) -> None:
        """Let go of a lease, so that the next one need not wait. One that somebody else has stays as it is."""
        ...

    def holds(self, name: str, fence: int) -> bool:
        """Whether this fence is still the newest. Asked in the transaction whose effects it guards."""
        ...

    def all(self) -> Sequence[Lease]:
        """Every lease there is, by name, given up and run out ones too (a handful)."""
        ...
