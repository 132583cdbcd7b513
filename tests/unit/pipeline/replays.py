"""How the tests of the pipeline begin a replay: planned and put in one write."""

from typing import Any

from milepost.domain.attempt import Replay
from milepost.domain.selection import Selection
from milepost.pipeline.history import planned
from milepost.store import Transaction


def begin_replay(tx: Transaction, destination_id: str, selection: Selection, **more: Any) -> Replay:
    """Send again what is selected, of what was published so far."""
    replay = planned(tx, destination_id, selection, **more)
    tx.attempts.put_replay(replay)
    return replay
