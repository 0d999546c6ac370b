"""What answers expect of themselves is right where the world stayed the same, and blind where it changed."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.cohort import Cohort, cohort_of
from monitoring.estimated_quality import fit_estimator
from monitoring.loss import Loss
from monitoring.measures import Metric, measure
from tests.monitoring.answers import NUMBER, THREE, flights, honest, row, two

BRIER = Loss("brier")


def near(estimated: Metric, observed: float) -> bool:
    """Within three standard errors; how often the band itself holds has a test of its own."""
    return abs(estimated.value - observed) <= 3 / 1.96 * (estimated.high - estimated.value)


def overconfident(rng: np.random.Generator, count: int, shift: float = 0.0) -> Cohort:
    """Chances that the answers exaggerate on both sides; `shift` moves the features."""
    score = rng.normal(shift, 1, count)
    chances = 1 / (1 + np.exp(-score))
    said = 1 / (1 + np.exp(-2.5 * score))
    return two(flights(chances, rng.random(count) < chances, said=said))


def test_right_probabilities_say_what_labels_will_say() -> None:
    rows, _, _ = honest(20_000, seed=6)
    cohort = two(rows)
    observed = measure(cohort, BRIER)
    estimated = fit_estimator(two([]), BRIER, {}, None).metrics(cohort)
    assert set(estimated) == {"loss", "log_loss", "brier", "accuracy", "auc", "precision", "recall", "f1"}
    for name, metric in estimated.items():
        assert near(metric, observed[name].value), name


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_exaggerated_probabilities_are_recalibrated_on_matured_rows(shift: float) -> None:
    """Also for requests whose features have moved."""
    rng = np.random.default_rng(7)
    estimator = fit_estimator(overconfident(rng, 3000), BRIER, {}, None)
    later = overconfident(rng, 5000, shift)
    assert estimator.recalibrated
    observed, estimated = measure(later, BRIER), estimator.metrics(later)
    naive = fit_estimator(two([]), BRIER, {}, None).metrics(later)
    assert estimated["brier"].low <= observed["brier"].value <= estimated["brier"].high
    assert not naive["brier"].low <= observed["brier"].value <= naive["brier"].high
    assert estimated["auc"].value == pytest.approx(observed["auc"].value, abs=0.02)


def test_right_probabilities_are_left_as_they_are() -> None:
    """A recalibration that explains nothing would only add noise: in few of 40 worlds it is taken."""
    taken = sum(fit_estimator(two(honest(1000, seed)[0]), BRIER, {}, None).recalibrated for seed in range(40))
    assert taken <= 14


def test_the_band_holds_what_is_observed_as_often_as_it_says() -> None:
    """200 windows of 400 rows: between 90 and 99 %."""
    large = two(honest(30_000, seed=8)[0])
    rng = np.random.default_rng(9)
    estimator = fit_estimator(two([]), BRIER, {}, None)
    held = dict.fromkeys(("brier", "accuracy", "auc", "recall", "f1"), 0)
    for _ in range(200):
        window = large.take(rng.integers(0, len(large), 400))
        observed, estimated = measure(window, BRIER), estimator.metrics(window)
        for name in held:
            held[name] += estimated[name].low <= observed[name].value <= estimated[name].high
    assert all(180 <= count <= 199 for count in held.values()), held


def test_until_there_are_labels_the_holdout_says_how_much_too_sure_the_answers_are() -> None:
    later = overconfident(np.random.default_rng(10), 2000)
    card = {"reference_loss": 0.25, "reference_estimate": 0.125}
    plain = fit_estimator(two([]), BRIER, {}, None).losses(later)
    assert fit_estimator(two([]), BRIER, card, None).losses(later) == pytest.approx(2 * plain)


def test_several_classes_are_estimated_too() -> None:
    rng = np.random.default_rng(11)
    shares = rng.dirichlet([1, 1, 1], 4000)
    labels = [int(rng.choice(3, p=p)) for p in shares]
    cohort = cohort_of(
        [
            row(int(p.argmax()), y, dict(zip(THREE.classes, p.tolist(), strict=True)))
            for p, y in zip(shares, labels, strict=True)
        ],
        THREE,
    )
    observed, estimated = measure(cohort, BRIER), fit_estimator(cohort, BRIER, {}, None).metrics(cohort)
    for name in ("loss", "log_loss", "accuracy"):
        assert near(estimated[name], observed[name].value), name


def numbers(rng: np.random.Generator, count: int, low: float, high: float) -> Cohort:
    """Answers whose errors grow with the feature."""
    values = rng.uniform(low, high, count)
    labels = 3 * values + rng.normal(0, 0.2 + values, count)
    rows = [
        row(3 * x, y, record={"x": x}, place=place)
        for place, (x, y) in enumerate(zip(values.tolist(), labels.tolist(), strict=True))
    ]
    return cohort_of(rows, NUMBER)


def test_a_regressions_errors_are_foretold_from_its_features() -> None:
    """Where the features move to where it errs more, so does what is expected."""
    rng = np.random.default_rng(12)
    loss = Loss("absolute", 6.0)
    estimator = fit_estimator(numbers(rng, 4000, 0, 3), loss, {}, None)
    later = numbers(rng, 2000, 2, 3)
    observed, estimated = measure(later, loss), estimator.metrics(later)
    assert estimated["mae"].value == pytest.approx(observed["mae"].value, rel=0.06)
    assert estimated["rmse"].value == pytest.approx(observed["rmse"].value, rel=0.08)
    assert near(estimated["loss"], observed["loss"].value)
    assert estimated["mae"].value > 1.3 * estimator.metrics(numbers(rng, 2000, 0, 3))["mae"].value


def test_without_matured_rows_a_regression_expects_what_its_card_promised() -> None:
    card = {"reference_loss": 0.2, "metrics": {"mae": {"value": 1.5}, "rmse": {"value": 2.0}}}
    estimator = fit_estimator(cohort_of([], NUMBER), Loss("absolute", 6.0), card, None)
    found = estimator.metrics(numbers(np.random.default_rng(13), 100, 0, 3))
    assert (found["loss"].value, found["mae"].value) == pytest.approx((0.2, 1.5))
    assert found["rmse"].value == pytest.approx(2.0)
    assert estimator.metrics(cohort_of([], NUMBER)) == {}
