"""PostgreSQL's transactions, numbered for the log so that the order outlives the cluster.

The log is tailed by transaction (`predictions.xid`). A dump that is restored into another cluster brings rows whose
numbers that cluster has yet to reach: new rows would sort before them, and readers would never look there. So each row
is numbered by its transaction plus a base, which is raised wherever stored numbers lie in the cluster's future.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from record.db.tables import SCHEMA, transaction_base
from record.log_lines import log_line

_BASE = f"(SELECT coalesce(max(base), 0) FROM {SCHEMA}.transaction_base)"
# This transaction's number, as rows carry it.
CURRENT = f"pg_current_xact_id()::text::bigint + {_BASE}"
_XMAX = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
# Any number will do, as long as nothing else in the same database locks it.
_LOCK = "SELECT pg_advisory_xact_lock(1380536902)"
# A cursor may stand at the next transaction; a row is always of an earlier one.
_REBASE = f"""
    WITH newest AS (
        SELECT greatest(
            (SELECT max(xid) + 1 FROM {SCHEMA}.predictions), (SELECT max(cursor_xid) FROM {SCHEMA}.bouts), 0
        ) AS xid
    )
    INSERT INTO {SCHEMA}.transaction_base (id, base)
    SELECT 1, newest.xid - {_XMAX} FROM newest WHERE newest.xid > {_XMAX} + {_BASE}
    ON CONFLICT (id) DO UPDATE SET base = excluded.base
    RETURNING base
"""


def oldest_running() -> sa.ColumnElement[int]:
    """The number below which every transaction has ended, by this statement's snapshot."""
    base = sa.select(sa.func.coalesce(sa.func.max(transaction_base.c.base), 0)).scalar_subquery()
    return sa.literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint", sa.BigInteger) + base


def rebase(execute: Callable[[str], Any]) -> None:
    """Raises the base where the record came from a cluster that had counted further. For a transaction of its own."""
    execute(_LOCK)  # and a new snapshot behind it: of several that find the same, one raises the base
    row = execute(_REBASE).fetchone()
    if row is not None:
        log_line("record came from another cluster", transaction_base=row[0])
