"""A test whether labels are missing more often beside some answers than beside others.

Labels that are missing by outcome (a fraud found late, a customer who never answers) crown an equal model. What the
missing labels say is not known, but answers are, and answers that are worth anything follow the outcome: where labels
are missing by outcome, their rate follows the answers. The test needs no label's value. It is a score test of the
label rate against both models' answers and their difference, with a normal mixture over the size of the dependence
(Robbins, "Statistical methods related to the law of the iterated logarithm", 1970; Waudby-Smith et al., "Time-uniform
central limit theory and asymptotic confidence sequences", Annals of Statistics 2024): asymptotically valid at every
look, and a function of sums alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record.block_sums import UNIT, fixed
from record.dependence import Floats, Integers

# Narrowest about so many requests: with 100 the dependence is found before a biased lead is.
TUNED_REQUESTS = 100
FEWEST_REQUESTS = 50
FEWEST_MISSING = 5
EVERY = 50  # requests between two looks at it


@dataclass(slots=True)
class LabelRates:
    """Sums over matured requests, one entry for each score of the answers."""

    requests: int = 0
    labelled: int = 0
    highest: float = 0.0  # of the log evidence, at every fiftieth request
    scores: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    squares: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    labelled_scores: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, labelled: NDArray[np.bool_], scores: Floats) -> None:
        """Requests in their order; `scores` has a row for each and a column for each number in [−1, 1]."""
        if not len(labelled):
            return
        if not len(self.scores):
            self.scores, self.squares, self.labelled_scores = (np.zeros(scores.shape[1], np.int64) for _ in range(3))
        place = 0
        while place < len(labelled):
            stop = min(len(labelled), place + EVERY - self.requests % EVERY)
            own, said = labelled[place:stop], scores[place:stop]
            self.requests += len(own)
            self.labelled += int(own.sum())
            self.scores = self.scores + fixed(said).sum(axis=0)
            self.squares = self.squares + fixed(said**2).sum(axis=0)
            self.labelled_scores = self.labelled_scores + fixed(said[own]).sum(axis=0)
            if self.requests % EVERY == 0:
                self.highest = max(self.highest, self.log_evidence())
            place = stop

    @property
    def testable(self) -> bool:
        """Whether the answers differ at all: against constants no rate can be tested."""
        return bool(len(self.scores) and (self._spread() > 1e-9).any())

    def log_evidence(self) -> float:
        """Log evidence now that the rate of labels depends on the answers: the mean over scores."""
        count, missing = self.requests, self.requests - self.labelled
        if count < FEWEST_REQUESTS or missing < FEWEST_MISSING or not self.labelled:
            return 0.0
        spread = self._spread()
        kept = spread > 1e-9
        if not kept.any():
            return 0.0
        mean = self.scores / UNIT / count
        covariance = (self.labelled_scores / UNIT - self.labelled * mean) / count
        rate = self.labelled / count
        statistic = count * covariance[kept] ** 2 / (rate * (1 - rate) * spread[kept])
        logs = -0.5 * math.log1p(count / TUNED_REQUESTS) + count / (count + TUNED_REQUESTS) * statistic / 2
        top = float(logs.max())
        return top + math.log(float(np.exp(logs - top).mean()))

    def slope(self) -> float:
        """How much higher the rate of labels is, one standard deviation up the first model's answers."""
        if not self.requests or not self.testable or self._spread()[0] <= 1e-9:
            return 0.0
        mean = self.scores[0] / UNIT / self.requests
        covariance = (self.labelled_scores[0] / UNIT - self.labelled * mean) / self.requests
        return float(covariance / math.sqrt(self._spread()[0]))

    def bias(self, spread: float) -> float:
        """The largest mean bias of a difference that a dependence on the outcome, not excluded yet, would make.

        For answers of two classes; `spread` is how far apart the two labels put a difference, on average. The slope
        of the label rate, and two and a half of its standard errors, over the answers' own standard deviation.
        """
        if not self.labelled or not self.testable or self.labelled == self.requests or self._spread()[0] <= 1e-9:
            return 0.0
        rate = self.labelled / self.requests
        chance = (float(self.scores[0]) / UNIT / self.requests + 1) / 2
        error = math.sqrt(rate * (1 - rate) / self.requests)
        slope = (abs(self.slope()) + 2.5 * error) / (math.sqrt(self._spread()[0]) / 2)
        return float(spread * chance * (1 - chance) * slope / rate)

    def _spread(self) -> Floats:
        mean = self.scores / UNIT / max(1, self.requests)
        return np.asarray(self.squares / UNIT / max(1, self.requests) - mean**2)

    def to_json(self) -> dict[str, Any]:
        sums = {name: getattr(self, name).tolist() for name in ("scores", "squares", "labelled_scores")}
        return {"requests": self.requests, "labelled": self.labelled, "highest": self.highest, **sums}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> LabelRates:
        sums = {name: np.array(held[name], np.int64) for name in ("scores", "squares", "labelled_scores")}
        return cls(int(held["requests"]), int(held["labelled"]), float(held["highest"]), **sums)
