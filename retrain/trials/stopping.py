"""When a trial is given up between two folds: where it is surely too far behind the best one on the same rows. Pure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# The difference must be so many of its standard errors beyond the margin: one in a thousand by chance.
SURE = 3.0
# Of the lead that the best has over a constant answer: who is behind by more is no member of a good ensemble either.
MARGIN = 0.1
# Fewer rows tell a difference by their luckiest few.
FEWEST_ROWS = 50


def hopeless(own: Floats, best: Floats, constant: Floats) -> bool:
    """Whether a trial with these losses, row by row, need not go on beside the best one's and a constant answer's."""
    if len(own) < FEWEST_ROWS:
        return False
    if not np.isfinite(own).all():
        return True
    difference = own - best
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    lead = max(0.0, float((constant - best).mean()))
    return float(difference.mean()) - SURE * error > MARGIN * lead
