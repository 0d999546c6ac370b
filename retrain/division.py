"""Which rows a run learns from, and which are held out to judge its candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from record.entity import ALONE
from retrain.data.dataset import Dataset
from retrain.data.entity_split import keep_apart
from retrain.evaluation.examination import Champion
from retrain.mode import Mode

# On fewer rows than this, a difference in loss that matters does not show.
ENOUGH_FRESH_ROWS = 500


@dataclass(frozen=True, slots=True)
class Division:
    """`newest` rows at the end of all were to be held out. `ages` says which of them were: 1 is the newest row.

    Fewer than all where an entity stands on both sides: `learn` and `holdout` share none.
    """

    learn: Dataset
    holdout: Dataset
    newest: int
    ages: npt.NDArray[np.int64]


def divide(data: Dataset, champion: Champion | None, mode: Mode, share: float) -> Division:
    """As `split`. An incremental run learns from new rows, and is judged on newer ones: half of them at most."""
    fresh = fresh_rows(data, champion)
    if mode == "incremental":
        return _cut(data, max(1, min(round(len(data) * share), fresh // 2)))
    return split(data, share, fresh)


def split(data: Dataset, share: float, fresh: int = 0) -> Division:
    """The rows to learn from, and the newest `share` of all, held out.

    Where the champion has not seen the newest `fresh` rows, and these are enough to judge by, no more than they are
    held out: the champion was refitted on all it knew, and a candidate kept from rows that the champion learned
    from would be compared at a loss.
    """
    held = min(len(data) - 1, max(1, round(len(data) * share)))
    if fresh >= ENOUGH_FRESH_ROWS:
        held = min(held, fresh)
    return _cut(data, held)


def fresh_rows(data: Dataset, champion: Champion | None) -> int:
    """How many rows are later than everything that the champion learned from."""
    if champion is None:
        return 0
    return int(data.fresh(champion.version.read_until_seq, champion.version.data_until).sum())


def known_entities(data: Dataset, champion: Champion | None) -> npt.NDArray[np.int64]:
    """Of the rows that the champion may have learned from: it would be judged on them by heart."""
    if champion is None or data.entities is None:
        return np.empty(0, np.int64)
    known = data.entities[~data.fresh(champion.version.read_until_seq, champion.version.data_until)]
    return np.unique(known[known != ALONE])


def _cut(data: Dataset, held: int) -> Division:
    learn, holdout = data.rows(0, len(data) - held), data.rows(len(data) - held)
    ages = np.arange(held, 0, -1)
    kept = keep_apart(learn.entities, holdout.entities, learn.target if learn.classes else None)
    if kept is None:
        return Division(learn, holdout, held, ages)
    mine, theirs = (np.flatnonzero(flags) for flags in kept)
    return Division(learn.take(mine), holdout.take(theirs), held, ages[theirs])
