"""Regressions of the logarithm: offered where the target has a long tail, exact in ONNX, never beyond what was seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io

from record.versions.model import OnnxScorer
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.export.graph import to_onnx
from retrain.models.configuration import FAMILIES, Configuration, Family
from retrain.models.log_target import worth_a_logarithm
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from retrain.search import search
from retrain.trials.trial import Limits
from tests.retrain.export.test_graph import SMALL, rows_of, target_of
from tests.retrain.problems import make_frame, write_settings


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_gives_the_exponential_of_what_was_learned(family: Family) -> None:
    """To rounding, and within e times what training saw, however strange the rows."""
    arrays = rows_of(400, 4, 3)
    y = np.exp((target_of(arrays, 0) - 3e6) / 1e4)
    chosen = Configuration(family, {**SMALL[family], "target": "log", "factor": 1.05})
    pipeline = fit(build(chosen, "regression", 0), arrays, y)
    strange = rows_of(200, 4, 3, seed=1)
    strange.numbers[:5] *= 1e20
    strange.numbers[5:10] = np.nan
    expected = predict(pipeline, strange, 0)
    got = OnnxScorer(to_onnx(pipeline, 4, 3, 0)).score(strange).raw
    np.testing.assert_allclose(got.ravel(), expected, rtol=1e-9)
    assert expected.max() <= 1.05 * np.e * y.max() * (1 + 1e-9)
    assert expected.min() > 0
    read = read_estimator(skops.io.dumps(pipeline))
    np.testing.assert_array_equal(predict(read, strange, 0), expected)


def test_a_target_that_is_not_positive_is_shifted() -> None:
    """As on a day when something came back."""
    arrays = rows_of(300, 3, 0)
    y = np.nan_to_num(np.round(np.exp(arrays.numbers[:, 0].clip(-100, 100).astype(np.float64) / 50)) - 1)
    y[0] = -5.0
    pipeline = fit(build(Configuration("lightgbm", {"max_iter": 40, "target": "log"}), "regression", 0), arrays, y)
    answers = predict(pipeline, arrays, 0)
    assert np.isfinite(answers).all()
    assert np.mean((answers - y) ** 2) < np.var(y) / 4
    got = OnnxScorer(to_onnx(pipeline, 3, 0, 0)).score(arrays).raw.ravel()
    np.testing.assert_allclose(got, answers, rtol=1e-9, atol=1e-9)


def test_long_tails_are_worth_a_logarithm() -> None:
    """Symmetric values and negative ones are not."""
    generator = np.random.default_rng(0)
    assert worth_a_logarithm(np.exp(generator.normal(size=500)))
    assert worth_a_logarithm(generator.poisson(1.0, 500).astype(np.float64))
    assert not worth_a_logarithm(generator.normal(100.0, 1.0, 500))
    assert not worth_a_logarithm(np.exp(generator.normal(size=500)) - 1.0)
    assert not worth_a_logarithm(np.ones(500))


def test_effects_that_multiply_are_found(tmp_path: Path) -> None:
    """The logarithm wins where it should, its factor settled by validation."""
    frame = make_frame("regression", 600)
    frame["outcome"] = np.exp((frame["outcome"] - 1e6) / 2e4)
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    settings = write_settings(tmp_path, "regression", "rows.parquet", {})
    data = load(settings, problem_schema(settings, None), [])
    report = search(data, ("linear",), Limits(4, 0.0), 0, lambda *_: None)
    best = min((trial for trial in report.trials if trial.loss is not None), key=lambda trial: trial.loss or 0.0)
    assert best.configuration.params["target"] == "log"
    assert 1.0 < float(best.configuration.params["factor"]) <= 2.0
    plain = [t.loss for t in report.trials if t.configuration.params["target"] == "plain" and t.loss is not None]
    assert best.loss is not None
    assert best.loss < 0.8 * min(plain)
