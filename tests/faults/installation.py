"""An installation as its operators have it: a folder with settings and a champion, and `ringside up` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from monitoring.supervision.identity import run_identity
from monitoring.supervision.processes import end_processes, marked_processes
from monitoring.supervision.programs import run_folder
from record.record import open_record
from record.settings import Settings, load_settings
from tests.record.models import record_of, register_model
from tests.service.serving import WORKER, free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
TOML = """
[problem]
name = "flights"
task = "classification"
target = "arrival"
positive_class = "late"
[serve]
port = {port}
workers = {workers}
refresh = "100ms"
{more}
"""
START_SECONDS = 90.0


def make_installation(folder: Path, more: str = "", *, workers: int = 1, port: int | None = None) -> Settings:
    """A folder with ringside.toml and a champion; `more` begins in [serve]."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ringside.toml"
    file.write_text(TOML.format(port=port or free_port(), workers=workers, more=more))
    settings = load_settings(file)
    record = open_record(settings)
    register_model(record, 0.0, as_champion=True)
    record.close()
    return settings


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    dropped = ("PROMETHEUS_MULTIPROC_DIR", "BENTOML_CONTAINERIZED", "RINGSIDE_CONFIG")
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, **(more or {})}


def command(settings: Settings, name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ringside", name, *arguments, "--config", str(settings.path)]


def run_command(
    settings: Settings, name: str, *arguments: str, before: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """A command as a user calls it, waited for; `before` is what its command line begins with."""
    given = {"env": clean_environment(), "cwd": ROOT, "capture_output": True, "text": True, **options}
    return subprocess.run([*before, *command(settings, name, *arguments)], check=False, **given)


@dataclass
class Up:
    """A running `ringside up`."""

    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.serve.port}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.get(self.url + path, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.post(self.url + path, json=body, **options)

    def predict(self, count: int = 1, prefix: str = "") -> httpx.Response:
        ids = {"ids": [f"{prefix}{place}" for place in range(count)]} if prefix else {}
        return self.post("/predict", {"records": [record_of(note="a note")] * count, **ids})

    def answers(self, path: str = "/readyz") -> int | None:
        """The status; None where nobody answers."""
        try:
            return self.get(path).status_code
        except httpx.HTTPError:
            return None

    def wait_ready(self) -> None:
        wait_until(
            lambda: self.answers() == 200 or self.process.poll() is not None,
            START_SECONDS,
            f"ready: {self.text()[-3000:]}",
            every=0.1,
        )
        assert self.process.poll() is None, self.text()[-3000:]

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The log's JSON lines with that message."""
        found = []
        for line in self.text().splitlines():
            try:
                held = json.loads(line)
            except ValueError:
                continue
            if isinstance(held, dict) and held.get("message") == message:
                found.append(held)
        return found

    def below(self, part: str) -> list[psutil.Process]:
        """Its living processes whose command line holds `part`."""
        found = []
        for process in marked_processes(run_identity(run_folder(self.settings))):
            try:
                if process.status() != psutil.STATUS_ZOMBIE and any(part in word for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        return self.below(WORKER)

    def watcher(self) -> list[psutil.Process]:
        return self.below("monitoring")

    def stop(self, seconds: float = 40.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """`kill -9` of it and everything below it, at once."""
        below = marked_processes(run_identity(run_folder(self.settings)))
        children = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        for process in (*children, *below):
            try:
                process.kill()
            except psutil.Error:
                continue
        self.process.kill()
        self.process.wait(20)
        end_processes(marked_processes(run_identity(run_folder(self.settings))), 0.0)


@contextmanager
def up(
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    stderr: IO[bytes] | int | None = None,
    before: Sequence[str] = (),
    log: Path | None = None,
    **options: Any,
) -> Iterator[Up]:
    """Not waited for. Its log is `up.log` in the folder; `before` is what its command line begins with."""
    assert settings.path is not None
    file = log or settings.path.with_name("up.log")
    with file.open("ab") as output:
        process = subprocess.Popen(
            [*before, *command(settings, "up")],
            env=clean_environment(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", output),
            stderr=output if stderr is None else stderr,
            start_new_session=True,
            **options,
        )
    running = Up(settings, process, file)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                running.kill_all()
        end_processes(marked_processes(run_identity(run_folder(settings))), 1.0)
