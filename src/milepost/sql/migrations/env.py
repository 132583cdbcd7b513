"""Run by Alembic: hands it the connection that `migrations.upgrade` opened, one transaction a step."""

from alembic import context

from milepost.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
