"""Run by Alembic: hands it the connection that `migrations.upgrade` was given, one transaction a step."""

from alembic import context

from milepost.sql.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transaction_per_migration=True,
    transactional_ddl=True,
    # Else a search path that names somebody else's schema too would have the version looked for there.
    version_table_schema=(
        connection.dialect.default_schema_name if connection.dialect.name == "postgresql" else None
    ),
)
with context.begin_transaction():
    context.run_migrations()
