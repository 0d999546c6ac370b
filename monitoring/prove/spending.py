"""The table's row on weekly retrains: what any bout needs, and what any window spends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from monitoring.bouts.family import family_share
from monitoring.prove.target import Target
from monitoring.prove.world import START

ALPHA = 0.05
WEEKS = 104
WINDOW = timedelta(days=90)
GROUP = "weekly retrains"


@dataclass(frozen=True, slots=True)
class _Opened:
    """As much of a bout as the spending goes by."""

    kind: str
    champion: str
    challenger: str
    opened_at: Any
    design: dict[str, Any] = field(default_factory=dict)


def weekly_retrains(alpha: float = ALPHA) -> list[Target]:
    """Two years of one challenger a week, none of which wins."""
    bouts: list[Any] = []
    for week in range(WEEKS):
        at, challenger = START + week * timedelta(days=7), f"v{week + 2}"
        share = family_share(bouts, "v1", challenger, at, WINDOW, alpha)
        design = {"alpha": share.alpha, "family_rank": share.rank}
        bouts.append(_Opened("challenge", "v1", challenger, at, design))
    needed = max(1 / bout.design["alpha"] for bout in bouts)
    spent = max(
        sum(other.design["alpha"] for other in bouts if bout.opened_at - WINDOW < other.opened_at <= bout.opened_at)
        for bout in bouts
    )
    return [
        Target(
            "weekly_needed",
            GROUP,
            "evidence needed in two years, the most",
            needed,
            600.0,
            unit="evidence",
            runs=WEEKS,
        ),
        Target("weekly_alpha", GROUP, "alpha spent in any window", spent, alpha * (1 + 1e-9), runs=WEEKS),
    ]
