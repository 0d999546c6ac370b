"""The file systems that an installation writes to: what is free there, and how long the log can go on growing.

A file system that is full to the last byte refuses predictions, so that it is watched before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from record.db.database_url import parse_database_url
from record.settings import Settings

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # set by BentoML for its workers
RUNNING: Final = "bentoml"  # BentoML's home beside the artifacts, with the metrics' files


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system as this process's user has it, in bytes: what is kept for root is not free."""

    free: int
    size: int


def watched_folders(settings: Settings) -> dict[str, Path]:
    """What is watched on this host: the record where it is a file, the models, and the workers' metrics."""
    artifacts = settings.store.artifacts
    folders = {
        "artifacts": artifacts,
        "metrics": Path(os.environ.get(METRICS_FOLDER) or artifacts.parent / RUNNING),
    }
    parsed = parse_database_url(settings.store.database, "store.database")
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        folders["record"] = Path(parsed.database).absolute().parent
    return folders


def file_systems(folders: Mapping[str, Path]) -> dict[str, FileSystem]:
    """Each folder's file system; or that of the next one above it that is there. Left out: what cannot be read."""
    found = {}
    for name, folder in folders.items():
        try:
            stat = os.statvfs(_existing(folder))
        except OSError:
            continue
        found[name] = FileSystem(free=stat.f_bavail * stat.f_frsize, size=stat.f_blocks * stat.f_frsize)
    return found


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
