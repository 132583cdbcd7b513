"""What telling others takes: subscribers, ordered messages, replays, captures, what was told, volumes by hour.

Frozen: a change of `schema` is a new step beside this one, never an edit here. Tables are made anew and filled
from the old ones, so that a migrated database is the same, to the letter, as one that was made today.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PENDING = sa.text("state = 'pending'")
_UNSETTLED = sa.text("state IN ('pending', 'waiting', 'held')")
_RUNNING = sa.text("state = 'running'")
_IN_SEQUENCE = sa.text("sequence <> '' AND state IN ('pending', 'waiting', 'held')")


def upgrade() -> None:
    _destinations()
    _messages()
    _replays()
    _captures()
    op.create_table(
        "told",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "subject"),
        sqlite_with_rowid=False,
    )
    # What was folded before is not told: nobody had subscribed to it.
    op.execute(
        "INSERT INTO checkpoints (consumer, position)"
        " SELECT 'telling', position FROM checkpoints WHERE consumer = 'projector'"
    )
    op.create_table(
        "volumes",
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("type", _TEXT, nullable=False),
        sa.Column("road", _TEXT, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "type", "road", "hour"),
        sqlite_with_rowid=False,
    )


def _destinations() -> None:
    op.rename_table("destinations", "destinations_0003")
    op.create_table(
        "destinations",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("event_types", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("endpoint", _TEXT, nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("form", _TEXT, nullable=False),
        sa.Column("filter", sa.LargeBinary(), nullable=False),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("after", sa.BigInteger()),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    nothing = "CAST('' AS BLOB)" if op.get_bind().dialect.name == "sqlite" else "''::bytea"
    op.execute(
        "INSERT INTO destinations SELECT id, kind, settings, event_types, business_product_id, enabled, endpoint,"  # noqa: S608 - ours
        f" reason, '', '', {nothing}, FALSE, 0, 0, NULL, 0 FROM destinations_0003"
    )
    op.drop_table("destinations_0003")
    op.create_index(
        "destinations_disabled",
        "destinations",
        ["id"],
        sqlite_where=sa.text("enabled = 0"),
        postgresql_where=sa.text("NOT enabled"),
    )
    _named("destinations")


def _messages() -> None:
    for index in ("messages_ready", "messages_position", "messages_destination"):
        op.drop_index(index, "messages")
    op.rename_table("messages", "messages_0003")
    op.create_table(
        "messages",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("destination_id", _TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.Column("form", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("sequence", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("replay", _TEXT, nullable=False),
        sa.Column("earlier", sa.Integer(), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        "INSERT INTO messages SELECT id, destination_id, position, state, tries, due_at, lease_until, fence, late,"
        " ready_at, form, created_at, manual, '', '', '', 0, '' FROM messages_0003"
    )
    op.drop_table("messages_0003")
    op.create_index(
        "messages_ready",
        "messages",
        ["late", "destination_id", "ready_at", "position"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
    op.create_index(
        "messages_sequence",
        "messages",
        ["destination_id", "sequence", "position"],
        sqlite_where=_IN_SEQUENCE,
        postgresql_where=_IN_SEQUENCE,
    )
    op.create_index(
        "messages_unsettled",
        "messages",
        ["destination_id", "state"],
        sqlite_where=_UNSETTLED,
        postgresql_where=_UNSETTLED,
    )
    op.create_index("messages_position", "messages", ["position"])
    op.create_index("messages_destination", "messages", ["destination_id", "position"])
    _named("messages")


def _replays() -> None:
    op.create_table(
        "replays",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("destination_id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("filter", sa.LargeBinary(), nullable=False),
        sa.Column("new_ids", sa.Boolean(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("enqueued", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("replays_destination", "replays", ["destination_id", "id"])
    op.create_index("replays_running", "replays", ["id"], sqlite_where=_RUNNING, postgresql_where=_RUNNING)


def _captures() -> None:
    op.create_table(
        "captures",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("business_product_id", _TEXT, nullable=False),
        sa.Column("order_id", _TEXT, nullable=False),
        sa.Column("delivery_id", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("captures_id", "captures", ["id"], unique=True)
    op.create_index(
        "captures_delivery", "captures", ["business_product_id", "order_id", "delivery_id"], unique=True
    )
    op.create_index("captures_state", "captures", ["state", "number"])


def _named(table: str) -> None:
    """A table made anew while the old one was there could not have the names of its constraints."""
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        return
    renamed = bind.execute(
        sa.text(
            "SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace"
            " AND conrelid = CAST(:made AS regclass) AND conname ~ '_(pkey|not_null)1$'"
        ),
        {"made": table},
    )
    for name in renamed.scalars().all():
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name.removesuffix('1')}")
