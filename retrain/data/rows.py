"""A run's rows, read from the record as it stood, so that they can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from retrain.data.dataset import Dataset, load
from retrain.data.source import Span
from service.prediction_log import MaturedRow
from service.record import Record
from service.schema import ProblemSchema
from service.settings import Settings


def read_rows(settings: Settings, record: Record, problem: ProblemSchema, as_of: datetime) -> Dataset:
    """The source, and the log's requests that were mature at `as_of`. Raises DataError."""
    logged: Sequence[MaturedRow] = []
    if settings.data.include_labelled_log:
        logged = record.log.matured(as_of, settings.quality.label_horizon, late_labels=True)
    return load(settings, problem, logged, _span(settings, as_of))


def _span(settings: Settings, as_of: datetime) -> Span:
    """What a query is asked for: up to `as_of`, so that it gives the same rows when a version is made again."""
    if settings.retrain.window == "recent":
        return Span(as_of - settings.retrain.window_length, as_of)
    return Span(until=as_of)
