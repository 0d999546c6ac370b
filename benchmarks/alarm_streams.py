"""Streams of requests with thirty features: quiet ones, whose days still differ, and ones in which something breaks.

Every feature has a slow part of its own (a first-order autoregression in time, correlation time three hours), a
daily season, and what differs from request to request. Twelve are normal, eight lognormal, ten categories of two to
eight levels. The first column, `f0`, is the model's key feature: it has a quarter of all importance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NORMAL, SKEWED, CATEGORIES = 12, 8, 10
FEATURES = NORMAL + SKEWED + CATEGORIES
NAMES = tuple(f"f{place}" for place in range(FEATURES))
IMPORTANCES = {"f0": 0.25} | dict.fromkeys(NAMES[1:], 0.75 / (FEATURES - 1))

SLOW_SHARE = 0.1  # of a feature's variance
SLOW_HOURS = 3.0
SEASON = 0.3  # standard deviations from noon to midnight, half of it

Break = Literal["quiet", "mean", "trifling", "category", "missing", "unit", "gradual"]


@dataclass(frozen=True, slots=True)
class Injected:
    """What breaks, in which columns, by how much, from the first monitored day on."""

    kind: Break = "quiet"
    columns: tuple[int, ...] = ()
    size: float = 0.0
    days: int = field(default=0, kw_only=True)  # until a gradual shift is complete


@dataclass(frozen=True, slots=True)
class Stream:
    """`values[row, column]`: categories as their number, missing as NaN. Hours below 0 are the reference's."""

    values: Floats
    hours: Floats
    reference_rows: int

    def day(self, day: int) -> Floats:
        return self.values[np.searchsorted(self.hours, 24.0 * day) : np.searchsorted(self.hours, 24.0 * (day + 1))]

    @property
    def reference(self) -> Floats:
        return self.values[: self.reference_rows]

    @property
    def reference_hours(self) -> Floats:
        return self.hours[: self.reference_rows]


def stream(
    seed: int | Sequence[int], rows_per_day: int, reference_days: int, days: int, broken: Injected | None = None
) -> Stream:
    """A reference of `reference_days`, then `days` of requests, in which something breaks on the first."""
    broken = broken or Injected()
    rng = np.random.default_rng(seed)
    count = rows_per_day * (reference_days + days)
    hours = np.sort(rng.uniform(-24.0 * reference_days, 24.0 * days, count))
    slow = _autoregression(rng, hours, FEATURES)
    season = SEASON * np.sin(2 * np.pi * (hours[:, np.newaxis] / 24 + rng.random(FEATURES)))
    spread = np.sqrt(1 - SLOW_SHARE - SEASON**2 / 2)
    latent = np.sqrt(SLOW_SHARE) * slow + season + spread * rng.normal(size=(count, FEATURES))
    monitored = hours >= 0
    if broken.kind in ("mean", "trifling", "gradual"):
        grown = np.clip(hours / (24 * broken.days), 0, 1) if broken.kind == "gradual" else monitored
        latent[:, broken.columns] += broken.size * np.asarray(grown, dtype=np.float64)[:, np.newaxis]
    values = _marginals(latent)
    for column in broken.columns:
        _break(values[:, column], broken, monitored, rng)
    return Stream(values, hours, int((~monitored).sum()))


def _autoregression(rng: np.random.Generator, hours: Floats, columns: int) -> Floats:
    """x(t + dt) = e^(−dt/T)·x(t) + noise of the variance that keeps it at one; on a grid of a quarter of an hour."""
    from scipy.signal import lfilter

    steps = np.floor((hours - hours[0]) * 4).astype(np.int64)
    kept = np.exp(-0.25 / SLOW_HOURS)
    noise = rng.normal(size=(int(steps[-1]) + 1, columns)) * np.sqrt(1 - kept**2)
    noise[0] /= np.sqrt(1 - kept**2)
    return np.asarray(lfilter([1.0], [1.0, -kept], noise, axis=0))[steps]


def _marginals(latent: Floats) -> Floats:
    from scipy.special import ndtri

    values = latent.copy()
    skewed = slice(NORMAL, NORMAL + SKEWED)
    values[:, skewed] = np.exp(latent[:, skewed])
    for place in range(CATEGORIES):
        levels = 2 + place % 7
        # Shares fall off by level: the first is the commonest.
        cuts = ndtri(np.cumsum(np.arange(levels, 0, -1) / (levels * (levels + 1) / 2))[:-1])
        column = NORMAL + SKEWED + place
        values[:, column] = np.searchsorted(cuts, latent[:, column])
    return values


def _break(values: Floats, broken: Injected, monitored: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    hit = monitored & (rng.random(len(values)) < broken.size)
    if broken.kind == "unit":
        values[monitored] *= 1000.0
    elif broken.kind == "missing":
        values[hit] = np.nan
    elif broken.kind == "category":  # a level that was never seen takes a share
        values[hit] = 99.0
