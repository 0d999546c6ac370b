"""The real stack, end to end: a service with two workers, Prometheus, Alertmanager, and every rule provoked.

The tests are one story and run in their order: an empty ring, trouble in serving, what the watcher finds, alerts that
come back to the service, and at last every query that somebody may look at.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from monitoring.housekeeping import keep_house
from record.db.tables import model_versions, requests, runs
from record.record import Record, open_record
from service.http.token_files import LIST, make_tokens
from tests.dashboards.promtool import alerts, need, rules
from tests.dashboards.queries import annotation_queries, filled, panel_queries
from tests.dashboards.stack import Alertmanager, Prometheus, alertmanager, prometheus, shortened
from tests.record.models import record_of, register_model
from tests.service.serving import LiveService, live_service, wait_ready, write_config
from tests.small_disk import MAY_MOUNT, small_disk
from tests.waiting import wait_until
from tests.watching import watcher_process

pytestmark = pytest.mark.timeout(400)
STORM = 10_000
DISK_MEGABYTES = 64  # of the models' file system
CALL = 1_000  # alerts at most
STORM_SECONDS = 20.0  # 2 s where nothing else runs; two cores shared with other tests are slower
# The watcher does what alerts ask for and nothing of its own accord: what it would find is put where it puts it.
CONFIG = """
tokens = "{tokens}"
[log]
patience = "1s"
on_failure = "serve"
[drift]
every = "3650d"
decide_every = "3650d"
[quality]
every = "3650d"
[promotion]
every = "3650d"
[retrain]
check_every = "3650d"
min_new_labels = 0
"""
# What the watcher publishes when it finds something, by the alert that it leads to.
FOUND: dict[str, list[tuple[str, dict[str, str], float]]] = {
    "RingsideDriftAlarm": [
        ("ringside_drift_alarm", {}, 1),
        ("ringside_drift_evidence", {}, 1.4),
        ("ringside_drifted_features", {}, 1),
        ("ringside_feature_drifted", {"feature": "distance"}, 1),
        ("ringside_feature_drift_evidence", {"feature": "distance"}, 1.7),
        ("ringside_feature_drift_score", {"feature": "distance", "method": "ks"}, 0.3),
        ("ringside_feature_drift_threshold", {"feature": "distance", "method": "ks"}, 0.1),
        ("ringside_drift_window_rows", {}, 1500),
        ("ringside_drift_window_age_seconds", {}, 7200),
        ("ringside_domain_classifier_auc", {}, 0.8),
    ],
    "RingsideOutputDrift": [
        ("ringside_output_drifted", {"output": "prediction"}, 1),
        ("ringside_output_drift_evidence", {"output": "prediction"}, 1.1),
    ],
    "RingsideDataQuality": [("ringside_data_quality_findings", {"check": "missing", "severity": "error"}, 2)],
    "RingsideDataSuspect": [("ringside_data_quality_findings", {"check": "unit_slip", "severity": "warning"}, 1)],
    "RingsideEstimatedQualityDeclined": [
        ("ringside_quality_declined", {"kind": "estimated"}, 1),
        ("ringside_quality", {"role": "champion", "metric": "log_loss", "kind": "estimated"}, 0.6),
        ("ringside_quality", {"role": "champion", "metric": "log_loss", "kind": "observed"}, 0.5),
        ("ringside_quality", {"role": "challenger", "metric": "log_loss", "kind": "observed"}, 0.4),
        *(
            ("ringside_quality_bound", {"role": "champion", "metric": "log_loss", "kind": kind, "bound": bound}, value)
            for kind in ("observed", "estimated")
            for bound, value in (("low", 0.4), ("high", 0.7))
        ),
        ("ringside_quality_slice", {"slice": "carrier=AA", "metric": "log_loss"}, 0.7),
    ],
    "RingsideLabelsStopped": [
        ("ringside_labels_stopped", {}, 1),
        ("ringside_last_label_timestamp_seconds", {}, 1.7e9),
        ("ringside_label_delay_seconds", {"quantile": "0.9"}, 3600),
    ],
    "RingsideLabelCoverageLow": [("ringside_label_coverage", {}, 0.4)],
    "RingsideLabelDelayBiased": [("ringside_label_delay_depends_on_outcome", {}, 1)],
    "RingsideShadowLagging": [
        ("ringside_shadow_lag_seconds", {}, 7200),
        ("ringside_shadow_pairs", {}, 300),
        ("ringside_shadow_evidence", {}, 4),
        ("ringside_shadow_lead", {"bound": "mean"}, 0.01),
    ],
    "RingsideApprovalWaiting": [
        ("ringside_approvals_waiting", {}, 1),
        ("ringside_approval_waiting_seconds", {}, 7200),
    ],
    "RingsideShadowFailing": [("ringside_shadow_failures_total", {}, 500)],
    "RingsideNotificationsFailing": [("ringside_notifications_total", {"outcome": "failed"}, 7)],
}
# Before that. Counters stand at 0 by themselves.
QUIET = [("ringside_new_labelled_rows", {}, 40.0)]
SERVING = {"RingsideLatencyHigh", "RingsideLogCommitSlow", "RingsideNotLogged", "RingsideInvalidRecordsHigh"}


@dataclass
class Ring:
    """Everything that runs, and the record behind it."""

    service: LiveService
    record: Record
    prometheus: Prometheus
    alertmanager: Alertmanager
    tokens: Path

    def call(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {(self.tokens / who).read_text()}"}
        return httpx.request(method, self.service.url + path, json=body, headers=headers, timeout=60)

    def predict(self, *records: dict[str, Any]) -> int:
        return self.call("application", "POST", "/predict", {"records": records or [record_of()]}).status_code

    def publish(self, *samples: tuple[str, dict[str, str], float]) -> None:
        """As the watcher does."""
        self.record.samples.put(samples, datetime.now(UTC))

    def received(self) -> dict[str, int]:
        """How many alerts of each name the service has taken."""
        with self.record.database.read() as connection:
            rows = connection.execute(sa.select(requests.c.data).where(requests.c.kind == "alert")).scalars()
            names = [held["alert"] for held in rows]
        return {name: names.count(name) for name in set(names)}

    def asking(self) -> list[str]:
        """The alerts that wait for the watcher's decision."""
        return [request.data["alert"] for request in self.record.requests.pending()]

    def runs(self) -> list[tuple[str, str]]:
        with self.record.database.read() as connection:
            return [(row.trigger, row.state) for row in connection.execute(sa.select(runs.c.trigger, runs.c.state))]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A service without a champion, a replica of it that is dead, and the stack that watches them."""
    need("prometheus")
    need("prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("stack")
    make_tokens(folder / "tokens")
    settings = write_config(folder, CONFIG.format(tokens=folder / "tokens" / LIST))
    token = folder / "tokens"
    with small_disk(settings.store.artifacts, DISK_MEGABYTES), live_service(settings, folder) as service:
        wait_until(lambda: len(service.workers()) == 2 and answers(service), 60, service.log.read_text()[-2000:])
        address = service.url.removeprefix("http://")
        record = open_record(settings)
        with (
            alertmanager(folder, address, token / "alertmanager") as manager,
            prometheus(folder, address, manager.url, token / "prometheus") as watching,
        ):
            yield Ring(service, record, watching, manager, token)
        record.close()


def answers(service: LiveService) -> bool:
    try:
        return httpx.get(f"{service.url}/livez", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_windows_and_durations_are_all_that_the_tested_rules_have_otherwise() -> None:
    """An hour is six seconds; the limits and the queries are the shipped ones."""
    text = "    expr: max(increase(x[6h])) > 0.1\n    for: 1h  # why\n    for: 0s\n"
    assert shortened(text) == "    expr: max(increase(x[36s])) > 0.1\n    for: 6s  # why\n    for: 0s\n"


def test_an_empty_ring_is_told(ring: Ring) -> None:
    """No champion, no watcher, a dead replica: all said, and so are the requests that fail for it."""
    deadline = time.monotonic() + 40
    wanted = {"RingsideNoChampion", "RingsideWatcherMissing", "RingsideDown", "RingsideErrorsHigh"}
    while not wanted <= ring.prometheus.fired():
        assert ring.predict() == 503
        assert time.monotonic() < deadline, wanted - ring.prometheus.fired()


def test_trouble_in_serving_is_told(ring: Ring) -> None:
    """Answers that wait for a locked log are slow, then not logged; records are refused; a champion does not load."""
    register_model(ring.record, as_champion=True)
    wait_ready(ring.service)
    ring.publish(*QUIET, ("ringside_drift_check_timestamp_seconds", {}, time.time() - 3 * 86_400))
    assert ring.predict(*[record_of()] * 1500) == 200
    path = ring.record.database.path
    assert path is not None
    with asked_without_pause(ring) as answered:
        # Patience is one second: answers wait for a shorter lock, and leave without the log when one lasts longer.
        for seconds, wanted in ((0.6, {"RingsideLatencyHigh", "RingsideLogCommitSlow"}), (2.0, SERVING)):
            deadline = time.monotonic() + 60
            while not ring.prometheus.fired() >= wanted:
                with locked(path):
                    Event().wait(seconds)
                wait_until_answered(answered, 30)  # quick ones among the slow, or there are too few for a p99
                assert time.monotonic() < deadline, wanted - ring.prometheus.fired()
    broken = register_model(ring.record, golden_error=0.5)
    promoted = ring.call("operator", "POST", f"/models/{broken.version}/promote", {"reason": "looks good"})
    assert promoted.status_code == 200
    ring.prometheus.wait_fired("RingsideChampionNotLoaded")
    assert ring.call("operator", "POST", "/rollback", {"reason": "it does not load"}).status_code == 200
    assert ring.predict(*[record_of()] * 1500) == 200
    ring.prometheus.wait_fired("RingsideRolledBack", "RingsideDriftUnchecked")


def wait_until_answered(answered: list[int], more: int) -> None:
    goal = len(answered) + more
    wait_until(lambda: len(answered) >= goal, 20, f"{more} more answers")


@contextmanager
def asked_without_pause(ring: Ring) -> Iterator[list[int]]:
    """Eight clients, one of which sends nonsense every other time, and one a carrier that training never saw.

    Nonsense alone would be refused without the log, a thousand times a second, and hide who waits for it.
    """
    ended, answered = Event(), []

    def ask(records: list[dict[str, Any]]) -> None:
        headers = {"Authorization": f"Bearer {(ring.tokens / 'application').read_text()}"}
        with httpx.Client(headers=headers, timeout=30) as http:
            for record in cycle(records):
                if ended.is_set():
                    return
                answered.append(http.post(f"{ring.service.url}/predict", json={"records": [record]}).status_code)

    strange: list[list[dict[str, Any]]] = [[record_of(carrier="ZZ")], [{"distance": "far"}, record_of()]]
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(ask, records) for records in [[record_of()]] * 6 + strange]
        try:
            yield answered
        finally:
            ended.set()
    assert [one.exception() for one in asked] == [None] * 8


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """By somebody who does not know of the file lock, as with the sqlite3 shell."""
    intruder = sqlite3.connect(path, isolation_level=None, timeout=10)
    intruder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        intruder.execute("ROLLBACK")
        intruder.close()


def test_what_the_watcher_finds_is_told(ring: Ring) -> None:
    label = {"labels": [{"id": "unheard-of", "label": "late"}]}
    assert ring.call("application", "POST", "/labels", label).status_code == 200
    for samples in FOUND.values():
        ring.publish(*samples)
    ring.prometheus.wait_fired(*FOUND)


def test_an_alert_leads_to_its_section_of_the_page_for_operators(ring: Ring) -> None:
    """On the Prometheus that fired it."""
    runbooks = ring.prometheus.runbooks()
    assert {"RingsideDriftAlarm", "RingsideDataQuality", "RingsideDataSuspect"} <= set(runbooks)
    for name, url in runbooks.items():
        page = httpx.get(url, timeout=10)
        assert page.status_code == 200
        assert f'<h3 id="{url.partition("#")[2]}">{name}</h3>' in page.text


def test_alertmanager_brings_every_alert_to_the_service_and_none_of_these_asks_for_a_retrain(ring: Ring) -> None:
    """With its token, by its own webhook; each is written down once, however often it is sent."""
    fired = ring.prometheus.fired()
    wait_until(lambda: fired <= set(ring.received()), 20, "alerts to be received", every=0.2)
    assert ring.alertmanager.failed() == 0
    assert ring.asking() == []
    assert ring.runs() == []
    kinds = ring.call("operator", "GET", "/events?kind=alert_received&limit=1000").json()["events"]
    assert {event["actor"] for event in kinds} == {"alertmanager"}


def test_an_alert_that_asks_for_a_retrain_starts_exactly_one_run(ring: Ring) -> None:
    """The decline starts it. Two further alerts that ask, and the first one sent again and again, start none."""
    ring.publish(("ringside_quality_declined", {"kind": "observed"}, 1))
    ring.prometheus.wait_fired("RingsideQualityDeclined")
    wait_until(lambda: ring.asking() == ["RingsideQualityDeclined"], 20, "one request", every=0.1)
    with watcher_process(ring.service.settings):
        wait_until(lambda: ring.runs() == [("alert", "failed")], 60, "one run: it has no data", every=0.2)
        assert ring.asking() == []
        long_ago = datetime.now(UTC) - timedelta(days=100)
        with ring.record.database.write() as connection:
            connection.execute(sa.update(model_versions).values(registered_at=long_ago, data_until=long_ago))
        ring.publish(("ringside_quality_gap_evidence", {}, 1.2))
        ring.publish(
            ("ringside_record_intact", {}, 0),
            ("ringside_approvals_waiting", {}, 1),
            ("ringside_approval_waiting_seconds", {}, 60),
        )
        ring.prometheus.wait_fired("RingsideConceptDrift", "RingsideModelStale", "RingsideRetrainFailed")
        decided = {"RingsideConceptDrift", "RingsideModelStale"}
        wait_until(lambda: decided <= set(ring.received()) and not ring.asking(), 20, "decisions", every=0.1)
        before, received = ring.alertmanager.sent(), ring.received()["RingsideQualityDeclined"]
        wait_until(lambda: ring.alertmanager.sent() > before + 15, 30, "alerts to be sent again", every=0.2)
        resolved(ring)
        assert ring.received()["RingsideQualityDeclined"] == received == 1
        storm(ring)
        assert ring.runs() == [("alert", "failed")]


def resolved(ring: Ring) -> None:
    """The decline is over; Alertmanager says so, and that asks for nothing."""
    ring.publish(("ringside_quality_declined", {"kind": "observed"}, 0))
    firing = 'ALERTS{alertname="RingsideQualityDeclined", alertstate="firing"}'
    wait_until(lambda: not ring.prometheus.query(firing), 20, "the alert to be resolved", every=0.2)
    before = ring.alertmanager.sent()
    wait_until(lambda: ring.alertmanager.sent() > before + 15, 30, "the webhook of it", every=0.2)
    assert ring.asking() == []


def storm(ring: Ring) -> None:
    """Ten thousand alerts at once, through Alertmanager, and as many that ask for a retrain while one has just been."""
    began = time.monotonic()
    groups = [f"Storm{n}" for n in range(STORM // CALL)]  # no call of Alertmanager's has more than `max_alerts`
    for name in groups:
        ring.alertmanager.post([{"labels": {"alertname": name, "instance": str(n)}} for n in range(CALL)])
    wait_until(
        lambda: sum(ring.received().get(name, 0) for name in groups) == STORM,
        STORM_SECONDS,
        "the storm to be taken",
        every=0.2,
    )
    through = time.monotonic() - began
    greedy = [
        {
            "status": "firing",
            "labels": {"alertname": "Greedy", "action": "retrain", "instance": str(n)},
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": f"f{n}",
        }
        for n in range(STORM)
    ]
    assert ring.call("alertmanager", "POST", "/alerts", {"version": "4", "alerts": greedy}).status_code == 413
    began = time.monotonic()
    for first in range(0, STORM, CALL):
        body = {"version": "4", "alerts": greedy[first : first + CALL]}
        assert ring.call("alertmanager", "POST", "/alerts", body).json()["accepted"] == CALL
    direct = time.monotonic() - began
    assert ring.predict() == 200
    wait_until(lambda: ring.asking() == [], 30, "the watcher's answer to all of them", every=0.2)
    print(f"a storm of {STORM} alerts: {through:.1f} s through Alertmanager, {direct:.1f} s answered directly")
    assert direct < STORM_SECONDS


def test_a_silent_watcher_and_a_broken_trail_are_told(ring: Ring) -> None:
    """The watcher was killed; its last word is moved ten minutes back. Somebody changes an event behind our back."""
    ring.publish(("ringside_watcher_heartbeat_timestamp_seconds", {}, time.time() - 600))
    with ring.record.database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET actor = 'mallory' WHERE seq = 2")
    keep_house(ring.record, ring.service.settings, datetime.now(UTC))
    ring.prometheus.wait_fired(
        "RingsideWatcherSilent", "RingsideAuditChainBroken", "RingsideApprovalWaiting", "RingsideRecordDamaged"
    )
    ring.publish(("ringside_watcher_heartbeat_timestamp_seconds", {}, time.time() + 600))
    ring.prometheus.wait_fired("RingsideWatcherClockAhead")


@pytest.mark.skipif(not MAY_MOUNT, reason="a small disk needs root and mounts")
def test_a_disk_that_fills_is_told(ring: Ring) -> None:
    """The models' disk loses a megabyte with each look, until nearly nothing is left."""
    folder = ring.service.settings.store.artifacts
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for _ in range(DISK_MEGABYTES - 2):
            file.write(b"x" * 1_000_000)
            file.flush()
            Event().wait(0.2)
            if "RingsideDiskFilling" in ring.prometheus.fired():
                break
        free = os.statvfs(folder)
        file.write(b"x" * (free.f_bavail * free.f_frsize - 1_000_000))
    ring.prometheus.wait_fired("RingsideDiskFilling", "RingsideDiskNearlyFull")
    ballast.unlink()


