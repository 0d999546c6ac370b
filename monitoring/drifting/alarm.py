"""Whether what was measured day by day is an alarm: pure, and recomputable from what the events keep.

Every decision has a p-value of each statistic (`monitoring.drifting.chance`). A p-value becomes e-values by bets
κ·p^(κ−1), which chance multiplies by at most one on average (Vovk and Wang, Annals of Statistics 2021). Over decisions
each bet is a Shiryaev-Roberts e-detector, M ← (M + 1)·e (Shin, Ramdas and Rinaldo, "E-detectors", 2022), and so is any
fixed weighted average of them. The average over bets, spans, features and outputs crosses `needed` by chance at most
once in `needed` decisions on average, whichever features there are, and however they depend on each other.

A span is how many decisions a window holds: the rows of one decision find what is gross at once, those of seven find
what is small and stays. Windows of one span never share a row; of two spans they do, and an average does not mind.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from monitoring.windows import PREDICTION, TARGET, ColumnKey, Kind

Line = tuple[Kind, str]

QUARTER = timedelta(days=91)

# Small κ bets on gross breaks (at p = 1e-6 it wins 25,000-fold), large κ on many small ones: at p = .1 it wins .6 of
# what it would on average. Each bet accumulates by itself, so that the best of them loses a factor of three only.
BETS = (0.05, 0.2, 0.5)
SPANS = (1, 7)

# A p-value from which no bet wins anything: what an effect too small to hear of is given at least.
NOTHING = 0.25

SMALLEST_P = 1e-200  # no law of chance is known that far out, and e-values stay finite

# Evidence beyond twice what an alarm needs is forgotten, so that an alarm ends within days of its cause; it ends
# at half, so that it does not flap. Forgetting evidence makes no alarm more likely.
MOST = 2.0
RELEASE = 0.5

# The parts of the budget: what comes in, what is answered, and what turns out to be true.
FEATURES_SHARE, PREDICTION_SHARE, TARGET_SHARE = 0.7, 0.15, 0.15


@dataclass(frozen=True, slots=True)
class AlarmState:
    """The accumulated evidence after a decision; `told` are the lines named since the alarm began."""

    bets: Mapping[Line, tuple[float, ...]] = field(default_factory=dict)
    alarm: bool = False
    told: tuple[Line, ...] = ()

    def to_numbers(self) -> dict[str, Any]:
        """As an event keeps it: {"alarm": …, "told": [...], "bets": {"feature:x": [...]}}."""
        bets = {line_name(line): list(held) for line, held in self.bets.items()}
        return {"alarm": self.alarm, "told": [line_name(line) for line in self.told], "bets": bets}

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> AlarmState:
        bets = {_line(name): tuple(float(value) for value in held) for name, held in numbers["bets"].items()}
        return cls(bets, bool(numbers["alarm"]), tuple(_line(name) for name in numbers["told"]))


@dataclass(frozen=True, slots=True)
class AlarmDecision:
    """`evidence` of each line, and of the whole system: accumulated, over what an alarm needs."""

    state: AlarmState
    needed: float
    evidence: Mapping[Line, float]
    system: float
    drifted: tuple[Line, ...]  # who carries the alarm; empty where there is none
    news: bool  # an alarm begins, or goes on and names what it had not named
    reasons: tuple[str, ...]

    @property
    def alarm(self) -> bool:
        return self.state.alarm


def decisions_per_alarm(false_alarms_per_quarter: float, decide_every: timedelta) -> float:
    """How many decisions there are, on average, to one false alarm; never fewer than two."""
    return max(2.0, QUARTER / decide_every / false_alarms_per_quarter)


def line_weights(
    features: Sequence[str], importances: Mapping[str, float], outputs: Sequence[str]
) -> dict[Line, float]:
    """Each line's part of the budget; they add up to one.

    A feature gets half its part by its importance to the champion (a time's by that of the column it is a part of),
    half in equal shares: one that the model hardly uses is heard too, at a higher price. Without importances all
    are equal. What an output does not need, since the champion's files do not know it, the features get.
    """
    known = {name: share for name, share in ((PREDICTION, PREDICTION_SHARE), (TARGET, TARGET_SHARE)) if name in outputs}
    weights: dict[Line, float] = {("output", name): share for name, share in known.items()}
    if not features:
        total = sum(weights.values())
        return {line: weight / total for line, weight in weights.items()}
    rises = np.array([max(0.0, _importance(name, importances)) for name in features])
    equal = np.full(len(features), 1 / len(features))
    shares = (equal + rises / rises.sum()) / 2 if rises.sum() > 0 else equal
    whole = 1 - sum(known.values())
    return {("feature", name): whole * float(share) for name, share in zip(features, shares, strict=True)} | weights


def uses(features: Sequence[str], importances: Mapping[str, float], constant: Collection[str] = ()) -> dict[str, float]:
    """How much the model uses each feature: its importance over the mean one, at most 1; without importances 1.

    A shift matters by how far it is and how much of the answer hangs on it. One of ten times the least effect is
    heard of where a feature has a tenth of the mean importance, none where it has no importance at all: then the
    answers, which are watched too, cannot follow it. Of a `constant` feature mixing its values says nothing: what
    a new one would do is not known, and it counts as used.
    """
    rises = {name: max(0.0, _importance(name, importances)) for name in features}
    mean = math.fsum(rises.values()) / max(1, len(rises))
    known = {name: min(1.0, rise / mean) for name, rise in rises.items()} if mean > 0 else {}
    return {name: 1.0 if name in constant else known.get(name, 1.0) for name in features}


def decide(
    before: AlarmState,
    p_values: Mapping[int, Mapping[Line, Sequence[float]]],
    weights: Mapping[Line, float],
    needed: float,
) -> AlarmDecision:
    """The next decision, from the last one's state and, by span, p-values of rows that none of that span has seen.

    Where no window of a span is complete it has no p-values. A line with several statistics gets the mean of their
    e-values; one that could not be measured keeps its evidence as it was.
    """
    bets = {}
    for line, weight in weights.items():
        seen = [p_values.get(span, {}).get(line, ()) for span in SPANS]
        bets[line] = _bet(before.bets.get(line), seen, MOST * needed / weight)
    evidence = {line: weights[line] * _mean(held) / needed for line, held in bets.items()}
    system = math.fsum(evidence.values())
    alarm = system >= (RELEASE if before.alarm else 1.0)
    drifted = _carriers(evidence) if alarm else ()
    told = before.told if before.alarm and alarm else ()
    new = tuple(line for line in drifted if line not in told)
    state = AlarmState(bets, alarm, (*told, *new))
    return AlarmDecision(state, needed, evidence, system, drifted, bool(new), _reasons(before, state, system, evidence))


def e_values(p: float) -> tuple[float, ...]:
    """What each bet makes of its stake at this p-value."""
    return tuple(kappa * max(p, SMALLEST_P) ** (kappa - 1.0) for kappa in BETS)


def _bet(held: Sequence[float] | None, seen: Sequence[Sequence[float]], most: float) -> tuple[float, ...]:
    """All spans' bets, one span after the other. Over a span's decisions its detector may gain that many by chance."""
    after = [0.0] * (len(SPANS) * len(BETS)) if held is None else list(held)
    for place, (span, p_values) in enumerate(zip(SPANS, seen, strict=True)):
        won = [_mean(told) for told in zip(*map(e_values, p_values), strict=True)]
        for bet, e_value in enumerate(won, start=place * len(BETS)):
            after[bet] = (after[bet] + span) * e_value
    kept = min(1.0, most / max(_mean(after), 1.0))
    # Ten digits are more than a decision needs, and what is computed again from an event is the same to the last.
    return tuple(float(f"{value * kept:.10g}") for value in after)


def _mean(held: Sequence[float]) -> float:
    return math.fsum(held) / len(held)


def _carriers(evidence: Mapping[Line, float]) -> tuple[Line, ...]:
    """The lines with evidence enough to keep an alarm up; then the next ones, as long as the rest would be an alarm."""
    rest = math.fsum(evidence.values())
    found: list[Line] = []
    for line in sorted(evidence, key=lambda line: -evidence[line]):
        if found and rest < 1.0 and evidence[line] < RELEASE:
            break
        found.append(line)
        rest -= evidence[line]
    return tuple(line for line in evidence if line in found)


def _reasons(before: AlarmState, after: AlarmState, system: float, evidence: Mapping[Line, float]) -> tuple[str, ...]:
    word = {(False, True): "begins", (True, True): "goes on", (True, False): "has ended", (False, False): "none"}
    first = f"alarm: {word[before.alarm, after.alarm]}; evidence {system:.3g} of the 1 that an alarm needs"
    leading = sorted(evidence, key=lambda line: -evidence[line])[:3] if after.alarm else []
    return (first, *(f"{name}: {evidence[kind, name]:.3g}" for kind, name in leading))


def _importance(name: str, importances: Mapping[str, float]) -> float:
    if name in importances:
        return float(importances[name])
    column = name.rpartition(".")[0]
    return float(importances.get(column, 0.0))


def line_of(column: ColumnKey) -> Line:
    """Whose evidence a column is: a feature's own, or that of the answers or the target."""
    kind, name = column
    if kind == "feature" or name == TARGET:
        return kind, name
    return kind, PREDICTION


def display_names(lines: Collection[Line]) -> dict[Line, str]:
    """The name under which each is shown: an output's own, unless a feature has it; then `output:` stands before it."""
    features = {name for kind, name in lines if kind == "feature"}
    shown: dict[Line, str] = {}
    for kind, name in lines:
        text = name
        while kind == "output" and text in features:
            text = f"output:{text}"
        shown[kind, name] = text
    return shown


def line_name(line: Line) -> str:
    """As events name it: feature:distance, output:prediction."""
    return f"{line[0]}:{line[1]}"


def _line(name: str) -> Line:
    kind, _, rest = name.partition(":")
    return ("feature" if kind == "feature" else "output", rest)
