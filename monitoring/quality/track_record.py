"""How far estimates were from the labels that came later, and whether the last labels would have told as much.

Each stretch of time as long as the one that waits for labels is estimated as it was when it waited: from the rows that
were mature by its beginning. What came of it then bounds the next estimate. A band of chance alone takes rows for
independent and the law of the answers for known; on streams whose labels follow each other it held 10 to 70 % of what
came, where it says 95. Stretches err as their neighbours share and as the world moves, so that their errors know both.

An estimate that was no closer than the mean of the labels of the stretch before says nothing that they do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from monitoring.quality.cohort import Cohort
from monitoring.quality.estimated import Estimator, fit_estimator
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, measure, metric_range

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
FEWEST_STRETCHES = 5  # fewer say little of how far estimates err
KEPT = 12  # the newest: what estimates were worth under last quarter's traffic is over
MOST_AT_ONCE = 8  # stretches of one check: each fits an estimator
FEWEST_ROWS = 100  # labels of a stretch, and half as many again to learn from
LAST_ROWS = 200  # the labels that stand for the last ones are at least so many
PARTS = 4  # of the window, at least: one stretch to judge by, the others to learn from
DIGITS = 8

Errors = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What labels said, minus what was said before they came: by the estimate, and by the labels before."""

    estimate: Errors
    last_labels: Errors
    length: int = 0  # microseconds; 0 where that was not kept

    def to_json(self) -> list[Any]:
        errors = [
            {name: round(error, DIGITS) for name, error in one.items()} for one in (self.estimate, self.last_labels)
        ]
        return [*errors, self.length]


Stretches = Mapping[int, Stretch]  # by their beginning, microseconds since 1970


def stretches_json(stretches: Stretches) -> dict[str, Any]:
    return {str(start): stretch.to_json() for start, stretch in stretches.items()}


def stretches_of(held: Mapping[str, Any]) -> dict[int, Stretch]:
    return {int(start): Stretch(*parts) for start, parts in held.items()}


def newest(*parts: Stretches) -> dict[int, Stretch]:
    """Of all parts together, those that an estimate is judged by."""
    held = {start: stretch for part in parts for start, stretch in part.items()}
    return dict(sorted(held.items())[-KEPT:])


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What a champion's estimates were worth so far."""

    stretches: Stretches = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        return len(self.stretches) >= FEWEST_STRETCHES

    def error(self, name: str, *, last_labels: bool) -> float | None:
        """The root of the mean square by which a metric was missed; None where that is not known."""
        known = self._errors(name, last_labels=last_labels)
        return math.sqrt(float(np.mean(np.square(known)))) if len(known) >= FEWEST_STRETCHES else None

    def half_width(self, name: str, *, last_labels: bool) -> float:
        """Half of the band in which the next error is, to 95 %; 0 where nothing is known."""
        error = self.error(name, last_labels=last_labels)
        if error is None:
            return 0.0
        count = len(self._errors(name, last_labels=last_labels))
        return float(stdtrit(count, (1 + LEVEL) / 2)) * error * math.sqrt(1 + 1 / count)

    def _errors(self, name: str, *, last_labels: bool) -> list[float]:
        """Of the stretches that have this metric: an area needs rows of both classes."""
        each = [(one.last_labels if last_labels else one.estimate).get(name) for one in self.stretches.values()]
        return [error for error in each if error is not None]

    @property
    def last_labels_tell_as_much(self) -> bool:
        errors = [self.error("loss", last_labels=last) for last in (True, False)]
        return errors[0] is not None and errors[1] is not None and errors[0] <= errors[1]

    def to_json(self) -> dict[str, Any]:
        return {
            "by": "last_labels" if self.last_labels_tell_as_much else "answers",
            "stretches": len(self.stretches),
            "error": self.error("loss", last_labels=False),
            "last_labels_error": self.error("loss", last_labels=True),
        }

    def __str__(self) -> str:
        """In words, for the page."""
        if not self.judged:
            return (
                f"Estimates are held against labels stretch by stretch; {len(self.stretches)} of {FEWEST_STRETCHES} "
                "stretches are known, until then the band is that of chance alone."
            )
        errors = [self.error("loss", last_labels=last) or 0.0 for last in (False, True)]
        missed = (
            f"Over the last {len(self.stretches)} stretches the estimated loss missed the labels' by {errors[0]:.4f}, "
            f"the mean of the last labels by {errors[1]:.4f}"
        )
        if self.last_labels_tell_as_much:
            return f"{missed}: the estimate is no better than the last labels, which are shown in its place."
        return f"{missed}; the band knows it."


