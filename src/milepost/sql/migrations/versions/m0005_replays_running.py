"""Running replays have an index; destinations lose a version that nobody read (2026-11-26).

Frozen: a change of `schema` is a new step beside this one, never an edit here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    op.drop_index("destinations_version", "destinations")
    op.drop_column("destinations", "version")
    op.create_index("replays_running", "replays", ["id"], sqlite_where=_RUNNING, postgresql_where=_RUNNING)
