"""scikit-learn's histogram gradient boosting with its defaults, text columns as its categories.

It takes at most 255 of them in a column: of a longer one, all but the 254 most frequent are one.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from job import Job, Predict, answer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

MOST = 254
OTHER = "other, and seldom"


def fit(job: Job, train: pd.DataFrame) -> Predict:
    x = train.drop(columns=job.target)
    kept = {name: _kept(x[name]) for name in x.columns if x[name].dtype == object}
    kind = HistGradientBoostingClassifier if job.classes else HistGradientBoostingRegressor
    system = kind(categorical_features="from_dtype", random_state=job.seed)
    system.fit(_typed(x, kept), train[job.target])

    def predict(frame: pd.DataFrame) -> Any:
        held = _typed(frame, kept)
        if not job.classes:
            return system.predict(held)
        return job.ordered(system.predict_proba(held), list(system.classes_))

    return predict


def _kept(column: pd.Series[Any]) -> list[str]:
    levels = column.value_counts().index
    return [str(level) for level in levels] if len(levels) <= MOST else [*map(str, levels[:MOST]), OTHER]


def _typed(frame: pd.DataFrame, kept: dict[str, list[str]]) -> pd.DataFrame:
    held = frame.copy()
    for name, levels in kept.items():
        column = frame[name]
        if levels[-1] == OTHER:
            column = column.where(column.isna() | column.isin(levels), OTHER)
        held[name] = pd.Categorical(column, categories=levels)
    return held


answer(fit)
