"""What a method says of monitored days, how often it is wrong on quiet ones, and the threshold that spends a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from monitoring.drifting.alarm import AlarmState, Line, decide

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.bool_]
PValues = Mapping[int, Mapping[Line, Sequence[float]]]  # by span; empty where too few rows were there

QUARTER_DAYS = 91
# Steps of a fifth of an octave: between two of them an accumulated evidence changes by less than a day's worth.
BUDGETS = 2.0 ** (np.arange(40, -61, -1) / 5)


class Answer(Protocol):
    """A method's alarms on one stream."""

    def alarms(self, scale: float) -> Days:
        """Whether it is in alarm, by day, with its threshold so many times its own."""
        ...

    def scales(self) -> Floats:
        """The scales worth trying."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """One number a day, which is an alarm from 1 on."""

    values: Floats

    def alarms(self, scale: float) -> Days:
        return np.asarray(self.values >= scale)

    def scales(self) -> Floats:
        return np.append(np.unique(self.values), self.values.max() + 1e-6) * 1.0001


@dataclass(frozen=True, slots=True)
class Accumulated:
    """Ringside's: a threshold is a budget, and another one is another accumulation over the same p-values.

    They are those of its own budget: which days count as quiet, and widen the law of chance, stays as it was.
    """

    p_values: Sequence[PValues]
    weights: Mapping[Line, float]
    needed: float

    def alarms(self, scale: float) -> Days:
        state, found = AlarmState(), np.zeros(len(self.p_values), dtype=np.bool_)
        for day, told in enumerate(self.p_values):
            if told:
                state = decide(state, told, self.weights, self.needed * scale).state
            found[day] = state.alarm
        return found

    def scales(self) -> Floats:
        return BUDGETS


@dataclass(frozen=True, slots=True)
class Beside:
    """An alarm beside another one whose threshold is fixed."""

    first: Accumulated
    second: Days

    def alarms(self, scale: float) -> Days:
        return self.first.alarms(scale) | self.second

    def scales(self) -> Floats:
        return BUDGETS


def episodes(alarms: Days) -> int:
    """How often an alarm begins."""
    return int(alarms[0]) + int((alarms[1:] & ~alarms[:-1]).sum())


def false_alarms(quiet: Sequence[Answer], scale: float) -> float:
    """How often an alarm begins in a quarter on quiet streams."""
    found = [answer.alarms(scale) for answer in quiet]
    return sum(map(episodes, found)) * QUARTER_DAYS / sum(map(len, found))


def tuned(quiet: Sequence[Answer]) -> float:
    """The smallest scale down to which quiet streams spend no more than one alarm in a quarter.

    From above: further down the alarms run together, and one that never ends would count as one.
    """
    scales = np.unique(np.concatenate([answer.scales() for answer in quiet]))[::-1]
    lowest = float(scales[0])
    for scale in scales.tolist():
        if false_alarms(quiet, scale) > 1:
            break
        lowest = scale
    return lowest


def delay(alarms: Days) -> float:
    """The day of the first alarm, from 1; infinity without one."""
    first = np.flatnonzero(alarms)
    return float(first[0]) + 1 if len(first) else float("inf")
