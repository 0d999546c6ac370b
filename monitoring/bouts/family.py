"""How bouts share alpha: pure.

A family is the bouts against one champion version. Within any window as long as `promotion.family_window` its bouts
together spend at most alpha (a union bound). The first gets 0.55 alpha. Each later one gets the largest share that all
bouts to come can have as well, at the family's pace, without any window spending more than alpha. A pace below one bout
a week (thirteen in a window) counts as that. So a first bout needs evidence of 36 at alpha 0.05, and weekly retrains
never more than 600: 533 until the first bout has left the window, 260 from then on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from record.bouts.bout import Bout

FIRST_SHARE = 0.55
PACE = 13  # bouts in a window that are planned for at least: one a week in three months
MOST_PACE = 90  # and at most: one a day
OBSERVED = 2 / 13  # of a window: a pace is that of so long a time at least, so that a few bouts on one day are no pace
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
    spent: dict[str, tuple[datetime, float]] = {}
    for bout in recent:
        _, most = spent.get(bout.challenger, (bout.opened_at, 0.0))
        spent[bout.challenger] = bout.opened_at, max(most, float(bout.design["alpha"]))
    share = spent_alpha(list(spent.values()), at, window, alpha)
    if not before:
        return FamilyShare(len(spent) + 1, share)
    first = min(before, key=lambda bout: float(bout.design["alpha"]))
    if float(first.design["alpha"]) <= share:
        return FamilyShare(int(first.design["family_rank"]), float(first.design["alpha"]))
    return FamilyShare(len(spent) + 1, share)


def spent_alpha(spent: Sequence[tuple[datetime, float]], at: datetime, window: timedelta, alpha: float) -> float:
    """The alpha that a bout opened `at` may spend, where others of its family in the window have spent theirs.

    `spent` has the time and the alpha of each.
    """
    if not spent:
        return FIRST_SHARE * alpha
    gap = _gap([opened for opened, _ in spent], at, window)
    shares = []
    for bouts in range(1, math.ceil(window / gap) + 1):
        later = at + (bouts - 1) * gap
        standing = sum(share for opened, share in spent if opened > later - window)
        shares.append((alpha - standing) / bouts)
    # Never nothing: evidence that is overwhelming ends a bout also where others have spent all there was.
    return max(min(shares), LEAST_SHARE * alpha)


def _gap(opened: Sequence[datetime], at: datetime, window: timedelta) -> timedelta:
    """The time to the next bout, by the pace of those in the window."""
    observed = max(at - min(opened), OBSERVED * window) / len(opened)
    return max(window / MOST_PACE, min(window / PACE, observed))
