"""What was measured, one cell for each task, system and holdout, kept in a JSON file as they finish."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cell:
    """`score` is None where the system failed, and `error` says how."""

    task: str
    system: str
    holdout: int
    budget: int  # seconds
    data: str  # the file's digest
    version: str  # of the system
    score: float | None = None
    seconds: float | None = None  # of the fit, in all
    memory_mb: int | None = None  # of the tree of processes, at its largest
    row_ms: float | None = None
    error: str | None = None
    at: str = ""
    machine: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> tuple[str, str, int, int, str, str]:
        """What was asked: a kept answer to the same question is not measured again."""
        return self.task, self.system, self.holdout, self.budget, self.data, self.version


class Cells:
    """The cells of a file. Safe to end at any moment: the file is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        held = json.loads(path.read_text()) if path.exists() else []
        self._cells = {cell.question: cell for cell in (Cell(**each) for each in held)}

    def __len__(self) -> int:
        return len(self._cells)

    def get(self, wanted: Cell) -> Cell | None:
        return self._cells.get(wanted.question)

    def add(self, cell: Cell) -> None:
        """Keeps the cell, and forgets what earlier versions of its system answered."""
        others = (replace(kept, version=cell.version).question == cell.question for kept in self._cells.values())
        stale = [kept for kept, same in zip(list(self._cells), others, strict=True) if same]
        for question in stale:
            del self._cells[question]
        self._cells[cell.question] = cell
        self._write()

    def _write(self) -> None:
        cells = sorted(self._cells.values(), key=lambda cell: cell.question)
        lines = ",\n".join(json.dumps(asdict(cell)) for cell in cells)
        part = self._path.with_suffix(".part")
        part.write_text(f"[\n{lines}\n]\n")
        os.replace(part, self._path)


def missing(wanted: Iterable[Cell], kept: Sequence[Cells], again: Sequence[str]) -> list[Cell]:
    """The questions that no file has an answer to, and those to the systems that are asked again."""
    return [cell for cell in wanted if cell.system in again or not any(cells.get(cell) for cells in kept)]
