"""Milestones of one tracker as a set: which sightings are one scan, what each is called, which were retracted.

Every answer shows a list of milestones. A milestone seen in several answers is one `Scan`, identified by code,
occurrence to the second and locality (tracking.md 9.1; the generation is decided by `leg`). What a scan means
for the stage is `leg`'s; reading answers out of records is `fact`'s.

Nothing here depends on positions or received times except the two fields that report them, so that any order
of arrival gives the same scans.
"""

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from milepost.domain.fact import Milestone, Source, TrackerAnswer
from milepost.domain.instant import MINUTE, Instant, Stamp, format_instant
from milepost.domain.mapping import NOTHING, STANDARD, CodeMapping

STAGE_OF: dict[str, str] = {
    "PENDING": "PENDING",
    "INFO_RECEIVED": "INFO_RECEIVED",
    "IN_TRANSIT": "IN_TRANSIT",
    "OUT_FOR_DELIVERY": "OUT_FOR_DELIVERY",
    "AVAILABLE_FOR_PICKUP": "AVAILABLE_FOR_PICKUP",
    "LOST": "LOST",
    "UNDELIVERABLE": "UNDELIVERABLE",
    "RETURN_TO_SENDER": "RETURNING",
    "DELIVERED": "DELIVERED",
}
"""The positional codes of Amazon's thirteen (tracking.md 2.1), and the stage each means."""

CONDITION_OF: dict[str, str] = {
    "DELAYED": "DELAYED",
    "DELIVERY_ATTEMPTED": "ATTEMPT_FAILED",
    "EXCEPTION": "EXCEPTION",
    "CUSTOMER_ACTION": "CUSTOMER_ACTION",
}
"""The other four: conditions, which never set the stage by themselves (T2)."""

_RANK: dict[str, int] = {
    "PENDING": 0,
    "INFO_RECEIVED": 1,
    "IN_TRANSIT": 2,
    "OUT_FOR_DELIVERY": 3,
    "AVAILABLE_FOR_PICKUP": 4,
    # A condition of the same instant as a movement comes after it, and so stays open.
    "DELAYED": 5,
    "DELIVERY_ATTEMPTED": 5,
    "EXCEPTION": 5,
    "CUSTOMER_ACTION": 5,
    "LOST": 6,
    "UNDELIVERABLE": 7,
    # DELIVERED of the same instant as RETURN_TO_SENDER is an arrival at the sender: it comes after it (T7).
    "RETURN_TO_SENDER": 8,
    "DELIVERED": 9,
}
KNOWN: frozenset[str] = frozenset(_RANK)
"""Amazon's thirteen codes."""
UNMAPPED = -1
"""The rank of a code that Amazon's pages don't list and nobody mapped (T10)."""
MEANINGLESS = -2
"""The rank of a code that was mapped to nothing."""

CLOCK_SUSPECT = "clock_suspect"
REUSED_NUMBER_SUSPECTED = "reusedNumberSuspected"
_CLOCK_TOLERANCE = 15 * MINUTE

Key = tuple[str, int, str]
"""(code, second it occurred in or -1, locality without case)."""

SortKey = tuple[int, int, int, int, Key]

_SOURCE_BIT: dict[Source, int] = {"data": 1, "order": 2, "packageTracker": 4}


written = lru_cache(maxsize=8_192)(format_instant)
"""`format_instant`, remembered: each new fact folds the same times again."""


class Answer(Struct, frozen=True):
    """One `packageTracker` object, and when and by which query it was seen."""

    observed_at: Instant
    """A snapshot's observedAt; for an event's `data`, when the event was published."""
    source: Source
    tracker: TrackerAnswer
    position: int
    received_at: Instant


