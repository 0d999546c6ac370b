"""How many labels and days a gain will take to show, said before a bout opens. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from record.dependence import DAY_EFFECT, PRIOR_DAYS

# Reductions of the champion's loss that are worth planning for.
GAINS = (0.02, 0.05, 0.1, 0.2)
# A mixture of bets pays about so much (in log evidence) for not knowing the best of them.
MIXTURE_COST = 0.7
# Two models of one problem err alike: the variance of their difference, of that of one model's loss. Of paired Brier
# differences it was 6.5 times smaller than the sum of both.
PAIRED_SHARE = 2 / 6.5
ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Forecast:
    """`gain`: the mean difference of losses; `relative`: of the champion's loss. At the rate of labels until now."""

    gain: float
    relative: float
    labels: int
    days: float
    in_time: bool

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Forecast:
        return cls(**held)


def forecasts(
    *,
    loss: float,
    variance: float,
    labels_a_day: float,
    needed: float,
    fewest: int,
    deadline_days: float,
    cycle_days: float = 0.0,
) -> tuple[Forecast, ...]:
    """For each size of gain; nothing where the champion's loss or the rate of labels is not known.

    `variance` is that of one difference. The labels are those of a median bout: log(1/alpha) and what the mixture
    costs, over the growth gain²/(2 variance) of the best bet, times the design effect of days of that many labels.
    """
    if loss <= 0 or variance <= 0 or labels_a_day <= 0:
        return ()
    found = []
    for relative in GAINS:
        gain = relative * loss
        plain = (math.log(needed) + MIXTURE_COST) * 2 * variance / gain**2
        days = plain / labels_a_day
        for _ in range(ROUNDS):  # days in turn say how many labels are needed
            effect = 1 + DAY_EFFECT * min(labels_a_day, plain) * PRIOR_DAYS / (PRIOR_DAYS + days)
            days = plain * effect / labels_a_day
        labels = max(fewest, math.ceil(days * labels_a_day))
        days = labels / labels_a_day
        if cycle_days:
            days = math.ceil(days / cycle_days) * cycle_days
        found.append(Forecast(gain, relative, labels, round(days, 2), days <= deadline_days))
    return tuple(found)
