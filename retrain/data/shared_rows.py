"""Rows that stand in the source and in the prediction log: one request is one row, wherever it was read.

A refreshed source holds requests that were logged before. Learned from under the source's name they would be taken
for rows that nobody asked about, held out beside their own copies, and judged on again as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

DAY_MICROS = 86_400_000_000
HOUR_MICROS = 3_600_000_000
MINUTE_MICROS = 60_000_000
SECOND_MICROS = 1_000_000
UNKNOWN = np.iinfo(np.int64).min


def feature_hashes(frame: pd.DataFrame, problem: ProblemSchema) -> Hashes:
    """A hash of each row's features as models see them."""
    arrays = Decoder(problem).decode_frame(frame)
    numbers = pd.DataFrame(np.where(arrays.numbers == 0, 0.0, arrays.numbers))  # −0.0 is 0.0
    texts = pd.DataFrame(arrays.categories.astype(object))
    held: Hashes = np.zeros(len(frame), np.uint64)
    for part in (numbers, texts):
        if part.shape[1]:
            own = pd.util.hash_pandas_object(part, index=False, categorize=False).to_numpy().astype(np.uint64)
            held = held * np.uint64(0x9E3779B97F4A7C15) ^ own
    return held


def resolution(times: Integers) -> int:
    """How long a time of these lasts, in microseconds: a day where all are dates, a second where none says more."""
    known = times[times != UNKNOWN]
    for unit in (DAY_MICROS, HOUR_MICROS, MINUTE_MICROS, SECOND_MICROS):
        if len(known) and not (known % unit).any():
            return unit
    return 1


def shared_rows(
    source: pd.DataFrame,
    source_targets: Sequence[object],
    source_times: Integers,
    logged: pd.DataFrame,
    logged_targets: Sequence[object],
    logged_times: Integers,
    logged_ids: Sequence[str],
    problem: ProblemSchema,
) -> npt.NDArray[np.bool_]:
    """The rows of the source that are logged requests.

    By id, where the source has one that a request was sent under or carried. Else by the same features and target:
    at the same time, or where no other row on either side has these features.
    """
    found = _same_id(source, logged, logged_ids, problem.id_column)
    ours, theirs = feature_hashes(source, problem), feature_hashes(logged, problem)
    whole = _with_target(ours, source_targets)
    common = np.isin(whole, _with_target(theirs, logged_targets))
    alone = ~pd.Series(ours).duplicated(keep=False).to_numpy() & np.isin(ours, _unique(theirs))
    found |= common & alone
    if (source_times != UNKNOWN).any():
        unit = resolution(source_times)
        dated = np.where(source_times == UNKNOWN, UNKNOWN, source_times // unit)
        found |= common & np.isin(_with(ours, dated), _with(theirs, logged_times // unit))
    return found


def _same_id(
    source: pd.DataFrame, logged: pd.DataFrame, logged_ids: Sequence[str], name: str | None
) -> npt.NDArray[np.bool_]:
    if name is None or name not in source.columns:
        return np.zeros(len(source), bool)
    known = {str(value) for value in logged_ids}
    if name in logged.columns:
        known |= {_text(value) for value in logged[name] if value is not None}
    return np.array([value is not None and value == value and _text(value) in known for value in source[name]], bool)


def _text(value: object) -> str:
    """An id as it is written, also where a column with gaps has made it a fraction."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unique(hashes: Hashes) -> Hashes:
    values, counts = np.unique(hashes, return_counts=True)
    return np.asarray(values[counts == 1])


def _with(hashes: Hashes, numbers: Integers) -> Hashes:
    return np.asarray(hashes ^ pd.util.hash_array(numbers))


def _with_target(hashes: Hashes, targets: Sequence[object]) -> Hashes:
    texts = np.array([_text(target) for target in targets], dtype=object)
    return np.asarray(hashes ^ pd.util.hash_array(texts, categorize=False)) if len(texts) else hashes
