"""Services to test against: a worker in this process behind its guard, and a real one under BentoML."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from record.settings import Settings, load_settings
from service.http.front import Front
from service.http.routes import application
from service.worker import Worker
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
WORKER = "_bentoml_impl.worker.service"
SECRETS = {name: f"secret-of-{name}" for name in ("predictor", "labeller", "alerter", "reader", "operator")}
ROLES = {
    "predictor": ["predict"],
    "labeller": ["label"],
    "alerter": ["alert"],
    "reader": ["read"],
    "operator": ["operate"],
}


def tokens() -> list[dict[str, Any]]:
    """One token for each role."""
    return [
        {"name": name, "roles": ROLES[name], "sha256": hashlib.sha256(secret.encode()).hexdigest()}
        for name, secret in SECRETS.items()
    ]


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def make_settings(folder: Path, sections: Mapping[str, Any] | None = None) -> Settings:
    """Settings for the tiny model of `tests.record.models`, with what `sections` say besides."""
    problem = {"name": "flights", "task": "classification", "target": "arrival", "positive_class": "late"}
    return Settings(folder=folder, **{"problem": problem, **(sections or {})})


class Client:
    """Calls an application in its event loop, from any thread. Its paths are on 127.0.0.1."""

    def __init__(self, portal: BlockingPortal, http: httpx.AsyncClient) -> None:
        self._portal = portal
        self._http = http

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._portal.call(partial(self._http.request, method, path, **options))

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Calls a coroutine function in the application's loop."""
        return self._portal.call(function)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, **({"json": body} if body is not None else {}), **options)


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Worker, Client]]:
    """A started worker in this process, and a client that reaches it as under BentoML: guard first, then routes."""
    worker = Worker(lambda: settings)
    app = Starlette(routes=[Mount("/", application(worker))], middleware=[Middleware(Front, worker=worker)])
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("127.0.0.1", 50000)), base_url="http://127.0.0.1:3000"
    )
    with start_blocking_portal() as portal:
        portal.call(worker.start)
        try:
            yield worker, Client(portal, http)
        finally:
            portal.call(http.aclose)
            portal.call(worker.stop)


@dataclass
class LiveService:
    """`bentoml serve` with workers of its own."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    settings: Settings
    seen: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if child.status() != psutil.STATUS_ZOMBIE and any(WORKER in part for part in child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        self.seen |= {worker.pid for worker in found}
        return found

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Ends the server and every worker that was ever seen, by their pids."""
        with suppress(psutil.NoSuchProcess):  # a test ended it
            self.workers()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        for pid in self.seen:
            try:
                left = psutil.Process(pid)
                if any(WORKER in part for part in left.cmdline()):
                    left.kill()
            except psutil.Error:
                continue


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


CONFIG = """
[problem]
name = "flights"
task = "classification"
target = "arrival"
positive_class = "late"
[serve]
workers = 2
refresh = "100ms"
{more}
"""


def write_config(folder: Path, more: str = "") -> Settings:
    path = folder / "ringside.toml"
    path.write_text(CONFIG.format(more=more))
    return load_settings(path)


@contextmanager
def live_service(
    settings: Settings, folder: Path, *, host: str = "127.0.0.1", environment: Mapping[str, str] | None = None
) -> Iterator[LiveService]:
    """A server with a home of its own. Not waited for: `ready` says when it is."""
    port, log = free_port(), folder / "service.log"
    inherited = {k: v for k, v in os.environ.items() if k not in ("PROMETHEUS_MULTIPROC_DIR", "BENTOML_CONTAINERIZED")}
    surroundings = {
        **inherited,
        "RINGSIDE_CONFIG": str(settings.path),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
        **(environment or {}),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", ".", "--host", host, "--port", str(port)],
            cwd=ROOT,
            env=surroundings,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = LiveService(port, process, log, settings)
    try:
        yield service
    finally:
        service.stop()


def wait_ready(service: LiveService, workers: int = 2) -> None:
    wait_until(lambda: service.ready() and len(service.workers()) >= workers, 60, service.log.read_text()[-2000:])
