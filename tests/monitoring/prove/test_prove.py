"""`ringside prove` at its smallest: the shape of its answer, and that its simulations go through the product's code."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from monitoring.prove.bout_cases import bout_cases
from monitoring.prove.course import matured_pairs
from monitoring.prove.run import Proof, tasks
from monitoring.prove.spending import weekly_retrains
from monitoring.prove.target import Target, median_or, with_errors
from monitoring.prove.traffic import at_rate, classes, repeated, scores
from ringside.commands import app


def test_the_last_line_is_one_object_with_an_entry_for_each_target() -> None:
    done = CliRunner().invoke(app, ["prove", "--short", "--json", "--only", "weekly_retrains", "--processes", "1"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told["targets"]) == {"weekly_needed", "weekly_alpha"}
    for target in told["targets"].values():
        assert {"value", "bound", "holds"} <= set(target)
    assert done.exit_code == (0 if told["holds"] else 1)


def test_names_of_cases_are_each_their_own_and_every_row_of_the_table_has_some() -> None:
    names = [case.name for case in bout_cases()]
    assert len(names) == len(set(names))
    groups = {case.group for case in bout_cases()}
    assert len(groups) >= 7
    assert set(names) < set(tasks("short", None))
    assert "streams" not in tasks("short", None)


@pytest.mark.parametrize(
    ("value", "relation", "holds"),
    [(0.04, "at most", True), (0.06, "at most", False), (0.06, "at least", True), (None, "at most", None)],
)
def test_a_target_holds_or_not_or_was_not_measured(value: float | None, relation: str, holds: bool | None) -> None:
    target = Target("a", "b", "c", value, 0.05, relation)  # type: ignore[arg-type]
    assert target.holds is holds
    assert target.to_json()["holds"] is holds


def test_a_value_that_never_came_is_no_json_number_and_does_not_hold() -> None:
    target = Target("a", "b", "c", float("inf"), 100.0, unit="labels")
    assert (target.holds, target.to_json()["value"]) == (False, None)
    assert median_or([None, None, 5], 1e9) == 1e9
    assert with_errors(0.05, 400) == pytest.approx(0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5)


def test_differences_are_those_of_the_products_losses() -> None:
    """Row by row, by the loss that a bout is judged with."""
    from monitoring.quality.loss import Loss

    for name in ("brier", "log"):
        traffic = scores(np.random.default_rng(3), at_rate(200, 200), noise=(0.5, 0.3), loss=name)  # type: ignore[arg-type]
        assert traffic.labels is not None
        judge = Loss(name)  # type: ignore[arg-type]
        for place in range(200):
            label = json.dumps("yes" if traffic.labels[place] else "no")
            told = [json.dumps({"no": 1 - share, "yes": share}) for share in traffic.answers[place].tolist()]
            costs = [judge(label, None, each) for each in told]
            assert traffic.differences[place] == pytest.approx(costs[0] - costs[1], abs=1e-12)


def test_each_entity_counts_once() -> None:
    traffic = repeated(np.random.default_rng(1), at_rate(1_000, 200), 20, in_a_row=False)
    assert matured_pairs(traffic).counts.sum() == 50


def test_a_case_is_the_same_from_the_same_seed() -> None:
    case = next(case for case in bout_cases() if case.name == "power_independent")
    assert case.courses(2, 1) == case.courses(2, 1) != case.courses(2, 2)
    assert case.look_every == timedelta(hours=2)


def test_a_better_challenger_is_promoted_and_an_equal_one_that_never_differs_waits() -> None:
    rng = np.random.default_rng(2)
    assert classes(rng, at_rate(500, 200), 0.0, 0.0).differences.any() == np.False_
    case = next(case for case in bout_cases() if case.name == "power_independent")
    assert all(course.outcome == "promote" for course in case.courses(3, 5))


def test_spending_of_weekly_retrains_keeps_to_alpha_in_every_window() -> None:
    needed, spent = weekly_retrains()
    assert needed.holds
    assert spent.holds
    assert spent.value is not None
    assert spent.value > 0.03


def test_a_missed_target_is_no_proof_and_a_skipped_one_is_no_miss() -> None:
    missed = Proof((Target("a", "b", "c", 1.0, 0.5),), 0.0, "short")
    assert not missed.holds
    assert Proof((Target("a", "b", "c", None, 0.5, skipped="no data"),), 0.0, "short").holds
