"""A run ends with what was made: its metric beside the baselines, its report, and the next command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from record.db.database import Database
from ringside.commands import _made
from ringside.terminal.output import tell_run
from ringside.terminal.record_commands import models
from service.status import status
from tests.retrain.problems import Project, make_frame, make_project
from tests.retrain.test_job import ONE_TRIAL, carry_out


def trained(folder: Path, database: Database, rows: int = 400) -> Project:
    project = make_project(folder, database, rows=rows, more=ONE_TRIAL)
    assert carry_out(project).version == "v1"
    return project


def test_a_run_ends_with_its_report_and_the_next_command(
    tmp_path: Path, sqlite_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its path and address, and the metric beside the dummy and the linear baseline."""
    project = trained(tmp_path, sqlite_database)
    run = project.record.runs.recent(1)[0]
    made = _made(project.settings, project.record, "v1")
    tell_run(run, made, False)
    lines = capsys.readouterr().out.splitlines()
    name = project.record.reports.of_model("v1")
    assert made.report_path.is_file()
    assert f"report: {made.report_path}" in lines
    assert f"        http://127.0.0.1:3000/reports/{name} (while the service runs)" in lines
    assert lines[-1] == f"next: ringside up --config {project.settings.path}, which serves v1, the champion"
    (head,) = [line for line in lines if line.startswith("metric")]
    assert head.split() == ["metric", "v1", "(95", "%", "interval)", "dummy", "linear"]
    tell_run(run, made, True)
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == {"path": str(made.report_path), "url": made.report_url}
    assert told["next"] == made.next


def test_a_report_is_named_wherever_its_version_is(tmp_path: Path, sqlite_database: Database) -> None:
    """In the card, in the event of its registration and in the status: one name, and it leads to the file."""
    project = trained(tmp_path, sqlite_database)
    record = project.record
    name = record.reports.of_model("v1")
    assert name is not None
    assert record.registry.version("v1").card["report"] == name
    event = record.events.latest("model_registered")
    assert event is not None
    assert event.data["report"] == name
    assert status(record, project.settings)["champion"]["report"] == name
    assert record.reports.path(name) == record.registry.directory("v1") / "report.html"
    assert record.reports.of_model("v9") is None


def test_versions_are_compared_on_the_same_rows(
    tmp_path: Path, sqlite_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where holdouts differ, the list says so, and shows the comparison on common rows instead."""
    project = trained(tmp_path, sqlite_database)
    models(project.settings.path)
    assert "do not rank" not in capsys.readouterr().out
    make_frame("binary", 700).to_parquet(project.folder / "flights.parquet", index=False)
    assert carry_out(project).version == "v2"
    models(project.settings.path)
    out = capsys.readouterr().out
    assert "Metrics are of different rows, so they do not rank versions" in out
    second = next(line for line in out.splitlines() if line.startswith("v2"))
    assert "v1: loss" in second
    assert "140 rows until 2024-01-30" in second
    models(project.settings.path, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [each["judged_on"]["holdout_rows"] for each in listed] == [80, 140]
    assert listed[1]["comparison"]["other"] == "v1"
    assert listed[1]["report"] == project.record.reports.of_model("v2")
