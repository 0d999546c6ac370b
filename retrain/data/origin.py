"""What a run would be made from, as digests: another one says that the source or the training has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from record.canonical import canonical_json
from record.product_version import product_version
from record.settings import Settings
from retrain.data.lineage import library_versions
from retrain.data.source import count_rows, source_files

# A larger file is known by its size, its time, its beginning and its end: reading all of it takes seconds.
WHOLE_BYTES = 64 * 2**20
PART_BYTES = 2**20

# What says when a run is made, not what it makes.
WHEN = {
    "schedule", "check_every", "cooldown", "min_new_labels", "max_per_day", "max_age", "new_rows", "on_change", "cost",
    "value_of_loss", "payback", "memory_limit", "deadline",
}  # fmt: skip


def source_digest(settings: Settings) -> str | None:
    """Of the files' contents, or of a database's query and how many rows it gives; None without a source.

    Raises DataError where it cannot be read.
    """
    source = settings.data.source
    if source is None:
        return None
    if "://" in source:
        return _digest([settings.data.query, count_rows(source, settings.data.query)])
    return _digest([[path.name, _file_digest(path)] for path in source_files(source)])


def source_stamp(settings: Settings) -> Any:
    """What tells cheaply that a digest need not be worked out again: the files' sizes and times. None: it must."""
    source = settings.data.source
    if source is None or "://" in source:
        return None
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in source_files(source)]


def code_digest(settings: Settings) -> str:
    """Of the product's and the libraries' versions, and of every setting that decides what a run makes."""
    held = settings.model_dump(mode="json", include={"problem", "columns", "data", "retrain", "promotion"})
    chosen = {
        "problem": held["problem"],
        "columns": held["columns"],
        "include_labelled_log": held["data"]["include_labelled_log"],
        **{key: held["data"][key] for key in ("delimiter", "decimal", "encoding", "missing") if held["data"][key]},
        "retrain": {key: value for key, value in held["retrain"].items() if key not in WHEN},
        "loss": held["promotion"]["loss"],
    }
    return _digest([product_version(), library_versions(), chosen])


def _file_digest(path: Path) -> str:
    held = hashlib.blake2b(digest_size=16)
    stat = path.stat()
    with path.open("rb") as file:
        if stat.st_size <= WHOLE_BYTES:
            while chunk := file.read(PART_BYTES):
                held.update(chunk)
            return held.hexdigest()
        held.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
        held.update(file.read(PART_BYTES))
        file.seek(-PART_BYTES, 2)
        held.update(file.read())
    return held.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=16).hexdigest()
