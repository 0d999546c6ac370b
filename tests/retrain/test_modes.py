"""Runs that make no search: a refit, and a champion that goes on; and which rows count."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.db.database import Database
from record.errors import DataError, UnknownVersion
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.job import RunResult, run
from retrain.models.configuration import FAMILIES
from retrain.reproduction import reproduce
from tests.retrain.problems import Project, make_frame, make_project, write_settings

BOOSTING: Mapping[str, Any] = {"trials": 1, "families": ["gradient_boosting"]}


def carry_out(project: Project) -> RunResult:
    return run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)


def change(project: Project, rows: int, **retrain: Any) -> Project:
    """The same project with more rows, and other settings."""
    make_frame("binary", rows).to_parquet(project.folder / "flights.parquet", index=False)
    more = {"store": {"database": project.settings.store.database}, "retrain": {**BOOSTING, **retrain}}
    settings = write_settings(project.folder, "binary", "flights.parquet", more)
    return Project(project.folder, settings, project.record, project.clock)


@pytest.fixture
def project(tmp_path: Path, sqlite_database: Database) -> Project:
    """v1, of 800 rows, is champion."""
    held = make_project(tmp_path, sqlite_database, rows=800, more={"retrain": BOOSTING})
    assert carry_out(held).version == "v1"
    return held


def test_a_refit_is_the_champions_recipe_on_todays_rows(project: Project) -> None:
    """No search; its card carries the champion's study on, and it can be made again."""
    later = change(project, 1_400, mode="refit")
    assert carry_out(later).version == "v2"
    v1, v2 = (project.record.registry.version(name).card for name in ("v1", "v2"))
    assert (v2["family"], v2["params"]) == (v1["family"], v1["params"])
    assert (v2["rows"], v2["trials"], v2["study"]) == (1_400, [], v1["study"])
    assert v2["searched_at"] == v1["searched_at"]
    assert v2["mode"] == {"mode": "refit", "reasons": ['retrain.mode = "refit"']}
    ended = project.record.events.latest("retrain_succeeded")
    assert ended is not None
    assert ended.data["outcome"]["mode"] == v2["mode"]
    assert reproduce(later.settings, later.record, "v2").same


def test_a_champion_goes_on_with_the_rows_that_it_has_not_seen(project: Project) -> None:
    """More rounds of boosting, proven as ONNX like any other model, and made again from its parent."""
    later = change(project, 1_800, mode="incremental")
    assert carry_out(later).version == "v2"
    card = project.record.registry.version("v2").card
    assert card["mode"]["mode"] == "incremental"
    assert card["parity"]["max_difference"] < 1e-9
    assert card["comparison"]["rows"] == card["holdout_rows"] == 360
    assert card["metrics"]["log_loss"]["value"] < card["baselines"]["dummy"]["log_loss"]["value"] / 2
    models = [(project.record.registry.directory(name) / "model.onnx").stat().st_size for name in ("v1", "v2")]
    assert models[1] > models[0]
    assert reproduce(later.settings, later.record, "v2").same


def test_what_cannot_go_on_is_refitted_and_says_so(project: Project) -> None:
    """Too few new rows here."""
    carry_out(change(project, 900, mode="incremental"))
    mode = project.record.registry.version("v2").card["mode"]
    assert mode["mode"] == "refit"
    assert mode["reasons"][-1] == "refit instead: 50 new rows to go on with, at least 200 are needed"


def test_a_version_is_made_again_from_its_card(project: Project) -> None:
    """Bit for bit, by its own seed; and what differs is named."""
    again = reproduce(change(project, 800, seed=7).settings, project.record, "v1")
    assert (again.same, again.made, again.differs) == (True, again.model_onnx, ())
    other = reproduce(change(project, 801).settings, project.record, "v1")
    assert (other.same, other.made) == (False, None)
    assert other.differs[0].startswith("data: fingerprint")
    with pytest.raises(UnknownVersion):
        reproduce(project.settings, project.record, "v9")


def test_other_libraries_are_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrain.data.lineage.LIBRARIES", ("numpy", "onnx"))
    found = reproduce(project.settings, project.record, "v1")
    assert not found.same
    assert any(text.startswith("library scikit-learn: absent, ") for text in found.differs)


def test_a_window_of_recent_rows(tmp_path: Path) -> None:
    """Rows are an hour apart."""
    make_frame("binary", 400).to_parquet(tmp_path / "rows.parquet", index=False)
    more = {"retrain": {"window": "recent", "window_length": "4d"}}
    settings = write_settings(tmp_path, "binary", "rows.parquet", more)
    assert len(load(settings, problem_schema(settings, None), [])) == 97
    undated = write_settings(tmp_path, "binary", "rows.parquet", {**more, "problem": {"time_column": None}})
    with pytest.raises(DataError, match="needs rows with a time"):
        load(undated, problem_schema(undated, None), [])


def test_older_rows_count_less(tmp_path: Path) -> None:
    """Half for each half-life, 1 on average; and the fingerprint knows it."""
    make_frame("binary", 400).to_parquet(tmp_path / "rows.parquet", index=False)
    plain = write_settings(tmp_path, "binary", "rows.parquet", {})
    even = load(plain, problem_schema(plain, None), [])
    settings = write_settings(
        tmp_path, "binary", "rows.parquet", {"retrain": {"window": "weighted", "half_life": "1d"}}
    )
    weighted = load(settings, problem_schema(settings, None), [])
    assert even.weights is None
    assert weighted.weights is not None
    assert weighted.weights.mean() == pytest.approx(1.0)
    assert weighted.weights[-1] / weighted.weights[-25] == pytest.approx(2.0)
    assert weighted.fingerprint() != even.fingerprint()
    assert weighted.half_life == timedelta(days=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_from_weighted_rows(tmp_path: Path, sqlite_database: Database, family: str) -> None:
    """What held before a change is forgotten: labels were the other way round until the last rows."""
    frame = make_frame("binary", 1_200)
    flipped = frame["outcome"].map({"late": "on_time", "on_time": "late"})
    frame["outcome"] = flipped.where(np.arange(1_200) < 600, frame["outcome"])
    retrain = {"trials": 1, "families": [family], "window": "weighted", "half_life": "2d"}
    project = make_project(tmp_path, sqlite_database, frame=frame, more={"retrain": retrain})
    assert carry_out(project).version == "v1"
    assert project.record.registry.version("v1").card["metrics"]["auc"]["value"] > 0.8
    assert reproduce(project.settings, project.record, "v1").same
