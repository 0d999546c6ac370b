"""One run, from the record to a registered version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.contract.decoder import Decoder
from record.db.database import Database
from record.errors import DataError, StaleLease
from record.logged import Batch, LabelGiven, LogEntry
from record.versions.model import ServedModel
from record.work.leases import Fence
from retrain.data.rows import read_rows
from retrain.job import RunResult, run
from tests.retrain.problems import START, Kind, Project, make_frame, make_project

ONE_TRIAL: Mapping[str, Mapping[str, Any]] = {"retrain": {"trials": 1, "families": ["linear"]}}


def carry_out(project: Project, fence: Fence | None = None) -> RunResult:
    return run(project.settings, project.record, project.request(), fence=fence, progress=lambda _: None)


def log_rows(project: Project, frame: pd.DataFrame, since: datetime, *, shuffled: bool = False) -> None:
    """Logs the frame's rows as answered requests, an hour apart, and labels them ten minutes later."""
    problem = project.settings.problem_schema()
    assert problem is not None
    labels = frame["outcome"].tolist()
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels).tolist()
    for number, record in enumerate(Decoder(problem).frame_records(frame)):
        at = since + timedelta(hours=number)
        entry = LogEntry(f"{since:%d}-{number}", bytes(16), json.dumps(record), '"late"')
        project.record.log.append([Batch([entry], "v1", at)])
        given = LabelGiven(entry.id, json.dumps(labels[number]))
        project.record.log.add_labels([given], at + timedelta(minutes=10))


@pytest.fixture
def project(tmp_path: Path, sqlite_database: Database) -> Project:
    return make_project(tmp_path, sqlite_database, more=ONE_TRIAL)


def test_the_first_version_becomes_champion(tmp_path: Path, sqlite_database: Database) -> None:
    """Registered and run ended in one transaction; the service can load it."""
    project = make_project(tmp_path, sqlite_database)
    told: list[Mapping[str, Any]] = []
    run_id = project.request()
    result = run(project.settings, project.record, run_id, fence=None, progress=told.append)
    assert result.version == "v1"
    registry = project.record.registry
    assert registry.roles().champion == "v1"
    ended = project.record.runs.get(run_id)
    assert (ended.state, ended.version) == ("succeeded", "v1")
    version = registry.version("v1")
    model = ServedModel.load(registry.directory("v1"), "v1", version.digest)
    record = {"distance": 900, "seats": None, "carrier": "UA", "gate": "g0", "note": "x"}
    assert model.score(model.decoder.decode([record])).raw.shape == (1, 2)
    assert [held["stage"] for held in told if held["stage"] != "search"] == [
        "read",
        "guard",
        "judge",
        "refit",
        "package",
    ]
    assert project.record.events.verify().valid
    assert project.record.reports.recent("model")[0].model_version == "v1"


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_the_card_says_what_the_model_is_worth(tmp_path: Path, sqlite_database: Database, kind: Kind) -> None:
    """With intervals, beside a dummy and a linear model, and where it comes from."""
    project = make_project(tmp_path, sqlite_database, kind, rows=600)
    carry_out(project)
    card = project.record.registry.version("v1").card
    metric = "rmse" if kind == "regression" else "log_loss"
    held = card["metrics"][metric]
    assert held["low"] < held["value"] < held["high"]
    assert held["value"] < card["baselines"]["dummy"][metric]["value"]
    assert metric in card["baselines"]["linear"]
    assert (card["rows"], card["holdout_rows"], card["read_until_seq"]) == (600, 120, 0)
    assert card["data_until"] == (START + timedelta(hours=599)).isoformat().replace("+00:00", "Z")
    assert card["parity"]["max_difference"] < 1e-9
    assert 0 < card["reference_loss"] < 1
    first, rise = next(iter(card["importances"].items()))
    assert first in ("distance", "carrier")
    assert card["importance_intervals"][first][0] < rise < card["importance_intervals"][first][1]
    lineage = card["lineage"]
    assert lineage["config_hash"] == project.settings.digest()
    assert {"scikit-learn", "onnx", "python"} <= set(lineage["libraries"])
    assert len(card["trials"]) == 3
    if kind == "regression":
        assert card["loss_scale"] > 0
        assert card["target_sd"] == pytest.approx(2.9e4, rel=0.3)


def test_the_report_stands_alone(tmp_path: Path, sqlite_database: Database) -> None:
    """One page that loads nothing; what the data says is text in it, never markup."""
    frame = make_frame("several", 300)
    frame["outcome"] = frame["outcome"].replace({"early": "<script>alert(1)</script>"})
    project = make_project(tmp_path, sqlite_database, "several", frame=frame, more=ONE_TRIAL)
    carry_out(project)
    page = (project.record.registry.directory("v1") / "report.html").read_text()
    assert re.search(r"https?:", page) is None
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for title in ("How good it is", "The gate", "What it looks at", "What was tried", "Where it comes from"):
        assert title in page


def test_the_same_data_and_seed_give_the_same_model(project: Project) -> None:
    """Bit for bit."""
    carry_out(project)
    carry_out(project)
    first, second = (project.record.registry.directory(v) / "model.onnx" for v in ("v1", "v2"))
    assert first.read_bytes() == second.read_bytes()


def test_a_later_run_learns_from_the_labelled_log(project: Project) -> None:
    """Mature requests only; its bout begins behind the last of them, and the champion keeps its role."""
    carry_out(project)
    since = START + timedelta(days=380)
    log_rows(project, make_frame("binary", 300, seed=5), since)
    project.clock.at = since + timedelta(hours=250)
    carry_out(project)
    version = project.record.registry.version("v2")
    # A request is mature a day after it, and then its label counts.
    assert version.read_until_seq == 227
    assert version.data_until == since + timedelta(hours=226)
    assert (version.card["rows"], version.card["logged_rows"]) == (1027, 227)
    assert version.parent == "v1"
    assert project.record.registry.roles().champion == "v1"


