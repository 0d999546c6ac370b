"""A model's scores as the JSON that goes out and into the log."""

from __future__ import annotations

import json
from dataclasses import dataclass

from record.contract.operating_point import OperatingPoint
from record.contract.schema import Schema, native_class
from record.versions.model import Scores


@dataclass(frozen=True, slots=True)
class Worded:
    """One entry for each row."""

    predictions: list[str]  # JSON scalars
    probabilities: list[str | None]  # JSON objects class → probability; None for a regression
    places: list[int]  # of the answered class among the schema's; 0 for a regression
    shown: list[float]  # the positive class's probability (the answered one's, with more than two), or the value


class Wording:
    """Words the answers of one version. What is the same in every answer is made once."""

    def __init__(self, schema: Schema, point: OperatingPoint | None = None) -> None:
        classes = schema.classes
        self._point = point
        self._predictions = [json.dumps(native_class(name, schema.class_type), ensure_ascii=False) for name in classes]
        keys = [json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in classes]
        self._template = "{" + ",".join(f"{key}:%r" for key in keys) + "}"
        positive = schema.problem.positive_class
        self._positive = classes.index(positive) if positive in classes else 1 if len(classes) == 2 else None

    def word(self, scores: Scores) -> Worded:
        """Numbers are written with all the digits that tell them apart. Classes are answered as `said_classes` does."""
        if scores.probabilities is None:
            values: list[float] = scores.raw.tolist()
            return Worded([repr(value) for value in values], [None] * len(values), [0] * len(values), values)
        rows: list[list[float]] = scores.raw.tolist()
        if self._point is None:
            places = [row.index(max(row)) for row in rows]  # for a few classes quicker than NumPy's argmax
        else:
            watched, other, threshold = self._point.watched, self._point.other, self._point.threshold
            places = [watched if row[watched] >= threshold else other for row in rows]
        shown = [
            row[place if self._positive is None else self._positive] for row, place in zip(rows, places, strict=True)
        ]
        return Worded(
            [self._predictions[place] for place in places],
            [self._template % tuple(row) for row in rows],
            places,
            shown,
        )
