"""Real tables as reference and window: read by the product's own schema inference and decode step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from monitoring.windows import Window, reference_window
from record.configuration.inspection import inspect
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema, Schema, seen_columns


def parametrize_tables(metafunc: pytest.Metafunc) -> None:
    """One test per table of the folder given by --data."""
    folder: Path | None = metafunc.config.getoption("--data")
    names = sorted(folder.rglob("*.parquet")) if folder is not None and folder.is_dir() else []
    metafunc.parametrize("table", names or [None], ids=[name.stem for name in names] or ["none"])


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows can be made a reference with its schema, or a window of requests."""

    problem: ProblemSchema
    frame: pd.DataFrame
    folder: Path

    @classmethod
    def read(cls, path: Path, folder: Path) -> Table:
        found = inspect(path, parquet.read_schema(path).names[-1])
        problem = ProblemSchema(found.task, found.target, found.columns)
        return cls(problem, pd.read_parquet(path, columns=[column.name for column in problem.features]), folder)

    def __len__(self) -> int:
        return len(self.frame)

    def schema(self, rows: npt.NDArray[np.int64]) -> Schema:
        """What training on these rows would have seen."""
        seen = seen_columns(self.problem, Decoder(self.problem).decode_frame(self.frame.iloc[rows]))
        return Schema(self.problem, seen, classes=("no", "yes"))

    def window(self, rows: npt.NDArray[np.int64]) -> Window:
        reference = self.frame.iloc[rows].reset_index(drop=True).to_parquet(None)
        held = reference_window(reference, Schema(self.problem, {}, classes=("no", "yes")))
        numbers = {name: values for name, values in held.numbers.items() if name != "prediction"}
        return Window(None, None, held.rows, numbers, held.categories, tuple(f"r{row}" for row in rows))

    def split(self, seed: int, current: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows at random: those of a reference (as a package holds it, 20,000 at most), and those of a window."""
        order = np.random.default_rng(seed).permutation(len(self))
        return np.sort(order[current : current + 20_000]), np.sort(order[:current])