class Scan(Struct, eq=False):
    """One milestone, merged from every answer that showed it. Compared by identity."""

    key: Key
    newest: Milestone
    """As the newest answer that showed it did."""
    code: str
    rank: int
    raw_code: str
    occurred: Stamp | None
    locality: str
    region: str
    country: str
    messages: tuple[tuple[str, str], ...]
    """(locale, text), from the newest answer that had any."""
    first_observed: Instant
    last_observed: Instant
    first_received: Instant
    position: int
    """The lowest position of a fact that showed it."""
    sources: int
    at: int = 0
    """What it is ordered by: occurrence, capped by T9; undated, when it was first observed."""
    standing: str = "counts"
    rule: str = "T1"
    generation: int = 1
    flags: tuple[str, ...] = ()
    text: str | None = None
    """occurredAt, formatted."""

    def settle_time(self) -> None:
        """Decide `at` and the clock flag, once every answer is merged (T9: the cap is the first observation)."""
        if self.occurred is None:
            self.at = self.first_observed
            return
        self.at = self.occurred.at
        self.text = written(self.occurred.at)
        if self.at > self.first_observed + _CLOCK_TOLERANCE:
            self.at = self.first_observed
            self.flags = (CLOCK_SUSPECT,)

    def take_for(self, meaning: str | None) -> None:
        """Its code was mapped to this (T10); None: it wasn't."""
        if meaning == NOTHING:
            self.rank = MEANINGLESS
        elif meaning is not None:
            self.code, self.rank = meaning, _RANK[meaning]

    def order(self) -> SortKey:
        """Occurrence, then stage rank, then first observation, then what is stable. Unique among scans."""
        stated = self.at if self.occurred is None else self.occurred.at
        return self.at, stated, self.rank, self.first_observed, self.key

    def stamp(self) -> Stamp | None:
        """When it happened, as far as can be believed: a time capped by T9 is the cap, and says so."""
        if self.occurred is None or self.occurred.at == self.at:
            return self.occurred
        at = Instant(self.at)
        return Stamp(at, format_instant(at)[:10], "utc", self.occurred.text)

    def time(self) -> str | None:
        """`stamp` as text; None when undated."""
        if self.occurred is None or self.occurred.at == self.at:
            return self.text
        return written(Instant(self.at))


