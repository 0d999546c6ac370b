"""Negative controls: rules that have to fail, or the simulations could not see the fault."""

from __future__ import annotations

import numpy as np

from monitoring.evidence import e_values
from monitoring.prove.target import Target
from monitoring.prove.traffic import Floats, at_rate, classes, scores

GROUP = "negative controls"
ALPHA = 0.05
ONE_SIDED_95 = 1.645
FIRST_LOOK = 30


def repeated_t_test(runs: int, seed: int = 901) -> list[Target]:
    """A t-test after every label promotes equal models in two fifths of all cases."""
    rng = np.random.default_rng(seed)
    crossed = sum(
        bool((t_statistics(classes(rng, at_rate(10_000, 200)).differences) >= ONE_SIDED_95).any()) for _ in range(runs)
    )
    title = "t-test repeated after every label, equal models"
    return [Target("control_repeated_t_test", GROUP, title, crossed / runs, 0.3, "at least", runs=runs)]


def arrival_order(runs: int, seed: int = 902) -> list[Target]:
    """Pairs that enter as their labels arrive, where negatives are labelled late, promote an equal model always."""
    rng = np.random.default_rng(seed)
    crossed = 0
    for _ in range(runs):
        traffic = scores(rng, at_rate(10_000, 200), noise=(0.3, 0.3), lean=0.5)
        negative = traffic.differences < 0  # the challenger leans to yes, and so loses on negatives
        late = np.where(negative, 2_000, 0) + np.arange(len(traffic))
        arrived = traffic.differences[np.argsort(late, kind="stable")]
        crossed += bool(e_values(arrived).max() >= 1 / ALPHA)
    title = "pairs in the order of their labels, negatives 2,000 requests late"
    return [Target("control_arrival_order", GROUP, title, crossed / runs, 0.9, "at least", runs=runs)]


def t_statistics(differences: Floats) -> Floats:
    """The t statistic after every label, from the thirtieth on."""
    count = np.arange(1, len(differences) + 1)
    mean = np.cumsum(differences) / count
    spread = np.sqrt(np.maximum(np.cumsum(differences**2) / count - mean**2, 1e-12) / count)
    statistic: Floats = mean / spread
    statistic[: FIRST_LOOK - 1] = -np.inf
    return statistic
