"""The prediction log: what was asked, what was answered, by which version, and what turned out to be true."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from record.clock import EPOCH, MICROSECOND, Clock, machine_now, to_micros
from record.db.database import Database
from record.db.tables import LOGGED, labels, prediction_ids, predictions
from record.errors import InvalidLabel, InvalidRecord, LogUnavailable
from record.log.appender import Appender, open_appender
from record.log.archive import LogArchive
from record.log.counts import count_log
from record.log.disk_pace import DiskPace
from record.log.forgetting import forget
from record.log.labels import add_labels, storable
from record.log.requests_clock import RequestsClock
from record.log.transactions import oldest_running
from record.log.window import even_share
from record.logged import (
    Answer,
    Batch,
    Cursor,
    LabelGiven,
    LabelOutcome,
    LogCounts,
    LogEntry,
    LoggedRow,
    MaturedRow,
    Outcome,
    new_id,
    new_ids,
)
from record.record_key import RecordKey, key_digests

__all__ = [
    "Answer",
    "Batch",
    "Cursor",
    "LabelGiven",
    "LabelOutcome",
    "LogCounts",
    "LogEntry",
    "LoggedRow",
    "MaturedRow",
    "Outcome",
    "PredictionLog",
    "RequestsClock",
    "new_id",
    "new_ids",
]

# Longer than any commit behind it takes, shorter than a client waits.
PATIENCE_SECONDS = 5.0
CLOSE_SECONDS = 1.0
LABELS_AT_ONCE = 1_000  # in one transaction: 20 ms, in which no prediction is logged
LABELS_PAUSE_SECONDS = 0.002  # between two of them, so that whoever waits in another process comes first
UNSTORABLE = (UnicodeError, OverflowError, psycopg.DataError, sqlite3.DataError, sa.exc.DataError)
UNAVAILABLE = (sqlite3.Error, psycopg.Error, sa.exc.DBAPIError, OSError)


class PredictionLog:
    """Safe to share between threads. Appends queue behind each other: `GroupCommit` lets them share a commit."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        id_window: timedelta,
        follows_requests: bool = False,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        key: RecordKey | None = None,
    ) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._window = id_window
        self._follows_requests = follows_requests
        self._patience_seconds = patience_seconds
        self._appending = threading.Lock()
        self._appender: Appender | None = None
        self._appending_now = threading.Lock()
        self._appender_now: Appender | None = None
        self._disk_pace = DiskPace()

    def seal(self, digest: bytes) -> bytes:
        """A record's digest as a LogEntry carries it: keyed by the record's secret."""
        return digest if self._key is None else self._key.seal(digest)

    def key_digests(self) -> int:
        """Keys the digests that earlier releases stored without a key; how many."""
        return 0 if self._key is None else key_digests(self._database, self._key)

    def append(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Logs all of them in one commit, and says for each what to answer, or why it was refused as a whole.

        Once it returns, the rows survive this process, whatever becomes of it. Same id and same digest within the
        id window: the answer given first. Another digest: IdConflict, and the other batches are logged all the
        same. Raises LogUnavailable, with nothing logged unless it was the disk that failed behind the commit; the next
        call connects anew.
        """
        if not batches:
            return []
        with self._appending:
            try:
                return list(self._connected().append(batches, lambda: to_micros(self._clock.now())))
            except UNSTORABLE as error:
                self._disconnect()
                reason = error
            except UNAVAILABLE as error:
                self._disconnect()
                raise LogUnavailable("the prediction log cannot be written just now", reason=str(error)) from error
        if len(batches) == 1:  # a text that no database takes, such as half a surrogate pair
            return [InvalidRecord(f"the request cannot be stored: {reason}", field="records")]
        return [outcome for batch in batches for outcome in self.append([batch])]

    def append_now(self, batches: Sequence[Batch]) -> list[Outcome] | None:
        """As `append`, but never waits for anybody: None, with nothing logged, where another writer is at work.

        None too where anything fails: `append` then finds out what, and says it. SQLite only; elsewhere always None.
        With durability "fsync" the rows survive the loss of power only after a `sync`, or a later `append`.
        """
        if self._database.dialect != "sqlite" or not self._appending_now.acquire(blocking=False):
            return None
        try:
            if self._appender_now is None:
                self._appender_now = self._open(0)
            return list(self._appender_now.append(batches, lambda: to_micros(self._clock.now())))
        except BlockingIOError:
            return None
        except (*UNSTORABLE, *UNAVAILABLE):
            self._disconnect_now()
            return None
        finally:
            self._appending_now.release()

    def sync(self) -> None:
        """Waits until everything that was committed is on the disk. Raises LogUnavailable where that fails."""
        with self._appending:
            try:
                self._connected().sync()
            except UNAVAILABLE as error:
                self._disconnect()
                raise LogUnavailable("the prediction log cannot be written just now", reason=str(error)) from error

    @property
    def syncs_now(self) -> bool:
        """Whether the disk has lately been so quick that `sync_now` is less work than leaving `sync` to a thread."""
        return self._disk_pace.quick

    def sync_now(self) -> None:
        """As `sync`, behind an `append_now`, for the one thread that calls that."""
        try:
            self._disk_pace.measure(self._database.sync_log)
        except OSError as error:
            raise LogUnavailable("the prediction log cannot be written just now", reason=str(error)) from error

    def probe(self) -> None:
        """Raises LogUnavailable unless a writer can begin now; a lock is waited for as long as `append` would."""
        with self._appending:
            try:
                self._connected().probe()
            except UNAVAILABLE as error:
                self._disconnect()
                raise LogUnavailable("the prediction log cannot be written just now", reason=str(error)) from error

    def add_labels(self, given: Sequence[LabelGiven], at: datetime | None = None) -> LabelOutcome:
        """Stores new labels and corrections; `at` is the call's own time, None for the clock's.

        A label belongs to the request that its id means now. Where the clock follows requests it moves to `at`,
        also for no labels at all. Many are stored in several transactions, so that predictions are logged in between;
        when one fails, those before it stay, and are duplicates when they come again.
        """
        parts = [given[start : start + LABELS_AT_ONCE] for start in range(0, len(given), LABELS_AT_ONCE)] or [given]
        try:
            return LabelOutcome.together(list(self._add_parts(parts, at)))
        except UNSTORABLE as error:
            raise InvalidLabel(f"the labels cannot be stored: {error}", field="labels") from error
        except UNAVAILABLE as error:
            raise LogUnavailable("labels cannot be written just now", reason=str(error)) from error

    def _add_parts(self, parts: Sequence[Sequence[LabelGiven]], at: datetime | None) -> Iterator[LabelOutcome]:
        for place, part in enumerate(parts):
            if place:
                time.sleep(LABELS_PAUSE_SECONDS)
            yield self._add_labels(part, at)

    def _add_labels(self, given: Sequence[LabelGiven], at: datetime | None) -> LabelOutcome:
        with self._database.write() as connection:
            if self._follows_requests:
                received_at = RequestsClock(self._database).advance(at or EPOCH, connection)
            else:
                received_at = at or self._clock.now()
            return add_labels(connection, given, {"received_at": received_at, "machine_at": machine_now()})

    def tail(self, cursor: Cursor, limit: int) -> tuple[list[LoggedRow], Cursor]:
        """The next rows behind `cursor`, each exactly once and none left out, and where to go on.

        On PostgreSQL transactions end out of order: rows come by transaction, and only once every transaction that
        began before has ended. So the order is the arrival's only roughly, and a writer that hangs holds the tail.
        """
        query = sa.select(*LOGGED).limit(limit)
        if self._database.dialect == "sqlite":
            query = query.where(predictions.c.seq > cursor.seq).order_by(predictions.c.seq)
        else:
            place = sa.tuple_(predictions.c.xid, predictions.c.seq)
            query = query.where(place > sa.tuple_(cursor.xid, cursor.seq), predictions.c.xid < oldest_running())
            query = query.order_by(predictions.c.xid, predictions.c.seq)
        rows = self._rows(query)
        return rows, Cursor(rows[-1].xid, rows[-1].seq) if rows else cursor

    def matured(
        self,
        as_of: datetime,
        horizon: timedelta,
        *,
        after: datetime | None = None,
        after_seq: int = 0,
        model_version: str | None = None,
        late_labels: bool = False,
        limit: int | None = None,
        share: float = 1.0,
    ) -> list[MaturedRow]:
        """Requests with after < requested_at ≤ as_of − horizon, in request order, each with its label.

        The label is the latest that came within `horizon` of the request; with `late_labels` (for training, never
        for evidence) the latest that came until `as_of`. `after_seq` leaves out rows up to that number. Of a `share`
        below 1 they are an even sample.
        """
        came = labels.alias("came")
        until = to_micros(as_of) if late_labels else _micros(predictions.c.requested_at) + horizon // MICROSECOND
        in_time = sa.and_(came.c.seq == predictions.c.seq, _micros(came.c.received_at) <= until)
        latest = sa.select(sa.func.max(came.c.label_seq)).where(in_time).scalar_subquery()
        query = (
            sa.select(*LOGGED, labels.c.label, labels.c.received_at)
            .select_from(predictions.outerjoin(labels, labels.c.label_seq == latest))
            .where(predictions.c.requested_at <= as_of - horizon, predictions.c.seq > after_seq)
            .order_by(predictions.c.requested_at, predictions.c.seq)
            .limit(limit)
        )
        if after is not None:
            query = query.where(predictions.c.requested_at > after)
        if model_version is not None:
            query = query.where(predictions.c.model_version == model_version)
        if share < 1:
            query = query.where(even_share(share))
        with self._database.read() as connection:
            return [MaturedRow(*row) for row in connection.execute(query)]

    def window(
        self,
        after: datetime,
        until: datetime,
        limit: int | None = None,
        *,
        model_version: str | None = None,
        share: float = 1.0,
    ) -> list[LoggedRow]:
        """Requests with after < requested_at ≤ until, in request order; of a `share` below 1 an even sample."""
        query = (
            sa.select(*LOGGED)
            .where(predictions.c.requested_at > after, predictions.c.requested_at <= until)
            .order_by(predictions.c.requested_at, predictions.c.seq)
            .limit(limit)
        )
        if model_version is not None:
            query = query.where(predictions.c.model_version == model_version)
        return self._rows(query if share >= 1 else query.where(even_share(share)))

    def find(self, id: str) -> LoggedRow | None:
        """The request that this id means now."""
        if not storable(id):
            return None
        meant = sa.select(prediction_ids.c.seq).where(prediction_ids.c.id == id).scalar_subquery()
        rows = self._rows(sa.select(*LOGGED).where(predictions.c.seq == meant))
        return rows[0] if rows else None

    def counts(self, as_of: datetime, horizon: timedelta) -> LogCounts:
        """Over the whole log; only `pending` depends on the time. Large ones by their numbers: see `log_counts`."""
        with self._database.read() as connection:
            return count_log(connection, as_of, horizon)

    def between(self, after_seq: int, until_seq: int) -> list[LoggedRow]:
        """The requests with after_seq < seq ≤ until_seq, by number."""
        query = sa.select(*LOGGED).where(predictions.c.seq > after_seq, predictions.c.seq <= until_seq)
        return self._rows(query.order_by(predictions.c.seq))

    def labelled(self, as_of: datetime, horizon: timedelta, *, after: datetime | None = None) -> int:
        """How many requests with after < requested_at ≤ as_of − horizon got a label within `horizon`."""
        in_time = sa.and_(
            labels.c.seq == predictions.c.seq,
            _micros(labels.c.received_at) <= _micros(predictions.c.requested_at) + horizon // MICROSECOND,
        )
        query = sa.select(sa.func.count()).select_from(predictions).where(sa.exists().where(in_time))
        query = query.where(predictions.c.requested_at <= as_of - horizon)
        if after is not None:
            query = query.where(predictions.c.requested_at > after)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def last_seq(self, until: datetime | None = None) -> int:
        """The highest number among requests up to `until`, or of all; 0 for an empty log."""
        query = sa.select(sa.func.coalesce(sa.func.max(predictions.c.seq), 0))
        if until is not None:
            query = query.where(predictions.c.requested_at <= until)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def forget(self, before: datetime, archive: LogArchive | None = None) -> int:
        """Deletes requests before that time with their ids and labels, and says how many. Numbers are never reused.

        With an archive, labelled requests are on disk there before they leave the log.
        """
        return forget(self._database, before, archive)

    def close(self) -> None:
        """Lets go of the append connections; the next append makes a new one. One that hangs keeps its own."""
        with self._appending_now:
            self._disconnect_now()
        if self._appending.acquire(timeout=CLOSE_SECONDS):
            try:
                self._disconnect()
            finally:
                self._appending.release()

    def _connected(self) -> Appender:
        if self._appender is None:
            self._appender = self._open(self._patience_seconds)
        return self._appender

    def _open(self, patience_seconds: float) -> Appender:
        window = self._window // MICROSECOND
        known = bytes if self._key is None else self._key.known
        return open_appender(self._database, window, self._follows_requests, patience_seconds, known)

    def _disconnect(self) -> None:
        _close(self._appender)
        self._appender = None

    def _disconnect_now(self) -> None:
        _close(self._appender_now)
        self._appender_now = None

    def _rows(self, query: sa.Select[Any]) -> list[LoggedRow]:
        with self._database.read() as connection:
            return [LoggedRow(*row) for row in connection.execute(query)]


def _micros(column: sa.ColumnElement[datetime]) -> sa.ColumnElement[int]:
    return sa.type_coerce(column, sa.BigInteger)


def _close(appender: Appender | None) -> None:
    if appender is not None:
        with suppress(*UNAVAILABLE, ValueError):  # the database may have closed it
            appender.close()
