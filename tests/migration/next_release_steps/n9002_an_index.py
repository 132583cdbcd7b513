"""The next one: an index of a table that is large by then."""

from milepost.sql.migrations import beside

revision = "9002"
down_revision = "9001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    beside.create_index("records_received_at", "records", ["received_at", "position"])
