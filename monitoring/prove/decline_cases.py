"""The table's rows on decline: a year of losses of a sound champion, and of one that became worse."""

from __future__ import annotations

import numpy as np

from monitoring.prove.target import Target, with_errors
from monitoring.prove.traffic import Floats
from monitoring.quality.decline_replay import card_of, replay_decline

ALPHA, TOLERANCE = 0.05, 0.05
PER_DAY, YEAR, HOLDOUT_DAYS = 200, 365, 60
WINDOW = 30
LEVEL = 0.2  # of the loss
WEATHER, CARRIED = 0.2, 0.7
RISE = 0.2
MIN_ROWS = 200
LOOK_EVERY = 7  # days


def sound_years(runs: int, seed: int = 31) -> list[Target]:
    """The share of sound champions that are ever declared to have declined within a year."""
    rng = np.random.default_rng(seed)
    declared = [declared_on(rng, 0.0) is not None for _ in range(runs)]
    title = "weather 20 %, φ 0.7, a year: sound years declared"
    share = sum(declared) / runs
    return [Target("decline_sound_years", "decline", title, share, with_errors(ALPHA, runs), runs=runs)]


def rises(runs: int, seed: int = 32) -> list[Target]:
    """A loss that rises by a fifth on day 60: the share found within the year, and the median day."""
    rng = np.random.default_rng(seed)
    days = [declared_on(rng, RISE) for _ in range(runs)]
    found = [day - HOLDOUT_DAYS for day in days if day is not None]
    middle = float(np.median(found)) if found else float("inf")
    share = len(found) / runs
    return [
        Target("decline_rise_found", "decline", "a rise of 20 %: found", share, 0.9, "at least", runs=runs),
        Target(
            "decline_rise_median_day",
            "decline",
            "a rise of 20 %: median day after it",
            middle,
            float(YEAR),
            unit="days",
            runs=runs,
        ),
    ]


def declared_on(rng: np.random.Generator, rise: float) -> int | None:
    """After how many days a decline is declared; None where none is. The rise begins behind sixty quiet days."""
    card = card_of(_days(rng, HOLDOUT_DAYS, 0.0))
    days = _days(rng, YEAR, rise, begins=HOLDOUT_DAYS)
    looks = range(WINDOW, YEAR + 1, LOOK_EVERY)
    return replay_decline(
        days, card, tolerance=TOLERANCE, alpha=ALPHA, min_rows=MIN_ROWS, window=WINDOW, looks=looks
    ).first


def _days(rng: np.random.Generator, count: int, rise: float, begins: int = 0) -> list[Floats]:
    """Losses within [0, 1] by day, whose means have weather."""
    weather = rng.normal(0, WEATHER, count)
    for day in range(1, count):
        weather[day] = CARRIED * weather[day - 1] + np.sqrt(1 - CARRIED**2) * weather[day]
    levels = LEVEL * (1 + weather) * np.where(np.arange(count) >= begins, 1 + rise, 1.0)
    return [(rng.random(PER_DAY) < min(max(level, 0.0), 1.0)).astype(np.float64) for level in levels]
