"""Columns that know the target: certain ones stop a run, strong ones do not, and honest ones say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from retrain.guards.leakage import find_leaks
from tests.retrain.rows import make_rows

ROWS, HELD = 1_000, 200
RNG = np.random.default_rng(3)
TWO = RNG.integers(0, 2, ROWS)
THREE = RNG.integers(0, 3, ROWS)
AMOUNT = RNG.normal(100.0, 15.0, ROWS)


def found(
    target: Any, numbers: Mapping[str, Any], classes: tuple[str, ...] = (), logged: int = 0
) -> list[tuple[str | None, str]]:
    data = make_rows(target, numbers, classes=classes, logged=logged)
    return [(finding.column, finding.severity) for finding in find_leaks(data, HELD)]


def with_holes(values: Any, share: float) -> Any:
    holed = np.array(values, dtype=np.float64)
    holed[np.random.default_rng(9).random(len(holed)) < share] = np.nan
    return holed


def test_the_order_of_the_target_turned_round_is_a_copy_of_it() -> None:
    assert found(AMOUNT, {"x": -AMOUNT}) == [("x", "error")]
    assert found(AMOUNT, {"x": 3.7 * AMOUNT}) == [("x", "error")]


@pytest.mark.parametrize("share", [0.005, 0.02])
def test_a_strong_column_with_holes_is_no_copy(share: float) -> None:
    """A copy has a value for every target: a run does not stop for one that has not."""
    assert ("x", "error") not in found(AMOUNT, {"x": with_holes(-AMOUNT, share)})
    assert ("x", "error") not in found(TWO, {"x": with_holes(TWO, share)}, ("no", "yes"))


def test_a_value_that_stands_for_two_classes_is_no_copy() -> None:
    """Each value goes with one target, but not each target with one value."""
    rare = np.where(np.arange(ROWS) % 200 == 0, 2, TWO)  # the third class is rare, so that the column is strong
    assert found(rare, {"x": np.minimum(rare, 1)}, ("a", "b", "c")) == [("x", "warning")]
    assert found(THREE, {"x": 7.0 * THREE}, ("a", "b", "c")) == [("x", "error")]


@pytest.mark.parametrize(("others", "told"), [(19, []), (20, [("x", "error")])])
def test_of_a_rare_class_s_few_rows_nothing_is_said(others: int, told: list[tuple[str, str]]) -> None:
    """A rare value meets a rare class by chance."""
    target = np.zeros(ROWS, np.int64)
    target[np.linspace(0, ROWS - 1, others).astype(int)] = 1
    assert found(target, {"x": target}, ("no", "yes")) == told


@pytest.mark.parametrize(("share", "told"), [(0.6, []), (1.0, [("x", "warning")])])
def test_only_what_the_log_never_carries_is_absent(share: float, told: list[tuple[str, str]]) -> None:
    """Half missing there is a client's failure; missing on both sides is nobody's."""
    noise, logged = RNG.normal(size=ROWS), np.arange(ROWS) >= 600
    target = np.random.default_rng(4).integers(0, 2, ROWS)
    holed = np.where(logged & (np.random.default_rng(5).random(ROWS) < share), np.nan, noise)
    assert found(target, {"x": holed}, ("no", "yes"), logged=400) == told
    assert found(target, {"x": with_holes(holed, 0.8)}, ("no", "yes"), logged=400) == []
