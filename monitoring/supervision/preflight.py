"""The checks that `ringside up` makes before it starts anything: each failure is one sentence, not a restart loop."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import sqlalchemy as sa

from record.errors import SettingsError
from record.ownership import make_folder
from record.record import open_record
from record.settings import Settings


def check_folders(settings: Settings, run_folder: Path) -> None:
    """Raise SettingsError where a folder that the service or the watcher writes to cannot be written."""
    _check_writable(run_folder, "store.artifacts", "the folder beside the models")
    _check_writable(settings.store.artifacts, "store.artifacts", "the models' folder")
    try:
        tempfile.gettempdir()
    except OSError:
        tried = ", ".join(filter(None, (os.environ.get("TMPDIR"), "/tmp", "/var/tmp")))
        raise SettingsError(
            f"no folder for temporary files can be written ({tried}); expected TMPDIR to name one that can"
        ) from None


def check_address(host: str, port: int) -> None:
    """Raise SettingsError where the service could not listen on this address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the service does: no wait for old ones
            trial.bind((host, port))
            trial.listen(1)
    except OSError as error:
        raise SettingsError(
            f"serve.port: {port} on {host} cannot be listened on: {os.strerror(error.errno or 0)}; "
            "expected an address of this machine and a port that no other program uses",
            field="serve.port",
        ) from None


def check_record(settings: Settings) -> None:
    """Raise SettingsError where the record cannot be opened; bring its tables to this code's revision."""
    try:
        open_record(settings).close()
    except (sa.exc.DBAPIError, OSError) as error:
        raise SettingsError(
            f"store.database: {_place(settings)} cannot be opened: {_first_line(error)}; expected a database that "
            "answers, and files that this user may read and write",
            field="store.database",
        ) from None


def _check_writable(folder: Path, field: str, name: str) -> None:
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"{field}: {name}, {folder}, cannot be written: {os.strerror(error.errno or 0)}; expected a folder that "
            "this user may write to",
            field=field,
        ) from None


def _place(settings: Settings) -> str:
    """The database without the user, the password and the options of its URL."""
    url = sa.engine.make_url(settings.store.database)
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"{url.database} on {url.host or 'this machine'}" + (f":{url.port}" if url.port else "")


def _first_line(error: Exception) -> str:
    text = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else (getattr(error, "strerror", None) or str(error))
    return next(iter(text.strip().splitlines()), type(error).__name__)
