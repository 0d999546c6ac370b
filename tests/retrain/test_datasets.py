"""Real tables of every kind: strings, gaps, ids, rare classes. Run with --data DIR."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from record.clock import ManualClock
from record.configuration.inspection import inspect
from record.configuration.template import render_toml
from record.db.database import Database
from record.settings import load_settings
from record.versions.model import ServedModel
from retrain.job import run
from tests.records import record_on
from tests.retrain.problems import START

pytestmark = pytest.mark.data


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Path | None = metafunc.config.getoption("--data")
    names = sorted(folder.rglob("*.parquet")) if folder is not None and folder.is_dir() else []
    metafunc.parametrize("table", names or [None], ids=[name.stem for name in names] or ["none"])


@pytest.mark.parametrize("family", ["linear", "random_forest", "gradient_boosting"])
def test_every_family_is_packaged_exactly(
    table: Path | None, family: str, data_folder: Path, tmp_path: Path, sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From `init` to a version that the service loads: parity to rounding, whatever the table holds."""
    assert table is not None
    monkeypatch.setenv("RINGSIDE_RETRAIN__TRIALS", "1")
    monkeypatch.setenv("RINGSIDE_RETRAIN__FAMILIES", json.dumps([family]))
    monkeypatch.setenv("RINGSIDE_RETRAIN__MAX_ROWS", "4000")
    inspection = inspect(table, parquet.read_schema(table).names[-1])
    (tmp_path / "ringside.toml").write_text(render_toml(inspection, str(table)), encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    record = record_on(sqlite_database, settings.store.artifacts, ManualClock(START))
    run_id = record.runs.request("command", "ann", "a test").run_id
    record.runs.start(run_id, START)
    result = run(settings, record, run_id, fence=None, progress=lambda _: None)
    parity = next((check for check in result.gate.checks if check.name == "parity"), None)
    if result.version is None:
        # A straight line may be no better than the mean; nothing else is an excuse.
        assert result.gate.reasons[0].startswith(("not better", "significantly worse"))
        assert parity is None
        return
    version = record.registry.version(result.version)
    ServedModel.load(record.registry.directory(version.version), version.version, version.digest)
    assert version.card["parity"]["max_difference"] < 1e-9
