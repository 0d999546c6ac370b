"""The record: every table, and one way in for each of reading and writing.

SQLite (WAL) is the embedded default; PostgreSQL is the same code by one URL. Between processes nothing is called:
the prediction service, the watcher and the retrain job meet only here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import sqlalchemy as sa

from service.clock import from_micros, to_micros
from service.errors import SettingsError
from service.file_lock import FileLock

BUSY_TIMEOUT_SECONDS = 30.0


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN. What is hashed is written this way.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970: exact, ordered, the same on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else from_micros(value)


class Json(sa.types.TypeDecorator[Any]):
    """Any JSON value as its canonical text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


# SQLite gives row numbers to INTEGER PRIMARY KEY columns only.
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("registered_at", Instant, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("parent", sa.Text),  # the champion when its run began
    sa.Column("digest", sa.Text, nullable=False),  # of the artifact's manifest
    sa.Column("card", Json, nullable=False),
    sa.Column("read_until_seq", sa.BigInteger, nullable=False),  # the last logged request that its run read; 0: none
    sa.Column("data_until", Instant),  # the newest row that its run read, by the rows' own time
    sa.Column("standing", sa.Text, nullable=False),  # eligible | rejected | rolled_back
    sa.Column("standing_reason", sa.Text),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("role", sa.Text, primary_key=True),  # champion | previous
    sa.Column("version", sa.Text),
    sa.Column("since", Instant, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),  # moves by one with every move of the champion's role
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=True),
    sa.Column("xid", sa.BigInteger, nullable=False),  # PostgreSQL's transaction, for tailing; 0 on SQLite
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("answered_at", Instant, nullable=False),  # the machine's clock
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # JSON, redacted
    sa.Column("prediction", sa.Text, nullable=False),  # JSON scalar: class or value
    sa.Column("probabilities", sa.Text),  # JSON object class → probability
    sa.Column("marks", sa.Text),  # JSON object column → "unseen" | "out_of_range"
    sa.Column("latency_micros", sa.Integer, nullable=False),
    sa.Index("predictions_requested_at", "requested_at"),
    sa.Index("predictions_xid_seq", "xid", "seq").ddl_if(dialect="postgresql"),
    sqlite_autoincrement=True,
)

