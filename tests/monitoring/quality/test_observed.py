"""What labels say about the answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sklearn import metrics

from monitoring.quality.cohort import cohort_of
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, auc, half_width, measure
from monitoring.quality.observed import observed_quality
from record.dependence import INDEPENDENT, Clusters
from record.entity import ALONE
from tests.monitoring.answers import AS_OF, NUMBER, THREE, TWO, flights, honest, row, two

BRIER = Loss("brier")


def test_two_classes_are_measured_as_scikit_learn_measures_them() -> None:
    """Each with an interval round it; precision and the like are those of the watched class."""
    rows, chances, late = honest(500)
    found = measure(two(rows), BRIER)
    said = chances > 0.5
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(late, np.clip(chances, 1e-15, 1)))
    assert found["brier"].value == found["loss"].value == pytest.approx(metrics.brier_score_loss(late, chances))
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(late, chances))
    assert found["accuracy"].value == pytest.approx((said == late).mean())
    assert found["precision"].value == pytest.approx(metrics.precision_score(late, said))
    assert found["recall"].value == pytest.approx(metrics.recall_score(late, said))
    assert found["f1"].value == pytest.approx(metrics.f1_score(late, said))
    for metric in found.values():
        assert metric.low < metric.value < metric.high


def test_the_cards_threshold_is_the_operating_point() -> None:
    rows, chances, late = honest(500)
    found = measure(two(rows), BRIER, threshold=0.3)
    assert found["recall"].value == pytest.approx(metrics.recall_score(late, chances >= 0.3))
    assert found["accuracy"].value == pytest.approx(((chances >= 0.3) == late).mean())


def test_several_classes_are_measured_one_against_the_rest() -> None:
    """Labels are JSON numbers where the classes are; areas, precision and the like are means over the classes."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet([1, 1, 1], 400)
    labels = np.array([rng.choice(3, p=p) for p in shares])
    rows = [
        row(int(p.argmax()), int(y), dict(zip(THREE.classes, p.tolist(), strict=True)))
        for p, y in zip(shares, labels, strict=True)
    ]
    found = measure(cohort_of(rows, THREE), BRIER)
    said = shares.argmax(axis=1)
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(labels, shares))
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(labels, shares, multi_class="ovr"))
    assert found["brier"].value == pytest.approx(((shares - np.eye(3)[labels]) ** 2).sum(axis=1).mean() / 2)
    assert found["f1"].value == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    assert found["precision"].value == pytest.approx(metrics.precision_score(labels, said, average="macro"))


def test_numbers_are_measured_as_scikit_learn_measures_them() -> None:
    rng = np.random.default_rng(4)
    labels = rng.normal(10, 3, 300)
    answers = labels + rng.normal(size=300)
    rows = [row(a, b) for a, b in zip(answers.tolist(), labels.tolist(), strict=True)]
    found = measure(cohort_of(rows, NUMBER), Loss("absolute", 5.0))
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(labels, answers))
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(labels, answers))
    assert found["r2"].value == pytest.approx(metrics.r2_score(labels, answers))
    for metric in found.values():
        assert metric.low < metric.value < metric.high


@pytest.mark.parametrize("name", ["brier", "zero_one", "log"])
def test_losses_of_columns_are_those_of_rows(name: str) -> None:
    """A class that training never saw, and an answer without probabilities, included."""
    rows = [
        *honest(50)[0],
        row("late", "diverted", {"late": 0.9, "punctual": 0.1}),
        row("late", "late", None),
        row("late", "late", {"late": 1.0}),
    ]
    loss = Loss(name)  # type: ignore[arg-type]
    expected = [loss(one.label or "", one.prediction, one.probabilities) for one in rows]
    assert two(rows).losses(loss).tolist() == pytest.approx(expected)


def test_rows_without_a_label_count_for_coverage_only() -> None:
    rows, _, _ = honest(100)
    unlabelled = [replace(one, label=None, label_received_at=None) for one in rows[:25]]
    found = observed_quality(two([*rows, *unlabelled]), BRIER, version="v1", as_of=AS_OF)
    assert (found.mature, found.labelled, found.coverage) == (125, 100, 0.8)
    assert found.metrics["brier"] == measure(two(rows), BRIER)["brier"]


def test_no_labels_at_all_give_no_metrics() -> None:
    unlabelled = [replace(one, label=None, label_received_at=None) for one in honest(10)[0]]
    found = observed_quality(two(unlabelled), BRIER, version="v1", as_of=AS_OF)
    assert (found.metrics, found.coverage) == ({}, 0.0)
    assert observed_quality(two([]), BRIER, version="v1", as_of=AS_OF).coverage == 0.0


