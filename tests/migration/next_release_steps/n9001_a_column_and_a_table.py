"""A step of a release to come: what a step may do beside serving hubs, in one transaction.

It follows the newest there is."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.create_table("notes", sa.Column("id", sa.BigInteger(), primary_key=True))
