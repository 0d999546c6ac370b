"""What a replay showed at each of its own times: scraped while it runs, and handed to a Prometheus afterwards.

The demo's record follows its requests' time, so that ten months pass in minutes. Each scrape is stamped with the
record's time, not with the machine's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

# Told by the machine's clock, which in a replay says nothing: years after all that is replayed.
MACHINE_TIMES = ("ringside_watcher_heartbeat_timestamp_seconds",)
SCRAPED = {"job": "ringside", "instance": "ringside:3000"}


@dataclass
class History:
    """Scrapes of one service by the record's time, in OpenMetrics."""

    url: str
    lines: dict[str, list[str]] = field(default_factory=dict)
    last: float = 0.0

    def scrape(self) -> bool:
        """Adds what `/metrics` shows now; False where the service does not answer, or no time has passed."""
        try:
            settled = httpx.get(f"{self.url}/status", timeout=10).raise_for_status().json()["watcher"]["settled_until"]
            text = httpx.get(f"{self.url}/metrics", timeout=10).raise_for_status().text
        except (httpx.HTTPError, KeyError):
            return False
        if settled is None:
            return False
        return self.add(text, datetime.fromisoformat(settled).timestamp())

    def add(self, text: str, at: float) -> bool:
        """Adds what a scrape showed at that time; False where it is no later than the last one."""
        if at <= self.last:
            return False
        self.last = at
        self._add("up", SCRAPED, 1.0, at)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name not in MACHINE_TIMES and not sample.name.endswith("_created"):
                    self._add(sample.name, {**sample.labels, **SCRAPED}, sample.value, at)
        return True

    def _add(self, name: str, labels: dict[str, str], value: float, at: float) -> None:
        held = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self.lines.setdefault(name, []).append(f"{name}{{{held}}} {value!r} {at:.3f}")

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for lines in self.lines.values():
                file.writelines(f"{line}\n" for line in lines)
            file.write("# EOF\n")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def create_blocks(openmetrics: Path, folder: Path) -> None:
    """Prometheus's storage with that history; blocks of a month, where the usual two hours would make thousands."""
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=729h"]
    subprocess.run([*command, str(openmetrics), str(folder)], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """Its URL, once it answers. It looks back for days, since scrapes are a day apart."""
    configuration = folder / "nothing-to-scrape.yml"
    configuration.write_text("{}\n")
    options = ["--query.lookback-delta=4d", "--storage.tsdb.retention.time=100y", "--log.level=error"]
    command = ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder}", *options]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"])
    try:
        _wait_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/-/ready", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after a minute")
