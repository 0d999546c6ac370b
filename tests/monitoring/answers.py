"""Answered and labelled requests of small worlds whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from monitoring.quality.cohort import Cohort, cohort_of
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema
from record.logged import MaturedRow

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = (
    Column("x", "feature", "number"),
    Column("port", "feature", "category", required=False),
    Column("sex", "carried", "text", required=False),
)
PROBLEM = ProblemSchema("classification", "arrival", COLUMNS, protected=("sex",))
TWO = Schema(replace(PROBLEM, positive_class="late"), {}, classes=("late", "punctual"))
THREE = Schema(PROBLEM, {}, classes=("0", "1", "2"), class_type="integer")
NUMBER = Schema(replace(PROBLEM, task="regression"), {})


def row(
    prediction: object,
    label: object,
    shares: dict[str, float] | None = None,
    *,
    place: int = 0,
    record: dict[str, object] | None = None,
    every: timedelta = timedelta(minutes=1),
    delay: timedelta = timedelta(hours=1),
) -> MaturedRow:
    at = AS_OF + place * every
    return MaturedRow(
        seq=place + 1,
        xid=0,
        id=f"a{place}",
        requested_at=at,
        model_version="v1",
        record=json.dumps(record or {"x": 1.0}),
        prediction=json.dumps(prediction),
        probabilities=None if shares is None else json.dumps(shares),
        marks=None,
        label=None if label is None else json.dumps(label),
        label_received_at=None if label is None else at + delay,
    )


def flights(
    chances: np.ndarray,
    late: np.ndarray,
    said: np.ndarray | None = None,
    records: Sequence[dict[str, object]] | None = None,
    every: timedelta = timedelta(minutes=1),
) -> list[MaturedRow]:
    """Answers with probability `said` (else the true chance) of being late."""
    told = chances if said is None else said
    return [
        row(
            "late" if p > 0.5 else "punctual",
            "late" if y else "punctual",
            {"late": p, "punctual": 1 - p},
            place=place,
            record=None if records is None else records[place],
            every=every,
        )
        for place, (p, y) in enumerate(zip(told.tolist(), late.tolist(), strict=True))
    ]


def honest(count: int, seed: int = 0) -> tuple[list[MaturedRow], np.ndarray, np.ndarray]:
    """Answers whose probabilities are right, with each one's probability and outcome."""
    rng = np.random.default_rng(seed)
    chances = np.round(rng.beta(2, 4, count), 2)
    late = rng.random(count) < chances
    return flights(chances, late), chances, late


def two(rows: Sequence[MaturedRow], carried: Sequence[str] = ()) -> Cohort:
    return cohort_of(rows, TWO, carried)
