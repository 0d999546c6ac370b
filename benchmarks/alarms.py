"""False alarms on quiet streams, and how soon something broken is found, for ours and six rivals.

    python -m benchmarks.alarms [--streams 4] [--quick] [--data folder] [--write]
    python -m benchmarks.alarms --data data --write       # with the real streams in data/streams

A method says one number a day. Its false alarms are the times at which that passes its own threshold on quiet
streams; then every method's threshold is scaled until all have spent the same budget, one alarm in a quarter, and at
that rate the days to detection are compared. About five minutes of one core for four streams.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import track

from benchmarks.alarm_methods import METHODS, Case
from benchmarks.alarm_real import REAL, real_case
from benchmarks.alarm_streams import CATEGORIES, FEATURES, IMPORTANCES, NAMES, Injected, stream
from benchmarks.results import replace_section, table

Floats = npt.NDArray[np.float64]
HERE = Path(__file__).parent

QUIET_DAYS, BROKEN_DAYS = 91, 30
LEVELS = {200: 60, 2_000: 30}  # rows a day → days of reference
BREAKS = {
    "mean +1 sd, one of 30": Injected("mean", (5,), 1.0),
    "mean +.5 sd, one of 30": Injected("mean", (5,), 0.5),
    "mean +.5 sd, key feature": Injected("mean", (0,), 0.5),
    "mean +.25 sd, ten of 30": Injected("mean", tuple(range(1, 11)), 0.25),
    "new category, 10 %": Injected("category", (25,), 0.1),
    "missing, 20 %": Injected("missing", (3,), 0.2),
    "unit slip ×1000": Injected("unit", (14,)),
    "gradual, +1 sd in 20 days": Injected("gradual", (5,), 1.0, days=20),
    "trifling, +.05 sd in all": Injected("trifling", tuple(range(FEATURES)), 0.05),
}


@dataclass(frozen=True, slots=True)
class Job:
    method: str
    rows: int
    kind: str  # "quiet", or a key of BREAKS
    seed: int


def series(job: Job) -> Floats:
    broken = BREAKS.get(job.kind)
    days = QUIET_DAYS if broken is None else BROKEN_DAYS
    made = stream(job.seed if broken is None else 1000 + job.seed, job.rows, LEVELS[job.rows], days, broken)
    case = Case(
        reference=made.reference,
        reference_days=(np.floor(made.reference_hours / 24) + 20_000).astype(np.int64),
        days=[made.day(day) for day in range(days)],
        categories=frozenset(range(FEATURES - CATEGORIES, FEATURES)),
        importances={NAMES.index(name): share for name, share in IMPORTANCES.items()},
        # Enough for both levels' days, so that all decide at the same times.
        min_rows=job.rows // 2,
    )
    return METHODS[job.method](case)


def episodes(found: Floats, threshold: float) -> int:
    """How often the series begins to be at the threshold or above."""
    above = found >= threshold
    return int(above[0]) + int((above[1:] & ~above[:-1]).sum())


def tuned(quiet: list[Floats]) -> float:
    """The smallest threshold down to which quiet streams spend no more than one alarm in 91 days.

    From above: further down the alarms run together, and one that never ends would count as one.
    """
    budget = sum(len(found) for found in quiet) / 91
    lowest = float(np.max(np.concatenate(quiet))) * 1.0001 + 1e-9
    for value in np.unique(np.concatenate(quiet))[::-1]:
        threshold = float(value) * 1.0001
        if sum(episodes(found, threshold) for found in quiet) > budget:
            break
        lowest = threshold
    return lowest


def delay(found: Floats, threshold: float) -> float:
    """The day of the first alarm, from 1; infinity without one."""
    above = np.flatnonzero(found >= threshold)
    return float(above[0]) + 1 if len(above) else float("inf")


def run(jobs: list[Job], workers: int) -> dict[Job, Floats]:
    held: dict[Job, Floats] = {}
    with ProcessPoolExecutor(workers) as pool:
        asked = {pool.submit(series, job): job for job in jobs}
        for done in track(as_completed(asked), "Streams", total=len(asked)):
            held[asked[done]] = done.result()
    return held


def main(
    streams: Annotated[
        int, typer.Option(help="Quiet streams at each level of traffic; half as many of each break.")
    ] = 4,
    data: Annotated[Path | None, typer.Option(help="Folder with streams/*.parquet, for the real streams.")] = None,
    quick: Annotated[bool, typer.Option(help="Two quiet streams: to see that it runs.")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    write: Annotated[bool, typer.Option(help="Put the table into RESULTS.md, and draw alarms.png.")] = False,
) -> None:
    """False alarms and days to detection. Example: python -m benchmarks.alarms --data data --write"""
    count = 2 if quick else streams
    jobs = [
        Job(method, rows, kind, seed)
        for rows in LEVELS
        for kind in ("quiet", *BREAKS)
        for seed in range(count if kind == "quiet" else max(1, count // 2))
        for method in METHODS
    ]
    found = run(jobs, workers)
    text = "\n".join(level_text(found, rows) for rows in LEVELS)
    if data is not None:
        text += real_text(data)
    print(text)
    if write:
        replace_section(HERE / "RESULTS.md", "alarms", f"## Drift alarms\n\n`make bench-alarms`\n\n{text}")
        draw(found, HERE / "alarms.png")


def quiet_of(found: dict[Job, Floats], rows: int, method: str) -> list[Floats]:
    return [values for job, values in found.items() if (job.rows, job.kind, job.method) == (rows, "quiet", method)]


def delays(found: dict[Job, Floats], rows: int, method: str, kind: str, threshold: float) -> float:
    """The median of the days to detection."""
    chosen = [v for job, v in found.items() if (job.rows, job.kind, job.method) == (rows, kind, method)]
    return float(np.median([min(delay(values, threshold), 1e9) for values in chosen]))


def level_text(found: dict[Job, Floats], rows: int) -> str:
    lines, first = [], []
    for method in METHODS:
        quiet = quiet_of(found, rows, method)
        threshold = tuned(quiet)
        rates = [np.mean([episodes(v, h) for v in quiet]) * 91 / QUIET_DAYS for h in (1.0, threshold)]
        cells = [days_text(delays(found, rows, method, kind, threshold)) for kind in BREAKS]
        lines.append([method, f"{rates[1]:.1f}", f"×{threshold:.2g}", *cells])
        days_above = np.mean([(values >= 1.0).mean() for values in quiet])
        own = [days_text(delays(found, rows, method, kind, 1.0)) for kind in BREAKS]
        first.append([method, f"{rates[0]:.1f}", f"{days_above:.0%}", *own])
    heads = ["", "false alarms a quarter"]
    count = len(quiet_of(found, rows, "Ringside"))
    return (
        f"{rows:,} rows a day, {count} quiet quarters; medians of days to detection, – is not within {BROKEN_DAYS}.\n\n"
        f"At their own thresholds:\n\n{table([*heads, 'days in alarm', *BREAKS], first)}\n"
        "At thresholds scaled to the budget of one false alarm a quarter:\n\n"
        f"{table([*heads, 'scaled', *BREAKS], lines)}\n"
    )


def days_text(days: float) -> str:
    return f"{days:g}" if days < 1e6 else "–"


def real_text(data: Path) -> str:
    lines = []
    for name in track(REAL, "Real streams"):
        case = real_case(data, name)
        cells = []
        for method in METHODS.values():
            first = delay(method(case), 1.0)
            cells.append("quiet" if first == float("inf") else f"day {first:g} of {len(case.days)}")
        lines.append([name, *cells])
    return (
        "Real streams at the methods' own thresholds; a day is so many rows in their order, the reference the "
        f"first part (`benchmarks/alarm_real.py`):\n\n{table(['', *METHODS], lines)}\n"
    )


def draw(found: dict[Job, Floats], path: Path) -> None:
    """Days to detection at the same false alarm rate: one panel a level, one mark a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(LEVELS), figsize=(13, 5.2), sharey=True)
    kinds = [kind for kind in BREAKS if not kind.startswith("trifling")]
    places = np.arange(len(kinds))
    for axis, rows in zip(axes, LEVELS, strict=True):
        for shift, method in enumerate(METHODS):
            threshold = tuned(quiet_of(found, rows, method))
            days = [min(delays(found, rows, method, kind, threshold), BROKEN_DAYS + 5) for kind in kinds]
            own = method == "Ringside"
            height = places + (shift - 3) * 0.1
            axis.scatter(days, height, s=70 if own else 30, label=method, zorder=3 if own else 2, alpha=0.9)
        axis.axvline(BROKEN_DAYS + 2.5, color="grey", linewidth=0.8, linestyle=":")
        axis.set_title(f"{rows:,} rows a day")
        axis.set_xlabel("days to detection (right of the line: not found)")
        axis.set_yticks(places, kinds)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    axes[-1].legend(loc="lower right", fontsize=8)
    figure.suptitle("At one false alarm a quarter")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
    sys.exit(0)
