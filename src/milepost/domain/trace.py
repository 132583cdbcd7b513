"""One line of an explanation: what a fold did with one fact, and by which rule.

Folds fill traces only when asked to explain; views never hold them.
"""

from msgspec import Struct


class TraceEntry(Struct, frozen=True):
    """What a fold made of the fact at `position` (or of one milestone in it)."""

    position: int
    kind: str
    """event, conflict, snapshot, condition or settlement."""
    what: str
    """The event's type, the query, the condition's code, or a milestone's code: what the line is about."""
    used: bool
    """False: set aside."""
    rule: str
    """A rule of tracking.md ("T4", "D1"), or a part of the design ("design 8")."""
    text: str
    """A plain sentence for people."""
