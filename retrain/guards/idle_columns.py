"""Columns that a model can learn nothing from: those that stand still, and those that name the row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from record.configuration.suspicion import judge_column
from retrain.data.dataset import Dataset
from retrain.data.variable import Variable
from retrain.guards.finding import Finding

FEWEST_ROWS = 50  # below it, one value for each row happens by chance
# Ids that repeat now and then (a customer who comes again) are still ids.
OF_ITS_OWN = 0.98


def find_constants(data: Dataset, held: list[Variable]) -> Iterator[Finding]:
    """Columns without two different values; a missing value beside a constant one tells something."""
    still = {variable.column for variable in held if not _varies(variable)}
    still -= {variable.column for variable in held if _varies(variable)}  # a part of a time may stand still
    for column in data.schema.problem.features:
        if column.name not in still:
            continue
        empty = all(variable.missing.all() for variable in held if variable.column == column.name)
        what = "no value" if empty else "the same value"
        message = f'{what} in all {len(data)} rows. Expected two at least, or [columns.{column.name}] role = "carried"'
        yield Finding("constant", column.name, "warning", message, {"rows": len(data), "empty": empty})


def find_identifiers(data: Dataset, held: list[Variable]) -> Iterator[Finding]:
    """Columns with a value of its own for nearly each row: text, or whole numbers that count rows or are named so."""
    if len(data) < FEWEST_ROWS:
        return
    for variable in held:
        name, present = variable.column, int((~variable.missing).sum())
        if variable.name != name or present < FEWEST_ROWS or name not in data.frame.columns:
            continue
        if variable.levels is not None:
            distinct = len(np.unique(variable.values[~variable.missing]))
            if distinct < OF_ITS_OWN * present:
                continue
        else:
            # By the raw column: single precision merges numbers beyond 16 million.
            _, found = judge_column(name, data.frame[name], None)
            if found is None or found.kind != "identifier":
                continue
            distinct = present
        message = (
            f"{distinct} values in {present} rows: an id, which no later row shares. "
            f'Expected [columns.{name}] role = "carried"'
        )
        yield Finding("identifier", name, "warning", message, {"distinct": distinct, "rows": present})


def _varies(variable: Variable) -> bool:
    missing = int(variable.missing.sum())
    if 0 < missing < len(variable.values):
        return True
    return missing == 0 and bool((variable.values != variable.values[0]).any())
