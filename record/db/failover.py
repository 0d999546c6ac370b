"""Leaving a PostgreSQL server that has lost its role: after a failover the pooled connections still lead to it.

The old server may stay up, read-only, as a standby or by its administrator's hand. Reads would go on from its state
for ever, and every write would fail. So a pooled connection is asked, as it is taken, whether it may still write; one
that may not makes way for a new one, which leads to whoever has the address now. Where the new one cannot write
either, it is used all the same: there is nothing better.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa

READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction


def leave_read_only_servers(engine: sa.Engine) -> None:
    """Watches an engine's pool. Takes the place of its `pool_pre_ping`: a dead connection is noticed by the same."""
    sa.event.listen(engine, "connect", _mark_new)
    sa.event.listen(engine, "checkout", _expect_writable)
    sa.event.listen(engine, "handle_error", _forget_pool)


def _mark_new(_connection: Any, record: Any) -> None:
    record.info["new"] = True


def _expect_writable(connection: psycopg.Connection[Any], record: Any, _proxy: Any) -> None:
    if record.info.pop("new", False):
        return
    try:
        connection.autocommit = True
        row = connection.execute("SHOW transaction_read_only").fetchone()
        connection.autocommit = False
    except psycopg.Error as error:
        raise sa.exc.InvalidatePoolError(f"the connection is gone: {error}") from error
    if row is None or row[0] != "off":
        raise sa.exc.InvalidatePoolError("the server behind the connection has become read-only")


def _forget_pool(context: sa.engine.ExceptionContext) -> None:
    """A server that became read-only between the question and the write."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
