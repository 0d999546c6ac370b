"""What a search may make of columns follows retrain.features, and the report says what was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from retrain.models.configuration import Configuration, Family, Member
from retrain.models.pipeline import build, fit
from retrain.search_space import ORDER, defaults, suggest
from retrain.trials.codings import STAGES, allowed, codings, described
from retrain.trials.validation import Validation
from service.errors import SettingsError
from tests.retrain.problems import write_settings
from tests.retrain.test_search import learnable


def test_each_stage_is_a_switch() -> None:
    """Without it, no family may choose what it makes; crosses are made of means, and go with them."""
    assert codings("lightgbm", STAGES) == (("ordered", "target", "crossed"), ("plain", "combined"))
    assert codings("linear", STAGES) == (("one_hot", "target", "crossed"), ("plain", "ramps"))
    assert codings("lightgbm", ()) == (("ordered",), ("plain",))
    assert codings("perceptron", ("crosses", "combinations")) == (("one_hot",), ("plain",))
    assert codings("linear", ("target_means", "ramps")) == (("one_hot", "target"), ("plain", "ramps"))
    assert allowed("linear", {"categories": "crossed", "numbers": "ramps", "min_count": 5}, ("target_means",)) == {
        "categories": "target",
        "numbers": "plain",
        "min_count": 5,
    }


@pytest.mark.parametrize("stages", [(), ("target_means",), STAGES])
def test_proposals_and_defaults_keep_to_the_stages(stages: tuple[str, ...]) -> None:
    """Of every family."""
    chosen = [stage for stage in STAGES if stage in stages]
    for family in ORDER:
        categories, numbers = codings(family, chosen)
        for values in defaults((family,), stages=chosen):
            made = suggest(optuna.trial.FixedTrial(values), (family,), "classification", stages=chosen)
            assert made.params["categories"] in categories
            assert made.params["numbers"] in numbers


@pytest.mark.parametrize("family", ["lightgbm", "linear"])
def test_a_plain_and_a_rich_coding_are_judged_apart(tmp_path: Path, family: Family) -> None:
    """What is kept of one trial's encoding is not taken for another's."""
    judge = Validation(learnable(tmp_path, "binary", 300), 0, 300)
    params = {"regularisation": 1.0} if family == "linear" else {"learning_rate": 0.1}
    categories, numbers = codings(family, STAGES)
    plain = Configuration(family, {**params, "categories": categories[0], "numbers": numbers[0]})
    rich = Configuration(family, {**params, "categories": categories[-1], "numbers": numbers[-1]})
    first = judge.judge(plain).loss
    assert judge.judge(rich).loss != first
    assert judge.judge(plain).loss == first


def test_what_was_made_is_said(tmp_path: Path) -> None:
    """By the columns' names; of an ensemble's members together, each thing once, also where it is calibrated."""
    data = learnable(tmp_path, "binary", 600)
    data.arrays.categories[:, 1] = [f"g{code}" for code in np.random.default_rng(0).integers(0, 60, 600)]
    linear = Configuration("linear", {"categories": "target", "numbers": "ramps"})
    forest = Configuration("random_forest", {"categories": "target", "n_estimators": 3})
    for params in ({}, {"temperature": 1.5}):
        both = Configuration("ensemble", params, (Member(linear, 0.5), Member(forest, 0.5)))
        fitted = fit(build(both, "classification", 0), data.arrays, data.target)
        assert described(fitted, data.schema.problem) == ["mean target of gate", "ramps of numbers"]
    plain = fit(build(Configuration("linear", {}), "classification", 0), data.arrays, data.target)
    assert described(plain, data.schema.problem) == []


def test_a_stage_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the key and the value."""
    with pytest.raises(SettingsError, match=r"retrain\.features"):
        write_settings(tmp_path, "binary", "rows.parquet", {"retrain": {"features": ["magic"]}})
