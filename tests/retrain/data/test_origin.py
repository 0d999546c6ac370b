"""Digests that say whether the source or the training is another than it was."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from monitoring.change import ChangeWatch, changes
from record.errors import DataError
from record.settings import DataSettings, ProblemSettings, RetrainSettings, Settings
from retrain.data.origin import PART_BYTES, WHOLE_BYTES, code_digest, source_digest

PROBLEM = ProblemSettings(task="classification", target="y")


def settings(source: str | Path | None, query: str | None = None, **retrain: object) -> Settings:
    data = DataSettings(source=None if source is None else str(source), query=query)
    return Settings(problem=PROBLEM, data=data, retrain=RetrainSettings.model_validate(retrain))


def test_a_file_is_another_when_its_content_is_and_not_when_it_was_only_touched(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("x,y\n1,0\n")
    first = source_digest(settings(file))
    os.utime(file, (1, 1))
    assert source_digest(settings(file)) == first
    file.write_text("x,y\n1,1\n")
    assert source_digest(settings(file)) != first


def test_a_new_file_of_a_glob_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n")
    first = source_digest(settings(tmp_path / "*.csv"))
    (tmp_path / "b.csv").write_text("x,y\n")
    assert source_digest(settings(tmp_path / "*.csv")) != first


def test_a_large_file_is_known_by_its_ends_and_its_time(tmp_path: Path) -> None:
    file = tmp_path / "large.parquet"
    with file.open("wb") as held:
        held.truncate(WHOLE_BYTES + PART_BYTES)
    first = source_digest(settings(file))
    with file.open("r+b") as held:
        held.seek(-1, 2)
        held.write(b"1")
    assert source_digest(settings(file)) != first


def test_a_database_is_another_when_its_query_gives_more_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/source.db"
    engine = sa.create_engine(url)
    pd.DataFrame({"x": [1, 2], "y": [0, 1]}).to_sql("history", engine, index=False)
    first = source_digest(settings(url, "SELECT * FROM history;"))
    pd.DataFrame({"x": [3], "y": [0]}).to_sql("history", engine, index=False, if_exists="append")
    engine.dispose()
    assert source_digest(settings(url, "SELECT * FROM history;")) != first


def test_settings_that_decide_what_is_made_are_code_and_those_that_decide_when_are_not() -> None:
    plain = code_digest(settings(None))
    assert code_digest(settings(None, trials=7)) != plain
    assert code_digest(settings(None, cooldown="3d", max_per_day=9, cost=1.0)) == plain


def test_a_source_that_is_gone_is_no_change(tmp_path: Path) -> None:
    gone = settings(tmp_path / "gone.csv")
    with pytest.raises(DataError):
        source_digest(gone)
    assert ChangeWatch(gone).origin()["source"] is None


def test_a_database_is_asked_once_an_hour_and_a_file_whenever_its_stamp_changes(tmp_path: Path) -> None:
    seconds = [0.0]
    url = f"sqlite:///{tmp_path}/source.db"
    engine = sa.create_engine(url)
    pd.DataFrame({"x": [1], "y": [0]}).to_sql("history", engine, index=False)
    watch = ChangeWatch(settings(url, "SELECT * FROM history"), stopwatch=lambda: seconds[0])
    first = watch.origin()["source"]
    pd.DataFrame({"x": [3], "y": [0]}).to_sql("history", engine, index=False, if_exists="append")
    engine.dispose()
    assert watch.origin()["source"] == first
    seconds[0] = 3601.0
    assert watch.origin()["source"] != first


def test_what_a_failed_run_was_asked_for_is_not_asked_for_again() -> None:
    now = {"source": "c", "code": "x"}
    assert changes(now, {"source": "a", "code": "x"}) == ("source",)
    assert changes(now, {"source": "a", "code": "x"}, {"source": "c", "code": "x"}) == ()
    assert changes(now, {}) == ()
    assert changes({"source": None, "code": "x"}, {"source": "a", "code": "x"}) == ()
