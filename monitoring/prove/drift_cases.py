"""The table's rows on drift alarms: simulated quarters through the code that decides in production."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.drifting.replay import DriftReplay, replay_days, window_of_arrays
from monitoring.prove.target import Target
from monitoring.prove.traffic import DAY_MICROS, Floats, Integers

FEATURES = 12
PER_DAY = 200
REFERENCE_DAYS = 28
QUARTER = 91
SHIFT_DAY = 14  # the shift begins behind two quiet weeks
WATCHED_DAYS = 16
NEVER = 10_000.0


@dataclass(frozen=True, slots=True)
class World:
    """How a feature's days differ: by weather of its own, and by the day of the week."""

    deviation: float = 0.0  # of a day's mean, in standard deviations of the rows
    carried: float = 0.0  # how much of a day's weather stays in the next
    weekend: float = 0.0  # what is added on two days of seven
    missing_burst: float = 0.0  # share of missing values, one day in thirty


QUIET = World()
CARRIED = World(deviation=0.15, carried=0.7)
WEEKDAYS = World(weekend=0.4)
BURSTS = World(missing_burst=0.3)


def quiet_quarters(runs: int, seed: int = 21) -> list[Target]:
    """Alarms a quarter where nothing drifts: at most the one that is budgeted."""
    cases = (
        ("drift_quiet", "independent days", QUIET),
        ("drift_autocorrelated_days", "12 features, AR days φ 0.7, 28-day reference", CARRIED),
        ("drift_missing_bursts", "missing values one day in thirty, in the reference too", BURSTS),
    )
    told = []
    for place, (name, title, world) in enumerate(cases):
        rng = np.random.default_rng([seed, place])
        alarms = [replay_world(rng, world, REFERENCE_DAYS, QUARTER).episodes for _ in range(runs)]
        value = float(np.mean(alarms))
        told.append(Target(name, "drift: alarms a quarter", title, value, 1.0, unit="alarms", runs=runs))
    return told


def shifts(runs: int, seed: int = 22) -> list[Target]:
    """Days until a shift of one feature is found, in the middle run."""
    cases = (
        ("drift_half_sd_with_weekdays", "half sd in a feature with a weekday season", WEEKDAYS, 0.5, 4.0),
        ("drift_one_sd", "+1 sd without a season", QUIET, 1.0, 3.0),
    )
    told = []
    for place, (name, title, world, shift, most) in enumerate(cases):
        rng = np.random.default_rng([seed, place])
        days = [_found(replay_world(rng, world, 56, SHIFT_DAY + WATCHED_DAYS, shift)) for _ in range(runs)]
        value = float(np.median(days))
        told.append(Target(name, "drift: days until it is found", title, value, most, unit="days", runs=runs))
    return told


def _found(replay: DriftReplay) -> float:
    """Days from the shift to the first alarm behind it; one that stood before does not count as found."""
    alarms = replay.alarms
    later = np.flatnonzero(alarms[SHIFT_DAY:])
    if alarms[SHIFT_DAY - 1] or not len(later):
        return NEVER
    return float(later[0] + 1)


def replay_world(
    rng: np.random.Generator, world: World, reference_days: int, days: int, shift: float = 0.0
) -> DriftReplay:
    levels = [_levels(rng, world, reference_days + days) for _ in range(FEATURES)]
    levels[0][reference_days + SHIFT_DAY :] += shift
    bursts = np.zeros((FEATURES, reference_days + days), dtype=np.bool_)
    if world.missing_burst:  # of one feature, on the same day of every thirty
        bursts[0, int(rng.integers(0, 30)) :: 30] = True
    times = _times(rng, reference_days + days)
    columns = {}
    for place, level in enumerate(levels):
        values = rng.normal(np.repeat(level, PER_DAY), 1.0)
        gone = np.repeat(bursts[place], PER_DAY) & (rng.random(len(values)) < world.missing_burst)
        columns[f"f{place}"] = np.where(gone, np.nan, values)
    end = reference_days * PER_DAY
    reference = window_of_arrays({name: held[:end] for name, held in columns.items()}, times[:end])
    windows = [
        window_of_arrays(
            {name: held[start : start + PER_DAY] for name, held in columns.items()}, times[start : start + PER_DAY]
        )
        for start in range(end, end + days * PER_DAY, PER_DAY)
    ]
    return replay_days(reference, windows)


def _levels(rng: np.random.Generator, world: World, days: int) -> Floats:
    own = rng.normal(0, world.deviation, days) if world.deviation else np.zeros(days)
    for day in range(1, days):
        own[day] = world.carried * own[day - 1] + np.sqrt(1 - world.carried**2) * own[day]
    weekend = (np.arange(days) % 7) >= 5
    return np.asarray(own + world.weekend * weekend, dtype=np.float64)


def _times(rng: np.random.Generator, days: int) -> Integers:
    """Requests at any time of their day, from a Monday on."""
    first = 4 * DAY_MICROS  # 1970-01-05
    within = np.sort(rng.random((days, PER_DAY)), axis=1) * DAY_MICROS
    return np.asarray((first + np.arange(days)[:, np.newaxis] * DAY_MICROS + within).ravel(), dtype=np.int64)
