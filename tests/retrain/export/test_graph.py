"""The ONNX graph says what the pipeline says, for every family, task and shape of input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from record.contract.arrays import Arrays
from record.contract.columns import MISSING
from record.contract.schema import Task
from record.versions.model import OnnxScorer
from retrain.export.graph import to_onnx
from retrain.models.configuration import FAMILIES, Configuration, Family
from retrain.models.pipeline import build, fit, predict

CODINGS = [
    {"categories": "ordered", "numbers": "combined"},
    {"categories": "target", "numbers": "plain"},
    {"categories": "crossed", "numbers": "combined"},
]
LINEAR_ALL = {"categories": "crossed", "numbers": "ramps"}
SMALL: dict[Family, dict[str, Any]] = {
    "linear": {"min_count": 3},
    "random_forest": {"n_estimators": 12, "min_count": 3},
    "extra_trees": {"n_estimators": 12, "min_count": 3},
    "gradient_boosting": {"max_iter": 15, "min_count": 3},
    "lightgbm": {"max_iter": 15, "min_count": 3},
    "perceptron": {"max_iter": 3, "units": 8, "layers": 2, "min_count": 3},
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


@pytest.mark.parametrize("family", ["extra_trees", "gradient_boosting", "lightgbm"])
@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(("numbers", "categories"), [(4, 3), (4, 0), (0, 3), (1, 1)])
def test_what_is_made_of_columns_is_in_the_graph(
    family: Family, classes: int, coding: dict[str, Any], numbers: int, categories: int
) -> None:
    """Means, counts, pairs, sums and ratios are the same to the last bit: trees answer by steps of them."""
    arrays = many_sided(900, numbers, categories)
    task: Task = "classification" if classes else "regression"
    configuration = Configuration(family, SMALL[family] | coding)
    pipeline = fit(build(configuration, task, 0), arrays, crossed_target(arrays, classes))
    encoder = pipeline.named_steps["encode"]
    assert (encoder.crosses_ is not None and len(encoder.crosses_.pairs_) > 0) == (
        coding["categories"] == "crossed" and categories > 1
    )
    assert (encoder.combinations_ is not None and encoder.combinations_.count > 0) == (
        coding["numbers"] == "combined" and numbers > 1
    )
    strange = many_sided(300, numbers, categories, seed=1)
    strange.numbers[:5] *= np.float32(1e30)
    strange.numbers[5:9] *= np.float32(1e-40)
    strange.numbers[9:12] = 0.0
    strange.categories[5:10] = "never seen"
    strange.categories[10:12] = ""
    strange.numbers[12:14] = np.nan
    expected = predict(pipeline, strange, classes)
    got = OnnxScorer(to_onnx(pipeline, numbers, categories, classes)).score(strange).raw
    scale = 1.0 if classes else 1e4
    assert np.abs(got.reshape(expected.shape) - expected).max() / scale < 1e-9


def many_sided(rows: int, numbers: int, categories: int, seed: int = 0) -> Arrays:
    """Columns with more than thirty categories and some with few, and numbers near each other."""
    held = rows_of(rows, numbers, categories, seed)
    generator = np.random.default_rng(seed + 10)
    for place in range(categories):
        many = 60 if place % 2 == 0 else 8
        held.categories[:, place] = [f"{'αβ'[place % 2]}{code}" for code in generator.integers(0, many, rows)]
    return held


def crossed_target(arrays: Arrays, classes: int) -> npt.NDArray[Any]:
    """What the first two columns of a kind say together, and neither alone."""
    raw = np.random.default_rng(3).normal(size=len(arrays)) * 0.1
    if arrays.numbers.shape[1] > 1:
        raw = raw + 2.0 * np.tanh(np.nan_to_num(arrays.numbers[:, 0] / arrays.numbers[:, 1]))
    if arrays.categories.shape[1] > 1:
        code = np.array([[int(text[1:]) for text in row[:2]] for row in arrays.categories.tolist()])
        raw = raw + 1.0 * ((code[:, 0] + code[:, 1]) % 2)
    if classes == 0:
        return np.asarray(3e6 + 1e4 * raw, dtype=np.float64)
    return np.asarray(np.searchsorted(np.quantile(raw, np.linspace(0, 1, classes + 1)[1:-1]), raw))


@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize("coding", [{"numbers": "ramps"}, {"categories": "target"}, LINEAR_ALL])
@pytest.mark.parametrize(("numbers", "categories"), [(4, 3), (4, 0), (0, 3), (1, 1)])
def test_what_lines_are_made_of_is_in_the_graph(
    classes: int, coding: dict[str, Any], numbers: int, categories: int
) -> None:
    """Ramps, marks, log odds of means, pairs and one-hot columns add up to the same score, to rounding."""
    arrays = many_sided(900, numbers, categories)
    task: Task = "classification" if classes else "regression"
    configuration = Configuration("linear", SMALL["linear"] | coding)
    pipeline = fit(build(configuration, task, 0), arrays, crossed_target(arrays, classes))
    strange = many_sided(300, numbers, categories, seed=1)
    strange.numbers[:5] *= np.float32(1e30)
    strange.categories[5:10] = "never seen"
    strange.numbers[12:14] = np.nan
    expected = predict(pipeline, strange, classes)
    got = OnnxScorer(to_onnx(pipeline, numbers, categories, classes)).score(strange).raw
    scale = 1.0 if classes else 1e4
    assert np.abs(got.reshape(expected.shape) - expected).max() / scale < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_learned_nothing_is_packaged_too(family: Family) -> None:
    """Trees that never split, and categories that are all too rare."""
    arrays = rows_of(40, 1, 1)
    arrays.numbers[:] = 1.0
    arrays.categories[:, 0] = [f"only {row}" for row in range(40)]
    y = np.arange(40) % 2
    forest = {"n_estimators": 3, "min_samples_leaf": 30}
    params = {"linear": {}, "random_forest": forest, "extra_trees": forest}.get(family, {"max_iter": 3})
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


@given(
    family=st.sampled_from(FAMILIES),
    classes=st.sampled_from([0, 2, 3]),
    rows=st.integers(30, 120),
    numbers=st.integers(0, 4),
    categories=st.integers(0, 3),
    gaps=st.floats(0.0, 0.9),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60)
def test_whatever_is_learned_the_graph_says_the_same(
    family: Family, classes: int, rows: int, numbers: int, categories: int, gaps: float, seed: int
) -> None:
    """On gaps where training had none, on none where it had, at thresholds, and far beyond what was seen."""
    assume(numbers + categories > 0)
    generator = np.random.default_rng(seed)
    arrays = rows_of(rows, numbers, categories, seed)
    arrays.numbers[generator.random(arrays.numbers.shape) < gaps] = np.nan
    if numbers:
        arrays.numbers[:, 0] = np.nan_to_num(arrays.numbers[:, 0]).round(-1)
    y = target_of(arrays, classes, seed)
    assume(classes == 0 or len(np.unique(y)) == classes)
    task: Task = "classification" if classes else "regression"
    pipeline = fit(build(Configuration(family, SMALL[family]), task, seed), arrays, y)
    strange = rows_of(100, numbers, categories, seed + 1)
    strange.numbers[:20] = strange.numbers[:20].round(-1)
    strange.numbers[20:30] *= 1e25
    strange.numbers[30:40] = np.nan
    strange.categories[40:50] = "never seen"
    expected = predict(pipeline, strange, classes)
    got = OnnxScorer(to_onnx(pipeline, numbers, categories, classes)).score(strange).raw
    assert np.abs(got.reshape(expected.shape) - expected).max() / (1.0 if classes else 1e4) < 1e-9


@pytest.mark.parametrize("family", ["random_forest", "extra_trees"])
def test_a_forest_is_never_certain(family: Family) -> None:
    """Ten trees that agree say 21 in 22, in the graph as in the pipeline."""
    arrays = rows_of(300, 1, 0)
    arrays.numbers[:] = np.arange(300, dtype=np.float32)[:, None]
    y = (np.arange(300) >= 150).astype(np.int64)
    pipeline = fit(
        build(Configuration(family, {"n_estimators": 10, "min_samples_leaf": 1}), "classification", 0), arrays, y
    )
    got = OnnxScorer(to_onnx(pipeline, 1, 0, 2)).score(arrays).raw
    assert got[0] == pytest.approx([21 / 22, 1 / 22])
    assert got[-1] == pytest.approx([1 / 22, 21 / 22])
    np.testing.assert_allclose(got, predict(pipeline, arrays, 2), rtol=1e-12)