def test_every_alert_has_fired(ring: Ring) -> None:
    not_here = set() if MAY_MOUNT else {"RingsideDiskFilling", "RingsideDiskNearlyFull"}
    assert set(alerts()) - ring.prometheus.fired() == not_here


def test_every_query_of_boards_and_rules_has_data(ring: Ring) -> None:
    """Over the time of this story, and of a run that searches, as Grafana asks it."""
    run = ring.record.runs.request("operator", "ann", "to be seen at work")
    assert ring.record.runs.start(run.run_id, datetime.now(UTC))
    ring.record.runs.progress(run.run_id, {"stage": "search", "done": 3, "seconds_left": 120.0})
    ring.publish(("ringside_tracking_waiting_events", {}, 4), ("ringside_requests_set_aside", {}, 7))
    ring.publish(("ringside_feed_faults", {"check": "unit_slip"}, 1))
    ring.publish(
        ("ringside_quality_estimate_error", {"of": "estimate"}, 0.1),
        ("ringside_quality_estimated_by_last_labels", {}, 0),
    )
    queries = [*panel_queries(), *annotation_queries(), *((r["record"], r["record"]) for r in rules() if "record" in r)]
    asked = {where + "\n" + query: filled(query, "8s") for where, query in queries}

    deadline, left = time.monotonic() + 120, asked
    while left := {where: query for where, query in left.items() if not has_data(ring.prometheus, query)}:
        assert time.monotonic() < deadline, left
        Event().wait(1)


def has_data(prometheus: Prometheus, query: str) -> bool:
    """Whether some series has a number; a share of nothing is none."""
    values = (value for series in prometheus.query_range(query) for _, value in series["values"])
    return any(value != "NaN" for value in values)


def test_promtool_accepts_what_was_scraped(ring: Ring) -> None:
    """Of a real service with two workers, after all this."""
    text = ring.call("prometheus", "GET", "/metrics").text
    checked = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