def test_one_class_alone_has_no_area() -> None:
    rows = [one for one in honest(200)[0] if one.label == '"late"']
    assert "auc" not in measure(two(rows), BRIER)


def test_a_class_that_training_never_saw_is_a_wrong_answer_and_no_error() -> None:
    """Its probability was nothing: the worst Brier score for a certain answer."""
    found = measure(two([row("late", "diverted", {"late": 1.0, "punctual": 0.0})] * 2), BRIER)
    assert found["brier"].value == 1.0
    assert found["accuracy"].value == 0.0


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """95 % of 200 windows of 300 rows: between 90 and 99 %."""
    rng = np.random.default_rng(5)
    large = two(honest(20_000, seed=9)[0])
    truth = measure(large, BRIER)
    covered = dict.fromkeys(("log_loss", "brier", "auc", "accuracy", "precision", "recall", "f1"), 0)
    for _ in range(200):
        found = measure(large.take(rng.integers(0, len(large), 300)), BRIER)
        for name in covered:
            covered[name] += found[name].low <= truth[name].value <= found[name].high
    assert all(180 <= count <= 199 for count in covered.values()), covered


def test_rows_of_one_day_share_its_weather_and_the_interval_knows() -> None:
    """Twenty days whose means scatter: intervals that take rows for independent cover the truth in a third of cases."""
    rng = np.random.default_rng(6)
    days = np.repeat(np.arange(20), 100)
    by_days = by_rows = 0
    for _ in range(200):
        values = rng.normal(0, 1, 20)[days] * 0.5 + rng.normal(0, 1, 2000)
        by_days += abs(values.mean()) <= half_width(values - values.mean(), Clusters(days))
        by_rows += abs(values.mean()) <= half_width(values - values.mean())
    assert by_days >= 180
    assert by_rows < 120


def test_intervals_cover_the_truth_where_one_asks_again_and_again() -> None:
    """50 customers ask 20 times each in 21 days: taken for independent, rows miss it in two of three cases."""
    rng = np.random.default_rng(8)
    covered = dict.fromkeys(("log_loss", "brier", "auc", "accuracy"), 0)
    naive = dict(covered)
    large = two(honest(5_000, seed=9)[0])
    truth = measure(large, BRIER)
    for _ in range(100):
        who = rng.permutation(np.repeat(np.arange(50), 20))
        times = np.arange(1000) * 1_800_000_000
        rows = replace(large.take(rng.integers(0, len(large), 50)[who]), times=times)
        for counted, cohort in ((covered, replace(rows, entities=who)), (naive, rows)):
            found = measure(cohort, BRIER)
            for name in counted:
                counted[name] += found[name].low <= truth[name].value <= found[name].high
    assert all(count >= 90 for count in covered.values()), covered
    assert all(count < 60 for count in naive.values()), naive


def test_a_cohort_knows_who_asks() -> None:
    """A request without a name stands for itself."""
    asked = [{"x": 1.0, "who": name} for name in ("ann", "bob", "ann", None)] + [{"x": 1.0}]
    rows = [row("late", "late", {"late": 1.0}, place=place, record=record) for place, record in enumerate(asked)]
    ann, bob, again, *nobody = cohort_of(rows, TWO, (), "who").entities.tolist()
    assert ann == again != bob
    assert nobody == [ALONE, ALONE]
    assert set(cohort_of(rows, TWO).entities.tolist()) == {ALONE}


def test_right_probabilities_have_no_calibration_error_that_chance_does_not_explain() -> None:
    rows, chances, late = honest(5000, seed=7)
    assert measure(two(rows), BRIER)["calibration_error"].low == 0.0
    too_sure = measure(two(flights(chances, late, said=np.clip(1.6 * chances, 0, 1))), BRIER)["calibration_error"]
    assert too_sure.low > 0.1


def test_a_certain_area_has_its_interval_within_zero_and_one() -> None:
    area = auc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert area is not None
    assert area.metric(INDEPENDENT, 0.0, 1.0) == Metric(1.0, 1.0, 1.0)


def test_a_cohort_is_read_back_in_the_order_of_its_requests() -> None:
    rows, _, _ = honest(30)
    cohort = two(rows)
    assert cohort.times.tolist() == sorted(cohort.times.tolist())
    assert cohort.delays.tolist() == [timedelta(hours=1).total_seconds()] * 30
    assert cohort.schema is TWO
