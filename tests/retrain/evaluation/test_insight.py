"""What is told of a candidate beyond its metrics, against models whose behaviour is known."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from record.contract.arrays import Arrays
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.evaluation.curves import wilson
from retrain.evaluation.dependence import GRID, dependences
from retrain.evaluation.examination import examine
from retrain.evaluation.fairness import protected_groups
from retrain.evaluation.insight import LEAST_SECONDS, MOST_SECONDS, insight_seconds, look_into
from retrain.evaluation.learning_curve import learning_curve
from retrain.evaluation.metrics import Interval, Scored, evaluate
from retrain.evaluation.slices import holdout_slices
from retrain.models.configuration import Configuration, Member
from retrain.models.pipeline import build, fit, predict
from retrain.recipe import Recipe
from tests.retrain.problems import Kind, make_frame, write_settings

Floats = npt.NDArray[np.float64]


def rows_of(folder: Path, kind: Kind, rows: int = 1200) -> Dataset:
    """With a protected group, an age, and a time among the features."""
    generator = np.random.default_rng(4)
    frame = make_frame(kind, rows)
    frame["sex"] = generator.choice(["f", "m"], rows)
    frame["age"] = generator.integers(20, 70, rows).astype(np.float64)
    frame["booked"] = pd.to_datetime(frame["at"]) - pd.to_timedelta(generator.integers(0, 90, rows), unit="D")
    frame.to_parquet(folder / "rows.parquet", index=False)
    more = {
        "problem": {"protected": ["sex", "age"]},
        "columns.sex": {"type": "category", "role": "carried"},
        "columns.age": {"type": "number", "role": "carried"},
        "columns.booked": {"type": "time"},
    }
    settings = write_settings(folder, kind, "rows.parquet", more)
    return load(settings, problem_schema(settings, None), [])


# --- partial dependence


def test_dependence_is_the_models_own_shape(tmp_path: Path) -> None:
    """A line for a linear feature, each row's line parallel; the values of a category; nothing for what is unused."""
    rows = rows_of(tmp_path, "regression")

    def score(arrays: Arrays) -> Floats:
        distance = arrays.numbers[:, 0].astype(np.float64)
        return np.asarray(3 * distance + np.where(arrays.categories[:, 0] == "UA", 100.0, 0.0), dtype=np.float64)

    found = dependences(score, rows, ["distance", "carrier", "seats", "booked"], None, 0, lambda: False)
    distance, carrier, seats, booked = found
    assert [each.feature for each in found] == ["distance", "carrier", "seats", "booked"]
    assert len(distance.grid) <= GRID
    slopes = np.diff(distance.means[0]) / np.diff(np.array(distance.grid, dtype=np.float64))
    np.testing.assert_allclose(slopes, 3.0, rtol=1e-6)
    for line in distance.lines:
        np.testing.assert_allclose(np.diff(line), np.diff(distance.means[0]), rtol=1e-6)
    by_value = dict(zip(map(str, carrier.grid), carrier.means[0], strict=True))
    assert by_value["UA"] - by_value["AA"] == pytest.approx(100.0)
    assert len(set(np.round(seats.means[0], 6))) == len(set(np.round(booked.means[0], 6))) == 1
    assert (booked.kind, len(booked.grid) > 2) == ("time", True)
    assert "lines" not in distance.to_json()


def test_of_several_classes_each_has_a_line_and_they_sum_to_one(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "several")
    model = fit(build(Configuration("linear", {}), "classification", 0), rows.arrays, rows.target)
    (held,) = dependences(lambda arrays: predict(model, arrays, 3), rows, ["distance"], None, 0, lambda: False)
    assert sorted(held.outputs) == ["early", "late", "on_time"]
    np.testing.assert_allclose(np.sum(held.means, axis=0), 1.0, atol=1e-6)
    assert held.lines == []


def test_dependence_stops_when_it_is_late(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "regression")
    asked = count()
    found = dependences(
        lambda arrays: arrays.numbers[:, 0].astype(np.float64),
        rows,
        ["distance", "carrier", "seats"],
        None,
        0,
        lambda: next(asked) >= 1,
    )
    assert [each.feature for each in found] == ["distance"]


# --- slices


def test_the_slice_that_is_worse_is_found_and_none_in_noise(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "binary")
    noise = np.random.default_rng(1).random(len(rows))
    assert not any(each.real for each in holdout_slices(rows, noise))
    worse = rows.frame["carrier"].to_numpy() == "UA"
    found = holdout_slices(rows, np.clip(noise * 0.5 + 0.4 * worse, 0, 1))
    assert (found[0].name, found[0].real, found[0].rows) == ("carrier = UA", True, int(worse.sum()))
    assert found[0].low < 0.4 < found[0].high
    assert [each.name for each in found if each.real] == ["carrier = UA"]


# --- protected groups


