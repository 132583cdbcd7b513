"""How pages say what became of an event: a word, how bad it is, and an icon, by the codes of `domain.outcome`."""

from typing import Final, NamedTuple


class Word(NamedTuple):
    """An outcome on a page."""

    text: str
    tone: str
    icon: str


OUTCOMES: Final[dict[str, Word]] = {
    "applied": Word("Applied", "good", "check"),
    "duplicate": Word("Duplicate", "neutral", "copy"),
    "historyFill": Word("History fill", "neutral", "archive-restore"),
    "noOp": Word("No-op", "neutral", "minus"),
    "orphan": Word("Orphan", "warn", "unlink"),
    "unmapped": Word("Unmapped", "warn", "circle-question-mark"),
    "conflict": Word("Conflict", "warn", "git-compare"),
    "waiting": Word("Waiting for an answer", "active", "hourglass"),
    "unanswered": Word("Unanswered", "warn", "circle-off"),
    "notFolded": Word("Not folded yet", "active", "hourglass"),
    "failed": Word("Failed", "bad", "circle-alert"),
    "quarantined": Word("Quarantined", "bad", "shield-alert"),
}
FILTERS: Final = (
    *((code, word.text) for code, word in OUTCOMES.items()),
    ("keyReuse", "Key reused"),
)
OUTCOME_ICONS: Final = (
    "check",
    "copy",
    "archive-restore",
    "minus",
    "unlink",
    "circle-question-mark",
    "git-compare",
    "hourglass",
    "circle-off",
    "circle-alert",
    "shield-alert",
)
"""Named once more for the build of the icons (`frontend/build.py`)."""
