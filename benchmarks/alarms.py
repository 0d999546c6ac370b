"""False alarms on quiet streams, and how soon something broken is found, for ours and six rivals.

    python -m benchmarks.alarms [--streams 24] [--quick] [--data folder] [--write]
    python -m benchmarks.alarms --data data --write       # with the real streams in data/streams

A method is in alarm on a day or not. Its false alarms are how often that begins on quiet streams; then every method's
threshold is scaled until all have spent the same, one alarm in a quarter, and at that rate the days to detection are
compared. Ours is scaled as a user would scale it, by its budget. Each stream has a generator of its own; every method
sees the same ones. A stream takes ours three seconds of one core, all methods together ten.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from threadpoolctl import threadpool_limits

from benchmarks.alarm_answers import QUARTER_DAYS, Answer, delay, episodes, false_alarms, tuned
from benchmarks.alarm_case import Case
from benchmarks.alarm_methods import METHODS, NAMES
from benchmarks.alarm_ours import RINGSIDE
from benchmarks.alarm_real import REAL, real_case
from benchmarks.alarm_streams import CATEGORIES, FEATURES, IMPORTANCES, Injected, stream
from benchmarks.alarm_streams import NAMES as COLUMNS
from benchmarks.results import replace_section, table

HERE = Path(__file__).parent

QUIET_DAYS, BROKEN_DAYS = QUARTER_DAYS, 30
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


Answers = dict[Job, dict[str, Answer]]


def answer(job: Job) -> dict[str, Answer]:
    """What the method says of that stream, by the names under which it is compared."""
    broken = BREAKS.get(job.kind)
    days = QUIET_DAYS if broken is None else BROKEN_DAYS
    seed = [job.seed, job.rows, [*BREAKS].index(job.kind) + 1 if broken else 0]
    made = stream(seed, job.rows, LEVELS[job.rows], days, broken)
    case = Case(
        reference=made.reference,
        reference_days=(np.floor(made.reference_hours / 24) + 20_000).astype(np.int64),
        days=[made.day(day) for day in range(days)],
        categories=frozenset(range(FEATURES - CATEGORIES, FEATURES)),
        importances={COLUMNS.index(name): share for name, share in IMPORTANCES.items()},
        # Enough for both levels' days, so that all decide at the same times.
        min_rows=job.rows // 2,
    )
    return dict(METHODS[job.method](case))


def run(jobs: list[Job], workers: int) -> Answers:
    """Two threads beside a busy neighbour wait for each other: each process has one."""
    held: Answers = {}
    with ProcessPoolExecutor(workers, initializer=partial(threadpool_limits, 1)) as pool:
        asked = {pool.submit(answer, job): job for job in jobs}
        for done in track(as_completed(asked), "Streams", total=len(asked)):
            held[asked[done]] = done.result()
    return held


def main(
    streams: Annotated[
        int, typer.Option(help="Quiet streams at each level of traffic; half as many of each break.")
    ] = 24,
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
    scales = {rows: {name: tuned(of(found, rows, "quiet", name)) for name in NAMES} for rows in LEVELS}
    text = "\n".join(level_text(found, rows, scales[rows]) for rows in LEVELS)
    if data is not None:
        text += real_text(data)
    print(text)
    if write:
        replace_section(HERE / "RESULTS.md", "alarms", f"## Drift alarms\n\n`make bench-alarms`\n\n{text}")
        draw(found, scales, HERE / "alarms.png")


def of(found: Answers, rows: int, kind: str, name: str) -> list[Answer]:
    return [held[name] for job, held in found.items() if (job.rows, job.kind) == (rows, kind) and name in held]


def median_delay(answers: Sequence[Answer], scale: float) -> float:
    """In days."""
    return float(np.median([min(delay(answer.alarms(scale)), 1e9) for answer in answers]))


def level_text(found: Answers, rows: int, scales: dict[str, float]) -> str:
    own, scaled = [], []
    for name in NAMES:
        quiet = of(found, rows, "quiet", name)
        for lines, scale in ((own, 1.0), (scaled, scales[name])):
            alarms = [answer.alarms(scale) for answer in quiet]
            rate, spread = false_alarms(quiet, scale), np.std([episodes(days) for days in alarms])
            cells = [f"{rate:.1f} ± {2 * spread / len(quiet) ** 0.5:.1f}", f"{np.mean(np.concatenate(alarms)):.0%}"]
            if lines is scaled:
                cells.append(f"×{scale:.2g}")
            lines.append([name, *cells, *(days_text(median_delay(of(found, rows, k, name), scale)) for k in BREAKS)])
    heads = ["", "false alarms a quarter", "days in alarm"]
    count, broken = len(of(found, rows, "quiet", RINGSIDE)), len(of(found, rows, next(iter(BREAKS)), RINGSIDE))
    return (
        f"{rows:,} rows a day, {count} quiet quarters (± twice the standard error) and {broken} streams of each break: "
        f"medians of days to detection, – is not within {BROKEN_DAYS}.\n\n"
        f"At their own thresholds:\n\n{table([*heads, *BREAKS], own)}\n"
        "At thresholds scaled to the budget of one false alarm a quarter:\n\n"
        f"{table([*heads, 'scaled', *BREAKS], scaled)}\n"
    )


def days_text(days: float) -> str:
    return f"{days:g}" if days < 1e6 else "–"


def real_text(data: Path) -> str:
    lines = []
    for real in track(REAL, "Real streams"):
        case = real_case(data, real)
        found = {name: held for method in METHODS.values() for name, held in method(case).items()}
        first = [delay(found[name].alarms(1.0)) for name in NAMES]
        lines.append([real, *("quiet" if day == float("inf") else f"day {day:g} of {len(case.days)}" for day in first)])
    return (
        "Real streams at the methods' own thresholds; a day is so many rows in their order, the reference the "
        f"first part (`benchmarks/alarm_real.py`):\n\n{table(['', *NAMES], lines)}\n"
    )


def draw(found: Answers, scales: dict[int, dict[str, float]], path: Path) -> None:
    """Days to detection at the same false alarm rate: one panel a level, one mark a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(LEVELS), figsize=(13, 5.2), sharey=True)
    kinds = [kind for kind in BREAKS if not kind.startswith("trifling")]
    places = np.arange(len(kinds))
    for axis, rows in zip(axes, LEVELS, strict=True):
        for shift, name in enumerate(NAMES):
            medians = [median_delay(of(found, rows, kind, name), scales[rows][name]) for kind in kinds]
            days = [min(median, BROKEN_DAYS + 5) for median in medians]
            own = name == RINGSIDE
            height = places + (shift - 3.5) * 0.1
            axis.scatter(days, height, s=70 if own else 30, label=name, zorder=3 if own else 2, alpha=0.9)
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
