"""A small installation as its users start it: `ringside up` in a folder of its own, with every child that it has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.service.serving import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
NEEDED_TO_RUN = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
SETTINGS = """
[problem]
name = "small"
task = "classification"
target = "late"
positive_class = "yes"
[columns.distance]
type = "number"
[columns.carrier]
type = "category"
[data]
source = "history.csv"
[serve]
port = {port}
refresh = "100ms"
[retrain]
families = ["linear"]
trials = 1
budget = "20s"
check_every = "3650d"
cooldown = "0s"
[drift]
min_rows = 1000000
{more}
"""


@dataclass
class Installation:
    """A folder with settings, data and a record, and the process of `ringside up`."""

    folder: Path
    port: int
    process: psutil.Process
    commands: dict[int, str] = field(default_factory=dict)  # every process that was ever seen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return httpx.request(method, self.url + path, json=body, timeout=60)

    def answers(self, path: str) -> bool:
        try:
            return self.call("GET", path).status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> list[psutil.Process]:
        """`ringside up` and all that it has started, and what that has."""
        found = []
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    self.commands[process.pid] = " ".join(process.cmdline())
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def seen(self, program: str) -> bool:
        """Whether a process of that program was ever there."""
        self.processes()
        return any(program in command for command in self.commands.values())


def write_installation(folder: Path, more: str = "", rows: int = 400) -> int:
    """A ringside.toml and a history to train on; the port that the service will have."""
    port = free_port()
    (folder / "ringside.toml").write_text(SETTINGS.format(port=port, more=more))
    rng = np.random.default_rng(0)
    distance, carrier = rng.normal(size=rows), rng.choice(["AA", "BB", "CC"], rows)
    late = np.where(distance + rng.normal(size=rows) > 0, "yes", "no")
    lines = [f"{d:.4f},{c},{label}" for d, c, label in zip(distance, carrier, late, strict=True)]
    (folder / "history.csv").write_text("distance,carrier,late\n" + "\n".join(lines) + "\n")
    return port


def bare_environment(home: Path) -> dict[str, str]:
    """The environment of a user who has prepared nothing, with a home folder of its own.

    onnxruntime is silent where a variable of a build server is set (`CI`, `GITHUB_ACTIONS`): its telemetry could then
    not be seen, so only what a program needs to run is taken over.
    """
    return {name: os.environ[name] for name in NEEDED_TO_RUN if name in os.environ} | {"HOME": str(home)}


@contextmanager
def up(
    folder: Path, port: int, before: Sequence[str] = (), more: Mapping[str, str] | None = None
) -> Iterator[Installation]:
    """`ringside up` as a user without any preparation starts it, until the block ends; `before` starts it in turn."""
    environment = bare_environment(folder) | (more or {})
    command = [*before, str(Path(sys.executable).with_name("ringside")), "up", "--log-folder", str(folder / "logs")]
    with (folder / "up.log").open("wb") as log:
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, umask=0o022)
    try:
        wait_until(lambda: _ringside(started.pid) is not None, 60, "ringside up runs")
        process = _ringside(started.pid)
        assert process is not None
        installation = Installation(folder, port, process)
        wait_until(lambda: started.poll() is not None or installation.answers("/livez"), 240, "it lives", every=0.2)
        assert started.poll() is None, (folder / "up.log").read_text()
        yield installation
    finally:
        process = _ringside(started.pid)
        if process is not None:
            process.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _ringside(pid: int) -> psutil.Process | None:
    """The process of `ringside up`: this one, or the one that it traces."""
    try:
        first = psutil.Process(pid)
        for process in (first, *first.children()):
            if any(part.endswith("ringside") for part in process.cmdline()[:3]) and "strace" not in process.name():
                return process
    except psutil.NoSuchProcess:
        return None
    return None
