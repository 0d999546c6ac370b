"""Ways to raise a drift alarm, each as one number a day: the alarm is what passes a threshold, its own or a tuned one.

Ours runs the code that decides in production; what Evidently would score is computed by the same formulas, since
its own take ten times as long on thousands of windows (`tests/monitoring/test_drift.py` holds the two together).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from monitoring.drift import FEWEST_VALUES
from monitoring.drifting.alarm import SPANS, AlarmState, Line, decide, decisions_per_alarm, line_weights, uses
from monitoring.drifting.calibration import Grid, jensen_shannon
from monitoring.drifting.chance import Chance, Quiet, Statistic
from monitoring.windows import Window

Floats = npt.NDArray[np.float64]
DAY = timedelta(days=1)
DAY_MICROS = 86_400_000_000
MOST_REFERENCE = 20_000  # as a version's reference.parquet holds
POINTS = 100  # a day, that river's detectors see: of more rows the means of so many runs


@dataclass(frozen=True, slots=True)
class Case:
    """Monitored days beside a reference. Columns from `categories` on hold levels as numbers; missing is NaN."""

    reference: Floats
    reference_days: npt.NDArray[np.int64]  # of each row
    days: Sequence[Floats]
    categories: frozenset[int]
    importances: Mapping[int, float]
    min_rows: int
    target: int | None = None  # the column that is the target


def ours(case: Case) -> Floats:
    """The system's evidence, of which 1 is an alarm."""
    rows = _sample(len(case.reference))
    reference, names = case.reference[rows], [str(column) for column in range(case.reference.shape[1])]
    window = _window(reference, case.reference_days[rows], case.categories)
    daily = Chance(window, DAY)
    chances = {span: daily if span == 1 else Chance(window, span * DAY, (daily, span)) for span in SPANS}
    importances = {str(column): share for column, share in case.importances.items()}
    lines: dict[str, Line] = {name: ("feature", name) for name in names}
    if case.target is not None:
        lines[str(case.target)] = ("output", "target")
    features = [name for name in names if lines[name][0] == "feature"]
    weights = line_weights(features, importances, () if case.target is None else ("target",))
    used = uses(features, importances)
    scores = [_Scored(reference[:, column], column in case.categories) for column in range(len(names))]
    needed, state = decisions_per_alarm(1, DAY), AlarmState()
    squares: dict[tuple[int, Statistic], list[float]] = {}
    last: dict[tuple[int, Statistic], float] = {}
    begun = dict.fromkeys(SPANS, 0)
    found = np.zeros(len(case.days))
    for day in range(len(case.days)):
        p_values: dict[int, dict[Line, list[float]]] = {}
        seen: dict[tuple[int, Statistic], float] = {}
        for span in SPANS:
            held = np.concatenate(case.days[begun[span] : day + 1])
            if day + 1 - begun[span] < span or len(held) < case.min_rows:
                continue
            contiguous = begun[span] > 0 and day + 1 - begun[span] == span
            for name, scored in zip(names, scores, strict=True):
                for method, score, count in scored.of(held[:, int(name)]):
                    statistic: Statistic = (name, method)  # type: ignore[assignment]
                    key = span, statistic
                    quiet = Quiet(tuple(squares.get(key, ())), last.get(key) if contiguous else None)
                    judged = chances[span].judge(statistic, score, count, quiet, used.get(name, 1.0))
                    p_values.setdefault(span, {}).setdefault(lines[name], []).append(judged.p)
                    seen[key] = judged.square
            begun[span] = day + 1
        if p_values:
            decision = decide(state, p_values, weights, needed)
            state, found[day] = decision.state, decision.system
            for key, square in seen.items():
                last[key] = max(square, 0.0) ** 0.5
                if not decision.alarm:
                    squares.setdefault(key, []).append(square)
        elif day:
            found[day] = found[day - 1]
    return found


def evidently_any(case: Case) -> Floats:
    """The largest of Evidently's default scores over its threshold of .1: 1 is one drifted column."""
    return _evidently(case).max(axis=1)


