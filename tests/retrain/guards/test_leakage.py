"""Columns that know the target: certain ones stop a run, strong ones do not, and honest ones say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from record.contract.columns import time_parts
from retrain.data.variable import Variable
from retrain.guards.leakage import find_leaks
from retrain.guards.relation import indicators, strength
from tests.retrain.rows import HOUR, make_rows

ROWS, HELD = 1_000, 200
RNG = np.random.default_rng(3)
TWO = RNG.integers(0, 2, ROWS)
THREE = RNG.integers(0, 3, ROWS)
AMOUNT = RNG.normal(100.0, 15.0, ROWS)


def found(
    target: Any,
    numbers: Mapping[str, Any],
    classes: tuple[str, ...] = (),
    logged: int = 0,
    times: Mapping[str, Any] | None = None,
) -> list[tuple[str | None, str]]:
    data = make_rows(target, numbers, times=times, classes=classes, logged=logged)
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


@pytest.mark.parametrize(("noise", "least", "most", "told"), [(3.0, 0.94, 0.965, []), (2.0, 0.97, 0.99, ["warning"])])
def test_a_strong_column_is_told_from_what_no_honest_one_explains(
    noise: float, least: float, most: float, told: list[str]
) -> None:
    column = AMOUNT + np.random.default_rng(6).normal(0.0, noise, ROWS)
    older = slice(0, ROWS - HELD)
    share = strength(Variable("x", "x", column[older]), indicators(make_rows(AMOUNT))[older])
    assert least < share < most
    assert [severity for _, severity in found(AMOUNT, {"x": column})] == told


def moments(minutes_late: Any) -> Any:
    """The parts of each row's own time, and so many minutes."""
    own = make_rows(AMOUNT).times
    return [time_parts(int(micros)) for micros in own + np.asarray(minutes_late) * HOUR // 60]


@pytest.mark.parametrize("minutes", [-60, 0, 10])
def test_a_date_that_is_the_row_s_own_time_is_not_later_than_it(minutes: int) -> None:
    """Up to what the days of our time are held to."""
    assert found(AMOUNT, {}, times={"closed": moments(minutes)}) == []


def test_a_later_date_is_told_where_no_log_shows_whether_requests_bring_it() -> None:
    assert found(AMOUNT, {}, times={"closed": moments(60)}) == [("closed", "warning")]
    assert found(AMOUNT, {}, times={"closed": moments(60)}, logged=400) == []


def test_a_date_that_leaks_in_several_parts_is_told_once() -> None:
    """Of two moments, one for each class, month, day, weekday and hour are copies of the target."""
    two = [1_678_078_800_000_000, 1_681_232_400_000_000]  # a Monday in March at 5:00, a Tuesday in April at 17:00
    closed = [time_parts(two[yes]) for yes in TWO]
    assert found(TWO, {}, ("no", "yes"), times={"closed": closed}) == [("closed", "error")]
