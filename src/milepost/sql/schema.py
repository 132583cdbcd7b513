"""The tables, as SQLAlchemy Core sees them. How they came to be is `migrations`; a test holds the two together.

The acknowledgement path touches `records` (with its two unique indexes on 16-byte hashes), `counters`, and
`arrivals` for duplicates; everything else is written by the consumers behind the journal. Lists of short
values (flags, business products, positions) are JSON text. Times are instants: milliseconds, UTC.

The databases differ in little: what PostgreSQL needs more is `postgresql_metadata`, and its texts are `_Bytewise`.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy import Text as PlainText

metadata = MetaData()
postgresql_metadata = MetaData()
"""What only PostgreSQL has, beside what is in `metadata`."""


class _Bytewise(TypeDecorator[str]):
    """A text on PostgreSQL: ordered byte by byte, as SQLite does it, whatever language the database speaks; paging
    and searching for a prefix rest on that. NUL, which PostgreSQL cannot keep in a text, is kept as U+2400."""

    impl = PlainText
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(collation="C")

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> Any | None:
        return value.replace("\0", "\u2400") if value is not None and "\0" in value else value


Text = PlainText().with_variant(_Bytewise(), "postgresql")
_ONE_ROW: dict[str, Any] = {"postgresql_with": {"fillfactor": 50, "vacuum_truncate": False}}
"""A few rows, changed all the time: room for the next version beside the last, so that no index is touched, and
no lock of the whole table just to make the file shorter."""

# SQLite calls only INTEGER PRIMARY KEY its rowid; everywhere else 64 bits have to be asked for.
Number = BigInteger().with_variant(Integer(), "sqlite")

records = Table(
    "records",
    metadata,
    Column("position", Number, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("road", Text, nullable=False),
    Column("flags", Text, nullable=False),
    Column("origin", BigInteger),
    Column("body", LargeBinary, nullable=False),
    Column("key_hash", LargeBinary),
    Column("event_hash", LargeBinary),
)
"""`position` is given by SQLite itself, and on PostgreSQL by `journal_end`."""
_KEYED, _IDENTIFIED = text("key_hash IS NOT NULL"), text("event_hash IS NOT NULL")
Index("records_key_hash", records.c.key_hash, unique=True, sqlite_where=_KEYED, postgresql_where=_KEYED)
Index(
    "records_event_hash",
    records.c.event_hash,
    unique=True,
    sqlite_where=_IDENTIFIED,
    postgresql_where=_IDENTIFIED,
)

journal_end = Table(
    "journal_end",
    postgresql_metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    **_ONE_ROW,
)
"""One row, id 1: the last position given. Who appends holds it until the commit, so that positions have no gaps and
become visible in their order, whichever hub gave them."""

writers = Table(
    "writers",
    postgresql_metadata,
    Column("id", Text, primary_key=True),
    Column("commits", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    **_ONE_ROW,
)
"""One row a connection that commits, counting its commits in each of them: where a connection was lost in the middle
of one, the count tells whether it happened. (The server's own number of the transaction does not: after a crash it
may be given to another.) `since` is when the last began, by the server's clock."""

arrivals = Table(
    "arrivals",
    metadata,
    Column("id", Number, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("road", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("conflict", Boolean, nullable=False),
)
"""Duplicates only: the first arrival of a record is its own row."""
Index("arrivals_position", arrivals.c.position)
_LIVE = text("road <> 'replay'")
Index("arrivals_live", arrivals.c.id, sqlite_where=_LIVE, postgresql_where=_LIVE)

counters = Table(
    "counters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("others", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
    **_ONE_ROW,
)
"""One row, id 1, moved in the transaction that moves what it counts. Events are not counted, so that a batch of
new ones touches nothing else: positions have no gaps when they are given, and what got one and is no event is among
`others`. Retention takes records away later: `removed` says how many, the other counts stay what they were."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Number, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("road", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("business_product_ids", Text, nullable=False),
    Column("released_at", BigInteger),
    Column("position", BigInteger),
    sqlite_autoincrement=True,
)

_RELEASED = text("position IS NOT NULL")
Index("quarantine_position", quarantine.c.position, sqlite_where=_RELEASED, postgresql_where=_RELEASED)

quarantine_bindings = Table(
    "quarantine_bindings",
    metadata,
    Column("quarantine_id", BigInteger, nullable=False),
    Column("business_product_id", Text, nullable=False),
    PrimaryKeyConstraint("quarantine_id", "business_product_id"),
    sqlite_with_rowid=False,
)
"""The business products that the sender of a quarantined body was bound to, one a row."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_ONE_ROW,
)

record_subjects = Table(
    "record_subjects",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("business_product_id", "subject", "position"),
    sqlite_with_rowid=False,
)

record_flags = Table(
    "record_flags",
    metadata,
    Column("position", BigInteger, nullable=False),
    Column("flag", Text, nullable=False),
    PrimaryKeyConstraint("position", "flag"),
    sqlite_with_rowid=False,
)

failures = Table(
    "failures",
    metadata,
    Column("position", BigInteger, nullable=False),
    Column("consumer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("position", "consumer", "subject"),
    sqlite_with_rowid=False,
)

views = Table(
    "views",
    metadata,
    Column("number", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("parent", Text),
    Column("state", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("check_at", BigInteger),
    Column("terms", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""`number` is given when a view is first seen and stays while it lives: lists are paged by it."""
Index("views_id", views.c.kind, views.c.id, views.c.business_product_id, unique=True)
Index("views_page", views.c.kind, views.c.state, views.c.number)
Index("views_business_product", views.c.kind, views.c.business_product_id, views.c.number)
_CHECKED = text("check_at IS NOT NULL")
Index("views_check_at", views.c.check_at, sqlite_where=_CHECKED, postgresql_where=_CHECKED)

shared_deliveries = Table(
    "shared_deliveries",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("delivery_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    PrimaryKeyConstraint("business_product_id", "delivery_id", "order_id"),
    sqlite_with_rowid=False,
)
"""Only deliveries that more than one order was seen to show, hardly ever any: such orders are removed together."""

search_terms = Table(
    "search_terms",
    metadata,
    Column("term", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    PrimaryKeyConstraint("term", "kind", "business_product_id", "id"),
    sqlite_with_rowid=False,
)

asks = Table(
    "asks",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("waiting", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("carrier_code", Text, nullable=False),
    PrimaryKeyConstraint("business_product_id", "target"),
)
Index("asks_due", asks.c.state, asks.c.priority, asks.c.due_at)

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
    Column("version", BigInteger, nullable=False),
)
"""`version` goes up with every change of any destination."""
Index("destinations_version", destinations.c.version)

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
    **_ONE_ROW,
)
"""Only those that are not closed, or closed after failures: a handful."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("scope", Text, nullable=False),
    Column("business_product_ids", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)
Index("api_keys_hash", api_keys.c.hash, unique=True)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
    **_ONE_ROW,
)

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

volumes = Table(
    "volumes",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("road", Text, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    PrimaryKeyConstraint("business_product_id", "type", "road", "hour"),
    sqlite_with_rowid=False,
)
"""How many events came in each hour (since 1970, UTC): what silence is compared with."""
