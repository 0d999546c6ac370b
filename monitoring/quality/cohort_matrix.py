"""A cohort's features as one matrix of numbers, for the small models that quality is estimated with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from record.contract.category_counts import count_categories
from record.contract.columns import TIME_PARTS

Floats = npt.NDArray[np.float64]

LEVELS = 100  # of a category have a number of their own
# Parts of a time that only ever go on: no tree has seen later ones. The second of an hour says nothing by itself.
PASSING = frozenset({"days", "month", "day", "second"})


@dataclass(frozen=True, slots=True)
class MatrixCoder:
    """`levels` numbers the most frequent values of each category; all others share the number behind the last."""

    levels: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """With the levels that the cohort has."""
        found = {}
        for column in cohort.schema.problem.features:
            if column.type == "category":
                values = [value for value in cohort.features[column.name].tolist() if value is not None]
                frequent = count_categories(values).most_frequent(LEVELS)
                found[column.name] = {name: place for place, name in enumerate(frequent)}
        return cls(found)

    def matrix(self, cohort: Cohort) -> Floats:
        """[n, columns], missing is NaN: what was said first, then the features."""
        said = cohort.answers[:, np.newaxis] if cohort.schema.problem.task == "regression" else cohort.shares
        columns = [np.nan_to_num(np.asarray(said, dtype=np.float64))]
        for column in cohort.schema.problem.features:
            values = cohort.features[column.name]
            if column.type == "category":
                known = self.levels.get(column.name, {})
                coded = [np.nan if value is None else known.get(str(value), len(known)) for value in values.tolist()]
                columns.append(np.array(coded, dtype=np.float64)[:, np.newaxis])
            elif column.type == "time":
                kept = [place for place, part in enumerate(TIME_PARTS) if part not in PASSING]
                columns.append(np.asarray(values[:, kept], dtype=np.float64))
            else:
                columns.append(np.asarray(values, dtype=np.float64)[:, np.newaxis])
        held = np.hstack(columns)
        held[:, np.isnan(held).all(axis=0)] = 0.0  # scikit-learn has no bins for a column that is missing throughout
        return held
