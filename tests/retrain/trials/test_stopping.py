"""Trials that are given up between two folds: surely hopeless ones, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrain.models.configuration import Configuration
from retrain.search import search
from retrain.trials.record import TrialRecord
from retrain.trials.stopping import hopeless
from retrain.trials.trial import Limits, TrialReport
from retrain.trials.validation import Validation
from tests.retrain.problems import Kind
from tests.retrain.test_search import ALL, choices, learnable, told

FAIR = Configuration("linear", {"regularisation": 1.0, "min_count": 10})
HOPELESS = Configuration("random_forest", {"max_features": 0.4, "min_samples_leaf": 300, "min_count": 10})


def test_chance_gives_up_hardly_any_trial_that_is_as_good() -> None:
    """And none that is behind by less than the margin; one that is far behind goes at once."""
    generator = np.random.default_rng(0)
    given_up = 0
    for _ in range(500):
        best = generator.exponential(0.4, 200)
        own, constant = generator.exponential(0.4, 200), np.full(200, 0.7)
        given_up += hopeless(own, best, constant)
        assert hopeless(best + 0.2 + generator.normal(0, 0.1, 200), best, constant)
        assert not hopeless(best + 0.01, best, np.full(200, best.mean() + 0.2))
    assert given_up <= 3


def test_few_rows_give_up_nobody_and_nonsense_goes() -> None:
    best = np.full(60, 0.1)
    assert not hopeless(best[:40] + 5, best[:40], best[:40] + 1)
    assert hopeless(np.where(np.arange(60) == 3, np.inf, best), best, best + 1)


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_a_hopeless_trial_costs_one_fold(tmp_path: Path, kind: Kind) -> None:
    """Its loss is near the one that it would have had; a fair one is judged to the end, as if alone."""
    judge = Validation(learnable(tmp_path, kind, 900), 0, 900)
    best = judge.judge(FAIR)
    whole, stopped = judge.judge(HOPELESS), judge.judge(HOPELESS, best=best.answers)
    assert (stopped.stopped, stopped.answers) == (1, None)
    assert stopped.loss == pytest.approx(whole.loss, rel=0.15)
    assert stopped.loss > best.loss
    again = judge.judge(FAIR, best=best.answers)
    assert (again.stopped, again.loss) == (None, best.loss)


@pytest.mark.parametrize("family", ["lightgbm", "gradient_boosting", "perceptron"])
def test_looking_after_each_fold_changes_no_rounds(tmp_path: Path, family: str) -> None:
    """What is answered after fewer rounds is asked for without forgetting the others."""
    params = {"learning_rate": 0.1, "max_leaf_nodes": 8, "min_samples_leaf": 20, "l2_regularization": 1.0,
              "max_features": 0.7, "subsample": 0.8, "min_count": 10}  # fmt: skip
    if family == "perceptron":
        params = {"units": 16, "layers": 1, "learning_rate_init": 0.01, "alpha": 0.001, "min_count": 10}
    if family == "gradient_boosting":
        params.pop("subsample")
    judge = Validation(learnable(tmp_path, "binary", 900), 0, 900)
    configuration = Configuration(family, params)  # type: ignore[arg-type]
    alone = judge.judge(configuration)
    assert alone.answers is not None
    beside = judge.judge(configuration, best=np.full_like(alone.answers, 0.5))
    assert (beside.configuration, beside.loss) == (alone.configuration, alone.loss)
    np.testing.assert_array_equal(beside.answers, alone.answers)


def test_processes_and_breaks_change_nothing_of_who_is_given_up(tmp_path: Path) -> None:
    """A trial is held against those some way before it, whichever have ended; what was given up is never the best."""
    data = learnable(tmp_path, "binary", 900)
    alone = search(data, ALL, Limits(16, 0.0), 3, told)
    together = search(data, ALL, Limits(16, 0.0), 3, told, processes=2)
    assert choices(alone) == choices(together)
    assert [t.stopped for t in alone.trials] == [t.stopped for t in together.trials]
    assert any(trial.stopped for trial in alone.trials)
    record = TrialRecord(tmp_path / "run", {})
    first = search(data, ALL, Limits(16, 0.0), 3, told, record=record)
    again = search(data, ALL, Limits(16, 0.0), 3, told, record=TrialRecord(tmp_path / "run", {}))
    assert choices(first) == choices(again) == choices(alone)
    assert replace(first.best, seconds=0.0) == replace(again.best, seconds=0.0)  # which are kept rounded


def test_a_stopped_trial_is_told_as_such() -> None:
    report = TrialReport(3, FAIR, 0.5, 1.0, stopped=2)
    assert TrialReport.from_json(report.to_json()) == report
