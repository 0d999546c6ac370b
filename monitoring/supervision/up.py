"""What `ringside up` does: start service and watcher, say when they answer, stop them in bounded time."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from monitoring.supervision.log_relay import LogRelay
from monitoring.supervision.preflight import check_address, check_folders, check_record
from monitoring.supervision.programs import BENTOML_HOME, programs, run_folder
from monitoring.supervision.supervisor import Report, Supervisor
from record.clock import machine_now
from record.configuration.settings_copy import write_copy
from record.errors import Conflict
from record.ownership import give_folder_to_owner, give_to_owner, make_folder
from record.settings import Settings
from record.settings_in_force import up_copy
from record.signals import handle_signals

# The environment's http_proxy is for other hosts: a proxy that is asked for 127.0.0.1 answers about its own.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def run_up(settings: Settings, log_folder: Path | None = None) -> int:
    """Runs until SIGINT or SIGTERM; a second one kills what has not stopped by then. Returns the exit code."""
    host = settings.serve.address()
    settings.serve.require_tokens()
    check_folders(settings, run_folder(settings))
    out, err = LogRelay(sys.stdout.fileno()).start(), LogRelay(sys.stderr.fileno()).start()
    try:
        return _supervise(settings, host, log_folder, (out, err))
    finally:
        out.close()
        err.close()


def _supervise(settings: Settings, host: str, log_folder: Path | None, relays: tuple[LogRelay, LogRelay]) -> int:
    out, err = relays

    def report(message: str, fields: Mapping[str, Any]) -> None:
        """One JSON object on standard error."""
        line = {"at": machine_now().isoformat(timespec="milliseconds"), "message": message, **fields}
        os.write(err.descriptor, json.dumps(line).encode() + b"\n")

    supervisor = Supervisor(
        programs(settings),
        run_folder(settings),
        report,
        log_folder=log_folder,
        output=(out.descriptor, err.descriptor),
        # A request under way may take its full time; a stuck one must not keep everything alive.
        patience_seconds=settings.serve.request_timeout.total_seconds() + 5,
    )
    if not supervisor.start():
        raise Conflict(f"another `ringside up` runs on {run_folder(settings)}; stop it first")
    _keep_settings(settings, report)
    handle_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), lambda *_: supervisor.stop())
    url = f"http://{_reachable(host)}:{settings.serve.port}"

    def announce() -> None:
        report("ready", {"url": url})
        os.write(out.descriptor, _addresses(url).encode())

    try:
        check_address(host, settings.serve.port)
        check_record(settings)
        make_folder(run_folder(settings) / BENTOML_HOME)
        supervisor.run(lambda: _answers(f"{url}/livez"), announce)
    finally:
        handle_signals((signal.SIGINT, signal.SIGTERM), lambda *_: supervisor.hurry())
        with suppress(OSError):  # before the lock goes: behind it the copy is that of whoever runs next
            up_copy(settings).unlink()
        supervisor.close()
        give_folder_to_owner(run_folder(settings) / BENTOML_HOME)
    return 0


def _keep_settings(settings: Settings, report: Report) -> None:
    """For the processes that start later. Without room for it they read the file itself, and compare."""
    copy = up_copy(settings)
    try:
        write_copy(settings.text, copy)
        give_to_owner(copy)
    except OSError as error:
        report("settings not kept", {"file": str(copy), "reason": os.strerror(error.errno or 0)})
        with suppress(OSError):
            copy.unlink()  # an earlier run's


def _addresses(url: str) -> str:
    champion = "" if _answers(f"{url}/readyz") else " (no champion yet: `ringside train` makes the first one)"
    return (
        f"predict   POST {url}/predict{champion}\nlabels    POST {url}/labels\n"
        f"status    {url}/status\nmetrics   {url}/metrics\nroutes    {url}/docs.json\nCtrl-C stops all.\n"
    )


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _reachable(host: str) -> str:
    """An address to ask on this machine: a service on all of them answers on loopback too."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
