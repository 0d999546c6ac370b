"""Real streams: exchangeable models in the real order of their requests, beside the same pairs shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from monitoring.prove.traffic import Floats, Integers, Traffic, at_rate
from record.contract.losses import bout_losses

MODELS = 8
SHARE = 0.6  # of the rows before the bouts, drawn for each model: nobody knows more than another
WARM_UP = 0.3
MOST_WARM_UP = 8_000
PAIRS = 10_000
AFTER = 5_000
PER_DAY = 200.0


@dataclass(frozen=True, slots=True)
class RealBout:
    """One ordered pair of models on one stream: its pairs, and all pairs with the labels that follow."""

    stream: str
    traffic: Traffic
    whole: Traffic

    def next_labels(self, place: int) -> Traffic:
        """The 5,000 pairs from `place` on: what came of a promotion there."""
        return self.whole.rows(place, place + AFTER)


def stream_files(folder: Path) -> list[Path]:
    """The Parquet files of the folder, or of its folder `streams`."""
    own = sorted(folder.glob("*.parquet"))
    return own or sorted((folder / "streams").glob("*.parquet"))


def real_bouts(file: Path, models: int = MODELS, seed: int = 0) -> Iterator[RealBout]:
    """Every ordered pair of models that were trained on random parts of the same first rows."""
    frame = pd.read_parquet(file)
    target = frame.columns[-1]
    times = _times(frame.drop(columns=target))
    features = _numbers(frame.drop(columns=target))
    y, classes = _target(frame[target])
    begun = min(int(len(frame) * WARM_UP), MOST_WARM_UP)
    rng = np.random.default_rng(seed)
    end = min(len(frame), begun + PAIRS + AFTER)
    if end - begun < 1_000:
        return
    costs, answers = _costs(features, y, classes, begun, end, models, rng)
    count = min(PAIRS, (end - begun) * 2 // 3)
    for champion, challenger in permutations(range(models), 2):
        differences = costs[champion] - costs[challenger]
        shown = np.column_stack([answers[champion], answers[challenger]])
        whole = Traffic(
            times=times[begun:end],
            differences=differences,
            labelled=np.ones(end - begun, dtype=np.bool_),
            answers=shown,
            bounds=np.ones(end - begun),
            worst=-np.ones(end - begun),
        )
        yield RealBout(file.stem, whole.rows(0, count), whole)


def shuffled(bout: RealBout, rng: np.random.Generator) -> Traffic:
    """The same pairs in no order."""
    order = rng.permutation(len(bout.traffic))
    held = bout.traffic
    labelled = held.labelled[order]
    return Traffic(held.times, held.differences[order], labelled, held.answers[order], held.bounds, held.worst)


def significantly_behind(after: Floats, times_block: int = 50) -> bool:
    """Whether the challenger was worse on the labels that followed: the mean of blocks, one-sided 97.5 %."""
    blocks = np.array([block.mean() for block in np.array_split(after, max(2, len(after) // times_block))])
    error = float(blocks.std(ddof=1)) / np.sqrt(len(blocks))
    return bool(blocks.mean() < -1.96 * error)


def _costs(
    features: Floats, y: Any, classes: int, begun: int, end: int, models: int, rng: np.random.Generator
) -> tuple[list[Floats], list[Floats]]:
    """Each model's losses and answers on the rows from `begun` to `end`."""
    costs, answers = [], []
    for model in range(models):
        rows = rng.choice(begun, int(begun * SHARE), replace=False)
        fitted = _fit(features[rows], y[rows], classes, model)
        held = features[begun:end]
        if classes:
            shares = np.zeros((len(held), classes))
            shares[:, fitted.classes_.astype(int)] = fitted.predict_proba(held)
            costs.append(bout_losses("brier", shares, y[begun:end], 1.0))
            answers.append(shares[:, -1])
        else:
            said = np.asarray(fitted.predict(held), dtype=np.float64)
            scale = 3 * float(np.median(np.abs(fitted.predict(features[:begun]) - y[:begun]))) or 1.0
            costs.append(bout_losses("absolute", said, y[begun:end], scale))
            answers.append(said)
    return costs, answers


def _fit(features: Floats, y: Any, classes: int, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(max_iter=40, max_leaf_nodes=15, random_state=seed).fit(features, y)


def _target(column: pd.Series[Any]) -> tuple[Any, int]:
    """Class codes and how many there are, or values and 0."""
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and column.nunique() > 20:
        return column.to_numpy(np.float64), 0
    codes, names = pd.factorize(column, sort=True)
    return codes.astype(np.int64), len(names)


def _numbers(frame: pd.DataFrame) -> Floats:
    """Every column as numbers: codes of texts, seconds of times."""
    columns = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            columns.append(column.to_numpy(np.float64, na_value=np.nan))
        else:
            columns.append(pd.factorize(column, sort=True)[0].astype(np.float64))
    return np.column_stack(columns)


def _times(frame: pd.DataFrame) -> Integers:
    """The stream's own times where a column has them in order; else so many rows a day."""
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        parsed = pd.to_datetime(column, errors="coerce", utc=True)
        if parsed.notna().all() and parsed.is_monotonic_increasing and parsed.nunique() > len(frame) / 400:
            micros = parsed.astype("datetime64[us, UTC]").astype(np.int64).to_numpy()
            return np.asarray(micros - micros[0] + np.arange(len(micros)) % 1_000, dtype=np.int64)
    return at_rate(len(frame), PER_DAY)