def evidently_half(case: Case) -> Floats:
    """Evidently's dataset drift: half of the columns beyond .1."""
    ratios = np.sort(_evidently(case), axis=1)[:, ::-1]
    return np.asarray(ratios[:, math.ceil(ratios.shape[1] / 2) - 1])


def psi(case: Case) -> Floats:
    """The largest population stability index over .2; tenths of the reference, or levels."""
    found = np.zeros((len(case.days), case.reference.shape[1]))
    for column in range(case.reference.shape[1]):
        cells, count = _cells(case, column)
        expected = np.bincount(cells(case.reference[:, column]), minlength=count) / len(case.reference)
        expected = np.maximum(expected, 1e-4)
        for day, rows in enumerate(case.days):
            seen = np.maximum(np.bincount(cells(rows[:, column]), minlength=count) / len(rows), 1e-4)
            found[day, column] = float(((seen - expected) * np.log(seen / expected)).sum())
    return np.asarray(found.max(axis=1) / 0.2)


def ks_bonferroni(case: Case) -> Floats:
    """Digits of the smallest p-value over those of .05 / columns: Kolmogorov-Smirnov, of levels chi-square."""
    from scipy.stats import chi2_contingency, ks_2samp

    rows = _sample(len(case.reference), 5_000)
    digits = np.zeros((len(case.days), case.reference.shape[1]))
    for column in range(case.reference.shape[1]):
        known = case.reference[rows, column]
        known = known[~np.isnan(known)]
        cells, count = _cells(case, column)
        for day, held in enumerate(case.days):
            values = held[:, column]
            values = values[~np.isnan(values)]
            if column in case.categories:
                table = np.array([np.bincount(cells(side), minlength=count) for side in (known, values)])
                table = table[:, table.sum(axis=0) > 0]
                p = chi2_contingency(table).pvalue if table.shape[1] > 1 else 1.0
            else:
                p = ks_2samp(known, values, method="asymp").pvalue
            digits[day, column] = -math.log10(max(float(p), 1e-300))
    return np.asarray(digits.max(axis=1) / -math.log10(0.05 / case.reference.shape[1]))


ADWIN_DELTAS = (0.002, 1e-4, 1e-6, 1e-9, 1e-14, 1e-20)  # river's default first
PAGE_HINKLEY = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)


def adwin(case: Case) -> Floats:
    """Digits of the smallest delta at which ADWIN finds a change in any column that day, over those of .002."""
    from river.drift import ADWIN  # type: ignore[import-not-found]

    digits = [-math.log10(delta) / -math.log10(ADWIN_DELTAS[0]) for delta in ADWIN_DELTAS]
    return _detectors(case, [lambda delta=delta: ADWIN(delta=delta) for delta in ADWIN_DELTAS], digits)


def page_hinkley(case: Case) -> Floats:
    """The largest threshold at which Page-Hinkley finds a change in any column that day, over river's default of 50."""
    from river.drift import PageHinkley

    sizes = [size / PAGE_HINKLEY[0] for size in PAGE_HINKLEY]
    return _detectors(case, [lambda size=size: PageHinkley(threshold=size) for size in PAGE_HINKLEY], sizes)


METHODS: Mapping[str, Callable[[Case], Floats]] = {
    "Ringside": ours,
    "Evidently, any column": evidently_any,
    "Evidently, half of the columns": evidently_half,
    "PSI > .2": psi,
    "KS, Bonferroni": ks_bonferroni,
    "ADWIN": adwin,
    "Page-Hinkley": page_hinkley,
}


