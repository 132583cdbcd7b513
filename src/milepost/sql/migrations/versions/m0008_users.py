"""Users of the console: accounts, sessions, one-time links, tries to sign in, the audit log (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _users()
    _signing_in()
    _audit()


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("folded", _TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("users_folded", "users", ["folded"], unique=True)


def _signing_in() -> None:
    op.create_table(
        "sessions",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("browser", _TEXT, nullable=False),
        sa.Column("address", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_user", "sessions", ["user_id", "seen_at"])
    op.create_index("sessions_created_at", "sessions", ["created_at"])
    op.create_index("sessions_seen_at", "sessions", ["seen_at"])
    op.create_table(
        "invitations",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", _TEXT, nullable=False),
        sa.Column("purpose", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("invitations_user", "invitations", ["user_id"])
    op.create_index("invitations_created_at", "invitations", ["created_at"])
    op.create_table(
        "tries",
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("locked_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("tries_last_at", "tries", ["last_at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("details", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_actor", "audit", ["actor", "number"])
    op.create_index("audit_action", "audit", ["action", "number"])
    op.create_index("audit_business_product", "audit", ["business_product_id", "number"])
