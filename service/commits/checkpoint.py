"""Moves SQLite's write-ahead log into its database file, away from the requests.

SQLite does that within the commit that makes the log 4 MB long, two waits for the disk included, and single
predictions fill 4 MB several times a second: one in a few hundred answers waited for it. Here a thread does it while
commits go on; and a longer log is less work, since a page that was written a hundred times is moved once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import Final

import sqlalchemy as sa

from record.db.database import Database
from record.db.database_file import FileConnection
from record.log_lines import log_line

# Commits of single predictions between two rounds: some 20 kB of log each.
COMMITS: Final = 1000
# So many rows of a batch, which lie beside each other, are as much log as one that is committed alone.
_ROWS_OF_A_COMMIT: Final = 32
LONGEST_SECONDS: Final = 60.0  # after the last commit
# 32 MB: from there on the log is begun anew, which takes the writers' lock for the few pages that came meanwhile.
LONG_FRAMES: Final = 8000
# A round later, at the latest, by which time COMMITS of single predictions have added some 6,000.
LONG_BYTES: Final = 64_000_000
_STEP_BYTES: Final = 1_000_000


def commits_worth(rows: int) -> int:
    """How many commits of single predictions fill as much of the log as one commit of `rows`."""
    return max(1, rows // _ROWS_OF_A_COMMIT)


class Checkpointer:
    """For one thread at a time, of any process that writes; several do not disturb each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: FileConnection | None = None
        self._commits = 0
        self._at = time.monotonic()

    def prepare(self) -> None:
        """Where commits wait for the disk: makes the log as long at once as it gets.

        A sync of a file that has just grown writes the file system's journal too, and takes ten times as long as one
        of blocks that were there (2.4 ms and .2 ms on ext4). SQLite reads a log only as far as its frames' salts and
        checksums hold, and zeros are none; who would append meanwhile waits.
        """
        if self._database.dialect != "sqlite" or self._database.durability != "fsync":
            return
        assert self._database.path is not None
        log = self._database.path.with_name(self._database.path.name + "-wal")
        try:
            with self._database.write(), log.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                for start in range(size, LONG_BYTES, _STEP_BYTES):
                    file.write(bytes(min(_STEP_BYTES, LONG_BYTES - start)))
                file.flush()
                os.fsync(file.fileno())
        except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:  # commits are slower for it, and that is all
            log_line("write-ahead log not made as long as it gets", level=logging.WARNING, reason=str(error))

    def due(self, commits: int) -> bool:
        """Whether a round is worth it: this process has made so many `commits` so far, by `commits_worth`."""
        made = commits - self._commits
        return made >= COMMITS or (made > 0 and time.monotonic() - self._at > LONGEST_SECONDS)

    def run(self, commits: int) -> None:
        """One round. What readers or another checkpoint hold back is left to the next."""
        self._commits, self._at = commits, time.monotonic()
        if self._database.dialect != "sqlite":
            return
        _, frames, _ = self._checkpoint("PASSIVE")
        if frames >= LONG_FRAMES:
            with self._database.exclusive():
                self._checkpoint("RESTART")

    def _checkpoint(self, mode: str) -> tuple[int, int, int]:
        if self._connection is None:
            self._connection = self._database.connect_raw(0)
        try:
            if not self._connection.current:  # the log would be moved into a file that it does not belong to
                raise sqlite3.OperationalError(f"{self._database.path} is not the file that it was")
            held: tuple[int, int, int] = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error:
            self._connection.close()
            self._connection = None  # the next round connects anew
            raise
        return held
