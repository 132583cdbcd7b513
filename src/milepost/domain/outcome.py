"""What became of an event: one word, with the rule that decided and a sentence for people.

The first line that holds decides:

| outcome     | when                                                                                     | rule      |
|-------------|------------------------------------------------------------------------------------------|-----------|
| failed      | a consumer could not process it; it stopped nothing                                      | design 5  |
| notFolded   | the projector has not come to it yet                                                     | design 5  |
| conflict    | it is a copy whose `data` differs from the original's; both are kept                     | design 6  |
| unmapped    | its type is in no catalogue: kept, shown and passed on                                   | design 9  |
| orphan      | it names a tracker that no order is known to belong to yet                               | design 5  |
| applied     | a fold used it; of a milestone event: the milestone that it told counts                  | its rule  |
| unmapped    | the milestone that it told has a code that Milepost doesn't know: the stage stays        | T10       |
| historyFill | what it told had been overtaken: it fills history and changes no stage                   | T4        |
| waiting     | it only says that a milestone changed, and no answer has shown which                     | design 8  |
| unanswered  | the same, and asking was given up                                                        | design 8  |
| duplicate   | it says again, under other ids, what an earlier event said                               | design 6  |
| noOp        | every fold set it aside, or none reads it                                                | its rule  |

`applied`, `duplicate` and `noOp` repeat what `explain` says of the fact: used or set aside, and by which rule. A
milestone event is thin: what it told is the milestone that it was matched to in an answer (`hydration`), so its
outcome is that milestone's standing. Where several orders or trackers read one event, the first of `ORDER` counts.

How often a record came (`copies`), and that its idempotencyKey was used for something else too (`key_reuse`), stand
beside the outcome and change nothing of it. A body in quarantine is no record: its outcome is always `quarantined`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from milepost.domain.event import BY_NAME
from milepost.domain.hydration import MILESTONE
from milepost.domain.record import Kind
from milepost.domain.trace import TraceEntry
from milepost.domain.wording import milestone_name

Code = Literal[
    "applied",
    "duplicate",
    "historyFill",
    "noOp",
    "orphan",
    "unmapped",
    "conflict",
    "waiting",
    "unanswered",
    "notFolded",
    "failed",
]
CODES: Final[tuple[Code, ...]] = get_args(Code)
ORDER: Final[tuple[Code, ...]] = (
    "orphan",
    "applied",
    "unmapped",
    "historyFill",
    "waiting",
    "unanswered",
    "duplicate",
    "noOp",
)
"""Which of several folds' outcomes is the event's."""

KEY_REUSE, CONFLICT = "keyReuse", "conflict"

_STANDINGS: Final[Mapping[str, Code]] = {
    "counts": "applied",
    "annotates": "applied",
    "historyFill": "historyFill",
    "unmapped": "unmapped",
}
"""A milestone's standing (`domain.milestone`) to what became of the event that told it; any other: noOp."""
_SAYS_AGAIN = "design 6"


class Outcome(Struct, frozen=True):
    """What became of an event."""

    code: Code
    rule: str
    """A rule of tracking.md ("T4", "D1"), or a part of the design ("design 8")."""
    text: str
    """A plain sentence for people."""
    copies: int = 0
    """How often it came again."""
    key_reuse: bool = False
    """Its idempotencyKey came with something else too."""
    disputed: bool = False
    """A copy of it came whose `data` differs."""


class Told(Struct, frozen=True):
    """What a milestone event told, as far as answers show it."""

    milestone: Mapping[str, Any] | None = None
    """As the tracker's view shows it."""
    entry: TraceEntry | None = None
    """The line of the explanation about it."""
    settled: str = ""
    """noNewMilestone or gaveUp, where asking ended without an answer."""


class Reading(Struct, frozen=True):
    """What the fold of one order or tracker made of one event."""

    entries: tuple[TraceEntry, ...]
    """The lines of its explanation about this event: those of deliveries and trackers, else the order's own."""
    orphan: bool = False
    """It is a tracker's, and no order is known."""
    told: Told | None = None
    """Of a milestone event."""


def outcome_of(
    kind: Kind,
    type: str,
    arrivals: int,
    flags: Sequence[str],
    readings: Sequence[Reading],
    *,
    folded: bool = True,
    failed: bool = False,
) -> Outcome:
    """The outcome of an event or a conflicting copy. `type` is canonical; `arrivals` counts the first one too;
    `flags` are the record's with those that were found later; `folded` says that the projector has been there."""
    code, rule, text = _decided(kind, type, readings, folded=folded, failed=failed)
    return Outcome(code, rule, text, max(0, arrivals - 1), KEY_REUSE in flags, CONFLICT in flags)


def _decided(
    kind: Kind, type: str, readings: Sequence[Reading], *, folded: bool, failed: bool
) -> tuple[Code, str, str]:
    if failed:
        return "failed", "design 5", "A consumer could not process it; what it says is in no view."
    if not folded:
        return "notFolded", "design 5", "It is kept, and not folded yet."
    if kind == "conflict":
        return "conflict", _SAYS_AGAIN, "A copy of an earlier event whose data differs; both are kept."
    if type not in BY_NAME:
        return (
            "unmapped",
            "design 9",
            f"{type} is in no catalogue of events: it is kept, shown and passed on.",
        )
    found = [_read(type, reading) for reading in readings]
    if not found:
        return "noOp", "design 9", "It is kept and shown; no order or tracker is folded from it."
    return min(found, key=lambda one: ORDER.index(one[0]))


def _read(type: str, reading: Reading) -> tuple[Code, str, str]:
    if reading.orphan:
        return (
            "orphan",
            "design 5",
            "No order is known to this tracking number yet; one that names it adopts it.",
        )
    if type == MILESTONE and reading.told is not None:
        return _told(reading.told)
    used = [entry for entry in reading.entries if entry.used]
    if used:
        return "applied", used[0].rule, used[0].text
    for entry in reading.entries:
        if entry.rule == "T4":
            return "historyFill", entry.rule, entry.text
    for entry in reading.entries:
        if entry.rule == _SAYS_AGAIN:
            return "duplicate", entry.rule, entry.text
    if reading.entries:
        return "noOp", reading.entries[0].rule, reading.entries[0].text
    return "noOp", "design 9", "Nothing in it changes a view."


def _told(told: Told) -> tuple[Code, str, str]:
    if told.milestone is not None:
        code = _STANDINGS.get(told.milestone["standing"], "noOp")
        entry = told.entry
        if entry is None:
            return code, "T1", f"It told of “{milestone_name(told.milestone['code'])}”."
        return code, entry.rule, entry.text
    if told.settled == "noNewMilestone":
        return "noOp", "design 8", "Answers were asked for and showed no milestone that was not known."
    if told.settled:
        return "unanswered", "design 8", "It says that a milestone changed; asking which one was given up."
    return "waiting", "design 8", "It says that a milestone changed; no answer has shown which one yet."
