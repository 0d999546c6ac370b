"""How far back a run learns from, where the rows are to say it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from record.db.database import Database
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.division import split
from retrain.job import run
from retrain.reproduction import reproduce
from retrain.window import Window, WindowDecision, champions_window, choose_window
from tests.retrain.problems import Kind, Project, make_frame, make_project, write_settings

ROWS = 4_000
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run: two of OpenMP's wait for each other on a busy machine."""
    with threadpool_limits(limits=1):
        yield


def changed(kind: Kind, share: float = 0.6) -> pd.DataFrame:
    """What follows from distance is the opposite for the first `share` of the rows."""
    frame = make_frame(kind, ROWS)
    early = np.arange(ROWS) < share * ROWS
    frame.loc[early, "distance"] = 1000.0 - frame.loc[early, "distance"]
    frame.loc[early, "carrier"] = frame.loc[early, "carrier"].map({"AA": "UA", "UA": "AA"}).fillna("B6")
    return frame


def rows_of(folder: Path, frame: pd.DataFrame, kind: Kind = "binary") -> tuple[Any, Dataset, Dataset]:
    frame.to_parquet(folder / "flights.parquet", index=False)
    settings = write_settings(folder, kind, "flights.parquet", {"retrain": {"window": "auto"}})
    data = load(settings, problem_schema(settings, None), [])
    division = split(data, 0.2)
    return settings, division.learn, division.holdout


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_after_a_change_the_recent_rows_are_learned_from(tmp_path: Path, kind: Kind) -> None:
    """Not those that say the opposite; and the lead that decided is said."""
    settings, learn, holdout = rows_of(tmp_path, changed(kind), kind)
    chosen = choose_window(settings.retrain, learn, holdout, seed=0)
    assert chosen.window.kind in ("recent", "weighted")
    assert chosen.window.span is not None
    assert chosen.window.span < 0.5 * ROWS * timedelta(hours=1)
    assert "tells" in chosen.reasons[0]
    assert min(chosen.losses.values()) < 0.9 * chosen.losses["all rows"]


def test_where_nothing_changes_all_rows_are_learned_from(tmp_path: Path) -> None:
    """Over eight quiet histories: a window that wins by chance is not taken."""
    kinds = []
    for seed in range(8):
        settings, learn, holdout = rows_of(tmp_path, make_frame("binary", 1_500, seed))
        kinds.append(choose_window(settings.retrain, learn, holdout, seed=0).window.kind)
    assert kinds.count("expanding") >= 7


def test_the_same_rows_choose_the_same_window(tmp_path: Path) -> None:
    settings, learn, holdout = rows_of(tmp_path, changed("binary"))
    assert choose_window(settings.retrain, learn, holdout, 0) == choose_window(settings.retrain, learn, holdout, 0)


def test_rows_that_do_not_tell_are_all_learned_from(tmp_path: Path) -> None:
    """Too few, or without a time: the reason says so."""
    settings, learn, holdout = rows_of(tmp_path, make_frame("binary", 600))
    assert choose_window(settings.retrain, learn, holdout, 0).reasons == ("480 rows do not tell windows apart",)
    undated = make_frame("binary", 2_000).assign(at=np.arange(2_000))
    settings, learn, holdout = rows_of(tmp_path, undated)
    assert choose_window(settings.retrain, learn, holdout, 0).reasons == ("not all rows have a time",)


def test_a_run_learns_from_the_window_that_it_chose_and_can_be_made_again(
    tmp_path: Path, sqlite_database: Database
) -> None:
    """The card says the window; a refit keeps it, on its own rows; each reproduces."""
    retrain = {"window": "auto", "trials": 2, "families": ["gradient_boosting"]}
    frame, then = changed("binary", 0.4), 3_400
    project = make_project(tmp_path, sqlite_database, more={"retrain": retrain}, frame=frame.head(then))
    carry_out(project)
    first = project.record.registry.version("v1").card
    assert first["window"]["window"] in ("recent", "weighted")
    assert (first["rows"] < then) == (first["window"]["window"] == "recent")
    assert reproduce(project.settings, project.record, "v1").same
    frame.to_parquet(tmp_path / "flights.parquet", index=False)
    store = {"store": {"database": sqlite_database.url}}
    settings = write_settings(tmp_path, "binary", "flights.parquet", {**store, "retrain": {**retrain, "mode": "refit"}})
    later = Project(tmp_path, settings, project.record, project.clock)
    carry_out(later)
    second = later.record.registry.version("v2").card
    assert second["window"]["reasons"] == ["as the champion's"]
    keys = ("window", "window_length", "half_life")
    assert [second["window"].get(key) for key in keys] == [first["window"].get(key) for key in keys]
    assert reproduce(settings, later.record, "v2").same


def carry_out(project: Project) -> None:
    run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)


def test_a_card_gives_its_window_back() -> None:
    window = Window("recent", 30 * DAY)
    held = WindowDecision(window, ("told",), {}).to_json()
    assert held["window_length"] == "30d"
    assert champions_window({"window": held}).window == window
    assert champions_window({}).window.kind == "expanding"
