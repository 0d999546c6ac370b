"""Rows of the log that nobody can read: every job leaves them out, counts them, says so, and does its work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from record.db.tables import labels, predictions
from record.record import Record
from retrain.data.loading import load
from tests.monitoring.arena import PROBLEM, START, Arena, logistic
from tests.monitoring.test_watcher import DAILY, DAY
from tests.monitoring.watch_house import WatchHouse

BAD: dict[str, dict[str, Any]] = {
    "a record that is cut": {"record": '{"x": 1.'},
    "a record that is a list": {"record": "[1, 2]"},
    "a record that is null": {"record": "null"},
    "bytes": {"record": "\x00\x01"},
    "a value of another type": {"record": '{"x": "much", "who": null}'},
    "a value out of range": {"record": '{"x": 1e300, "who": null}'},
    "a nested value": {"record": '{"x": [[[1]]], "who": null}'},
    "an answer that is cut": {"prediction": '"ye'},
    "an answer that is a list": {"prediction": "[]"},
    "shares that are none": {"probabilities": '{"yes": "much", "no": 0}'},
    "shares that are a number": {"probabilities": "0.5"},
}
BAD_LABELS = ('"ye', "[1]", "", "null")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    house.register(1.0)
    yield house
    house.record.close()


def _spoil(record: Record) -> None:
    """One row of every kind, and as many labels."""
    with record.database.write() as connection:
        seqs = connection.execute(sa.select(predictions.c.seq).order_by(predictions.c.seq)).scalars().all()
        for seq, values in zip(seqs[10:], BAD.values(), strict=False):
            connection.execute(sa.update(predictions).where(predictions.c.seq == seq).values(**values))
        for seq, label in zip(seqs[100:], BAD_LABELS, strict=False):
            connection.execute(sa.update(labels).where(labels.c.seq == seq).values(label=label))


def _left_out(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    """Rows that each job said it left out."""
    told: dict[str, int] = {}
    for line in caplog.records:
        if line.message == "rows left out that cannot be read":
            facts = line.facts  # type: ignore[attr-defined]
            told[facts["job"]] = told.get(facts["job"], 0) + facts["rows"]
    return told


def test_no_row_stops_the_watchers_checks(house: WatchHouse, caplog: pytest.LogCaptureFixture) -> None:
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    _spoil(house.record)
    house.to(START + 1.2 * DAY)
    watcher.tick()
    assert [job.last_error for job in house.record.jobs.all()] == [None] * 5
    assert [event.data["rows"] for event in house.events("drift_checked")] == [1000]
    assert len(house.events("quality_checked")) == 1
    told = _left_out(caplog)
    # The window takes values one by one: of a record that is an object only what its column cannot take is missing.
    assert told["window"] >= len(BAD) - 3
    assert told["quality"] >= len(BAD) - 3


def test_no_row_stops_a_bout(tmp_path: Path) -> None:
    """A request that cannot be read is no pair; all the others are."""
    arena = Arena.build(tmp_path)
    arena.register(logistic(0.0))
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(200, START + timedelta(minutes=1)))
    _spoil(arena.record)
    arena.settle(START + timedelta(hours=6))
    unreadable = len(BAD) - 3 + len(BAD_LABELS)
    assert arena.look(bout)["pairs"] == 200 - unreadable
    arena.record.close()


def test_no_row_stops_a_retrain(house: WatchHouse, caplog: pytest.LogCaptureFixture) -> None:
    """What is learned from is every other row."""
    house.to(START)
    house.traffic(1.0)
    _spoil(house.record)
    rows = house.record.log.matured(START + 2 * DAY, timedelta(hours=1))
    data = load(house.settings, PROBLEM, rows)
    labelled = sum(row.label is not None for row in rows)
    assert len(data) == labelled - len(BAD) - len(BAD_LABELS)
    assert _left_out(caplog) == {"retrain": len(BAD) + len(BAD_LABELS)}
