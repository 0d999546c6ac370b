"""What a reference's rows were answered, and what turned out to be true: a file apart from the features.

A feature may be called `prediction`, `target` or as anything else: no name of a feature meets one of an output, since
they stand in two files. The rows of both are the same, in the same order. Versions of before 2027 have outputs among
the columns of reference.parquet, and are read as they are.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from record.contract.schema import Schema
from record.versions.artifact import REFERENCE_TIME

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "reference.parquet"
REFERENCE_OUTPUTS = "reference_outputs.parquet"
TIME, TARGET, NUMBER, SHARE = "time", "target", "number", "share."  # the file's columns; one share for each class

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReferenceOutputs:
    """One entry per row; of a classification `shares` [n, K] (or [n, 1] of an old version), else `numbers`.

    Answers are NaN where the version was fitted on the row. `times` are microseconds since 1970, negative where
    unknown; None where a version's files lack them, as `target`.
    """

    numbers: Floats
    shares: Floats
    target: npt.NDArray[Any] | None
    times: npt.NDArray[np.int64] | None

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which rows have an honest answer."""
        if self.shares.shape[1]:
            return np.asarray(np.isfinite(self.shares).all(axis=1))
        return np.asarray(np.isfinite(self.numbers))


def write_reference_outputs(
    path: Path, answers: Floats, target: npt.NDArray[Any], times: npt.NDArray[np.int64]
) -> None:
    """`answers`: a number for each row, or one probability for each class [n, K]; target classes as text."""
    import pandas as pd

    columns: dict[str, Any] = {TIME: times, TARGET: target}
    if answers.ndim == 1:
        columns[NUMBER] = answers
    else:
        columns |= {f"{SHARE}{place}": answers[:, place] for place in range(answers.shape[1])}
    pd.DataFrame(columns).to_parquet(path, index=False)


def read_reference_outputs(outputs: bytes | None, features: pd.DataFrame, schema: Schema) -> ReferenceOutputs:
    """The outputs of the rows in `features`, which are rows of reference.parquet under their index."""
    import pandas as pd

    if outputs is None:
        return _among_features(features, schema)
    frame = pd.read_parquet(io.BytesIO(outputs)).loc[features.index]
    rows, regression = len(frame), schema.problem.task == "regression"
    shares = np.empty((rows, 0))
    if not regression:
        shares = frame[[f"{SHARE}{place}" for place in range(len(schema.classes))]].to_numpy(dtype=np.float64)
    numbers = frame[NUMBER].to_numpy(dtype=np.float64) if regression else np.full(rows, np.nan)
    return ReferenceOutputs(numbers, shares, _target(frame[TARGET], schema), frame[TIME].to_numpy(dtype=np.int64))


def _among_features(frame: pd.DataFrame, schema: Schema) -> ReferenceOutputs:
    """Of a version that has no file of outputs: columns that are no feature's."""
    features = {column.name for column in schema.problem.features}
    regression = schema.problem.task == "regression"
    named = schema.problem.positive_class or (schema.classes[-1] if schema.classes else "")
    name = "prediction" if regression else f"probability.{named}"
    own = {column for column in frame.columns if column not in features}
    answers = frame[name].to_numpy(dtype=np.float64) if name in own else np.full(len(frame), np.nan)
    target = schema.problem.target
    return ReferenceOutputs(
        answers,
        np.empty((len(frame), 0)) if regression else answers[:, np.newaxis],
        _target(frame[target], schema) if target in own else None,
        frame[REFERENCE_TIME].to_numpy(dtype=np.int64) if REFERENCE_TIME in own else None,
    )


def _target(column: Any, schema: Schema) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy(dtype=np.float64 if schema.problem.task == "regression" else object))
