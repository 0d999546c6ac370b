"""A version's card: what it is, how good it is and against whom, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from record.clock import machine_now
from record.settings import Settings
from retrain.data.dataset import Dataset
from retrain.data.lineage import git_commit, library_versions
from retrain.evaluation.examination import Examination
from retrain.evaluation.insight import Insight
from retrain.evaluation.metrics import Metrics
from retrain.gate import GateDecision, Parity
from retrain.guards.finding import Finding
from retrain.mode import ModeDecision
from retrain.models.threshold import ThresholdDecision
from retrain.search import SearchReport
from retrain.study import study_of
from retrain.window import WindowDecision

METRICS_OF = "fit on rows before the holdout; the packaged model is refitted on all matured rows"
# A card is read over HTTP; the earliest trials and the best are what tells.
MOST_TRIALS = 200
# The settings that say which rows are learned from, and how much each counts.
ROWS = {"max_rows", "window", "window_length", "half_life"}


def write_card(
    settings: Settings,
    data: Dataset,
    holdout: Dataset,
    found: SearchReport,
    judged: Examination,
    decision: GateDecision,
    parity: Parity,
    *,
    latency_ms: float,
    read_until_seq: int,
    parent: str | None,
    chain_head: str,
    economies: Sequence[str],
    mode: ModeDecision,
    as_of: datetime | None,
    features: Sequence[str],
    searched: Mapping[str, Any],
    findings: Sequence[Finding],
    insight: Insight,
    window: WindowDecision | None = None,
    threshold: ThresholdDecision | None = None,
    left_out: Sequence[str] = (),
    report: str | None = None,
) -> dict[str, Any]:
    """The card without its `version`, which registration gives."""
    best = found.best.configuration
    return {
        "problem": settings.problem.name,
        "report": report,
        "task": data.schema.problem.task,
        "target": data.schema.problem.target,
        "family": best.family,
        "params": dict(best.params),
        **({"members": best.to_json()["members"]} if best.members else {}),
        "features": list(features),
        "metrics": _plain(judged.candidate.metrics),
        "metrics_of": METRICS_OF,
        "baselines": {name: _plain(scored.metrics) for name, scored in judged.baselines.items()},
        "champion_metrics": _plain(judged.champion_scored.metrics) if judged.champion_scored else {},
        "fresh_metrics": _plain(judged.candidate_on_fresh.metrics) if judged.candidate_on_fresh else {},
        "comparison": judged.champion.to_json() if judged.champion else None,
        "operating_threshold": None if threshold is None else threshold.threshold,
        "decision": _decision(threshold, insight),
        "loss": judged.loss,
        "reference_loss": judged.reference.value,
        "reference_loss_error": judged.reference.error,
        "reference_day_variance": judged.reference.day_variance,
        "reference_estimate": judged.reference.estimate,
        "loss_scale": judged.loss_scale,
        "target_sd": judged.target_sd,
        "gate": decision.to_json(),
        "parity": {"max_difference": parity.max_difference, "rows": parity.rows},
        "latency_ms": latency_ms,
        "importances": {name: rise.value for name, rise in judged.importances.items()},
        "importance_intervals": {name: [rise.low, rise.high] for name, rise in judged.importances.items()},
        "insight": insight.to_json(),
        "rows": len(data),
        "logged_rows": int((data.seqs > 0).sum()),
        "holdout_rows": len(holdout),
        "data_from": _text(data.data_from),
        "data_until": _text(data.data_until),
        "read_until_seq": read_until_seq,
        "trials": _trials(found),
        "study": study_of(found),
        **searched,
        "mode": mode.to_json(),
        "window": window.to_json() if window else None,
        "economies": list(economies),
        "left_out": list(left_out),
        "ensemble": found.selection.to_json() if found.selection else None,
        "findings": [finding.to_json() for finding in findings],
        "calibration": found.calibration.to_json() if found.calibration else None,
        "search_rows": found.rows,
        "search_seconds": round(found.seconds, 3),
        "lineage": {
            "data_fingerprint": data.fingerprint(),
            "config_hash": settings.digest(),
            "git_commit": git_commit(settings.folder),
            "seed": settings.retrain.seed,
            "as_of": _text(as_of),
            "rows": settings.retrain.model_dump(mode="json", include=ROWS)
            | (window.window.to_settings() if window else {})
            | _kept(data, economies),
            "libraries": library_versions(),
            "parent": parent,
            "chain_head": chain_head,
        },
        "created_at": _text(machine_now()),
    }


def _decision(threshold: ThresholdDecision | None, insight: Insight) -> dict[str, Any] | None:
    """From which probability on the positive class is answered, why, and what that costs on the holdout."""
    if threshold is None:
        return None
    return {**threshold.to_json(), **(insight.costs.to_json() if insight.costs else {})}


def _kept(data: Dataset, economies: Sequence[str]) -> dict[str, int]:
    """Where memory was short, the newest rows that were learned from, as retrain.max_rows would have it."""
    return {"max_rows": len(data)} if any(text.startswith("run:") for text in economies) else {}


def _plain(metrics: Metrics) -> dict[str, dict[str, float]]:
    return {name: interval.to_json() for name, interval in metrics.items()}


def _trials(found: SearchReport) -> Sequence[Mapping[str, Any]]:
    kept = list(found.trials[:MOST_TRIALS])
    if not kept:  # no search was made
        return []
    single = found.best.configuration.family != "ensemble"
    return [trial.to_json() for trial in ([*kept, found.best] if single and found.best not in kept else kept)]


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
