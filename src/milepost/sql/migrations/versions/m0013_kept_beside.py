"""The body by which an event came on a second road is kept; what was dismissed is counted; whom a shared filter is
for can be asked; numbers of parcels that went are kept for a while (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "road_bodies",
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("road", _TEXT, primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    column = sa.Column("dismissed", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("counters", column)
    op.execute(
        "UPDATE counters SET dismissed = (SELECT count(*) FROM quarantine"
        " WHERE dismissed_at IS NOT NULL AND released_at IS NULL)"
    )
    floor = sa.Column("floor", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("parcels_state", floor)
    _filter_products()


def _filter_products() -> None:
    table = op.create_table(
        "saved_filter_products",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("filter_id", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "filter_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("saved_filter_products_filter", "saved_filter_products", ["filter_id"])
    shared = sa.text("SELECT id, business_product_ids FROM saved_filters WHERE shared")
    rows = [
        {"business_product_id": product, "filter_id": name}
        for name, packed in op.get_bind().execute(shared)
        if packed
        for product in dict.fromkeys(json.loads(packed))
    ]
    if rows:
        op.bulk_insert(table, rows)
