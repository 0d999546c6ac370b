"""Kinds of time that requests differ by as a rule: weekdays, and hours of the day.

A Sunday is compared with what Sundays were, as far as the reference shows that this foretells a day better than all
days together do. Times are UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAY_MICROS = 86_400_000_000
WEEKDAYS = 7
PARTS = 8  # of a day, three hours each
THURSDAY = 3  # 1 January 1970, counted from Monday
SURE = 2.0  # standard errors by which a kind of time has to foretell better


def time_kinds(times: Ints, length: timedelta) -> Ints:
    """The kind of each time (microseconds since 1970) for windows of `length`.

    Windows shorter than a day: its eighth of the day, on workdays and on weekends. Up to a week: its weekday. A
    window of a week or more holds every kind, and knows none.
    """
    weekday = (times // DAY_MICROS + THURSDAY) % WEEKDAYS
    if length >= timedelta(days=7):
        return np.zeros(len(times), dtype=np.int64)
    if length >= timedelta(days=1):
        return np.asarray(weekday, dtype=np.int64)
    part = times % DAY_MICROS * PARTS // DAY_MICROS
    return np.asarray(part + PARTS * (weekday >= 5), dtype=np.int64)


def partitions(length: timedelta) -> Sequence[Ints]:
    """The ways to join kinds that are tried, the finest first: each says which kind a kind is joined to."""
    if length >= timedelta(days=7):
        return ()
    if length >= timedelta(days=1):
        return np.arange(WEEKDAYS), np.array([0, 0, 0, 0, 0, 1, 1])
    return np.arange(2 * PARTS), np.tile(np.arange(PARTS), 2)


def fit_share(apart: Floats, lift: Floats, weights: Floats) -> float:
    """How much of the `lift` that kinds of time give explains how far each block is `apart`; 0 where chance might.

    The least squares share between 0 and 1; blocks are rows, columns count by `weights`.
    """
    size = float(((lift**2) @ weights).sum())
    if size <= 0:
        return 0.0
    share = min(1.0, float(((apart * lift) @ weights).sum()) / size)
    gain = (apart**2) @ weights - ((apart - share * lift) ** 2) @ weights
    known = share > 0 and gain.mean() > SURE * gain.std() / math.sqrt(len(gain))
    return share if known else 0.0
