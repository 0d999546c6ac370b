"""The service as it runs: `bentoml serve` with two workers, killed, swapped and scraped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from record.logged import Cursor
from record.record import Record, open_record
from tests.record.models import answer, record_of, register_model
from tests.service.serving import LiveService, bearer, live_service, tokens, wait_ready, write_config
from tests.waiting import wait_until

BIASES = {"v1": 0.0, "v2": 0.7, "v3": -0.7}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Two workers with v1; v2 and v3 wait."""
    folder = tmp_path_factory.mktemp("live")
    settings = write_config(folder)
    _register(settings)
    with live_service(settings, folder) as live:
        wait_ready(live)
        yield live


@pytest.fixture
def record(service: LiveService) -> Iterator[Record]:
    opened = open_record(service.settings, migrate=False)
    yield opened
    opened.close()


def _register(settings: Any) -> None:
    opened = open_record(settings)
    for bias in BIASES.values():
        register_model(opened, bias, as_champion=opened.registry.roles().champion is None)
    opened.close()


def scraped(service: LiveService, **options: Any) -> dict[str, dict[tuple[str, ...], float]]:
    text = httpx.get(f"{service.url}/metrics", timeout=10, **options).raise_for_status().text
    held: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            held.setdefault(sample.name, {})[labels] = sample.value
    return held


def predict(service: LiveService, times: int) -> int:
    """Answers so many requests over new connections, so that both workers get some; how many succeeded."""
    body = {"records": [record_of()]}
    return sum(httpx.post(f"{service.url}/predict", json=body, timeout=10).status_code == 200 for _ in range(times))


def answered(service: LiveService) -> float:
    return sum(scraped(service).get("ringside_predictions_total", {}).values())


def test_two_workers_are_scraped_as_one(service: LiveService, record: Record) -> None:
    """Whichever worker answers the scrape, both have been counted, and all is in the log."""
    before, logged = answered(service), record.log.last_seq()
    assert predict(service, 40) == 40
    assert {answered(service) for _ in range(10)} == {before + 40}
    assert record.log.last_seq() == logged + 40
    held = scraped(service)
    assert held["ringside_champion_info"] == {("v1",): 1}
    assert held["ringside_request_duration_seconds_count"][("/predict", "200")] >= 40


def test_connections_that_stay_open_are_shared_between_the_workers(service: LiveService) -> None:
    """A client that opens them all at once is answered by both."""
    body = {"records": [record_of()]}
    with ExitStack() as held:
        clients = [held.enter_context(httpx.Client(timeout=10)) for _ in range(24)]
        with ThreadPoolExecutor(24) as threads:
            answers = list(threads.map(lambda client: client.post(f"{service.url}/predict", json=body), clients))
        assert {answer.status_code for answer in answers} == {200}
        port = httpx.URL(service.url).port
        counts = [_open_connections(worker, port) for worker in service.workers()]
    assert sum(counts) >= 24
    assert min(counts) >= 4


def test_a_worker_holds_nothing_that_answers_do_without(service: LiveService) -> None:
    """By what is mapped into it once it has loaded its champion: pandas alone takes 50 MB."""
    assert predict(service, 1) == 1
    for worker in service.workers():
        mapped = {part for held in worker.memory_maps() for part in Path(held.path).parts}
        assert "uvloop" in mapped
        assert not mapped & {"pandas", "scipy", "sklearn", "optuna", "evidently"}


def _open_connections(worker: psutil.Process, port: int | None) -> int:
    held = worker.net_connections(kind="tcp")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in held)


def test_a_removed_metrics_folder_comes_back_with_all_counts(service: LiveService) -> None:
    """Each worker writes its counts anew; one that dies without the folder is replaced, and counted once."""
    folder = service.log.parent / "bentoml" / "prometheus_multiproc_dir"
    assert predict(service, 20) == 20
    before = answered(service)
    for removed in (folder, folder):
        shutil.rmtree(removed, ignore_errors=True)
        assert scraped(service)["ringside_champion_info"] == {("v1",): 1}  # the worker that is asked has its file again
        wait_until(lambda: answered(service) == before, 30, "the other worker's counts")
    shutil.rmtree(folder, ignore_errors=True)
    victim, *_ = service.workers()
    wait_until(lambda: answered(service) == before, 30, "both workers' counts")
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: len({w.pid for w in service.workers()} - {victim.pid}) == 2, 30)
    wait_until(service.ready, 30)
    assert answered(service) == before
    assert predict(service, 20) == 20
    assert answered(service) == before + 20


def test_counts_that_another_hand_has_cut_hide_no_others(service: LiveService) -> None:
    folder = service.log.parent / "bentoml" / "prometheus_multiproc_dir"
    before = answered(service)
    for name, content in (("counter_0.db", b""), ("histogram_1.db", b"\xff" * 100), ("gauge_.db", b"text" * 9)):
        (folder / name).write_bytes(content)
    assert answered(service) == before
    for name in ("counter_0.db", "histogram_1.db", "gauge_.db"):
        (folder / name).unlink()


