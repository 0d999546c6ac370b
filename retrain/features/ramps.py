"""Numbers as ramps between quantiles, so that a sum of weighted columns bends: a line for each stretch of a number.

Ramp q of a number climbs from 0 at the q-th knot to 1 at the next one, and is flat outside: skewed numbers are spread
out, and what lies far off is cut (piecewise linear encoding: Gorishniy, Rubachev and Babenko, "On embeddings for
numerical features in tabular deep learning", 2022).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

Floats = npt.NDArray[np.float64]

# Of 8, 16 and 32 ramps, 16 had most of the gain. Many columns share them, so that the encoded rows fit into memory.
MOST_RAMPS = 16
MOST_COLUMNS = 640


class Ramps(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers without gaps [n, k] to ramps [n, r], the first number's first."""

    def fit(self, filled: Floats, y: Any = None) -> Self:
        columns = filled.shape[1]
        most = max(4, min(MOST_RAMPS, MOST_COLUMNS // max(1, columns)))
        shares = np.linspace(0, 1, most + 1)
        # All numbers have as many ramps in the arrays; those of few different values fill the first places only.
        self.starts_ = np.zeros((columns, most))
        self.widths_ = np.ones((columns, most))
        self.made_ = np.zeros((columns, most), dtype=bool)
        for place in range(columns):
            knots = np.unique(np.quantile(filled[:, place], shares))
            count = len(knots) - 1
            self.starts_[place, :count] = knots[:-1]
            self.widths_[place, :count] = np.diff(knots)
            self.made_[place, :count] = True
        return self

    def transform(self, filled: Floats) -> Floats:
        held = np.empty((len(filled), int(self.made_.sum())))
        column = 0
        for place, made in enumerate(self.made_):
            count = int(made.sum())
            above = filled[:, place, None] - self.starts_[place, :count]
            held[:, column : column + count] = np.clip(above / self.widths_[place, :count], 0.0, 1.0)
            column += count
        return held
