"""The tables, as SQLAlchemy Core sees them. How they came to be is `migrations`; a test holds the two together.

The acknowledgement path touches `records` (with its two unique indexes on 16-byte hashes), `counters`, and
`arrivals` for duplicates; everything else is written by the consumers behind the journal. Lists of short
values (flags, business products, positions) are JSON text. Times are instants: milliseconds, UTC.

The databases differ in little: what PostgreSQL needs more is `postgresql_metadata`, and its texts are `columns`'.
What is told to others stands in `outward_tables`, what concerns people in `people_tables`, who uses the console in
`console_tables`, work queues in `queue_tables`, measures of parcels in `parcel_tables`; all are named from here like
the rest.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    text,
)

from milepost.sql.columns import ONE_ROW, Number, Text, metadata, postgresql_metadata
from milepost.sql.console_tables import audit, invitations, sessions, tries, users
from milepost.sql.outward_tables import (
    attempts,
    breakers,
    captures,
    destinations,
    messages,
    replays,
    told,
)
from milepost.sql.parcel_tables import parcels, parcels_gone, parcels_state
from milepost.sql.people_tables import (
    choices,
    entries,
    erased,
    erasures,
    notifications,
    notifications_suppressed,
    notifications_under_way,
    periods,
)
from milepost.sql.queue_tables import queue_items, queue_marks, saved_filter_products, saved_filters

__all__ = [
    "Text",
    "api_keys",
    "arrivals",
    "asks",
    "attempts",
    "audit",
    "breakers",
    "captures",
    "checkpoints",
    "choices",
    "counters",
    "destinations",
    "entries",
    "erased",
    "erasures",
    "failures",
    "invitations",
    "journal_end",
    "leases",
    "messages",
    "metadata",
    "notifications",
    "notifications_suppressed",
    "notifications_under_way",
    "parcels",
    "parcels_gone",
    "parcels_state",
    "periods",
    "postgresql_metadata",
    "quarantine",
    "quarantine_bindings",
    "queue_items",
    "queue_marks",
    "record_flags",
    "record_subjects",
    "records",
    "replays",
    "road_bodies",
    "saved_filter_products",
    "saved_filters",
    "search_terms",
    "sessions",
    "shared_deliveries",
    "told",
    "tries",
    "users",
    "views",
    "volumes",
    "writers",
]

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
    **ONE_ROW,
)
"""One row, id 1: the last position given. Who appends holds it until the commit, so that positions have no gaps and
become visible in their order, whichever hub gave them."""

writers = Table(
    "writers",
    postgresql_metadata,
    Column("id", Text, primary_key=True),
    Column("commits", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    **ONE_ROW,
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

road_bodies = Table(
    "road_bodies",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("road", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
"""What came by another road than a record's own: the body of the first arrival by it. Apart from `arrivals`, through
which counts read."""

counters = Table(
    "counters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("others", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
    Column("dismissed", BigInteger, nullable=False, server_default=text("0")),
    **ONE_ROW,
)
"""One row, id 1, moved in the transaction that moves what it counts. Events are not counted, so that a batch of
new ones touches nothing else: positions have no gaps when they are given, and what got one and is no event is among
`others`. Retention takes records away later: `removed` says how many, the other counts stay what they were. Of those
`quarantined`, `dismissed` need nobody any more."""

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
    Column("dismissed_at", BigInteger),
    Column("handled_by", Text),
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
    **ONE_ROW,
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
Index("views_number", views.c.kind, views.c.number)
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
    **ONE_ROW,
)

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
