"""Which family the next trial is of: the budget goes to families by what it earns there.

The rule is FLAML's (Wang, Wu, Weimer and Zhu 2021): a family's share is one over the cost at which its next improvement
is to be expected, or, where it is behind, at which it would catch up at the speed it has had. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrain.models.configuration import Family
from retrain.trials.trial import TrialReport

# Of each family, however little it earns: an ensemble lives on models that err otherwise.
LEAST_SHARE = 0.02
# What a family that has not improved on its first trial is trusted with, of the best loss.
TRUSTED = 0.01


def shares(trials: Sequence[TrialReport], families: Sequence[Family], *, by_seconds: bool) -> dict[Family, float]:
    """Of the trials to come, for each family; they add up to 1. A trial costs its seconds, or 1.

    By seconds, what follows depends on the machine: not where a number of trials ends the search.
    """
    losses = [trial.loss for trial in trials if trial.loss is not None]
    best = min(losses, default=0.0)
    costs = {family: _cost(family, trials, best, by_seconds) for family in families}
    # A family that was never tried is worth as much as the most promising one.
    least = min((cost for cost in costs.values() if cost is not None), default=1.0)
    worth = {family: 1.0 / max(1e-9, least if cost is None else cost) for family, cost in costs.items()}
    total = sum(worth.values())
    spare = 1.0 - LEAST_SHARE * len(families)
    return {family: LEAST_SHARE + spare * value / total for family, value in worth.items()}


def drawn(held: dict[Family, float], seed: Sequence[int]) -> Family:
    """One of the families by its share: the same for the same seed."""
    names = list(held)
    chances = np.array([held[name] for name in names])
    return names[int(np.random.default_rng(seed).choice(len(names), p=chances / chances.sum()))]


def _cost(family: Family, trials: Sequence[TrialReport], best: float, by_seconds: bool) -> float | None:
    """At which an improvement that counts is to be expected; None where nothing is known."""
    spent = 0.0
    first: float | None = None
    reached: list[tuple[float, float]] = []  # what had been spent, and the loss, at each improvement
    for trial in trials:
        if trial.configuration.family != family:
            continue
        spent += trial.seconds if by_seconds else 1.0
        if trial.loss is None:
            continue
        first = trial.loss if first is None else first
        if not reached or trial.loss < reached[-1][1]:
            reached.append((spent, trial.loss))
    if spent == 0:
        return None
    if first is None:  # nothing but failures
        return 2 * spent
    before = reached[-2][0] if len(reached) > 1 else 0.0
    own = max(spent - reached[-1][0], reached[-1][0] - before)
    behind = reached[-1][1] - best
    speed = max(first - reached[-1][1], TRUSTED * abs(best)) / spent
    return max(own, behind / speed) if speed > 0 else own
