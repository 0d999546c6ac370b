"""The audit trail: what is appended, read in pages, and found where it was changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import chain_head, events
from record.errors import InvalidRecord
from record.event_log import GENESIS, EventLog
from record.events import AccessRefused, DriftChecked, ModelPromoted, RetrainDeclined

START = datetime(2013, 3, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def log(database: Database, clock: ManualClock) -> EventLog:
    return EventLog(database, clock)


def declined(reason: str) -> RetrainDeclined:
    return RetrainDeclined(trigger="drift", reason=reason)


def fill(log: EventLog, n: int) -> None:
    for i in range(n):
        log.append(declined(f"reason {i}"), actor="watcher")


def test_an_event_is_recorded_as_it_was(log: EventLog, clock: ManualClock) -> None:
    """What is appended is what a page gives back, at the record's time."""
    clock.advance(timedelta(microseconds=1234567))
    event = DriftChecked(as_of=START, rows=7, drifted=("wind",), scores={"wind": np.float32(0.5)}, model_version="v3")
    written = log.append(event, actor="watcher")
    read, cursor = log.page()
    assert read == [written]
    assert cursor is None
    assert written.at == START + timedelta(microseconds=1234567)
    assert written.model_version == "v3"
    assert written.data["scores"] == {"wind": 0.5}
    assert written.previous == GENESIS
    assert log.head() == written.digest


def test_an_event_stands_or_falls_with_its_transaction(log: EventLog) -> None:
    """An event in a transaction that fails was never there, and the chain is whole."""
    fill(log, 1)

    def fails() -> None:
        with log.writing() as connection:
            log.append(declined("never"), actor="watcher", connection=connection)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    fill(log, 1)
    assert [event.seq for event in log.page()[0]] == [1, 2]
    assert log.verify().valid


def test_pages_follow_each_other(log: EventLog) -> None:
    """Cursors walk over everything once, in order."""
    fill(log, 7)
    seen, cursor = log.page(limit=3)
    while cursor is not None:
        page, cursor = log.page(limit=3, cursor=cursor)
        seen += page
    assert [event.seq for event in seen] == list(range(1, 8))


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_a_full_page_is_the_last_where_nothing_comes_behind_it(log: EventLog, count: int) -> None:
    """No page promises a next one that would be empty."""
    fill(log, count)
    if count:
        assert log.page(limit=count)[1] is None
    seen, cursor = log.page(limit=3)
    while cursor is not None:
        page, cursor = log.page(limit=3, cursor=cursor)
        assert page
        seen += page
    assert [event.seq for event in seen] == list(range(1, count + 1))


@pytest.mark.parametrize("limit", [1, 0, -1, -(10**9)])
def test_a_page_holds_one_event_at_least(log: EventLog, limit: int) -> None:
    """A page of none would be read for ever."""
    fill(log, 2)
    page, cursor = log.page(limit=limit)
    assert ([event.seq for event in page], cursor) == ([1], "1")


@pytest.mark.parametrize("limit", [1000, 1001, 10**9])
def test_a_page_holds_a_thousand_events_at_most(sqlite_database: Database, clock: ManualClock, limit: int) -> None:
    """However many are asked for: nobody loads the whole trail at once."""
    log = EventLog(sqlite_database, clock)
    with log.writing() as connection:
        for i in range(1001):
            log.append(declined(f"reason {i}"), actor="watcher", connection=connection)
    page, cursor = log.page(limit=limit)
    assert (len(page), cursor) == (1000, "1000")
    assert [event.seq for event in log.page(limit=limit, cursor=cursor)[0]] == [1001]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3", "²", "9" * 30])
def test_a_cursor_that_is_none_is_refused(log: EventLog, cursor: str) -> None:
    """A cursor from nowhere is the caller's mistake, not an empty page."""
    with pytest.raises(InvalidRecord, match="cursor"):
        log.page(cursor=cursor)


def test_filters(log: EventLog, clock: ManualClock) -> None:
    """kind, model, actor, since, until and q each narrow the page, in the database."""
    log.append(declined("100% sure_ly\\ \x00"), actor="watcher")
    clock.advance(timedelta(hours=1))
    log.append(ModelPromoted(reason="Better", previous="v1", generation=2, model_version="v2"), actor="ann")
    clock.advance(timedelta(hours=1))
    log.append(AccessRefused(reason="unauthorized", route="/predict", count=3), actor="service")

    def seqs(**narrowed: object) -> list[int]:
        return [event.seq for event in log.page(**narrowed)[0]]  # type: ignore[arg-type]

    assert seqs(kind="model_promoted") == [2]
    with pytest.raises(InvalidRecord, match="'model_promotd' is no kind of event; did you mean model_promoted"):
        seqs(kind="model_promotd")
    assert seqs(kind=("model_promoted", "access_refused")) == [2, 3]
    assert seqs(model="v2") == [2]
    assert seqs(actor="service") == [3]
    assert seqs(since=START + timedelta(hours=1)) == [2, 3]
    assert seqs(until=START + timedelta(hours=1)) == [1]
    assert seqs(q="BETTER") == [2]
    assert seqs(q="v2") == [2]
    assert seqs(q="Refused") == [3]
    assert seqs(q="0% sure_ly") == [1]
    assert seqs(q="sure%ly") == []
    assert seqs(q="r_ason") == []
    assert seqs(q="\x00\ud800' OR 1=1 --") == []


def overwrite(column: str, value: object) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(
        sa.text(f"UPDATE events SET {column} = :value WHERE seq = 3"), {"value": value}
    )


def statement(text: str) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(sa.text(text))


