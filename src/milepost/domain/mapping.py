"""What carriers' codes are taken to mean: version 1 as Milepost ships it, and what operators add (tracking.md T10).

The thirteen codes of Amazon's page mean what they say (`milestone`); that is version 1. An operator says what another
code means, of every carrier or of one: one of the thirteen, or nothing (shown, and no longer unmapped). Each change
makes a version, which is a record of the journal that holds every entry, so that the newest one alone is enough.

**Which version a tracker is folded with**: the newest that was journalled before its newest fact. So a view is a
function of the journal up to a position, whatever the batches were, and a change costs nothing by itself: afterwards
`pipeline.remapping` journals a `Remap` for each tracker that has an affected code, which is its newest fact then.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from milepost.domain.instant import Instant

NOTHING: Final = ""
"""The meaning of a code that is shown, and says nothing."""
SUBJECT: Final = "mapping"
"""Where the versions stand, of no business product: a carrier's codes mean the same to all."""
MOST_ENTRIES: Final = 500
_LONGEST: Final = 100

Place = tuple[str, str]
"""(code in lower case, carrier code in lower case or empty for every carrier)."""


class Entry(Struct, frozen=True, rename="camel"):
    """What one code means."""

    code: str
    """As milestones have it: upper case, with underscores."""
    meaning: str
    """One of Amazon's codes, or `NOTHING`."""
    carrier_code: str = ""
    """In lower case; empty: every carrier that has no entry of its own."""

    @property
    def place(self) -> Place:
        return self.code.lower(), self.carrier_code


class MappingChange(Struct, frozen=True, rename="camel"):
    """The body of a mapping record: a version, whole."""

    version: int
    entries: tuple[Entry, ...]
    at: Instant
    author: str
    reason: str
    about: tuple[str, ...] = (SUBJECT,)


class Remap(Struct, frozen=True, rename="camel"):
    """The body of a remap record: a tracker is folded anew, with the newest version."""

    version: int
    about: tuple[str, ...]
    """The tracker."""


class RemapFact(Struct, frozen=True):
    """Says nothing of a parcel; that it is there says with which version its tracker is folded."""

    position: int
    received_at: Instant
    at: Instant


class CodeMapping:
    """One version, to be looked things up in."""

    def __init__(self, version: int, entries: Iterable[Entry] = (), position: int = 0) -> None:
        self.version = version
        self.entries = tuple(entries)
        self.position = position
        """Of its record; 0 for version 1, and for one that is only proposed."""
        self._meanings = {entry.place: entry.meaning for entry in self.entries}

    def meaning(self, carrier_code: str, code: str) -> str | None:
        """What a carrier's code means (`carrier_code` in lower case); None where no entry says."""
        if not self._meanings:
            return None
        code = code.lower()
        own = self._meanings.get((code, carrier_code))
        return self._meanings.get((code, "")) if own is None else own


STANDARD: Final = CodeMapping(1)


class Mappings:
    """Every version that there was, by position."""

    def __init__(self, versions: Iterable[CodeMapping] = ()) -> None:
        found = sorted(versions, key=lambda mapping: mapping.position)
        self.versions: tuple[CodeMapping, ...] = (STANDARD, *found)
        self._positions = [mapping.position for mapping in self.versions]

    @property
    def newest(self) -> CodeMapping:
        return self.versions[-1]

    def at(self, position: int) -> CodeMapping:
        """The newest that was journalled up to a position."""
        return self.versions[max(bisect_right(self._positions, position), 1) - 1]


ONLY_STANDARD: Final = Mappings()


def proposed(entries: Iterable[Entry]) -> Mappings:
    """A version that nobody journalled, as if it had always been there."""
    return Mappings([CodeMapping(0, entries)])


def changed_entries(entries: Sequence[Entry], changes: Mapping[Place, Entry | None]) -> tuple[Entry, ...]:
    """The entries after changes: set, or (None) taken away. By code and carrier."""
    found = {entry.place: entry for entry in entries}
    for place, entry in changes.items():
        if entry is None:
            found.pop(place, None)
        else:
            found[place] = entry
    return tuple(found[place] for place in sorted(found))


def affected(before: Sequence[Entry], after: Sequence[Entry]) -> list[Place]:
    """What a change from one version to another touches, sorted."""
    was, will = {e.place: e.meaning for e in before}, {e.place: e.meaning for e in after}
    return sorted(place for place in was.keys() | will.keys() if was.get(place) != will.get(place))


# ── Finding trackers by their codes ────────────────────────────────────────────────────────────────────────

PREFIX: Final = "\x1fcode/"
"""Begins with what nobody types, so that no search for an order or a parcel meets it."""


def code_term(code: str, carrier_code: str = "") -> str:
    """The search term of trackers that have a code that isn't Amazon's; without a carrier the beginning of all of
    them. Codes that begin alike for very long share theirs."""
    return f"{PREFIX}{code.lower()[:_LONGEST]}\x1f{carrier_code[:_LONGEST]}"


def read_term(term: str) -> Place:
    """(code, carrier code) of a term, in lower case."""
    code, _, carrier = term.removeprefix(PREFIX).partition("\x1f")
    return code, carrier
