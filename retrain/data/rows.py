"""A run's rows, read from the record as it stood, so that they can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from record.contract.schema import ProblemSchema
from record.feed_faults import FeedFaults, read_feed_faults
from record.log_lines import log_line
from record.prediction_log import MaturedRow
from record.record import Record
from record.settings import Settings
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.source import Span


def read_rows(settings: Settings, record: Record, problem: ProblemSchema, as_of: datetime) -> Dataset:
    """The source, and the log's and its archive's requests that were mature at `as_of`. Raises DataError."""
    logged: Sequence[MaturedRow] = []
    if settings.data.include_labelled_log:
        logged = record.log.matured(as_of, settings.quality.label_horizon, late_labels=True)
        archived = _archived(settings, record, as_of, logged)
        logged = sorted([*archived, *logged], key=lambda row: (row.requested_at, row.seq)) if archived else logged
    faults = FeedFaults() if settings.data.include_set_aside else read_feed_faults(record.events, as_of)
    sound = faults.sound(logged)
    if len(sound) < len(logged):
        log_line("requests of a broken feed are not learned from", rows=len(logged) - len(sound), of=len(logged))
    aside = faults.count([row for row in logged if row.label is not None])
    return replace(load(settings, problem, sound, _span(settings, as_of)), set_aside=aside)


def _archived(settings: Settings, record: Record, as_of: datetime, logged: Sequence[MaturedRow]) -> list[MaturedRow]:
    """What has left the log, as far back as these settings learn; what is still in the log, too, is left out."""
    retrain = settings.retrain
    # A recent window ends with the newest row, which is a logged one or later.
    since = logged[-1].requested_at - retrain.window_length if logged and retrain.window == "recent" else None
    newest = retrain.max_rows - sum(row.label is not None for row in logged) if retrain.max_rows else None
    if newest is not None and newest <= 0:
        return []
    held = {row.seq for row in logged}
    until = as_of - settings.quality.label_horizon
    rows = record.archive.read(as_of, since=since, newest=newest)
    return [row for row in rows if row.seq not in held and row.requested_at <= until]


def _span(settings: Settings, as_of: datetime) -> Span:
    """What a query is asked for: up to `as_of`, so that it gives the same rows when a version is made again."""
    if settings.retrain.window == "recent":
        return Span(as_of - settings.retrain.window_length, as_of)
    return Span(until=as_of)
