"""What labels say about the answers, and what the answers expect of themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn import metrics

from monitoring.loss import Loss
from monitoring.quality import (
    Metric,
    QualityReport,
    auc,
    decide_decline,
    estimated_quality,
    observed_quality,
)
from service.logged import MaturedRow
from service.schema import Column, ProblemSchema, Schema

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
PROBLEM = ProblemSchema("classification", "arrival", (Column("x", "feature", "number"),))
TWO = Schema(replace(PROBLEM, positive_class="late"), {}, classes=("late", "punctual"))
THREE = Schema(PROBLEM, {}, classes=("0", "1", "2"), class_type="integer")
NUMBER = Schema(replace(PROBLEM, task="regression"), {})
BRIER = Loss("brier")


def row(prediction: object, label: object, shares: dict[str, float] | None = None) -> MaturedRow:
    return MaturedRow(
        seq=1,
        xid=0,
        id="a",
        requested_at=AS_OF,
        model_version="v1",
        record="{}",
        prediction=json.dumps(prediction),
        probabilities=None if shares is None else json.dumps(shares),
        marks=None,
        label=None if label is None else json.dumps(label),
        label_received_at=None,
    )


def flights(count: int, seed: int = 0) -> tuple[list[MaturedRow], np.ndarray, np.ndarray]:
    """Answers whose probabilities are right, with each one's probability and outcome."""
    rng = np.random.default_rng(seed)
    chances = np.round(rng.beta(2, 4, count), 2)
    late = rng.random(count) < chances
    rows = [
        row("late" if p > 0.5 else "punctual", "late" if y else "punctual", {"late": p, "punctual": 1 - p})
        for p, y in zip(chances.tolist(), late.tolist(), strict=True)
    ]
    return rows, chances, late


def report(rows: list[MaturedRow], schema: Schema, loss: Loss = BRIER) -> QualityReport:
    return observed_quality(rows, schema, loss, version="v1", as_of=AS_OF)


def test_two_classes_are_measured_as_scikit_learn_measures_them() -> None:
    """Log loss, Brier score, AUC with ties, accuracy; each with an interval round it."""
    rows, chances, late = flights(500)
    found = report(rows, TWO).metrics
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(late, np.clip(chances, 1e-15, 1)))
    assert found["brier"].value == pytest.approx(metrics.brier_score_loss(late, chances))
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(late, chances))
    assert found["accuracy"].value == pytest.approx(((chances > 0.5) == late).mean())
    for metric in found.values():
        assert metric.low < metric.value < metric.high


