"""A quarantined body may be dismissed, and says who released or dismissed it (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text as PlainText

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TEXT = PlainText().with_variant(PlainText(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("dismissed_at", sa.BigInteger()))
    op.add_column("quarantine", sa.Column("handled_by", _TEXT))
