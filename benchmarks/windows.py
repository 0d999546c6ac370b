"""How long a drift check of a large window takes, and how much memory, beside Evidently reading the same window whole.

    python -m benchmarks.windows                       both sizes: about ten minutes, most of them the peer's
    python -m benchmarks.windows --only 100000x200 --no-peer

Fills a real SQLite record through the product's own log, then runs the real drift check in a process of its own: the
first one of a watcher, which reads the reference, learns its chance, decides and draws, and the next one, as it runs
every 15 minutes. One column has drifted, so that everything is drawn that ever is. Replaces its section of
benchmarks/RESULTS.md with --write. Exit code 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from benchmarks.results import replace_section, table
from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema, Schema, seen_columns
from record.logged import Batch, LogEntry, new_id
from record.record import open_record
from record.settings import load_settings
from tests.monitoring.arena import logistic

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
WINDOW = timedelta(days=7)
REFERENCE_ROWS = 20_000  # as retrain.package keeps
BATCH = 5_000
PEER_DEADLINE_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Size:
    rows: int
    columns: int
    seconds: float  # the bound
    gigabytes: float = 2.0

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.columns}"


SIZES = (Size(1_000_000, 20, 60.0), Size(100_000, 200, 120.0))


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    peak_gigabytes: float
    facts: dict[str, Any]


def frame_of(rows: int, columns: int, rng: np.random.Generator, shift: float = 0.0) -> pd.DataFrame:
    """Three quarters numbers of several shapes, one quarter categories of 3 to 300 levels; the first may be shifted."""
    held: dict[str, Any] = {}
    for place in range(columns):
        if place % 4 == 3:
            levels = (3, 12, 60, 300)[place // 4 % 4]
            names = np.array([f"level {level}" for level in range(levels)], dtype=object)
            weights = 1 / np.arange(1, levels + 1)
            held[f"c{place}"] = rng.choice(names, rows, p=weights / weights.sum())
        elif place % 4 == 2:
            held[f"n{place}"] = rng.poisson(3, rows).astype(np.float64)
        else:
            held[f"n{place}"] = np.round(rng.lognormal(0, 0.7, rows) if place % 4 else rng.normal(size=rows), 4)
    held["n0"] = held["n0"] + shift
    return pd.DataFrame(held)


def build(folder: Path, size: Size) -> Path:
    """A record with a champion and its log; the path of its settings."""
    rng = np.random.default_rng(0)
    reference = frame_of(REFERENCE_ROWS, size.columns, rng)
    columns = tuple(
        Column(name, "feature", "category" if reference[name].dtype == object or name[0] == "c" else "number")
        for name in reference
    )
    sections = "\n".join(f'[columns.{c.name}]\nrole = "feature"\ntype = "{c.type}"' for c in columns)
    toml = folder / "ringside.toml"
    toml.write_text(
        f'[problem]\ntask = "classification"\ntarget = "late"\n{sections}\n[drift]\nwindow = "7d"\n'
        f'[store]\ndatabase = "sqlite:///{folder}/record.db"\nartifacts = "{folder}/artifacts"\n'
    )
    problem = ProblemSchema("classification", "late", columns, positive_class="yes")
    seen = seen_columns(problem, Decoder(problem).decode_frame(reference))
    schema = Schema(problem, seen, classes=("no", "yes"))
    record = open_record(load_settings(toml))
    stage = record.artifacts.stage()
    (stage / "model.onnx").write_bytes(logistic(1.0))  # the check never loads it
    (stage / "schema.json").write_text(schema.to_json())
    reference.assign(**{"probability.yes": rng.random(REFERENCE_ROWS)}).to_parquet(stage / "reference.parquet")
    parquet.write_table(pa.table({"record": ["{}"], "expected": ["[0.5, 0.5]"]}), stage / "golden.parquet")
    record.registry.register(
        stage, run_id=None, parent=None, card={}, read_until_seq=0, data_until=None, actor="benchmark", as_champion=True
    )
    for batch in batches(size, rng):
        record.log.append([batch])
    record.close()
    return toml


def batches(size: Size, rng: np.random.Generator) -> Iterator[Batch]:
    """The window's requests in order, as the service hands them to the log."""
    every = (WINDOW - timedelta(hours=1)) / size.rows
    for start in range(0, size.rows, BATCH):
        frame = frame_of(min(BATCH, size.rows - start), size.columns, rng, shift=1.0)
        entries = []
        for record, probability in zip(frame.to_dict("records"), rng.random(len(frame)).tolist(), strict=True):
            said = json.dumps({"no": 1 - probability, "yes": probability})
            entries.append(LogEntry(new_id(), os.urandom(16), json.dumps(record), '"yes"', said, None, 100))
        yield Batch(entries, "v1", AS_OF - WINDOW + timedelta(minutes=30) + every * start)


