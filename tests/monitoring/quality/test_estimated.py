"""What answers expect of themselves is right where the world stayed the same, and blind where it changed."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.cohort import Cohort, cohort_of
from monitoring.quality.estimated import fit_estimator
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, measure
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


def test_right_probabilities_are_hardly_moved() -> None:
    """The prior is that nothing has to be put right; what a thousand rows say by chance moves a loss by its noise."""
    off = []
    for seed in range(20):
        cohort = two(honest(1000, seed)[0])
        later = two(honest(1000, seed + 100)[0])
        plain = fit_estimator(two([]), BRIER, {}, None).losses(later).mean()
        off.append(abs(fit_estimator(cohort, BRIER, {}, None).losses(later).mean() - plain))
    assert np.mean(off) < 0.006


def test_probabilities_that_are_wrong_in_one_region_are_put_right_there() -> None:
    """In all they are right: the one region's excess is the other's want. Then requests come from one of them only."""
    rng = np.random.default_rng(20)

    def regional(count: int, first: float) -> Cohort:
        inside = rng.random(count) < first
        said = rng.uniform(0.5, 0.75, count)
        chances = np.where(inside, said + 0.25, said - 0.25)
        records: list[dict[str, object]] = [{"x": float(flag)} for flag in inside]
        return two(flights(chances, rng.random(count) < chances, said=said, records=records))

    estimator = fit_estimator(regional(3000, 0.5), BRIER, {}, None)
    later = regional(3000, 1.0)
    observed, estimated = measure(later, BRIER), estimator.metrics(later)
    naive = fit_estimator(two([]), BRIER, {}, None).metrics(later)
    assert abs(naive["accuracy"].value - observed["accuracy"].value) > 0.05
    assert estimated["accuracy"].value == pytest.approx(observed["accuracy"].value, abs=0.03)
    assert estimated["recall"].value == pytest.approx(observed["recall"].value, abs=0.03)
    assert estimated["brier"].value == pytest.approx(observed["brier"].value, abs=0.015)


def test_accuracy_is_expected_at_the_cards_threshold_as_it_is_measured_there() -> None:
    cohort = two(honest(20_000, seed=21)[0])
    observed = measure(cohort, BRIER, 0.2)["accuracy"].value
    assert near(fit_estimator(two([]), BRIER, {}, 0.2).metrics(cohort)["accuracy"], observed)


def test_an_answer_without_probabilities_is_expected_to_be_the_worst_as_it_is_observed() -> None:
    rows, _, _ = honest(100)
    silent = [row("late", "late", None, place=100 + place) for place in range(100)]
    cohort = two([*rows, *silent])
    estimator = fit_estimator(two([]), BRIER, {}, None)
    assert (estimator.losses(cohort)[100:] == 1.0).all()
    assert estimator.metrics(cohort)["loss"].value == pytest.approx(estimator.losses(cohort).mean())


@pytest.mark.parametrize("labels", ["late", "diverted"])
def test_matured_rows_of_one_class_or_of_unseen_ones_raise_nothing(labels: str) -> None:
    """One class alone moves the chances towards it; classes that training never saw teach nothing."""
    said = np.random.default_rng(22).uniform(0.2, 0.8, 600).tolist()
    rows = [row("late", labels, {"late": p, "punctual": 1 - p}, place=place) for place, p in enumerate(said)]
    estimator = fit_estimator(two(rows), BRIER, {}, None)
    found = estimator.metrics(two(rows))
    assert estimator.recalibrated == (labels == "late")
    assert all(np.isfinite([metric.low, metric.value, metric.high]).all() for metric in found.values())
    if labels == "late":
        assert found["brier"].value == pytest.approx(measure(two(rows), BRIER)["brier"].value, abs=0.05)


def test_an_estimate_of_no_rows_is_none() -> None:
    for estimator in (fit_estimator(two([]), BRIER, {}, None), fit_estimator(two(honest(500)[0]), BRIER, {}, None)):
        assert estimator.metrics(two([])) == {}
        assert len(estimator.losses(two([]))) == 0


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


def test_the_mean_error_of_matured_rows_is_reproduced() -> None:
    """Exactly where the models are judged, and within chance where they are asked about the same rows."""
    matured = numbers(np.random.default_rng(23), 3000, 0, 3)
    loss = Loss("absolute", 6.0)
    estimator = fit_estimator(matured, loss, {}, None)
    for name in ("loss", "mae", "rmse"):
        observed = measure(matured, loss)[name].value
        assert estimator.metrics(matured)[name].value == pytest.approx(observed, rel=0.02), name


def test_a_regressions_answer_without_a_number_is_expected_to_be_the_worst() -> None:
    matured = numbers(np.random.default_rng(24), 1000, 0, 3)
    told = cohort_of([row(1.0, 1.0, record={"x": 1.0}), row(3.0, 3.1, record={"x": 1.0}, place=1)], NUMBER)
    silent = told.answered(NUMBER, ["null", "3.0"], [None, None])
    estimator = fit_estimator(matured, Loss("absolute", 6.0), {}, None)
    assert estimator.losses(silent)[0] == 1.0
    assert estimator.metrics(silent)["loss"].value == pytest.approx(estimator.losses(silent).mean())
    assert len(estimator.losses(cohort_of([], NUMBER))) == 0


def test_errors_of_nothing_at_all_are_expected_to_be_nothing() -> None:
    """A model that is never wrong divides nothing by nothing."""
    rows = [row(1.0, 1.0, record={"x": float(place % 7)}, place=place) for place in range(400)]
    found = fit_estimator(cohort_of(rows, NUMBER), Loss("absolute", 1.0), {}, None).metrics(cohort_of(rows, NUMBER))
    assert {name: metric.value for name, metric in found.items()} == pytest.approx({"loss": 0, "mae": 0, "rmse": 0})
