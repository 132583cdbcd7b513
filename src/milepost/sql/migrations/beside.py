"""What a step does beside hubs that serve and that no transaction can hold: indexes of tables that are large.

A step that uses this has nothing else in it: it is no longer one transaction, and runs again from its beginning
when it was interrupted.
"""

from collections.abc import Sequence
from typing import Any

from alembic import op


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Make an index while everybody goes on writing; on SQLite nobody does. `options` are Alembic's."""
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        op.create_index(name, table, columns, **options)
        return
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        before = bind.exec_driver_sql("SHOW lock_timeout").scalar_one()
        # It waits for transactions to end, for as long as that takes, and nobody waits for it.
        bind.exec_driver_sql("SET lock_timeout = 0")
        # What an interrupted one leaves is kept up to date and never used.
        bind.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        bind.exec_driver_sql(f"SET lock_timeout = '{before}'")
