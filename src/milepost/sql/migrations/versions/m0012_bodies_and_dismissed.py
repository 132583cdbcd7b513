"""The body by which an event came on a second road is kept; what was dismissed is counted (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0012"
down_revision = "0011"
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
