"""FLAML as its documentation has it: a task, a metric and a time budget."""

from __future__ import annotations

from typing import Any

import pandas as pd
from flaml import AutoML
from job import Job, Predict, answer

METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def fit(job: Job, train: pd.DataFrame) -> Predict:
    system = AutoML()
    system.fit(
        dataframe=train,
        label=job.target,
        task="classification" if job.classes else "regression",
        metric=METRICS[job.kind],
        time_budget=job.budget_seconds,
        n_jobs=job.threads,
        seed=job.seed,
        verbose=0,
        log_file_name=str(job.folder / "flaml.log"),
    )

    def predict(frame: pd.DataFrame) -> Any:
        if not job.classes:
            return system.predict(frame)
        return job.ordered(system.predict_proba(frame), [str(name) for name in system.classes_])

    return predict


answer(fit)
