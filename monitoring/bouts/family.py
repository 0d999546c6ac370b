"""How bouts share alpha: pure.

A family is the bouts against one champion version. Within any window as long as `promotion.family_window` its bouts
together spend at most alpha (a union bound). The j-th of the first eight gets 6 α/(π² j²), the series whose sum over
all j is α, or a fourteenth of what is left, whichever is more; later ones get a fourteenth of what is left; none gets
more than nine tenths of what is left. So the first bouts are as sensitive as under the series, and a retrain every week
finds a steady share (evidence of 520 is enough at alpha 0.05; 1,200 for one every day) instead of a vanishing one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from record.bouts.bout import Bout

STEADY = 14  # bouts that share what is left of a window: about one a week in three months
MOST_OF_LEFT = 0.9
EARLY_RANKS = 8  # beyond, the series would leave a daily retrain with nothing
LEAST_SHARE = 1e-12


@dataclass(frozen=True, slots=True)
class FamilyShare:
    """`rank`: the bout's place in its family's window; `alpha`: what it may spend."""

    rank: int
    alpha: float


def family_share(
    bouts: Sequence[Bout], champion: str, challenger: str, at: datetime, window: timedelta, alpha: float
) -> FamilyShare:
    """The next bout's share. A challenger that met this champion version before keeps at most what it had then.

    So a move of the champion's role and back neither resets the family nor replays old pairs at a better rank.
    """
    family = [bout for bout in bouts if bout.kind == "challenge" and bout.champion == champion]
    before = [bout for bout in family if bout.challenger == challenger]
    recent = [bout for bout in family if bout.opened_at > at - window and bout.challenger != challenger]
    # Replays of one challenger see the same pairs: they are one test, and spend what the most generous one had.
    spent: dict[str, float] = {}
    for bout in recent:
        spent[bout.challenger] = max(spent.get(bout.challenger, 0.0), float(bout.design["alpha"]))
    share = spent_alpha(alpha, len(spent) + 1, max(0.0, alpha - sum(spent.values())))
    if not before:
        return FamilyShare(len(spent) + 1, share)
    first = min(before, key=lambda bout: float(bout.design["alpha"]))
    if float(first.design["alpha"]) <= share:
        return FamilyShare(int(first.design["family_rank"]), float(first.design["alpha"]))
    return FamilyShare(len(spent) + 1, share)


def spent_alpha(alpha: float, rank: int, left: float) -> float:
    """What the bout of that rank may spend, of what is left of the window's alpha."""
    if rank < 1:
        raise ValueError(f"rank must be at least 1, not {rank!r}")
    series = alpha * 6 / (math.pi**2 * rank**2) if rank <= EARLY_RANKS else 0.0
    # Never nothing: evidence that is overwhelming ends a bout also where others have spent all there was.
    return max(min(MOST_OF_LEFT * left, max(series, left / STEADY)), LEAST_SHARE * alpha)
