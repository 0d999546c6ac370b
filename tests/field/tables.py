"""Small tables as people have them, written to files, and the path from there to what a model would learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from record.configuration.inspection import Inspection, inspect
from record.configuration.template import render_toml
from record.contract.decoder import Decoder
from record.contract.schema import SeenColumn
from record.settings import Settings, load_settings
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema

ROWS = 160
Content = str | bytes | Callable[[Path], object]


def orders(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """Orders with a number, a category, an amount and two classes; the same ones each time."""
    random = np.random.default_rng(7)
    amount = np.round(random.gamma(2, 40, rows), 2)
    late = np.where(amount + random.normal(0, 30, rows) > 70, "yes", "no")
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "city": random.choice(["Aachen", "Bonn", "Köln"], rows),
            "amount": amount,
            "y": late,
        }
    )
    return frame.assign(**columns)


def csv(frame: pd.DataFrame, **how: Any) -> str:
    return frame.to_csv(index=False, lineterminator="\n", **how)


def with_cells(frame: pd.DataFrame, column: str, value: Any, rows: tuple[int, ...] = (5, 50, 100)) -> pd.DataFrame:
    """The frame with other cells in a column."""
    cells = frame[column].astype(object).copy()
    cells.iloc[list(rows)] = value
    return frame.assign(**{column: cells})


@dataclass(frozen=True)
class Project:
    """A file, what `ringside init` says of it, and what training reads by the settings that it wrote."""

    inspection: Inspection
    settings: Settings
    data: Dataset

    @property
    def types(self) -> dict[str, tuple[str, str]]:
        return {column.name: (column.role, column.type) for column in self.inspection.columns}

    @property
    def notes(self) -> str:
        return "\n".join(f"{finding.column}: {finding.message}" for finding in self.inspection.findings)

    @property
    def classes(self) -> tuple[tuple[str, ...], str]:
        return self.data.schema.classes, self.data.schema.class_type

    def seen(self, column: str) -> SeenColumn:
        return self.data.schema.seen[column]

    @property
    def decoder(self) -> Decoder:
        return Decoder(self.data.schema)


def write(folder: Path, content: Content, name: str = "rows.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def project(folder: Path, content: Content, target: str = "y", name: str = "rows.csv") -> Project:
    """`init` on the file, then the rows that training reads. Raises DataError as either of them does."""
    path = write(folder, content, name)
    inspection = inspect(path, target)
    (folder / "ringside.toml").write_text(render_toml(inspection, name), encoding="utf-8")
    settings = load_settings(folder / "ringside.toml")
    return Project(inspection, settings, load(settings, problem_schema(settings, None), []))
