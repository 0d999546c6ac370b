"""`ringside runs` tells what `GET /runs` tells, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from record.record import Record, open_record
from ringside.commands import app
from tests.service.serving import write_config


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = open_record(write_config(tmp_path))
    yield record
    record.close()


def runs(folder: Path, *arguments: str) -> str:
    outcome = CliRunner().invoke(app, ["runs", *arguments, "--config", str(folder / "ringside.toml")])
    assert outcome.exit_code == 0, outcome.exception
    return outcome.stdout


def test_runs_are_listed_newest_first_with_what_came_of_them(tmp_path: Path, record: Record) -> None:
    first = record.runs.request("operator", "ada", "new price list")
    record.runs.decline(first.run_id, "the cooldown lasts until noon")
    second = record.runs.request("schedule", "watcher", "every Monday")
    heads, *lines = runs(tmp_path).splitlines()
    assert heads.split() == ["run", "state", "trigger", "by", "requested", "seconds", "version", "because"]
    assert [line.split()[:4] for line in lines] == [
        [second.run_id, "requested", "schedule", "watcher"],
        [first.run_id, "declined", "operator", "ada"],
    ]
    assert lines[1].endswith("the cooldown lasts until noon")
    assert len(runs(tmp_path, "--limit", "1").splitlines()) == 2
    listed = json.loads(runs(tmp_path, "--json"))
    assert listed == [record.runs.get(run.run_id).to_json() for run in (second, first)]


def test_one_run_is_told_whole(tmp_path: Path, record: Record) -> None:
    run = record.runs.request("operator", "ada", "new price list")
    assert json.loads(runs(tmp_path, run.run_id, "--json")) == run.to_json()
    assert "new price list" in runs(tmp_path, run.run_id)
    missing = CliRunner().invoke(app, ["runs", "r-none", "--config", str(tmp_path / "ringside.toml")])
    assert "r-none" in str(missing.exception)
