"""Small boosted models that are judged on rows they were not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FOLDS = 5
FURTHEST = 4.0  # standard deviations from the middle: one wild value shall not be squared
SMALLEST = 1e-12  # errors of nothing at all have no size to be weighed by
LEAST_PART = 0.25  # of the mean error: what is foretold less may be an accident, and would weigh too much
ROUNDS = 3  # with equal weights first, then twice by what was foretold


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """One model for each fold that was left out."""

    models: tuple[Any, ...]
    foretold: Floats  # of the rows they were fitted on, each by the model that did not see it

    def __call__(self, inputs: Floats) -> Floats:
        """The models' mean."""
        return np.asarray(np.mean([model.predict(inputs) for model in self.models], axis=0), dtype=np.float64)


def cross_fit_best(inputs: Floats, errors: Floats) -> CrossFitted:
    """By smooth functions and trees upon them, or by trees alone: whichever foretells better the rows it did not see.

    Weighting those rows by their likeness to the ones that wait chose worse (simulated: the error of MAE was .98 of the
    noise instead of .94): fewer rows decide.
    """
    found = [cross_fit(inputs, errors, Graded), cross_fit(inputs, errors, partial(trees, rounds=60, rate=0.07))]
    return min(found, key=lambda one: float(((errors - one.foretold) ** 2).mean()))


def cross_fit(inputs: Floats, target: Floats, make: Callable[[], Any]) -> CrossFitted:
    """Folds are blocks of neighbouring rows: what resembles a row by its time alone is left out with it."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    fold = np.arange(len(target)) * FOLDS // len(target)
    foretold, models = np.empty(len(target)), []
    for left_out in range(FOLDS):
        with threadpool_limits(limits=1):  # beside the service, and with sums in one order
            model = make().fit(inputs[fold != left_out], target[fold != left_out])
            foretold[fold == left_out] = model.predict(inputs[fold == left_out])
        models.append(model)
    return CrossFitted(tuple(models), foretold)


def trees(rounds: int, rate: float, loss: Literal["squared_error", "gamma"] = "squared_error") -> Any:
    """Shallow, with large leaves: what is wanted is the mean of many rows, not the value of one."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second to import

    return HistGradientBoostingRegressor(
        loss=loss,
        max_iter=rounds,
        learning_rate=rate,
        max_leaf_nodes=8,
        min_samples_leaf=50,
        l2_regularization=10.0,
        random_state=0,
        early_stopping=False,
    )


class Graded:
    """Foretells sizes of errors, 0 or more: smooth functions of the inputs, and trees of what these leave.

    Smooth is linear in each input, its distance from the middle and the square of that (as Glejser 1969 and White 1980
    look for errors that grow): it goes on where requests move to the edge of what has matured, and trees do not. An
    error scatters by its own size, so that a large one says less of the mean there: rows are weighted by the inverse
    square of what the fit before foretold (iteratively reweighted, as of a gamma law). Trees are fitted to the ratio.

    Simulated under covariate shift, the error of the estimated MAE is .87 of the sampling noise; .94 with smooth
    functions of equal weights, 1.07 with trees alone.
    """

    def fit(self, inputs: Floats, errors: Floats) -> Self:
        self._least = max(float(errors.mean()) * LEAST_PART, SMALLEST)
        weights = np.ones(len(errors))
        for _ in range(ROUNDS):
            self._smooth = _smooth().fit(inputs, errors, ridgecv__sample_weight=weights / weights.mean())
            foretold = self._foretell(inputs)
            weights = foretold**-2
        ratios = np.maximum(errors / foretold, 1e-3)  # a gamma law has no zeros
        self._trees = trees(rounds=40, rate=0.05, loss="gamma").fit(inputs, ratios)
        return self

    def predict(self, inputs: Floats) -> Floats:
        return np.asarray(self._foretell(inputs) * self._trees.predict(inputs))

    def _foretell(self, inputs: Floats) -> Floats:
        return np.asarray(np.maximum(self._smooth.predict(inputs), self._least))


def _smooth() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(_bent),
        RidgeCV(alphas=(1.0, 10.0, 100.0, 1000.0)),
    )


def _bent(standard: Floats) -> Floats:
    kept = np.clip(standard, -FURTHEST, FURTHEST)
    return np.hstack([kept, np.abs(kept), kept**2])
