"""Rows in two parts so that no entity stands in both: a model that has met a customer is not judged on that customer.

Where few rows are in question they leave the part that is learned from. Where most entities come again and again, that
would leave nothing: every second of them (by digest, which is chance) then stands in the part that is judged, the
others in the one that is learned from, and their rows on the other side are left out. Where one entity has most rows,
it stands in the part where that leaves more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from record.entity import ALONE, distinct
from record.errors import DataError

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FEW = 0.1  # of the rows that are learned from
FEWEST_TO_LEARN = 20
LEAST_TO_LEARN = 0.25  # of the rows that would be learned from, where these are few themselves


class InseparableEntities(DataError):
    """The rows of a few entities that cannot stand in two parts."""

    def __init__(self, entities: Integers) -> None:
        counts = np.bincount(distinct(entities))
        super().__init__(
            f"problem.entity_column: {len(counts)} {'entity' if len(counts) == 1 else 'entities'} in {len(entities)} "
            f"rows, {counts.max()} of one entity; expected several with enough rows, so that a model is judged on "
            "others than those that it learned from; or no problem.entity_column",
            field="problem.entity_column",
        )


def keep_apart(
    learn: Integers | None, judge: Integers | None, classes: Integers | None = None
) -> tuple[Flags, Flags] | None:
    """Masks of the rows that stay in each part, by their entities; None where all do, or no entity is known.

    `classes` are the class codes of the rows to learn from; no class is lost where another division keeps it.
    Raises InseparableEntities where every division leaves too little to learn from, or nothing to judge on.
    """
    if learn is None or judge is None:
        return None
    shared = np.intersect1d(learn[learn != ALONE], judge[judge != ALONE])
    if not len(shared):
        return None
    divisions = [masks for masks in _divisions(learn, judge, shared) if _enough(*masks, classes)]
    if not divisions:
        raise InseparableEntities(np.concatenate([learn, judge]))
    most = max(_classes(masks[0], classes) for masks in divisions)
    best = [masks for masks in divisions if _classes(masks[0], classes) == most]
    few = best[0][1].all() and 1 - best[0][0].mean() <= FEW
    return best[0] if few else max(best, key=lambda masks: float(min(masks[0].mean(), masks[1].mean())))


def _divisions(learn: Integers, judge: Integers, shared: Integers) -> Iterator[tuple[Flags, Flags]]:
    """Each way to divide the entities that stand in both parts: all or half of them in the judged part, or none."""
    for judged in (shared, shared[::2], shared[1::2], shared[:0]):
        learned = np.setdiff1d(shared, judged)
        yield ~np.isin(learn, judged), ~np.isin(judge, learned)


def _enough(learned: Flags, judged: Flags, classes: Integers | None) -> bool:
    fewest = max(1, min(FEWEST_TO_LEARN, int(len(learned) * LEAST_TO_LEARN)))
    several = classes is None or _classes(learned, classes) >= min(2, len(np.unique(classes)))
    return bool(learned.sum() >= fewest and judged.any()) and several


def _classes(learned: Flags, classes: Integers | None) -> int:
    return 0 if classes is None else len(np.unique(classes[learned]))
