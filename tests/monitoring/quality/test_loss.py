"""What answers cost."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality.loss import Loss

shares = st.lists(st.floats(0.001, 1), min_size=2, max_size=6).map(
    lambda weights: {f"c{i}": weight / sum(weights) for i, weight in enumerate(weights)}
)


def test_the_brier_loss_of_two_classes_is_the_squared_error_of_the_probability() -> None:
    loss = Loss("brier")
    assert loss('"yes"', '"no"', '{"yes":0.3,"no":0.7}') == pytest.approx(0.7**2)
    assert loss('"no"', '"no"', '{"yes":0.3,"no":0.7}') == pytest.approx(0.3**2)


@given(shares)
def test_the_brier_loss_of_many_classes_is_half_the_sum_of_squares(probabilities: dict[str, float]) -> None:
    expected = sum((share - (name == "c1")) ** 2 for name, share in probabilities.items()) / 2
    assert Loss("brier")('"c1"', '"c0"', json.dumps(probabilities)) == pytest.approx(expected, abs=1e-12)


@given(shares, st.sampled_from(["brier", "log", "zero_one"]))
def test_every_loss_lies_between_nothing_and_one(probabilities: dict[str, float], name: str) -> None:
    for label in ("c0", "never seen"):
        assert 0 <= Loss(name)(json.dumps(label), '"c0"', json.dumps(probabilities)) <= 1  # type: ignore[arg-type]


def test_labels_meet_their_classes_whatever_their_type() -> None:
    assert Loss("brier")("true", "true", '{"true":1.0,"false":0.0}') == 0
    assert Loss("brier")("3", "3", '{"3":1.0,"4":0.0}') == 0
    assert Loss("zero_one")("3", "3", None) == 0
    assert Loss("zero_one")("true", "false", None) == 1


def test_the_log_loss_is_clipped_at_a_thousandth() -> None:
    loss = Loss("log")
    assert loss('"a"', '"b"', '{"a":0.0,"b":1.0}') == 1
    assert loss('"a"', '"b"', '{"a":1e-9,"b":1.0}') == 1
    assert loss('"a"', '"a"', '{"a":1.0,"b":0.0}') == 0
    assert loss('"a"', '"a"', '{"a":0.5,"b":0.5}') == pytest.approx(math.log(2) / math.log(1000))


def test_the_absolute_loss_is_clipped_at_its_scale() -> None:
    loss = Loss("absolute", scale=4.0)
    assert loss("10.0", "11.0", None) == 0.25
    assert loss("10", "-90", None) == 1


@pytest.mark.parametrize("name", ["brier", "log", "zero_one", "absolute"])
def test_an_answer_that_is_none_is_the_worst(name: str) -> None:
    assert Loss(name)("1", None, None) == 1  # type: ignore[arg-type]


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        Loss("absolute", 0.0)
