"""What retention takes out of the log is on disk before, labels and all, and gives a run the rows that the log gave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from record.clock import ManualClock
from record.db.database import Database
from record.errors import DataError
from record.log import forgetting
from record.log.archive import FOLDER, LogArchive
from record.logged import Batch, LabelGiven, LogEntry, MaturedRow
from record.prediction_log import PredictionLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IDS = [f"r{number}" for number in range(10)]  # asked an hour apart, from noon


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def log(database: Database, clock: ManualClock) -> PredictionLog:
    """Ten requests, an hour apart; the even ones get their label ten hours after the first, r2 a correction later."""
    held = PredictionLog(database, clock, 30 * DAY)
    for id in IDS:
        held.append([Batch([LogEntry(id, b"d", f'{{"x":"{id}"}}', '"yes"')], "v1", None, client_ids=True)])
        clock.advance(HOUR)
    held.add_labels([LabelGiven(id, '"yes"') for id in IDS[::2]])
    clock.advance(HOUR)
    held.add_labels([LabelGiven("r2", '"no"', correct=True)])
    return held


@pytest.fixture
def archive(tmp_path: Path, database: Database) -> LogArchive:
    return LogArchive(tmp_path, database)


def facts(rows: list[MaturedRow]) -> list[tuple[object, ...]]:
    """Everything about them but ids, which are forgotten, and what only a reader of the living log needs."""
    return [
        (row.seq, row.requested_at, row.model_version, row.record, row.prediction, row.label, row.label_received_at)
        for row in rows
        if row.label is not None
    ]


@pytest.mark.parametrize("as_of", [NOON + 10 * HOUR, NOON + 30 * HOUR])
def test_a_run_finds_the_rows_that_the_log_had(log: PredictionLog, archive: LogArchive, as_of: datetime) -> None:
    """At both moments: before the correction came, and after."""
    before = facts(log.matured(as_of, HOUR, late_labels=True))
    assert log.forget(NOON + DAY, archive) == len(IDS)
    assert log.matured(as_of, HOUR, late_labels=True) == []
    assert facts(archive.read(as_of)) == before
    assert [fact[5] for fact in before][1] == ('"yes"' if as_of < NOON + 11 * HOUR else '"no"')


def test_names_of_requests_are_not_archived(log: PredictionLog, archive: LogArchive, tmp_path: Path) -> None:
    import pyarrow.parquet

    log.forget(NOON + DAY, archive)
    (part,) = (tmp_path / FOLDER).iterdir()
    assert "id" not in pyarrow.parquet.read_schema(part).names
    assert {row.id for row in archive.read(NOON + DAY)} == {""}


def test_a_label_that_comes_while_its_request_leaves_is_not_lost(
    log: PredictionLog, archive: LogArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request stays until the new label is in the archive, too; nothing stands there twice."""
    keep = LogArchive.keep
    late = [LabelGiven("r1", '"no"'), LabelGiven("r4", '"no"', correct=True)]

    def interrupted(self: LogArchive, rows: list[forgetting.ArchivedRow]) -> None:
        keep(self, rows)
        if late:
            assert log.add_labels([late.pop(), late.pop()]).accepted == 2

    monkeypatch.setattr(LogArchive, "keep", interrupted)
    assert log.forget(NOON + DAY, archive) == len(IDS)
    rows = {row.record: row.label for row in archive.read(NOON + DAY)}
    assert rows == {
        '{"x":"r0"}': '"yes"', '{"x":"r1"}': '"no"', '{"x":"r2"}': '"no"', '{"x":"r4"}': '"no"', '{"x":"r6"}': '"yes"',
        '{"x":"r8"}': '"yes"',
    }  # fmt: skip
    assert len(archive.read(NOON + DAY)) == len(rows)


def test_a_crash_between_archive_and_log_leaves_every_row_in_one_of_them(
    log: PredictionLog, archive: LogArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was archived but not yet deleted is archived again as the same part."""

    def crash(*_: object) -> int:
        raise RuntimeError("power")

    with monkeypatch.context() as broken:
        broken.setattr(forgetting, "_forget", crash)
        with pytest.raises(RuntimeError):
            log.forget(NOON + DAY, archive)
    assert len(log.matured(NOON + DAY, HOUR)) == len(IDS)
    assert log.forget(NOON + DAY, archive) == len(IDS)
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    assert len(archive.read(NOON + DAY)) == 5


def test_only_the_parts_that_are_asked_for_are_opened(log: PredictionLog, archive: LogArchive, tmp_path: Path) -> None:
    log.forget(NOON + 4 * HOUR, archive)
    (older,) = (tmp_path / FOLDER).iterdir()
    log.forget(NOON + DAY, archive)
    older.write_bytes(b"damaged")
    assert [row.record for row in archive.read(NOON + DAY, since=NOON + 5 * HOUR)] == ['{"x":"r6"}', '{"x":"r8"}']
    assert len(archive.read(NOON + DAY, newest=3)) == 3
    with pytest.raises(DataError, match=rf"the archive's {older.name} is not what was written"):
        archive.read(NOON + DAY)


def test_a_part_that_somebody_else_put_there_is_not_learned_from(
    log: PredictionLog, archive: LogArchive, tmp_path: Path
) -> None:
    """Whoever can write the folder cannot teach: labels turned round in a copy of a part are not read."""
    log.forget(NOON + DAY, archive)
    before = archive.read(NOON + DAY)
    (part,) = (tmp_path / FOLDER).iterdir()
    (tmp_path / FOLDER / part.name.replace("-1.parquet", "-2.parquet")).write_bytes(part.read_bytes())
    assert archive.read(NOON + DAY) == before


def test_an_archive_that_was_never_written_is_empty(archive: LogArchive) -> None:
    archive.keep([])
    assert archive.read(NOON) == []


def test_a_part_that_is_gone_or_changed_is_a_problem(log: PredictionLog, archive: LogArchive, tmp_path: Path) -> None:
    """Whoever deletes one is noticed; a part that its writer had not yet put in its place is not gone."""
    log.forget(NOON + DAY, archive)
    (part,) = (tmp_path / "archive").glob("*.parquet")
    assert list(archive.problems(hashes=True)) == []
    content = part.read_bytes()
    part.write_bytes(content[:-1] + b"x")
    assert list(archive.problems(hashes=False)) == []
    assert [f"{part.name} is not what was written" in problem for problem in archive.problems(hashes=True)] == [True]
    part.unlink()
    assert [f"{part.name} was written, and is gone" in problem for problem in archive.problems(hashes=False)] == [True]
    part.with_suffix(".part").write_bytes(content)
    assert list(archive.problems(hashes=True)) == []
