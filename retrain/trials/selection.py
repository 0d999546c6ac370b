"""Greedy ensemble selection (Caruana, Niculescu-Mizil, Crew and Ksikes 2004), over answers on rows not fitted on.

Members are added one at a time, each as often as it helps, the one first that lowers the loss of the mean most; the
number of times it was added is its weight. An ensemble is kept only where it is better on rows that it was not
selected on. Pure: the same answers give the same ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.losses import SMALLEST
from retrain.models.configuration import Configuration, Member

Floats = npt.NDArray[np.float64]

# Each takes its time to fit and to answer; beyond a handful, what one more gains is lost in noise.
MOST_MEMBERS = 6
# Steps of the selection: the smallest weight is one in so many.
STEPS = 24
# The gain must be so many of its standard errors: chance alone passes in three of ten cases, and costs microseconds
# then, while an ensemble that is better in truth is turned away in few.
SURE = 0.5
# Of the rows, at either end: a single one of an absurd error would settle by chance which of two models is better.
TAILS = 0.01


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial that may become a member: its answers on the judged rows, and what fitting it on all rows may take."""

    number: int
    configuration: Configuration
    answers: Floats
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """`gain` is the mean loss that the ensemble spares against the best alone, on rows it was not selected on."""

    members: tuple[Member, ...]
    loss: float  # of the ensemble on the rows that it was selected on, in the search's own measure
    gain: float  # of rows' differences without their tails
    error: float  # the gain's standard error

    @property
    def pays(self) -> bool:
        return len(self.members) > 1 and self.gain > SURE * self.error

    def to_json(self) -> dict[str, Any]:
        """As a card keeps it: what was weighed, and what came of it."""
        error = self.error if math.isfinite(self.error) else None
        return {"kept": self.pays, "members": len(self.members), "gain": self.gain, "error": error}


def select(candidates: Sequence[Candidate], y: npt.NDArray[Any], classes: int, most_seconds: float) -> Selection:
    """The ensemble of these trials, whose members take at most so long to fit together."""
    told = [_told(candidate.answers, y, classes) for candidate in candidates]
    seconds = [candidate.seconds for candidate in candidates]
    every = np.arange(len(y))
    half = len(y) // 2
    gains = [
        _gain(told, y, classes, seconds, most_seconds, chosen, judged)
        for chosen, judged in ((every[:half], every[half:]), (every[half:], every[:half]))
    ]
    differences = _without_tails(np.concatenate(gains))
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    weights = _greedy(told, y, classes, seconds, most_seconds)
    losses = _losses(_mean(told, weights), y, classes)
    return Selection(
        tuple(Member(candidates[place].configuration, weight) for place, weight in weights.items()),
        float(losses.mean()) if classes else math.sqrt(float(losses.mean())),
        float(differences.mean()),
        error,
    )


def _without_tails(differences: Floats) -> Floats:
    """The outermost brought in to where the tails begin (winsorised)."""
    low, high = np.quantile(differences, [TAILS, 1.0 - TAILS])
    return np.clip(differences, low, high)


def _gain(
    told: Sequence[Floats],
    y: npt.NDArray[Any],
    classes: int,
    seconds: Sequence[float],
    most_seconds: float,
    chosen: npt.NDArray[np.int64],
    judged: npt.NDArray[np.int64],
) -> Floats:
    """Row by row, what an ensemble selected on the one half spares on the other, against the best of that one half."""
    part = [held[chosen] for held in told]
    weights = _greedy(part, y[chosen], classes, seconds, most_seconds)
    best = min(range(len(part)), key=lambda place: float(_losses(part[place], y[chosen], classes).mean()))
    later = [held[judged] for held in told]
    return _losses(later[best], y[judged], classes) - _losses(_mean(later, weights), y[judged], classes)


def _greedy(
    told: Sequence[Floats], y: npt.NDArray[Any], classes: int, seconds: Sequence[float], most_seconds: float
) -> dict[int, float]:
    """Each chosen candidate's weight. The best alone comes first, whatever it takes."""
    steps: list[int] = []
    reached: list[float] = []
    total = np.zeros(len(y))
    for _ in range(STEPS):
        chosen = set(steps)
        left = most_seconds - sum(seconds[place] for place in chosen)
        open_ = [
            place
            for place in range(len(told))
            if place in chosen or not chosen or (len(chosen) < MOST_MEMBERS and seconds[place] <= left)
        ]
        losses = [float(_losses((total + told[place]) / (len(steps) + 1), y, classes).mean()) for place in open_]
        place = open_[int(np.argmin(losses))]
        steps.append(place)
        reached.append(min(losses))
        total = total + told[place]
    kept = steps[: int(np.argmin(reached)) + 1]
    return {place: kept.count(place) / len(kept) for place in sorted(set(kept))}


def _told(answers: Floats, y: npt.NDArray[Any], classes: int) -> Floats:
    """What the loss looks at: the probability of the true class, or the value. A mean of answers tells their mean."""
    return answers[np.arange(len(y)), y] if classes else answers


def _losses(told: Floats, y: npt.NDArray[Any], classes: int) -> Floats:
    if classes:
        return np.asarray(-np.log(np.clip(told, SMALLEST, 1.0)))
    return np.asarray((told - y) ** 2)


def _mean(told: Sequence[Floats], weights: dict[int, float]) -> Floats:
    total = np.zeros(len(told[0]))
    for place, weight in weights.items():
        total = total + weight * told[place]
    return total
