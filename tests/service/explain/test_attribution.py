"""Shapley values held against truth: closed forms, brute force over every order, and their axioms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from record.contract.arrays import Arrays
from record.contract.columns import TIME_PARTS, Column
from record.contract.feature_places import FeaturePlaces, feature_places
from record.contract.schema import ProblemSchema
from service.explain.attribution import FEWEST_BACKGROUND_ROWS, Attribution, attribute, background_rows

Floats = npt.NDArray[np.float64]
Score = Callable[[Arrays], Floats]


def numbers_only(values: Floats) -> Arrays:
    return Arrays(values.astype(np.float32), np.empty((len(values), 0), dtype=object))


def plain_features(width: int) -> list[FeaturePlaces]:
    return [FeaturePlaces(f"x{place}", numbers=(place,)) for place in range(width)]


def brute_force(score: Score, row: Arrays, background: Arrays, width: int) -> Floats:
    """The definition, over every order of the features and every background row."""
    found = np.zeros(width)
    orders = list(permutations(range(width)))
    for order in orders:
        mixed = background.numbers.copy()
        before = score(numbers_only(mixed)).mean()
        for feature in order:
            mixed[:, feature] = row.numbers[0, feature]
            after = score(numbers_only(mixed)).mean()
            found[feature] += after - before
            before = after
    return found / len(orders)


def trees(width: int = 4) -> tuple[Score, Arrays]:
    """Boosted trees with interactions between four of the features, and 40 rows to hold against."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(400, width)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + np.where(x[:, 2] > 0, 2 * x[:, 3], -x[:, 0])
    model = GradientBoostingRegressor(n_estimators=40, max_depth=3, random_state=0).fit(x, y)
    return (lambda arrays: np.asarray(model.predict(arrays.numbers), dtype=np.float64)), numbers_only(x[:40])


@pytest.mark.parametrize("width", [1, 4, 15, 60])
def test_a_linear_models_values_are_known(width: int) -> None:
    """Slope times distance from the background's mean: to the digit, from every coalition and from walks alike."""
    generator = np.random.default_rng(width)
    slopes = generator.normal(size=width)
    background = numbers_only(generator.normal(size=(50, width)))
    row = numbers_only(generator.normal(size=(1, width)))
    found = attribute(
        lambda arrays: arrays.numbers.astype(np.float64) @ slopes, row, background, plain_features(width), seed=1
    )
    expected = slopes * (row.numbers[0].astype(np.float64) - background.numbers.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(list(found.contributions.values()), expected, atol=1e-12)
    assert found.exact == (width <= 4)
    assert found.complete
    assert found.background == 50


@pytest.mark.parametrize("place", range(5))
def test_trees_values_are_what_brute_force_says(place: int) -> None:
    score, background = trees()
    row = background.rows(place, place + 1)
    found = attribute(score, row, background, plain_features(4), seed=place)
    assert found.exact
    np.testing.assert_allclose(list(found.contributions.values()), brute_force(score, row, background, 4), atol=1e-12)


def test_walks_come_as_near_as_they_say() -> None:
    """Where not every coalition is asked: near the truth by the stated errors, and nearer with more rows."""
    score, background = trees(8)
    features, distances = plain_features(8), []
    rows = [background.rows(place, place + 1) for place in range(10)]
    truths = [_values(attribute(score, row, background, features, seed=0)) for row in rows]
    for asked in (640, 10_000):
        founds = [attribute(score, row, background, features, seed=n, asked=asked) for n, row in enumerate(rows)]
        assert not any(found.exact for found in founds)
        off = np.array([np.abs(_values(found) - truth) for found, truth in zip(founds, truths, strict=True)])
        errors = np.array([list(found.errors.values()) for found in founds])
        assert (off <= 3 * errors + 1e-9).mean() > 0.99
        distances.append(off.mean())
    assert distances[1] < 0.5 * distances[0]


def _values(found: Attribution) -> Floats:
    return np.array(list(found.contributions.values()))


def test_values_sum_to_prediction_minus_base_whatever_the_model() -> None:
    """Also for a model of noise, missing values, texts and times (several inputs); an unused feature has exactly 0."""
    columns = (
        *(Column(f"n{place}", "feature", "number") for place in range(6)),
        Column("at", "feature", "time"),
        *(Column(f"c{place}", "feature", "category") for place in range(5)),
        Column("note", "carried", "text"),
    )
    features = feature_places(ProblemSchema("regression", "y", columns))
    assert [feature.name for feature in features] == [column.name for column in columns[:-1]]
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(31, 6 + len(TIME_PARTS))).astype(np.float32)
    numbers[generator.random(numbers.shape) < 0.3] = np.nan
    categories = generator.choice(np.array(["a", "b", "__missing__"], dtype=object), (31, 5))
    every = Arrays(numbers, categories)

    def score(arrays: Arrays) -> Floats:
        held = np.nan_to_num(arrays.numbers, nan=3.0).astype(np.float64)
        held = held[:, 1:]  # n0 is not looked at
        texts = (arrays.categories == "a").sum(axis=1) * (arrays.categories[:, 0] != "b")
        return np.asarray(np.sin(held.sum(axis=1) * 5) + held[:, 0] * texts, dtype=np.float64)

    row, background = every.rows(0, 1), every.rows(1)
    found = attribute(score, row, background, features, seed=7)
    assert not found.exact
    assert sum(found.contributions.values()) == pytest.approx(found.prediction - found.base, abs=1e-12)
    assert found.prediction == pytest.approx(float(score(row)[0]), abs=1e-12)
    assert found.base == pytest.approx(float(score(background).mean()), abs=1e-12)
    assert found.contributions["n0"] == 0.0
    assert found.errors["n0"] == 0.0
    assert sum(name == "at" for name in found.contributions) == 1


def test_the_same_seed_gives_the_same_values_and_another_one_nearly() -> None:
    score, background = trees()
    row = background.rows(0, 1)
    first, again, other = (
        attribute(score, row, background, plain_features(4), seed=seed, asked=600) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.contributions != other.contributions
    np.testing.assert_allclose(list(first.contributions.values()), list(other.contributions.values()), atol=0.3)


def test_a_deadline_cuts_it_short_and_the_sum_still_holds() -> None:
    """After the first background row at least; the cut shows."""
    generator = np.random.default_rng(5)
    slopes = generator.normal(size=30)
    background = numbers_only(generator.normal(size=(100, 30)))
    row = numbers_only(generator.normal(size=(1, 30)))

    def score(arrays: Arrays) -> Floats:
        return np.asarray(np.tanh(arrays.numbers @ slopes), dtype=np.float64)

    cut = attribute(score, row, background, plain_features(30), seed=0, late=lambda: True)
    assert not cut.complete
    assert 1 <= cut.background < 100
    assert sum(cut.contributions.values()) == pytest.approx(cut.prediction - cut.base, abs=1e-12)


def test_very_many_features_have_a_smaller_background() -> None:
    assert [background_rows(width) for width in (1, 10, 200)] == [100, 100, 100]
    assert background_rows(1000) == background_rows(100_000) == FEWEST_BACKGROUND_ROWS
