"""The profile of a run's data, and its page: what they say, and what they must never show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.db.database import Database
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.exploration import explore
from retrain.guards.profile import CROWD, STRETCHES, profile_data
from retrain.report.profile_page import render_profile
from tests.browser import browser, faults, pictures
from tests.retrain.problems import Kind, make_frame, make_project, write_settings

ROWS, HELD = 1_000, 200
LONG = "a_column_with_a_name_that_is_longer_than_a_phone_is_wide"


def dataset(folder: Path, frame: pd.DataFrame, kind: Kind = "binary", **more: Mapping[str, Any]) -> Dataset:
    frame.to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, kind, "rows.parquet", more)
    return load(settings, problem_schema(settings, None), [])


def test_it_says_what_stands_in_the_rows(tmp_path: Path) -> None:
    """Counts, gaps, and the mean target of every category."""
    frame = make_frame("binary", ROWS)
    profile = profile_data(dataset(tmp_path, frame, problem={"positive_class": "late"}), HELD)
    assert (profile.rows, profile.held, profile.logged_rows) == (ROWS, HELD, 0)
    late = frame["outcome"] == "late"
    assert profile.watched == "share of late"
    assert profile.baseline == pytest.approx(late.mean())
    assert len(profile.target_trend) == STRETCHES
    columns = {column.name: column for column in profile.columns}
    assert columns["seats"].missing == pytest.approx(frame["seats"].isna().mean())
    assert columns["distance"].middle == pytest.approx(frame["distance"].median(), rel=1e-3)
    assert sum(columns["distance"].histogram) == pytest.approx(0.98, abs=0.01)
    for step in columns["carrier"].steps:
        own = frame["carrier"] == step.name
        assert step.share == pytest.approx(own.mean())
        assert step.mean == pytest.approx(late[own].mean())
        assert step.low < step.mean < step.high
    assert next(iter(columns)) in ("distance", "carrier")  # they make the target
    assert columns["gate"].explained < 0.05 < columns["distance"].explained


def test_what_changes_over_time_shows(tmp_path: Path) -> None:
    """In a column's mean, in what is missing, and in the target."""
    frame = make_frame("regression", ROWS)
    frame["distance"] += np.arange(ROWS)
    frame.loc[ROWS // 2 :, "seats"] = np.nan
    frame["outcome"] += 400.0 * np.arange(ROWS)
    profile = profile_data(dataset(tmp_path, frame, "regression"), HELD)
    columns = {column.name: column for column in profile.columns}
    trend = [value for value in columns["distance"].trend if value is not None]
    assert trend[-1] - trend[0] == pytest.approx(ROWS * 11 / 12, rel=0.2)
    assert columns["seats"].missing_over_time[-1] == 1.0
    assert columns["seats"].missing_over_time[0] < 0.3
    assert columns["seats"].trend[-1] is None
    means = [step.mean for step in profile.target_trend]
    assert means == sorted(means)


def test_rows_without_an_order_have_no_trends(tmp_path: Path) -> None:
    """Nor does the page speak of time."""
    profile = profile_data(
        dataset(tmp_path, make_frame("several", ROWS), "several", problem={"time_column": None}), HELD
    )
    assert profile.target_trend == ()
    assert all(column.trend == () for column in profile.columns)
    assert "no order in time" in render_profile("flights", [], profile)


def test_nobody_is_alone_in_it(tmp_path: Path) -> None:
    """Rare categories, carried texts, protected values and a single great number stand nowhere on the page."""
    frame = make_frame("binary", ROWS)
    frame.loc[:3, "gate"] = "gate-of-four"
    frame.loc[7, "distance"] = 987654.0
    frame["note"] = "call Mrs Miller"
    frame["sex"] = "woman-or-man"
    more: Mapping[str, Any] = {
        "problem": {"protected": ["sex"]},
        "columns.sex": {"type": "category", "role": "carried"},
        "log": {"redact": ["note", "sex"]},
    }
    profile = profile_data(dataset(tmp_path, frame, **more), HELD)
    page = render_profile("flights", [], profile)
    for secret in ("gate-of-four", "987654", "9.877e", "Miller", "woman-or-man"):
        assert secret not in page
        assert secret not in repr(profile)
    assert all(step.share * ROWS >= CROWD for column in profile.columns for step in column.steps)
    assert {column.name for column in profile.carried} == {"note", "sex"}


def test_the_page_stands_alone(tmp_path: Path) -> None:
    """Nothing is loaded, and what the data say is text in it, never markup."""
    frame = make_frame("several", ROWS)
    frame["carrier"] = frame["carrier"].replace({"AA": "<script>alert(1)</script>"})
    page = render_profile("flights", [], profile_data(dataset(tmp_path, frame, "several"), HELD))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert re.search(r"https?:", page) is None
    assert not re.search(r"nan|inf(?!o)", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    for title in ("The target", "Missing values", "What each column tells of the target", "The columns"):
        assert f">{title}</h2>" in page


def long_and_far(kind: Kind) -> pd.DataFrame:
    """Long names and values, numbers far from one, a time."""
    frame = make_frame(kind, ROWS)
    generator = np.random.default_rng(5)
    frame["gate"] = frame["gate"].replace({"g1": "MCDONNELL DOUGLAS CORPORATION, WEST", "g2": "x" * 60})
    frame["distance"] *= 1e6
    frame["tiny"] = generator.normal(size=ROWS) * 1e-9
    frame[LONG] = generator.normal(size=ROWS)
    frame["booked"] = pd.to_datetime(frame["at"]) - pd.to_timedelta(generator.integers(0, 90, ROWS), unit="D")
    return frame


def strange(kind: Kind) -> pd.DataFrame:
    """Columns that are empty, constant and nearly empty; few rows."""
    frame = make_frame(kind, 40).assign(distance=1.0, seats=np.nan, carrier=None)
    frame.loc[3, "carrier"] = "AA"
    return frame


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_it_is_read_on_a_screen_and_on_a_phone_by_day_and_by_night(tmp_path: Path, kind: Kind) -> None:
    """Nothing is cut, empty or wider than its window, and numbers are as people write them."""
    wide = long_and_far(kind)
    finding = {"check": "leakage", "severity": "warning", "column": LONG, "message": "tells the target"}
    more = {f"columns.{name}": {"type": "number"} for name in ("tiny", LONG)} | {"columns.booked": {"type": "time"}}
    pages = {
        "long and far": render_profile("flights", [finding], profile_data(dataset(tmp_path, wide, kind, **more), HELD)),
        "strange": render_profile("flights", [], profile_data(dataset(tmp_path, strange(kind), kind), 8)),
    }
    with browser() as running:
        found = [
            fault for name, page in pages.items() for fault in faults(running, page, pictures(), f"{name}, {kind}")
        ]
    assert found == []


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_strange_columns_are_shown_all_the_same(tmp_path: Path, kind: Kind) -> None:
    page = render_profile("flights", [], profile_data(dataset(tmp_path, strange(kind), kind), 8))
    assert "too few values" in page
    assert ">AA<" not in page


def test_data_are_explored_without_a_run(tmp_path: Path, sqlite_database: Database) -> None:
    """The guards' findings and the page of what a run begun now would read; nothing is written."""
    frame = make_frame("binary", 400)
    leak = {"columns.refunded": {"type": "number"}}
    project = make_project(
        tmp_path, sqlite_database, frame=frame.assign(refunded=1.0 * (frame["outcome"] == "late")), more=leak
    )
    found = explore(project.settings, project.record)
    assert [finding.column for finding in found.findings] == ["refunded"]
    assert "a copy of the target in other words" in found.page
    assert found.profile.columns[0].name == "refunded"
    assert project.record.events.page()[0] == []
