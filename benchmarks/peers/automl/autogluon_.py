"""AutoGluon with `medium_quality`, its preset for a quick answer; the finished predictor is kept in memory."""

from __future__ import annotations

from typing import Any

import pandas as pd
from autogluon.tabular import TabularPredictor
from job import Job, Predict, answer

METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def fit(job: Job, train: pd.DataFrame) -> Predict:
    system = TabularPredictor(
        label=job.target,
        problem_type=job.kind,
        eval_metric=METRICS[job.kind],
        path=str(job.folder / "models"),
        verbosity=0,
    )
    system.fit(train, presets="medium_quality", time_limit=job.budget_seconds, num_cpus=job.threads, num_gpus=0)
    system.persist()

    def predict(frame: pd.DataFrame) -> Any:
        if not job.classes:
            return system.predict(frame, as_pandas=False)
        held = system.predict_proba(frame)
        return job.ordered(held, list(held.columns))

    return predict


answer(fit)
