"""What a scrape shows: complete, bounded, and right over several processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from record.events import KINDS, BoutDecided, ModelRolledBack
from record.metric_families import FAMILIES
from service.http.scrape import reap_dead_workers, scrape
from service.metrics import MOST_CLASSES, WorkerMetrics
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running

AT = datetime(2024, 5, 1, tzinfo=UTC)
CONTRACT = {
    "ringside_request_duration_seconds{route,status}",
    "ringside_predictions_total{model_version,predicted_class}",
    "ringside_prediction_value{model_version}",
    "ringside_invalid_records_total{reason}",
    "ringside_log_commit_seconds",
    "ringside_log_queue_depth",
    "ringside_labels_total{outcome}",
    "ringside_champion_info{model_version}",
    "ringside_feature_drift_score{feature,method}",
    "ringside_feature_drifted{feature}",
    "ringside_drifted_features",
    "ringside_drift_check_timestamp_seconds",
    "ringside_quality{role,metric,kind}",
    "ringside_shadow_pairs",
    "ringside_shadow_evidence",
    "ringside_shadow_lead{bound}",
    "ringside_shadow_lag_seconds",
    "ringside_shadow_failures_total",
    "ringside_runs_total{trigger,outcome}",
    "ringside_run_active",
    "ringside_run_trials",
    "ringside_run_seconds_left",
    "ringside_tracking_waiting_events",
    "ringside_run_duration_seconds",
    "ringside_model_last_training_timestamp_seconds",
    "ringside_training_data_timestamp_seconds",
    "ringside_new_labelled_rows",
    "ringside_model_last_promotion_timestamp_seconds",
    "ringside_promotions_total{outcome}",
    "ringside_rollbacks_total{reason}",
    "ringside_audit_events_total{kind}",
    "ringside_audit_chain_valid",
    "ringside_watcher_heartbeat_timestamp_seconds",
    "ringside_unusual_values_total{reason}",
    "ringside_feature_drift_evidence{feature}",
    "ringside_feature_drift_threshold{feature,method}",
    "ringside_drift_evidence",
    "ringside_output_drift_evidence{output}",
    "ringside_output_drifted{output}",
    "ringside_drift_alarm",
    "ringside_drift_window_rows",
    "ringside_drift_window_age_seconds",
    "ringside_data_quality_findings{check,severity}",
    "ringside_domain_classifier_auc",
    "ringside_quality_bound{role,metric,kind,bound}",
    "ringside_quality_declined{kind}",
    "ringside_quality_gap_evidence",
    "ringside_quality_estimate_error{of}",
    "ringside_quality_estimated_by_last_labels",
    "ringside_quality_slice{slice,metric}",
    "ringside_label_coverage",
    "ringside_label_delay_seconds{quantile}",
    "ringside_last_label_timestamp_seconds",
    "ringside_labels_stopped",
    "ringside_label_delay_depends_on_outcome",
    "ringside_notifications_total{outcome}",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Worker, Client]]:
    settings = make_settings(tmp_path)
    with running(settings) as (worker, client):
        register_model(worker.record, 0.1, as_champion=True)
        client.call(worker._follow)
        yield worker, client


def scraped(client: Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name → label values in the order of their names → value."""
    held: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            held.setdefault(sample.name, {})[labels] = sample.value
    return held


def test_the_table_is_the_contract() -> None:
    """Every name and label that the outside contract lists."""
    shown = {f"{f.name}{{{','.join(f.labels)}}}" if f.labels else f.name for f in FAMILIES.values()}
    assert shown >= CONTRACT


def fill(worker: Worker, client: Client) -> None:
    """Something in every family."""
    client.post("/predict", {"records": [record_of(), record_of(9e9, "ZZ")], "ids": ["a", "b"]})
    client.post("/predict", {"records": [{"distance": "far"}]})
    client.post("/labels", {"labels": [{"id": "a", "label": "late"}, {"id": "x", "label": "late"}]})
    client.post("/retrain", {"reason": "why not"})
    for family in FAMILIES.values():
        if family.source == "samples":
            worker.record.samples.put([(family.name, dict.fromkeys(family.labels, "0.5"), 1.0)], AT)
    run = worker.record.runs.active()
    assert run is not None
    worker.record.runs.start(run.run_id, AT)
    worker.record.runs.fail(run.run_id, "no data")


