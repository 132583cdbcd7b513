"""Rows of the dataset `facts`: one record of the journal to what the folds read in it (`feed` names the columns).

A record never changes and neither do its rows, so the dataset only grows. A scan that several answers show has a row
in each of them: `milestones` has it once, with its standing, which later records may change. Notes and intents are no
facts and have no row.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import MsgspecError

from milepost.domain.correction import CorrectionFact, WithdrawalFact
from milepost.domain.errors import Malformed
from milepost.domain.fact import (
    AuthorizationFact,
    ConditionFact,
    EventFact,
    Fact,
    OrderAnswer,
    SettlementFact,
    SnapshotFact,
    TrackerAnswer,
    fact_of,
)
from milepost.domain.feed import Cell, Row
from milepost.domain.instant import Instant, Stamp
from milepost.domain.mapping import STANDARD, CodeMapping
from milepost.domain.milestone import CONDITION_OF, STAGE_OF
from milepost.domain.record import Record

MAPPED: Final[dict[str, str]] = STAGE_OF | CONDITION_OF
"""What each of Amazon's codes means: a stage, or a condition."""

_KINDS = frozenset(
    {"event", "conflict", "snapshot", "condition", "settlement", "authorization", "correction", "withdrawal"}
)
_BROKEN = (Malformed, ValueError, TypeError, LookupError, AttributeError, RecursionError, MsgspecError)
"""What a body that cannot be read raises; it costs its own rows and stops nothing."""

_Names = tuple[str | None, str | None, str | None, str | None]
"""(order id, delivery id, carrier code, tracking number)."""
_More = tuple[Cell, ...]
"""raised, reason, region, country, earliest, latest, until, shownBy, eventId, origin."""
_NAMELESS: _Names = (None, None, None, None)
_NO_TIME = (None, None, None)


def fact_rows(record: Record, mapping: CodeMapping = STANDARD) -> list[Row]:
    """The rows of one record, in an order that is always the same; none for a record that is no fact. `mapping` is
    the version that held when it was journalled."""
    if record.kind not in _KINDS:
        return []
    try:
        return list(_rows(record, fact_of(record), mapping))
    except _BROKEN:
        return [_Writer(record, None, mapping).row("unreadable", None, _NAMELESS, _NO_TIME, more=_more())]


def _rows(record: Record, fact: Fact, mapping: CodeMapping) -> Iterator[Row]:
    if isinstance(fact, EventFact):
        answered = fact.published_at if fact.answer is not None else None
        yield from _event(_Writer(record, answered, mapping), record, fact)
    elif isinstance(fact, SnapshotFact):
        yield from _snapshot(_Writer(record, fact.observed_at, mapping), fact)
    elif isinstance(fact, ConditionFact):
        yield _condition(_Writer(record, None, mapping), fact)
    elif isinstance(fact, SettlementFact):
        settlement = fact.settlement
        more = _more(origin=settlement.position)
        row = _Writer(record, None, mapping).row
        yield row("settlement", settlement.outcome, _subject(settlement.about), _at(settlement.at), more=more)
    elif isinstance(fact, AuthorizationFact):
        told = fact.authorization
        when = _NO_TIME if told.authorized_at is None else _at(told.authorized_at)
        row, names = _Writer(record, None, mapping).row, (told.order_id, None, None, None)
        yield row("authorization", "authorization", names, when, more=_more(until=told.capture_before))
    elif isinstance(fact, CorrectionFact):
        yield _correction(_Writer(record, None, mapping), fact)
    elif isinstance(fact, WithdrawalFact):
        end, row = fact.withdrawal, _Writer(record, None, mapping).row
        yield row(
            "withdrawal", end.outcome, _subject(end.about), _at(end.at), more=_more(origin=record.origin)
        )


class _Writer:
    """Writes the rows of one record: what they share is looked up once, and parts are counted."""

    def __init__(self, record: Record, observed_at: Instant | None, mapping: CodeMapping) -> None:
        self._mapping = mapping
        self._position, self._kind, self._product = record.position, record.kind, record.business_product_id
        published = None if record.kind == "snapshot" else record.published_at
        self._times = (published, record.received_at, observed_at)
        self._end = (record.road, mapping.version)
        self._part = 0

    def row(
        self,
        kind: str,
        code: str | None,
        names: _Names,
        when: tuple[Cell, Cell, Cell],
        mapped: str | None = None,
        *,
        more: _More,
    ) -> Row:
        part = self._part
        self._part = part + 1
        head = (self._position, part, self._kind, kind, code, mapped, self._product)
        return (*head, *names, *when, *self._times, *more, *self._end)

    def mapped(self, carrier_code: str, code: str) -> str | None:
        """What a carrier's code is taken to mean. Amazon's mean what they say, whatever anybody says of others."""
        if code in MAPPED:
            return MAPPED[code]
        return MAPPED.get(self._mapping.meaning(carrier_code.lower(), code) or "")


