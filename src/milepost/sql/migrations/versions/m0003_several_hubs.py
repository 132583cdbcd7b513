"""What several hubs on one database need, and what retention counts. PostgreSQL begins here.

Frozen: a change of `schema` is a new step beside this one, never an edit here. Tables are made anew and filled
from the old ones, so that a migrated database is the same, to the letter, as one that was made today.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


_HOT = ("breakers", "checkpoints", "counters", "journal_end", "leases", "writers")


def upgrade() -> None:
    _counters()
    live = sa.text("road <> 'replay'")
    op.create_index("arrivals_live", "arrivals", ["id"], sqlite_where=live, postgresql_where=live)
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    _retention()
    if op.get_bind().dialect.name == "postgresql":
        _postgresql()


def _retention() -> None:
    op.create_table(
        "shared_deliveries",
        sa.Column("business_product_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("business_product_id", "delivery_id", "order_id"),
        sqlite_with_rowid=False,
    )
    released = sa.text("position IS NOT NULL")
    op.create_index(
        "quarantine_position", "quarantine", ["position"], sqlite_where=released, postgresql_where=released
    )


def _counters() -> None:
    op.rename_table("counters", "counters_0002")
    op.create_table(
        "counters",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("others", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        "INSERT INTO counters SELECT id, others, duplicates, conflicts, quarantined, 0 FROM counters_0002"
    )
    op.drop_table("counters_0002")


def _postgresql() -> None:
    """What the first two steps, written for SQLite, made otherwise than PostgreSQL wants it. Nothing is in it yet."""
    op.create_table(
        "journal_end",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "writers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("commits", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO journal_end SELECT 1, coalesce(max(position), 0) FROM records")
    op.execute("ALTER TABLE records ALTER COLUMN position DROP DEFAULT")
    op.execute("DROP SEQUENCE records_position_seq")
    for table in _HOT:
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50, vacuum_truncate = false)")
    bind = op.get_bind()
    texts = bind.exec_driver_sql(
        "SELECT table_name, string_agg('ALTER COLUMN ' || column_name || ' TYPE text COLLATE \"C\"', ', ')"
        " FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'text'"
        " GROUP BY table_name"
    ).all()
    for table, changes in texts:
        op.execute(f"ALTER TABLE {table} {changes}")
    # A table made anew while the old one was there could not have the names of its constraints.
    renamed = bind.exec_driver_sql(
        "SELECT conrelid::regclass, conname FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace AND conname ~ '_(pkey|not_null)1$'"
    ).all()
    for table, name in renamed:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name.removesuffix('1')}")
