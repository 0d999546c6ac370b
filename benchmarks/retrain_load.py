"""What the champion's callers notice of a retrain: latency at a pace over real HTTP, without a run and during one.

    python -m benchmarks.retrain_load --write

`ringside up` serves flights while hey sends predict requests at a fixed rate. Each repeat measures twice, one after
the other: with no run, and from the moment that POST /retrain asked for one, so that its start, reading, search,
refit, packaging and registration all fall into it, and the shadow that follows. The order changes each time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import problem
from benchmarks.disturbance import withdraw
from benchmarks.load import Pace, hey
from benchmarks.results import replace_section, table
from benchmarks.ringside_server import copy_home, ringside_server, write_version
from benchmarks.servers import Running, running
from benchmarks.serving_processes import post, wait
from record.record import Record, open_record
from record.settings import load_settings

TARGET = 1.5  # p99 with a run, divided by p99 without
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True, slots=True)
class Pair:
    """One repeat, and how far the run came within it."""

    alone: Pace
    during: Pace
    stage: str
    trials: int
    run_seconds: float


def measure(folder: Path, rate: float, seconds: int, repeats: int, environments: Path) -> list[Pair]:
    frame = problem.flights()
    write_version(frame, folder)
    body = problem.rows_per_request(problem.records(frame, 50), 1)[0]
    home = folder / "retrained"
    copy_home(folder, "retrained")
    settings = {
        "RINGSIDE_RETRAIN__BUDGET": f"{max(5, int(seconds * 0.6))}s",  # the run ends within the measurement
        "RINGSIDE_RETRAIN__MODE": "full",
        "RINGSIDE_RETRAIN__COOLDOWN": "0",
        "RINGSIDE_RETRAIN__MAX_PER_DAY": "100",
    }
    with running(ringside_server(folder, "retrained"), environments, settings, folder / "retrained.log") as up:
        record = open_record(load_settings(home / "ringside.toml"))
        hey(up.url, body, rate=rate, seconds=3)  # warm
        pairs = []
        for repeat in range(repeats):
            first = None if repeat % 2 else hey(up.url, body, rate=rate, seconds=seconds)
            during, stage, trials, took = _during_run(up, record, body, rate, seconds)
            alone = first or hey(up.url, body, rate=rate, seconds=seconds)
            pairs.append(Pair(alone, during, stage, trials, took))
            print(_line(pairs[-1]), flush=True)
        record.close()
    return pairs


def _during_run(up: Running, record: Record, body: str, rate: float, seconds: int) -> tuple[Pace, str, int, float]:
    """The latency from asking for a run on, and what became of the run by then."""
    post(f"{up.base}/retrain", '{"reason": "the benchmark asks for it"}')
    begun = time.monotonic()
    pace = hey(up.url, body, rate=rate, seconds=seconds)
    run = record.runs.recent(1)[0]
    stage, progress = run.state, run.progress or {}
    wait(lambda: record.runs.active() is None, "the run's end")
    ended = record.runs.get(run.run_id)
    if ended.state != "succeeded":
        raise SystemExit(f"the run {ended.state}: {ended.outcome}")
    wait(lambda: ended.version is None or bool(record.bouts.opened()), "the bout")
    withdraw(up, record)
    stage = stage if stage != "running" else str(progress.get("stage"))
    trials = len(record.registry.version(ended.version).card["trials"]) if ended.version else 0
    return pace, stage, trials, ended.seconds or time.monotonic() - begun


def _line(pair: Pair) -> str:
    return (
        f"alone {pair.alone.p50 * 1e3:.2f} / {pair.alone.p99 * 1e3:.2f} ms, "
        f"during {pair.during.p50 * 1e3:.2f} / {pair.during.p99 * 1e3:.2f} ms, "
        f"× {pair.during.p99 / pair.alone.p99:.2f}; {pair.trials} trials, {pair.stage}, {pair.run_seconds:.0f} s"
    )


def report(pairs: Sequence[Pair], rate: float) -> str:
    rows = [
        [
            str(number),
            f"{pair.alone.p50 * 1e3:.2f} / {pair.alone.p99 * 1e3:.2f}",
            f"{pair.during.p50 * 1e3:.2f} / {pair.during.p99 * 1e3:.2f}",
            f"{pair.during.p99 / pair.alone.p99:.2f}",
            f"{pair.trials}",
            f"{pair.run_seconds:.0f}",
            str(pair.alone.failed + pair.during.failed),
        ]
        for number, pair in enumerate(pairs, 1)
    ]
    heads = ["repeat", "alone, p50 / p99 ms", "during a run", "× p99", "trials", "run, s", "failed"]
    ratio = ratio_of(pairs)
    return (
        "## The champion during a retrain\n\n"
        f"`python -m benchmarks.retrain_load`: {rate:,.0f} single-row requests a second, "
        f"{psutil.cpu_count()} processors, from the request for a run to past its registration.\n\n"
        f"{table(heads, rows)}\n"
        f"p99 during a run ÷ p99 without, median of the repeats: **{ratio:.2f}** (at most {TARGET} is wanted).\n"
    )


def ratio_of(pairs: Sequence[Pair]) -> float:
    """The median over the repeats: what else the machine does is nearest to the same within one of them."""
    return statistics.median(pair.during.p99 / pair.alone.p99 for pair in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second")
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "ringside-benchmarks")
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = measure(Path(folder), options.rate, options.seconds, options.repeats, options.environments)
    text = report(pairs, options.rate)
    print(text)
    if options.write:
        replace_section(RESULTS, "retrain load", text)
    raise SystemExit(0 if ratio_of(pairs) <= TARGET else 1)


if __name__ == "__main__":
    main()
