"""LightGBM as an estimator that is plain data: the trees as LightGBM writes them down, and nothing else.

Its own estimators hold a handle into the library, and their files would have to trust it. The text is exact (17
digits), so that the trees answer as they were grown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    import lightgbm

Floats = npt.NDArray[np.float64]


def not_here() -> str | None:
    """Why LightGBM cannot be used on this machine; None where it can. Its wheel wants the system's OpenMP library."""
    try:
        import lightgbm  # noqa: F401
    except (ImportError, OSError) as error:
        return str(error)
    return None


class LightBoosting(BaseEstimator):  # type: ignore[misc]
    """Boosted trees grown leaf by leaf (Ke et al. 2017). Numbers only; NaN is missing.

    One thread and columns in turn: the same rows and seed give the same trees.
    """

    def __init__(
        self,
        classification: bool,
        *,
        max_iter: int = 100,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        subsample: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.classification = classification
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.subsample = subsample
        self.random_state = random_state

    def fit(self, x: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: Floats | None = None) -> Self:
        self._grow(x, y, sample_weight)
        return self

    def watch(
        self,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        sample_weight: Floats | None,
        later: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        patience: int,
    ) -> Floats:
        """Fits as `fit`, until so many rounds in a row were in vain; the loss on the later rows after each round.

        Log loss of classes (all of them known), root mean squared error of values.
        """
        return self._grow(x, y, sample_weight, later, patience)

    def cut(self, rounds: int) -> Self:
        """Forgets the trees of all rounds behind the first so many."""
        self.text_ = self._booster().model_to_string(num_iteration=rounds)
        return self

    def predict(self, x: npt.NDArray[Any]) -> Floats:
        return np.asarray(self._booster().predict(x, num_threads=1), dtype=np.float64)

    def predict_proba(self, x: npt.NDArray[Any]) -> Floats:
        if len(self.classes_) == 1:
            return np.ones((len(x), 1))
        answers = self.predict(x)
        return np.column_stack([1.0 - answers, answers]) if answers.ndim == 1 else answers

    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        return lightgbm.Booster(model_str=self.text_)

    def _grow(
        self,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        weights: Floats | None,
        later: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
        patience: int = 0,
    ) -> Floats:
        import lightgbm

        params = self._params()
        codes = y
        if self.classification:
            self.classes_, codes = np.unique(y, return_inverse=True)
            if len(self.classes_) == 1:
                raise ValueError("all rows are of one class")
            params |= {"objective": "binary", "metric": "binary_logloss"}
            if len(self.classes_) > 2:
                params |= {"objective": "multiclass", "metric": "multi_logloss", "num_class": len(self.classes_)}
        rows = lightgbm.Dataset(x, codes, weight=weights, params=params)
        seen: dict[str, Any] = {}
        judged: dict[str, Any] = {}
        if later is not None:
            others = np.searchsorted(self.classes_, later[1]) if self.classification else later[1]
            held = lightgbm.Dataset(later[0], others, reference=rows, params=params)
            callbacks = [lightgbm.record_evaluation(seen), lightgbm.early_stopping(patience, verbose=False)]
            judged = {"valid_sets": [held], "valid_names": ["later"], "callbacks": callbacks}
        booster = lightgbm.train(params, rows, self.max_iter, **judged)
        self.text_ = booster.model_to_string(num_iteration=-1)
        return np.asarray(next(iter(seen["later"].values())), dtype=np.float64) if seen else np.empty(0)

    def _params(self) -> dict[str, Any]:
        return {
            "objective": "regression",
            "metric": "rmse",
            "learning_rate": self.learning_rate,
            "num_leaves": self.max_leaf_nodes,
            "min_data_in_leaf": self.min_samples_leaf,
            "lambda_l2": self.l2_regularization,
            "feature_fraction": self.max_features,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1 if self.subsample < 1.0 else 0,
            "seed": self.random_state,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
