"""The tables of what is told to others: destinations, messages, attempts, breakers, replays, captures, what was told.

They are part of `schema`, which is how everybody names them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    text,
)

from milepost.sql.columns import ONE_ROW, Number, Text, metadata

destinations = Table(
    "destinations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("settings", LargeBinary, nullable=False),
    Column("event_types", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("filter", LargeBinary, nullable=False),
    Column("ordered", Boolean, nullable=False),
    Column("rate", Float, nullable=False),
    Column("after", BigInteger),
    Column("failing_since", BigInteger),
    Column("created_at", BigInteger, nullable=False),
)
Index(
    "destinations_disabled",
    destinations.c.id,
    sqlite_where=text("enabled = 0"),
    postgresql_where=text("NOT enabled"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("destination_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("fence", BigInteger, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("ready_at", BigInteger, nullable=False),
    Column("form", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("manual", Boolean, nullable=False),
    Column("sequence", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("replay", Text, nullable=False),
    Column("earlier", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)
"""`late` is a retry by the schedule, `ready_at` the later of `due_at` and `lease_until`: claiming steps from one
destination to the next in one index of what is pending, so that a pile for one costs the others nothing."""
_PENDING = text("state = 'pending'")
Index(
    "messages_ready",
    messages.c.late,
    messages.c.destination_id,
    messages.c.ready_at,
    messages.c.position,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
_IN_SEQUENCE = text("sequence <> '' AND state IN ('pending', 'waiting', 'held')")
Index(
    "messages_sequence",
    messages.c.destination_id,
    messages.c.sequence,
    messages.c.position,
    sqlite_where=_IN_SEQUENCE,
    postgresql_where=_IN_SEQUENCE,
)
_UNSETTLED = text("state IN ('pending', 'waiting', 'held')")
Index(
    "messages_unsettled",
    messages.c.destination_id,
    messages.c.state,
    sqlite_where=_UNSETTLED,
    postgresql_where=_UNSETTLED,
)
Index("messages_position", messages.c.position)
Index("messages_destination", messages.c.destination_id, messages.c.position)

attempts = Table(
    "attempts",
    metadata,
    Column("message_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("retry_after", BigInteger),
    Column("manual", Boolean, nullable=False),
    PrimaryKeyConstraint("message_id", "number"),
)
Index("attempts_started_at", attempts.c.started_at, attempts.c.number, attempts.c.message_id)

breakers = Table(
    "breakers",
    metadata,
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("opened", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    PrimaryKeyConstraint("lane"),
    sqlite_with_rowid=False,
    **ONE_ROW,
)
"""Only those that are not closed, or closed after failures: a handful."""

replays = Table(
    "replays",
    metadata,
    Column("id", Text, primary_key=True),
    Column("destination_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("filter", LargeBinary, nullable=False),
    Column("new_ids", Boolean, nullable=False),
    Column("rate", Float, nullable=False),
    Column("enqueued", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index("replays_destination", replays.c.destination_id, replays.c.id)
_RUNNING = text("state = 'running'")
Index("replays_running", replays.c.id, sqlite_where=_RUNNING, postgresql_where=_RUNNING)

captures = Table(
    "captures",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("delivery_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""A ledger: rows are added and moved on, never removed, and no rebuild touches them."""
Index("captures_id", captures.c.id, unique=True)
Index(
    "captures_delivery",
    captures.c.business_product_id,
    captures.c.order_id,
    captures.c.delivery_id,
    unique=True,
)
Index("captures_state", captures.c.state, captures.c.number)

told = Table(
    "told",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    PrimaryKeyConstraint("business_product_id", "subject"),
    sqlite_with_rowid=False,
)
"""What subscribers were last told of an order or a tracker; no rebuild touches it."""
