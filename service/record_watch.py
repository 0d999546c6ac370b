"""A worker's look at its record: whether what it holds can still be read."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from record.db.database import Database
from record.db.database_file import ReplacedError
from record.db.tables import chain_head, predictions, samples
from record.log_lines import log_line
from record.metric_families import RECORD_INTACT

LOOK_SECONDS = 2.0
DAMAGE = ("malformed", "not a database", "disk image", "was replaced")


class RecordWatch:
    """`fault` says why the record cannot be trusted: it was replaced, or its file is damaged. None while it can.

    A record that is away for a moment is no fault: requests say so, and come through once it is back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fault: str | None = None

    def look(self) -> None:
        """Read what is cheap to read, and what the watcher's last full check said. For a thread."""
        fault = self._find()
        if fault != self.fault:
            level = logging.INFO if fault is None else logging.CRITICAL
            log_line("record whole again" if fault is None else "record damaged", level=level, reason=fault)
        self.fault = fault

    def _find(self) -> str | None:
        try:
            with self._database.read() as connection:
                connection.execute(sa.select(sa.func.max(predictions.c.seq))).scalar()
                connection.execute(sa.select(chain_head.c.digest)).first()
                query = sa.select(samples.c.value).where(samples.c.name == RECORD_INTACT)
                intact = connection.execute(query).scalar()
        except sa.exc.DBAPIError as error:
            text = str(error.orig)
            replaced = isinstance(error.orig, ReplacedError)
            return text if replaced or any(word in text for word in DAMAGE) else None
        except OSError:
            return None
        return None if intact is None or intact == 1 else "the watcher's check found the database file malformed"