class _Scored:
    """The statistics of one column against its reference."""

    def __init__(self, reference: Floats, category: bool) -> None:
        known = reference[~np.isnan(reference)]
        self._missing = 1 - len(known) / len(reference)
        self._category = category
        self._known = known.astype(np.int64) if category else known
        self._grid = Grid.of(known)
        self._law = np.cumsum(self._grid.shares)
        self._spread = max(float(known.std()), 0.001)

    def of(self, values: Floats, fewest: int = FEWEST_VALUES) -> list[tuple[str, float, int]]:
        """Method, score, and the rows that it was found on; missing_share first, alone below `fewest` values."""
        known = values[~np.isnan(values)]
        found = [("missing_share", abs(1 - len(known) / len(values) - self._missing), len(values))]
        if len(known) < fewest:
            return found
        if self._category:
            return [*found, ("jensenshannon", self._shares_apart(known.astype(np.int64)), len(known))]
        return [*found, ("wasserstein", self._laws_apart(known), len(known))]

    def _shares_apart(self, known: npt.NDArray[np.int64]) -> float:
        count = int(max(known.max(), self._known.max())) + 1
        laws = [np.bincount(side, minlength=count) / len(side) for side in (self._known, known)]
        return float(jensen_shannon(*laws))

    def _laws_apart(self, known: Floats) -> float:
        """On the grid, and beyond it exactly: there the reference's law is 1, or 0."""
        law = np.cumsum(np.bincount(self._grid.cells(known), minlength=len(self._law))) / len(known)
        low, high = self._grid.starts[0], self._grid.starts[-1]
        beyond = float(np.maximum(known - high, 0).sum() + np.maximum(low - known, 0).sum())
        return float(np.abs(law - self._law) @ self._grid.widths) + beyond / len(known) / self._spread


def _evidently(case: Case) -> Floats:
    """Scores over .1 by day and column; Evidently leaves missing values out."""
    rows = _sample(len(case.reference))
    scored = [
        _Scored(case.reference[rows, column], column in case.categories) for column in range(case.reference.shape[1])
    ]
    found = np.zeros((len(case.days), len(scored)))
    for day, held in enumerate(case.days):
        for column, one in enumerate(scored):
            told = [score for method, score, _ in one.of(held[:, column], fewest=1) if method != "missing_share"]
            found[day, column] = max(told, default=0.0) / 0.1
    return found


def _detectors(case: Case, makers: Sequence[Callable[[], object]], sizes: Sequence[float]) -> Floats:
    """Feeds every column's values, standardised by the reference, to a detector of each size."""
    mean, spread = np.nanmean(case.reference, axis=0), np.nanstd(case.reference, axis=0)
    found = np.zeros(len(case.days))
    for column in range(case.reference.shape[1]):
        detectors = [make() for make in makers]
        for day, rows in enumerate(case.days):
            values = (rows[:, column] - mean[column]) / (spread[column] or 1.0)
            values = values[~np.isnan(values)]
            runs = np.array_split(values, min(POINTS, max(1, len(values))))
            points = [float(run.mean()) for run in runs if len(run)]
            for detector, size in zip(detectors, sizes, strict=True):
                moved = False
                for point in points:
                    detector.update(point)  # type: ignore[attr-defined]
                    moved = moved or bool(detector.drift_detected)  # type: ignore[attr-defined]
                if moved:
                    found[day] = max(found[day], size)
    return found


def _cells(case: Case, column: int) -> tuple[Callable[[Floats], npt.NDArray[np.int64]], int]:
    """Tenths of the reference, or levels (beyond the reference's largest: one more)."""
    known = case.reference[:, column]
    known = known[~np.isnan(known)]
    if column in case.categories:
        most = int(known.max()) + 1
        return lambda values: np.minimum(np.nan_to_num(values, nan=most).astype(np.int64), most), most + 1
    edges = np.unique(np.quantile(known, np.arange(1, 10) / 10))
    return lambda values: np.searchsorted(edges, np.nan_to_num(values), side="right"), len(edges) + 1


def _window(reference: Floats, days: npt.NDArray[np.int64], categories: frozenset[int]) -> Window:
    numbers, levels = {}, {}
    for column in range(reference.shape[1]):
        values = reference[:, column]
        if column in categories:
            texts = [None if math.isnan(value) else str(int(value)) for value in values.tolist()]
            levels[str(column)] = np.array(texts, dtype=object)
        else:
            numbers[str(column)] = values
    times = dict.fromkeys((*numbers, *levels), days * DAY_MICROS)
    return Window(None, None, len(reference), numbers, levels, times=times)


def _sample(rows: int, most: int = MOST_REFERENCE) -> npt.NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
