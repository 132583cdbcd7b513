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


def _counters() -> None:
    op.rename_table("counters", "counters_0002")
    op.create_table(
        "counters",
        sa.Column("id", sa.Integer(), nullable=False),
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
