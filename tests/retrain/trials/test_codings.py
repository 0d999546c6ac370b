"""What a search may make of columns follows retrain.features, and the report says what was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from record.errors import SettingsError
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.models.configuration import Configuration, Family, Member
from retrain.models.pipeline import build, fit
from retrain.search import search
from retrain.search_space import ORDER, defaults, suggest
from retrain.trials.codings import STAGES, allowed, applicable, codings, described
from retrain.trials.trial import Limits
from retrain.trials.validation import Validation
from tests.retrain.problems import make_frame, write_settings
from tests.retrain.test_search import learnable, told


def test_each_stage_is_a_switch() -> None:
    """Without it, no family may choose what it makes; crosses are made of means, and go with them."""
    assert codings("lightgbm", STAGES) == (
        ("ordered", "target", "crossed"),
        ("plain", "combined"),
        ("parts", "cycles", "season"),
        ("whole", "words"),
    )
    assert codings("linear", STAGES) == (
        ("one_hot", "target", "crossed"),
        ("plain", "ramps"),
        ("parts", "cycles", "season"),
        ("whole", "words"),
    )
    assert codings("lightgbm", ()) == (("ordered",), ("plain",), ("parts",), ("whole",))
    assert codings("perceptron", ("crosses", "combinations")) == (("one_hot",), ("plain",), ("parts",), ("whole",))
    assert codings("linear", ("target_means", "ramps")) == (
        ("one_hot", "target"),
        ("plain", "ramps"),
        ("parts",),
        ("whole",),
    )
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
        categories, numbers, dates, texts = codings(family, chosen)
        for values in defaults((family,), stages=chosen):
            made = suggest(optuna.trial.FixedTrial(values), (family,), "classification", stages=chosen)
            assert made.params["categories"] in categories
            assert made.params["numbers"] in numbers
            assert made.params.get("dates", "parts") in dates
            assert made.params.get("texts", "whole") in texts


@pytest.mark.parametrize("family", ["lightgbm", "linear"])
def test_a_plain_and_a_rich_coding_are_judged_apart(tmp_path: Path, family: Family) -> None:
    """What is kept of one trial's encoding is not taken for another's."""
    judge = Validation(learnable(tmp_path, "binary", 300), 0, 300)
    params = {"regularisation": 1.0} if family == "linear" else {"learning_rate": 0.1}
    categories, numbers, *_ = codings(family, STAGES)
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


def test_what_is_made_of_times_is_said(tmp_path: Path) -> None:
    """By the columns' names; cycles where a model adds up."""
    data = dated(tmp_path, 900)
    linear = Configuration("linear", {"numbers": "plain", "dates": "cycles"})
    forest = Configuration("random_forest", {"dates": "cycles", "n_estimators": 3})
    both = Configuration("ensemble", {}, (Member(linear, 0.5), Member(forest, 0.5)))
    fitted = fit(build(both, "classification", 0), data.arrays, data.target)
    assert described(fitted, data.schema.problem) == ["time of year of at", "cycles of at"]


def test_times_are_seen_to_only_where_there_are_some(tmp_path: Path) -> None:
    """Elsewhere a search has nothing to choose; where there are some, it begins with what is made of them."""
    without = learnable(tmp_path, "binary", 300).arrays
    assert "dates" not in applicable(STAGES, without)
    data = dated(tmp_path, 300)
    assert "dates" in applicable(STAGES, data.arrays)
    report = search(data, ("linear", "lightgbm"), Limits(3, 0.0), 0, told)
    assert {trial.configuration.params["dates"] for trial in report.trials} == {"cycles", "season"}
    plain = Configuration("linear", {"regularisation": 3.0, "min_count": 5, "categories": "target", "numbers": "plain"})
    report = search(data, ("linear",), Limits(1, 0.0), 0, told, warm=[plain])
    assert report.trials[0].configuration.params == {**plain.params, "dates": "parts"}
    report = search(data, ("linear", "lightgbm"), Limits(3, 0.0), 0, told, stages=("ramps",))
    assert not any("dates" in trial.configuration.params for trial in report.trials)


def test_words_are_seen_to_only_where_there_are_texts(tmp_path: Path) -> None:
    """Half of what is tried first looks at words, and what is made of them is said."""
    data = learnable(tmp_path, "binary", 600)
    assert "words" not in applicable(STAGES, data.arrays)
    codes = np.random.default_rng(0).integers(0, 60, 600)
    data.arrays.categories[:, 1] = [f"gate {code} level {code % 4}" for code in codes]
    assert "words" in applicable(STAGES, data.arrays)
    report = search(data, ("linear", "lightgbm"), Limits(4, 0.0), 0, told)
    assert {trial.configuration.params["texts"] for trial in report.trials} == {"whole", "words"}
    fitted = fit(build(Configuration("linear", {"texts": "words"}), "classification", 0), data.arrays, data.target)
    assert described(fitted, data.schema.problem) == ["words of gate"]


def dated(folder: Path, rows: int) -> Dataset:
    """With the time of each row, on the hour, as a feature."""
    make_frame("binary", rows).to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, "binary", "rows.parquet", {"columns.at": {"type": "time"}})
    return load(settings, problem_schema(settings, None), [])


def test_a_stage_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the key and the value."""
    with pytest.raises(SettingsError, match=r"retrain\.features"):
        write_settings(tmp_path, "binary", "rows.parquet", {"retrain": {"features": ["magic"]}})
