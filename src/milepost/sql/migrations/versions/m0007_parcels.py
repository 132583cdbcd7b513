"""Measures of parcels, and what a copy of them in memory goes by (2026-11-26).

Orders whose views are there already are measured by the hub, in the background (`pipeline.remeasuring`).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "parcels",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("order_id", _TEXT, nullable=False),
        sa.Column("delivery_id", _TEXT, nullable=False),
        sa.Column("tracker", _TEXT, nullable=False),
        sa.Column("carrier", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("destination", _TEXT, nullable=False),
        sa.Column("delivery_state", _TEXT, nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("shipped_by", sa.SmallInteger(), nullable=False),
        sa.Column("delivered_by", sa.SmallInteger(), nullable=False),
        sa.Column("ordered_at", sa.BigInteger()),
        sa.Column("shipped_at", sa.BigInteger()),
        sa.Column("first_scan_at", sa.BigInteger()),
        sa.Column("label_at", sa.BigInteger()),
        sa.Column("ship_event_at", sa.BigInteger()),
        sa.Column("out_at", sa.BigInteger()),
        sa.Column("attempted_at", sa.BigInteger()),
        sa.Column("ready_at", sa.BigInteger()),
        sa.Column("delivered_at", sa.BigInteger()),
        sa.Column("delivered_event_at", sa.BigInteger()),
        sa.Column("returning_at", sa.BigInteger()),
        sa.Column("last_scan_at", sa.BigInteger()),
        sa.Column("stage_at", sa.BigInteger()),
        sa.Column("ordered_on", sa.Integer()),
        sa.Column("shipped_on", sa.Integer()),
        sa.Column("delivered_on", sa.Integer()),
        sa.Column("promised_from", sa.Integer()),
        sa.Column("promised_on", sa.Integer()),
        sa.Column("promise_ends_at", sa.BigInteger()),
        sa.Column("estimated_on", sa.Integer()),
        sa.Column("revisions", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("milestones", sa.Integer(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("order_due_at", sa.BigInteger()),
        sa.Column("order_days_late", sa.Integer()),
        sa.Column("in_pending", sa.BigInteger()),
        sa.Column("in_info_received", sa.BigInteger()),
        sa.Column("in_in_transit", sa.BigInteger()),
        sa.Column("in_out_for_delivery", sa.BigInteger()),
        sa.Column("in_available_for_pickup", sa.BigInteger()),
        sa.Column("in_lost", sa.BigInteger()),
        sa.Column("in_undeliverable", sa.BigInteger()),
        sa.Column("in_returning", sa.BigInteger()),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("parcels_revision", "parcels", ["revision"], unique=True)
    op.create_index("parcels_order", "parcels", ["business_product_id", "order_id"])
    op.create_table(
        "parcels_gone",
        sa.Column("revision", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )
    op.create_table(
        "parcels_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("behind", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={"fillfactor": 50, "vacuum_truncate": False},
    )
    op.execute(
        "INSERT INTO parcels_state (id, epoch, revision, behind) SELECT 1, 1, 0,"
        " CASE WHEN EXISTS (SELECT 1 FROM views WHERE kind = 'order') THEN 0 END"
    )
