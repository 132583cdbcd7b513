"""Views of one kind are listed in the order of their numbers (2026-11-26).

Without this index SQLite finds all of a kind and sorts them, documents and all, for every page of everybody's orders.

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("views_number", "views", ["kind", "number"])
