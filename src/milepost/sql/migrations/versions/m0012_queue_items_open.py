"""What is still to be done of a queue is counted without what was handled (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_UNHANDLED = sa.text("hidden_until < 9223372036854775807")


def upgrade() -> None:
    for name, columns in (
        ("queue_items_open", ["queue", "since", "hidden_until"]),
        ("queue_items_open_product", ["queue", "business_product_id", "since", "hidden_until"]),
    ):
        op.create_index(name, "queue_items", columns, sqlite_where=_UNHANDLED, postgresql_where=_UNHANDLED)
