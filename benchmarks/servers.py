"""Servers under test: each in its own environment, started on a free loopback port, ended by its process group."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.environments import environment

PEERS = Path(__file__).parent / "peers"
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """How to start one: `{port}` is filled in, `packages` are put into an environment of its own."""

    name: str
    command: tuple[str, ...]
    path: str = "/predict"
    ready: str = "/"
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = PEERS


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    base: str
    process: subprocess.Popen[bytes]
    start_seconds: float

    def memory_of_workers(self) -> list[int]:
        """Resident bytes of each process of the tree, largest first."""
        tree = [psutil.Process(self.process.pid)]
        tree += tree[0].children(recursive=True)
        return sorted((p.memory_info().rss for p in tree if p.is_running()), reverse=True)


def environment_of(server: Server, environments: Path) -> Path:
    """The folder of the executables."""
    return environment(server.name, server.packages, environments)


@contextmanager
def running(server: Server, environments: Path, extra: Mapping[str, str], log: Path) -> Iterator[Running]:
    """The server, answering; stopped with everything it started at the end of the block."""
    executables = environment_of(server, environments)
    port = _free_port()
    command = [part.format(port=port) for part in server.command]
    command[0] = str(executables / command[0])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "PROMETHEUS"))}
    inherited |= {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "PATH": f"{executables}:{os.environ['PATH']}"}
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=server.folder,
            env={**inherited, **extra, **{k: v.format(port=port) for k, v in server.environment.items()}},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}{server.ready}", process, log)
            base = f"http://127.0.0.1:{port}"
            yield Running(base + server.path, base, process, time.monotonic() - begun)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it started: politely, then not."""
    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        if process.poll() is None:
            process.send_signal(sign)
        if sign is signal.SIGKILL:
            for child in tree:
                if child.is_running():
                    child.kill()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    psutil.wait_procs(tree, timeout=5)
    for child in tree:
        if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            child.kill()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError as error:
            if url.endswith("/") and error.code < 500:  # it answers, and has no probe: no route here either
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"no answer from {url} within {START_SECONDS:.0f} s:\n{log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
