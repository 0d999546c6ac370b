"""Metrics, their intervals, and two models on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, r2_score, roc_auc_score

from record.contract.losses import bout_losses
from retrain.evaluation.metrics import Interval, compare, evaluate, loss_scale, permutation_importance

GENERATOR = np.random.default_rng(0)
Y = (GENERATOR.random(3_000) < 0.3).astype(np.int64)
P = np.clip(0.3 + 0.2 * (Y - 0.3) + GENERATOR.normal(0, 0.1, 3_000), 0.01, 0.99).round(2)  # rounded: with ties
SCORES = np.column_stack([1 - P, P])


def test_metrics_are_scikit_learns() -> None:
    """The same definitions, ties in the ranking included."""
    metrics = evaluate(SCORES, Y, 2, 0).metrics
    assert metrics["auc"].value == pytest.approx(roc_auc_score(Y, P))
    assert metrics["log_loss"].value == pytest.approx(log_loss(Y, P))
    assert metrics["brier"].value == pytest.approx(brier_score_loss(Y, P))
    assert metrics["accuracy"].value == pytest.approx(((P > 0.5) == Y).mean())


def test_several_classes_share_one_area() -> None:
    """The mean of each class against the rest."""
    y = GENERATOR.integers(0, 3, 900)
    scores = GENERATOR.dirichlet([1, 1, 1], 900)
    metrics = evaluate(scores, y, 3, 0).metrics
    assert metrics["auc"].value == pytest.approx(roc_auc_score(y, scores, multi_class="ovr"))
    assert "auc" not in evaluate(scores[y < 2], y[y < 2], 3, 0).metrics


def test_a_regressions_metrics_keep_their_digits() -> None:
    """Also where the target is far from zero."""
    y = GENERATOR.normal(1e9, 10.0, 2_000)
    scores = y + GENERATOR.normal(0, 3.0, 2_000)
    metrics = evaluate(scores, y, 0, 0).metrics
    assert metrics["r2"].value == pytest.approx(r2_score(y, scores))
    assert metrics["mae"].value == pytest.approx(np.abs(scores - y).mean())
    assert metrics["rmse"].value == pytest.approx(np.sqrt(np.mean((scores - y) ** 2)))


def test_an_interval_is_as_wide_as_the_mean_is_uncertain() -> None:
    """Four standard errors, about; a sample of many rows gives no wider one."""
    losses = (P - Y) ** 2
    interval = evaluate(SCORES, Y, 2, 0).metrics["brier"]
    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low == pytest.approx(3.92 * losses.std() / np.sqrt(len(Y)), rel=0.2)
    many = evaluate(np.tile(SCORES, (8, 1)), np.tile(Y, 8), 2, 0).metrics["brier"]
    assert many.high - many.low == pytest.approx(3.92 * losses.std() / np.sqrt(8 * len(Y)), rel=0.2)


def test_scores_that_are_not_finite_have_no_metrics() -> None:
    """And say that they are not."""
    scored = evaluate(np.full((3, 2), np.nan), np.array([0, 1, 1]), 2, 0)
    assert not scored.finite
    assert scored.metrics == {}


def test_models_are_compared_row_by_row() -> None:
    """A small but steady difference shows, though each loss alone is noisy."""
    worse = np.column_stack([1 - P * 0.9, P * 0.9])
    compared = compare("v1", worse, SCORES, Y, "brier", 1.0)
    assert compared.difference is not None
    assert compared.difference.value == pytest.approx(compared.candidate_loss - compared.other_loss)
    swapped = compare("v1", SCORES, worse, Y, "brier", 1.0)
    assert swapped.difference is not None
    assert swapped.difference.value == pytest.approx(-compared.difference.value)
    assert compare("v1", worse[:20], SCORES[:20], Y[:20], "brier", 1.0).difference is None


def test_bouts_losses_lie_between_nothing_and_one() -> None:
    """As monitoring.quality.loss scales them."""
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    wrong = np.array([1, 0])
    for name in ("brier", "zero_one", "log"):
        assert bout_losses(name, certain, wrong, 1.0).tolist() == [1.0, 1.0]
        assert bout_losses(name, certain, 1 - wrong, 1.0).tolist() == pytest.approx([0.0, 0.0])
    assert bout_losses("absolute", np.array([0.0, 5.0]), np.array([1.0, 50.0]), 4.0).tolist() == [0.25, 1.0]


def test_the_clip_of_a_regression_is_three_median_errors() -> None:
    """And never nothing."""
    assert loss_scale(np.array([1.0, 2.0, 3.0]), np.zeros(3), 1.0) == 6.0
    assert loss_scale(np.zeros(3), np.zeros(3), 5.0) == pytest.approx(5e-6)


def test_the_feature_that_matters_comes_first() -> None:
    """By the rise of the loss when its values are mixed."""
    mixed = np.random.default_rng(1).permutation(len(Y))
    held = permutation_importance(
        lambda name: SCORES[mixed] if name == "useful" else SCORES, ["idle", "useful"], SCORES, Y, 2
    )
    assert list(held) == ["useful", "idle"]
    assert held["useful"].low > 0.02
    assert held["useful"].low < held["useful"].value < held["useful"].high
    assert held["idle"] == Interval(0.0, 0.0, 0.0)


def test_rows_of_one_day_count_as_a_day_in_the_interval_of_a_difference() -> None:
    """Two equal models on 2,000 rows of 20 days of weather: by rows one in five is refused, by days few are."""
    refused = {"days": 0, "rows": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        ours = 1.0 + np.repeat(rng.normal(0, 0.02, 20), 100) + rng.normal(0, 0.1, 2000)
        times = np.repeat(np.arange(20), 100) * 86_400_000_000
        for kind, known in (("days", times), ("rows", None)):
            found = compare("v1", ours, np.ones(2000), np.zeros(2000), "absolute", 10.0, times=known).difference
            assert found is not None
            refused[kind] += found.low > 0
    assert refused["days"] <= 0.04 * 300
    assert refused["rows"] >= 0.1 * 300
