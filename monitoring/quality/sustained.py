"""Evidence that a loss has been above its promise for weeks: a scan over when that may have begun.

The e-process of `monitoring.quality.rise` is valid for ever and pays for it: beside weather that lasts it finds a rise
of a fifth in two of five years. This is the generalized likelihood ratio of a mean that rose on some day and stayed up
(Siegmund and Venkatraman, "Using the generalized likelihood ratio statistic for sequential detection of a
change-point", Annals of Statistics 1995): exp(z²/2) of the clearest of all stretches of at least eight weeks. z is the
mean excess over what the tolerance allows, over its error; the holdout's own error counts in it instead of a margin
beside it. Its threshold is not Ville's: that it holds for a year of weather is measured (`ringside prove`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monitoring.evidence import LARGEST_LOG
from monitoring.quality.promise import Promise
from monitoring.quality.rise import Days, DaySums, Rise, accumulate, within_variance
from record.dependence import long_run_variance

SHORTEST_DAYS = 56  # shorter stretches are the e-process' own
# Weather may last: batches of up to a month, and their scatter around the mean of all days, so that weather that stays
# for weeks is not taken for a rise. That takes some of a rise for weather, too.
LONGEST_BATCH, FEWEST_BATCHES = 32, 5
WEEK = 7  # a stretch ends with a week, or today


def decline_evidence(days: Days, promise: Promise, day_variance: float | None, entity_effect: float = 1.0) -> Rise:
    """The stronger of the e-process and the scan. `days` have the excess of each loss over `promise.allowed`."""
    rise = accumulate(days, day_variance, entity_effect)
    value, peak = sustained_excess(days, promise, day_variance, entity_effect)
    return replace(rise, value=max(rise.value, value), peak=max(rise.peak, value, peak))


def sustained_excess(
    days: Days, promise: Promise, day_variance: float | None, entity_effect: float = 1.0
) -> tuple[float, float]:
    """The scan's likelihood ratio of stretches that end today, and the highest of all; 1 where none is long enough."""
    held = [days[day] for day in sorted(days)]
    if len(held) < SHORTEST_DAYS:
        return 1.0, 1.0
    rows = np.concatenate([[0.0], np.cumsum([sums.rows for sums in held])])
    totals = np.concatenate([[0.0], np.cumsum([sums.total for sums in held])])
    begins, ends = np.triu_indices(len(held) + 1, SHORTEST_DAYS)
    looked = (ends % WEEK == 0) | (ends == len(held))
    begins, ends = begins[looked], ends[looked]
    count = rows[ends] - rows[begins]
    mean = (totals[ends] - totals[begins]) / count + promise.allowed - promise.tolerated
    single = within_variance(held) * entity_effect
    error = np.sqrt(_shared_variance(held, day_variance) / (ends - begins) + single / count + promise.error**2)
    logs = np.minimum(np.where(mean > 0, (mean / np.maximum(error, 1e-12)) ** 2 / 2, 0.0), LARGEST_LOG)
    return math.exp(float(logs[ends == len(held)].max())), math.exp(float(logs.max()))


def _shared_variance(held: Sequence[DaySums], known: float | None) -> float:
    """The long-run variance of days beyond what their rows explain: as they show it, at least what is known."""
    means = np.array([sums.total / sums.rows for sums in held])
    long_run = long_run_variance(means, LONGEST_BATCH, FEWEST_BATCHES, steps=False)
    inner = within_variance(held) * float(np.mean([1 / sums.rows for sums in held]))
    return max(0.0, long_run.variance - inner, known or 0.0)
