"""Small problems to learn: frames made by rule, settings for them, and a record beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from record.clock import ManualClock
from record.configuration.inspection import inspect
from record.configuration.template import render_toml
from record.db.database import Database
from record.record import Record
from record.settings import Settings, load_settings
from tests.records import record_on

Kind = Literal["binary", "several", "regression"]
START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = {
    "distance": {"type": "number"},
    "seats": {"type": "number"},
    "carrier": {"type": "category"},
    "gate": {"type": "category"},
    "note": {"type": "text", "role": "carried"},
}


def make_frame(kind: Kind, rows: int, seed: int = 0, *, noise: float = 0.5, since: datetime = START) -> pd.DataFrame:
    """Rows an hour apart. The target follows distance and carrier; `gate` has many rare values, `seats` gaps."""
    generator = np.random.default_rng(seed)
    distance = generator.normal(500.0, 200.0, rows).round(1)
    seats = generator.integers(50, 300, rows).astype(np.float64)
    seats[generator.random(rows) < 0.15] = np.nan
    carrier = generator.choice(np.array(["AA", "B6", "UA", "ü√"], dtype=object), rows, p=[0.5, 0.3, 0.15, 0.05])
    gates = (generator.pareto(1.0, rows) * 3).astype(int).clip(0, 500)
    gate = np.array([None if g == 1 else f"g{g}" for g in gates], dtype=object)
    pull = (distance - 500.0) / 200.0 + (carrier == "UA") * 1.5 - (carrier == "B6") + np.nan_to_num(seats - 175) / 200
    raw = pull + generator.normal(0.0, noise, rows)
    target: Any = 1e6 + 2e4 * raw
    if kind == "binary":
        target = np.where(raw > 0.3, "late", "on_time")
    elif kind == "several":
        target = np.array(["early", "late", "on_time"])[np.searchsorted([-0.5, 0.7], raw)]
    return pd.DataFrame(
        {
            "distance": distance,
            "seats": seats,
            "carrier": carrier,
            "gate": gate,
            "note": [f"row {row}" for row in range(rows)],
            "at": [since + timedelta(hours=row) * min(1.0, 9_000 / rows) for row in range(rows)],  # within 375 days
            "outcome": target,
        }
    )


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with ringside.toml and its data, and an open record."""

    folder: Path
    settings: Settings
    record: Record
    clock: ManualClock

    def request(self) -> str:
        """A running run's id; each is asked for a second after the last."""
        self.clock.advance(timedelta(seconds=1))
        run = self.record.runs.request("command", "ann", "a test")
        self.record.runs.start(run.run_id, self.clock.now())
        return run.run_id


def write_settings(folder: Path, kind: Kind, source: str | None, more: Mapping[str, Mapping[str, Any]]) -> Settings:
    """ringside.toml in the folder, with what `more` says besides."""
    classification = kind != "regression"
    sections: dict[str, dict[str, Any]] = {
        "problem": {
            "name": "flights",
            "task": "classification" if classification else "regression",
            "target": "outcome",
            "time_column": "at",
        },
        "data": {} if source is None else {"source": source},
        "retrain": {"trials": 3, "memory_limit": "3GB"},
        "promotion": {"loss": "brier" if classification else "absolute"},
        **{f"columns.{name}": dict(column) for name, column in COLUMNS.items()},
    }
    for name, keys in more.items():
        sections[name] = {key: value for key, value in {**sections.get(name, {}), **keys}.items() if value is not None}
    text = "\n\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())])
        for name, keys in sections.items()
    )
    (folder / "ringside.toml").write_text(text, encoding="utf-8")
    return load_settings(folder / "ringside.toml")


def make_project(
    folder: Path,
    database: Database,
    kind: Kind = "binary",
    rows: int = 800,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    frame: pd.DataFrame | None = None,
) -> Project:
    held = make_frame(kind, rows) if frame is None else frame
    held.to_parquet(folder / "flights.parquet", index=False)
    store = {"store": {"database": database.url}}
    settings = write_settings(folder, kind, "flights.parquet", {**store, **(more or {})})
    clock = ManualClock(START + timedelta(days=400))
    return Project(folder, settings, record_on(database, settings.store.artifacts, clock), clock)


def make_project_like_init(
    folder: Path,
    database: Database,
    frame: pd.DataFrame,
    target: str,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Project:
    """With the columns and roles that `ringside init` proposes, and what `more` says besides."""
    frame.to_csv(folder / "rows.csv", index=False)
    held = tomllib.loads(render_toml(inspect(folder / "rows.csv", target), "rows.csv", name="rows"))
    for name, keys in {"store": {"database": database.url}, **(more or {})}.items():
        held[name] = {**held.get(name, {}), **keys}
    settings = Settings(folder=folder, **held)
    clock = ManualClock(START + timedelta(days=400))
    return Project(folder, settings, record_on(database, settings.store.artifacts, clock), clock)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
