"""Rows that are the same: across the split, and with different targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from retrain.data.dataset import Dataset
from retrain.data.variable import spread
from retrain.guards.finding import Finding, Severity

Hashes = npt.NDArray[Any]

# Of the rows held out. Below it, a score moves by less than its own interval.
TWINS = 0.05
# Of the rows held out: with ids that say so, a table that holds its rows twice. Without ids a row that comes again may
# be another case just like it (the same article sold again), and nothing stops for it.
TWICE = 0.2
FEWEST = 10
# Of all rows: features that are the same with targets that are not.
DISPUTED = 0.005
# A regression's targets differ where they are further apart than this many standard deviations of all.
APART = 0.5

# Rows of a few values meet by chance. How often, were the columns independent, is easily said; they are not, and so
# ten times as often is still called chance.
DEPENDENCE = 10.0
# Where a row comes more often than this on average, coming again is its nature, …
REPEATS = 2.0
# … unless so many of the distinct rows come the same number of times: the table was pasted together from copies.
PASTED = 0.8
_SAMPLED = 20_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Each row's features, and its features with its target, as one number of 64 bits."""

    features: Hashes
    whole: Hashes
    ids: Hashes | None  # each row's id, 0 where it has none; None where there is no id column
    by_chance: float  # how many rows the same as a given one are expected at most where none is a copy
    repeats: float  # how many rows have the same features, on average
    pasted: bool  # whether most distinct rows stand the same number of times, twice or more

    @property
    def telling(self) -> bool:
        """Whether two rows that are the same are more than chance."""
        return self.by_chance < TWINS and (self.repeats < REPEATS or self.pasted)


def read_rows(data: Dataset) -> Rows:
    """About a second for a million rows of twenty columns."""
    numbers = pd.DataFrame(data.arrays.numbers + np.float32(0.0))  # −0.0 is 0.0
    texts = pd.DataFrame(data.arrays.categories)
    texts.columns = pd.RangeIndex(numbers.shape[1], numbers.shape[1] + texts.shape[1])
    frame = pd.concat([numbers, texts], axis=1)
    features = pd.util.hash_pandas_object(frame, index=False, categorize=False).to_numpy()
    target = pd.util.hash_array(np.ascontiguousarray(data.target))
    whole = features * np.uint64(0x9E3779B97F4A7C15) ^ target
    repeats = len(features) / max(1, len(np.unique(features)))
    return Rows(features, whole, _ids(data), _by_chance(frame), repeats, _pasted(data, whole))


def _pasted(data: Dataset, whole: Hashes) -> bool:
    """Whether rows are copies in every column, carried ones (a time, an id) included, and nearly all equally often."""
    carried = [column.name for column in data.schema.problem.columns if column.role == "carried"]
    texts = data.frame[[name for name in carried if name in data.frame.columns]].astype(str)
    rows = (
        whole ^ pd.util.hash_pandas_object(texts, index=False, categorize=False).to_numpy() if texts.shape[1] else whole
    )
    _, times = np.unique(rows, return_counts=True)
    usual = np.bincount(times).argmax()
    return bool(usual >= 2 and (times == usual).mean() >= PASTED)


def find_duplicates(rows: Rows, held: int) -> Iterator[Finding]:
    """Rows held out that were learned from: the same features and the same target."""
    if held == 0:
        return
    certain = _twins(rows.whole ^ rows.ids, held, rows.ids != 0) if rows.ids is not None else 0
    count = certain if certain >= TWICE * held else _twins(rows.whole, held) if rows.telling else certain
    if count < FEWEST or count < TWINS * held:
        return
    severity: Severity = "error" if count == certain and certain >= TWICE * held else "warning"
    same = "id and target included" if count == certain else "target included"
    message = (
        f"{count} of the {held} rows held out ({count / held:.1%}) stand among the rows to learn from too, {same}: "
        f"scores on them are partly memory. Expected each row once"
    )
    numbers = {"rows": count, "held_out": held, "share": count / held, "same_id": certain}
    yield Finding("duplicates", None, severity, message, numbers)


def _twins(hashes: Hashes, held: int, counted: npt.NDArray[np.bool_] | None = None) -> int:
    twins = np.isin(hashes[-held:], hashes[:-held])
    return int(twins.sum() if counted is None else (twins & counted[-held:]).sum())


def _ids(data: Dataset) -> Hashes | None:
    name = data.schema.problem.id_column
    if name is None or name not in data.frame.columns:
        return None
    ids = data.frame[name]
    return np.where(
        ids.isna(), np.uint64(0), pd.util.hash_array(ids.astype(str).to_numpy(dtype=object), categorize=False)
    )


def find_disputes(data: Dataset, rows: Rows) -> Iterator[Finding]:
    """The same features with different targets, where that is no chance: one of the labels is wrong, or both."""
    if not rows.telling:
        return
    _, group = np.unique(rows.features, return_inverse=True)
    sizes = np.bincount(group)
    shared = sizes[group] > 1
    if int(shared.sum()) < FEWEST:
        return
    disputed = _differing(data, group, len(sizes)) & shared
    count, among = int(disputed.sum()), int(shared.sum())
    share = count / len(data)
    if count < FEWEST or share < DISPUTED:
        return
    message = (
        f"{count} rows ({share:.1%}) have a target other than rows with the very same features ({among} rows have "
        f"such twins): labels disagree, or a column that tells them apart is lacking"
    )
    yield Finding("label_noise", None, "warning", message, {"rows": count, "share": share, "with_twins": among})


def _differing(data: Dataset, group: npt.NDArray[np.int64], groups: int) -> npt.NDArray[np.bool_]:
    """Rows whose target is not their group's: its most frequent class, or its mean."""
    if data.classes:
        counts = np.zeros((groups, data.classes), dtype=np.int64)
        np.add.at(counts, (group, data.target), 1)
        return np.asarray(counts.argmax(axis=1)[group] != data.target)
    means = np.bincount(group, weights=data.target) / np.bincount(group)
    return np.asarray(np.abs(data.target - means[group]) > APART * data.target.std() / 2)


def _by_chance(frame: pd.DataFrame) -> float:
    """See DEPENDENCE."""
    sample = frame.iloc[spread(len(frame), _SAMPLED)]
    meeting = 1.0
    for name in sample.columns:
        shares = sample[name].value_counts(normalize=True, dropna=False).to_numpy()
        meeting *= float((shares**2).sum())
    return meeting * len(frame) * DEPENDENCE
