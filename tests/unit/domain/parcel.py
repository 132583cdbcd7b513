"""One parcel for the tracker's tests: answers about it, its fold, and what to look at in the view."""

from tests.unit.domain.history import BOX, BP, ORDER, UPS, journal, order_answer, package, tracker_answer

from milepost.domain.fact import fact_of
from milepost.domain.record import subjects_of, tracker_subject
from milepost.domain.tracker import fold_tracker

SUBJECT = tracker_subject(*UPS)


def day(number, hour=12):
    """Noon (or `hour`) of a day in January, UTC."""
    return f"2025-01-{number:02d}T{hour:02d}:00:00Z"


def track(*arrivals, explain=False, tracker=UPS):
    """Journal, and fold what is about the tracker."""
    subject = tracker_subject(*tracker)
    facts = [fact_of(r) for r in journal(arrivals) if subject in subjects_of(r)]
    return fold_tracker(BP, *tracker, facts, explain)


def answer(at, *milestones, **more):
    return tracker_answer(at, UPS, *milestones, **more)


def seen(*milestones, at="2025-01-31T23:00:00Z"):
    """The view from one answer that lists these milestones."""
    return track(answer(at, *milestones)).document


def standings(document):
    return {(m["code"], m["occurredAt"]): m["standing"] for m in document["milestones"]}


def conditions(document, code=None):
    """(code, kind) to whether it is open."""
    return {
        (c["code"], c["kind"]): c["clearedAt"] is None
        for c in document["conditions"]
        if c["code"] != "ORPHAN" and code in (None, c["code"])
    }


def condition_of(document, code):
    return next(c for c in document["conditions"] if c["code"] == code)


def bound(at, order_id=ORDER, created=None, delivery=BOX, **more):
    """An order answer that names the tracker."""
    metadata = {"metadata": {"createdAt": created}} if created else {}
    made = order_answer(at, package(delivery, "IN_TRANSIT", tracker=UPS, **more), **metadata)
    if order_id != ORDER:
        made = type(made)(
            made.kind, made.type, made.published_at, made.body.replace(ORDER.encode(), order_id.encode())
        )
    return made