def test_rates_of_groups_are_counted_as_they_are(tmp_path: Path) -> None:
    """Against counts by hand, with Wilson's interval, and the difference from the others."""
    rows = rows_of(tmp_path, "binary")
    generator = np.random.default_rng(2)
    women = rows.frame["sex"].to_numpy() == "f"
    said = np.where(women, 0.2, 0.0) + generator.random(len(rows)) * 0.8
    scores = np.column_stack([said, 1 - said])  # class 0, late, is watched
    groups = protected_groups(rows, scores, 0, said)
    assert sorted(group.name for group in groups if group.column == "sex") == ["sex = f", "sex = m"]
    assert len([group for group in groups if group.column == "age"]) == 5
    rates = next(group for group in groups if group.name == "sex = f").rates
    late, chosen = rows.target == 0, said >= 0.5
    assert rates["selection_rate"].value == pytest.approx(chosen[women].mean())
    assert rates["true_positive_rate"].value == pytest.approx(chosen[women & late].mean())
    assert rates["true_positive_rate"].rows == int((women & late).sum())
    assert rates["false_positive_rate"].value == pytest.approx(chosen[women & ~late].mean())
    assert rates["calibration"].value == pytest.approx((said - late)[women].mean())
    hits, total = int(chosen[women].sum()), int(women.sum())
    assert (rates["selection_rate"].low, rates["selection_rate"].high) == pytest.approx(wilson(hits, total))
    apart = rates["selection_rate"]
    assert apart.difference == pytest.approx(chosen[women].mean() - chosen[~women].mean())
    assert apart.difference_low is not None
    assert apart.difference_low > 0.1  # the two are treated differently, and that shows


def test_groups_of_other_tasks_have_measures_of_their_own(tmp_path: Path) -> None:
    several = rows_of(tmp_path, "several")
    scores = np.random.default_rng(0).dirichlet(np.ones(3), len(several))
    found = protected_groups(several, scores, None, np.zeros(len(several)))
    assert list(found[0].rates) == ["accuracy", "loss"]
    values = rows_of(tmp_path, "regression")
    found = protected_groups(values, values.target + 7.0, None, np.zeros(len(values)))
    assert found[0].rates["mean_error"].value == pytest.approx(7.0)
    assert found[0].rates["mean_absolute_error"].value == pytest.approx(7.0)


def test_small_groups_and_problems_without_protected_columns_have_none(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "binary", 200)
    scores = np.full((200, 2), 0.5)
    frame = rows.frame.assign(sex=["f"] * 190 + ["m"] * 10, age=np.nan)
    names = [group.name for group in protected_groups(replace(rows, frame=frame), scores, 0, np.zeros(200))]
    assert names == ["sex = f", "age missing"]


# --- learning curve


def ticking(step: float) -> object:
    ticks = count()
    return lambda: step * next(ticks)


def test_more_rows_help_and_the_last_point_is_the_candidate_itself(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "regression", 3000)
    learn, holdout = rows.rows(0, 2400), rows.rows(2400)

    def make(part: Dataset) -> object:
        return fit(build(Configuration("linear", {}), "regression", 0), part.arrays, part.target)

    whole = evaluate(predict(make(learn), holdout.arrays, 0), holdout.target, 0, 0)  # type: ignore[arg-type]
    found = learning_curve(make, learn, holdout, whole, 0, 1e9)  # type: ignore[arg-type]
    assert [point.rows for point in found.points] == [120, 240, 480, 960, 1680, 2400]
    assert found.metric == "rmse"
    assert found.skipped == 0
    assert found.points[-1].metric == whole.metrics["rmse"]
    assert found.points[0].metric.value > found.points[-1].metric.value


def test_sizes_that_would_take_too_long_are_left_out(tmp_path: Path) -> None:
    """Each look at the clock is a second: a size takes one, and ten times the rows would take ten."""
    rows = rows_of(tmp_path, "regression", 3000)
    learn, holdout = rows.rows(0, 2400), rows.rows(2400)
    fitted: list[int] = []

    def make(part: Dataset) -> object:
        fitted.append(len(part))
        return fit(build(Configuration("linear", {}), "regression", 0), part.arrays, part.target)

    whole = Scored(np.zeros(600), {"rmse": Interval(1.0, 0.9, 1.1)})
    found = learning_curve(make, learn, holdout, whole, 0, 8.0, ticking(1.0))  # type: ignore[arg-type]
    assert fitted == [120, 240]
    assert found.skipped == 3
    assert [point.rows for point in found.points] == [120, 240, 2400]
    none = learning_curve(make, learn, holdout, whole, 0, 0.0, ticking(1.0))  # type: ignore[arg-type]
    assert ([point.rows for point in none.points], none.skipped) == ([2400], 5)


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_an_ensemble_is_looked_into_like_any_other(tmp_path: Path, kind: Kind) -> None:
    """Every part is there, and JSON can say all of it."""
    rows = rows_of(tmp_path, kind)
    learn, holdout = rows.rows(0, 900), rows.rows(900)
    parts = [Configuration("linear", {}), Configuration("gradient_boosting", {"max_iter": 10})]
    recipe = Recipe(Configuration("ensemble", {}, tuple(Member(part, 0.5) for part in parts)), 0)
    fitted = recipe.make(learn)
    judged = examine(fitted, learn, holdout, None, "absolute" if kind == "regression" else "brier", 0)
    found = look_into(recipe.make, fitted, learn, holdout, judged, 0, 600.0)
    assert [point.rows for point in found.learning.points] == [180, 360, 630, 900]
    assert {"distance", "carrier"} <= {each.feature for each in found.dependences}
    assert (len(found.curves), found.residuals is None) == {
        "binary": (1, True),
        "several": (3, True),
        "regression": (0, False),
    }[kind]
    assert found.slices
    assert {group.column for group in found.groups} == {"sex", "age"}
    json.dumps(found.to_json(), allow_nan=False)


def test_the_time_it_may_take_follows_the_budget() -> None:
    assert [insight_seconds(budget) for budget in (10, 300, 36_000)] == [LEAST_SECONDS, 9.0, MOST_SECONDS]
