"""Matured rows count by how like they are to the rows that wait."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.likeness import LARGEST, effective_rows, likeness


def test_rows_that_cannot_be_told_apart_count_alike() -> None:
    """In nearly all of twenty worlds the weights are left at 1: noise in them would cost rows."""
    even = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        even += bool((likeness(rng.normal(size=(2000, 3)), rng.normal(size=(1000, 3))) == 1).all())
    assert even >= 17


def test_weights_move_the_matured_rows_to_where_the_others_wait() -> None:
    """Their mean goes most of the way; what did not move stays."""
    rng = np.random.default_rng(1)
    matured, waiting = rng.normal(size=(5000, 3)), rng.normal(size=(2000, 3))
    waiting[:, 0] += 0.8
    weights = likeness(matured, waiting)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() <= 2 * LARGEST
    moved = np.average(matured, axis=0, weights=weights)
    assert 0.55 <= moved[0] <= 0.95
    assert np.abs(moved[1:]).max() < 0.1


def test_few_rows_say_nothing_about_how_they_differ() -> None:
    matured = np.random.default_rng(2).normal(size=(1000, 1))
    for waiting in (np.empty((0, 1)), matured[:50] + 5):
        assert (likeness(matured, waiting) == 1).all()


def test_rows_that_have_nothing_in_common_leave_enough_rows_to_learn_from() -> None:
    rng = np.random.default_rng(3)
    weights = likeness(rng.normal(size=(1000, 2)), rng.normal(10, 1, size=(1000, 2)))
    assert np.isfinite(weights).all()
    assert effective_rows(weights) >= 200


def test_missing_values_are_values_too() -> None:
    rng = np.random.default_rng(4)
    matured, waiting = rng.normal(size=(2000, 2)), rng.normal(size=(1000, 2))
    matured[rng.random(2000) < 0.2, 0] = np.nan
    waiting[rng.random(1000) < 0.7, 0] = np.nan
    weights = likeness(matured, waiting)
    gone = np.isnan(matured[:, 0])
    assert weights[gone].mean() > 2 * weights[~gone].mean()
