"""Work queues: their items, what people did about them, saved filters (2026-11-26).

Nothing is filled in here: a hub that starts fills the queues from the views it has (`pipeline.queueing`).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "queue_items",
        sa.Column("queue", _TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("order_id", _TEXT, nullable=False),
        sa.Column("delivery_id", _TEXT, nullable=False),
        sa.Column("carrier_code", _TEXT, nullable=False),
        sa.Column("tracking_number", _TEXT, nullable=False),
        sa.Column("region", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("hidden_until", sa.BigInteger(), nullable=False),
        sa.Column("assignee", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("queue", "since", "business_product_id", "subject"),
        sqlite_with_rowid=False,
    )
    op.create_index("queue_items_owner", "queue_items", ["business_product_id", "owner"])
    op.create_index(
        "queue_items_product",
        "queue_items",
        ["queue", "business_product_id", "since", "subject", "hidden_until"],
    )
    op.create_table(
        "queue_marks",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("queue", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("assignee", _TEXT, nullable=False),
        sa.Column("snoozed_until", sa.BigInteger()),
        sa.Column("handled_count", sa.Integer()),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("by", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "owner", "queue", "subject", "since"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "saved_filters",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("queue", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("query", _TEXT, nullable=False),
        sa.Column("business_product_ids", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("saved_filters_owner", "saved_filters", ["owner"])
