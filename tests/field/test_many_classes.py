"""Three hundred classes keep budget, size and load time: rounds times classes are bounded, and costs estimated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.models.bounds import MOST_LEAVES, MOST_TREES, most_boosting_rounds, most_forest_leaves
from retrain.models.calibration import bare
from retrain.models.configuration import Configuration, Family
from retrain.models.light_boosting import LightBoosting
from retrain.models.pipeline import build, fit
from retrain.search import search
from retrain.timetable import Clocks, Timetable
from retrain.trials.cost import Workload
from retrain.trials.trial import Limits
from tests.retrain.problems import write_settings

CLASSES = 300


def crowded(folder: Path, classes: int = CLASSES, each: int = 5) -> Dataset:
    """A number that gives the class but for its neighbours, a number and a category of noise."""
    generator = np.random.default_rng(0)
    codes = generator.permutation(np.repeat(np.arange(classes), each))
    frame = pd.DataFrame(
        {
            "distance": codes + generator.normal(0.0, 0.2, len(codes)),
            "seats": generator.normal(size=len(codes)),
            "carrier": generator.choice(["AA", "UA"], len(codes)),
            "gate": "g1",
            "outcome": [f"c{code:03d}" for code in codes],
        }
    )
    frame.to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, "several", "rows.parquet", {"problem": {"time_column": None}})
    return load(settings, problem_schema(settings, None), [])


def trees_of(model: Any) -> tuple[int, int]:
    """Trees of the fitted boosting, and leaves of all of them together."""
    if isinstance(model, LightBoosting):
        blocks = model.text_.split("\nTree=")[1:]
        return len(blocks), sum(int(block.split("num_leaves=")[1].split("\n")[0]) for block in blocks)
    trees = [tree for iteration in model._predictors for tree in iteration]
    return len(trees), sum(tree.get_n_leaf_nodes() for tree in trees)


@pytest.mark.parametrize("family", ["lightgbm", "gradient_boosting"])
def test_boosting_of_many_classes_is_bounded(tmp_path: Path, family: Family) -> None:
    """However many rounds are asked for: rounds times classes are what is loaded, and what a row goes through."""
    data = crowded(tmp_path)
    params = {"max_iter": 800, "learning_rate": 0.3, "max_leaf_nodes": 128, "min_samples_leaf": 2, "min_count": 10}
    fitted = fit(build(Configuration(family, params), "classification", 0), data.arrays, data.target)
    trees, leaves = trees_of(bare(fitted.named_steps["model"]))
    assert trees <= MOST_TREES
    assert leaves <= MOST_LEAVES


@pytest.mark.parametrize("family", ["extra_trees", "random_forest"])
def test_a_forest_of_many_classes_is_bounded(tmp_path: Path, family: Family) -> None:
    """A leaf holds a value for each class."""
    data = crowded(tmp_path)
    fitted = fit(build(Configuration(family, {"min_samples_leaf": 1}), "classification", 0), data.arrays, data.target)
    forest = fitted.named_steps["model"]
    assert max(tree.get_n_leaves() for tree in forest.estimators_) <= most_forest_leaves(CLASSES)
    assert most_forest_leaves(0) == most_forest_leaves(2) == 2_000


@pytest.mark.parametrize("classes", [0, 2, 3, 7, 26, 100, 300, 2_000, 50_000])
@pytest.mark.parametrize("leaves", [4, 31, 128])
def test_rounds_times_classes_has_a_bound(classes: int, leaves: int) -> None:
    """And there is a round in any case; few classes have all the rounds that they had."""
    rounds = most_boosting_rounds(classes, leaves)
    assert rounds >= 1
    assert rounds == 1 or rounds * max(1, classes) <= 2 * MOST_TREES
    assert classes > 3 or rounds == 1_000


def test_a_search_keeps_its_time(tmp_path: Path) -> None:
    """Three hundred classes of five rows, four seconds, every family: trials end within them.

    The clock is this process's own processor time: a neighbour does not count.
    """
    data = crowded(tmp_path)
    clocks = Clocks(wall=time.process_time)
    timetable = Timetable(budget=5.0, clocks=clocks)
    began = time.process_time()
    report = search(
        data,
        ("lightgbm", "linear", "extra_trees", "gradient_boosting", "perceptron", "random_forest"),
        Limits(None, 4.0),
        0,
        lambda *_: None,
        timetable=timetable,
    )
    assert time.process_time() - began < 2 * 5.0  # a slower processor overshoots by a step
    finished = [trial for trial in report.trials if trial.loss is not None]
    assert finished
    assert report.best.loss is not None


def test_what_is_too_dear_is_not_begun(tmp_path: Path) -> None:
    """The cheapest is tried first where the time is short, and the others are left out by their cost, not by trying."""
    data = crowded(tmp_path)
    now = [0.0]
    timetable = Timetable(budget=0.5, clocks=Clocks(wall=lambda: now[0], processor=lambda: now[0]))
    report = search(
        data, ("lightgbm", "gradient_boosting", "extra_trees"), Limits(None, 0.4), 0, lambda *_: None,
        timetable=timetable,
    )  # fmt: skip
    assert report.trials[0].configuration.family == "extra_trees"
    dear = [trial for trial in report.trials if trial.configuration.family == "lightgbm"]
    assert dear
    assert all("not begun: it would take about" in str(trial.error) for trial in dear)


def test_costs_grow_with_what_costs() -> None:
    """More classes, rows, rounds and columns are never cheaper, for any family."""
    few = Workload((1_000,), 5, 2, 3, 40)
    more = (
        Workload((1_000,), 5, 2, 300, 40),
        Workload((9_000,), 5, 2, 3, 40),
        Workload((1_000, 1_000), 5, 2, 3, 40),
        Workload((1_000,), 50, 2, 3, 40),
    )
    for family in ("lightgbm", "gradient_boosting", "extra_trees", "random_forest", "linear", "perceptron"):
        configuration = Configuration(family, {"learning_rate": 0.1, "max_leaf_nodes": 8, "regularisation": 1.0})  # type: ignore[arg-type]
        for held in more:
            assert held.seconds(configuration) >= few.seconds(configuration) > 0
