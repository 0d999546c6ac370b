"""The way to the record: one way in for each of reading and writing; its tables are in `record.db.tables`.

SQLite (WAL) is the embedded default; PostgreSQL is the same code by one URL. Between processes nothing is called:
the prediction service, the watcher and the retrain job meet only here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import sqlalchemy as sa

from record.db.database_file import DatabaseFile, FileConnection
from record.db.database_url import create_engine, parse_database_url
from record.db.failover import leave_read_only_servers
from record.db.file_lock import FileLock
from record.db.in_place import make_log_index
from record.db.tables import SCHEMA
from record.db.work import begin_work, check_work, committing
from record.errors import SettingsError
from record.ownership import make_folder
from record.redaction import describe_address

BUSY_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 10


class Database:
    """The way to the record. Safe to share between threads; after a fork, make a new one.

    `read` gives a connection that sees one snapshot. `write` gives a transaction that is committed at the end of
    the block and rolled back when it raises; on SQLite one writer at a time holds a file lock beside the database
    (two saturated writers on SQLite's own busy wait stall each other for seconds; behind the lock the worst was
    .1 s), so that a long computation does not belong inside the block.
    """

    def __init__(self, url: str, *, durability: Literal["commit", "fsync", "async"] = "commit") -> None:
        self.url = url
        self.durability = durability
        self._raw: list[Any] = []
        parsed = parse_database_url(url, "store.database")
        self.dialect: Literal["sqlite", "postgresql"]
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise SettingsError(
                    f"store.database: {describe_address(url)} lives in memory only, and several processes must share "
                    "the record; expected a file, as in sqlite:////absolute/path.db",
                    field="store.database",
                )
            self.dialect = "sqlite"
            self.path: Path | None = Path(parsed.database).absolute()
            make_folder(self.path.parent)
            self.file: DatabaseFile | None = DatabaseFile(self.path)
            self._lock: FileLock | None = FileLock(self.path.with_name(self.path.name + ".lock"), self.path)
            self.engine = create_engine(
                parsed.set(database=str(self.path)),
                "store.database",
                creator=lambda: self._open_sqlite(BUSY_TIMEOUT_SECONDS),
            )
            sa.event.listen(self.engine, "connect", self._prepare_sqlite)
            sa.event.listen(self.engine, "checkout", self._expect_same_file)
        elif parsed.get_backend_name() == "postgresql":
            self.dialect = "postgresql"
            self.path = None
            self.file = None
            self._lock = None
            # A server that takes the connection and then says nothing would be waited for without end. Where one does
            # not know its own encoding, its text would arrive as bytes.
            patience = {} if "connect_timeout" in parsed.query else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
            self.engine = create_engine(
                parsed,
                "store.database",
                connect_args={"client_encoding": "utf8", **patience},
                execution_options={"schema_translate_map": {None: SCHEMA}},
            )
            leave_read_only_servers(self.engine)
        else:
            raise SettingsError(
                f"store.database: {parsed.get_backend_name()!r} is not supported; expected sqlite or postgresql",
                field="store.database",
            )
        sa.event.listen(self.engine, "before_cursor_execute", lambda *_: check_work())

    def _open_sqlite(self, timeout: float) -> FileConnection:
        """Without making the file: an empty record in the place of one that is gone would hide the loss."""
        assert self.file is not None
        try:
            generation = self.file.check()
        except OSError as error:
            raise sqlite3.OperationalError(f"unable to open database file {self.path}: {error.strerror}") from error
        assert self.path is not None
        make_log_index(self.path)
        address = f"file:{quote(str(self.path))}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=timeout, check_same_thread=False, factory=FileConnection
        )
        connection.opened(self.file, generation)
        return connection

    def _expect_same_file(self, connection: Any, _record: Any, _proxy: Any) -> None:
        """Else a pooled connection would go on with a file that was moved away or replaced: written, never found."""
        if not connection.current:
            raise sa.exc.DisconnectionError(f"{self.path} is not the file that it was")

    def _prepare_sqlite(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by hand: sqlite3 would begin them too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL survives the death of any process; FULL survives the loss of power too.
        cursor.execute(f"PRAGMA synchronous = {'FULL' if self.durability == 'fsync' else 'NORMAL'}")
        cursor.execute("PRAGMA cache_size = -16000")
        # Serving processes have a thread for it (`service.commits.checkpoint`); for when none runs: 64 MB of log.
        cursor.execute("PRAGMA wal_autocheckpoint = 16000")
        cursor.close()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot: everything read in the block is of one moment."""
        with self.engine.connect() as connection:
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self, joining: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """A transaction, or the one given by `joining`, which then commits for both."""
        if joining is not None:
            yield joining
            return
        with self.exclusive(), self.engine.connect() as connection:
            begin_work()  # the lock may have been waited for
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            with committing():
                connection.commit()  # an exception passes this line, and closing rolls back

    def exclusive(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """On SQLite, the file lock that makes writers of every process queue; elsewhere nothing.

        Without `wait`, entering it raises BlockingIOError where somebody holds it.
        """
        if self._lock is None:
            return nullcontext()
        return self._lock if wait else self._lock.at_once

    def sync_log(self) -> None:
        """On SQLite, waits until the write-ahead log is on the disk: all that was committed by then, by any process.

        So a commit with `synchronous = NORMAL` and this behind it is as safe as one with FULL, and others commit
        while the disk is waited for. For one who holds a connection: with the last one the log would go.
        """
        if self.path is None:
            return
        descriptor = os.open(self.path.with_name(self.path.name + "-wal"), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def connect_raw(self, patience_seconds: float) -> Any:
        """A connection of the driver's own, for hot paths, until `disconnect_raw` or `close`. Begins no transactions.

        A lock is waited for `patience_seconds`. A missing SQLite file is an error here, never a new, empty record.
        """
        connection = self._connect_raw(patience_seconds)
        self._raw.append(connection)
        return connection

    def disconnect_raw(self, connection: Any) -> None:
        self._raw.remove(connection)
        connection.close()

    def _connect_raw(self, patience_seconds: float) -> Any:
        if self.path is not None:
            connection = self._open_sqlite(patience_seconds)
            self._prepare_sqlite(connection, None)
            return connection
        import psycopg  # an embedded record does without it

        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        remote = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=max(2, round(patience_seconds)),
            # A host that is gone says nothing: without these its connection would be waited on for hours.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=round(2000 * patience_seconds),
        )
        remote.execute(f"SET lock_timeout = {round(1000 * patience_seconds)}".encode())
        if self.durability == "async":
            remote.execute("SET synchronous_commit = off")
        return remote

    def integrity_fault(self, seconds: float | None = None) -> str | None:
        """What SQLite finds wrong with its file; None where nothing is, on PostgreSQL, and where `seconds` are over.

        Reads the whole file.
        """
        if self.path is None:
            return None
        end = None if seconds is None else time.monotonic() + seconds
        try:
            with closing(self._open_sqlite(BUSY_TIMEOUT_SECONDS)) as connection:
                connection.set_progress_handler(lambda: end is not None and time.monotonic() > end, 100_000)
                found = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return None if "interrupted" in str(error) else str(error)
        return None if found is None or found[0] == "ok" else str(found[0])

    def close(self) -> None:
        while self._raw:
            self._raw.pop().close()
        self.engine.dispose()
        if self.file is not None:
            self.file.close()
