"""The real stack on loopback: Prometheus and Alertmanager with the project's own configuration, in shorter time."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.dashboards.promtool import DASHBOARDS, RULES, need, seconds
from tests.service.serving import free_port
from tests.waiting import wait_until

TIMES_SHORTER = 600  # an hour is six seconds
# What Prometheus needs to see at one scrape per second: a rate of some samples, an alert of more than one evaluation.
SHORTEST_WINDOW, SHORTEST_FOR = 8, 1


def shorter(duration: str, least: int) -> str:
    return f"{max(least, round(seconds(duration) / TIMES_SHORTER))}s"


def shortened(rules: str) -> str:
    """The shipped rules, with the same queries and limits: only windows and `for` take less time."""
    held = re.sub(r"\[(\d+[smhd])\]", lambda found: f"[{shorter(found[1], SHORTEST_WINDOW)}]", rules)
    return re.sub(r"(?m)^( +for: )([1-9]\d*[smhd])", lambda found: found[1] + shorter(found[2], SHORTEST_FOR), held)


def prometheus_configuration(service: str, dead: str, alertmanager: str, token: Path) -> dict[str, Any]:
    """The shipped one, for these addresses. `dead` is a replica that does not answer."""
    held: dict[str, Any] = yaml.safe_load((DASHBOARDS / "prometheus" / "prometheus.yml").read_text())
    held["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (manager,) = held["alerting"]["alertmanagers"]
    manager["static_configs"][0]["targets"] = [alertmanager]
    del manager["basic_auth"]  # the tests' Alertmanager runs without: tests/dashboards/test_compose.py tries that
    (job,) = held["scrape_configs"]
    job["authorization"]["credentials_file"] = str(token)
    job["static_configs"][0]["targets"] = [service, dead]
    return held


def alertmanager_configuration(service: str, token: Path) -> dict[str, Any]:
    """The shipped one: groups are sent at once, and again every second, as if nobody had heard of them."""
    held: dict[str, Any] = yaml.safe_load((DASHBOARDS / "alertmanager" / "alertmanager.yml").read_text())
    held["route"] |= {"group_wait": "100ms", "group_interval": "1s", "repeat_interval": "1s"}
    (webhook,) = held["receivers"][0]["webhook_configs"]
    webhook["url"] = webhook["url"].replace("ringside:3000", service)
    webhook["http_config"]["authorization"]["credentials_file"] = str(token)
    return held


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str
    began: float

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Each series that the expression has now."""
        return self._asked("query", {"query": expression})

    def query_range(self, expression: str, step: float = 1) -> list[dict[str, Any]]:
        """Each series that the expression had at some time since Prometheus began."""
        end = time.time()
        return self._asked("query_range", {"query": expression, "start": self.began, "end": end, "step": step})

    def fired(self) -> set[str]:
        """The alerts that have fired until now, whether or not they still do."""
        held = self.query_range('count by (alertname) (ALERTS{alertstate="firing"})')
        return {series["metric"]["alertname"] for series in held}

    def runbooks(self) -> dict[str, str]:
        """Where each alert that fires now says that operators read on."""
        held = httpx.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {one["labels"]["alertname"]: one["annotations"]["runbook_url"] for one in held}

    def wait_fired(self, *names: str, timeout: float = 40) -> None:
        wait_until(
            lambda: set(names) <= self.fired(), timeout, f"{sorted(set(names) - self.fired())} to fire", every=0.3
        )

    def _asked(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=dict(parameters), timeout=10)
        assert answer.status_code == 200, answer.text
        held: list[dict[str, Any]] = answer.json()["data"]["result"]
        return held


@dataclass(frozen=True, slots=True)
class Alertmanager:
    url: str

    def post(self, alerts: list[dict[str, Any]]) -> None:
        httpx.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=30).raise_for_status()

    def sent(self) -> float:
        """Webhooks posted until now."""
        return self._metric("alertmanager_notifications_total")

    def failed(self) -> float:
        return self._metric("alertmanager_notifications_failed_total")

    def _metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        found = re.findall(rf'^{name}{{integration="webhook"}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, found))


@contextmanager
def alertmanager(folder: Path, service: str, token: Path) -> Iterator[Alertmanager]:
    """Debian's Alertmanager. Without a cluster, whose port would be open to everybody."""
    program, port = need("prometheus-alertmanager"), free_port()
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alertmanager_configuration(service, token)))
    options = [f"--config.file={file}", f"--storage.path={folder}/alertmanager", "--cluster.listen-address="]
    with _running([program, *options, f"--web.listen-address=127.0.0.1:{port}"], folder / "alertmanager.log", port):
        yield Alertmanager(f"http://127.0.0.1:{port}")


@contextmanager
def prometheus(folder: Path, service: str, alertmanager_url: str, token: Path) -> Iterator[Prometheus]:
    program, port = need("prometheus"), free_port()
    (folder / "rules.yml").write_text(shortened(RULES.read_text()))
    target = alertmanager_url.removeprefix("http://")
    held = prometheus_configuration(service, f"127.0.0.1:{free_port()}", target, token)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(held))
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder}/prometheus"]
    consoles = DASHBOARDS / "prometheus" / "consoles"
    options += [f"--web.console.templates={consoles}", f"--web.external-url=http://127.0.0.1:{port}"]
    with _running([program, *options, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log", port):
        yield Prometheus(f"http://127.0.0.1:{port}", time.time())


@contextmanager
def guarded_program(name: str, folder: Path, web: Path, port: int) -> Iterator[None]:
    """Debian's Prometheus or Alertmanager with nothing to do, behind the password whose hash `web` holds."""
    configuration = folder / f"{name}.yml"
    if name == "prometheus":
        program = need("prometheus")
        configuration.write_text("global: {}\n")
        options = [f"--storage.tsdb.path={folder}/data"]
    else:
        program = need("prometheus-alertmanager")
        configuration.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        options = [f"--storage.path={folder}/data", "--cluster.listen-address="]
    options += [f"--config.file={configuration}", f"--web.config.file={web}", f"--web.listen-address=127.0.0.1:{port}"]
    with _running([program, *options], folder / f"{name}.log", port, ready=401):
        yield


@contextmanager
def _running(command: list[str], log: Path, port: int, ready: int = 200) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: _answers(port, ready), 30, log.read_text()[-2000:])
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, status: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).status_code == status
    except httpx.HTTPError:
        return False
