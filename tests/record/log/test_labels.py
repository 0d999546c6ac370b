"""Labels: what becomes of each one given, in lots of any size, and from two writers at once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import labels
from record.log.labels import (
    CHUNK,
    MOST_CORRECTIONS,
    Page,
    Standing,
    _meanings,
    add_labels,
    judge,
    last_label,
    read_labels,
)
from record.logged import Batch, LabelGiven, LabelOutcome, LogEntry
from record.prediction_log import PredictionLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
RECEIVED: dict[str, Any] = {"received_at": NOON, "machine_at": NOON}


def answer(database: Database, ids: Sequence[str]) -> dict[str, int]:
    """Logs a prediction for each, and gives their numbers."""
    log = PredictionLog(database, ManualClock(NOON), timedelta(days=30))
    entries = [LogEntry(id, b"same", "{}", '"yes"') for id in ids]
    (outcome,) = log.append([Batch(entries, "v1", client_ids=True)])
    assert isinstance(outcome, list)
    log.close()
    return {answer.id: answer.seq for answer in outcome}


def add(database: Database, given: Sequence[LabelGiven], received: dict[str, Any] = RECEIVED) -> LabelOutcome:
    with database.write() as connection:
        return add_labels(connection, given, received)


def stored(database: Database) -> list[tuple[str, str, bool]]:
    query = sa.select(labels.c.id, labels.c.label, labels.c.correction).order_by(labels.c.label_seq)
    with database.read() as connection:
        return [(row.id, row.label, row.correction) for row in connection.execute(query)]


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
def test_labels_of_any_number_are_all_taken_and_all_known_again(database: Database, count: int) -> None:
    """Also where there are more than one statement looks up: none is unknown, no repeat is a new row."""
    ids = [f"id-{n:05d}" for n in range(count)]
    answer(database, ids)
    given = [LabelGiven(id, '"late"') for id in reversed(ids)]
    assert add(database, given) == LabelOutcome(count, 0, (), ())
    assert add(database, given) == LabelOutcome(0, count, (), ())
    others = [LabelGiven(id, '"on_time"') for id in ids]
    assert add(database, others) == LabelOutcome(0, 0, tuple(ids), ())
    assert [id for id, *_ in stored(database)] == list(reversed(ids)), "in the order given"
    corrections = [LabelGiven(id, '"on_time"', correct=True) for id in ids]
    assert add(database, corrections) == LabelOutcome(count, 0, (), ())
    assert all(correction for *_, correction in stored(database)[count:])


def test_unknown_ids_are_told_among_any_number_of_known_ones(database: Database) -> None:
    """At the beginning, beyond a statement's ids and at the end."""
    ids = [f"id-{n:05d}" for n in range(2 * CHUNK)]
    strangers = {0, CHUNK, 2 * CHUNK - 1}
    answer(database, [id for n, id in enumerate(ids) if n not in strangers])
    outcome = add(database, [LabelGiven(id, "1") for id in ids])
    assert outcome == LabelOutcome(2 * CHUNK - 3, 0, (), tuple(ids[n] for n in sorted(strangers)))


def test_a_text_that_no_database_holds_is_an_unknown_id(database: Database) -> None:
    answer(database, ["a"])
    outcome = add(database, [LabelGiven("\ud800", "1"), LabelGiven("a\0", "1"), LabelGiven("a", "1")])
    assert outcome == LabelOutcome(1, 0, (), ("\ud800", "a\0"))


@pytest.mark.parametrize("chunk", [2, CHUNK])
def test_ids_are_locked_in_the_order_of_their_bytes(
    database: Database, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Within a statement and from one to the next, as the log's writers lock them: so nobody waits crosswise."""
    monkeypatch.setattr("record.log.labels.CHUNK", chunk)
    ids = ["é", "b", "Z", "a", "_", "B", "10", "9"]
    for id in ids:  # so that they do not lie in that order
        answer(database, [id])
    with database.write() as connection:
        if database.dialect == "postgresql":
            for scan in ("indexscan", "indexonlyscan", "bitmapscan"):  # the planner's choice for a longer table
                connection.exec_driver_sql(f"SET LOCAL enable_{scan} = off")
        assert list(_meanings(connection, ids)) == sorted(ids)


def test_two_lots_with_the_same_ids_in_opposite_orders_both_come_through(postgresql_database: Database) -> None:
    """Their rows are locked in one order, over all statements: neither waits for the other for good."""
    ids = [f"id-{n:05d}" for n in range(3 * CHUNK)]
    answer(postgresql_database, ids)
    barrier, outcomes, failures = threading.Barrier(2), list[LabelOutcome](), list[BaseException]()

    def give(ordered: list[str]) -> None:
        barrier.wait()
        try:
            for n in range(3):
                outcomes.append(add(postgresql_database, [LabelGiven(id, str(n), correct=True) for id in ordered]))
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=give, args=(ordered,)) for ordered in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {outcome.accepted + outcome.duplicates for outcome in outcomes} == {len(ids)}


