"""Facts of late, decoded: what the projector keeps of records between batches. What is folded of them is its own."""

import threading

from msgspec import Struct

from milepost.domain.erasure import ERASED
from milepost.domain.fact import Fact, fact_of
from milepost.domain.record import Record

KNOWN_BYTES = 2_000_000
"""Bodies whose facts are kept between batches; decoded, an order answer takes some ten times its bytes."""


class _Kept(Struct, frozen=True):
    """A fact, the bytes of its record's body, and whether that was rewritten."""

    fact: Fact
    size: int
    erased: bool


class Known:
    """Facts of late, by position: parcels under way are folded again and again from the same ones.

    Two threads may be at it: a fold that nobody waits for any more ends in its own time."""

    def __init__(self) -> None:
        self._facts: dict[int, _Kept] = {}
        self._bytes = 0
        self._changing = threading.Lock()

    def fact(self, record: Record) -> Fact:
        """The record's fact. Raises what `fact_of` raises."""
        found = self._facts.get(record.position)
        # A body is rewritten once, by an erasure, which flags it: what was kept of it goes.
        if found is not None and found.erased == (ERASED in record.flags):
            return found.fact
        kept = _Kept(fact_of(record), len(record.body), ERASED in record.flags)
        with self._changing:
            if (before := self._facts.get(record.position)) is not None:
                self._bytes -= before.size
            self._bytes += kept.size
            self._facts[record.position] = kept
            while self._bytes > KNOWN_BYTES and len(self._facts) > 1:
                self._bytes -= self._facts.pop(next(iter(self._facts))).size
        return kept.fact
