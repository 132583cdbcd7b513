"""The tables of measures: one row a parcel, and what tells a copy in memory what changed. Part of `schema`.

What each column means is `domain.measure`'s. A rebuild remakes `parcels`; numbers, revisions and the epoch belong to
this database alone.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, text

from milepost.sql.columns import ONE_ROW, Number, Text, metadata

_TEXTS = (
    "business_product_id",
    "order_id",
    "delivery_id",
    "tracker",
    "carrier",
    "origin",
    "destination",
    "delivery_state",
)
_KINDS = ("stage", "shipped_by", "delivered_by")
_TIMES = (
    "ordered_at",
    "shipped_at",
    "first_scan_at",
    "label_at",
    "ship_event_at",
    "out_at",
    "attempted_at",
    "ready_at",
    "delivered_at",
    "delivered_event_at",
    "returning_at",
    "last_scan_at",
    "stage_at",
)
_DAYS = ("ordered_on", "shipped_on", "delivered_on", "promised_from", "promised_on")
_COUNTS = ("revisions", "attempts", "milestones", "flags")
_LENGTHS = (
    "in_pending",
    "in_info_received",
    "in_in_transit",
    "in_out_for_delivery",
    "in_available_for_pickup",
    "in_lost",
    "in_undeliverable",
    "in_returning",
)

parcels = Table(
    "parcels",
    metadata,
    Column("number", Number, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("digest", BigInteger, nullable=False),
    *(Column(name, Text, nullable=False) for name in _TEXTS),
    *(Column(name, SmallInteger, nullable=False) for name in _KINDS),
    *(Column(name, BigInteger) for name in _TIMES),
    *(Column(name, Integer) for name in _DAYS),
    Column("promise_ends_at", BigInteger),
    Column("estimated_on", Integer),
    *(Column(name, Integer, nullable=False) for name in _COUNTS),
    Column("order_due_at", BigInteger),
    Column("order_days_late", Integer),
    *(Column(name, BigInteger) for name in _LENGTHS),
    sqlite_autoincrement=True,
)
"""`digest` is of all that stands behind it: a row that would stay the same is not written. Times are instants, days
are counted from 1970-01-01, lengths are seconds."""
Index("parcels_revision", parcels.c.revision, unique=True)
Index("parcels_order", parcels.c.business_product_id, parcels.c.order_id)

parcels_gone = Table(
    "parcels_gone",
    metadata,
    Column("revision", Number, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)
"""Numbers of rows that went, and nothing else of them; the newest of them (`SqlParcels`)."""

parcels_state = Table(
    "parcels_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("behind", BigInteger),
    Column("floor", BigInteger, nullable=False, server_default=text("0")),
    **ONE_ROW,
)
"""One row, id 1."""
