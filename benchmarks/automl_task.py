"""A Parquet file whose last column is the target, as a task: its kind, its holdouts, its metric."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

from record.configuration.inspection import inspect_frame

Kind = Literal["binary", "multiclass", "regression"]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

METRICS: dict[Kind, str] = {"binary": "AUC", "multiclass": "log loss", "regression": "RMSE"}
HELD_OUT = 0.25
MOST_CERTAIN = 1e-15  # of a probability: a certain error costs 34.5, not everything


@dataclass(frozen=True)
class Task:
    name: str
    frame: pd.DataFrame
    kind: Kind
    classes: tuple[str, ...]  # their texts; the second of two is the positive one
    digest: str  # of the file

    @classmethod
    def read(cls, path: Path) -> Task:
        """The task; whether a column of numbers holds classes is told as `ringside init` tells it."""
        frame = pd.read_parquet(path)
        target = frame[frame.columns[-1]]
        frame = frame[target.notna()].reset_index(drop=True)
        regression = inspect_frame(frame, str(target.name)).task == "regression"
        texts = () if regression else tuple(sorted(set(frame[target.name].astype(str))))
        kind: Kind = "regression" if regression else "binary" if len(texts) == 2 else "multiclass"
        return cls(path.stem, frame, kind, texts, hashlib.sha256(path.read_bytes()).hexdigest()[:16])

    @property
    def target(self) -> str:
        return str(self.frame.columns[-1])

    @property
    def better(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.kind == "binary" else -1

    def codes(self) -> npt.NDArray[Any]:
        """The classes by their place, or the values."""
        if self.kind == "regression":
            return self.frame[self.target].to_numpy(dtype=np.float64)
        return np.searchsorted(np.array(self.classes), self.frame[self.target].astype(str).to_numpy(dtype=str))

    def split(self, holdout: int) -> tuple[Places, Places]:
        """The rows to learn from, and those of the holdout with this number."""
        return split(self.codes(), self.kind != "regression", holdout)

    def score(self, truth: npt.NDArray[Any], predicted: Floats) -> float:
        """AUC, log loss or RMSE; ValueError where a prediction is not finite."""
        if len(predicted) != len(truth) or not np.isfinite(predicted).all():
            raise ValueError(f"{int((~np.isfinite(predicted)).sum())} predictions are not finite")
        if self.kind == "regression":
            return float(np.sqrt(np.mean((predicted.ravel() - truth) ** 2)))
        if self.kind == "binary":
            return float(roc_auc_score(truth, predicted[:, 1]))
        held = np.clip(predicted, MOST_CERTAIN, 1)
        return float(log_loss(truth, held / held.sum(axis=1, keepdims=True), labels=np.arange(len(self.classes))))

    def dummy(self, holdout: int) -> float:
        """The score of the training rows' mean, or of the shares of their classes."""
        learn, held = self.split(holdout)
        codes = self.codes()
        if self.kind == "regression":
            return self.score(codes[held], np.full(len(held), codes[learn].mean()))
        shares = np.bincount(codes[learn], minlength=len(self.classes)) / len(learn)
        return self.score(codes[held], np.tile(shares, (len(held), 1)))

    def write_job(self, folder: Path, holdout: int, budget: int, threads: int, seed: int) -> None:
        """What a system gets to see: the rows to learn from, and the holdout's without their target."""
        learn, held = self.split(holdout)
        self.frame.iloc[learn].reset_index(drop=True).to_parquet(folder / "train.parquet")
        self.frame.iloc[held].drop(columns=self.target).reset_index(drop=True).to_parquet(folder / "test.parquet")
        asked: dict[str, Any] = {"kind": self.kind, "target": self.target, "classes": list(self.classes)}
        asked |= {"budget_seconds": budget, "threads": threads, "seed": seed}
        (folder / "job.json").write_text(json.dumps(asked))


def split(codes: npt.NDArray[Any], classes: bool, seed: int) -> tuple[Places, Places]:
    """A shuffled quarter held out, of each class a quarter of its rows; a class of one or two rows is learned from."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(codes == code) for code in np.unique(codes)] if classes else [np.arange(len(codes))]
    mixed = [rng.permutation(group) for group in groups]
    held = np.concatenate([group[: round(len(group) * HELD_OUT)] for group in mixed])
    learn = np.concatenate([group[round(len(group) * HELD_OUT) :] for group in mixed])
    return rng.permutation(learn), rng.permutation(held)
