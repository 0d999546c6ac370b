"""One simulated bout, look by look: the product's own evidence, and the product's own decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from monitoring.bouts.decision import Outcome
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Guardrail, Look
from monitoring.bouts.evidence_state import EvidenceState, MaturedPairs, Reading
from monitoring.promotion import decide
from monitoring.prove.traffic import Floats, Traffic
from monitoring.prove.world import START, moment

ENDED: tuple[Outcome, ...] = ("promote", "reject", "roll_back", "passed", "inconclusive")
CLEARED = Guardrail("cleared", 1_000, 0, 1e6, 0.0)
LARGEST_ANSWER = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """How a bout ended: `pairs` and `lead` are those of the look that ended it, or of the last one.

    `label_guard` says whether the guard of the label rate stood against an automatic promotion at any look.
    """

    outcome: Outcome
    pairs: int
    requests: int
    lead: float
    e_value: float
    label_guard: bool


def play(traffic: Traffic, design: Design, look_every: timedelta) -> Course:
    """Looks at the bout so often, until it ends or the traffic does."""
    state, pairs = EvidenceState.start(design), matured_pairs(traffic)
    guard = False
    look: Look | None = None
    for start, stop, micros in _chunks(traffic, look_every):
        state.add(pairs.rows(start, stop))
        state.close_cycles(micros)
        reading = state.read(design.alpha, design.needed)
        as_of = moment(micros) + design.horizon
        look = _look(reading, design, as_of, traffic, stop, state.first_micros)
        decision = decide(look, design, as_of=as_of, probation_running=False, artifact_ok=True, mode="auto")
        guard = guard or _guarded(look, design)
        if decision.outcome in ENDED:
            return Course(decision.outcome, look.pairs, stop, look.lead.mean, look.e_value, guard)
    assert look is not None
    return Course("wait", look.pairs, len(traffic), look.lead.mean, look.e_value, guard)


def matured_pairs(traffic: Traffic) -> MaturedPairs:
    """The traffic as the join's columns. Where entities are known, the first request of each counts."""
    count = len(traffic)
    first = np.ones(count, dtype=np.bool_)
    if traffic.entities is not None:
        first = np.zeros(count, dtype=np.bool_)
        first[np.unique(traffic.entities, return_index=True)[1]] = True
    return MaturedPairs(
        micros=traffic.times,
        labelled=traffic.labelled,
        difference=np.where(traffic.labelled, traffic.differences, 0.0),
        bound=traffic.bounds,
        worst=traffic.worst,
        counts=first,
        scores=_scores(traffic.answers),
    )


def _scores(answers: Floats) -> Floats:
    """Both answers between −1 and 1, and half their difference, as `AnswerScores` has them."""
    if answers.min() >= 0 and answers.max() <= LARGEST_ANSWER:
        said = 2 * answers - 1
    else:
        said = answers / (1 + np.abs(answers))
    return np.column_stack([said, (said[:, 1] - said[:, 0]) / 2])


def _chunks(traffic: Traffic, look_every: timedelta) -> Iterator[tuple[int, int, int]]:
    """From request to request, and the time up to which all have matured."""
    step = int(look_every / timedelta(microseconds=1))
    start, end = 0, int(traffic.times[0]) + step
    while start < len(traffic):
        stop = int(np.searchsorted(traffic.times, end, side="left"))
        if stop > start:
            yield start, stop, end - 1
        start, end = stop, end + step


def _look(
    reading: Reading, design: Design, as_of: datetime, traffic: Traffic, requests: int, first_micros: int | None
) -> Look:
    first = None if first_micros is None else moment(first_micros) + design.horizon
    return Look(
        as_of=as_of,
        opened_at=START,
        matured_until=as_of - design.horizon,
        pairs=reading.pairs,
        matured=requests,
        labelled=int(traffic.labelled[:requests].sum()),
        e_value=reading.e_value,
        e_max=reading.e_max,
        e_harm_max=reading.e_harm_max,
        needed=design.needed,
        lead=reading.lead,
        guardrails={"failure": CLEARED, "latency": CLEARED},
        labels_to_go=None,
        lag_seconds=0.0,
        scored=requests,
        failed=0,
        sampled_out=0,
        pending=0,
        e_harm=reading.e_harm,
        whole_lead=reading.whole_lead,
        whole_cycles=reading.whole_cycles,
        design_effect=reading.design_effect,
        scale=reading.scale,
        variance=reading.variance,
        first_matured_at=first,
        label_rate_e=reading.label_rate_e,
        label_rate_slope=reading.label_rate_slope,
        label_rate_testable=reading.label_rate_testable,
        missing_bias=reading.missing_bias,
        unlabelled=reading.unlabelled,
        unlabelled_lead=reading.unlabelled_lead,
        unlabelled_worst=reading.unlabelled_worst,
    )


def _guarded(look: Look, design: Design) -> bool:
    if design.label_rate_alpha is None:
        return False
    return look.label_rate_e >= 1 / design.label_rate_alpha and not look.missing_harmless


def without_guards(design: Design, *names: str) -> Design:
    """The design with some guards switched off: what a negative control needs."""
    off: dict[str, dict[str, object]] = {
        "cycle": {"cycle_seconds": 0.0, "design_effect": False},
        "label_rate": {"label_rate_alpha": None, "delay_guard": False},
    }
    changes = {field: value for name in names for field, value in off[name].items()}
    return replace(design, **changes)  # type: ignore[arg-type]
