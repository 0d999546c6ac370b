"""What a run learns from: the source's rows, then the matured and labelled requests of the log, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.clock import from_micros, to_micros
from record.contract.arrays import Arrays
from record.contract.schema import Schema
from retrain.data.shared_rows import UNKNOWN, resolution

__all__ = ["UNKNOWN", "Dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in learning order: the newest last. All columns have one entry per row."""

    schema: Schema
    arrays: Arrays
    target: npt.NDArray[Any]  # class codes (int64), or values (float64)
    times: npt.NDArray[np.int64]  # microseconds since 1970, or UNKNOWN
    seqs: npt.NDArray[np.int64]  # the logged request's number; 0: a row of the source
    frame: pd.DataFrame  # the raw columns, for the records that applications would have sent
    ordered: bool  # by time; else the order is by chance, with all classes spread evenly
    half_life: timedelta | None = None  # rows count half as much for each one that they are older than the newest
    entities: npt.NDArray[np.int64] | None = None  # `record.entity`; None where no column names them
    set_aside: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by check and column: not among the rows

    def __len__(self) -> int:
        return len(self.target)

    @property
    def classes(self) -> int:
        """How many classes; 0 for a regression."""
        return len(self.schema.classes)

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """How much each row counts in a fit, 1 on average; None where all count alike. Undated ones are the oldest."""
        known = self.times != UNKNOWN
        if self.half_life is None or not known.any():
            return None
        newest, oldest = self.times[known].max(), self.times[known].min()
        ages = (newest - np.where(known, self.times, oldest)) / (self.half_life / timedelta(microseconds=1))
        weights = np.exp2(-ages)
        return np.asarray(weights / weights.mean(), dtype=np.float64)

    @property
    def data_from(self) -> datetime | None:
        known = self.times[self.times != UNKNOWN]
        return from_micros(int(known.min())) if len(known) else None

    @property
    def data_until(self) -> datetime | None:
        known = self.times[self.times != UNKNOWN]
        return from_micros(int(known.max())) if len(known) else None

    @property
    def known_until(self) -> datetime | None:
        """The end of the newest row's time: of a row dated by the day, the end of that day."""
        known = self.times[self.times != UNKNOWN]
        if not len(known):
            return None
        source = self.times[(self.seqs == 0) & (self.times != UNKNOWN)]
        ends = [int(self.times[self.seqs > 0].max(initial=UNKNOWN))]
        if len(source):
            ends.append(int(source.max()) + resolution(source) - 1)
        return from_micros(max(ends))

    def rows(self, start: int, stop: int | None = None) -> Self:
        """A run of rows; what training saw (`schema.seen`) stays that of the whole."""
        return replace(
            self,
            arrays=self.arrays.rows(start, stop),
            target=self.target[start:stop],
            times=self.times[start:stop],
            seqs=self.seqs[start:stop],
            frame=self.frame.iloc[start:stop],
            entities=None if self.entities is None else self.entities[start:stop],
        )

    def take(self, places: npt.NDArray[np.int64]) -> Self:
        """The rows at these places, copied."""
        return replace(
            self,
            arrays=self.arrays.take(places),
            target=self.target[places],
            times=self.times[places],
            seqs=self.seqs[places],
            frame=self.frame.iloc[places],
            entities=None if self.entities is None else self.entities[places],
        )

    def fresh(self, read_until_seq: int, data_until: datetime | None) -> npt.NDArray[np.bool_]:
        """The rows later than everything that another run knew, by the log's order and by time.

        A request has to be later in both; a row of the source has to be dated later. One without a time counts as
        known.
        """
        logged: npt.NDArray[np.bool_] = self.seqs > max(read_until_seq, 0)
        if data_until is None:
            return logged
        later = (self.times != UNKNOWN) & (self.times > to_micros(data_until))
        return np.asarray(later & (logged | (self.seqs == 0)), dtype=np.bool_)

    def fingerprint(self) -> str:
        """A hash of everything that is learned from, in its order."""
        held = blake2b(digest_size=16)
        held.update(np.ascontiguousarray(self.arrays.numbers).tobytes())
        held.update("\x1f".join(self.arrays.categories.ravel().tolist()).encode("utf-8", "surrogatepass"))
        held.update(np.ascontiguousarray(self.target).tobytes())
        held.update("\x1f".join(self.schema.classes).encode("utf-8", "surrogatepass"))
        weights = self.weights
        if weights is not None:
            held.update(weights.tobytes())
        return held.hexdigest()
