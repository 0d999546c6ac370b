"""Datasets made by hand: their columns as arrays, without a file, settings or a record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from record.clock import to_micros
from record.contract.arrays import Arrays
from record.contract.columns import MISSING, TIME_PARTS, Column
from record.contract.schema import ProblemSchema, Schema
from retrain.data.dataset import UNKNOWN, Dataset

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000  # microseconds


def make_rows(
    target: Any,
    numbers: Mapping[str, Any] | None = None,
    categories: Mapping[str, Any] | None = None,
    times: Mapping[str, Any] | None = None,
    *,
    classes: tuple[str, ...] = (),
    logged: int = 0,
    dated: bool = True,
) -> Dataset:
    """Rows an hour apart; the newest `logged` ones were requests, numbered from 1. Times are given as their parts."""
    given = np.asarray(target)
    rows = len(given)
    numbers, categories, times = numbers or {}, categories or {}, times or {}
    columns = [Column(name, "feature", "number") for name in numbers]
    columns += [Column(name, "feature", "time") for name in times]
    columns += [Column(name, "feature", "category") for name in categories]
    problem = ProblemSchema(
        "classification" if classes else "regression", "y", tuple(columns), time_column="at" if dated else None
    )
    parts = [np.asarray(held, np.float32).reshape(rows, 1) for held in numbers.values()]
    parts += [np.asarray(held, np.float32).reshape(rows, len(TIME_PARTS)) for held in times.values()]
    texts = [[MISSING if text is None else text for text in held] for held in categories.values()]
    return Dataset(
        schema=Schema(problem, {}, classes),
        arrays=Arrays(
            np.hstack(parts) if parts else np.empty((rows, 0), np.float32),
            np.array(texts, dtype=object).T.reshape(rows, len(texts)),
        ),
        target=given.astype(np.int64 if classes else np.float64),
        times=to_micros(START) + HOUR * np.arange(rows) if dated else np.full(rows, UNKNOWN),
        seqs=np.concatenate([np.zeros(rows - logged, np.int64), np.arange(1, logged + 1)]),
        frame=pd.DataFrame(index=range(rows)),
        ordered=dated,
    )
