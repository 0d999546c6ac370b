"""One trial of a search, and how long trials go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrain.models.configuration import Configuration
from retrain.timetable import Timetable

# A search that has not improved for so many trials goes on in vain.
PATIENCE_TRIALS = 60

Told = Callable[[int, int | None, float | None, float | None], None]  # done, of how many, best loss, seconds left


@dataclass(frozen=True, slots=True)
class TrialReport:
    """One trial: `loss` is None where it failed, and `error` says why."""

    number: int
    configuration: Configuration
    loss: float | None
    seconds: float
    error: str | None = None
    spared_seconds: float = 0.0  # that encoding would have taken besides, had it not been done before
    stopped: int | None = None  # after so many folds, as hopeless; its loss is what these make one expect

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> TrialReport:
        """The report whose `to_json` this is."""
        chosen = Configuration.from_json(held)
        assert chosen is not None
        rest = held.get("error"), held.get("spared", 0.0), held.get("stopped")
        return cls(held["number"], chosen, held["loss"], held["seconds"], *rest)

    def to_json(self) -> dict[str, Any]:
        held = {"number": self.number, **self.configuration.to_json(), "loss": self.loss}
        held |= {"spared": round(self.spared_seconds, 3)} if self.spared_seconds else {}
        held |= {"stopped": self.stopped} if self.stopped else {}
        return held | {"seconds": round(self.seconds, 3)} | ({"error": self.error} if self.error else {})


@dataclass(frozen=True, slots=True)
class Limits:
    """A number of trials, else a time. By trials, the same data and seed give the same result."""

    trials: int | None
    seconds: float


def best_loss(trials: Sequence[TrialReport]) -> float | None:
    """The least so far."""
    return min((trial.loss for trial in trials if trial.loss is not None), default=None)


class Stopwatch:
    """When the search is over: after its time, or sooner where the run's timetable says so."""

    def __init__(self, limits: Limits, already: float, timetable: Timetable) -> None:
        self._limits = limits
        self._timetable = timetable
        self._started = timetable.clocks.wall() - already

    def elapsed(self) -> float:
        return self._timetable.clocks.wall() - self._started

    def left(self) -> float | None:
        return None if self._limits.trials is not None else max(0.0, self._room())

    def until(self) -> float | None:
        """When it is over by the wall's clock; None where trials end it."""
        return None if self._limits.trials is not None else self._timetable.clocks.wall() + self._room()

    def overdue(self, grace: float) -> bool:
        return self._limits.trials is None and self._room() < -grace

    def over(self, trials: Sequence[TrialReport]) -> bool:
        """Whether no other trial is to be begun after these, the first in any case."""
        if self._limits.trials is not None:
            return False
        if not trials:
            return self._room() < 0
        if _in_vain(trials):
            return True
        # The next trial takes about as long as the mean so far; it should end in time.
        return sum(trial.seconds for trial in trials) / len(trials) > self._room()

    def _room(self) -> float:
        return min(self._limits.seconds - self.elapsed(), self._timetable.search_left())


def _in_vain(trials: Sequence[TrialReport]) -> bool:
    losses = [math.inf if trial.loss is None else trial.loss for trial in trials]
    return len(losses) > PATIENCE_TRIALS and min(losses[-PATIENCE_TRIALS:]) > min(losses[:-PATIENCE_TRIALS])
