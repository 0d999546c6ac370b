"""Who stands where: scores of systems on tasks as ranks, as shares of what can be gained, and held against targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, studentized_range

from benchmarks.automl_cells import Cell

Floats = npt.NDArray[np.float64]

OURS, PLAIN = "ringside", "hgb"
CLOSE = 0.02  # of the range between the dummy and the best system
MOST_TASKS = 0.8
ROW_MS = 1.0
RESAMPLES = 10_000


@dataclass(frozen=True)
class Standing:
    """One task: each system's mean score over the holdouts that all were asked about; None where it failed on one."""

    task: str
    scores: Mapping[str, float | None]
    dummy: float
    better: int  # 1: more is better; −1: less is
    holdouts: int

    def ranks(self) -> dict[str, float]:
        """1 is the best; equals share their places, failures the last ones."""
        worst = -np.inf
        held = [worst if score is None else self.better * score for score in self.scores.values()]
        return dict(zip(self.scores, rankdata([-value for value in held]).tolist(), strict=True))

    def gap(self, system: str) -> float:
        """How far behind the best, as a share of its lead over the dummy; a failure is as good as the dummy.

        0 where none is better than the dummy.
        """
        span = self._gain(self.best(tuple(self.scores)))
        return (span - self._gain(system)) / span if span > 0 else 0.0

    def best(self, systems: Sequence[str]) -> str:
        return max(systems, key=self._gain)

    def _gain(self, system: str) -> float:
        score = self.scores[system]
        return 0.0 if score is None else self.better * (score - self.dummy)


@dataclass(frozen=True)
class Rank:
    system: str
    mean: float
    low: float  # 95 % of resampled sets of tasks
    high: float


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    found: str
    met: bool | None  # None: cannot be said from what was measured


def standing(
    task: str, cells: Sequence[Cell], systems: Sequence[str], dummies: Sequence[float], better: int
) -> Standing:
    """The task's standing among `systems`, each of which was asked about one holdout at least."""
    asked = {name: {cell.holdout: cell.score for cell in cells if cell.system == name} for name in systems}
    common = sorted(set.intersection(*(set(held) for held in asked.values())))
    scores: dict[str, float | None] = {}
    for name, held in asked.items():
        found = [held[holdout] for holdout in common]
        sound = [score for score in found if score is not None]
        scores[name] = float(np.mean(sound)) if sound and len(sound) == len(found) else None
    return Standing(task, scores, float(np.mean([dummies[holdout] for holdout in common])), better, len(common))


def complete(cells: Sequence[Cell], systems: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """The systems that were asked about the first holdout of every task: these are ranked."""
    held = {(cell.system, cell.task) for cell in cells if cell.holdout == 0}
    return [name for name in systems if all((name, task) in held for task in tasks)]


def mean_ranks(standings: Sequence[Standing], seed: int = 0) -> list[Rank]:
    """Best first. The interval says how far it hangs on these tasks: it is a bootstrap over them."""
    systems = list(standings[0].scores)
    ranks = np.array([[held.ranks()[name] for name in systems] for held in standings])
    drawn = np.random.default_rng(seed).integers(0, len(ranks), (RESAMPLES, len(ranks)))
    low, high = np.quantile(ranks[drawn].mean(axis=1), [0.025, 0.975], axis=0)
    means = ranks.mean(axis=0)
    held = [Rank(name, float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(systems)]
    return sorted(held, key=lambda rank: rank.mean)


def critical_difference(systems: int, tasks: int, alpha: float = 0.05) -> float:
    """By how much two mean ranks must differ to be told apart (Nemenyi's test; Demšar, JMLR 7, 2006)."""
    if systems < 2:
        return 0.0
    q = float(studentized_range.ppf(1 - alpha, systems, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(systems * (systems + 1) / (6 * tasks)))


def targets(standings: Sequence[Standing], cells: Sequence[Cell], budget: int) -> list[Target]:
    """What is wanted of ours, beside what was found; `cells` are ours."""
    held = [] if not standings or OURS not in standings[0].scores else _of_scores(standings)
    return [*held, *_of_cells(cells, budget)] if cells else held


def _of_scores(standings: Sequence[Standing]) -> list[Target]:
    ranks = mean_ranks(standings)
    own = next(rank.mean for rank in ranks if rank.system == OURS)
    others = [rank for rank in ranks if rank.system != OURS]
    found = [
        Target(
            f"mean rank among {len(ranks)}",
            "the best",
            f"{own:.2f}" + (f"; {others[0].system} {others[0].mean:.2f}" if others else ""),
            own <= others[0].mean if others else None,
        )
    ]
    if any(rank.system == PLAIN for rank in others):
        behind = {each.task: each.gap(OURS) - each.gap(PLAIN) for each in standings}
        worst = max(behind, key=lambda name: behind[name])
        found.append(
            Target(
                "worse than default gradient boosting, of the range between dummy and best",
                f"≤ {CLOSE:.0%} on any task",
                f"{_side(behind[worst])} ({worst}, the worst)",
                behind[worst] <= CLOSE,
            )
        )
    peers = [rank.system for rank in others]
    if peers:
        near = [each for each in standings if each.gap(OURS) - each.gap(each.best(peers)) <= CLOSE]
        found.append(
            Target(
                f"within {CLOSE:.0%} of that range of the best peer",
                f"≥ {MOST_TASKS:.0%} of tasks",
                f"{len(near)} of {len(standings)}",
                len(near) >= MOST_TASKS * len(standings),
            )
        )
    return found


def _of_cells(cells: Sequence[Cell], budget: int) -> list[Target]:
    allowed = budget * 1.1 + 10
    failed = sum(cell.score is None for cell in cells)
    rows = [cell for cell in cells if cell.row_ms is not None]
    timed = [cell for cell in cells if cell.seconds is not None]
    slowest = max(rows, key=lambda cell: cell.row_ms or 0.0, default=None)
    longest = max(timed, key=lambda cell: cell.seconds or 0.0, default=None)
    return [
        Target(
            "single row, packaged model",
            f"≤ {ROW_MS:g} ms on every task",
            f"{slowest.row_ms:.3f} ms at most ({slowest.task})" if slowest else "",
            None if slowest is None else (slowest.row_ms or 0.0) <= ROW_MS,
        ),
        Target(
            "wall clock in total",
            f"≤ {allowed:.0f} s",
            f"{longest.seconds:.0f} s at most ({longest.task})" if longest else "",
            None if longest is None else (longest.seconds or 0.0) <= allowed,
        ),
        Target("failures", "none", str(failed), failed == 0),
    ]


def _side(share: float) -> str:
    return f"{share:.1%} worse" if share > 0 else f"{-share:.1%} better"
