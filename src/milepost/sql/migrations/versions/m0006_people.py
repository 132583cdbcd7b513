"""What concerns people: notifications and choices, the accountant's books, erasures (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNDER_WAY = sa.text("state IN ('WAITING', 'SENDING')")
_SUPPRESSED = sa.text("state = 'SUPPRESSED'")
_PROVISIONAL = sa.text("settles_at IS NOT NULL")
_UNFINISHED = sa.text("state <> 'DONE'")


def upgrade() -> None:
    _notifications()
    _books()
    _erasures()


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("order_id", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.Integer(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("notifications_id", "notifications", ["id"], unique=True)
    op.create_index("notifications_order", "notifications", ["business_product_id", "order_id"])
    op.create_index("notifications_state", "notifications", ["state", "number"])
    op.create_index(
        "notifications_due",
        "notifications",
        ["due_at"],
        sqlite_where=_UNDER_WAY,
        postgresql_where=_UNDER_WAY,
    )
    op.create_index(
        "notifications_rule",
        "notifications",
        ["rule"],
        sqlite_where=_SUPPRESSED,
        postgresql_where=_SUPPRESSED,
    )
    op.create_table(
        "choices",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("recipient", _TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "recipient"),
        sqlite_with_rowid=False,
    )


def _books() -> None:
    op.create_table(
        "entries",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("order_id", _TEXT, nullable=False),
        sa.Column("period", _TEXT, nullable=False),
        sa.Column("settles_at", sa.BigInteger()),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("entries_order", "entries", ["business_product_id", "order_id", "id"], unique=True)
    op.create_index("entries_period", "entries", ["business_product_id", "period", "number"])
    op.create_index(
        "entries_settles_at",
        "entries",
        ["settles_at"],
        sqlite_where=_PROVISIONAL,
        postgresql_where=_PROVISIONAL,
    )
    op.create_table(
        "periods",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("period", _TEXT, nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_by", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "period"),
        sqlite_with_rowid=False,
    )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("erasures_id", "erasures", ["id"], unique=True)
    op.create_index(
        "erasures_unfinished",
        "erasures",
        ["number"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.create_table(
        "erased",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "subject"),
        sqlite_with_rowid=False,
    )
