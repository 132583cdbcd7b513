"""What a production publisher keeps: endpoints, forms, held messages, whole attempts, breakers.

Frozen: a change of `schema` is a new step beside this one, never an edit here. Tables are made anew and filled
from the old ones, so that a migrated database is the same, to the letter, as one that was made today.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    _destinations()
    _messages()
    _attempts()
    op.create_table(
        "breakers",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane"),
        sqlite_with_rowid=False,
    )


def _destinations() -> None:
    op.rename_table("destinations", "destinations_0001")
    op.create_table(
        "destinations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("business_product_id", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        "INSERT INTO destinations SELECT id, kind, settings, event_types, business_product_id, enabled, '', ''"
        " FROM destinations_0001"
    )
    op.drop_table("destinations_0001")


def _messages() -> None:
    op.drop_index("messages_ready", "messages")
    op.rename_table("messages", "messages_0001")
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("destination_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    # What waits for a disabled destination is held now.
    op.execute(
        "INSERT INTO messages SELECT id, destination_id, position, CASE WHEN state = 'pending' AND destination_id IN"
        " (SELECT id FROM destinations WHERE NOT enabled) THEN 'held' ELSE state END, tries, due_at, lease_until,"
        " fence, late, ready_at, '', 0, FALSE FROM messages_0001"
    )
    op.drop_table("messages_0001")
    op.create_index("messages_destination", "messages", ["destination_id", "position"], unique=False)
    op.create_index("messages_position", "messages", ["position"], unique=False)
    op.create_index(
        "messages_ready",
        "messages",
        ["late", "destination_id", "ready_at", "position"],
        unique=False,
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )


def _attempts() -> None:
    op.drop_index("attempts_started_at", "attempts")
    op.rename_table("attempts", "attempts_0001")
    op.create_table(
        "attempts",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("retry_after", sa.BigInteger(), nullable=True),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "number"),
    )
    op.execute(
        "INSERT INTO attempts SELECT message_id, number, started_at, duration_ms, outcome, status, error, '', '',"
        " NULL, FALSE FROM attempts_0001"
    )
    op.drop_table("attempts_0001")
    op.create_index("attempts_started_at", "attempts", ["started_at", "number", "message_id"], unique=False)
