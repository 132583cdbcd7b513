"""Beginning, counting and cancelling what sends history to a destination: backfills and replays.

A **backfill** is for a subscriber that appears late: it gets what is journalled above a position, and goes live
where that ends. A **replay** sends again what was journalled before, under the same ids (a receiver that has it
already finds the duplicate) or under new ones that are linked to them. A capture's message has one id for life, also
in a replay, and who took it is not sent it again. Working them off is `replaying`'s.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from milepost.domain.attempt import Destination, Replay
from milepost.domain.instant import MINUTE, Instant
from milepost.domain.record import Record
from milepost.domain.selection import Selection, encoded, selection_of, selects
from milepost.pipeline.capturing import not_again
from milepost.pipeline.positions import position_at
from milepost.pipeline.sending import Wants
from milepost.store import Store, Transaction

PAGE = 1_000
"""Records that are looked at together."""
PAGES_COUNTED = 100
"""So many of them a dry run looks at."""
MOST_OF_SUBJECTS = 20_000
"""Records about the subjects of one replay that are found."""
SLACK = 10 * MINUTE
"""Records are journalled in the order of their times, but for several hubs' clocks and batches: so much before and
after is looked through as well."""

CONSUMER = "publisher"
"""The name of the publisher's checkpoint."""


def begin_backfill(
    tx: Transaction, destination: Destination, position: int, *, id: str, now: Instant
) -> Replay:
    """Put a destination that gets everything above a position, once, and then what comes. `id` is new, and greater
    than those of before."""
    tx.attempts.put_destination(replace(destination, after=None))
    replay = Replay(id, destination.id, "backfill", "running", position, None, now)
    tx.attempts.put_replay(replay)
    return replay


def planned(
    tx: Transaction,
    destination_id: str,
    selection: Selection,
    *,
    id: str,
    now: Instant,
    new_ids: bool = False,
    rate: float = 0.0,
) -> Replay:
    """A replay of what is selected, of what was published so far: a dry run counts it, put it begins."""
    until = tx.journal.checkpoint(CONSUMER)
    cursor = 0
    if selection.since is not None:
        cursor = min(position_at(tx, Instant(selection.since - SLACK - 1)), until)
    if selection.before is not None:
        until = min(position_at(tx, Instant(selection.before + SLACK - 1)), until)
    return Replay(
        id,
        destination_id,
        "replay",
        "running",
        cursor,
        until,
        now,
        filter=encoded(selection),
        new_ids=new_ids,
        rate=rate,
    )


class Counted(NamedTuple):
    """What a dry run found."""

    messages: int
    more: bool
    """It was ended before the replay's end: there may be more."""


async def count(store: Store, replay: Replay, wants: Wants) -> Counted:
    """How many messages it would send: a dry run, which somebody waits for, so it ends after so many pages."""
    cursor, found = replay.cursor, 0
    for _ in range(PAGES_COUNTED):

        def look(tx: Transaction, cursor: int = cursor) -> tuple[int, int] | None:
            destination = tx.attempts.destination(replay.destination_id)
            until = replay.until if replay.until is not None else tx.journal.checkpoint(CONSUMER)
            if destination is None or cursor >= until:
                return None
            records, end = page(tx, replay, cursor, until)
            return sum(wants(destination, record) for record in records), end

        looked = await store.read(look)
        if looked is None:
            return Counted(found, more=False)
        found, cursor = found + looked[0], looked[1]
    return Counted(found, more=replay.until is None or cursor < replay.until)


def cancel(tx: Transaction, id: str, now: Instant) -> int | None:
    """Send nothing more of it; how many messages were still to be sent. A destination whose history was being sent
    goes live without the rest of that. A replay that is through the journal may still have messages to be sent.
    None: there is no such replay under way."""
    replay = tx.attempts.replay(id)
    if replay is None or replay.state == "cancelled":
        return None
    if replay.state == "done":
        # What goes to a destination after its backfill is no longer of that.
        left = (
            0 if replay.kind == "backfill" else tx.attempts.drop_replay(replay, f"replay {id} was cancelled")
        )
        if left:
            tx.attempts.put_replay(replace(replay, state="cancelled", ended_at=now))
        return left or None
    tx.attempts.put_replay(replace(replay, state="cancelled", ended_at=now))
    dropped = tx.attempts.drop_replay(replay, f"replay {id} was cancelled")
    destination = tx.attempts.destination(replay.destination_id)
    if replay.kind == "backfill" and destination is not None and destination.after is None:
        live = max(tx.journal.checkpoint(CONSUMER), replay.cursor)
        tx.attempts.put_destination(replace(destination, after=live))
    return dropped


def page(tx: Transaction, replay: Replay, cursor: int, until: int) -> tuple[Sequence[Record], int]:
    """What is selected of the next records above `cursor`, and the position up to which that is all. A replay has no
    captures in it that its destination must not be told (again)."""
    selection = selection_of(replay.filter)
    if selection.subjects:
        found = tx.journal.positions_of(selection.indexed, MOST_OF_SUBJECTS)
        positions = sorted({p for of in found.values() for p in of if cursor < p <= until})[:PAGE]
        known = tx.journal.records(positions)
        records = [known[p] for p in positions if p in known]
        end = positions[-1] if len(positions) == PAGE else until
    else:
        records = tx.journal.after(cursor, PAGE)
        end = min(records[-1].position, until) if len(records) == PAGE else until
        records = [record for record in records if record.position <= until]
    selected = [record for record in records if selects(selection, record)]
    return selected if replay.kind == "backfill" else repeatable(tx, replay, selected), end


def repeatable(tx: Transaction, replay: Replay, records: Sequence[Record]) -> list[Record]:
    """Those of a replay's records that may be sent to its destination again."""
    left_out = not_again(tx, records, replay.destination_id)
    return [record for record in records if record.position not in left_out]
