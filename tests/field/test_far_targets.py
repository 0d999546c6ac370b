"""Regression targets far from zero, and very small or large ones, are learned as well as they are near it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from record.contract.arrays import Arrays
from record.db.database import Database
from record.errors import DataError
from record.versions.model import OnnxScorer
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.data.target import read_values
from retrain.export.graph import to_onnx
from retrain.models.configuration import FAMILIES, Configuration, Family
from retrain.models.continuation import continue_fit
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from retrain.trials.validation import Validation
from tests.retrain.problems import make_frame, make_project, write_settings
from tests.retrain.test_job import carry_out

ROWS, LEARNED = 900, 600
# Offset and spread: amounts in a small currency, times in milliseconds, the last whole number that doubles hold.
PLACES = [
    (1e6, 1.0),
    (-1e9, 0.1),
    (1.7e12, 6e4),
    (2.0**53, 1e6),
    (0.0, 1e-6),
    (0.0, 1e-25),
    (0.0, 1e25),
]
PARAMS: dict[str, Any] = {"lightgbm": {"max_iter": 60}, "gradient_boosting": {"max_iter": 60}}


@cache
def rows() -> tuple[Arrays, Any]:
    """Numbers, a category of sixty values, and a target of mean 0 and spread 1 that follows all of them."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(ROWS, 3)).astype(np.float32)
    codes = generator.integers(0, 60, ROWS)
    target = 2 * numbers[:, 0] + np.sin(2 * numbers[:, 1]) + codes / 20 + generator.normal(0.0, 0.3, ROWS)
    categories = np.array([[f"g{code}"] for code in codes], dtype=object)
    return Arrays(numbers, categories), (target - target.mean()) / target.std()


@cache
def error_near_zero(family: Family) -> float:
    return _error(family, 0.0, 1.0)[0]


def _error(family: Family, offset: float, spread: float) -> tuple[float, float]:
    """The root mean squared error on later rows in spreads, and how far the graph's answers are from the model's."""
    x, z = rows()
    y = offset + spread * z
    params = {"categories": "target", "min_count": 5, **PARAMS.get(family, {})}
    fitted = fit(build(Configuration(family, params), "regression", 0), x.rows(0, LEARNED), y[:LEARNED])
    later = x.rows(LEARNED)
    answers = predict(read_estimator(skops.io.dumps(fitted)), later, 0)
    graph = OnnxScorer(to_onnx(fitted, 3, 1, 0)).score(later).raw.ravel()
    error = (answers - offset) / spread - (y[LEARNED:] - offset) / spread
    return float(np.sqrt(np.mean(error**2))), float(np.abs(graph / spread - answers / spread).max())


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]:g}±{place[1]:g}")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_far_target_is_learned_as_a_near_one(family: Family, place: tuple[float, float]) -> None:
    """To what the target's own digits hold, and the graph answers as the estimator does."""
    error, parity = _error(family, *place)
    assert error == pytest.approx(error_near_zero(family), rel=0.02)
    assert parity < max(1e-9, 8 * np.finfo(np.float64).eps * abs(place[0]) / place[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_is_fitted_again_answers_in_the_new_targets_scale(family: Family) -> None:
    """As one that was never fitted to a far target."""
    x, z = rows()
    configuration = Configuration(family, {"categories": "target", "min_count": 5, **PARAMS.get(family, {})})
    again, fresh = (build(configuration, "regression", 0) for _ in range(2))
    learned = x.rows(0, LEARNED)
    fit(again, learned, 1.7e12 + 6e4 * z[:LEARNED])
    answers = [predict(fit(model, learned, z[:LEARNED]), x.rows(LEARNED), 0) for model in (again, fresh)]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", ["lightgbm", "gradient_boosting", "perceptron", "extra_trees", "linear"])
def test_trials_judge_a_far_target_as_a_near_one(tmp_path: Path, family: Family) -> None:
    """Rounds are settled by the same losses, in the target's own unit."""
    frame = make_frame("regression", 400)
    losses = {}
    for offset, spread in ((0.0, 1.0), (1.7e12, 6e4)):
        frame["outcome"] = offset + spread * (make_frame("regression", 400)["outcome"] - 1e6) / 2e4
        frame.to_parquet(tmp_path / "rows.parquet", index=False)
        settings = write_settings(tmp_path, "regression", "rows.parquet", {})
        data = load(settings, problem_schema(settings, None), [])
        params = {"learning_rate": 0.1} if family in ("lightgbm", "gradient_boosting") else {}
        losses[offset] = Validation(data, 0, 400).judge(Configuration(family, params)).loss / spread
    assert losses[1.7e12] == pytest.approx(losses[0.0], rel=0.02)


def test_boosting_of_a_far_target_goes_on(tmp_path: Path) -> None:
    """New rows are learned on the scale of the first fit."""
    frame = make_frame("regression", 900)
    frame["outcome"] = 1.7e12 + 6e4 * (frame["outcome"] - 1e6) / 2e4
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    settings = write_settings(tmp_path, "regression", "rows.parquet", {})
    data: Dataset = load(settings, problem_schema(settings, None), [])
    first, more, later = data.rows(0, 300), data.rows(300, 700), data.rows(700)
    fitted = fit(
        build(Configuration("gradient_boosting", {"max_iter": 20}), "regression", 0), first.arrays, first.target
    )
    before = np.abs(predict(fitted, later.arrays, 0) - later.target).mean()
    gone_on = continue_fit(fitted, replace(more), 300)
    assert np.abs(predict(gone_on, later.arrays, 0) - later.target).mean() < 0.95 * before


def test_a_run_on_times_in_milliseconds(tmp_path: Path, sqlite_database: Database) -> None:
    """The whole way: the gate passes, with the parity of a target near zero, by forests and boosting alone."""
    frame = make_frame("regression", 400)
    frame["outcome"] = 2.0**53 + 1e6 * (frame["outcome"] - 1e6) / 2e4
    more = {"retrain": {"trials": 2, "families": ["lightgbm", "extra_trees"], "processes": 1}}
    project = make_project(tmp_path, sqlite_database, "regression", frame=frame, more=more)
    version = carry_out(project).version
    assert version is not None
    card = project.record.registry.version(version).card
    assert card["metrics"]["r2"]["value"] > 0.6
    assert card["parity"]["max_difference"] < 1e-7


@pytest.mark.parametrize("values", [[1e300, -1e300, 0.0], [1e-300, 2e-300, 0.0], [1e308, 1e308, 1e308]])
def test_what_no_double_can_square_is_refused(values: list[float]) -> None:
    """With the values and what to do, in place of a loss that is not finite, or an error of 0."""
    with pytest.raises(DataError, match=r"the target lies between .* take another unit"):
        read_values(values)
