"""Rows that came in another unit than the champion has learned: set aside, so that nothing is learned from a slip.

The watcher tells of a broken feed among requests (`record.feed_faults`). A run looks for itself at what is new since
the champion, since a source may be broken as well, and a feed may have broken a minute ago. What was learned from a
slip would also be the reference of the next checks, which then see none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from record.contract.schema import Schema
from record.unit_slip import Slip, day_wander, find_slip
from retrain.data.dataset import Dataset
from retrain.guards.finding import Finding

Flags = npt.NDArray[np.bool_]

OVERRIDE = "data.include_set_aside = true learns from them, too"


def told_findings(data: Dataset) -> tuple[Finding, ...]:
    """What the watcher's checks have set aside, as `read_rows` counted it."""
    return tuple(
        Finding(
            "broken_feed",
            column,
            "warning",
            f"{rows} labelled requests of a broken feed ({check}) are set aside; {OVERRIDE}",
            {"rows": rows, "feed_check": check},
        )
        for (check, column), rows in data.set_aside.items()
    )


def set_slips_aside(data: Dataset, known: Flags, champion: Schema) -> tuple[Dataset, tuple[Finding, ...]]:
    """The rows without those that came in another unit, and a finding by column; `known` are the champion's own."""
    aside, found = np.zeros(len(data), np.bool_), []
    for name, slip, rows in _slips(data, known, champion):
        aside |= rows
        count = int(rows.sum())
        message = f"{count} rows look like another unit ({slip.name}) and are set aside; {OVERRIDE}"
        numbers = {"rows": count, "unit": slip.name, "share": round(slip.share, 6)}
        found.append(Finding("broken_feed", name, "warning", message, numbers))
    if not found:
        return data, ()
    return replace(data.take(np.flatnonzero(~aside)), set_aside=data.set_aside), tuple(found)


def _slips(data: Dataset, known: Flags, champion: Schema) -> Iterator[tuple[str, Slip, Flags]]:
    numeric = {column.name for column in data.schema.problem.features if column.type == "number"}
    for place, name in enumerate(data.schema.problem.number_names):
        seen = champion.seen.get(name)
        if name not in numeric or seen is None or seen.low is None or seen.high is None:
            continue
        values = data.arrays.numbers[:, place].astype(np.float64)
        present = np.isfinite(values)
        before, now = values[known & present], values[~known & present]
        wander = day_wander(values[known], data.times[known])
        slip = find_slip(before, now, (seen.low, seen.high), wander)
        if slip is not None:
            outside = (values < seen.low) | (values > seen.high)
            yield name, slip, ~known & present & (outside if slip.share < 1 else True)
