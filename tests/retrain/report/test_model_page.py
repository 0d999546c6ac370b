"""The report as somebody opens it: every section, no fault in the browser, nothing from elsewhere, small."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.db.database import Database
from record.pages.plot import Plot, round_ticks, span, tick_text
from retrain.job import run
from tests.browser import browser, faults, pictures
from tests.retrain.problems import Kind, make_frame, make_project

SECTIONS = [
    "How good it is", "Against the champion", "The gate", "What the guards found", "On the holdout",
    "Where it errs more", "For whom", "What it looks at", "What is made of columns", "What was tried",
    "The target", "Missing values", "What each column tells of the target", "The columns", "Carried columns",
    "Where it comes from",
]  # fmt: skip
PICTURES = {
    "binary": {"ROC curve", "Precision and recall", "Calibration", "Learning curve", "Selection rate", "Trials"},
    "several": {"ROC curve", "Precision and recall", "Calibration", "Learning curve", "Accuracy", "Trials"},
    "regression": {"Target by prediction", "Error by prediction", "Distribution of errors", "Mean error", "Trials"},
}


def frame_of(kind: Kind) -> pd.DataFrame:
    """With protected columns, a time, and names that a page must not take for its own."""
    generator = np.random.default_rng(5)
    frame = make_frame(kind, 1500)
    frame["sex"] = generator.choice(["f", "<script>m</script>"], len(frame))
    frame["booked"] = pd.to_datetime(frame["at"]) - pd.to_timedelta(generator.integers(0, 90, len(frame)), unit="D")
    frame["gate"] = frame["gate"].where(frame["gate"] != "g0", "<img src=x>&\"'")
    frame["gate"] = frame["gate"].where(frame["gate"] != "g1", "MCDONNELL DOUGLAS CORPORATION, WEST")
    return frame


def trained(folder: Path, database: Database, kind: Kind) -> tuple[Path, Mapping[str, Any]]:
    """The report of a version and its card."""
    more: dict[str, dict[str, Any]] = {
        "problem": {"protected": ["sex"], "positive_class": "late" if kind == "binary" else None},
        "columns.sex": {"type": "category", "role": "carried"},
        "columns.booked": {"type": "time"},
        "retrain": {"trials": 4, "memory_limit": "3GB"},
    }
    project = make_project(folder, database, kind, more=more, frame=frame_of(kind))
    result = run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)
    assert result.version == "v1", result.gate.reasons
    directory = project.record.registry.directory("v1")
    return directory / "report.html", project.record.registry.version("v1").card


@pytest.fixture(scope="module", params=["binary", "several", "regression"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> tuple[Kind, Path, Mapping[str, Any]]:
    """A kind of problem, the report of its version, and the card."""
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    shutil.copyfile(sqlite_template, folder / "record.db")
    database = Database(f"sqlite:///{folder / 'record.db'}")
    report, card = trained(folder, database, kind)
    database.close()
    return kind, report, card


def test_a_report_is_whole_and_stands_alone(made: tuple[Kind, Path, Mapping[str, Any]]) -> None:
    kind, report, card = made
    page = report.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == SECTIONS
    title = f"flights v1: outcome by {card['family'].replace('_', ' ')}"
    assert (f"<title>{title}</title>" in page, f"<h1>{title}</h1>" in page) == (True, True)
    assert PICTURES[kind] <= set(re.findall(r'class="title">(.*?)</text>', page))
    assert "Partial dependence" in page
    assert ("Confusion matrix" in page) == (kind != "regression")
    assert not re.search(r"(src|href)=['\"](?!#)", page), "something is loaded or linked from elsewhere"
    assert "<script" not in page
    assert "NaN" not in page.replace("NaN,", "")
    assert report.stat().st_size < 300_000
    told = card["insight"]
    assert {group["name"] for group in told["groups"]} == {"sex = f", "sex = <script>m</script>"}
    assert told["learning_curve"]["points"][-1]["rows"] == card["rows"] - card["holdout_rows"]
    assert {each["feature"] for each in told["dependences"]} >= {"distance", "carrier"}
    if kind == "regression":
        assert told["residuals"]["sd"] <= card["metrics"]["rmse"]["value"] * 1.01
    else:
        assert sum(map(sum, told["confusion"])) == card["holdout_rows"]
    if kind == "binary":
        (late,) = told["curves"]
        assert late["auc"] == pytest.approx(card["metrics"]["auc"]["value"])
        assert late["name"] == told["watched"] == "late"


def test_it_is_read_on_a_screen_and_on_a_phone_by_day_and_by_night(made: tuple[Kind, Path, Mapping[str, Any]]) -> None:
    """Nothing is cut, empty or wider than its window, numbers are as people write them, and the console is silent."""
    kind, report, _ = made
    with browser() as running:
        assert faults(running, report.read_text(encoding="utf-8"), pictures(), f"report {kind}") == []


def test_ticks_are_round_and_told_apart() -> None:
    assert round_ticks((0.0, 1.0)) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert round_ticks((-13.0, 41.0)) == [0.0, 20.0, 40.0]
    texts = [tick_text(tick, ticks) for ticks in [round_ticks((999_000.0, 1_003_000.0))] for tick in ticks]
    assert len(set(texts)) == len(texts)
    assert [tick_text(value, [0.0, 20_000.0]) for value in (0.0, 20_000.0)] == ["0", "20k"]
    assert span([]) == (0.0, 1.0)


def test_a_plot_of_one_value_and_of_hostile_names_is_drawn() -> None:
    drawn = Plot("<b>&", "x", "y", (3.0, 3.0), (0.0, 0.0)).line([(3.0, 0.0)], name='"><script>').svg()
    assert "<script>" not in drawn
    assert "nan" not in drawn
