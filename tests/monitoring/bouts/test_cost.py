"""Promotion by cost: what each version's decision costs, at its own threshold."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.bouts.design import Design
from monitoring.quality.loss import WORST, Costs, Loss
from record.errors import SettingsError
from record.settings import load_settings
from tests.monitoring.arena import START, TOML, Arena, logistic

COSTLY = '\npositive_class = "yes"\nfalse_positive_cost = 1\nfalse_negative_cost = 5\n'


def toml(problem: str, promotion: str = "") -> str:
    return TOML.replace('target = "late"\n', 'target = "late"\n' + problem) + promotion


@pytest.mark.parametrize(
    ("label", "prediction", "cost"),
    [("yes", "yes", 0.0), ("no", "no", 0.0), ("yes", "no", 1.0), ("no", "yes", 0.2), ("yes", None, WORST)],
)
def test_a_decision_costs_what_the_settings_say_over_the_dearer_of_the_two(
    label: str, prediction: str | None, cost: float
) -> None:
    judge = Loss("cost", costs=Costs.scaled("yes", 1, 5))
    said = None if prediction is None else json.dumps(prediction)
    assert judge(json.dumps(label), said, '{"no": 0.9, "yes": 0.1}') == pytest.approx(cost)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.sampled_from([None, "yes", "no"]), st.sampled_from(["yes", "no"]))
def test_costs_lie_within_0_and_1_and_differences_within_what_the_answers_allow(
    false_positive: float, false_negative: float, said: str | None, other: str
) -> None:
    judge = Loss("cost", costs=Costs.scaled("yes", false_positive, false_negative))
    answers = [None if each is None else json.dumps(each) for each in (said, other)]
    low, high = judge.difference_range((answers[0], None), (answers[1], None))
    for label in ("yes", "no"):
        costs = [judge(json.dumps(label), each, None) for each in answers]
        assert all(0 <= cost <= 1 for cost in costs)
        assert low - 1e-12 <= costs[0] - costs[1] <= high + 1e-12


def test_without_costs_there_is_no_loss_by_cost() -> None:
    with pytest.raises(ValueError, match="costs"):
        Loss("cost")
    with pytest.raises(ValueError, match="costs"):
        Loss("brier", costs=Costs.scaled("yes", 1, 5))


@pytest.mark.parametrize(
    ("problem", "promotion", "loss"),
    [
        ("", "", "brier"),
        (COSTLY, "", "cost"),
        (COSTLY, '[promotion]\nloss = "brier"\n', "brier"),
        (COSTLY.replace("5", "1"), "", "brier"),
    ],
)
def test_where_costs_differ_cost_is_the_default(tmp_path: Path, problem: str, promotion: str, loss: str) -> None:
    (tmp_path / "ringside.toml").write_text(toml(problem, promotion))
    settings = load_settings(tmp_path / "ringside.toml")
    assert settings.promotion.loss == loss
    assert settings.promotion.scoring == "brier"  # the gate and quality judge the probabilities behind


def test_cost_wants_to_know_the_class_whose_misses_cost(tmp_path: Path) -> None:
    (tmp_path / "ringside.toml").write_text(toml("", '[promotion]\nloss = "cost"\n'))
    with pytest.raises(SettingsError, match=r'promotion.loss: "cost" without problem.positive_class'):
        load_settings(tmp_path / "ringside.toml")


def test_a_bout_is_fought_by_the_cost_of_decisions(tmp_path: Path) -> None:
    """Both know the order of requests; only the challenger misses no positive that it could have found."""
    arena = Arena.build(tmp_path, toml=toml(COSTLY))
    arena.register(logistic(0.0))
    bout = arena.challenge(1.0, START)
    design: dict[str, Any] = bout.design
    assert design["loss"] == "cost"
    assert design["costs"] == {"positive": "yes", "false_positive": 0.2, "false_negative": 1.0}
    assert Design.from_json(design).to_json() == {**Design.from_json(design).to_json()}
    asked = arena.ask(300, START)
    arena.label(asked)
    arena.settle(START + timedelta(hours=6))
    costs = {round(float(each), 3) for each in arena.differences(bout)}
    assert costs <= {-1.0, -0.2, 0.0, 0.2, 1.0}
    assert arena.look(bout)["lead"]["mean"] > 0
