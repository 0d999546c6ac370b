"""Curves against scikit-learn's numbers, intervals against published ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from retrain.evaluation.curves import MOST_POINTS, class_curves, confusion, residuals, wilson

GENERATOR = np.random.default_rng(0)


def test_areas_are_scikit_learns_with_ties_too() -> None:
    y = GENERATOR.integers(0, 2, 3000)
    said = np.clip(0.3 * y + GENERATOR.random(3000) * 0.7, 0, 1).round(2)  # many rows share a score
    (held,) = class_curves(np.column_stack([1 - said, said]), y, ("no", "yes"), 1)
    assert held.name == "yes"
    assert held.auc == pytest.approx(roc_auc_score(y, said))
    assert held.average_precision == pytest.approx(average_precision_score(y, said))
    assert held.share == pytest.approx(y.mean())
    assert held.roc[0] == (0.0, 0.0)
    assert held.roc[-1] == (1.0, 1.0)
    assert len(held.roc) <= MOST_POINTS + 1
    assert held.precision[-1] == pytest.approx((1.0, y.mean()), abs=1e-5)


def test_probabilities_that_hold_are_calibrated_and_others_are_not() -> None:
    truth = GENERATOR.random(20_000)
    y = (GENERATOR.random(20_000) < truth).astype(int)
    (good,) = class_curves(np.column_stack([1 - truth, truth]), y, ("no", "yes"), 1)
    bold = np.where(truth > 0.5, 0.95, 0.05) + 0.001 * truth
    (bad,) = class_curves(np.column_stack([1 - bold, bold]), y, ("no", "yes"), 1)
    assert good.error < 0.02
    assert bad.error > 0.15
    within = [each.low <= each.said <= each.high for each in good.calibration]
    assert sum(within) >= 8
    assert [each.rows for each in good.calibration] == [2000] * 10


def test_of_several_classes_each_has_its_curve_and_absent_ones_none() -> None:
    y = GENERATOR.choice([0, 1, 3], 900, p=[0.2, 0.5, 0.3])
    scores = GENERATOR.dirichlet(np.ones(4), 900)
    found = class_curves(scores, y, ("a", "b", "c", "d"), 0)
    assert [held.name for held in found] == ["b", "d", "a"]  # the most frequent first
    assert found[0].auc == pytest.approx(roc_auc_score(y == 1, scores[:, 1]))
    assert (
        confusion(scores.argmax(axis=1), y, 4) == confusion_matrix(y, scores.argmax(axis=1), labels=range(4)).tolist()
    )
    assert class_curves(scores, np.full(900, 2), ("a", "b", "c", "d"), 0) == []


def test_residuals_say_where_and_how_far_off() -> None:
    """A model that says too much for large values: the bins show it, the mean alone does not."""
    y = GENERATOR.normal(0.0, 10.0, 6000)
    said = 1.5 * y + GENERATOR.normal(0.0, 1.0, 6000)
    held = residuals(said, y)
    assert held.mean == pytest.approx(float((said - y).mean()))
    assert held.quantiles["50"] == pytest.approx(float(np.median(said - y)))
    assert held.by_prediction[0]["middle"] < -5 < 5 < held.by_prediction[-1]["middle"]
    assert sum(each["rows"] for each in held.by_prediction) == 6000
    assert sum(held.histogram["counts"]) == 6000
    assert len(held.histogram["edges"]) == len(held.histogram["counts"]) + 1


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"), [(0, 10, 0.0, 0.2775), (15, 148, 0.0624, 0.1605), (10, 10, 0.7225, 1.0)]
)
def test_shares_have_wilsons_interval(hits: int, rows: int, low: float, high: float) -> None:
    """Newcombe (1998), table I, for 15 of 148; the closed form at the ends."""
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5e-4)
    assert wilson(0, 0) == (0.0, 1.0)
