"""The one way into the log's tables, on each database, by its raw driver: rows are inserted here thousands a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import psycopg

from record.clock import machine_now, to_micros
from record.db.database import Database
from record.db.database_file import FileConnection
from record.db.tables import SCHEMA
from record.errors import IdConflict
from record.log.plan import Known, Plan, Stamp, arrivals, plan
from record.log.transactions import CURRENT, rebase
from record.logged import Answer, Batch

# Takes the row's lock on PostgreSQL, and makes the row where there is none.
LOCK_CLOCK = (
    "INSERT INTO {}clock AS clock (id, at) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET at = clock.at RETURNING at"
)
PREDICTIONS = (
    "predictions (seq, xid, id, requested_at, answered_at, model_version, record, prediction, probabilities, marks, "
    "latency_micros)"
)
IDS = "prediction_ids (id, seq, digest, requested_at)"

Cursor = psycopg.Cursor[Any]
IdRow = tuple[str, int, bytes, int]


class Appender(Protocol):
    """Writes groups in one transaction each. For one thread at a time; unusable after an exception."""

    def append(self, batches: Sequence[Batch], now: Callable[[], int]) -> list[list[Answer] | IdConflict]: ...

    def sync(self) -> None: ...

    def probe(self) -> None: ...

    def close(self) -> None: ...


def open_appender(
    database: Database,
    window: int,
    follows_requests: bool,
    patience_seconds: float,
    known: Callable[[bytes], bytes] = bytes,
) -> Appender:
    """Connects. `window` is in microseconds; `patience_seconds` is how long a lock is waited for.

    `known` makes a stored digest comparable with those of entries, whichever release stored it.

    With no patience at all, a SQLite append raises BlockingIOError or sqlite3.OperationalError at once where
    anybody else is writing; nor does it wait for the disk: under durability "fsync", `sync` does.
    """
    kind = SqliteAppender if database.dialect == "sqlite" else PostgresAppender
    return kind(database, window, follows_requests, patience_seconds, known)


class SqliteAppender:
    _LOCK_CLOCK = LOCK_CLOCK.format("")
    _INSERT_ROW = f"INSERT INTO {PREDICTIONS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    _INSERT_ID = f"INSERT OR REPLACE INTO {IDS} VALUES (?, ?, ?, ?)"  # replaces what is older than the window
    _FIND = """
        SELECT i.id, i.digest, i.requested_at, p.model_version, p.prediction, p.probabilities, p.seq
        FROM prediction_ids i JOIN predictions p ON p.seq = i.seq WHERE i.id IN """
    _LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'predictions'"

    def __init__(
        self,
        database: Database,
        window: int,
        follows_requests: bool,
        patience_seconds: float,
        known: Callable[[bytes], bytes],
    ) -> None:
        self._database = database
        self._known = known
        self._window = window
        self._follows = follows_requests
        self._waits = patience_seconds > 0
        self._connection: FileConnection = database.connect_raw(patience_seconds)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._syncs = self._waits and database.durability == "fsync"
        assert database.path is not None
        self._path = database.path

    def append(self, batches: Sequence[Batch], now: Callable[[], int]) -> list[list[Answer] | IdConflict]:
        with self._database.exclusive(wait=self._waits):
            self._begin()
            try:
                made = self._write(batches, now)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        if self._syncs:  # beside the lock: others commit meanwhile, and share this wait or the next
            self.sync()
        return made.outcomes

    def sync(self) -> None:
        """Waits until whatever was committed before is on the disk, by whomever."""
        self._database.sync_log()

    def probe(self) -> None:
        with self._database.exclusive(wait=self._waits):
            self._begin()
            self._roll_back()

    def _begin(self) -> None:
        if not self._connection.current:  # else rows would go where nobody can find them
            raise FileNotFoundError(f"{self._path} is not the file that it was")
        self._connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _write(self, batches: Sequence[Batch], now: Callable[[], int]) -> Plan:
        execute = self._connection.execute
        clock = execute(self._LOCK_CLOCK).fetchall()[0][0] if self._follows else None
        times = arrivals(batches, now(), clock)
        if clock is not None and times[-1] > clock:
            execute("UPDATE clock SET at = ? WHERE id = 1", (times[-1],))
        last = execute(self._LAST_SEQ).fetchone()[0]  # never given twice, also after the last rows were forgotten
        seqs = range(last + 1, last + 1 + sum(len(batch.entries) for batch in batches))
        stamp = Stamp(0, to_micros(machine_now()), self._window)
        made = plan(batches, times, seqs, self._find(batches), stamp)
        self._connection.executemany(self._INSERT_ROW, made.rows)
        self._connection.executemany(self._INSERT_ID, made.ids)
        return made

    def _find(self, batches: Sequence[Batch]) -> dict[str, Known]:
        ids = list({entry.id for batch in batches if batch.client_ids for entry in batch.entries})
        found: dict[str, Known] = {}
        while ids:
            # Filled up to a power of two: ten statements, which the driver keeps prepared, fit every group.
            size = min(512, 1 << (len(ids) - 1).bit_length())
            chunk, ids = ids[:size], ids[size:]
            chunk += chunk[-1:] * (size - len(chunk))
            rows = self._connection.execute(f"{self._FIND} ({', '.join('?' * size)})", chunk).fetchall()
            for id, digest, at, version, prediction, probabilities, seq in rows:
                found[id] = Known(self._known(digest), at, Answer(id, version, prediction, probabilities, seq, True))
        return found

    def close(self) -> None:
        self._database.disconnect_raw(self._connection)


class PostgresAppender:
    """Claims every id first: of two replicas that got the same one, the database lets one insert it.

    Both claim in one order, and later lock what they did not get in the same order, so that neither can block the
    other for good.
    """

    _LOCK_CLOCK = LOCK_CLOCK.format(f"{SCHEMA}.").encode()
    _MOVE_CLOCK = f"UPDATE {SCHEMA}.clock SET at = %s WHERE id = 1".encode()
    _NUMBERS = (
        f"SELECT nextval(pg_get_serial_sequence('{SCHEMA}.predictions', 'seq')), {CURRENT} FROM generate_series(1, %s)"
    ).encode()
    _GIVEN = (
        "unnest(%s::text[], %s::bigint[], %s::bytea[], %s::bigint[]) WITH ORDINALITY AS g(id, seq, digest, at, place)"
    )
    _CLAIM = (
        f"INSERT INTO {SCHEMA}.{IDS} SELECT g.id, g.seq, g.digest, g.at FROM {_GIVEN} ORDER BY g.place "
        "ON CONFLICT (id) DO NOTHING RETURNING id"
    ).encode()
    # The order of the bytes is Python's order of texts, in which ids are claimed.
    _LOCK = (
        f"SELECT id, digest, requested_at, seq FROM {SCHEMA}.prediction_ids WHERE id = ANY(%s) "
        'ORDER BY id COLLATE "C" FOR UPDATE'
    ).encode()
    _ANSWERS = (
        f"SELECT seq, model_version, prediction, probabilities FROM {SCHEMA}.predictions WHERE seq = ANY(%s)"
    ).encode()
    _CHANGE = (
        f"UPDATE {SCHEMA}.prediction_ids AS held SET seq = g.seq, digest = g.digest, requested_at = g.at "
        f"FROM {_GIVEN} WHERE held.id = g.id"
    ).encode()
    _RELEASE = f"DELETE FROM {SCHEMA}.prediction_ids WHERE id = ANY(%s)".encode()
    _INSERT = f"COPY {SCHEMA}.{PREDICTIONS} FROM STDIN".encode()
    _PROBE = f"LOCK TABLE {SCHEMA}.predictions, {SCHEMA}.prediction_ids IN ROW EXCLUSIVE MODE".encode()
    _ATTEMPTS = 3

    def __init__(
        self,
        database: Database,
        window: int,
        follows_requests: bool,
        patience_seconds: float,
        known: Callable[[bytes], bytes],
    ) -> None:
        self._database = database
        self._known = known
        self._window = window
        self._follows = follows_requests
        self._connection: psycopg.Connection[Any] = database.connect_raw(patience_seconds)
        with self._connection.transaction():  # the server behind the address may be another one since the last time
            rebase(lambda statement: self._connection.execute(statement.encode()))

    def append(self, batches: Sequence[Batch], now: Callable[[], int]) -> list[list[Answer] | IdConflict]:
        for _ in range(self._ATTEMPTS - 1):
            with suppress(psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                return self._transact(batches, now)
        return self._transact(batches, now)

    def sync(self) -> None:
        """Nothing: a commit here has waited for the server's disk."""

    def probe(self) -> None:
        with self._connection.transaction():
            self._connection.execute(self._PROBE)

    def _transact(self, batches: Sequence[Batch], now: Callable[[], int]) -> list[list[Answer] | IdConflict]:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            return self._write(cursor, batches, now).outcomes

    def _write(self, cursor: Cursor, batches: Sequence[Batch], now: Callable[[], int]) -> Plan:
        clock = cursor.execute(self._LOCK_CLOCK).fetchall()[0][0] if self._follows else None
        times = arrivals(batches, now(), clock)
        if clock is not None and times[-1] > clock:
            cursor.execute(self._MOVE_CLOCK, (times[-1],))
        numbers = cursor.execute(self._NUMBERS, (max(1, sum(len(batch.entries) for batch in batches)),)).fetchall()
        seqs = [seq for seq, _ in numbers]
        wanted = _wanted(batches, times, seqs)
        claimed, known = self._claim(cursor, wanted)
        made = plan(batches, times, seqs, known, Stamp(numbers[0][1], to_micros(machine_now()), self._window))
        kept = {row[0]: row for row in made.ids}
        changed = [row for id, row in kept.items() if id not in claimed or wanted[id] != row]
        if changed:  # ids older than the window, used again; and what a refused batch had claimed before another
            cursor.execute(self._CHANGE, _columns(changed))
        if claimed - kept.keys():
            cursor.execute(self._RELEASE, (list(claimed - kept.keys()),))
        with cursor.copy(self._INSERT) as copy:
            for row in made.rows:
                copy.write_row(row)
        return made

    def _claim(self, cursor: Cursor, wanted: Mapping[str, IdRow]) -> tuple[set[str], dict[str, Known]]:
        """Which ids are ours now, and what the log knows of the others, whose rows are locked."""
        claimed: set[str] = set()
        known: dict[str, Known] = {}
        open_ids = sorted(wanted)
        while open_ids:
            cursor.execute(self._CLAIM, _columns([wanted[id] for id in open_ids]))
            claimed.update(id for (id,) in cursor.fetchall())
            others = [id for id in open_ids if id not in claimed]
            found = cursor.execute(self._LOCK, (others,)).fetchall() if others else []
            # A statement of its own: it sees the answers of whoever held the locks before.
            answers = self._answers(cursor, [seq for _, _, _, seq in found])
            for id, digest, at, seq in found:
                if seq in answers:
                    known[id] = Known(self._known(digest), at, Answer(id, *answers[seq], seq, True))
            open_ids = sorted(set(others) - {id for id, _, _, _ in found})  # forgotten between the two statements
        return claimed, known

    def _answers(self, cursor: Cursor, seqs: list[int]) -> dict[int, tuple[str, str, str | None]]:
        if not seqs:
            return {}
        return {row[0]: row[1:] for row in cursor.execute(self._ANSWERS, (seqs,))}

    def close(self) -> None:
        self._database.disconnect_raw(self._connection)


def _wanted(batches: Sequence[Batch], times: Sequence[int], seqs: Sequence[int]) -> dict[str, IdRow]:
    """For each id of the group, its first use."""
    wanted: dict[str, IdRow] = {}
    entries = ((entry, at) for batch, at in zip(batches, times, strict=True) for entry in batch.entries)
    for (entry, at), seq in zip(entries, seqs, strict=False):
        wanted.setdefault(entry.id, (entry.id, seq, entry.digest, at))
    return wanted


def _columns(rows: Sequence[IdRow]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
