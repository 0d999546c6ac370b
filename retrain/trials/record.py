"""A search's finished trials on disk, beside the run: what kill -9 leaves, and another process goes on from.

One JSON line per trial, written in one call when the trial has ended, so that at most the trial under way is lost.
Optuna's own journal is not used for it: its lock file survives kill -9 and holds the next process up, and a line
torn by the kill spoils the one behind it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from record.canonical import canonical_json
from record.ownership import give_to_owner, make_folder

FILE = "trials.jsonl"
FOLDER = ".runs"


class TrialRecord:
    """The trials of one search. For one process at a time."""

    def __init__(self, folder: Path, search: Mapping[str, Any]) -> None:
        """`search` says what the trials belong to; trials of any other search (changed data, settings) are dropped."""
        self._path = folder / FILE
        self._first = {"search": blake2b(canonical_json(search).encode(), digest_size=16).hexdigest()}
        lines = _whole_lines(self._path)
        self.kept: tuple[dict[str, Any], ...] = tuple(lines[1:]) if lines[:1] == [self._first] else ()
        make_folder(folder)
        # Written anew without what the kill tore; renamed, so that a kill here loses nothing either.
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(_line(held) for held in (self._first, *self.kept)), encoding="utf-8")
        give_to_owner(fresh)
        fresh.rename(self._path)

    def append(self, trial: Mapping[str, Any], answers: npt.NDArray[np.float64] | None = None) -> None:
        """Keeps a finished trial; `answers` are its models' on the judged rows, for an ensemble to be chosen from."""
        if answers is not None:
            path = self._answers(trial)
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                np.save(file, answers, allow_pickle=False)
            give_to_owner(fresh)
            fresh.rename(path)
        with self._path.open("ab", buffering=0) as file:
            file.write(_line(trial).encode())

    def answers(self, trial: Mapping[str, Any]) -> npt.NDArray[np.float64] | None:
        """What was kept with the trial; None where that cannot be read."""
        try:
            return np.asarray(np.load(self._answers(trial), allow_pickle=False), dtype=np.float64)
        except (OSError, ValueError, EOFError):
            return None

    def _answers(self, trial: Mapping[str, Any]) -> Path:
        return self._path.parent / f"answers-{trial['trial']['number']}.npy"


def run_folder(artifacts: Path, run_id: str) -> Path:
    return artifacts / FOLDER / run_id


def forget_runs(artifacts: Path, but: str | None = None) -> None:
    """Removes the trials of runs that are over: one run is active at a time, and only that one can go on."""
    for folder in (artifacts / FOLDER).glob("*"):
        if folder.name != but:
            shutil.rmtree(folder, ignore_errors=True)


def _whole_lines(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    held = []
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        try:
            held.append(json.loads(line))
        except ValueError:
            break
    return held


def _line(value: Any) -> str:
    return json.dumps(value) + "\n"
