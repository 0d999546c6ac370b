"""Which rows a run learns from, and which are held out to judge its candidate."""

from __future__ import annotations

from retrain.data.dataset import Dataset
from retrain.evaluation.examination import Champion
from retrain.mode import Mode

# On fewer rows than this, a difference in loss that matters does not show.
ENOUGH_FRESH_ROWS = 500


def divide(data: Dataset, champion: Champion | None, mode: Mode, share: float) -> tuple[Dataset, Dataset]:
    """As `split`. An incremental run learns from new rows, and is judged on newer ones: half of them at most."""
    fresh = fresh_rows(data, champion)
    if mode == "incremental":
        held = max(1, min(round(len(data) * share), fresh // 2))
        return data.rows(0, len(data) - held), data.rows(len(data) - held)
    return split(data, share, fresh)


def split(data: Dataset, share: float, fresh: int = 0) -> tuple[Dataset, Dataset]:
    """The rows to learn from, and the newest `share` of all, held out.

    Where the champion has not seen the newest `fresh` rows, and these are enough to judge by, no more than they are
    held out: the champion was refitted on all it knew, and a candidate kept from rows that the champion learned
    from would be compared at a loss.
    """
    held = min(len(data) - 1, max(1, round(len(data) * share)))
    if fresh >= ENOUGH_FRESH_ROWS:
        held = min(held, fresh)
    return data.rows(0, len(data) - held), data.rows(len(data) - held)


def fresh_rows(data: Dataset, champion: Champion | None) -> int:
    """How many rows are later than everything that the champion learned from."""
    if champion is None:
        return 0
    return int(data.fresh(champion.version.read_until_seq, champion.version.data_until).sum())
