"""What the data checks call an error is not learned from, is named and counted, and spoils no reference."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.db.database import Database
from record.events import FeedBroken, FeedMended
from retrain.job import RunResult
from tests.retrain.problems import START, Project, make_frame, make_project
from tests.retrain.test_job import ONE_TRIAL, carry_out, log_rows

ROWS, NEW = 1200, 800


def slipped(frame: pd.DataFrame, rows: slice) -> pd.DataFrame:
    """Distances in metres where kilometres were."""
    frame = frame.copy()
    frame.loc[frame.index[rows], "distance"] *= 1000
    return frame


def outcome(project: Project, result: RunResult) -> Mapping[str, Any]:
    found = project.record.runs.latest("succeeded")
    assert found is not None
    assert found.outcome is not None
    return found.outcome


def reference(project: Project, version: str) -> pd.DataFrame:
    return pd.read_parquet(project.record.registry.directory(version) / "reference.parquet")


def later(seed: int = 1) -> pd.DataFrame:
    return make_frame("binary", NEW, seed=seed, since=START + timedelta(hours=ROWS))


@pytest.mark.parametrize("part", [slice(300, 500), slice(0, NEW)])
@pytest.mark.parametrize("include", [False, True])
def test_a_source_that_slipped_is_learned_from_only_where_one_asks_for_it(
    tmp_path: Path, sqlite_database: Database, part: slice, include: bool
) -> None:
    """A part of what is new since the champion, or all of it."""
    more = {**ONE_TRIAL, "data": {"include_set_aside": include}}
    project = make_project(tmp_path, sqlite_database, rows=ROWS, more=more)
    assert carry_out(project).version == "v1"
    frame = pd.concat([make_frame("binary", ROWS), slipped(later(), part)])
    frame.to_parquet(tmp_path / "flights.parquet", index=False)
    result = carry_out(project)
    found = [one for one in outcome(project, result)["findings"] if one["check"] == "broken_feed"]
    if include:
        assert found == []
        assert result.version is None or reference(project, result.version)["distance"].max() > 5000
        return
    (finding,) = found
    assert (finding["column"], finding["severity"]) == ("distance", "warning")
    assert finding["numbers"]["rows"] == pytest.approx(len(range(*part.indices(NEW))), abs=5)
    assert "1000 times as large" in finding["message"]
    assert "data.include_set_aside" in finding["message"]
    if result.version is not None:
        assert reference(project, result.version)["distance"].max() < 5000
        assert project.record.registry.version(result.version).card["rows"] == ROWS + NEW - finding["numbers"]["rows"]


def test_requests_of_a_broken_feed_are_named_and_counted(tmp_path: Path, sqlite_database: Database) -> None:
    """As the watcher has told of them; a second run is made on what is sound."""
    project = make_project(tmp_path, sqlite_database, rows=ROWS, more=ONE_TRIAL)
    assert carry_out(project).version == "v1"
    since = project.clock.now() - timedelta(days=40)
    log_rows(project, slipped(later(), slice(200, 260)), since)
    first, last = since + timedelta(hours=200), since + timedelta(hours=259)
    broken = FeedBroken("unit_slip", "distance", "every", first, 1.0, timedelta(days=90).total_seconds())
    project.record.events.append(broken, actor="watcher", at=first)
    project.record.events.append(FeedMended("unit_slip", "distance", last), actor="watcher", at=last)
    result = carry_out(project)
    (finding,) = [one for one in outcome(project, result)["findings"] if one["check"] == "broken_feed"]
    assert finding["message"].startswith("60 labelled requests of a broken feed (unit_slip) are set aside")
    assert result.version is not None
    card = project.record.registry.version(result.version).card
    assert card["rows"] == ROWS + NEW - 60
    assert reference(project, result.version)["distance"].max() < 5000


def test_a_world_that_grows_is_no_slip(tmp_path: Path, sqlite_database: Database) -> None:
    project = make_project(tmp_path, sqlite_database, rows=ROWS, more=ONE_TRIAL)
    assert carry_out(project).version == "v1"
    frame = later()
    frame["distance"] = np.round(frame["distance"] * 1.5, 1)
    pd.concat([make_frame("binary", ROWS), frame]).to_parquet(tmp_path / "flights.parquet", index=False)
    result = carry_out(project)
    assert not [one for one in outcome(project, result)["findings"] if one["check"] == "broken_feed"]