class Scans:
    """The scans of one tracker, and which answers showed which."""

    def __init__(
        self, answers: Sequence[Answer], mapping: CodeMapping = STANDARD, carrier_code: str = ""
    ) -> None:
        """`answers` oldest first (by observation), ties in an order that depends on their content only. `mapping`
        says what codes of this carrier (in lower case) mean that aren't Amazon's. Which sightings are one scan goes
        by the code as it was sent, so that a mapping never merges or parts scans."""
        self._by_key: dict[Key, Scan] = {}
        self._listings: list[tuple[int, Instant, list[Key]]] = []
        self._newest: dict[int, Instant] = {}
        for answer in answers:
            self._see(answer)
        self._join_unlocated()
        self.all: list[Scan] = list(dict.fromkeys(self._by_key.values()))
        for scan in self.all:
            if scan.rank == UNMAPPED:
                scan.take_for(mapping.meaning(carrier_code, scan.code))
            scan.settle_time()

    def _see(self, answer: Answer) -> None:
        milestones = answer.tracker.milestones
        if not milestones:
            return
        by_key, bit = self._by_key, _SOURCE_BIT[answer.source]
        observed_at, position, received_at = answer.observed_at, answer.position, answer.received_at
        keys: list[Key] = []
        for milestone in milestones:
            occurred = milestone.occurred
            second = -1 if occurred is None else occurred.at // 1000
            key = (milestone.code, second, milestone.locality.lower())
            keys.append(key)
            scan = by_key.get(key)
            if scan is None:
                by_key[key] = _scan(key, milestone, answer, bit)
                continue
            scan.last_observed = observed_at
            scan.sources |= bit
            if position < scan.position:
                scan.position = position
            if received_at < scan.first_received:
                scan.first_received = received_at
            if milestone != scan.newest:
                _annotate(scan, milestone)
        if answer.tracker.listed:
            # Only a whole, non-empty list can say that something is no longer there (T8).
            self._listings.append((bit, answer.observed_at, keys))
            self._newest[bit] = answer.observed_at

    def _join_unlocated(self) -> None:
        """A sighting without a locality is the located scan of the same code and second, where there is one:
        not every query selects the address."""
        unlocated = [key for key in self._by_key if not key[2]]
        if not unlocated or len(unlocated) == len(self._by_key):
            return
        located: dict[tuple[str, int], Key] = {}
        for key in sorted(self._by_key):
            if key[2]:
                located.setdefault(key[:2], key)
        for key in unlocated:
            if (other := located.get(key[:2])) is not None:
                _join(self._by_key[other], self._by_key[key])
                self._by_key[key] = self._by_key[other]

    def of(self, milestone: Milestone) -> Scan:
        """The scan that a milestone of one of the answers belongs to."""
        second = -1 if milestone.occurred is None else milestone.occurred.at // 1000
        return self._by_key[milestone.code, second, milestone.locality.lower()]

    def retracted(self) -> list[Scan]:
        """Scans that an answer showed and the newest answers of the same query no longer show (T8).

        A scan is retracted when a newer, non-empty list of a query that had shown it leaves it out, and no
        later answer of any query shows it. A list about another generation (it shows none of this one's
        scans) retracts nothing: a recycled number's new parcel doesn't undo the old one's delivery.
        """
        newest = self._newest.items()
        if max(self._newest.values(), default=0) <= min((s.last_observed for s in self.all), default=0):
            return []
        missing = [s for s in self.all if any(s.sources & bit and at > s.last_observed for bit, at in newest)]
        return [scan for scan in missing if self._left_out(scan)]

    def _left_out(self, scan: Scan) -> bool:
        return any(
            observed_at > scan.last_observed
            and scan.sources & bit
            and any(self._by_key[key].generation == scan.generation for key in keys)
            for bit, observed_at, keys in self._listings
        )


def _scan(key: Key, milestone: Milestone, answer: Answer, bit: int) -> Scan:
    return Scan(
        key,
        milestone,
        milestone.code,
        _RANK.get(milestone.code, UNMAPPED),
        milestone.raw_code,
        milestone.occurred,
        milestone.locality,
        milestone.region,
        milestone.country,
        milestone.messages,
        answer.observed_at,
        answer.observed_at,
        answer.received_at,
        answer.position,
        bit,
    )


def _annotate(scan: Scan, milestone: Milestone) -> None:
    """A later answer's text of the same scan replaces the older one's; what it leaves out stays."""
    scan.newest = milestone
    scan.raw_code = milestone.raw_code
    if milestone.messages:
        scan.messages = milestone.messages
    scan.locality = milestone.locality
    if milestone.region:
        scan.region = milestone.region
    if milestone.country:
        scan.country = milestone.country
    occurred, known = milestone.occurred, scan.occurred
    # Identity is to the second; the more precise time is kept whoever gave it.
    if occurred is not None and known is not None and (occurred.at % 1000 or not known.at % 1000):
        scan.occurred = occurred


def _join(located: Scan, unlocated: Scan) -> None:
    newer = unlocated.last_observed > located.last_observed
    if unlocated.messages and (newer or not located.messages):
        located.messages = unlocated.messages
    located.region = located.region or unlocated.region
    located.country = located.country or unlocated.country
    precise, known = unlocated.occurred, located.occurred
    if precise is not None and known is not None and precise.at % 1000 and not known.at % 1000:
        located.occurred = precise
    located.first_observed = min(located.first_observed, unlocated.first_observed)
    located.last_observed = max(located.last_observed, unlocated.last_observed)
    located.first_received = min(located.first_received, unlocated.first_received)
    located.position = min(located.position, unlocated.position)
    located.sources |= unlocated.sources
