"""Small boosted models that are judged on rows they were not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FOLDS = 5
FURTHEST = 4.0  # standard deviations from the middle: one wild value shall not be squared


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """One model for each fold that was left out."""

    models: tuple[Any, ...]
    foretold: Floats  # of the rows they were fitted on, each by the model that did not see it

    def __call__(self, inputs: Floats) -> Floats:
        """The models' mean."""
        return np.asarray(np.mean([model.predict(inputs) for model in self.models], axis=0), dtype=np.float64)


def cross_fit_best(inputs: Floats, target: Floats) -> CrossFitted:
    """By smooth functions or by trees: whichever foretells better the rows that it did not see."""
    found = [cross_fit(inputs, target, smooth), cross_fit(inputs, target, partial(trees, rounds=60, rate=0.07))]
    return min(found, key=lambda one: float(((target - one.foretold) ** 2).mean()))


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


def trees(rounds: int, rate: float) -> Any:
    """Shallow, with large leaves: what is wanted is the mean of many rows, not the value of one."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second to import

    return HistGradientBoostingRegressor(
        max_iter=rounds,
        learning_rate=rate,
        max_leaf_nodes=8,
        min_samples_leaf=50,
        l2_regularization=10.0,
        random_state=0,
        early_stopping=False,
    )


def smooth() -> Any:
    """Linear in each input, its distance from the middle and the square of that (as Glejser 1969 and White 1980 look
    for errors that grow): it goes on where requests move to the edge of what has matured, and trees do not."""
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
