"""What a receiver depends on, whether it works, and how long to pause when it does not.

Pauses grow with the failures in a row and are spread, so that many receivers do not come back at once. What an
operator must mend (a queue that is not there, a permission) is tried again slowly and evenly. Each kind of
trouble is logged once when it begins, and once when it is over. No waiting and no calls here.
"""

from random import Random
from typing import Final

import structlog

SLOW_S: Final = 60.0
"""The pause after trouble that does not mend itself, in seconds."""
OPERATORS: Final = {
    "missing": "the queue does not exist: check its URL, region and account",
    "denied": "allow sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on the queue, and on "
    "its key kms:Decrypt, to the credentials that the usual AWS settings give",
}
"""Trouble that does not mend itself, and what to do."""
GIVEN_UP: Final = 5
"""Failures in a row after which somebody who waits for an end is told that there will be none."""

log = structlog.get_logger()


class Part:
    """One thing that receiving depends on. Pauses go from `first_s` to `most_s` seconds."""

    def __init__(self, queue: str, name: str, random: Random, first_s: float, most_s: float) -> None:
        self.name = name
        self.failures = 0
        """In a row."""
        self.pause_s = 0.0
        """How long to leave it alone now, in seconds; 0 while it works."""
        self.kind = ""
        self.words = ""
        self._queue = queue
        self._random = random
        self._first_s = first_s
        self._most_s = most_s

    @property
    def operators(self) -> bool:
        """Whether it is trouble that only an operator can mend."""
        return self.kind in OPERATORS

    def failed(self, kind: str, words: str) -> None:
        if kind != self.kind:
            told = {"hint": OPERATORS[kind]} if kind in OPERATORS else {}
            log.warning("sqs.trouble", queue=self._queue, part=self.name, kind=kind, error=words, **told)
        self.kind, self.words = kind, words
        self.failures += 1
        grown = min(self._most_s, self._first_s * 2 ** min(self.failures - 1, 20))
        self.pause_s = (SLOW_S if self.operators else grown) * (1 - self._random.random() / 2)

    def worked(self) -> None:
        if self.failures:
            log.info("sqs.recovered", queue=self._queue, part=self.name, failures=self.failures)
            self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.failures, self.pause_s, self.kind, self.words = 0, 0.0, "", ""


class Parts:
    """Everything that the receiver of one queue depends on."""

    def __init__(self, queue: str, random: Random) -> None:
        self.receiving = Part(queue, "receiving", random, 0.5, 30.0)
        self.storing = Part(queue, "storing", random, 1.0, 60.0)
        self.deleting = Part(queue, "deleting", random, 0.5, 30.0)
        self.hiding = Part(queue, "hiding", random, 1.0, 1.0)
        """Keeping messages invisible while they are worked on; without it they come twice, and no more."""
        self._needed = (self.receiving, self.storing, self.deleting)

    @property
    def pause_s(self) -> float:
        """How long to receive nothing, in seconds; 0 while everything works."""
        return max(part.pause_s for part in self._needed)

    @property
    def hopeless(self) -> bool:
        """Whether whoever waits for an end should wait no longer."""
        return self.broken or any(part.failures >= GIVEN_UP for part in self._needed)

    @property
    def broken(self) -> bool:
        """Whether nothing comes in until an operator mends something."""
        return any(part.operators for part in self._needed)

    def forget(self) -> None:
        """Begin anew."""
        for part in self.failing:
            part.forget()

    @property
    def failing(self) -> list[Part]:
        return [part for part in (*self._needed, self.hiding) if part.failures]
