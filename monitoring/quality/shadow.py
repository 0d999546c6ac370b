"""What those who answer in the shadow would have been worth, on requests that the champion answered."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from monitoring.quality.cohort import Cohort
from monitoring.quality.observed import QualityReport, loss_of, observed_quality, operating_threshold
from monitoring.quality.subject import Subjects
from record.bouts.bout import Bout
from record.record import Record
from record.settings import Settings


def shadow_reports(
    record: Record, settings: Settings, subjects: Subjects, known: Cohort, as_of: datetime
) -> dict[str, QualityReport]:
    """By role: the newest challenger, and the former champion during a probation. `known` is labelled rows."""
    beside = {"challenger" if bout.kind == "challenge" else "previous": bout for bout in record.bouts.opened()}
    return {role: _shadowed(record, settings, subjects, bout, known, as_of) for role, bout in beside.items()}


def _shadowed(
    record: Record, settings: Settings, subjects: Subjects, bout: Bout, known: Cohort, as_of: datetime
) -> QualityReport:
    version = record.registry.version(bout.challenger)
    asked = known.take(known.seqs > bout.after_seq)
    scores = record.bouts.scores(bout.bout, asked.seqs.tolist())
    answered = [seq in scores and scores[seq].prediction is not None for seq in asked.seqs.tolist()]
    asked = asked.take(np.array(answered, dtype=np.bool_))
    held = [scores[seq] for seq in asked.seqs.tolist()]
    said = asked.answered(
        subjects.schema(version), [str(score.prediction) for score in held], [score.probabilities for score in held]
    )
    loss, threshold = loss_of(version, settings), operating_threshold(version.card)
    return observed_quality(said, loss, version=version.version, as_of=as_of, threshold=threshold)
