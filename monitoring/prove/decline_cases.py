"""The table's rows on decline: a year of losses of a sound champion, and of one that became worse."""

from __future__ import annotations

import numpy as np

from monitoring.prove.target import Target, with_errors
from monitoring.prove.traffic import Floats
from monitoring.quality.decline import Promise, decide_decline, lower_bound
from monitoring.quality.rise import DaySums, accumulate, sum_days

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
    """The first day on which a decline is declared; None where none is. The rise begins behind sixty quiet days."""
    holdout = _days(rng, HOLDOUT_DAYS, 0.0)
    promise, variance = _promise(holdout)
    days = _days(rng, YEAR, rise, begins=HOLDOUT_DAYS)
    held: dict[int, DaySums] = {}
    for day, losses in enumerate(days):
        held |= sum_days(losses - promise.allowed, np.full(len(losses), day, dtype=np.int64))
        if day % LOOK_EVERY or day < WINDOW:
            continue
        recent = np.concatenate(days[max(0, day - WINDOW + 1) : day + 1])
        mean = float(recent.mean())
        error = float(recent.std(ddof=1)) / len(recent) ** 0.5
        decision = decide_decline(
            "observed",
            promise,
            accumulate(held, variance),
            recent=mean,
            lower=lower_bound(mean, error, len(recent), ALPHA),
            rows=len(recent),
            min_rows=MIN_ROWS,
        )
        if decision.declined:
            return day
    return None


def _days(rng: np.random.Generator, count: int, rise: float, begins: int = 0) -> list[Floats]:
    """Losses within [0, 1] by day, whose means have weather."""
    weather = rng.normal(0, WEATHER, count)
    for day in range(1, count):
        weather[day] = CARRIED * weather[day - 1] + np.sqrt(1 - CARRIED**2) * weather[day]
    levels = LEVEL * (1 + weather) * np.where(np.arange(count) >= begins, 1 + rise, 1.0)
    return [(rng.random(PER_DAY) < min(max(level, 0.0), 1.0)).astype(np.float64) for level in levels]


def _promise(days: list[Floats]) -> tuple[Promise, float]:
    """What a card says of a holdout with these days: the mean, its error by days, and the days' own variance."""
    means = np.array([float(day.mean()) for day in days])
    within = float(np.mean([day.var() / len(day) for day in days]))
    card = {"reference_loss": float(means.mean()), "reference_loss_error": _error(means)}
    promise = Promise.of(card, TOLERANCE, ALPHA)
    assert promise is not None
    return promise, max(0.0, float(np.diff(means).var()) / 2 - within)


def _error(means: Floats) -> float:
    return float(means.std(ddof=1) / np.sqrt(len(means)))
