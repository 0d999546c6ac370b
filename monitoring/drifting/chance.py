"""How often a quiet day would be as far from the reference as this one: the p-values that an alarm is made of.

Two kinds of chance come together: few rows are a noisy picture of their day (`monitoring.drifting.calibration`), and
days differ (`monitoring.drifting.day_effect`). As squares they add: a day at distance b, seen through noise s, is
found at √(b² + s²).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from monitoring.drifting.alarm import NOTHING
from monitoring.drifting.day_effect import PRIOR_CARRY, PRIOR_DAYS, BlockEffects, DayEffect, moderated
from monitoring.drifting.reference_column import Method, ReferenceColumn, Score
from monitoring.windows import ColumnKey, Window

Floats = npt.NDArray[np.float64]
Statistic = tuple[ColumnKey, Method]

# The smallest shifts worth hearing of: .1 standard deviations, .1 of Jensen-Shannon's distance (both are Evidently's
# thresholds), one value in twenty missing more or less than before.
EFFECTS: Mapping[Method, float] = {"wasserstein": 0.1, "jensenshannon": 0.1, "missing_share": 0.05}

# The noise is summed up over so many equally likely values of its law.
_LEVELS = (np.arange(100) + 0.5) / 100


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the service's own days say of one statistic.

    `squares`: the squared day effects of days without an alarm since the champion came. `carried`: the last
    decision's day effect; None where that is longer ago than the time between two decisions.
    """

    squares: Sequence[float] = ()
    carried: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A statistic's p-value, and the square of its day effect (which drawing may leave below zero)."""

    p: float
    square: float


FEWEST_VALUES = 30  # present values, in either window, below which a column says nothing


@dataclass(frozen=True, slots=True)
class Found:
    """A statistic of a window, and what it is worth."""

    statistic: Statistic
    score: float
    judged: Judged


class Chance:
    """The laws of chance of one reference, for windows of `length`. Works all of them out once, when first asked.

    `parts`: the chance of windows of which `length` holds so many; what it knows is believed until blocks of
    `length` say otherwise.
    """

    def __init__(
        self, reference: Window, length: timedelta, parts: tuple[Chance, int] | None = None, seed: int = 0
    ) -> None:
        self._reference = reference
        self._seed = seed
        self._length = length
        self._parts = parts
        self._columns: dict[ColumnKey, ReferenceColumn] = {}
        self._effects: dict[tuple[Statistic, bool], BlockEffects] = {}

    def judge_window(
        self, window: Window, quiet: Callable[[Statistic], Quiet], uses: Mapping[str, float]
    ) -> Iterator[Found]:
        """Every statistic of the columns that both windows hold, against what its kinds of time make expected.

        `uses` are the features' (1 where none is named).
        """
        columns = window.columns
        for key, column in self._all().items():
            values = columns.get(key)
            if values is None or min(column.rows, len(values)) < FEWEST_VALUES:
                continue
            for method, score in column.scores(values, window.times_of(key)).items():
                if method != "missing_share" and min(column.present, score.rows) < FEWEST_VALUES:
                    continue
                statistic: Statistic = (key, method)
                use = uses.get(key[1], 1.0) if key[0] == "feature" else 1.0
                judged = self._judge(statistic, score, quiet(statistic), use, kinds_known=True)
                yield Found(statistic, score.value, judged)

    def judge(
        self, statistic: Statistic | tuple[str, Method], score: float, rows: int, quiet: Quiet, use: float = 1.0
    ) -> Judged:
        """`score` was found on `rows` rows (values present, or for missing_share all), against the whole reference."""
        full = _full(statistic)
        column = self._all()[full[0]]
        known = column.rows if full[1] == "missing_share" else column.present
        return self._judge(full, Score(score, rows, known), quiet, use, kinds_known=False)

    def day_effect(
        self,
        statistic: Statistic | tuple[str, Method],
        quiet: Sequence[float] = (),
        *,
        kinds_known: bool = False,
    ) -> DayEffect:
        """How windows differ where nothing drifts, as reference and quiet days show it.

        `kinds_known`: when they are compared with what their kinds of time make expected.
        """
        full = _full(statistic)
        self._all()
        blocks = self._effects[full, kinds_known]
        if self._parts is not None:
            chance, number = self._parts
            believed = chance.day_effect(full, kinds_known=kinds_known).of_mean(number)
            return blocks.day_effect(believed, quiet, fading=False)
        return blocks.day_effect(DayEffect(EFFECTS[full[1]] / 2, PRIOR_CARRY, PRIOR_DAYS), quiet)

    def _judge(self, statistic: Statistic, score: Score, quiet: Quiet, use: float, *, kinds_known: bool) -> Judged:
        """The p-value of a shift too small to hear of is at least NOTHING, so that it never speaks for an alarm.

        What the model hardly uses (`use` below 1) has to shift further by as much.
        """
        key, method = statistic
        column = self._all()[key]
        if method == "missing_share":
            squares, beyond, square = _missing_noise(column, score)
        else:
            squares, beyond, square = _noise(column, score)
        effect = self.day_effect(statistic, quiet.squares, kinds_known=kinds_known)
        left = np.sqrt(np.maximum(score.value**2 - squares, 0.0))
        p = float(np.where(left > 0, effect.exceeded(left, quiet.carried), 1.0).mean()) + beyond
        p = min(1.0, max(p, NOTHING)) if score.value * use <= EFFECTS[method] else min(1.0, p)
        return Judged(p, score.value**2 - square)

    def _all(self) -> Mapping[ColumnKey, ReferenceColumn]:
        """Every column; what one knows of its days depends on what all know."""
        if not self._columns:
            for key, values in self._reference.columns.items():
                times = self._reference.times_of(key)
                self._columns[key] = ReferenceColumn(values, times, self._length, self._seed)
            for kinds_known in (False, True):
                for method in EFFECTS:
                    self._moderate(method, kinds_known)
        return self._columns

    def _moderate(self, method: Method, kinds_known: bool) -> None:
        laws = {key: column.laws[method] for key, column in self._columns.items() if method in column.laws}
        own = [law.known if kinds_known else law.plain for law in laws.values()]
        for key, effects in zip(laws, moderated(own, EFFECTS[method] / 8), strict=True):
            self._effects[(key, method), kinds_known] = effects


def _full(statistic: Statistic | tuple[str, Method]) -> Statistic:
    """A name alone is a feature's."""
    name, method = statistic
    return (("feature", name) if isinstance(name, str) else name, method)


def _noise(column: ReferenceColumn, score: Score) -> tuple[Floats, float, float]:
    """Squares of the noise in order, how often it alone is beyond the score, and its mean square."""
    null = column.null(score.reference_rows, score.rows)
    squares = null.quantiles(_LEVELS) ** 2
    beyond = null.exceeded(score.value) if score.value**2 > squares[-1] else 0.0
    return squares, beyond, null.square


def _missing_noise(column: ReferenceColumn, score: Score) -> tuple[Floats, float, float]:
    """As `_noise`: the difference of two shares is normal, but for counts being whole."""
    before, rows, value = score.reference_rows, score.rows, score.value
    share = 1 - column.present / column.rows
    share = min(1.0, max(0.0, (share * before + (share + value) * rows) / (before + rows)))
    part = 1 / before + 1 / rows
    spread = math.sqrt(share * (1 - share) * part)
    squares = (ndtri((1 + _LEVELS) / 2) * spread + part / 2) ** 2
    beyond = 0.0
    if value**2 > squares[-1] and spread > 0:
        beyond = 2 * float(ndtr(-(value - part / 2) / spread))
    return squares, beyond, spread**2
