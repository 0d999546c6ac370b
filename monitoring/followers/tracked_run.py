"""A run as MLflow keeps it: one run of the problem's experiment, and a child for each family that was tried. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.followers.mlflow_server import Metric
from record.versions.model_version import ModelVersion
from record.work.run import Run

# MLflow's limits for a parameter's value and a tag's.
LONGEST_VALUE = 6000
LONGEST_TAG = 8000
# What neither a metric, an experiment nor a registered model may be called by.
_UNNAMABLE = re.compile(r"[^\w\-. ]", re.ASCII)

RUN_TAG = "ringside.run_id"
VERSION_TAG = "ringside.version"
FAMILY_TAG = "ringside.family"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """`key` are the tags that it is found by; times are in milliseconds since 1970, by the machine's clock."""

    name: str
    key: Mapping[str, str]
    status: str
    started_at: int
    ended_at: int | None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    children: Sequence[TrackedRun] = ()


def tracked_name(problem: str) -> str:
    """The problem's name as MLflow takes it, for the experiment and the registered model."""
    return _UNNAMABLE.sub("-", problem)


def run_key(run_id: str) -> dict[str, str]:
    return {RUN_TAG: run_id}


def tracked_start(run: Run) -> TrackedRun:
    """A run that is under way."""
    tags = {"ringside.trigger": run.trigger, NOTE_TAG: run.reason[:LONGEST_TAG]}
    return TrackedRun(run.run_id, run_key(run.run_id), "RUNNING", _millis(run.machine_started_at), None, tags=tags)


def tracked_end(run: Run, version: ModelVersion | None) -> TrackedRun:
    """A run that has ended: what it chose, how good that is, and what else was tried."""
    outcome = run.outcome or {}
    begun, ended = _millis(run.machine_started_at), _millis(run.machine_finished_at)
    facts = version.card if version else outcome
    gate = outcome.get("gate", {})
    tags = {"ringside.trigger": run.trigger, NOTE_TAG: _note(run, outcome)}
    if gate:
        tags["ringside.gate"] = "passed" if version else "refused"
    if version:
        tags |= {VERSION_TAG: version.version, "ringside.digest": version.digest}
    numbers = _numbers(facts) | ({"seconds": run.seconds} if run.seconds is not None else {})
    return TrackedRun(
        name=run.run_id,
        key=run_key(run.run_id),
        status="FINISHED" if run.state == "succeeded" else "FAILED",
        started_at=begun,
        ended_at=ended,
        params=_params(facts),
        metrics=[Metric(name, value, ended) for name, value in sorted(numbers.items())],
        tags=tags,
        children=_families(run, facts, begun, ended),
    )


def tracked_version(version: ModelVersion) -> TrackedRun:
    """A version that no run made."""
    at = _millis(version.registered_at)
    return TrackedRun(
        name=version.version,
        key={VERSION_TAG: version.version, "ringside.digest": version.digest},
        status="FINISHED",
        started_at=at,
        ended_at=at,
        params=_params(version.card),
        metrics=[Metric(name, value, at) for name, value in sorted(_numbers(version.card).items())],
    )


def _params(facts: Mapping[str, Any]) -> dict[str, str]:
    """The recipe, and the data and code that it was made from."""
    held = {f"params.{name}": value for name, value in facts.get("params", {}).items()}
    held |= {
        name: facts[name] for name in ("family", "task", "target", "rows", "holdout_rows", "loss") if name in facts
    }
    if "members" in facts:
        held["members"] = [f"{member['family']} × {member['weight']:.3g}" for member in facts["members"]]
    held["mode"] = facts.get("mode", {}).get("mode")
    for name in ("data_fingerprint", "config_hash", "git_commit", "seed", "parent"):
        held[name] = facts.get("lineage", {}).get(name)
    return {_UNNAMABLE.sub("-", name): _text(value) for name, value in held.items() if value is not None}


def _numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    """Metrics with their intervals, the baselines' and the champion's beside them; nothing that is not finite."""
    held: dict[str, Any] = {}
    scored = {"": facts.get("metrics", {}), "champion.": facts.get("champion_metrics", {})}
    scored |= {f"baseline.{name}.": metrics for name, metrics in facts.get("baselines", {}).items()}
    for prefix, metrics in scored.items():
        for name, interval in metrics.items():
            if isinstance(interval, Mapping):
                held[f"{prefix}{name}"] = interval["value"]
                held |= {f"{prefix}{name}.{bound}": interval[bound] for bound in ("low", "high")}
            else:
                held[f"{prefix}{name}"] = interval
    held |= {name: facts.get(name) for name in ("latency_ms", "search_seconds", "reference_loss")}
    return {_UNNAMABLE.sub("-", name): float(value) for name, value in held.items() if _finite(value)}


def _families(run: Run, facts: Mapping[str, Any], begun: int, ended: int) -> list[TrackedRun]:
    """One child for each family: its trials' losses in the order they were run, and the best one's recipe."""
    trials = facts.get("trials", ())
    children = []
    for family in dict.fromkeys(trial["family"] for trial in trials):
        own = [trial for trial in trials if trial["family"] == family]
        scored = [trial for trial in own if _finite(trial["loss"])]
        metrics = [Metric("loss", float(trial["loss"]), ended, trial["number"]) for trial in scored]
        metrics += [
            # Of a refused run, each family's best trial stands for all that were tried.
            Metric("trials", float(sum(trial.get("tried", 1) for trial in own)), ended),
            Metric("trial_seconds", float(sum(trial["seconds"] for trial in own)), ended),
        ]
        params: dict[str, Any] = {}
        if scored:
            best = min(scored, key=lambda trial: (trial["loss"], trial["number"]))
            metrics.append(Metric("best_loss", float(best["loss"]), ended))
            params = best["params"]
        children.append(
            TrackedRun(
                name=family,
                key={RUN_TAG: f"{run.run_id}/{family}", FAMILY_TAG: family},
                status="FINISHED" if scored else "FAILED",
                started_at=begun,
                ended_at=ended,
                params={_UNNAMABLE.sub("-", f"params.{name}"): _text(value) for name, value in params.items()},
                metrics=metrics,
            )
        )
    return children


def _note(run: Run, outcome: Mapping[str, Any]) -> str:
    reasons = [check["reason"] for check in outcome.get("gate", {}).get("checks", [])]
    error = outcome.get("error")
    return "\n\n".join([run.reason, *([f"failed: {error}"] if error else []), *reasons])[:LONGEST_TAG]


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_VALUE]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _millis(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
