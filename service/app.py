"""The prediction service under BentoML: workers, sockets, life cycle. Served with `bentoml serve .`.

The only import of bentoml. Importing this starts nothing: every worker and their parent do it. What a worker holds
is opened by the start-up hook, and everything a request meets is in `service.http.front` and `service.http.routes`.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import bentoml

from record.configuration.sections import ServeSettings
from record.errors import SettingsError
from record.log_lines import log_line, write_json_lines
from record.settings import load_settings
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


def serve_settings() -> ServeSettings:
    """[serve] of the settings; its defaults where there is no ringside.toml, as when a Bento is built."""
    named = os.environ.get("RINGSIDE_CONFIG", "ringside.toml")
    return load_settings().serve if Path(named).exists() else ServeSettings()


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


_serve = serve_settings()
guard_connections(_serve.request_timeout.total_seconds())
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
