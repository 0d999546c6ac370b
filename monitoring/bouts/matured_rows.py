"""Matured requests as the columns that evidence is made from, and as the pairs that the record keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import MaturedPairs
from monitoring.quality.loss import WORST, Loss
from record.bouts.bout import EnteredPair, ShadowScore
from record.clock import to_micros
from record.entity import entity_of
from record.logged import MaturedRow

KnownEntities = Callable[[Sequence[int]], set[int]]


@dataclass(frozen=True, slots=True)
class MaturedRows:
    """`pairs` are the labelled ones, in their order; `new_entities` have not asked before in this bout."""

    columns: MaturedPairs
    pairs: list[EnteredPair]
    new_entities: list[int]

    @classmethod
    def read(
        cls, rows: Sequence[MaturedRow], scores: Mapping[int, ShadowScore], design: Design, known: KnownEntities
    ) -> MaturedRows:
        """Rows in request order, each with the challenger's score."""
        judge = design.judge
        entities = [entity_of(row.record, design.entity) for row in rows]
        counts, new = _first_requests(entities, known)
        ranges = [_range(judge, row, scores[row.seq]) for row in rows]
        differences = [0.0 if row.label is None else difference(judge, row, row.label, scores[row.seq]) for row in rows]
        bounds = [max(abs(low), abs(high)) for low, high in ranges]
        micros = [to_micros(row.requested_at) for row in rows]
        answers = [design.answers.of((row.prediction, row.probabilities), _answer(scores[row.seq])) for row in rows]
        columns = MaturedPairs(
            micros=np.array(micros, np.int64),
            labelled=np.array([row.label is not None for row in rows], bool),
            difference=np.array(differences, np.float64),
            bound=np.array(bounds, np.float64),
            worst=np.array([low for low, _ in ranges], np.float64),
            counts=np.array(counts, bool),
            scores=np.array(answers, np.float64).reshape(len(rows), design.answers.width),
        )
        pairs = [
            EnteredPair(row.seq, differences[n], micros[n], bounds[n], counts[n])
            for n, row in enumerate(rows)
            if row.label is not None
        ]
        return cls(columns, pairs, new)


def difference(judge: Loss, row: MaturedRow, label: str, score: ShadowScore) -> float:
    """loss(champion) − loss(challenger). One that failed has the worst loss: failing on hard rows must not pay."""
    champion = judge(label, row.prediction, row.probabilities)
    challenger = WORST if score.outcome == "failed" else judge(label, score.prediction, score.probabilities)
    return champion - challenger


def _first_requests(entities: Sequence[int | None], known: KnownEntities) -> tuple[list[bool], list[int]]:
    """Whether each request is its entity's first, and the entities that are new; without an entity each is."""
    named = [entity for entity in entities if entity is not None]
    seen = known(named) if named else set()
    counts, new = [], []
    for entity in entities:
        first = entity is None or entity not in seen
        counts.append(first)
        if first and entity is not None:
            seen.add(entity)
            new.append(entity)
    return counts, new


def _range(judge: Loss, row: MaturedRow, score: ShadowScore) -> tuple[float, float]:
    """The smallest and the largest difference that the two answers allow, whatever the label."""
    if score.outcome == "failed":
        return -WORST, 0.0
    return judge.difference_range((row.prediction, row.probabilities), (score.prediction, score.probabilities))


def _answer(score: ShadowScore) -> tuple[str | None, str | None]:
    return (None, None) if score.outcome == "failed" else (score.prediction, score.probabilities)
