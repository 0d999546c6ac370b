"""Jobs, samples and reports: what is due, what the gauges say, and what was reported."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import reports
from record.errors import NotFound
from record.record import Record
from record.work.jobs import Job, due
from tests.records import START, record_on

HOUR = timedelta(hours=1)


@pytest.fixture
def record(database: Database, tmp_path: Path) -> Record:
    clock = ManualClock(START)
    return record_on(database, tmp_path / "artifacts", clock, clock.now)


def job(name: str, hours: int) -> Job:
    return Job(name, "1h", START + hours * HOUR, None, None, None)


def test_due() -> None:
    """What is due comes earliest first, and by name at the same time; the due moment itself counts."""
    jobs = [job("c", 2), job("b", 1), job("a", 1), job("d", 3)]
    assert [j.name for j in due(jobs, START + 2 * HOUR)] == ["a", "b", "c"]
    assert due(jobs, START) == []


def test_a_plan_survives_restarts(record: Record) -> None:
    """Planning again keeps the due time; another schedule starts anew."""
    record.jobs.plan("drift", "1h", START)
    record.jobs.finished("drift", START, START + HOUR)
    record.jobs.plan("drift", "1h", START + 9 * HOUR)
    assert record.jobs.all() == [Job("drift", "1h", START + HOUR, START, START, None)]
    record.jobs.plan("drift", "2h", START + 9 * HOUR)
    assert record.jobs.all()[0].due_at == START + 9 * HOUR
    record.jobs.finished("drift", START, START + HOUR, "no rows")
    assert record.jobs.all()[0].last_error == "no rows"
    record.jobs.drop("drift")
    assert record.jobs.all() == []


def test_a_due_time_beyond_the_latest_is_brought_back(record: Record) -> None:
    """It was set while the clock was ahead; one that is earlier stays as it is."""
    record.jobs.plan("drift", "1h", START + HOUR)
    record.jobs.plan("drift", "1h", START + 2 * HOUR, latest=START + 2 * HOUR)
    assert record.jobs.all()[0].due_at == START + HOUR
    record.jobs.finished("drift", START, START + 9000 * HOUR)
    record.jobs.plan("drift", "1h", START + 2 * HOUR)
    assert record.jobs.all()[0].due_at == START + 9000 * HOUR
    record.jobs.plan("drift", "1h", START + 2 * HOUR, latest=START + 2 * HOUR)
    assert record.jobs.all()[0].due_at == START + 2 * HOUR


def test_samples(record: Record) -> None:
    """The latest value of each label set counts; NaN takes it away; replacing drops stale label sets."""
    record.samples.put([("lead", {"bound": "low"}, 0.1), ("lead", {"bound": "low"}, 0.2), ("pairs", {}, 3)], START)
    record.samples.put([("lead", {"bound": "high"}, float("inf"))], START + HOUR)
    told = {(s.name, s.labels.get("bound")): (s.value, s.at) for s in record.samples.all()}
    assert told == {
        ("lead", "low"): (0.2, START),
        ("lead", "high"): (float("inf"), START + HOUR),
        ("pairs", None): (3.0, START),
    }
    record.samples.put([("pairs", {}, float("nan"))], START)
    record.samples.replace("lead", [({"bound": "mean"}, 0.3), ({"bound": "low"}, float("nan"))], START)
    assert [(s.name, s.labels, s.value) for s in record.samples.all()] == [("lead", {"bound": "mean"}, 0.3)]


def test_reports(record: Record, tmp_path: Path) -> None:
    """Text and files are kept; a file beneath the artifacts' folder stays where it is."""
    outside = tmp_path / "outside.html"
    outside.write_text("<p>outside</p>")
    inside = record.artifacts.root / "v1" / "report.html"
    inside.parent.mkdir(parents=True)
    inside.write_text("<p>inside</p>")
    drift = record.reports.add("drift", "<p>dr\ud800ift</p>", "v1")
    copied, kept = record.reports.add("drift", outside), record.reports.add("model", inside, "v1")
    outside.unlink()
    assert record.reports.path(drift).read_text() == "<p>dr?ift</p>"
    assert record.reports.path(copied).read_text() == "<p>outside</p>"
    assert record.reports.path(kept) == inside.resolve()
    assert [r.report for r in record.reports.recent("model")] == [kept]
    assert len(record.reports.recent()) == 3


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "drift-20130301-0000000000000000", "x" * 9999, "a\x00b"])
def test_no_report(record: Record, name: str) -> None:
    """A name that no report has is not found, whatever it looks like."""
    with pytest.raises(NotFound):
        record.reports.path(name)


def test_a_report_outside_the_folder_is_not_served(record: Record) -> None:
    """Even a row that points elsewhere gives no file from elsewhere."""
    report = record.reports.add("drift", "x")
    with record.database.write() as connection:
        connection.execute(sa.update(reports).values(path="../../../etc/hostname"))
    with pytest.raises(NotFound):
        record.reports.path(report)