prediction_ids = sa.Table(
    "prediction_ids",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # of the decoded record, before redaction
    sa.Column("requested_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("label_seq", Sequence, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),  # what the id meant at receipt
    sa.Column("label", sa.Text, nullable=False),  # JSON scalar
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("machine_at", Instant, nullable=False),
    sa.Column("correction", sa.Boolean, nullable=False),
    sa.Index("labels_seq", "seq", "label_seq"),
    sa.Index("labels_received_at", "received_at"),
    sqlite_autoincrement=True,
)

clock = sa.Table(
    "clock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Instant, nullable=False),  # used where clock.source = "requests"; moves forward only
)

bouts = sa.Table(
    "bouts",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # challenge | probation
    sa.Column("challenger", sa.Text, nullable=False),
    sa.Column("champion", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),  # of the champion's role at opening
    sa.Column("design", Json, nullable=False),
    sa.Column("design_hash", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("after_seq", sa.BigInteger, nullable=False),  # evidence begins behind this request
    sa.Column("state", sa.Text, nullable=False),  # open | decided | voided
    sa.Column("outcome", sa.Text),
    sa.Column("decided_at", Instant),
    sa.Column("cursor_xid", sa.BigInteger, nullable=False),  # how far the shadow has scored
    sa.Column("cursor_seq", sa.BigInteger, nullable=False),
    sa.Column("matured_until", Instant),  # how far pairs have been entered, by request time
    sa.Column("look", Json),  # the latest look at the evidence
    sa.Column("heartbeat_at", Instant),  # the shadow's, on the machine's clock
)

shadow_scores = sa.Table(
    "shadow_scores",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.Text, nullable=False),  # scored | failed | sampled_out
    sa.Column("prediction", sa.Text),  # JSON scalar
    sa.Column("probabilities", sa.Text),  # JSON object class → probability
    sa.Column("latency_micros", sa.Integer),  # CPU time of a row scored alone; NULL where rows were scored together
    sqlite_with_rowid=False,
)

pairs = sa.Table(
    "pairs",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entry", sa.Integer, nullable=False),  # 1, 2, … in the order of entering
    sa.Column("difference", sa.Double, nullable=False),  # loss(champion) − loss(challenger), in [−1, 1]
    sqlite_with_rowid=False,
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("last_as_of", Instant),
    sa.Column("last_finished_at", Instant),  # the machine's clock
    sa.Column("last_error", sa.Text),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("request", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # retrain | alert
    sa.Column("key", sa.Text, unique=True),  # what arrives twice is taken once
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # pending | decided
    sa.Column("decided_at", Instant),
    sa.Index("requests_state", "state"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # requested | running | succeeded | failed | declined
    sa.Column("active", sa.Integer, unique=True),  # 1 while requested or running, else NULL: one active at a time
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("as_of", Instant),  # the run reads the record as it stood then
    sa.Column("started_at", Instant),  # the record's clock
    sa.Column("finished_at", Instant),
    sa.Column("machine_started_at", Instant),
    sa.Column("machine_finished_at", Instant),
    sa.Column("heartbeat_at", Instant),  # the machine's clock
    sa.Column("host", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("progress", Json),
    sa.Column("version", sa.Text),
    sa.Column("outcome", Json),  # the gate's decision, or the error
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),  # the record's clock
    sa.Column("recorded_at", Instant, nullable=False),  # the machine's
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text),
    sa.Column("data", Json, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index("events_kind", "kind", "seq"),
)

chain_head = sa.Table(
    "chain_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),  # canonical JSON
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("report", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # drift | data | quality | model
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("model_version", sa.Text),
    sa.Column("path", sa.Text, nullable=False),  # relative to the artifacts' folder
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.Integer, nullable=False),  # grows with every new holder; carried by child processes
    sa.Column("expires_at", Instant, nullable=False),  # the machine's clock
    sa.Column("settled_until", Instant),  # the watcher's: all due jobs and their consequences are finished up to here
)


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
        try:
            parsed = sa.engine.make_url(url)
        except sa.exc.ArgumentError as error:
            raise SettingsError(
                f"store.database: {url!r} is no database URL; expected sqlite:////absolute/path.db or "
                "postgresql://user@host/name",
                field="store.database",
            ) from error
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.dialect: Literal["sqlite", "postgresql"]
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise SettingsError(
                    f"store.database: {url!r} lives in memory only, and several processes must share the record; "
                    "expected a file, as in sqlite:////absolute/path.db",
                    field="store.database",
                )
            self.dialect = "sqlite"
            self.path: Path | None = Path(parsed.database).absolute()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock: FileLock | None = FileLock(self.path.with_name(self.path.name + ".lock"))
            self.engine = sa.create_engine(
                parsed.set(database=str(self.path)), creator=lambda: self._open_sqlite(BUSY_TIMEOUT_SECONDS)
            )
            sa.event.listen(self.engine, "connect", self._prepare_sqlite)
            sa.event.listen(self.engine, "checkout", self._expect_same_file)
        elif parsed.get_backend_name() == "postgresql":
            self.dialect = "postgresql"
            self.path = None
            self._lock = None
            self.engine = sa.create_engine(parsed, pool_pre_ping=True)
        else:
            raise SettingsError(
                f"store.database: {parsed.get_backend_name()!r} is not supported; expected sqlite or postgresql",
                field="store.database",
            )

    def _open_sqlite(self, timeout: float) -> sqlite3.Connection:
        """Without making the file: an empty record in the place of one that is gone would hide the loss."""
        address = f"file:{quote(str(self.path))}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=timeout, check_same_thread=False)

    def _inode(self) -> int | None:
        assert self.path is not None
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return None

    def _expect_same_file(self, _connection: Any, record: Any, _proxy: Any) -> None:
        """Else a pooled connection would go on with a file that was moved away or replaced: written, never found."""
        if record.info["inode"] != self._inode():
            raise sa.exc.DisconnectionError(f"{self.path} is not the file that it was")

    def _prepare_sqlite(self, connection: Any, record: Any) -> None:
        if record is not None:
            record.info["inode"] = self._inode()
        connection.isolation_level = None  # transactions are begun by hand: sqlite3 would begin them too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL survives the death of any process; FULL survives the loss of power too.
        cursor.execute(f"PRAGMA synchronous = {'FULL' if self.durability == 'fsync' else 'NORMAL'}")
        cursor.execute("PRAGMA cache_size = -16000")
        # Serving processes have a thread for it (`service.checkpoint`); this is for when none runs: 64 MB of log.
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
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
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

    def migrate(self) -> None:
        """Brings the tables to this code's revision; safe to call from several processes at once.

        The one way in which a SQLite file comes to be.
        """
        if self.path is not None:
            self.path.touch()
        from service.migrations.run import upgrade  # alembic is needed here only, and takes .2 s to import

        upgrade(self)

    def close(self) -> None:
        while self._raw:
            self._raw.pop().close()
        self.engine.dispose()