@dataclass(frozen=True, slots=True)
class TrackedEstimator:
    """An estimator by what it was worth: its bands as wide as its errors, or the last labels in its place."""

    own: Estimator
    record: TrackRecord
    last_labels: Cohort
    last: Mapping[str, Metric]  # measured on the last labels

    @property
    def recalibrated(self) -> bool:
        return self.own.recalibrated

    @property
    def by_last_labels(self) -> bool:
        return bool(self.last) and self.record.last_labels_tell_as_much

    def losses(self, cohort: Cohort) -> Floats:
        if not self.by_last_labels:
            return self.own.losses(cohort)
        return np.full(len(cohort), self.last["loss"].value)

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        found = self.own.metrics(cohort)
        if self.by_last_labels:
            found = {name: self.last[name] for name in found if name in self.last}
        return {name: self._widened(name, metric) for name, metric in found.items()}

    def _widened(self, name: str, metric: Metric) -> Metric:
        half = self.record.half_width(name, last_labels=self.by_last_labels)
        widened = Metric(metric.value, min(metric.low, metric.value - half), max(metric.high, metric.value + half))
        return widened.within(*metric_range(name))


def track(
    window: Cohort,
    loss: Loss,
    card: Mapping[str, Any],
    threshold: float | None,
    *,
    length: int,
    end: int,
    known: Stretches,
) -> dict[int, Stretch]:
    """The stretches that `window` adds to the `known`: whole ones before `end` and behind all of those.

    `length` is that of the time that waits for labels, `end` the watermark, both in microseconds.
    """
    rows = window.known()
    if not len(rows):
        return {}
    length = _stretch_length(length, end - int(rows.times[0]))
    found: dict[int, Stretch] = {}
    begun = end // length * length - length
    after = max((start + max(1, one.length) for start, one in known.items()), default=0)
    while begun >= after and begun > rows.times[0] and len(found) < MOST_AT_ONCE:
        stretch = _judged(rows, loss, card, threshold, begun, begun + length)
        if stretch is not None:
            found[begun] = stretch
        begun -= length
    return found


def tracked(
    own: Estimator, known: Cohort, loss: Loss, threshold: float | None, record: TrackRecord, length: int, end: int
) -> TrackedEstimator:
    """`known` is the labelled rows that were mature at `end`."""
    last = _last(known, length, end)
    return TrackedEstimator(own, record, last, measure(last, loss, threshold))


def _stretch_length(length: int, window: int) -> int:
    """`length`, halved until the window has PARTS of them: stretches of one grid, or of one that divides it."""
    most = max(1, window // PARTS)
    while length > most:
        length //= 2
    return length


def _judged(
    rows: Cohort, loss: Loss, card: Mapping[str, Any], threshold: float | None, start: int, end: int
) -> Stretch | None:
    before = rows.take(rows.times < start)
    own = rows.take((rows.times >= start) & (rows.times < end))
    if len(own) < FEWEST_ROWS or len(before) < 1.5 * FEWEST_ROWS:
        return None
    estimated = fit_estimator(before, loss, card, threshold).metrics(own)
    last = measure(_last(before, end - start, start), loss, threshold)
    came = measure(own, loss, threshold)
    return Stretch(
        {name: came[name].value - said.value for name, said in estimated.items() if name in came},
        {name: came[name].value - said.value for name, said in last.items() if name in came and name in estimated},
        end - start,
    )


def _last(known: Cohort, length: int, end: int) -> Cohort:
    """The labels of the last stretch before `end`, and at least the last LAST_ROWS."""
    recent = int(np.count_nonzero(known.times >= end - length))
    return known.take(np.arange(max(0, len(known) - max(recent, LAST_ROWS)), len(known)))