def test_the_labels_of_one_request_are_told_oldest_first_in_pages(database: Database) -> None:
    """Its last page has no other behind it, also where it is full."""
    seqs = answer(database, ["a", "b"])
    for n in range(4):
        at = {"received_at": NOON + timedelta(hours=n), "machine_at": NOON}
        add(database, [LabelGiven("a", str(n), correct=True), LabelGiven("b", f"1{n}", correct=True)], at)
    with database.read() as connection:
        whole, following = read_labels(connection, seqs["a"], Page(limit=4))
        assert following is None
        assert [(row["label"], row["correction"]) for row in whole] == [(0, False), (1, True), (2, True), (3, True)]
        assert [row["received_at"] for row in whole] == [NOON + timedelta(hours=n) for n in range(4)]
        first, cursor = read_labels(connection, seqs["a"], Page(limit=3))
        assert cursor is not None
        rest, end = read_labels(connection, seqs["a"], Page(limit=3, after=int(cursor)))
        assert (first + rest, end) == (whole, None)
        assert last_label(connection, seqs["a"]) == whole[-1]
        assert last_label(connection, 10**6) is None


def judged(
    given: Sequence[tuple[str, str, bool]], current: dict[int, Standing] | None = None
) -> tuple[list[tuple[str, str, bool]], LabelOutcome]:
    """Of ids "a" and "b", which mean the requests 1 and 2."""
    rows, outcome = judge([LabelGiven(*each) for each in given], {"a": 1, "b": 2}, defaultdict(Standing, current or {}))
    return [(row["id"], row["label"], row["correction"]) for row in rows], outcome


def test_each_label_is_judged_by_those_before_it() -> None:
    """In the order given, within one lot as between two: a correction back to the first value is one, too."""
    rows, outcome = judged(
        [
            ("a", "1", False),
            ("a", "1", False),
            ("a", "2", False),
            ("a", "2", True),
            ("a", "1", True),
            ("a", "1", True),
            ("b", "1", True),
            ("c", "1", False),
            ("a", "3", False),
            ("c", "1", True),
        ]
    )
    assert rows == [("a", "1", False), ("a", "2", True), ("a", "1", True), ("b", "1", False)]
    assert outcome == LabelOutcome(4, 2, ("a",), ("c",))


@pytest.mark.parametrize(("rows", "accepted"), [(MOST_CORRECTIONS - 1, 1), (MOST_CORRECTIONS, 1), (101, 0), (102, 0)])
def test_a_label_is_corrected_a_hundred_times_and_no_more(rows: int, accepted: int) -> None:
    """Its first row is no correction; what is refused is a conflict, and told why."""
    _, outcome = judged([("a", "2", True)], {1: Standing("1", rows)})
    exhausted = () if accepted else ("a",)
    assert outcome == LabelOutcome(accepted, 0, exhausted, (), exhausted)
    assert judged([("a", "1", True)], {1: Standing("1", rows)})[1] == LabelOutcome(0, 1, (), ())


def test_the_hundredth_correction_counts_those_of_its_own_lot() -> None:
    given = [("a", str(n), True) for n in range(MOST_CORRECTIONS + 3)]
    rows, outcome = judged(given)
    assert len(rows) == MOST_CORRECTIONS + 1
    assert outcome == LabelOutcome(MOST_CORRECTIONS + 1, 0, ("a",), (), ("a",))


def test_a_label_belongs_to_what_its_id_meant_when_it_came(database: Database) -> None:
    """Where the id is used again behind its window, later labels are the new request's, and no correction."""
    first = answer(database, ["a"])
    add(database, [LabelGiven("a", "1")])
    later = PredictionLog(database, ManualClock(NOON + timedelta(days=31)), timedelta(days=30))
    (outcome,) = later.append([Batch([LogEntry("a", b"other", "{}", '"no"')], "v2", client_ids=True)])
    later.close()
    assert isinstance(outcome, list)
    assert outcome[0].seq != first["a"]
    assert add(database, [LabelGiven("a", "2")]) == LabelOutcome(1, 0, (), ())
    with database.read() as connection:
        for seq, label in ((first["a"], 1), (outcome[0].seq, 2)):
            (row,), _ = read_labels(connection, seq, Page())
            assert (row["label"], row["correction"]) == (label, False)