@pytest.mark.parametrize(
    ("tamper", "broken_at"),
    [
        (overwrite("data", '{"numbers":{},"reason":"other","run_id":null,"trigger":"drift"}'), 3),
        (overwrite("data", '{"a":1,"numbers":{},"reason":"reason 2","run_id":null,"trigger":"drift"}'), 3),
        (overwrite("data", '{"numbers":{},"reason":"x","reason":"reason 2","run_id":null,"trigger":"drift"}'), 3),
        (overwrite("data", "not JSON"), 3),
        (overwrite("actor", "somebody"), 3),
        (overwrite("kind", "model_promoted"), 3),
        (overwrite("model_version", "v9"), 3),
        (overwrite("at", 1), 3),
        (overwrite("at", 2**62), 3),  # a time that no calendar holds
        (overwrite("at", -(2**62)), 3),
        (overwrite("digest", "0" * 64), 3),
        (overwrite("previous", "0" * 64), 3),
        (statement("UPDATE events SET seq = 9 WHERE seq = 3"), 3),
        (statement("DELETE FROM events WHERE seq = 3"), 3),
        (statement("DELETE FROM events WHERE seq = 1"), 1),
        (statement("DELETE FROM events WHERE seq = 5"), 5),
        (statement("DELETE FROM events"), 1),
        (statement("UPDATE chain_head SET seq = 4"), 4),
        (statement("UPDATE chain_head SET digest = 'x'"), 5),
        (statement("DELETE FROM chain_head"), 1),
    ],
)
def test_tampering_shows(
    database: Database, log: EventLog, tamper: Callable[[sa.Connection], object], broken_at: int
) -> None:
    """Whatever is changed, inserted, removed or cut breaks the chain, and the first broken event is named."""
    fill(log, 5)
    assert log.verify().valid
    with database.write() as connection:
        tamper(connection)
    report = log.verify()
    assert not report.valid
    assert report.broken_at == broken_at


@pytest.mark.parametrize("place", [1, 2, 4, 5])
def test_tampering_shows_wherever_it_is(sqlite_database: Database, clock: ManualClock, place: int) -> None:
    """In the first event, the last, and on both sides of the rows that are read at once."""
    log = EventLog(sqlite_database, clock)
    fill(log, 5)
    with sqlite_database.write() as connection:
        connection.execute(sa.text("UPDATE events SET actor = 'somebody' WHERE seq = :place"), {"place": place})
    report = log.verify()
    assert (report.valid, report.broken_at, report.events) == (False, place, place - 1)


def test_the_newest_event_of_a_kind_is_the_latest(log: EventLog) -> None:
    """Of one kind or of several, of one version or of any; none is none."""
    fill(log, 2)
    log.append(ModelPromoted(reason="a", previous=None, generation=1, model_version="v1"), actor="ann")
    log.append(ModelPromoted(reason="b", previous="v1", generation=2, model_version="v2"), actor="ann")
    fill(log, 1)

    def latest(*asked: object) -> int | None:
        event = log.latest(*asked)  # type: ignore[arg-type]
        return None if event is None else event.seq

    assert latest("model_promoted") == 4
    assert latest("model_promoted", "v1") == 3
    assert latest("model_promoted", "v3") is None
    assert latest(("model_promoted", "retrain_declined")) == 5
    assert latest("access_refused") is None


def test_a_trail_as_it_stood_shows_nothing_later(log: EventLog) -> None:
    """Neither the event itself, nor those behind it, by any way to read."""
    fill(log, 4)
    earlier = log.before(3)
    assert [event.seq for event in earlier.page()[0]] == [1, 2]
    newest = earlier.latest("retrain_declined")
    assert newest is not None
    assert newest.seq == 2
    assert earlier.get(2) is not None
    assert earlier.get(3) is None
    assert log.get(3) is not None


def test_whoever_will_append_holds_the_head_from_the_start(postgresql_database: Database, clock: ManualClock) -> None:
    """Two that lock rows of their own crosswise behind it come one after the other, and both come through."""
    log = EventLog(postgresql_database, clock)
    fill(log, 2)
    barrier, failures = threading.Barrier(2), list[BaseException]()

    def lock(connection: sa.Connection, seq: int) -> None:
        connection.execute(sa.select(events.c.seq).where(events.c.seq == seq).with_for_update())

    def write(first: int, second: int) -> None:
        barrier.wait()
        try:
            for _ in range(20):
                with log.writing() as connection:
                    lock(connection, first)
                    lock(connection, second)
                    log.append(declined("crosswise"), actor="watcher", connection=connection)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=write, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert log.verify().events == 42


def test_a_long_chain_is_verified_in_pieces(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain longer than what is held in memory at once is walked to its end."""
    monkeypatch.setattr("record.event_log.VERIFY_CHUNK", 2)
    fill(log, 5)
    report = log.verify()
    assert report.valid
    assert report.events == 5
    assert report.head == log.head()


def test_an_empty_chain_is_whole(log: EventLog) -> None:
    """Nothing has happened, and nothing is wrong with that."""
    report = log.verify()
    assert report.valid
    assert (report.events, report.head) == (0, GENESIS)


def test_threads_append_one_chain(database: Database, log: EventLog) -> None:
    """Appends from many threads at once form one chain without gaps."""
    barrier = threading.Barrier(8)

    def append_some() -> None:
        barrier.wait()
        fill(log, 10)

    threads = [threading.Thread(target=append_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = log.verify()
    assert report.valid
    assert report.events == 80
    with database.read() as connection:
        assert connection.execute(sa.select(chain_head.c.seq)).scalar() == 80
        assert connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() == 80
