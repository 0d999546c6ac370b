"""What Alembic runs: the migrations, on the connection that `run.upgrade` holds, in its transaction."""

from __future__ import annotations

from alembic import context

from record.db.tables import SCHEMA, metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
)
with context.begin_transaction():
    context.run_migrations()
