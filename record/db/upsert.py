"""INSERT … ON CONFLICT, which both databases speak and SQLAlchemy spells per dialect."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update` for the connection's database."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def wrote(connection: sa.Connection, statement: sqlite.Insert | postgresql.Insert) -> bool:
    """Runs an INSERT … ON CONFLICT of one row; whether it wrote the row, or found nothing to do."""
    # SQLAlchemy keeps the count of an INSERT only when asked to.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1
