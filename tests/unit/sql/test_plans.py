"""What is done about one destination reads what is still to be sent to it, never all that ever was; a page of an
export reads a page."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, create_engine, event

from milepost.domain.attempt import Destination, Replay
from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant
from milepost.domain.queue import QueueItem
from milepost.pipeline.exporting import SOURCES, Reach
from milepost.sql import schema
from milepost.sql.attempts import SqlAttempts
from milepost.sql.books import SqlBooks
from milepost.sql.journal import SqlJournal
from milepost.sql.ledger import SqlLedger
from milepost.sql.notifications import SqlNotifications
from milepost.sql.queues import SqlQueues
from milepost.sql.secrets import Secrets
from milepost.sql.sqlite import insert_records
from milepost.sql.views import SqlViews
from milepost.store import ItemPlace, WantedItems

SUBSCRIBER = Destination("d", "webhook", b"{}")
NOW = Instant(1)
VIEWS = ("orders", "deliveries", "trackers", "milestones")


class Plans:
    """How SQLite goes about what is done: a line each table that a statement reads, by `EXPLAIN QUERY PLAN`."""

    def __init__(self, connection: Connection) -> None:
        self.attempts = SqlAttempts(connection, Secrets())
        self._connection = connection
        self.found: list[str] = []

    def note(self, connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            explained = connection.connection.cursor()
            given = parameters[0] if isinstance(parameters, list) else parameters
            explained.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            self.found += [row[3] for row in explained.fetchall()]

    def sorts(self, do: Callable[[Connection], object]) -> list[str]:
        """Where it sorts what it found."""
        self.found.clear()
        do(self._connection)
        assert self.found
        return [line for line in self.found if "TEMP B-TREE" in line]

    def of(self, do: Callable[[SqlAttempts], object], table: str) -> list[str]:
        return self.reads(lambda _: do(self.attempts), table)

    def reads(self, do: Callable[[Connection], object], table: str) -> list[str]:
        """How a table is read."""
        self.found.clear()
        do(self._connection)
        return [line for line in self.found if line.split()[1] == table]


@pytest.fixture
def plans() -> Iterator[Plans]:
    engine = create_engine("sqlite://")
    schema.metadata.create_all(engine)
    with engine.connect() as connection:
        found = Plans(connection)
        found.attempts.put_destination(SUBSCRIBER)
        event.listen(engine, "before_cursor_execute", found.note)
        yield found
    engine.dispose()


@pytest.mark.parametrize(
    "do",
    [
        lambda a: a.disable("d", "by hand"),
        lambda a: a.put_destination(replace(SUBSCRIBER, enabled=False)),
        lambda a: a.remove_destination("d"),
        lambda a: a.drop_replay(Replay("r", "d", "backfill", "running", 0, None, NOW), "cancelled"),
    ],
    ids=["disable", "put", "remove", "cancel"],
)
def test_a_change_reads_what_is_unsettled(plans: Plans, do: Callable[[SqlAttempts], object]) -> None:
    found = plans.of(do, "messages")
    assert found
    assert all("messages_unsettled" in line or "messages_sequence" in line for line in found), found


def test_a_change_of_something_else_reads_no_message(plans: Plans) -> None:
    assert plans.of(lambda a: a.put_destination(replace(SUBSCRIBER, name="other")), "messages") == []
    assert plans.of(lambda a: a.enable("d"), "messages") == []


def test_who_is_disabled_is_known_without_reading_who_is_not(plans: Plans) -> None:
    (found,) = plans.of(lambda a: a.unhold([]), "destinations")
    assert "destinations_disabled" in found


def test_who_is_sent_history_is_known_without_reading_what_was_sent(plans: Plans) -> None:
    (found,) = plans.of(lambda a: a.replays("r-1", 50, state="running"), "replays")
    assert "replays_running" in found
    (found,) = plans.of(lambda a: a.replays("", 50, destination_id="d", state="running"), "replays")
    assert "replays_destination" in found or "replays_running" in found


def test_the_last_attempt_is_not_looked_for_among_all(plans: Plans) -> None:
    found = plans.of(lambda a: a.last_attempt("d"), "attempts")
    assert any("attempts_started_at" in line for line in found), found
    assert all("attempts_started_at" in line or line.startswith("SEARCH") for line in found), found


@pytest.mark.parametrize("reach", [None, ["bp-1"], ["bp-1", "bp-2"]])
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "facts"])
def test_a_page_of_an_export_is_read_in_order_not_sorted_out_of_all(
    plans: Plans, name: str, reach: Reach
) -> None:
    """Else the whole of an export would cost the square of what there is."""

    def read(connection: Connection) -> None:
        tx: Any = SimpleNamespace(
            journal=SqlJournal(connection, insert_records),
            views=SqlViews(connection, Secrets()),
            books=SqlBooks(connection),
            notifications=SqlNotifications(connection),
            ledger=SqlLedger(connection),
        )
        with suppress(Conflict):  # there are no views
            SOURCES[name].read(tx, reach, 5, 1_000)

    found = plans.sorts(read)
    # What is looked at when nothing is left, once an export, may be.
    assert len(found) <= (name in VIEWS and reach is not None and len(reach) > 1), found


@pytest.mark.parametrize("reach", [None, ["bp-1"], ["bp-1", "bp-2"]])
def test_a_page_of_a_queue_and_its_count_are_read_in_order(plans: Plans, reach: Reach) -> None:
    place = ItemPlace(NOW, "bp-1", "order/o")
    for after in (None, place):
        assert (
            plans.sorts(lambda c, at=after: SqlQueues(c).page(WantedItems("late"), at, 9, reach, NOW)) == []
        )  # type: ignore[misc]
    assert plans.sorts(lambda c: SqlQueues(c).count("late", 9, reach, NOW)) == []


@pytest.mark.parametrize(
    ("reach", "index"), [(None, "queue_items_open"), (["bp-1"], "queue_items_open_product")]
)
def test_what_was_handled_is_not_counted_along(plans: Plans, reach: Reach, index: str) -> None:
    item = QueueItem("late", "bp-1", "order/o", NOW, "o", "d")

    def count(connection: Connection) -> None:
        SqlQueues(connection).put({("bp-1", "order/o"): [item]})
        plans.found.clear()
        assert SqlQueues(connection).count("late", 9, reach, NOW) == (1, NOW)

    found = plans.reads(count, "queue_items")
    assert len(found) == 2
    assert all(f"COVERING INDEX {index} " in line for line in found), found


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("state", [None, "PENDING"])
@pytest.mark.parametrize("reach", [None, ["bp-1"], ["bp-1", "bp-2"]])
def test_a_page_of_views_sorts_no_more_than_pages(
    plans: Plans, reach: Reach, state: str | None, newest_first: bool
) -> None:
    """Of several business products each one's page is sorted with the others'."""
    found = plans.sorts(
        lambda c: SqlViews(c, Secrets()).page("order", None, 9, reach, state, newest_first=newest_first)
    )
    assert len(found) <= (reach is not None and len(reach) > 1), found
    assert "COMPOUND QUERY" in plans.found or not found
