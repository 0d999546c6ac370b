"""What an AutoML system is asked, and how it answers: by files, so that each runs in an environment of its own.

The folder holds job.json, train.parquet (the target is its last column) and test.parquet (without it). The answer is
predictions.npy, [n, classes] in the job's order of classes or [n] values, and answer.json.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SINGLE_ROWS = 100
WARM_ROWS = 5  # a first answer loads libraries and fills caches
FEWEST_ROWS, ENOUGH_SECONDS = 11, 5.0  # a slow system is timed on fewer rows

Predict = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class Job:
    folder: Path
    kind: str  # binary, multiclass or regression
    target: str
    classes: list[str]  # their texts, in the order of the predictions' columns; none for a regression
    budget_seconds: int
    threads: int
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Job:
        return cls(folder=folder, **json.loads((folder / "job.json").read_text()))

    def frame(self, name: str) -> pd.DataFrame:
        """train or test; texts are Python strings, classes of the target too, and what is missing is None or NaN."""
        with pd.option_context("future.infer_string", False):
            held = pd.read_parquet(self.folder / f"{name}.parquet")
        if self.classes and self.target in held:
            held[self.target] = held[self.target].astype(str).astype(object)
        return held

    def ordered(self, probabilities: Any, found: list[str]) -> Any:
        """Probabilities whose columns are the classes `found`, in the job's order; a class that it lacks has 0."""
        held = np.zeros((len(probabilities), len(self.classes)))
        values = np.asarray(probabilities, dtype=float)
        for place, name in enumerate(found):
            held[:, self.classes.index(str(name))] = values[:, place]
        return held


def answer(fit: Callable[[Job, pd.DataFrame], Predict]) -> None:
    """Fits by `fit`, predicts the holdout, then single rows one by one, and leaves the answer in the folder."""
    job = Job.read(Path(sys.argv[1]))
    train, test = job.frame("train"), job.frame("test")
    began = time.monotonic()
    predict = fit(job, train)
    seconds = time.monotonic() - began
    np.save(job.folder / "predictions.npy", np.asarray(predict(test), dtype=float))
    write_answer(job.folder, seconds, single_row_ms(predict, [test.iloc[[i]] for i in range(min(len(test), 1000))]))


def single_row_ms(predict: Callable[[Any], Any], rows: list[Any]) -> float:
    """The median time of a prediction of one row, of SINGLE_ROWS evenly chosen ones or of as many as 5 s allow."""
    for row in rows[:WARM_ROWS]:
        predict(row)
    taken: list[float] = []
    for row in rows[:: max(1, len(rows) // SINGLE_ROWS)][:SINGLE_ROWS]:
        began = time.perf_counter()
        predict(row)
        taken.append(time.perf_counter() - began)
        if len(taken) >= FEWEST_ROWS and sum(taken) > ENOUGH_SECONDS:
            break
    return statistics.median(taken) * 1e3


def write_answer(folder: Path, fit_seconds: float, row_ms: float, **detail: Any) -> None:
    """Written last: a folder with an answer is complete."""
    held = {"fit_seconds": round(fit_seconds, 2), "row_ms": round(row_ms, 4), "detail": detail}
    (folder / "answer.json").write_text(json.dumps(held))