def test_a_killed_worker_is_replaced_and_its_counts_stay(service: LiveService, record: Record) -> None:
    """After kill -9 the other one answers; nothing that was answered is missing from counters or log."""
    assert predict(service, 20) == 20
    before, logged = answered(service), record.log.last_seq()
    victim = service.workers()[0]
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(victim.pid) or victim.status() == psutil.STATUS_ZOMBIE)
    wait_until(lambda: victim.pid not in [w.pid for w in service.workers()] and len(service.workers()) == 2, 60)
    wait_until(service.ready, 60)
    held = scraped(service)
    assert sum(held["ringside_predictions_total"].values()) == before
    assert held["ringside_champion_info"] == {("v1",): 1}
    assert record.log.last_seq() == logged
    folder = service.log.parent / "bentoml" / "prometheus_multiproc_dir"
    assert list(folder.glob(f"gauge_live*_{victim.pid}.db")) == []
    assert predict(service, 10) == 10


class Callers(threading.Thread):
    """A client that asks without pause, and checks that each answer is its version's."""

    def __init__(self, service: LiveService, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url = f"{service.url}/predict"
        self._ended = stop
        self.versions: Counter[str] = Counter()
        self.failures: list[str] = []

    def run(self) -> None:
        records = [record_of(100.0 * n) for n in range(3)]
        with httpx.Client(timeout=10) as http:
            while not self._ended.is_set():
                try:
                    response = http.post(self._url, json={"records": records})
                    self._check(response, records)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _check(self, response: httpx.Response, records: list[dict[str, Any]]) -> None:
        if response.status_code != 200:
            self.failures.append(response.text)
            return
        held = response.json()
        version = held["model_version"]
        self.versions[version] += 1
        for record, one in zip(records, held["predictions"], strict=True):
            if abs(one["probabilities"]["late"] - answer(record, BIASES[version])) > 1e-9:
                self.failures.append(f"{version}: {one}")


def test_a_swap_under_load_fails_and_mixes_nothing(service: LiveService, record: Record) -> None:
    """Ten moves of the role: every worker follows within a second, every answer is its version's."""
    ended = threading.Event()
    callers = [Callers(service, ended) for _ in range(4)]
    for caller in callers:
        caller.start()
    slowest = 0.0
    try:
        for move in range(10):
            wanted = ("v2", "v3")[move % 2]
            started = time.monotonic()
            record.registry.promote(wanted, actor="test", reason="swap")
            wait_until(partial(_serve_only, service, wanted), 10)
            slowest = max(slowest, time.monotonic() - started)
    finally:
        ended.set()
        for caller in callers:
            caller.join(20)
    assert [failure for caller in callers for failure in caller.failures] == []
    versions = sum((caller.versions for caller in callers), Counter())
    assert {"v2", "v3"} <= set(versions)
    assert slowest < 5, "on a free machine within a second"
    assert scraped(service)["ringside_champion_info"] == {("v3",): 1}
    assert _logged_versions(record) >= {"v1", "v2", "v3"}


def _serve_only(service: LiveService, version: str) -> bool:
    """Whether all workers have loaded it, and nothing else."""
    return set(scraped(service)["ringside_champion_info"]) == {(version,)}


def _logged_versions(record: Record) -> set[str]:
    rows, _ = record.log.tail(Cursor(), 1_000_000)
    return {row.model_version for row in rows}


def test_log_lines_are_json_with_constant_messages(service: LiveService) -> None:
    """Ours, beside BentoML's own."""
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    assert {"worker started", "champion switched"} <= {line["message"] for line in lines}
    assert all({"at", "level", "message"} <= set(line) for line in lines)
    assert any(line["message"] == "open to everybody on this machine" for line in lines)


def test_in_the_images_mode_a_dead_worker_is_not_counted_as_alive(tmp_path: Path) -> None:
    """With BENTOML_CONTAINERIZED nobody restarts it: the other one serves, and the scrape stays right."""
    settings = write_config(tmp_path, f"tokens = {_toml(tokens())}")
    _register(settings)
    with live_service(settings, tmp_path, environment={"BENTOML_CONTAINERIZED": "true"}) as live:
        wait_ready(live)
        headers = bearer("predictor")
        body = {"records": [record_of()]}
        for _ in range(20):
            assert httpx.post(f"{live.url}/predict", json=body, headers=headers, timeout=10).status_code == 200
        victim = live.workers()[0]
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda: len(live.workers()) == 1)
        for _ in range(5):
            assert httpx.post(f"{live.url}/predict", json=body, headers=headers, timeout=10).status_code == 200
            assert httpx.get(f"{live.url}/livez", timeout=10).status_code == 200
        held = scraped(live, headers=bearer("reader"))
        assert sum(held["ringside_predictions_total"].values()) == 25
        assert held["ringside_champion_info"] == {("v1",): 1}
        assert held["ringside_log_queue_depth"] == {(): 0}
        assert httpx.get(f"{live.url}/metrics", timeout=10).status_code == 401


def test_an_open_service_does_not_start_on_other_addresses(tmp_path: Path) -> None:
    """The address is BentoML's own option: what counts is the socket."""
    settings = write_config(tmp_path)
    with live_service(settings, tmp_path, host="0.0.0.0") as live:
        wait_until(lambda: "service refused to start" in live.log.read_text(), 60)
        assert "worker started" not in live.log.read_text()
        assert not live.ready()


def _toml(value: list[dict[str, Any]]) -> str:
    tables = ["{" + ", ".join(f"{key} = {json.dumps(item)}" for key, item in token.items()) + "}" for token in value]
    return "[" + ", ".join(tables) + "]"
