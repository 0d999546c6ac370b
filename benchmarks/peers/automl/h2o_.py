"""H2O AutoML on a server of its own; text columns are declared as categories, classes too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h2o
import pandas as pd
from h2o.automl import H2OAutoML
from job import Job, Predict, answer

METRICS = {"binary": "AUC", "multiclass": "logloss", "regression": "RMSE"}
MEMORY = "6G"  # of the server: a quarter of what H2O would take of 24 GB by default is little for its ensembles


def fit(job: Job, train: pd.DataFrame) -> Predict:
    h2o.no_progress()
    features = [name for name in train.columns if name != job.target]
    texts = [name for name in features if train[name].dtype == object]
    held = train.copy()
    if job.classes:  # its levels are in the order of their texts
        held[job.target] = [f"c{job.classes.index(name):03d}" for name in train[job.target]]
    frame = h2o.H2OFrame(held, column_types=_types(held, [*texts, job.target] if job.classes else texts))
    system = H2OAutoML(max_runtime_secs=job.budget_seconds, seed=job.seed, sort_metric=METRICS[job.kind])
    system.train(x=features, y=job.target, training_frame=frame)
    if system.leader is None:
        raise SystemExit("no model was finished within the budget")

    def predict(rows: pd.DataFrame) -> Any:
        given = h2o.H2OFrame(rows, column_types=_types(rows, texts))
        made = system.leader.predict(given).as_data_frame()
        if not job.classes:
            return made["predict"]
        return job.ordered(made.drop(columns="predict"), [job.classes[int(name[1:])] for name in made.columns[1:]])

    return predict


def _types(frame: pd.DataFrame, texts: list[str]) -> dict[str, str]:
    return {name: "enum" if name in texts else "real" for name in frame.columns}


def main() -> None:
    job = Job.read(Path(sys.argv[1]))
    h2o.init(ip="127.0.0.1", nthreads=job.threads, max_mem_size=MEMORY, name="ringside-benchmark", verbose=False)
    try:
        answer(fit)
    finally:
        h2o.cluster().shutdown()


main()
