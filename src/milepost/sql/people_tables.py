"""The tables of what concerns people: notifications and choices, the books of the accountant, erasures.

They are part of `schema`, which is how everybody names them. Ledgers: rows are added and moved on, never removed, and
no rebuild touches them.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    literal_column,
    text,
)

from milepost.sql.columns import Number, Text, metadata

notifications = Table(
    "notifications",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("rule", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""`due_at` is when one that is WAITING is due, and when the lease of one that is SENDING runs out. `rule` is that of
its last transition."""
Index("notifications_id", notifications.c.id, unique=True)
Index("notifications_order", notifications.c.business_product_id, notifications.c.order_id)
Index("notifications_state", notifications.c.state, notifications.c.number)
_UNDER_WAY = text("state IN ('WAITING', 'SENDING')")
Index("notifications_due", notifications.c.due_at, sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY)
_SUPPRESSED = text("state = 'SUPPRESSED'")
Index("notifications_rule", notifications.c.rule, sqlite_where=_SUPPRESSED, postgresql_where=_SUPPRESSED)
notifications_suppressed = notifications.c.state == literal_column("'SUPPRESSED'")
notifications_under_way = notifications.c.state.in_(
    (literal_column("'WAITING'"), literal_column("'SENDING'"))
)

choices = Table(
    "choices",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    PrimaryKeyConstraint("business_product_id", "recipient"),
    sqlite_with_rowid=False,
)
"""What a recipient chose, or was found out about him: `recipient` is a keyed hash, never an address."""

entries = Table(
    "entries",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("settles_at", BigInteger),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""Rows of the accounting feed, which are never changed. `period` is the one that a row is posted to (YYYY-MM),
`settles_at` when a provisional row is to be looked at, as long as it is the newest of its kind. An id is found within
its order: an index of ids alone would have every new row written to another page."""
Index("entries_order", entries.c.business_product_id, entries.c.order_id, entries.c.id, unique=True)
Index("entries_period", entries.c.business_product_id, entries.c.period, entries.c.number)
_PROVISIONAL = text("settles_at IS NOT NULL")
Index("entries_settles_at", entries.c.settles_at, sqlite_where=_PROVISIONAL, postgresql_where=_PROVISIONAL)

periods = Table(
    "periods",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("closed_by", Text, nullable=False),
    PrimaryKeyConstraint("business_product_id", "period"),
    sqlite_with_rowid=False,
)
"""Closed ones only: nothing is posted to them any more."""

erasures = Table(
    "erasures",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("erasures_id", erasures.c.id, unique=True)
_UNFINISHED = text("state <> 'DONE'")
Index("erasures_unfinished", erasures.c.number, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)

erased = Table(
    "erased",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("erased_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("business_product_id", "subject"),
    sqlite_with_rowid=False,
)
"""Orders and trackers whose personal data was erased: what still comes about them is erased too, and nobody asks."""
