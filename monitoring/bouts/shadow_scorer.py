"""What a challenger says to logged requests, and what counts as its failing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from hashlib import blake2b
from logging import WARNING
from typing import Any

import numpy as np

from record.bouts.bout import ShadowScore
from record.contract.schema import native_class
from record.log_lines import log_line
from record.logged import LoggedRow
from record.versions.model import Scores, ServedModel

# Alone, as a request of one record is. The first ones clear the latency guardrail, also for the tenth bout of a family
# (some 230 requests without a slow one); after that a few of each batch, so that catching up is a matter of batches.
TIMED_FIRST, TIMED_ROWS = 400, 8

# Of a probability below 0 or above 1, or of a sum that is not 1: single precision's, not a fault's.
ROUNDING = 1e-3


def sampled(design_hash: str, id: str, share: float) -> bool:
    """Whether the request counts in the bout: by its id, the same whoever asks, and another share for each bout."""
    if share >= 1:
        return True
    drawn = int.from_bytes(blake2b(f"{design_hash}{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return drawn < share * 2**64


class ShadowScorer:
    """One challenger. It fails on a request where it raises, or its answer is not finite, or not a distribution."""

    def __init__(self, model: ServedModel, design_hash: str, share: float) -> None:
        self._model = model
        self._design_hash = design_hash
        self._share = share
        self._timed_so_far = 0
        self._features = {column.name for column in model.schema.problem.features}
        self._carried = [column.name for column in model.schema.problem.columns if column.role == "carried"]

    def score(self, rows: Sequence[LoggedRow]) -> list[ShadowScore]:
        """One score for each row. The first few are asked alone, and timed; the others together, if that works.

        Where it does not, they are asked one by one, so that one bad row is one failure.
        """
        kept = [row for row in rows if sampled(self._design_hash, row.id, self._share)]
        count = max(TIMED_ROWS, TIMED_FIRST - self._timed_so_far)
        alone, together = kept[:count], kept[count:]
        self._timed_so_far += len(alone)
        scores = [self._timed(row) for row in alone]
        if together:
            scores += self._together(together) or [self._alone(row) for row in together]
        asked = {row.seq for row in kept}
        return scores + [ShadowScore(row.seq, "sampled_out") for row in rows if row.seq not in asked]

    def _timed(self, row: LoggedRow) -> ShadowScore:
        """By the thread's processor time: at idle priority, the wall's says how busy the machine is."""
        started = time.thread_time_ns()
        score = self._alone(row)
        micros = (time.thread_time_ns() - started) // 1000
        return ShadowScore(score.seq, score.outcome, score.prediction, score.probabilities, micros)

    def _alone(self, row: LoggedRow) -> ShadowScore:
        try:
            return self._answers([row])[0]
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a challenger is the challenger's failure
            log_line("challenger failed", level=WARNING, seq=row.seq, reason=str(error)[:200])
            return ShadowScore(row.seq, "failed")

    def _together(self, rows: Sequence[LoggedRow]) -> list[ShadowScore] | None:
        try:
            return self._answers(rows)
        except Exception as error:  # noqa: BLE001 - one row's fault is told from the batch's by asking one by one
            log_line("challenger failed on a batch", level=WARNING, rows=len(rows), reason=str(error)[:200])
            return None

    def _answers(self, rows: Sequence[LoggedRow]) -> list[ShadowScore]:
        model = self._model
        arrays = model.decoder.decode([self._record(row.record) for row in rows])
        scores = model.scorer.score(arrays)
        if len(scores) != len(rows):
            raise ValueError(f"{len(scores)} answers to {len(rows)} records")
        if scores.probabilities is None:
            return _values(rows, scores)
        return self._classes(rows, scores)

    def _record(self, text: str) -> dict[str, Any]:
        """The logged record as the challenger's schema has it; what is only carried may be redacted, and is not fed."""
        record = json.loads(text)
        known = {name: value for name, value in record.items() if name in self._features}
        return known | dict.fromkeys(self._carried)

    def _classes(self, rows: Sequence[LoggedRow], scores: Scores) -> list[ShadowScore]:
        schema = self._model.schema
        probabilities = scores.raw
        if probabilities.shape != (len(rows), len(schema.classes)):
            raise ValueError(f"probabilities of shape {probabilities.shape} for {len(schema.classes)} classes")
        inside = (probabilities >= -ROUNDING) & (probabilities <= 1 + ROUNDING)  # NaN is nowhere
        sound = inside.all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= ROUNDING)
        said = []
        places = self._model.said(scores).tolist()
        for row, shares, place, good in zip(rows, probabilities.tolist(), places, sound.tolist(), strict=True):
            if not good:
                said.append(ShadowScore(row.seq, "failed"))
                continue
            prediction = json.dumps(native_class(schema.classes[place], schema.class_type), ensure_ascii=False)
            named = json.dumps(dict(zip(schema.classes, shares, strict=True)), ensure_ascii=False)
            said.append(ShadowScore(row.seq, "scored", prediction, named))
        return said


def _values(rows: Sequence[LoggedRow], scores: Scores) -> list[ShadowScore]:
    return [
        ShadowScore(row.seq, "scored", json.dumps(value)) if good else ShadowScore(row.seq, "failed")
        for row, value, good in zip(rows, scores.raw.tolist(), scores.finite().tolist(), strict=True)
    ]
