"""What three ways of choosing the champion would have cost on the same requests: ours, never, and at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from examples.flights.dataset import LATE
from record.prediction_log import MaturedRow
from record.record import Record
from record.settings import Settings
from record.versions.model import ServedModel

Floats = npt.NDArray[np.float64]
Policy = Literal["live", "frozen", "promote_all"]
POLICIES: tuple[Policy, ...] = ("live", "frozen", "promote_all")
FLOOR = 1e-6  # a certain and wrong answer has no finite log loss
CHUNK_ROWS = 5000
NEW_YORK = timedelta(hours=5)  # months are New York's: the year's last flights leave on 1 January, UTC


def log_loss(late: Floats, probability: Floats) -> float:
    """Mean negative log likelihood, in nats."""
    held = np.clip(probability, FLOOR, 1 - FLOOR)
    return float(-np.mean(late * np.log(held) + (1 - late) * np.log(1 - held)))


def auc(late: Floats, probability: Floats) -> float:
    """The chance that a late flight was given a higher probability than one on time; ties count half."""
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = float(late.sum())
    negatives = len(late) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[late > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True, slots=True)
class Judged:
    """The landed flights in request order: whether each was late, and each policy's probability for it."""

    month: npt.NDArray[np.int64]
    late: Floats
    probability: Mapping[Policy, Floats]

    def __len__(self) -> int:
        return len(self.late)

    def of_month(self, month: int) -> Judged:
        rows = self.month == month
        return Judged(self.month[rows], self.late[rows], {name: p[rows] for name, p in self.probability.items()})

    def log_loss(self, policy: Policy) -> float:
        return log_loss(self.late, self.probability[policy])

    def auc(self, policy: Policy) -> float:
        return auc(self.late, self.probability[policy])


def in_force(asked: Sequence[datetime], registered: Sequence[tuple[datetime, str]]) -> list[str]:
    """For each request, in order, the version registered last before it: promoting every challenger at once.

    `registered` is in order of time, and its first version answers what came before all of them.
    """
    chosen, place = [], 0
    for at in asked:
        while place + 1 < len(registered) and registered[place + 1][0] < at:
            place += 1
        chosen.append(registered[place][1])
    return chosen


def judge(record: Record, settings: Settings, *, without: str | None) -> Judged:
    """Every labelled request of the record, scored by all three policies. `without`: a version never promoted."""
    horizon = settings.quality.label_horizon
    rows = record.log.matured(record.clock.now() + horizon, horizon, late_labels=True)
    rows = [row for row in rows if row.label is not None]
    versions = [version for version in record.registry.versions() if version.version != without]
    registered = sorted((version.registered_at, version.number, version.version) for version in versions)
    first = registered[0][2]
    at_once = in_force([row.requested_at for row in rows], [(at, name) for at, _, name in registered])
    return Judged(
        month=np.array([(row.requested_at - NEW_YORK).month for row in rows], dtype=np.int64),
        late=np.array([json.loads(row.label or "null") == LATE for row in rows], dtype=np.float64),
        probability={
            "live": np.array([json.loads(row.probabilities or "{}")[LATE] for row in rows], dtype=np.float64),
            "frozen": _scored(record, rows, [first] * len(rows)),
            "promote_all": _scored(record, rows, at_once),
        },
    )


def _scored(record: Record, rows: Sequence[MaturedRow], versions: Sequence[str]) -> Floats:
    probability = np.empty(len(rows))
    for version in dict.fromkeys(versions):
        model = ServedModel.read(record.registry.open(version), version)
        late = model.schema.classes.index(LATE)
        places = np.flatnonzero(np.array(versions) == version)
        for start in range(0, len(places), CHUNK_ROWS):
            chunk = places[start : start + CHUNK_ROWS]
            records: list[Any] = [json.loads(rows[place].record) for place in chunk]
            scores = model.score(model.decoder.decode(records))
            assert scores.probabilities is not None
            probability[chunk] = scores.probabilities[:, late]
    return probability
