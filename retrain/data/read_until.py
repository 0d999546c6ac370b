"""The last logged request that a run may have learned from: evidence about its model begins behind it."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from record.log_lines import log_line
from record.record import Record
from record.settings import Settings
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.data.loading import log_frame, usable_rows
from retrain.data.shared_rows import feature_hashes

# More requests than these are not compared row by row with the source: all of them count as known.
MOST_COMPARED = 200_000


def read_until_seq(settings: Settings, record: Record, data: Dataset, as_of: datetime) -> int:
    """By what was read of the log, by the time of what was read of the source, and by the rows themselves.

    A source that is refreshed holds requests that the log has not matured yet. Its rows know every request up to the
    newest of them; where one has no time, they know everything up to the run. What a time does not tell (a date of
    its own, another clock) is told by the row: a request with the features of a source row counts as known, too.
    """
    everything = record.log.last_seq(as_of)
    source = data.seqs == 0
    if not settings.data.include_labelled_log or (source & (data.times == UNKNOWN)).any():
        return max(everything, int(data.seqs.max(initial=0)))
    known = int(data.seqs.max(initial=0))
    until = data.known_until
    if not source.any() or until is None:
        return known
    known = max(known, record.log.last_seq(min(until, as_of)))
    return max(known, _last_twin(record, data, known, everything, as_of))


def _last_twin(record: Record, data: Dataset, known: int, everything: int, as_of: datetime) -> int:
    """The last request behind `known` whose features stand in the source; 0 where none does."""
    if everything - known > MOST_COMPARED:
        log_line("requests not compared with the source", requests=everything - known)
        return everything
    if everything <= known:
        return 0
    logged = record.log.matured(as_of, timedelta(0), after_seq=known, late_labels=True)
    rows = usable_rows(logged, data.schema.problem)
    if not rows:
        return 0
    problem = data.schema.problem
    ours = feature_hashes(data.frame.iloc[np.flatnonzero(data.seqs == 0)], problem)
    twins = np.isin(feature_hashes(log_frame(rows, problem.columns), problem), ours)
    return max((row.seq for row, twin in zip(rows, twins, strict=True) if twin), default=0)
