"""Temperatures: learned where probabilities are too sure, left out where they are right, exact in ONNX."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skops.io

from record.contract.losses import log_losses
from record.versions.model import OnnxScorer
from retrain.export.graph import to_onnx
from retrain.models.calibration import calibrate, tempered
from retrain.models.configuration import Configuration, Member
from retrain.models.continuation import cannot_continue
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from retrain.thinning import thinned
from tests.retrain.export.test_graph import rows_of, target_of
from tests.retrain.models.test_ensemble import BOOSTING, FOREST, LINEAR
from tests.retrain.test_search import learnable

HOT = {"temperature": 1.7}
SINGLE = Configuration("gradient_boosting", {"max_iter": 15, "min_count": 3, **HOT})
TOGETHER = Configuration("ensemble", HOT, (Member(LINEAR, 0.25), Member(BOOSTING, 0.5), Member(FOREST, 0.25)))


LEANING = replace(SINGLE, params={**SINGLE.params, "bias": -0.8})


def answers_of(rows: int, classes: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Right probabilities, and classes drawn by them."""
    generator = np.random.default_rng(seed)
    right = tempered(generator.dirichlet(np.ones(classes), rows), 1.0)
    drawn = (right.cumsum(axis=1) < generator.random(rows)[:, None]).sum(axis=1)
    return right, np.minimum(drawn, classes - 1)


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_that_are_too_sure_are_softened(classes: int) -> None:
    """Back to where they were right, and by what they gain elsewhere."""
    right, y = answers_of(4_000, classes, 0)
    sure = tempered(right, 0.5)
    found = calibrate(sure, y)
    assert found.pays
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    better = log_losses(tempered(sure, found.temperature), y).mean()
    assert found.gain == pytest.approx(log_losses(sure, y).mean() - better, abs=0.02)


def test_probabilities_that_lean_to_one_side_are_moved() -> None:
    """As those of a model that was told that rare rows count ten times; no temperature mends that."""
    right, y = answers_of(4_000, 2, 0)
    leaning = tempered(right, 1.0, math.log(10))
    found = calibrate(leaning, y)
    assert found.pays
    assert found.bias == pytest.approx(-math.log(10), abs=0.15)
    assert found.temperature == pytest.approx(1.0, rel=0.1)
    better = log_losses(tempered(leaning, found.temperature, found.bias), y).mean()
    assert better == pytest.approx(log_losses(right, y).mean(), abs=0.002)
    assert found.params == {"temperature": found.temperature, "bias": found.bias}


def test_a_bias_is_left_out_where_a_temperature_is_enough() -> None:
    """In most cases: the second number is worth its noise only by chance."""
    found = []
    for seed in range(20):
        right, y = answers_of(2_000, 2, seed)
        found.append(calibrate(tempered(right, 0.5), y))
    assert sum(each.bias != 0 for each in found) <= 6
    assert all(each.pays for each in found)


def test_right_probabilities_stay() -> None:
    """Chance alone passes one in six times."""
    kept = [calibrate(*answers_of(500, 2, seed)).pays for seed in range(40)]
    assert sum(kept) < 16


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("configuration", [SINGLE, TOGETHER, LEANING])
def test_the_graph_is_calibrated_too(configuration: Configuration, classes: int) -> None:
    """To rounding; and what is read from a file answers the same."""
    if configuration is LEANING and classes > 2:
        return  # a bias is of two classes
    arrays = rows_of(600, 4, 3)
    pipeline = fit(build(configuration, "classification", 0), arrays, target_of(arrays, classes))
    strange = rows_of(300, 4, 3, seed=1)
    strange.numbers[:5] *= 1e20
    strange.numbers[5:10] = np.nan
    expected = predict(pipeline, strange, classes)
    assert all("temperature" not in part.params for part in configuration.parts)
    np.testing.assert_allclose(expected.sum(axis=1), 1.0)
    got = OnnxScorer(to_onnx(pipeline, 4, 3, classes)).score(strange).raw
    assert np.abs(got - expected).max() < 1e-9
    read = read_estimator(skops.io.dumps(pipeline))
    np.testing.assert_array_equal(predict(read, strange, classes), expected)


def test_a_calibrated_champion_can_go_on() -> None:
    """What goes on is the model itself."""
    arrays = rows_of(600, 4, 3)
    pipeline = fit(build(SINGLE, "classification", 0), arrays, target_of(arrays, 2))
    assert cannot_continue(pipeline, 600, 400, True) is None


def test_a_thinner_ensemble_stays_calibrated(tmp_path: Path) -> None:
    """Down to one alone."""
    data = learnable(tmp_path, "binary", 300)
    pipeline = fit(build(TOGETHER, "classification", 0), data.arrays, data.target)
    configuration, left = thinned(TOGETHER, pipeline, data, 1e-9)
    assert configuration == Configuration("gradient_boosting", {**BOOSTING.params, **HOT})
    alone = fit(build(configuration, "classification", 0), data.arrays, data.target)
    np.testing.assert_array_equal(predict(left, data.arrays, 2), predict(alone, data.arrays, 2))
