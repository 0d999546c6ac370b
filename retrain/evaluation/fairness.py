"""Protected groups side by side on the holdout: who is selected, who is wronged how often, and whose probabilities
hold, with 95 % intervals, and each group's difference from all others.

The rates are those of equalised odds and demographic parity (Hardt, Price & Srebro 2016), and calibration by group,
which cannot all be equal at once where base rates differ (Kleinberg, Mullainathan & Raghavan 2016): they are shown,
and none of them is judged.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.contract.column_slices import column_slices
from record.contract.operating_point import OperatingPoint, said_classes
from retrain.data.dataset import Dataset
from retrain.evaluation.curves import wilson

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Rate:
    """`rows` it is of; `difference` from all rows outside the group, with a 95 % interval, None without such rows."""

    value: float
    low: float
    high: float
    rows: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Two classes: selection_rate, true_positive_rate, false_positive_rate, calibration (said − observed); several:
    accuracy and loss; a regression: mean error and mean absolute error."""

    column: str
    name: str
    rows: int
    rates: dict[str, Rate]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def protected_groups(
    rows: Dataset, scores: Floats, watched: int | None, losses: Floats, point: OperatingPoint | None = None
) -> list[Group]:
    """The groups of every protected column that have enough rows, by what is answered; times have none."""
    found = []
    for column in rows.schema.problem.protected:
        for name, within in column_slices(column, _values(rows.frame, column)):
            if within.sum() >= FEWEST_ROWS:
                measures = _measures(rows, scores, watched, losses, point)
                rates = {key: _rate(values, of, within) for key, (values, of) in measures.items()}
                held = {key: rate for key, rate in rates.items() if rate is not None}
                found.append(Group(column, name, int(within.sum()), held))
    return found


def _values(frame: pd.DataFrame, column: str) -> npt.NDArray[Any] | None:
    if column not in frame.columns:
        return None
    values = frame[column]
    if values.dtype.kind in "iuf":
        return values.to_numpy(dtype=np.float64)
    texts: npt.NDArray[Any] = values.astype(object).where(values.notna(), None).to_numpy(dtype=object)
    return texts


def _measures(
    rows: Dataset, scores: Floats, watched: int | None, losses: Floats, point: OperatingPoint | None
) -> dict[str, tuple[Floats, Flags]]:
    """What is averaged, row by row, and over which rows."""
    everybody = np.ones(len(rows), dtype=np.bool_)
    if not rows.classes:
        error = scores - rows.target
        return {"mean_error": (error, everybody), "mean_absolute_error": (np.abs(error), everybody)}
    answers = said_classes(scores, point)
    if watched is None:
        right = np.asarray(answers == rows.target, dtype=np.float64)
        return {"accuracy": (right, everybody), "loss": (losses, everybody)}
    said, is_ = scores[:, watched], rows.target == watched
    selected = np.asarray(answers == watched, dtype=np.float64)
    return {
        "selection_rate": (selected, everybody),
        "true_positive_rate": (selected, is_),
        "false_positive_rate": (selected, ~is_),
        "calibration": (np.asarray(said - is_, dtype=np.float64), everybody),
    }


def _rate(values: Floats, of: Flags, within: Flags) -> Rate | None:
    own, others = values[of & within], values[of & ~within]
    if not len(own):
        return None
    mean = float(own.mean())
    low, high = _interval(own)
    if len(own) < 2 or len(others) < 2:
        return Rate(mean, low, high, len(own), None, None, None)
    error = math.hypot(own.std(ddof=1) / math.sqrt(len(own)), others.std(ddof=1) / math.sqrt(len(others)))
    apart = mean - float(others.mean())
    return Rate(mean, low, high, len(own), apart, apart - 1.96 * error, apart + 1.96 * error)


def _interval(values: Floats) -> tuple[float, float]:
    """Wilson's for shares, the normal one for means."""
    if np.isin(values, (0.0, 1.0)).all():
        return wilson(float(values.sum()), len(values))
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return float(values.mean()) - half, float(values.mean()) + half
