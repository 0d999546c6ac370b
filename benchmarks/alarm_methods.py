"""Six ways of others to raise a drift alarm, each as one number a day, of which 1 is an alarm by its own threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.alarm_answers import Answer, Scores
from benchmarks.alarm_case import Case, Floats, Scored, sample
from benchmarks.alarm_ours import RINGSIDE, RINGSIDE_CHECKED, ours

POINTS = 100  # a day, that river's detectors see: of more rows the means of so many runs


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

    rows = sample(len(case.reference), 5_000)
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


def _evidently(case: Case) -> Floats:
    """Scores over .1 by day and column; Evidently leaves missing values out."""
    rows = sample(len(case.reference))
    scored = [
        Scored(case.reference[rows, column], column in case.categories) for column in range(case.reference.shape[1])
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


def _scored(name: str, method: Callable[[Case], Floats], case: Case) -> Mapping[str, Answer]:
    return {name: Scores(method(case))}


RIVALS: Mapping[str, Callable[[Case], Floats]] = {
    "Evidently, any column": evidently_any,
    "Evidently, half of the columns": evidently_half,
    "PSI > .2": psi,
    "KS, Bonferroni": ks_bonferroni,
    "ADWIN": adwin,
    "Page-Hinkley": page_hinkley,
}
METHODS: Mapping[str, Callable[[Case], Mapping[str, Answer]]] = {
    RINGSIDE: ours,
    **{name: partial(_scored, name, method) for name, method in RIVALS.items()},
}
NAMES = (RINGSIDE, RINGSIDE_CHECKED, *RIVALS)
