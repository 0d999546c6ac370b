"""Whether a candidate may become a challenger. Pure.

The gate refuses harm only: whether a candidate is an improvement is for its bout to show, on requests that it could
not know. Every check says its numbers, passed or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from retrain.evaluation.metrics import Comparison, Interval

# A version whose ONNX answers differ from its estimator's by more is not the model that was judged.
PARITY_TOLERANCE = 1e-5
# A model that learned nothing differs from the dummy by the rounding of its sums.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest difference between estimator and ONNX: of a probability, or in standard deviations of the target."""

    max_difference: float
    rows: int


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    """`inputs` is everything the decision rests on: `decide_again` makes the same one of it."""

    passed: bool
    checks: tuple[Check, ...]
    inputs: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; nothing where it passed."""
        return tuple(check.reason for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "checks": [asdict(check) for check in self.checks],
            "inputs": dict(self.inputs),
        }


def decide(*, finite: bool, dummy: Comparison, champion: Comparison | None) -> GateDecision:
    """The decision on a candidate's holdout scores; `champion` is None while there is no champion."""
    inputs = {
        "finite": finite,
        "dummy": dummy.to_json(),
        "champion": None if champion is None else champion.to_json(),
    }
    if not finite:
        return _decision(inputs, Check("finite", False, "a score on the holdout is not a finite number"))
    checks = [Check("finite", True, f"all {dummy.rows} scores on the holdout are finite"), _against_dummy(dummy)]
    if champion is not None:
        checks.append(_against_champion(champion))
    return _decision(inputs, *checks)


def decide_again(inputs: Mapping[str, Any], max_latency_ms: float | None) -> GateDecision:
    """The decision that follows from a decision's `inputs`, with this limit of the time for one record."""
    champion = inputs["champion"]
    decision = decide(
        finite=inputs["finite"],
        dummy=_comparison(inputs["dummy"]),
        champion=None if champion is None else _comparison(champion),
    )
    if "parity" in inputs:
        decision = with_parity(decision, Parity(**inputs["parity"]))
    if "latency_ms" in inputs:
        decision = with_latency(decision, inputs["latency_ms"], max_latency_ms)
    return decision


def _comparison(held: Mapping[str, Any]) -> Comparison:
    difference = held["difference"]
    return Comparison(**{**held, "difference": None if difference is None else Interval(**difference)})


def with_parity(decision: GateDecision, parity: Parity) -> GateDecision:
    """The same decision with the proof of parity as its last check."""
    # Written so that NaN fails.
    passed = parity.max_difference <= PARITY_TOLERANCE
    numbers = f"{parity.max_difference:.2g} over {parity.rows} rows"
    reason = (
        f"ONNX and estimator differ by at most {numbers}"
        if passed
        else f"ONNX and estimator differ by {numbers}; at most {PARITY_TOLERANCE:g} is allowed"
    )
    inputs = {**decision.inputs, "parity": asdict(parity)}
    return _decision(inputs, *decision.checks, Check("parity", passed, reason))


def with_latency(decision: GateDecision, milliseconds: float, limit: float | None) -> GateDecision:
    """The same decision with the time for one record as a check, where there is a limit."""
    inputs = {**decision.inputs, "latency_ms": milliseconds, "max_latency_ms": limit}
    if limit is None:
        return replace(decision, inputs=inputs)
    passed = milliseconds <= limit
    relation = "within" if passed else "over"
    reason = f"one record takes {milliseconds:.3f} ms, {relation} retrain.max_latency_ms = {limit:g}"
    return _decision(inputs, *decision.checks, Check("latency", passed, reason))


def _against_dummy(comparison: Comparison) -> Check:
    numbers = f"loss {comparison.candidate_loss:.4f} against {comparison.other_loss:.4f} on {comparison.rows} rows"
    if comparison.candidate_loss < comparison.other_loss * (1.0 - ROUNDING):
        return Check("dummy", True, f"better than always saying the same: {numbers}")
    return Check("dummy", False, f"not better than always saying the same: {numbers}")


def _against_champion(comparison: Comparison) -> Check:
    rows = f"{comparison.rows} rows that the champion {comparison.other} had not seen"
    if comparison.difference is None:
        return Check("champion", True, f"not compared: only {rows}; the bout will tell")
    numbers = (
        f"loss {comparison.candidate_loss:.4f} against {comparison.other_loss:.4f} on {rows} "
        f"(difference {comparison.difference.value:+.4f}, 95 % interval "
        f"{comparison.difference.low:+.4f} to {comparison.difference.high:+.4f})"
    )
    if comparison.difference.low > 0:
        return Check("champion", False, f"significantly worse than the champion: {numbers}")
    return Check("champion", True, f"not significantly worse than the champion: {numbers}")


def _decision(inputs: Mapping[str, Any], *checks: Check) -> GateDecision:
    return GateDecision(all(check.passed for check in checks), checks, inputs)
