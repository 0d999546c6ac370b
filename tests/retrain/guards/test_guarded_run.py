"""A run whose data the guards look at: refused, or warned of wherever the run is told of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from record.db.database import Database
from record.logged import Batch, LogEntry
from retrain.guards.inspection import DataRefused
from retrain.guards.representation import read_populations
from retrain.job import run
from tests.retrain.problems import START, Project, make_frame, make_project

ONE_TRIAL = {"trials": 1, "families": ["linear"]}
LEAK: Mapping[str, Mapping[str, Any]] = {"retrain": ONE_TRIAL, "columns.refunded": {"type": "number"}}


def leaking(folder: Path, database: Database, **more: Mapping[str, Any]) -> Project:
    """A project of which one column is the target."""
    frame = make_frame("binary", 400)
    return make_project(
        folder, database, frame=frame.assign(refunded=1.0 * (frame["outcome"] == "late")), more={**LEAK, **more}
    )


def test_a_leak_stops_the_run_with_its_reason(tmp_path: Path, sqlite_database: Database) -> None:
    """Exit code 1; the reason is printed, and stands in the run and in its event, with the numbers."""
    project = leaking(tmp_path, sqlite_database)
    ended = subprocess.run(
        [sys.executable, "-m", "ringside", "train", "--config", str(tmp_path / "ringside.toml")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "data: ERROR    leakage: refunded: a copy of the target" in ended.stdout
    held = project.record.runs.recent(1)[0]
    assert (held.state, held.version) == ("failed", None)
    assert held.outcome is not None
    assert held.outcome["error"].startswith("leakage: refunded: a copy of the target in other words")
    [finding] = held.outcome["findings"]
    assert (finding["check"], finding["column"], finding["severity"]) == ("leakage", "refunded", "error")
    event = project.record.events.page(kind="retrain_failed")[0][0]
    assert event.data["error"] == held.outcome["error"]
    assert event.data["findings"] == [finding]
    assert project.record.registry.versions() == []


def test_a_warning_is_kept_with_the_version(
    tmp_path: Path, sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """In the card, in the report, in the run's outcome with its event, and in the log."""
    project = leaking(tmp_path, sqlite_database, guards={"leakage": "warning"})
    run_id = project.request()
    with caplog.at_level("INFO"):
        assert run(project.settings, project.record, run_id, fence=None, progress=lambda _: None).version == "v1"
    [finding] = project.record.registry.version("v1").card["findings"]
    assert (finding["check"], finding["severity"]) == ("leakage", "warning")
    outcome = project.record.runs.get(run_id).outcome
    assert outcome is not None
    assert outcome["findings"] == [finding]
    event = project.record.events.page(kind="retrain_succeeded")[0][0]
    assert event.data["outcome"]["findings"] == [finding]
    page = (project.record.registry.directory("v1") / "report.html").read_text()
    assert "What the guards found" in page
    assert "a copy of the target in other words" in page
    assert any(record.message == "data finding" for record in caplog.records)


def test_a_group_that_is_not_learned_from_stops_the_run(tmp_path: Path, sqlite_database: Database) -> None:
    """Against the population that settings tell, where there are no requests yet."""
    more: Mapping[str, Mapping[str, Any]] = {
        "retrain": ONE_TRIAL,
        "quality": {"slices": ["carrier"]},
        "guards.population.carrier": {"AA": 0.5, "DL": 0.5},
    }
    project = make_project(tmp_path, sqlite_database, rows=400, more=more)
    with pytest.raises(DataRefused, match=r"representation: carrier: 'DL' is 0\.0% of 400 rows and 50\.0%"):
        run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)


def test_the_population_is_who_asks(tmp_path: Path, sqlite_database: Database) -> None:
    """Requests count whether or not a label came; redacted columns and small numbers say nothing."""
    more: Mapping[str, Mapping[str, Any]] = {"quality": {"slices": ["carrier", "gate"]}}
    project = make_project(tmp_path, sqlite_database, rows=400, more=more)
    as_of = project.clock.now()
    assert read_populations(project.settings, project.record, as_of) == {}
    records = [json.dumps({"carrier": "AA" if n % 4 else "DL", "gate": None}) for n in range(400)]
    entries = [LogEntry(f"r-{n}", bytes(16), record, '"late"') for n, record in enumerate(records)]
    project.record.log.append([Batch(entries, "v1", as_of - timedelta(days=1))])
    found = read_populations(project.settings, project.record, as_of)
    assert set(found) == {"carrier"}
    assert found["carrier"].shares == {"AA": 0.75, "DL": 0.25}
    assert as_of > START
