"""A decline as days of losses would have told it: what the service would have decided, without a record.

A pure function, for simulations and benchmarks; evidence and decision are the service's own code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.quality.decline import DeclineDecision, decide_decline, lower_bound
from monitoring.quality.measures import standard_error
from monitoring.quality.promise import Promise
from monitoring.quality.rise import DaySums, believed_variance, sum_days
from monitoring.quality.sustained import decline_evidence
from record.dependence import Clusters, long_run_variance
from record.dependence import standard_error as clustered_error

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeclineReplay:
    """`looks` are the days after which was looked, `decisions` what was decided then."""

    looks: tuple[int, ...]
    decisions: tuple[DeclineDecision, ...]

    @property
    def first(self) -> int | None:
        """After how many days a decline is declared."""
        found = (day for day, decision in zip(self.looks, self.decisions, strict=True) if decision.declined)
        return next(found, None)


def card_of(holdout: Sequence[Floats]) -> Mapping[str, Any]:
    """What a card says of a holdout's losses, given by day."""
    losses, days = np.concatenate(holdout), np.repeat(np.arange(len(holdout)), [len(day) for day in holdout])
    means = np.array([day.mean() for day in holdout])
    inner = float(np.mean([day.var() / len(day) for day in holdout]))
    return {
        "reference_loss": float(losses.mean()),
        "reference_loss_error": clustered_error(losses, days)[0],
        "reference_day_variance": max(0.0, long_run_variance(means).variance - inner),
    }


def replay_decline(
    days: Sequence[Floats],
    card: Mapping[str, Any],
    *,
    tolerance: float = 0.05,
    alpha: float = 0.05,
    min_rows: int = 200,
    window: int = 30,
    looks: Iterable[int] | None = None,
    to_the_end: bool = False,
) -> DeclineReplay:
    """The decision after each day in `looks` (every day, unless given), the last `window` days being the recent ones.

    `days` are the losses of each day's rows, in the bout's scale of 0 to 1. It ends at the first decline, unless
    it goes on `to_the_end`.
    """
    promise = Promise.of(card, tolerance, alpha)
    if promise is None:
        raise ValueError("the card promises no loss: reference_loss is missing")
    sums: dict[int, DaySums] = {}
    for number, losses in enumerate(days):
        sums |= sum_days(losses - promise.allowed, np.full(len(losses), number))
    seen, decisions = [], []
    for look in looks or range(1, len(days) + 1):
        rows = np.concatenate(days[max(0, look - window) : look])
        numbers = np.repeat(
            np.arange(max(0, look - window), look), [len(d) for d in days[max(0, look - window) : look]]
        )
        recent = float(rows.mean()) if len(rows) else math.nan
        error, _ = standard_error(rows, Clusters(numbers))
        decision = decide_decline(
            "observed",
            promise,
            decline_evidence(
                {day: held for day, held in sums.items() if day < look},
                promise,
                believed_variance(promise.expected, card.get("reference_day_variance"), look),
            ),
            recent=recent,
            lower=lower_bound(recent, error, len(rows), alpha),
            rows=len(rows),
            min_rows=min_rows,
        )
        seen.append(look)
        decisions.append(decision)
        if decision.declined and not to_the_end:
            break
    return DeclineReplay(tuple(seen), tuple(decisions))
