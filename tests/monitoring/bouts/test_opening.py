"""What a bout is judged by is settled when it is opened."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.log.labels import add_labels
from record.logged import Batch, LabelGiven, LogEntry
from record.prediction_log import PredictionLog
from tests.monitoring.arena import START, TOML, Arena, logistic

REGRESSION = TOML.replace('"classification"', '"regression"')
REQUESTS = 2_000
SPREAD = 7.0


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    """A champion of a regression with a day of requests, whose errors are normal."""
    arena = Arena.build(tmp_path, toml=REGRESSION, loss="absolute")
    champion = arena.register(logistic(1.0)).version
    errors = np.random.default_rng(3).normal(0, SPREAD, REQUESTS).tolist()
    moments = [START + number * timedelta(seconds=40) for number in range(REQUESTS)]
    entries = [LogEntry(f"r{number}", b"", "{}", "100.0") for number in range(REQUESTS)]
    arena.record.log.append([Batch([entry], champion, at, True) for entry, at in zip(entries, moments, strict=True)])
    with arena.record.database.write() as connection:
        for entry, at, error in zip(entries, moments, errors, strict=True):
            given = LabelGiven(entry.id, json.dumps(100.0 + error))
            add_labels(connection, [given], {"received_at": at, "machine_at": at})
    return arena


def test_a_regressions_loss_is_clipped_at_three_median_errors(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many requests a sample is read, and the same one every time."""
    read: list[int] = []
    matured = PredictionLog.matured

    def counted(self: PredictionLog, *arguments: Any, **options: Any) -> Any:
        rows = matured(self, *arguments, **options)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(PredictionLog, "matured", counted)
    monkeypatch.setattr("monitoring.bouts.opening.SAMPLED_REQUESTS", 500)
    monkeypatch.setattr("monitoring.bouts.traffic.SAMPLED_REQUESTS", 500)
    arena.register(logistic(2.0))
    (bout,) = arena.open(START + timedelta(days=2))
    assert read == [pytest.approx(500, rel=0.2)] * 2  # for the design, and for the scale
    assert bout.design["loss_scale"] == pytest.approx(3 * 0.6745 * SPREAD, rel=0.15)
