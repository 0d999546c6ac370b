"""The ONNX graph says what the pipeline says, for every family, task and shape of input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from retrain.configuration import Configuration, Family
from retrain.graph import to_onnx
from retrain.pipeline import build, fit, predict
from service.champion import OnnxScorer
from service.schema import MISSING, Arrays, Task

FAMILIES: tuple[Family, ...] = ("linear", "random_forest", "gradient_boosting")
SMALL: dict[Family, dict[str, Any]] = {
    "linear": {"min_count": 3},
    "random_forest": {"n_estimators": 12, "min_count": 3},
    "gradient_boosting": {"max_iter": 15, "min_count": 3},
}


def rows_of(rows: int, numbers: int, categories: int, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    held = (generator.normal(size=(rows, numbers)) * 100).astype(np.float32)
    held[generator.random(held.shape) < 0.1] = np.nan
    texts: npt.NDArray[np.object_] = np.empty((rows, categories), dtype=object)
    for place in range(categories):
        codes = (generator.pareto(1.0, rows) * 2).astype(int)
        texts[:, place] = [MISSING if code == 1 else f"{'αβ'[place % 2]}{code}" for code in codes]
    return Arrays(held, texts)


def target_of(arrays: Arrays, classes: int, seed: int = 0) -> npt.NDArray[Any]:
    raw = np.nan_to_num(arrays.numbers).sum(axis=1) / 100 + (arrays.categories == "α0").sum(axis=1)
    raw = raw + np.random.default_rng(seed).normal(size=len(arrays)) * 0.3
    if classes == 0:
        return np.asarray(3e6 + 1e4 * raw, dtype=np.float64)
    return np.asarray(np.searchsorted(np.quantile(raw, np.linspace(0, 1, classes + 1)[1:-1]), raw))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize(("numbers", "categories"), [(4, 3), (4, 0), (0, 3), (1, 1)])
def test_the_graph_gives_the_pipelines_answers(family: Family, classes: int, numbers: int, categories: int) -> None:
    """To rounding, on rows with gaps, and on categories and numbers that training never saw."""
    arrays = rows_of(600, numbers, categories)
    task: Task = "classification" if classes else "regression"
    pipeline = fit(build(Configuration(family, SMALL[family]), task, 0), arrays, target_of(arrays, classes))
    strange = rows_of(300, numbers, categories, seed=1)
    strange.numbers[:5] *= 1e20
    strange.categories[5:10] = "never seen"
    strange.categories[10:12] = ""
    strange.numbers[12:14] = np.nan
    expected = predict(pipeline, strange, classes)
    got = OnnxScorer(to_onnx(pipeline, numbers, categories, classes)).score(strange).raw
    assert got.shape == expected.shape
    scale = 1.0 if classes else 1e4
    assert np.abs(got - expected).max() / scale < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_learned_nothing_is_packaged_too(family: Family) -> None:
    """Trees that never split, and categories that are all too rare."""
    arrays = rows_of(40, 1, 1)
    arrays.numbers[:] = 1.0
    arrays.categories[:, 0] = [f"only {row}" for row in range(40)]
    y = np.arange(40) % 2
    params = {"linear": {}, "random_forest": {"n_estimators": 3, "min_samples_leaf": 30}}.get(family, {"max_iter": 3})
    pipeline = fit(build(Configuration(family, params), "classification", 0), arrays, y)
    got = OnnxScorer(to_onnx(pipeline, 1, 1, 2)).score(arrays).raw
    assert np.abs(got - predict(pipeline, arrays, 2)).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_rows_and_seed_give_the_same_bytes(family: Family) -> None:
    """A version can be made again."""
    arrays = rows_of(300, 3, 2)
    y = target_of(arrays, 2)
    models = {
        to_onnx(fit(build(Configuration(family, SMALL[family]), "classification", 7), arrays, y), 3, 2, 2)
        for _ in range(2)
    }
    assert len(models) == 1


def test_the_graph_passes_the_checker_of_onnx() -> None:
    """Other runtimes can load it."""
    arrays = rows_of(300, 3, 2)
    for family in FAMILIES:
        pipeline = fit(build(Configuration(family, SMALL[family]), "classification", 0), arrays, target_of(arrays, 4))
        onnx.checker.check_model(onnx.load_from_string(to_onnx(pipeline, 3, 2, 4)), full_check=True)
