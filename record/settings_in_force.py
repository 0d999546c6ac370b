"""The settings that a running service answers and logs by, which the file may no longer say."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from record.configuration.settings_copy import CONFIG, COPY, DIGEST, hold_copy, names_copy
from record.errors import SettingsError
from record.settings import Settings, parse_settings


def up_copy(settings: Settings) -> Path:
    """Where `ringside up` keeps the text that it read: beside its lock."""
    return settings.store.artifacts.parent / "up.toml"


def up_runs(settings: Settings) -> bool:
    """Whether `ringside up` runs on this host's record folder: it holds its lock for as long as it lives."""
    try:
        with (settings.store.artifacts.parent / "up.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def hold_settings(settings: Settings) -> None:
    """Have the processes that this one starts read what it has read, unless it has them from its own starter."""
    if settings.path is None or names_copy(settings.path, os.environ):
        return
    copy = hold_copy(settings.text)
    if copy is not None:
        os.environ.update({CONFIG: str(settings.path), COPY: copy, DIGEST: settings.digest()})


def file_changed(settings: Settings) -> bool:
    """Whether the file says something else by now than what was read."""
    if settings.path is None:
        return False
    try:
        return settings.path.read_text(encoding="utf-8") != settings.text
    except (OSError, ValueError):
        return True


def settings_status(settings: Settings) -> dict[str, Any]:
    """The digest in force, and whether the file has changed since. On the command line: those of the running `up`."""
    if settings.path is not None and not names_copy(settings.path, os.environ) and up_runs(settings):
        with suppress(OSError, ValueError, SettingsError):
            text = up_copy(settings).read_text(encoding="utf-8")
            settings = settings if text == settings.text else parse_settings(text, settings.path)
    return {"digest": settings.digest(), "file_changed": file_changed(settings)}
