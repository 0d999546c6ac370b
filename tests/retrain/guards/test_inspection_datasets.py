"""Guards on real tables: they say what is true of them, and nothing else. Run with --data DIR."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from record.configuration.inspection import inspect
from record.configuration.template import render_toml
from record.settings import load_settings
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.guards.inspection import GuardContext, inspect_data
from retrain.guards.profile import profile_data
from retrain.report.profile_page import render_profile

pytestmark = pytest.mark.data

# Table → (check, column). California's prices are cut off at 500,001; a class of hypothyroid has two rows; a fifth of
# the wines stand there twice.
TRUE = {
    "california_housing": {("label_noise", None)},
    "hypothyroid": {("class_size", None)},
    "wine_quality": {("duplicates", None)},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Path | None = metafunc.config.getoption("--data")
    names = sorted(folder.rglob("*.parquet")) if folder is not None and folder.is_dir() else []
    if "table" in metafunc.fixturenames:
        metafunc.parametrize("table", names or [None], ids=[name.stem for name in names] or ["none"])


def test_nothing_is_said_that_is_not_true(table: Path | None, data_folder: Path, tmp_path: Path) -> None:
    """No error on any of them; warnings where the table is known for it. Its profile has no gaps."""
    assert table is not None
    inspection = inspect(table, parquet.read_schema(table).names[-1])
    (tmp_path / "ringside.toml").write_text(render_toml(inspection, str(table)), encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    data = load(settings, problem_schema(settings, None), [])
    held = len(data) // 5
    found = inspect_data(data, GuardContext(settings.guards, held))
    assert [str(finding) for finding in found if finding.severity == "error"] == []
    assert {(finding.check, finding.column) for finding in found} == TRUE.get(table.stem, set())
    profile = profile_data(data, held)
    assert len({column.name for column in profile.columns}) == len(profile.columns)
    assert all(0 <= column.explained <= 1 for column in profile.columns)
    assert not re.search(r"\bnan\b", render_profile(table.stem, [], profile))


def test_an_honest_answer_that_gives_everything_only_warns(data_folder: Path, tmp_path: Path) -> None:
    """Luxembourg's at3, fed to the model by somebody who knows what it is."""
    tables = list(data_folder.rglob("luxembourg.parquet"))
    if not tables:
        pytest.skip("no luxembourg.parquet in the folder")
    text = render_toml(inspect(tables[0], "target"), str(tables[0]))
    head, mark, rest = text.partition("[columns.at3]")
    (tmp_path / "ringside.toml").write_text(head + mark + rest.replace('"carried"', '"feature"', 1), encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    data = load(settings, problem_schema(settings, None), [])
    found = inspect_data(data, GuardContext(settings.guards, len(data) // 5))
    assert [(finding.column, finding.severity) for finding in found] == [("at3", "warning")]
