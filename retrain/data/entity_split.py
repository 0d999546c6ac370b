"""Rows in two parts so that no entity stands in both: a model that has met a customer is not judged on that customer.

Where few rows are in question they leave the part that is learned from. Where most entities come again and again, that
would leave nothing: every second of them (by digest, which is chance) then stands in the part that is judged, the
others in the one that is learned from, and their rows on the other side are left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from record.entity import ALONE
from record.errors import DataError

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FEW = 0.1  # of the rows that are learned from


def keep_apart(learn: Integers | None, judge: Integers | None) -> tuple[Flags, Flags] | None:
    """Which rows of either part are kept, by their entities; None where all are, or no entity is known.

    Raises DataError where one entity has all rows.
    """
    if learn is None or judge is None:
        return None
    both = np.intersect1d(learn[learn != ALONE], judge[judge != ALONE])
    if not len(both):
        return None
    earlier, later = np.isin(learn, both), np.isin(judge, both)
    if earlier.mean() <= FEW:
        return ~earlier, np.ones(len(judge), np.bool_)
    judged = both[::2]
    kept = ~np.isin(learn, judged), ~later | np.isin(judge, judged)
    if not (kept[0].any() and kept[1].any()):
        raise DataError(
            f"problem.entity_column: {len(both)} entities in {len(learn) + len(judge)} rows; expected several, so that "
            "a model is judged on others than those that it learned from",
            field="problem.entity_column",
        )
    return kept