def test_one_scrape_shows_everything_and_promtool_is_content(service: tuple[Worker, Client]) -> None:
    """All families that have values, in the form that Prometheus checks."""
    worker, client = service
    fill(worker, client)
    worker.metrics.load_failures.inc()
    worker.metrics.connections_cut({"slow_to_read": 1})
    text = client.get("/metrics").text
    present = {family.name for family in text_string_to_metric_families(text)}
    wanted = {name.removesuffix("_total") if f.kind == "counter" else name for name, f in FAMILIES.items()}
    assert wanted - present == {"ringside_training_data_timestamp_seconds"}  # the tiny model was trained on nothing
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_what_was_answered_is_counted(service: tuple[Worker, Client]) -> None:
    """By version, class and reason; a repeated answer is not an answer again."""
    worker, client = service
    for _ in range(2):
        client.post("/predict", {"records": [record_of(), record_of(9e9, "ZZ")], "ids": ["a", "b"]})
    client.post("/predict", {"records": [record_of(-4000.0)] * 40})
    client.post("/predict", {"records": [record_of(), {"distance": "far"}]})
    held = scraped(client)
    assert held["ringside_predictions_total"] == {("v1", "late"): 2, ("v1", "on time"): 40}
    assert held["ringside_prediction_value_count"] == {("v1",): 42}
    assert held["ringside_unusual_values_total"] == {("out_of_range",): 42, ("unseen",): 2}
    assert held["ringside_invalid_records_total"] == {("type",): 1}
    assert held["ringside_request_duration_seconds_count"][("/predict", "200")] == 3
    assert held["ringside_champion_info"] == {("v1",): 1}
    assert worker.record.log.counts(AT, worker.settings.quality.label_horizon).predictions == 42


def test_a_batch_counts_as_its_records_one_by_one() -> None:
    """The batch's shortcut through the library's inside gives the same histogram."""
    values = [0.0, 0.005, 0.01, 0.011, 0.5, 0.99, 0.991, 1.0, 0.5]
    one, many = WorkerMetrics("classification"), WorkerMetrics("classification")
    for value in values:
        one.answers("v1", ("a", "b")).count([1], [value])
    many.answers("v1", ("a", "b")).count([1] * len(values), values)
    assert _samples(one) == _samples(many)


def test_values_of_regressions_have_buckets_of_their_own() -> None:
    """Probabilities' buckets would say nothing of them."""
    metrics = WorkerMetrics("regression")
    metrics.answers("v1", ()).count([0, 0, 0], [-5e7, 3.0, 1e9])
    held = _samples(metrics)
    assert held[("ringside_prediction_value_bucket", (("le", "3.16"), ("model_version", "v1")))] == 2
    assert held[("ringside_predictions_total", (("model_version", "v1"), ("predicted_class", "")))] == 3


@pytest.mark.parametrize("middle", [0.5, 12.0, 11_555.0, 3e6, -40.0])
def test_quantiles_of_a_regressions_answers_are_right(middle: float) -> None:
    """As Prometheus interpolates them between buckets: within five percent above zero, ten below."""
    values = np.sort(middle * np.random.default_rng(4).lognormal(0.0, 0.7, 20_000))
    metrics = WorkerMetrics("regression")
    metrics.answers("v1", ()).count([0] * len(values), values.tolist())
    counts = {
        float(dict(labels)["le"]): count
        for (name, labels), count in _samples(metrics).items()
        if name == "ringside_prediction_value_bucket"
    }
    bounds = sorted(counts)
    for share in (0.1, 0.5, 0.9):
        place = next(n for n, bound in enumerate(bounds) if counts[bound] >= share * len(values))
        low, high = bounds[place - 1], bounds[place]
        below = counts[low]
        shown = low + (high - low) * (share * len(values) - below) / (counts[high] - below)
        assert shown == pytest.approx(np.quantile(values, share), rel=0.05 if middle > 0 else 0.1)


def test_classes_beyond_the_fiftieth_share_a_label() -> None:
    """A problem with thousands of classes must not make thousands of series."""
    metrics = WorkerMetrics("classification")
    classes = tuple(str(n) for n in range(1000))
    metrics.answers("v1", classes).count(list(range(1000)), [0.5] * 1000)
    named = [labels for name, labels in _samples(metrics) if name == "ringside_predictions_total"]
    assert len(named) == MOST_CLASSES + 1


