"""A real MLflow server, in an environment of its own, and a gate before it that can be closed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.serving import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / ".venv-mlflow"


@dataclass(frozen=True)
class MlflowUnderTest:
    """The server, and where it keeps what was uploaded."""

    port: int
    artifacts: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, method: str, **query: str) -> Any:
        return httpx.get(f"{self.url}/api/2.0/mlflow/{method}", params=query, timeout=30).raise_for_status().json()

    def post(self, method: str, **body: Any) -> Any:
        return httpx.post(f"{self.url}/api/2.0/mlflow/{method}", json=body, timeout=30).raise_for_status().json()


def mlflow_python() -> Path:
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip(f"{ENVIRONMENT.name} is not there: `make mlflow` installs it from requirements-mlflow.lock")
    return ENVIRONMENT / "bin" / "python"


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MlflowUnderTest]:
    """On SQLite and loopback; it takes artifacts over HTTP, as by default."""
    server = MlflowUnderTest(free_port(), folder / "artifacts")
    command = [mlflow_python(), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(server.port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(server.artifacts)]
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # four processes more, for what no test asks
    }
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or _healthy(server), 270, "the MLflow server", every=0.3)
        assert process.poll() is None, (folder / "mlflow.log").read_text()[-3000:]
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(server: MlflowUnderTest) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


@dataclass
class Gate:
    """Passes bytes on to the server while it is open; shut, it takes connections and says nothing, or takes none."""

    port: int
    to: int
    state: str = "open"
    lines: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, state: str) -> None:
        """ "open", "silent" or "refusing"; connections that are there end."""
        self.state = state
        for line in self.lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        self.lines.clear()


@contextmanager
def gate(server: MlflowUnderTest) -> Iterator[Gate]:
    listener = socket.create_server(("127.0.0.1", 0))
    held = Gate(listener.getsockname()[1], server.port)

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            if held.state == "refusing":
                line.close()
                continue
            held.lines.append(line)
            if held.state == "silent":  # until the gate is set anew
                continue
            onward = socket.create_connection(("127.0.0.1", held.to))
            held.lines.append(onward)
            for source, target in ((line, onward), (onward, line)):
                threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield held
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        held.set("refusing")


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while received := source.recv(65536):
            target.sendall(received)
    except OSError:
        pass
    for line in (source, target):
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
