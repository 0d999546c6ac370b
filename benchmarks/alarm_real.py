"""Real streams in their own order, cut into days of so many rows; the first part is the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.alarm_case import Case, Floats


@dataclass(frozen=True, slots=True)
class Real:
    """`leave` are columns that tell the time, which goes on by itself."""

    file: str
    rows_per_day: int
    reference_days: int
    target: str
    leave: tuple[str, ...] = ()


REAL = {
    # at31 rises from the first row to the last: a time.
    "luxembourg (quiet)": Real("luxembourg", 50, 18, "target", ("at31",)),
    "insects, gradual": Real("insects_gradual_balanced", 350, 20, "class"),
    # Hourly, so that a day is a day: a year, of which every season is known, then the next one.
    "bike sharing": Real("bike_sharing_hourly", 24, 360, "cnt", ("dteday", "season", "yr", "mnth")),
}


def real_case(data: Path, name: str) -> Case:
    """Raises FileNotFoundError naming the file."""
    real = REAL[name]
    path = data / "streams" / f"{real.file}.parquet"
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected {real.file} there")
    frame = pd.read_parquet(path).drop(columns=list(real.leave))
    task = (
        "regression"
        if pd.api.types.is_float_dtype(frame[real.target]) or frame[real.target].nunique() > 20
        else "class"
    )
    frame[real.target] = frame[real.target] if task == "regression" else pd.factorize(frame[real.target], sort=True)[0]
    values = frame.to_numpy(dtype=np.float64)
    target = list(frame.columns).index(real.target)
    days = np.arange(len(values)) // real.rows_per_day
    cut = int(np.searchsorted(days, real.reference_days))
    last = len(values) // real.rows_per_day
    return Case(
        reference=values[:cut],
        reference_days=days[:cut] + 20_000,
        days=[values[days == day] for day in range(real.reference_days, last)],
        categories=frozenset() if task == "regression" else frozenset({target}),
        importances=_importances(values[:cut], target, task),
        min_rows=min(200, 4 * real.rows_per_day),
        target=target,
    )


def _importances(reference: Floats, target: int, task: str) -> dict[int, float]:
    """Of trees fitted on the reference's first four fifths, by mixing columns of the last, as retrain does."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance
    from threadpoolctl import threadpool_limits

    columns = [column for column in range(reference.shape[1]) if column != target]
    model = HistGradientBoostingRegressor() if task == "regression" else HistGradientBoostingClassifier()
    cut = len(reference) * 4 // 5
    # Two threads beside a busy neighbour wait for each other, ten times slower than one alone.
    with threadpool_limits(limits=1):
        model.fit(reference[:cut, columns], reference[:cut, target])
        scoring = "neg_mean_squared_error" if task == "regression" else "neg_log_loss"
        held = reference[cut:][:1000]
        found = permutation_importance(
            model, held[:, columns], held[:, target], scoring=scoring, n_repeats=3, random_state=0
        )
    return {column: float(rise) for column, rise in zip(columns, found.importances_mean, strict=True)}
