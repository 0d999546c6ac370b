"""What Alembic runs: the migrations, on the connection that `run.upgrade` holds, in its transaction."""

from __future__ import annotations

from alembic import context

from record.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
