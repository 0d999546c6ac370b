"""What a run does with less memory than it would like."""

from __future__ import annotations

from pathlib import Path

from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.search import search
from retrain.trials.memory import BYTES_PER_VALUE, SHARE, Memory
from retrain.trials.trial import Limits
from tests.retrain.problems import make_frame, write_settings


def test_rows_are_halved_until_they_fit() -> None:
    """And never below what makes a model."""
    memory = Memory(10**9, lambda: 0)
    fit = int(SHARE * 10**9) // (20 * BYTES_PER_VALUE)
    assert memory.rows(fit, 20, "run") == fit
    assert memory.economies == []
    assert memory.rows(4 * fit + 4, 20, "run") == (4 * fit + 4) // 8
    assert memory.economies == [f"run: the newest {(4 * fit + 4) // 8} of {4 * fit + 4} rows"]
    assert Memory(10**9, lambda: 10**9).rows(9_000, 20, "run") == 2_250


def test_a_search_under_pressure_ends_with_what_it_has(tmp_path: Path) -> None:
    """One trial is run in any case."""
    make_frame("binary", 200).to_parquet(tmp_path / "rows.parquet", index=False)
    settings = write_settings(tmp_path, "binary", "rows.parquet", {})
    data = load(settings, problem_schema(settings, None), [])
    memory = Memory(10**9, lambda: 8 * 10**8)
    report = search(data, ("linear",), Limits(9, 0.0), 0, lambda *_: None, memory=memory)
    assert len(report.trials) == 1
    assert memory.economies == ["search: ended early"]
    easy = Memory(10**9, lambda: 10**8)
    assert len(search(data, ("linear",), Limits(9, 0.0), 0, lambda *_: None, memory=easy).trials) == 9
    assert easy.economies == []
