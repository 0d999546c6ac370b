"""How much each matured row counts for rows that wait: more where the waiting ones are like it.

The weight is the density of the waiting rows over that of the matured ones, as a classifier of the two gives it by its
odds (Bickel, Brückner and Scheffer, "Discriminative learning under covariate shift", JMLR 2009). Each row's odds are
those of a classifier that was not fitted on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.quality.measures import auc

Floats = npt.NDArray[np.float64]

FITTED_ROWS = 4_000  # of each side and fold: a fit takes a tenth of a second, and more move no weight by a tenth
FEWEST_ROWS = 200  # of either side; fewer say nothing about how the two differ
CLEAR = 2.0  # standard errors of the area above one half; below, all rows count alike
LARGEST = 10.0  # weight in means: beyond, a few rows would decide
FEWEST_EFFECTIVE = 200  # rows that the weights leave; weights are drawn together until they do
SEED = 0
# A shift of means is linear in the log odds, and trees blur it; anything else is for the trees. The one that foretells
# rows better which it was not fitted on is believed.
CLASSIFIERS = ("linear", "trees")


def likeness(matured: Floats, waiting: Floats, flattened: float = 1.0) -> Floats:
    """Weights [n] of the matured rows with the mean 1, the ratios to the power `flattened`; all 1 where the two cannot
    be told apart."""
    even = np.ones(len(matured))
    if min(len(matured), len(waiting)) < FEWEST_ROWS:
        return even
    odds = min((_odds(kind, matured, waiting) for kind in CLASSIFIERS), key=lambda one: one.surprise)
    if odds.area - 0.5 <= CLEAR * odds.error:
        return even
    for power in (1.0, 0.75, 0.5, 0.25):
        weights = np.exp(flattened * power * (odds.logits - odds.logits.max()))
        weights = np.minimum(weights / weights.mean(), LARGEST)
        weights /= weights.mean()
        if effective_rows(weights) >= FEWEST_EFFECTIVE:
            return np.asarray(weights, dtype=np.float64)
    return even


def effective_rows(weights: Floats) -> float:
    """As many rows of equal weight would say as much (Kish)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


@dataclass(frozen=True, slots=True)
class _Odds:
    logits: Floats  # of the matured rows
    surprise: float  # mean log loss over both sides, each counting half
    area: float  # under the ROC curve
    error: float  # its standard error


def _odds(kind: str, matured: Floats, waiting: Floats) -> _Odds:
    """What a classifier of this kind says of rows that it was not fitted on."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rng = np.random.default_rng(SEED)
    logits, theirs = np.empty(len(matured)), np.empty(len(waiting))
    own, other = rng.permutation(len(matured)) % 2, rng.permutation(len(waiting)) % 2
    for fold in (0, 1):
        ours = _some(np.flatnonzero(own != fold), rng)
        those = _some(np.flatnonzero(other != fold), rng)
        inputs = np.vstack([matured[ours], waiting[those]])
        with threadpool_limits(limits=1):
            model = _classifier(kind).fit(inputs, np.repeat([0, 1], [len(ours), len(those)]))
            even = math.log(len(ours) / len(those))  # as if both sides had as many rows
            logits[own == fold] = model.decision_function(matured[own == fold]) + even
            theirs[other == fold] = model.decision_function(waiting[other == fold]) + even
    surprise = float(np.logaddexp(0, logits).mean() + np.logaddexp(0, -theirs).mean()) / 2
    found = auc(np.concatenate([logits, theirs]), np.repeat([False, True], [len(logits), len(theirs)]))
    if found is None:
        return _Odds(logits, surprise, 0.5, 0.0)
    return _Odds(logits, surprise, found.value, float(found.influence.std()) / math.sqrt(len(found.influence)))


def _some(places: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return places if len(places) <= FITTED_ROWS else rng.choice(places, FITTED_ROWS, replace=False)


def _classifier(kind: str) -> Any:
    """Imports take a second: only checks with enough rows pay for them."""
    if kind == "linear":
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.1)
        )
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40,
        learning_rate=0.1,
        max_leaf_nodes=6,
        min_samples_leaf=50,
        l2_regularization=10.0,
        random_state=0,
        early_stopping=False,
    )