def test_no_client_makes_series(service: tuple[Worker, Client]) -> None:
    """Paths, methods, reports' and versions' names stay out of the labels."""
    _, client = service
    for n in range(200):
        client.get(f"/random/{n}")
        client.get(f"/models/v{n + 7}")
        client.request(f"M{n % 9}", f"/reports/{n}")
    routes = {labels[0] for labels in scraped(client)["ringside_request_duration_seconds_count"]}
    assert routes <= {"other", "/models/{version}"}


def test_what_has_not_happened_yet_is_told_as_zero(service: tuple[Worker, Client]) -> None:
    """A counter that begins at 1 has no increase: no rule and no annotation would see the first event of its kind."""
    told = scraped(service[1])
    counts = told["ringside_audit_events_total"]
    assert set(counts) == {(kind,) for kind in KINDS}
    assert counts["retrain_failed",] == 0
    assert told["ringside_notifications_total"] == {("sent",): 0, ("failed",): 0, ("suppressed",): 0}
    assert told["ringside_shadow_failures_total"] == {(): 0}


def test_a_counter_goes_on_from_its_zero(service: tuple[Worker, Client]) -> None:
    """The first message that fails is one more than there were, beside outcomes that still stand at 0."""
    worker, client = service
    worker.record.samples.put([("ringside_notifications_total", {"outcome": "failed"}, 1.0)], AT)
    assert scraped(client)["ringside_notifications_total"] == {("sent",): 0, ("failed",): 1, ("suppressed",): 0}


def test_what_the_record_does_not_know_of_stays_out(service: tuple[Worker, Client]) -> None:
    """Samples under other names or labels, or under a worker's name, are not shown."""
    worker, client = service
    put = worker.record.samples.put
    put([("ringside_unheard_of", {}, 1.0), ("ringside_quality", {"role": "champion"}, 1.0)], AT)
    put([("ringside_predictions_total", {"model_version": "v9", "predicted_class": ""}, 1.0)], AT)
    text = client.get("/metrics").text
    assert "ringside_unheard_of" not in text
    assert "ringside_quality" not in text
    assert "v9" not in text


def test_counters_of_the_record_come_from_its_events(service: tuple[Worker, Client]) -> None:
    """Ends of bouts, rollbacks by their reason, and every kind of event."""
    worker, client = service
    register_model(worker.record, 0.2)
    worker.record.registry.promote("v2", actor="me", reason="better")
    worker.record.registry.rollback(actor="me", reason="worse")
    rolled = ModelRolledBack(reason="worse", restored="v1", generation=9, bout="b1", model_version="v2")
    worker.record.events.append(rolled, actor="watcher")
    ended = BoutDecided("b1", "challenge", "v2", "v1", "inconclusive", model_version="v2")
    worker.record.events.append(ended, actor="watcher")
    held = scraped(client)
    ways = {"promoted": 2.0, "rejected": 0.0, "inconclusive": 1.0, "voided": 0.0}
    assert held["ringside_promotions_total"] == {(way,): count for way, count in ways.items()}
    assert held["ringside_rollbacks_total"] == {("operator",): 1, ("probation",): 1}
    assert held["ringside_audit_events_total"][("model_registered",)] == 2


COUNTING = """
import sys
from service.metrics import WorkerMetrics
metrics = WorkerMetrics("classification")
metrics.request("/predict", 200, 0.003)
metrics.queue.set(5)
metrics.champion(sys.argv[1])
print("counted", flush=True)
sys.stdin.read()
"""


def test_dead_workers_take_their_gauges_with_them(tmp_path: Path, service: tuple[Worker, Client]) -> None:
    """What they counted stays; what they were is over, also while nobody has waited for them."""
    worker, client = service
    folder = tmp_path / "multiprocess"
    folder.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": "."}
    with (
        _counting("v1", environment) as living,
        _counting("v2", environment) as dying,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
        before = scraped(client)
        dying.kill()
        os.waitid(os.P_PID, dying.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
        after = scraped(client)
        living.kill()
    assert before["ringside_champion_info"] == {("v1",): 1, ("v2",): 1}
    assert after["ringside_champion_info"] == {("v1",): 1}
    assert (before["ringside_log_queue_depth"], after["ringside_log_queue_depth"]) == ({(): 10}, {(): 5})
    for held in (before, after):
        assert held["ringside_request_duration_seconds_count"][("/predict", "200")] == 2
    reap_dead_workers(folder)
    assert list(folder.glob("gauge_live*")) == []
    assert b"ringside_request_duration_seconds" in scrape(worker.metrics, worker.record.database, {})


def _counting(version: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING, version],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def _samples(metrics: WorkerMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