def test_several_classes_are_measured_one_against_the_rest() -> None:
    """Labels are JSON numbers where the classes are; the areas are averaged over the classes."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet([1, 1, 1], 400)
    labels = np.array([rng.choice(3, p=p) for p in shares])
    rows = [
        row(int(p.argmax()), int(y), dict(zip(THREE.classes, p.tolist(), strict=True)))
        for p, y in zip(shares, labels, strict=True)
    ]
    found = report(rows, THREE).metrics
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(labels, shares))
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(labels, shares, multi_class="ovr"))
    assert found["brier"].value == pytest.approx(((shares - np.eye(3)[labels]) ** 2).sum(axis=1).mean() / 2)


def test_numbers_are_measured_as_scikit_learn_measures_them() -> None:
    rng = np.random.default_rng(4)
    labels = rng.normal(10, 3, 300)
    answers = labels + rng.normal(size=300)
    found = report(
        [row(a, b) for a, b in zip(answers.tolist(), labels.tolist(), strict=True)], NUMBER, Loss("absolute", 5.0)
    ).metrics
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(labels, answers))
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(labels, answers))
    assert found["r2"].value == pytest.approx(metrics.r2_score(labels, answers))
    assert found["r2"].low < found["r2"].value < found["r2"].high


def test_rows_without_a_label_count_for_coverage_only() -> None:
    rows, _, _ = flights(100)
    found = report([*rows, *[replace(one, label=None) for one in rows[:25]]], TWO)
    assert (found.mature, found.labelled, found.coverage) == (125, 100, 0.8)
    assert found.metrics["brier"] == report(rows, TWO).metrics["brier"]


def test_no_labels_at_all_give_an_empty_report_and_no_decline() -> None:
    found = report([replace(one, label=None) for one in flights(10)[0]], TWO)
    assert (found.metrics, found.coverage) == ({}, 0.0)
    assert not decide_decline(found, 0.1, min_labels=1, tolerance=0.0).declined
    assert report([], TWO).coverage == 0.0


def test_one_class_alone_has_no_area() -> None:
    rows = [one for one in flights(200)[0] if one.label == '"late"']
    assert "auc" not in report(rows, TWO).metrics


def test_a_class_that_training_never_saw_is_a_wrong_answer_and_no_error() -> None:
    """Its probability was nothing: the worst Brier score for a certain answer."""
    found = report([row("late", "diverted", {"late": 1.0, "punctual": 0.0})] * 2, TWO).metrics
    assert found["brier"].value == 1.0
    assert found["accuracy"].value == 0.0


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """95 % of 200 windows of 300 rows: between 90 and 99 %."""
    rng = np.random.default_rng(5)
    large, _, _ = flights(20_000, seed=9)
    truth = report(large, TWO).metrics
    covered = dict.fromkeys(("log_loss", "brier", "auc", "accuracy"), 0)
    for _ in range(200):
        found = report([large[i] for i in rng.integers(0, len(large), 300)], TWO).metrics
        for name in covered:
            covered[name] += found[name].low <= truth[name].value <= found[name].high
    assert all(180 <= count <= 198 for count in covered.values()), covered


def test_estimated_quality_needs_no_labels_and_is_right_where_the_probabilities_are() -> None:
    rows, _, _ = flights(20_000, seed=6)
    observed, estimated = report(rows, TWO).metrics, estimated_quality(rows, TWO)
    assert set(estimated) == {"log_loss", "brier", "accuracy"}
    for name, metric in estimated.items():
        assert metric.value == pytest.approx(observed[name].value, abs=0.012)


def test_estimated_quality_says_nothing_where_answers_say_nothing_about_themselves() -> None:
    assert estimated_quality([], TWO) == {}
    assert estimated_quality([row(1.5, None)], NUMBER) == {}


def test_a_loss_that_rose_beyond_the_tolerance_is_a_decline() -> None:
    """By its lower bound: chance alone is no decline."""
    rows, chances, late = flights(5000, seed=7)
    promised = metrics.brier_score_loss(late, chances)
    assert not decide_decline(report(rows, TWO), promised, min_labels=200, tolerance=0.05).declined
    turned = [replace(one, label='"late"' if one.label == '"punctual"' else '"punctual"') for one in rows[:1500]]
    decision = decide_decline(report([*turned, *rows[1500:]], TWO), promised, min_labels=200, tolerance=0.05)
    assert decision.declined
    assert decision.lower > decision.allowed == pytest.approx(promised * 1.05)
    assert decision.reasons[0].startswith(f"loss {decision.observed:.4f}")


def test_a_decline_needs_enough_labels() -> None:
    rows = [row("late", "punctual", {"late": 1.0, "punctual": 0.0})] * 199
    decision = decide_decline(report(rows, TWO), 0.1, min_labels=200, tolerance=0.05)
    assert not decision.declined
    assert decision.reasons == ("199 labels, at least 200 are needed",)


def test_quiet_windows_decline_as_rarely_as_the_level_says() -> None:
    """500 windows at the promised loss, tolerance 0: at 99.5 % about 2 or 3."""
    large, chances, late = flights(30_000, seed=8)
    promised = metrics.brier_score_loss(late, chances)
    rng = np.random.default_rng(10)
    declined = 0
    for _ in range(500):
        losses = (chances - late)[rng.integers(0, 30_000, 1000)] ** 2
        found = QualityReport(AS_OF, "v1", 1000, 1000, {}, losses.mean(), losses.std(ddof=1))
        declined += decide_decline(found, promised, min_labels=200, tolerance=0.0).declined
    assert declined <= 7
    assert len(large) == 30_000


def test_a_certain_area_has_its_interval_within_zero_and_one() -> None:
    area = auc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert area == Metric(1.0, 1.0, 1.0)
