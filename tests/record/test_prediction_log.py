from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from record.clock import EPOCH, ManualClock
from record.db.database import Database
from record.errors import IdConflict, InvalidRecord
from record.prediction_log import (
    Answer,
    Batch,
    Cursor,
    LabelGiven,
    LogCounts,
    LogEntry,
    Outcome,
    PredictionLog,
    RequestsClock,
    new_id,
    new_ids,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def log(database: Database, clock: ManualClock) -> PredictionLog:
    return PredictionLog(database, clock, 30 * DAY)


def entry(id: str, digest: bytes = b"same", prediction: str = '"yes"') -> LogEntry:
    return LogEntry(id, digest, '{"x":1}', prediction, '{"no":0.25,"yes":0.75}', None, 120)


def batch(*entries: LogEntry, version: str = "v1", at: datetime | None = None) -> Batch:
    return Batch(entries, version, at, client_ids=True)


def answers(outcome: Outcome) -> list[Answer]:
    assert isinstance(outcome, list), outcome
    return outcome


def logged(log: PredictionLog) -> list[str]:
    return [row.id for row in log.window(EPOCH, NOON + 365 * DAY)]


class TestAppend:
    def test_what_was_answered_is_in_the_log(self, log: PredictionLog) -> None:
        (outcome,) = log.append([batch(LogEntry("a", b"d", '{"x":1.5}', "7.25", None, '{"x":"out_of_range"}', 90))])
        row = log.find("a")
        assert row is not None
        assert answers(outcome) == [Answer("a", "v1", "7.25", None, row.seq, False)]
        assert (row.requested_at, row.record, row.marks) == (NOON, '{"x":1.5}', '{"x":"out_of_range"}')

    def test_nothing_to_log_is_no_error(self, log: PredictionLog) -> None:
        assert log.append([]) == []
        assert log.append([batch()]) == [[]]

    def test_a_repeated_id_gets_the_answer_given_first(self, log: PredictionLog) -> None:
        """With the version that gave it, and without a second row."""
        (first,) = log.append([batch(entry("a"))])
        (again,) = log.append([batch(entry("a", prediction='"no"'), version="v2")])
        assert answers(again) == [Answer("a", "v1", '"yes"', '{"no":0.25,"yes":0.75}', answers(first)[0].seq, True)]
        assert logged(log) == ["a"]

    def test_another_record_under_a_used_id_refuses_its_whole_batch_only(self, log: PredictionLog) -> None:
        log.append([batch(entry("b"), entry("d"))])
        outcomes = log.append(
            [
                batch(entry("a")),
                batch(entry("c"), entry("d", b"other"), entry("b", b"other")),
                batch(entry("b"), entry("e")),
            ]
        )
        assert [a.repeated for a in answers(outcomes[0])] == [False]
        assert isinstance(outcomes[1], IdConflict)
        assert outcomes[1].ids == ["d", "b"]
        assert [a.repeated for a in answers(outcomes[2])] == [True, False]
        assert logged(log) == ["b", "d", "a", "e"]
        assert log.find("c") is None

    def test_one_id_twice_in_one_batch(self, log: PredictionLog) -> None:
        repeat, conflict = log.append(
            [batch(entry("a"), entry("a")), batch(entry("b"), entry("c"), entry("b", b"other"))]
        )
        assert [a.repeated for a in answers(repeat)] == [False, True]
        assert len({a.seq for a in answers(repeat)}) == 1
        assert isinstance(conflict, IdConflict)
        assert logged(log) == ["a"]

    def test_one_id_in_two_batches_of_a_group(self, log: PredictionLog) -> None:
        first, repeat, conflict = log.append([batch(entry("a")), batch(entry("a")), batch(entry("a", b"other"))])
        assert answers(repeat)[0].repeated
        assert answers(repeat)[0].seq == answers(first)[0].seq
        assert isinstance(conflict, IdConflict)

    def test_a_refused_batch_does_not_use_up_its_ids(self, log: PredictionLog) -> None:
        """In the same group, or later: nothing of it was answered."""
        refused, taken = log.append([batch(entry("a"), entry("a", b"other")), batch(entry("a", b"third"))])
        assert isinstance(refused, IdConflict)
        assert not answers(taken)[0].repeated
        (again,) = log.append([batch(entry("a", b"third"))])
        assert answers(again)[0].repeated

    def test_an_id_may_be_used_again_after_its_window(self, log: PredictionLog, clock: ManualClock) -> None:
        log.append([batch(entry("a"))])
        clock.advance(30 * DAY)
        assert isinstance(log.append([batch(entry("a", b"other"))])[0], IdConflict)
        clock.advance(timedelta(microseconds=1))
        (again,) = log.append([batch(entry("a", b"other"))])
        assert not answers(again)[0].repeated
        (known,) = log.append([batch(entry("a", b"other"))])
        assert answers(known)[0].seq == answers(again)[0].seq
        assert logged(log) == ["a", "a"]

    def test_generated_ids_are_known_afterwards(self, log: PredictionLog) -> None:
        id = new_id()
        log.append([Batch([entry(id)], "v1")])
        assert answers(log.append([batch(entry(id))])[0])[0].repeated
        assert isinstance(log.append([batch(entry(id, b"other"))])[0], IdConflict)

    def test_many_ids_at_once(self, log: PredictionLog) -> None:
        entries = [entry(f"id-{n}") for n in range(3000)]
        log.append([batch(*entries[:1700])])
        (outcome,) = log.append([batch(*entries)])
        assert [a.repeated for a in answers(outcome)] == [True] * 1700 + [False] * 1300

    @pytest.mark.parametrize("used_long_ago", [False, True])
    def test_two_writers_with_the_same_ids_agree_on_one_answer(
        self, database: Database, clock: ManualClock, used_long_ago: bool
    ) -> None:
        """In opposite orders, many times: neither blocks the other for good, and each id is logged once."""
        before = [entry(f"{turn}-{n}", b"other") for turn in range(40) for n in range(20)] if used_long_ago else []
        PredictionLog(database, clock, DAY).append([batch(*before, at=NOON - 2 * DAY)])
        outcomes: list[list[Outcome]] = [[], []]

        def write(writer: int) -> None:
            log = PredictionLog(database, clock, DAY)
            for turn in range(40):
                ids = [f"{turn}-{n}" for n in range(20)]
                entries = [entry(id) for id in (ids if writer else reversed(ids))]
                outcomes[writer] += log.append([Batch([one], f"w{writer}", None, True) for one in entries])
            log.close()

        run_together([lambda: write(0), lambda: write(1)])
        given = [{a.id: (a.model_version, a.seq) for o in side for a in answers(o)} for side in outcomes]
        assert given[0] == given[1]
        assert len(logged(PredictionLog(database, clock, DAY))) == 800 + len(before)

    def test_an_unstorable_text_refuses_its_own_batch_only(self, log: PredictionLog) -> None:
        outcomes = log.append([batch(entry("a")), batch(entry("half \ud800")), batch(entry("b"))])
        assert isinstance(outcomes[1], InvalidRecord)
        assert logged(log) == ["a", "b"]
        assert log.find("half \ud800") is None

    def test_ids_sort_by_the_time_they_were_made(self) -> None:
        ids = [new_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        assert [id[:18] for id in ids] == sorted(id[:18] for id in ids)

    def test_the_ids_of_one_request_are_uuids_in_its_order(self) -> None:
        ids = new_ids(20_000)
        assert len(set(ids)) == 20_000
        assert ids[:16_384] == sorted(ids[:16_384])
        assert {(uuid.UUID(id).version, uuid.UUID(id).variant) for id in ids} == {(7, uuid.RFC_4122)}


class TestRequestsClock:
    def test_time_is_what_requests_say_and_never_goes_back(self, database: Database, clock: ManualClock) -> None:
        log = PredictionLog(database, clock, DAY, follows_requests=True)
        said = RequestsClock(database)
        assert said.now() == EPOCH
        times = [NOON, None, NOON + HOUR, NOON + timedelta(minutes=5), None]
        log.append([batch(entry(str(n)), at=at) for n, at in enumerate(times)])
        rows = sorted(log.window(EPOCH, NOON + DAY), key=lambda row: row.seq)
        assert [row.requested_at for row in rows] == [NOON, NOON] + [NOON + HOUR] * 3
        assert said.now() == NOON + HOUR

    def test_labels_move_it_also_when_there_are_none(self, database: Database, clock: ManualClock) -> None:
        log = PredictionLog(database, clock, DAY, follows_requests=True)
        said = RequestsClock(database)
        log.add_labels([], NOON)
        assert said.now() == NOON
        log.append([batch(entry("a"))])
        log.add_labels([LabelGiven("a", "1")], NOON + HOUR)
        log.add_labels([LabelGiven("a", "2", correct=True)], NOON)
        log.add_labels([])
        assert said.now() == NOON + HOUR
        assert [row.label for row in log.matured(NOON + HOUR, HOUR)] == ["2"]

    def test_it_can_be_moved_by_hand(self, database: Database) -> None:
        said = RequestsClock(database)
        assert said.advance(NOON) == NOON
        assert said.advance(NOON - HOUR) == NOON
        assert said.now() == NOON

    def test_a_call_that_fails_leaves_it(self, database: Database, clock: ManualClock) -> None:
        log = PredictionLog(database, clock, DAY, follows_requests=True)
        assert isinstance(log.append([batch(entry("\ud800"), at=NOON)])[0], InvalidRecord)
        assert RequestsClock(database).now() == EPOCH


class TestLabels:
    @pytest.mark.parametrize("at_once", [1, 3, 5_000])
    def test_each_label_is_accepted_known_refused_or_unknown(
        self, log: PredictionLog, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        """In however many transactions."""
        monkeypatch.setattr("record.prediction_log.LABELS_AT_ONCE", at_once)
        log.append([batch(entry("a"), entry("b"), entry("c"))])
        first = log.add_labels([LabelGiven("a", "1"), LabelGiven("b", "1"), LabelGiven("x", "1")])
        assert (first.accepted, first.duplicates, first.conflicts, first.unknown) == (2, 0, (), ("x",))
        then = log.add_labels(
            [
                LabelGiven("a", "1"),
                LabelGiven("b", "0"),
                LabelGiven("c", "0"),
                LabelGiven("c", "0"),
                LabelGiven("c", "1"),
                LabelGiven("c", "1"),
                LabelGiven("half \ud800", "1"),
                LabelGiven("nul \0", "1"),
            ]
        )
        assert (then.accepted, then.duplicates, then.conflicts) == (1, 2, ("b", "c"))
        assert then.unknown == ("half \ud800", "nul \0")

    def test_a_correction_is_one_more_row(self, database: Database, log: PredictionLog) -> None:
        log.append([batch(entry("a"))])
        log.add_labels([LabelGiven("a", "1")])
        assert log.add_labels([LabelGiven("a", "0", correct=True)]).accepted == 1
        assert log.add_labels([LabelGiven("a", "0", correct=True)]).duplicates == 1
        assert log.add_labels([LabelGiven("a", "1")]).conflicts == ("a",)
        with database.read() as connection:
            rows = connection.execute(sa.text("SELECT label, correction FROM labels ORDER BY label_seq")).all()
        assert [(label, bool(correction)) for label, correction in rows] == [("1", False), ("0", True)]

    def test_a_label_means_what_its_id_meant_when_it_came(self, log: PredictionLog, clock: ManualClock) -> None:
        log.append([batch(entry("a"))])
        log.add_labels([LabelGiven("a", "1")])
        clock.advance(31 * DAY)
        log.append([batch(entry("a", b"other"))])
        assert log.add_labels([LabelGiven("a", "0")]).accepted == 1
        assert [row.label for row in log.matured(NOON + 60 * DAY, 10 * DAY)] == ["1", "0"]

    def test_the_same_labels_from_two_processes_at_once_count_once(
        self, database: Database, log: PredictionLog
    ) -> None:
        ids = [f"id-{n}" for n in range(300)]
        log.append([batch(*map(entry, ids))])
        outcomes = []

        def send(order: Sequence[str]) -> None:
            outcomes.append(
                PredictionLog(database, ManualClock(NOON), DAY).add_labels([LabelGiven(i, "1") for i in order])
            )

        run_together([lambda: send(ids), lambda: send(ids[::-1]), lambda: send(ids)])
        assert sum(outcome.accepted for outcome in outcomes) == 300
        assert sum(outcome.duplicates for outcome in outcomes) == 600


class TestTail:
    def test_it_goes_on_where_it_stopped(self, log: PredictionLog) -> None:
        log.append([batch(*(entry(str(n)) for n in range(5)))])
        rows, cursor = log.tail(Cursor(), 3)
        more, end = log.tail(cursor, 3)
        assert [row.id for row in rows + more] == ["0", "1", "2", "3", "4"]
        assert log.tail(end, 3) == ([], end)
        log.append([batch(entry("5"))])
        assert [row.id for row in log.tail(end, 3)[0]] == ["5"]

    def test_two_interleaved_writers_lose_nothing(self, database: Database, clock: ManualClock) -> None:
        """A reader that polls all the while sees every row once."""
        done = threading.Event()

        def write(writer: int) -> None:
            log = PredictionLog(database, clock, DAY)
            for turn in range(60):
                log.append([batch(*(entry(f"{writer}-{turn}-{n}") for n in range(1 + turn % 4)))])
            log.close()

        seen: list[int] = []

        def read() -> None:
            log, cursor = PredictionLog(database, clock, DAY), Cursor()
            while True:
                last = done.is_set()
                rows, cursor = log.tail(cursor, 7)
                seen.extend(row.seq for row in rows)
                if last and not rows:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        run_together([lambda: write(0), lambda: write(1)])
        done.set()
        reader.join(30)
        assert len(seen) == len(set(seen)) == 300

    def test_a_row_numbered_first_and_committed_last_is_not_lost(
        self, postgresql_database: Database, clock: ManualClock
    ) -> None:
        log = PredictionLog(postgresql_database, clock, DAY)
        number = "SELECT nextval(pg_get_serial_sequence('predictions', 'seq')), pg_current_xact_id()::text::bigint"
        with postgresql_database.engine.connect() as slow:
            seq, xid = slow.execute(sa.text(number)).one()
            log.append([batch(entry("fast"))])
            rows, cursor = log.tail(Cursor(), 10)
            assert rows == []  # `fast` has the higher number, and must wait
            insert = (
                "INSERT INTO predictions (seq, xid, id, requested_at, answered_at, model_version, record, prediction, "
                "latency_micros) VALUES (:seq, :xid, 'slow', 0, 0, 'v1', '{}', '1', 0)"
            )
            slow.execute(sa.text(insert), {"seq": seq, "xid": xid})
            slow.commit()
        rows, cursor = log.tail(cursor, 10)
        assert [row.id for row in rows] == ["slow", "fast"]
        assert log.tail(cursor, 10)[0] == []


@dataclass
class Story:
    """Five requests an hour apart, and what was learned when."""

    log: PredictionLog
    clock: ManualClock

    def tell(self) -> None:
        self.log.append([batch(*[entry(id)], at=NOON + n * HOUR) for n, id in enumerate(["a", "b", "c"])])
        self.log.append([batch(entry("d"), version="v2", at=NOON + 3 * HOUR)])
        self.log.append([batch(entry("never"), at=NOON + 4 * HOUR)])
        self.label("c", "1", NOON + 2 * HOUR + HOUR)
        self.label("a", "1", NOON + 5 * HOUR)
        self.label("b", "1", NOON + DAY + HOUR)  # the last moment that counts
        self.label("a", "0", NOON + 2 * DAY)  # a correction that comes too late
        self.label("d", "1", NOON + 3 * HOUR + DAY + timedelta(microseconds=1))  # just too late

    def label(self, id: str, label: str, at: datetime) -> None:
        assert self.log.add_labels([LabelGiven(id, label, correct=True)], at).accepted == 1


class TestMatured:
    @pytest.fixture(autouse=True)
    def story(self, log: PredictionLog, clock: ManualClock) -> None:
        Story(log, clock).tell()

    def labels(self, log: PredictionLog, hours: float, **choice: object) -> list[tuple[str, str | None]]:
        rows = log.matured(NOON + timedelta(hours=hours), DAY, **choice)  # type: ignore[arg-type]
        return [(row.id, row.label) for row in rows]

    def test_requests_mature_in_their_own_order(self, log: PredictionLog) -> None:
        """However fast a label came: c's was there first, and waits for a and b."""
        assert self.labels(log, 23.9) == []
        assert self.labels(log, 24) == [("a", "1")]
        assert self.labels(log, 26) == [("a", "1"), ("b", "1"), ("c", "1")]

    def test_the_label_is_the_latest_that_came_in_time(self, log: PredictionLog) -> None:
        assert self.labels(log, 100) == [("a", "1"), ("b", "1"), ("c", "1"), ("d", None), ("never", None)]

    def test_training_reads_late_labels_too(self, log: PredictionLog) -> None:
        assert self.labels(log, 47, late_labels=True)[0] == ("a", "1")
        late = [("a", "0"), ("b", "1"), ("c", "1"), ("d", "1"), ("never", None)]
        assert self.labels(log, 100, late_labels=True) == late

    def test_it_can_go_on_behind_a_time_or_a_number(self, log: PredictionLog) -> None:
        assert self.labels(log, 100, after=NOON + HOUR, limit=2) == [("c", "1"), ("d", None)]
        d = log.find("d")
        assert d is not None
        assert self.labels(log, 100, after_seq=d.seq) == [("never", None)]
        assert self.labels(log, 100, model_version="v2") == [("d", None)]

    def test_when_the_label_came_is_said(self, log: PredictionLog) -> None:
        assert [r.label_received_at for r in log.matured(NOON + DAY, DAY)] == [NOON + 5 * HOUR]

    def test_counts(self, log: PredictionLog) -> None:
        assert log.counts(NOON + 5 * HOUR, DAY) == LogCounts(predictions=5, labels=4, pending=1)
        assert log.counts(NOON + 28 * HOUR, DAY).pending == 0

    def test_a_large_log_is_counted_by_its_numbers(self, log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same, where no number is missing."""
        monkeypatch.setattr("record.log.counts.COUNTED", 1)
        assert log.counts(NOON + 5 * HOUR, DAY) == LogCounts(predictions=5, labels=4, pending=1)

    def test_windows_and_last_numbers(self, log: PredictionLog) -> None:
        assert [row.id for row in log.window(NOON, NOON + 2 * HOUR)] == ["b", "c"]
        assert [row.id for row in log.window(NOON, NOON + DAY, 1)] == ["b"]
        d = log.find("d")
        assert d is not None
        assert log.last_seq(NOON + 3 * HOUR) == d.seq
        assert log.last_seq() == d.seq + 1
        assert log.last_seq(NOON - HOUR) == 0

    def test_what_is_forgotten_is_gone_with_its_labels_and_ids(self, database: Database, log: PredictionLog) -> None:
        assert log.forget(NOON + 2 * HOUR) == 2
        assert logged(log) == ["c", "d", "never"]
        assert log.add_labels([LabelGiven("a", "1")]).unknown == ("a",)
        with database.read() as connection:
            assert set(connection.execute(sa.text("SELECT id FROM labels")).scalars()) == {"c", "d"}
            assert connection.execute(sa.text("SELECT count(*) FROM prediction_ids")).scalar() == 3

    def test_numbers_are_never_used_again(self, log: PredictionLog) -> None:
        """Not even when the newest rows were forgotten: cursors and bouts hold on to them."""
        last = log.last_seq()
        log.forget(NOON + DAY)
        (outcome,) = log.append([batch(entry("new"))])
        assert answers(outcome)[0].seq > last

    def test_forgetting_spares_an_id_that_was_used_again(self, log: PredictionLog, clock: ManualClock) -> None:
        clock.advance(40 * DAY)
        log.append([batch(entry("a", b"other"))])
        log.forget(NOON + 39 * DAY)
        assert log.add_labels([LabelGiven("a", "1")]).accepted == 1


def run_together(calls: Sequence[Callable[[], None]]) -> None:
    """Runs each in a thread of its own, started at one moment; raises what one of them raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        barrier.wait(10)
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for ended in [pool.submit(run, call) for call in calls]:
            ended.result(60)
