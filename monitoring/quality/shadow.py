"""What those who answer in the shadow would have been worth, on requests that the champion answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from monitoring.quality.cohort import Cohort
from monitoring.quality.measures import Metric, mean
from monitoring.quality.observed import QualityReport, observed_quality, operating_threshold
from monitoring.quality.subject import Subject, Subjects
from record.bouts.bout import Bout
from record.record import Record

BESIDE = "champion_beside_"  # the champion's role on the requests that the named role answered too


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Reports by role; two versions stand beside each other on the same requests and by the champion's loss.

    For each role beside the champion there is the champion's own report of those requests, under BESIDE and the role,
    and the mean difference of their losses, that role's minus the champion's: below 0 it is better.
    """

    reports: Mapping[str, QualityReport] = field(default_factory=dict)
    differences: Mapping[str, Metric] = field(default_factory=dict)


def side_by_side(record: Record, subjects: Subjects, subject: Subject, known: Cohort, as_of: datetime) -> SideBySide:
    """The newest challenger, and the former champion during a probation. `known` is the champion's labelled rows."""
    reports: dict[str, QualityReport] = {}
    differences: dict[str, Metric] = {}
    for bout in record.bouts.opened():
        role = "challenger" if bout.kind == "challenge" else "previous"
        asked, said = _answered(record, subjects, bout, known)
        threshold = operating_threshold(record.registry.version(bout.challenger).card)
        reports[role] = observed_quality(said, subject.loss, version=bout.challenger, as_of=as_of, threshold=threshold)
        reports[BESIDE + role] = observed_quality(
            asked, subject.loss, version=subject.version.version, as_of=as_of, threshold=subject.threshold
        )
        differences.pop(role, None)
        if len(asked):
            differences[role] = mean(said.losses(subject.loss) - asked.losses(subject.loss)).metric(asked.clusters)
    return SideBySide(reports, differences)


def _answered(record: Record, subjects: Subjects, bout: Bout, known: Cohort) -> tuple[Cohort, Cohort]:
    """The bout's labelled requests that its challenger answered: with the champion's answers, and with its own."""
    asked = known.take(known.seqs > bout.after_seq)
    scores = record.bouts.scores(bout.bout, asked.seqs.tolist())
    answered = [seq in scores and scores[seq].prediction is not None for seq in asked.seqs.tolist()]
    asked = asked.take(np.array(answered, dtype=np.bool_))
    held = [scores[seq] for seq in asked.seqs.tolist()]
    schema = subjects.schema(record.registry.version(bout.challenger))
    said = asked.answered(schema, [str(score.prediction) for score in held], [score.probabilities for score in held])
    return asked, said