def _more(
    raised: bool | None = None,
    reason: str | None = None,
    region: str | None = None,
    country: str | None = None,
    earliest: str | None = None,
    latest: str | None = None,
    until: Instant | None = None,
    shown_by: str | None = None,
    event_id: str | None = None,
    origin: int | None = None,
) -> _More:
    return raised, reason, region, country, earliest, latest, until, shown_by, event_id, origin


def _event(writer: _Writer, record: Record, fact: EventFact) -> Iterator[Row]:
    """A claim for each resource, then what the event carried."""
    event_id = fact.event_id or None
    more = _more(event_id=event_id, origin=record.origin)
    for names in _claimed(fact):
        yield writer.row("claim", fact.type, names, _NO_TIME, more=more)
    if fact.answer is not None:
        yield from _order(writer, fact.answer, "data", event_id)


def _claimed(fact: EventFact) -> Iterator[_Names]:
    if fact.resources:
        for resource in fact.resources:
            ids = resource.ids
            yield ids.get("order"), ids.get("delivery"), ids.get("carrier"), ids.get("tracker")
        return
    # A single resource names one of each at most.
    delivery = fact.delivery_ids[0] if fact.delivery_ids else None
    carrier, number = fact.trackers[0] if fact.trackers else (None, None)
    yield fact.order_id, delivery, carrier, number


def _snapshot(writer: _Writer, fact: SnapshotFact) -> Iterator[Row]:
    """That there was an answer (and to what), then what it showed. An answer that shows nothing is a row too."""
    names = (fact.order_id, None, fact.carrier_code, fact.tracking_number)
    shown = fact.order is not None or fact.tracker is not None
    reason = None if shown else "nothing"
    yield writer.row("answer", fact.query, names, _NO_TIME, more=_more(reason=reason, shown_by=fact.query))
    if fact.order is not None:
        yield from _order(writer, fact.order, "order", None)
    if fact.tracker is not None:
        yield from _tracker(writer, fact.tracker, (None, None), "packageTracker", None)


def _order(writer: _Writer, answer: OrderAnswer, shown_by: str, event_id: str | None) -> Iterator[Row]:
    for package in answer.packages:
        carried = package.tracker
        parcel = (None, None) if carried is None else (carried.carrier_code, carried.tracking_number)
        names = (answer.order_id, package.delivery_id, *parcel)
        more = _more(reason=package.reason, shown_by=shown_by, event_id=event_id)
        yield writer.row("delivery", package.state or None, names, _NO_TIME, more=more)
        if carried is not None:
            of = (answer.order_id, package.delivery_id)
            yield from _tracker(writer, carried, of, shown_by, event_id)


def _tracker(
    writer: _Writer,
    tracker: TrackerAnswer,
    of: tuple[str | None, str | None],
    shown_by: str,
    event_id: str | None,
) -> Iterator[Row]:
    names = (*of, tracker.carrier_code, tracker.tracking_number)
    if tracker.earliest is not None or tracker.latest is not None:
        window = _day(tracker.earliest), _day(tracker.latest)
        given: _More = (None, None, None, None, *window, None, shown_by, event_id, None)
        yield writer.row("estimate", None, names, _NO_TIME, more=given)
    more: _More
    for scan in tracker.milestones or ():
        when = scan.occurred
        times = _NO_TIME if when is None else (when.at, when.local_date, when.zone)
        place = (scan.region or None, scan.country or None)
        more = (None, None, *place, None, None, None, shown_by, event_id, None)
        mapped = writer.mapped(tracker.carrier_code, scan.code)
        yield writer.row("milestone", scan.code, names, times, mapped, more=more)


def _condition(writer: _Writer, fact: ConditionFact) -> Row:
    change = fact.change
    kind = change.evidence.get("kind")
    more = _more(change.raised, kind if isinstance(kind, str) else None)
    names = _subject((change.subject, *change.about))
    return writer.row("condition", change.code, names, _at(change.at), more=more)


def _correction(writer: _Writer, fact: CorrectionFact) -> Row:
    said, occurred = fact.correction, fact.occurred
    times = (occurred.at, occurred.local_date, occurred.zone)
    more = _more(until=said.expires_at)
    return writer.row("correction", said.state, _subject(said.about), times, more=more)


def _subject(subjects: tuple[str, ...]) -> _Names:
    """What subjects name, the first of each sort."""
    found: dict[str, str] = {}
    for subject in subjects:
        kind, _, name = subject.partition("/")
        found.setdefault(kind, name)
    carrier, _, number = found.get("tracker", "").partition("/")
    return found.get("order"), found.get("delivery"), carrier or None, number or None


def _at(at: Instant) -> tuple[Cell, Cell, Cell]:
    """Of what Milepost found out itself: an instant, and no local day."""
    return at, None, None


def _day(stamp: Stamp | None) -> str | None:
    return None if stamp is None else stamp.local_date
