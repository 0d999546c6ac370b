"""Events and the chain that holds them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from record.canonical import canonical_json, plain
from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import chain_head, events
from record.errors import InvalidRecord
from record.event_log import GENESIS, EventLog
from record.events import KINDS, AccessRefused, DriftChecked, ModelPromoted, RetrainDeclined

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


def test_every_kind_of_the_contract_is_there() -> None:
    """The kinds are the contract's, each once."""
    contract = (
        "drift_checked, drift_detected, quality_declined, retrain_requested, retrain_declined, retrain_started, "
        "retrain_succeeded, retrain_failed, model_registered, bout_opened, bout_decided, bout_voided, "
        "model_promoted, model_rejected, model_unbarred, model_rolled_back, alert_received, settings_changed, "
        "access_refused, approval_requested, approval_reminded, approval_withdrawn, approval_expired, "
        "quality_checked, concept_drift_detected, labels_stopped, labels_resumed, notification_sent, "
        "records_refused, retrain_resumed, retrain_progressed, tokens_changed, signing_started, "
        "feed_broken, feed_mended"
    )
    assert sorted(KINDS) == sorted(contract.split(", "))


def test_plain_values() -> None:
    """NumPy's numbers, times, NaN and infinity come out as JSON; what JSON cannot say is refused."""
    given = {"a": np.float64("nan"), "b": np.arange(2), "c": START, "d": math.inf, 3: {"z", "y"}, "t": "a\x00\ud800"}
    text = canonical_json(plain(given))
    assert text == '{"3":["y","z"],"a":null,"b":[0,1],"c":"2013-03-01T00:00:00Z","d":"Infinity","t":"a�?"}'
    with pytest.raises(TypeError, match="object"):
        plain(object())


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
