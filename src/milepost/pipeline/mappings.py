"""Reading the versions of the mapping of milestone codes out of the journal. What they mean is `domain.mapping`'s."""

from collections.abc import Iterable

import msgspec

from milepost.domain.mapping import SUBJECT, CodeMapping, MappingChange, Mappings
from milepost.domain.record import Record
from milepost.store import Transaction

KEY = ("", SUBJECT)
"""Where they are indexed: under no business product."""


def mappings_of(tx: Transaction, fresh: Iterable[Record] = ()) -> Mappings:
    """Every version that the projector has come to, and those among these records that it is about to."""
    records = {record.position: record for record in tx.journal.of_subjects([KEY]).get(KEY, ())}
    records |= {record.position: record for record in fresh if record.kind == "mapping"}
    versions = [(position, change_of(records[position])) for position in sorted(records)]
    return Mappings(CodeMapping(change.version, change.entries, position) for position, change in versions)


def change_of(record: Record) -> MappingChange:
    """The version in a mapping record."""
    return msgspec.json.decode(record.body, type=MappingChange)
