"""From which probability on a class is answered: read from a card, the same however answers are worded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from record.contract.operating_point import OperatingPoint, said_classes
from record.versions.model import Scores
from service.wording import Wording
from tests.record.models import make_schema

PROBABILITIES = np.array([[0.5, 0.5], [0.1, 0.9], [0.0999999, 0.9000001], [1.0, 0.0]])


def test_a_class_is_answered_from_its_threshold_on() -> None:
    """The threshold included; the words and the places are the same."""
    point = OperatingPoint.read(make_schema(), {"operating_threshold": 0.1})
    assert point == OperatingPoint(0, 1, 0.1)
    assert said_classes(PROBABILITIES, point).tolist() == [0, 0, 1, 0]
    worded = Wording(make_schema(), point).word(Scores(PROBABILITIES, None))
    assert worded.places == [0, 0, 1, 0]
    assert worded.predictions == ['"late"', '"late"', '"on time"', '"late"']
    assert worded.shown == PROBABILITIES[:, 0].tolist()


@pytest.mark.parametrize("card", [{}, {"operating_threshold": None}])
def test_without_a_threshold_the_most_probable_is_answered(card: dict[str, None]) -> None:
    """The first of equals."""
    assert OperatingPoint.read(make_schema(), card) is None
    generator = np.random.default_rng(0)
    many = generator.random((2_000, 2)).round(1)
    worded = Wording(make_schema(), None).word(Scores(many, None))
    assert worded.places == said_classes(many, None).tolist() == many.argmax(axis=1).tolist()


@pytest.mark.parametrize("named", [-0.1, 1.5, float("nan"), "0.5", True])
def test_what_is_no_probability_is_refused(named: object) -> None:
    with pytest.raises(ValueError, match="operating_threshold"):
        OperatingPoint.read(make_schema(), {"operating_threshold": named})


def test_a_threshold_is_of_two_classes() -> None:
    several = replace(make_schema(), classes=("a", "b", "late"))
    with pytest.raises(ValueError, match="3 classes; expected two"):
        OperatingPoint.read(several, {"operating_threshold": 0.5})


def test_the_same_decision_over_other_classes() -> None:
    """By their names; None where one of them is gone."""
    two = make_schema()
    several = replace(two, classes=("early", "on time", "late"))
    assert OperatingPoint(0, 1, 0.2).moved(two, several) == OperatingPoint(2, 1, 0.2)
    assert OperatingPoint(0, 1, 0.2).moved(two, replace(two, classes=("early", "late"))) is None
