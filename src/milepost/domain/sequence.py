"""What a record is about, for destinations that are told one thing after the other: its order, else its tracker.

Events and intents about the same order are of one sequence; records about nothing of the kind are of none.
"""

from typing import Final

from milepost.domain.record import Record, order_subject, resource_subjects, subjects_of, told_subject

_TOLD: Final = told_subject("")
_ORDER: Final = order_subject("")


def sequence_of(record: Record) -> str:
    """The order or the tracker, with its business product; empty when there is neither."""
    subject = _subject(record)
    return f"{record.business_product_id}/{subject}" if subject else ""


def _subject(record: Record) -> str:
    if record.kind not in ("event", "conflict"):
        about = subjects_of(record)
        return about[0].removeprefix(_TOLD) if about else ""
    subjects = [subject for resource in record.event().resources for subject in resource_subjects(resource)]
    orders = (subject for subject in subjects if subject.startswith(_ORDER))
    return next(orders, subjects[0] if subjects else "")