def check(toml: Path) -> dict[str, Any]:
    """In the child: the first check, which decides, and the next one."""
    from monitoring.drifting.check import DriftCheck

    settings = load_settings(toml)
    record = open_record(settings, migrate=False)
    drift = DriftCheck(settings, record)
    seconds = []
    for as_of in (AS_OF, AS_OF + timedelta(minutes=15)):
        started = time.perf_counter()
        assert drift.run(None, as_of) is not None
        seconds.append(time.perf_counter() - started)
    event = record.events.page(kind="drift_checked", limit=10)[0][0]
    numbers = event.data["numbers"]
    record.close()
    return {
        "seconds": seconds[0],
        "next_seconds": seconds[1],
        "rows": numbers["window_rows"],
        "sampled": numbers["sampled"],
        "smallest_shift": numbers["smallest_shift"],
        "drifted": list(event.data["drifted"]),
        "page": event.data["report"] is not None,
        "auc": numbers["domain_classifier"]["auc"],
        "peak_gigabytes": peak_gigabytes(),
    }


def peer(toml: Path) -> dict[str, Any]:
    """In the child: Evidently's drift preset over the whole window, read with pandas."""
    os.environ["DO_NOT_TRACK"] = "1"
    started = time.perf_counter()
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    settings = load_settings(toml)
    record = open_record(settings, migrate=False)
    with record.database.read() as connection:
        texts = pd.read_sql_query("SELECT record FROM predictions ORDER BY requested_at, seq", connection)["record"]
    current = pd.DataFrame(list(map(json.loads, texts)))
    reference = pd.read_parquet(next(settings.store.artifacts.glob("**/reference.parquet")))[list(current)]
    record.close()
    definition = DataDefinition(
        numerical_columns=[name for name in current if name[0] == "n"],
        categorical_columns=[name for name in current if name[0] == "c"],
    )
    snapshot = Report([DataDriftPreset()]).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    snapshot.get_html_str(as_iframe=False)
    return {"seconds": time.perf_counter() - started, "peak_gigabytes": peak_gigabytes()}


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def in_a_child(what: str, toml: Path, deadline: float | None = None) -> dict[str, Any] | None:
    """What the child measured of itself; None where it did not finish in time."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.windows", "--child", what, str(toml)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=deadline)
    except subprocess.TimeoutExpired:
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(size: Size, *, with_peer: bool) -> tuple[list[list[str]], bool]:
    """The table's lines, and whether the bounds hold."""
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        started = time.perf_counter()
        toml = build(folder, size)
        megabytes = (folder / "record.db").stat().st_size / 1e6
        print(f"{size.name}: {megabytes:,.0f} MB logged in {time.perf_counter() - started:.0f} s", flush=True)
        own = in_a_child("check", toml)
        assert own is not None
        print(f"{size.name}: {json.dumps(own)}", flush=True)
        other = in_a_child("peer", toml, PEER_DEADLINE_SECONDS) if with_peer else None
        print(f"{size.name}: Evidently alone {json.dumps(other)}", flush=True)
    holds = own["seconds"] <= size.seconds and own["peak_gigabytes"] <= size.gigabytes
    holds = holds and own["sampled"] >= 50_000 and own["drifted"] == ["n0"] and own["page"]
    window = f"{size.rows:,} × {size.columns}"
    seen = [f"{own['sampled']:,}", f"{own['smallest_shift']:.3f}"]
    lines = [
        [window, "ringside, first check", f"{own['seconds']:.1f} s", f"{own['peak_gigabytes']:.2f} GB", *seen],
        [
            window,
            "ringside, every 15 minutes",
            f"{own['next_seconds']:.1f} s",
            f"{own['peak_gigabytes']:.2f} GB",
            *seen,
        ],
    ]
    if with_peer:
        late = f"> {PEER_DEADLINE_SECONDS} s, ended"
        figures = [f"{other['seconds']:.1f} s", f"{other['peak_gigabytes']:.2f} GB"] if other else [late, "–"]
        lines.append([window, "Evidently alone, all rows", *figures, f"{size.rows:,}", "–"])
    return lines, holds


def section(lines: list[list[str]]) -> str:
    heads = ["window", "what", "time", "peak memory", "rows looked at", "smallest shift (sd)"]
    bounds = ", ".join(f"{size.rows:,} × {size.columns} in {size.seconds:.0f} s and 2 GB" for size in SIZES)
    return (
        "## Drift checks of large windows\n\n"
        "`make bench-windows`: a SQLite record filled through the log, the real check in a process of its own (two "
        "cores), with Evidently's import, the domain classifier, the data's checks and both pages. "
        f"Bounds: {bounds}.\n\n{table(heads, lines)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[size.name for size in SIZES])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--write", action="store_true", help="replace the section of benchmarks/RESULTS.md")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "TOML"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, toml = given.child
        print(json.dumps({"check": check, "peer": peer}[what](Path(toml))))
        return 0
    lines, held = [], True
    for size in SIZES:
        if given.only in (None, size.name):
            measured, holds = measure(size, with_peer=not given.no_peer)
            lines += measured
            held = held and holds
    text = section(lines)
    print(text)
    if given.write:
        replace_section(Path(__file__).parent / "RESULTS.md", "windows", text)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
