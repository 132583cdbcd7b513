"""Which past records a replay is about, beyond what its destination wants: the filter of a `Replay`, as a value."""

import msgspec
from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.record import Record, told_subject


class Selection(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Everything, unless it says otherwise; each that is given narrows it."""

    business_product_id: str = ""
    """Needed with subjects: they are within one."""
    subjects: tuple[str, ...] = ()
    """What the records are about: orders and trackers, as `record` writes them."""
    since: Instant | None = None
    """Journalled at this time or later."""
    before: Instant | None = None
    types: tuple[str, ...] = ()

    @property
    def indexed(self) -> list[tuple[str, str]]:
        """The subjects under which the index has these records: events and what was told."""
        both = [name for subject in self.subjects for name in (subject, told_subject(subject))]
        return [(self.business_product_id, name) for name in both]


def encoded(selection: Selection) -> bytes:
    """As a `Replay` keeps it; nothing for everything."""
    return b"" if selection == Selection() else msgspec.json.encode(selection)


def selection_of(filter: bytes) -> Selection:
    """The filter of a replay."""
    return msgspec.json.decode(filter, type=Selection) if filter else Selection()


def selects(selection: Selection, record: Record) -> bool:
    """Whether a record is among it. Subjects are the index's to find, so they are not looked at."""
    return (
        selection.business_product_id in ("", record.business_product_id)
        and (not selection.types or record.type in selection.types)
        and (selection.since is None or record.received_at >= selection.since)
        and (selection.before is None or record.received_at < selection.before)
    )
