"""When a run has to be where, to end within its budget on the machine as it is now.

A machine that others use as well makes everything slower, up to ten times and more beside a busy neighbour at a better
priority. What is still to come is therefore reckoned in processor time, and multiplied by what a second of that has
lately taken by the wall: of reading, guarding and trials, which come before.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

# Of the budget, at most; the rest is for judging, refitting and packaging.
SEARCH_SHARE = 0.8
# A run promises 1.1 budgets and ten seconds, and plans for less: estimates miss, and nothing stops a fit halfway.
PLANNED_SHARE, PLANNED_SECONDS = 1.05, 7.0
PROMISED_SHARE, PROMISED_SECONDS = 1.1, 9.0  # a second is for what ends a process
# The result is fitted twice, before the holdout and on all rows, and writing it down takes half as long again (boosted
# trees of several classes as long as the fit): what one fit may take, and how many to reckon with.
FIT_SHARE, FIT_SECONDS = 0.1, 1.0
EXPORT = 0.5
FITS = 2 + EXPORT
# Processor time of what comes after the search besides fits, over that of reading and guarding; and what it takes
# in any case. On 39,000 rows of 14 columns: .9 s before, 3.7 s after.
JUDGING, JUDGING_SECONDS = 2.0, 0.7
PACKAGING, PACKAGING_SECONDS = 1.0, 0.5
# How much slower things go is told by the newest so many seconds of processor time, or by all, if that is more: load
# comes and goes.
REMEMBERED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds by the wall, and of this process's own processor time."""

    wall: Callable[[], float] = time.monotonic
    processor: Callable[[], float] = time.process_time

    def now(self) -> tuple[float, float]:
        """By both."""
        return self.wall(), self.processor()

    def since(self, then: tuple[float, float]) -> tuple[float, float]:
        """What both have gone on since."""
        return self.wall() - then[0], self.processor() - then[1]


@dataclass(slots=True)
class Timetable:
    """A run's. Without a budget, where a number of trials ends the search, there is all the time in the world.

    `left_out` names what was given up to end in time.
    """

    budget: float | None
    clocks: Clocks = field(default_factory=Clocks)
    already: float = 0.0  # that the run has taken before this was made
    left_out: list[str] = field(default_factory=list)
    expected_fit: float = 0.0  # of the best so far, on all rows, while the search goes on
    final_fit: float = 0.0  # the last fit, while it is to come
    _began: float = 0.0
    _reading: float = 0.0  # processor time
    _notes: deque[tuple[float, float]] = field(default_factory=deque)
    _wall: float = 0.0
    _processor: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clocks.wall() - self.already

    def elapsed(self) -> float:
        return self.clocks.wall() - self._began

    def note(self, wall: float, processor: float) -> None:
        """What a piece of work took by both clocks."""
        self._wall, self._processor = self._wall + wall, self._processor + processor
        self._notes.append((wall, processor))
        while sum(own for _, own in self._notes) - self._notes[0][1] >= REMEMBERED_SECONDS:
            self._notes.popleft()

    def have_read(self, wall: float, processor: float) -> None:
        """What reading and guarding took: the measure of what is to come."""
        self._reading = processor
        self.note(wall, processor)

    def have_fitted(self, wall: float, processor: float, more_rows: float) -> None:
        """What the first fit took; the last will be on so many times the rows."""
        self.note(wall, processor)
        self.final_fit = max(wall, processor * self.slowdown) * more_rows

    @property
    def slowdown(self) -> float:
        """Seconds by the wall for one of the processor; 1 at least."""
        lately = sum(wall for wall, _ in self._notes), sum(own for _, own in self._notes)
        both = [wall / own for wall, own in (lately, (self._wall, self._processor)) if own > 0]
        return max(1.0, *both) if both else 1.0

    def search_left(self) -> float:
        """For the search, with the fits of the best so far to come behind it."""
        if self.budget is None:
            return math.inf
        rest = self._after() + FITS * min(self.expected_fit, self._most_fit())
        return min(SEARCH_SHARE * self.budget, self._planned() - rest) - self.elapsed()

    def fit_seconds(self) -> float:
        """What one fit of the result may take, now that the search is over; a second in any case."""
        if self.budget is None:
            return math.inf
        return max(1.0, min(self._most_fit(), (self._planned() - self.elapsed() - self._after()) / FITS))

    def longest_fit_seconds(self) -> float:
        """As `fit_seconds`, where a run would rather be just in time than with a worse model."""
        if self.budget is None:
            return math.inf
        promised = PROMISED_SHARE * self.budget + PROMISED_SECONDS
        return max(self.fit_seconds(), min(2 * self._most_fit(), (promised - self.elapsed() - self._after()) / FITS))

    def spare(self) -> float:
        """What there is for what a run can do without, now that the search is over."""
        if self.budget is None:
            return math.inf
        return max(0.0, self._planned() - self.elapsed() - (1 + EXPORT) * self.final_fit - self._packaging())

    def affords(self, what: str, share: float) -> bool:
        """Whether there is time for what takes such a share of what reading took; else it is among `left_out`."""
        if self.slowdown * share * self._reading <= self.spare():
            return True
        self.left_out.append(what)
        return False

    def _planned(self) -> float:
        assert self.budget is not None
        return PLANNED_SHARE * self.budget + PLANNED_SECONDS

    def _most_fit(self) -> float:
        assert self.budget is not None
        return FIT_SHARE * self.budget + FIT_SECONDS

    def _after(self) -> float:
        return self._judging() + self._packaging()

    def _judging(self) -> float:
        return self.slowdown * (JUDGING_SECONDS + JUDGING * self._reading)

    def _packaging(self) -> float:
        return self.slowdown * (PACKAGING_SECONDS + PACKAGING * self._reading)
