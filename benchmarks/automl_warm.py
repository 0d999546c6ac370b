"""How soon a retrain that knows an earlier study is as good as a cold one, and how much memory a training takes.

Cold: a first training on all rows to learn from. Warm: a training on the older three fifths of them first, as it was
when the champion was made; then, with all rows there and a quarter of the budget, the retrain that is timed.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.automl_cells import Cell
from benchmarks.automl_ringside import predict, served, train
from benchmarks.automl_systems import SEED, THREADS, measure, systems
from benchmarks.automl_task import Task
from benchmarks.results import table

EARLIER = 0.6
WARM_SHARE = 0.25  # of the budget; reading, judging and packaging come on top
WANTED_SHARE = 0.3
AS_GOOD = 0.005  # of the range between dummy and cold: less than another seed changes
ROWS, FEATURES, WANTED_MB = 50_000, 20, 2048


@dataclass(frozen=True)
class Warm:
    task: str
    dummy: float
    cold: float
    warm: float
    cold_seconds: float
    warm_seconds: float
    refused: bool  # the gate kept the champion of the earlier rows

    @property
    def share(self) -> float:
        return self.warm_seconds / self.cold_seconds

    @property
    def behind(self) -> float:
        """How much the warm one lacks, of what the cold one gains over the dummy."""
        gained = abs(self.cold - self.dummy)
        return (gained - abs(self.warm - self.dummy)) / gained if gained else 0.0

    @property
    def met(self) -> bool:
        return self.behind <= AS_GOOD and self.share <= WANTED_SHARE


def report_warm(tasks: Sequence[Task], budget: int, environments: Path) -> str:
    """Both measurements as Markdown, each told as it comes."""
    lines = []
    for found in (measure_warm(task, budget) for task in tasks):
        print(found, flush=True)
        lines.append(
            [
                found.task,
                f"{found.dummy:.4g}",
                f"{found.cold:.5g}",
                f"{found.warm:.5g}" + (" (refused)" if found.refused else ""),
                f"{found.cold_seconds:.0f}",
                f"{found.warm_seconds:.0f}",
                f"{found.share:.0%}",
                f"{found.behind:+.2%}",
                "yes" if found.met else "**no**",
            ]
        )
    heads = ["task", "dummy", "cold", "warm", "cold s", "warm s", "share of time", "behind", "as good within 30 %"]
    cell = measure_memory(budget, environments)
    memory = f"{cell.memory_mb:,} MB at most" if cell.memory_mb is not None and cell.error is None else str(cell.error)
    return (
        f"`python -m benchmarks.automl --data FOLDER --warm --budget {budget}`: the score of a retrain on all rows "
        f"with {WARM_SHARE:.0%} of the budget, by a project whose champion was searched for on the earlier "
        f"{EARLIER:.0%}, beside a first training on all rows with the whole budget. Behind: of the cold "
        f"one's gain over the dummy.\n\n"
        f"{table(heads, lines)}\nA first training on {ROWS:,} rows of {FEATURES} columns: {memory} with all its "
        f"processes, {cell.seconds} s; {WANTED_MB:,} MB and {budget * 1.1 + 10:.0f} s are wanted.\n"
    )


def measure_warm(task: Task, budget: int) -> Warm:
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        task.write_job(folder, 0, budget, THREADS, SEED)
        everything, earlier = folder / "train.parquet", folder / "earlier.parquet"
        held = pd.read_parquet(everything)
        held.head(round(EARLIER * len(held))).to_parquet(earlier)
        job = json.loads((folder / "job.json").read_text())
        cold, cold_seconds = _timed(folder / "cold", job, everything)
        _timed(folder / "warm", job, earlier)
        short = job | {"budget_seconds": round(WARM_SHARE * budget)}
        made, warm_seconds = _timed(folder / "warm", short, everything)
        scores = [
            _score(task, folder, home, version, job["classes"])
            for home, version in (("cold", cold["version"]), ("warm", made["version"] or "v1"))
        ]
        refused = made["version"] is None
    return Warm(task.name, task.dummy(0), scores[0], scores[1], cold_seconds, warm_seconds, refused)


def _timed(home: Path, job: dict[str, Any], source: Path) -> tuple[dict[str, Any], float]:
    home.mkdir(exist_ok=True)
    began = time.monotonic()
    made = train(home, job, source)
    return made, time.monotonic() - began


def _score(task: Task, folder: Path, home: str, version: str, classes: list[str]) -> float:
    model, _ = served(folder / home, version)
    records = model.decoder.frame_records(pd.read_parquet(folder / "test.parquet"))
    target = pd.read_parquet(folder / "train.parquet", columns=[task.target])[task.target]
    return task.score(task.codes()[task.split(0)[1]], predict(model, records, target, classes))


def measure_memory(budget: int, environments: Path) -> Cell:
    """A training on ROWS × FEATURES, half of them categories, with the memory of its processes."""
    ours = systems()["ringside"]
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        path = Path(name) / "made.parquet"
        made_rows().to_parquet(path)
        task = Task.read(path)
    return measure(Cell(task.name, ours.name, 0, budget, task.digest, ours.version), task, ours, environments)


def made_rows(seed: int = 0) -> pd.DataFrame:
    """So many rows that ROWS are left to learn from when a quarter is held out."""
    rng = np.random.default_rng(seed)
    count = round(ROWS / 0.75)
    numbers = rng.normal(size=(count, FEATURES // 2))
    codes = rng.integers(0, 40, size=(count, FEATURES // 2))
    score = numbers[:, 0] + np.sin(2 * numbers[:, 1]) + 0.3 * (codes[:, 0] % 7) + 0.5 * (codes[:, 1] < 8)
    columns = dict(_named("n", numbers.T)) | dict(_named("c", np.char.add("k", codes.T.astype(str))))
    return pd.DataFrame(columns | {"y": np.where(score + rng.normal(size=count) > 1.0, "yes", "no")})


def _named(letter: str, columns: Any) -> Iterator[tuple[str, Any]]:
    return ((f"{letter}{place}", column) for place, column in enumerate(columns))
