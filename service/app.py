"""The prediction service under BentoML: workers, sockets, life cycle. Served with `bentoml serve .`.

The only import of bentoml. Importing this starts nothing: every worker and their parent do it. What a worker holds
is opened by the start-up hook, and everything a request meets is in `service.http.front` and `service.http.routes`.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import bentoml
import bentoml._internal.utils.analytics.usage_stats as bentoml_usage
import bentoml._internal.utils.circus as bentoml_supervision

from record.configuration.sections import ServeSettings
from record.configuration.settings_copy import COPY
from record.errors import SettingsDrift, SettingsError
from record.log_lines import log_line, write_json_lines
from record.process import begin_process, silence_telemetry
from record.settings import Settings, load_settings
from record.settings_in_force import hold_settings
from service.http.connections import guard_connections
from service.http.front import Front
from service.http.listening import listen_fairly
from service.http.routes import application
from service.worker import Worker

# Ours come first, and answer as JSON: BentoML's is for what hangs all the same.
SPARE_SECONDS = 5
# Python's 5 ms let the event loop keep the committing thread waiting for the interpreter, with the log's lock held,
# before each of a commit's statements: under load that was half of the time of a request.
SWITCH_SECONDS = 0.0001
WAIT_SECONDS = 2.0  # between looks whether the settings are again those that the service began with


def serve_settings() -> ServeSettings:
    """[serve] of the settings; its defaults where there is no ringside.toml, as when a Bento is built."""
    named = os.environ.get("RINGSIDE_CONFIG", "ringside.toml")
    if not Path(named).exists() and COPY not in os.environ:
        return ServeSettings()
    settings = settings_in_force()
    if "serve" in sys.argv:  # the parent: its workers begin with what it has read
        hold_settings(settings)
    return settings.serve


def settings_in_force() -> Settings:
    """A worker that cannot have what the others run with waits, and says so once: they serve meanwhile."""
    told = False
    while True:
        try:
            return load_settings()
        except SettingsDrift as error:
            if not told:
                write_json_lines()
                log_line("worker waits", level=logging.CRITICAL, reason=error.message)
            told = True
            time.sleep(WAIT_SECONDS)


def refuse_open_address(serve: ServeSettings) -> None:
    """Raises SettingsError where this process listens on more than loopback, and there are no tokens.

    The address is BentoML's own option, and may differ from serve.host.
    """
    if serve.read_tokens():
        return
    host = _bound_host()
    if host is not None and not ip_address(host).is_loopback:
        raise SettingsError(
            f"serve.tokens: none, but the service listens on {host}; expected at least one token "
            "({name, roles, sha256}), or `bentoml serve --host 127.0.0.1`",
            field="serve.tokens",
        )


def _bound_host() -> str | None:
    """The address of the socket that BentoML hands to its workers by number; None outside of a worker."""
    if "--fd" not in sys.argv:
        return None
    descriptor = os.dup(int(sys.argv[sys.argv.index("--fd") + 1]))
    with socket.socket(fileno=descriptor) as held:
        name = held.getsockname()
    return str(name[0]) if isinstance(name, tuple) else None


def serving() -> bool:
    """Whether this process serves, as parent or as worker; `bentoml build` imports the service, too."""
    return "serve" in sys.argv or "--fd" in sys.argv


def close_control_ports() -> None:
    """Take BentoML's process supervisor off the network.

    It binds two ports on 127.0.0.1, without any authentication: whoever is on the machine could start a command as the
    service's user, and read its environment. Nothing of ours speaks to it, so that it gets addresses within its own
    process; plugins (`bentoml serve --reload` has one) are processes, and get sockets in a folder of this user's.
    """
    for name in ("Arbiter", "ThreadedArbiter"):
        setattr(bentoml_supervision, name, _without_ports(getattr(bentoml_supervision, name)))


def _without_ports(arbiter: Any) -> Any:
    class Arbiter(arbiter):  # type: ignore[misc]
        def __init__(self, watchers: Any, endpoint: str, pubsub_endpoint: str, **options: Any) -> None:
            folder = tempfile.mkdtemp(prefix="ringside-") if options.get("plugins") else None
            place = "inproc://ringside" if folder is None else f"ipc://{folder}/"
            super().__init__(watchers, f"{place}control", f"{place}events", **options)
            if folder is not None:
                self.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)

    return Arbiter


silence_telemetry()
bentoml_usage.do_not_track.cache_clear()  # BentoML's command line has looked already, before the variable was set
if serving():
    begin_process()
close_control_ports()
_serve = serve_settings()
guard_connections(_serve.request_timeout.total_seconds(), _serve.keep_alive.total_seconds())
listen_fairly()
_worker = Worker()


@bentoml.service(
    name="ringside",
    workers=_serve.workers,
    traffic={"timeout": _serve.request_timeout.total_seconds() + SPARE_SECONDS},
    # BentoML's own metrics label every raw path, and its tracing costs more than all of the rest.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(application(_worker), path="/")
class PredictionService:
    """Answers with the champion, and keeps the record."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def open(self) -> None:
        try:
            refuse_open_address(_serve)
            sys.setswitchinterval(SWITCH_SECONDS)
            await _worker.start()
        except SettingsError as error:
            write_json_lines()
            log_line("service refused to start", level=logging.CRITICAL, reason=error.message, field=error.field)
            raise

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        await _worker.stop()


PredictionService.add_asgi_middleware(Front, worker=_worker)  # type: ignore[attr-defined]
