"""The champion's recent requests, as a bout's design needs them: what their answers look like, and in which cycle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from monitoring.bouts.answer_scores import AnswerScores
from monitoring.quality.loss import Loss
from record.clock import to_micros
from record.contract.schema import Schema
from record.dependence import Floats, find_cycle
from record.log.label_arrivals import requests_between
from record.log.readable import readable_rows
from record.logged import MaturedRow
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings

PAST = timedelta(weeks=6)  # six whole weeks show a week's profile
SAMPLED_REQUESTS = 20_000


@dataclass(frozen=True, slots=True)
class Traffic:
    cycle: Literal["none", "day", "week"]
    answers: AnswerScores
    loss: float = 0.0  # the champion's mean, of those requests that have a label
    loss_variance: float = 0.0
    labels_a_day: float = 0.0


def read_traffic(record: Record, settings: Settings, model: ModelVersion, as_of: datetime) -> Traffic:
    """Of that model's own answers in the last six weeks, an even sample of them."""
    horizon = settings.quality.label_horizon
    after = as_of - horizon - PAST
    share = min(1.0, SAMPLED_REQUESTS / max(1, requests_between(record.database, after, as_of - horizon)))
    logged = record.log.matured(as_of, horizon, after=after, model_version=model.version, share=share)
    rows = readable_rows(logged, numeric=settings.problem.task == "regression", job="bout")
    schema = Schema.from_json(record.registry.open(model.version).read("schema.json"))
    answers = _answers(settings, schema, rows)
    labelled = [row for row in rows if row.label is not None]
    losses = _losses(settings, labelled, model)
    rate = len(labelled) / share / max(1e-6, _span_days(labelled)) if len(labelled) > 1 else 0.0
    mean, variance = (float(losses.mean()), float(losses.var())) if len(losses) else (0.0, 0.0)
    return Traffic(_cycle(rows, labelled, losses, answers), answers, mean, variance, rate)


def _answers(settings: Settings, schema: Schema, rows: Sequence[MaturedRow]) -> AnswerScores:
    if settings.problem.task == "classification":
        return AnswerScores.of_classes(schema.classes, schema.problem.positive_class)
    said = np.array([float(json.loads(row.prediction)) for row in rows])
    if not len(said):
        return AnswerScores()
    middle = float(np.median(said))
    spread = float(np.median(np.abs(said - middle)))
    return AnswerScores((), middle, spread if spread > 0 else float(said.std()) or 1.0)


def _losses(settings: Settings, labelled: Sequence[MaturedRow], model: ModelVersion) -> Floats:
    scale = model.card.get("loss_scale") or model.card.get("target_sd") or 1.0
    judge = Loss(settings.promotion.scoring, float(scale))
    return np.array([judge(str(row.label), row.prediction, row.probabilities) for row in labelled], np.float64)


def _span_days(rows: Sequence[MaturedRow]) -> float:
    return (rows[-1].requested_at - rows[0].requested_at) / timedelta(days=1)


def _cycle(
    rows: Sequence[MaturedRow], labelled: Sequence[MaturedRow], losses: Floats, answers: AnswerScores
) -> Literal["none", "day", "week"]:
    """By the champion's losses, where labelled, and by its answers: where either follows the clock, so may a lead."""
    said = [answers.of((row.prediction, row.probabilities), (None, None))[0] for row in rows]
    found = {
        find_cycle(_micros(labelled), losses),
        find_cycle(_micros(rows), np.array(said)),
    }
    return "week" if "week" in found else "day" if "day" in found else "none"


def _micros(rows: Sequence[MaturedRow]) -> np.ndarray:
    return np.array([to_micros(row.requested_at) for row in rows], np.int64)
