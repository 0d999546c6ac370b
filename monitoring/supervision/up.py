"""What `ringside up` does: start service and watcher, say when they answer, stop them in bounded time."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitoring.supervision.programs import programs, run_folder
from monitoring.supervision.supervisor import Supervisor
from record.clock import machine_now
from record.errors import Conflict
from record.settings import Settings


def run_up(settings: Settings, log_folder: Path | None = None) -> int:
    """Runs until SIGINT or SIGTERM; a second one kills what has not stopped by then. Returns the exit code."""
    settings.serve.require_tokens()
    supervisor = Supervisor(
        programs(settings),
        run_folder(settings),
        write_log_line,
        log_folder=log_folder,
        # A request under way may take its full time; a stuck one must not keep everything alive.
        patience_seconds=settings.serve.request_timeout.total_seconds() + 5,
    )
    if not supervisor.start():
        raise Conflict(f"another `ringside up` runs on {run_folder(settings)}; stop it first")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    url = f"http://{_reachable(settings.serve.host)}:{settings.serve.port}"
    try:
        supervisor.run(lambda: _answers(f"{url}/livez"), lambda: _announce(url))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: supervisor.hurry())
        supervisor.close()
    return 0


def write_log_line(message: str, fields: Mapping[str, Any]) -> None:
    """One JSON object on standard error."""
    line = {"at": machine_now().isoformat(timespec="milliseconds"), "message": message, **fields}
    print(json.dumps(line), file=sys.stderr, flush=True)


def _announce(url: str) -> None:
    write_log_line("ready", {"url": url})
    champion = "" if _answers(f"{url}/readyz") else " (no champion yet: `ringside train` makes the first one)"
    print(f"predict   POST {url}/predict{champion}\nlabels    POST {url}/labels", flush=True)
    print(f"status    {url}/status\nmetrics   {url}/metrics\nroutes    {url}/docs.json\nCtrl-C stops all.", flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _reachable(host: str) -> str:
    """An address to ask on this machine: a service on all of them answers on loopback too."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
