"""Whether the champion's loss rose beyond what its card promised. Pure.

The null is that the mean loss is at most `allowed`: the upper bound of the loss on the holdout that its training kept,
and the tolerance above it. Half of alpha is for that bound, half for the evidence (`monitoring.quality.rise`), so that
a sound champion is ever called declined in at most a share alpha of all lives, however often one looks. Beside it a
scan (`monitoring.quality.sustained`) finds rises that last for weeks; of that a year of weather is measured.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from monitoring.quality.promise import Promise
from monitoring.quality.rise import Rise

Basis = Literal["observed", "estimated"]

# The confidence sequence is narrowest about so many rows (Waudby-Smith et al. 2024, section 3.5).
TUNED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class DeclineDecision:
    """Whether it declined, and what that rests on."""

    basis: Basis
    declined: bool
    observed: float  # the recent loss; with basis "estimated" the one to expect
    lower: float  # of the recent loss, at every moment together
    rows: int
    promise: Promise
    evidence: Rise
    reasons: tuple[str, ...]

    @property
    def shown(self) -> float:
        """Evidence divided by what an alarm needs."""
        return self.evidence.value / self.promise.needed

    def to_json(self) -> dict[str, Any]:
        return {
            "declined": self.declined,
            "loss": self.observed,
            "lower": self.lower,
            "rows": self.rows,
            "evidence": asdict(self.evidence),
            "reasons": list(self.reasons),
            **asdict(self.promise),
        }


def decide_decline(
    basis: Basis, promise: Promise, evidence: Rise, *, recent: float, lower: float, rows: int, min_rows: int
) -> DeclineDecision:
    """`recent` is the mean loss of the `rows` in the window, `lower` its lower bound.

    Evidence once reached stays reached; the decline is over when the recent loss is allowed again.
    """
    if rows < min_rows:
        reasons: tuple[str, ...] = (f"{rows} labels, at least {min_rows} are needed",)
        return DeclineDecision(basis, False, recent, lower, rows, promise, evidence, reasons)
    crossed = evidence.peak >= promise.needed
    declined = crossed and recent > promise.allowed
    compared = (
        f"{'loss' if basis == 'observed' else 'estimated loss'} {recent:.4f}, at least {lower:.4f}; "
        f"{promise.expected:.4f} was promised, {promise.allowed:.4f} is allowed"
    )
    found = f"evidence {evidence.value:.3g}, at most {evidence.peak:.3g}; {promise.needed:.3g} is needed"
    return DeclineDecision(basis, declined, recent, lower, rows, promise, evidence, (compared, found))


def lower_bound(mean: float, error: float, rows: int, alpha: float) -> float:
    """The lower end of an asymptotic confidence sequence: below the true mean at every look, but for a share alpha.

    `error` is the standard error of the mean of `rows` rows.
    """
    if rows < 2 or not math.isfinite(error):
        return 0.0
    spread = error * math.sqrt(rows)
    tuned = (-2 * math.log(2 * alpha) + math.log(-2 * math.log(2 * alpha) + 1)) / TUNED_ROWS
    grown = rows * tuned + 1
    half = spread * math.sqrt(2 * grown / (rows**2 * tuned) * math.log(1 + math.sqrt(grown) / (2 * alpha)))
    return max(0.0, mean - half)