def test_candidate_and_champion_meet_on_rows_that_neither_learned_from(project: Project) -> None:
    """The holdout's rows later than the champion's own data."""
    carry_out(project)
    log_rows(project, make_frame("binary", 120, seed=5), START + timedelta(days=380))
    carry_out(project)
    card = project.record.registry.version("v2").card
    assert card["comparison"]["other"] == "v1"
    assert card["comparison"]["rows"] == 120
    assert card["holdout_rows"] == 184
    assert card["champion_metrics"]["log_loss"]["value"] > 0
    assert set(card["fresh_metrics"]) == set(card["champion_metrics"])


def test_a_harmful_candidate_is_refused(tmp_path: Path, sqlite_database: Database) -> None:
    """Its labels were mixed up before the holdout: it is significantly worse, and nothing of it is kept."""
    project = make_project(tmp_path, sqlite_database, more=ONE_TRIAL)
    carry_out(project)
    frame = pd.read_parquet(tmp_path / "flights.parquet")
    flipped = frame["outcome"].map({"late": "on_time", "on_time": "late"})
    frame["outcome"] = flipped.where(np.arange(len(frame)) % 3 > 0, frame["outcome"])
    frame.to_parquet(tmp_path / "flights.parquet", index=False)
    log_rows(project, make_frame("binary", 200, seed=5), START + timedelta(days=380))
    result = carry_out(project)
    assert result.version is None
    assert not result.gate.passed
    ended = project.record.runs.recent(1)[0]
    assert (ended.state, ended.version) == ("succeeded", None)
    assert ended.outcome is not None
    assert ended.outcome["gate"]["reasons"]
    assert len(project.record.registry.versions()) == 1
    assert list((project.settings.store.artifacts / ".staged").iterdir()) == []


@pytest.mark.parametrize("family", ["linear", "gradient_boosting"])
def test_nothing_to_learn_is_refused_by_the_dummy(tmp_path: Path, sqlite_database: Database, family: str) -> None:
    """Features that are always the same say nothing about the target."""
    frame = make_frame("binary", 300).assign(distance=1.0, seats=2.0, carrier="AA", gate="g1")
    more = {"retrain": {"trials": 1, "families": [family]}}
    result = carry_out(make_project(tmp_path, sqlite_database, more=more, frame=frame))
    assert result.version is None
    assert "not better than always saying the same" in result.gate.reasons[0]


def test_a_slow_model_is_refused_where_there_is_a_limit(tmp_path: Path, sqlite_database: Database) -> None:
    """No model answers in a nanosecond."""
    more = {"retrain": {"trials": 1, "families": ["linear"], "max_latency_ms": 1e-6}}
    result = carry_out(make_project(tmp_path, sqlite_database, more=more))
    assert result.version is None
    assert "retrain.max_latency_ms" in result.gate.reasons[0]
    assert list((tmp_path / ".ringside/artifacts/.staged").iterdir()) == []


def test_bad_data_is_left_for_the_caller_to_fail(project: Project) -> None:
    """The run is still running then."""
    (project.folder / "flights.parquet").unlink()
    run_id = project.request()
    with pytest.raises(DataError, match="no file"):
        run(project.settings, project.record, run_id, fence=None, progress=lambda _: None)
    assert project.record.runs.get(run_id).state == "running"


def test_a_run_whose_lease_has_passed_on_registers_nothing(project: Project) -> None:
    """Somebody else leads now."""
    fence = project.record.leases.acquire("watcher", "first", timedelta(seconds=30))
    assert fence is not None
    project.record.leases.release(fence)
    with pytest.raises(StaleLease):
        carry_out(project, fence)
    assert project.record.registry.versions() == []


def test_without_the_log_evidence_begins_behind_what_stood_in_it(tmp_path: Path, sqlite_database: Database) -> None:
    """Its requests may have come back by way of the source."""
    project = make_project(tmp_path, sqlite_database, more={**ONE_TRIAL, "data": {"include_labelled_log": False}})
    log_rows(project, make_frame("binary", 25), START + timedelta(days=380))
    carry_out(project)
    version = project.record.registry.version("v1")
    assert (version.read_until_seq, version.card["logged_rows"]) == (25, 0)


def test_what_retention_archived_is_learned_from_like_the_log(project: Project) -> None:
    """The same rows in the same order, whichever of them have left the log; as far back as the settings learn."""
    problem = project.settings.problem_schema()
    assert problem is not None
    since = START + timedelta(days=300)
    log_rows(project, make_frame("binary", 60), since)
    as_of = project.clock.now()

    def rows(**retrain: Any) -> tuple[str, list[int], list[int]]:
        chosen = project.settings.model_copy(update={"retrain": project.settings.retrain.model_copy(update=retrain)})
        held = read_rows(chosen, project.record, problem, as_of)
        return held.fingerprint(), held.seqs.tolist(), held.times.tolist()

    asked: list[Mapping[str, Any]] = [
        {}, {"max_rows": 40}, {"max_rows": 70}, {"window": "recent", "window_length": timedelta(hours=36)},
    ]  # fmt: skip
    before = [rows(**each) for each in asked]
    assert [len(seqs) for _, seqs, _ in before] == [859, 40, 70, 37]  # one of the source stands in the log, too
    assert project.record.log.forget(since + timedelta(hours=30), project.record.archive) == 30
    assert [rows(**each) for each in asked] == before
