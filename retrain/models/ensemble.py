"""Several fitted pipelines that answer together: the mean of their answers, by weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline

from record.contract.arrays import Arrays
from retrain.models.fitting import fit_estimator, predict_encoded

Floats = npt.NDArray[np.float64]


class AsDecoded(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Passes `Arrays` on as they are: each member of an ensemble encodes them its own way."""

    def fit(self, x: Arrays, y: Any = None) -> Self:
        return self

    def transform(self, x: Arrays) -> Arrays:
        return x


class Ensemble(BaseEstimator):  # type: ignore[misc]
    """Takes `Arrays`; `members` are pipelines of an encoder and an estimator each, `weights` add up to 1."""

    def __init__(self, members: list[Pipeline], weights: list[float]) -> None:
        self.members = members
        self.weights = weights

    def fit(self, x: Arrays, y: npt.NDArray[Any], sample_weight: Floats | None = None) -> Self:
        for member in self.members:
            encoded = member.named_steps["encode"].fit_transform(x, y)
            fit_estimator(member.named_steps["model"], encoded, y, sample_weight)
        if y.dtype.kind != "f":
            self.classes_ = np.unique(y)
        return self

    def predict(self, x: Arrays) -> Floats:
        """Values [n] of a regression."""
        return self._mean(x, 0)

    def predict_proba(self, x: Arrays) -> Floats:
        """Probabilities [n, classes]."""
        return self._mean(x, len(self.classes_))

    def without(self, place: int) -> Ensemble:
        """The same fitted members but one; the others' weights rise in proportion."""
        left = [number for number in range(len(self.members)) if number != place]
        total = sum(self.weights[number] for number in left)
        fewer = Ensemble([self.members[n] for n in left], [self.weights[n] / total for n in left])
        if hasattr(self, "classes_"):
            fewer.classes_ = self.classes_
        return fewer

    def _mean(self, x: Arrays, classes: int) -> Floats:
        answers = (
            predict_encoded(member.named_steps["model"], member.named_steps["encode"].transform(x), classes) * weight
            for member, weight in zip(self.members, self.weights, strict=True)
        )
        total = next(answers)
        for answer in answers:
            total = total + answer
        return total
