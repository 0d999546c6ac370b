"""False drift alarms by the length of the reference and by how much a day's weather stays in the next.

    nice python -m benchmarks.references [--quarters 24] [--write]

Twelve features, 200 requests a day, nothing drifts: a feature's days differ by .15 standard deviations of the rows,
and each carries the share φ of the day before. Short references know such weather badly, and long waves outlast them.
The replay is the code that decides in production; the budget is one alarm a quarter.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from benchmarks.results import replace_section, table
from monitoring.prove.drift_cases import QUARTER, SHIFT_DAY, WATCHED_DAYS, World, replay_world

HERE = Path(__file__).parent
DEVIATION = 0.15
CASES = [(14, 0.7), (28, 0.95), (14, 0.95), (42, 0.7), (90, 0.95)]
SHIFT = 1.0
BUDGET = 1.0


def alarms(reference_days: int, carried: float, seed: int) -> int:
    """Alarms in a quiet quarter."""
    rng = np.random.default_rng([seed, reference_days, round(100 * carried)])
    return replay_world(rng, World(DEVIATION, carried), reference_days, QUARTER).episodes


def days_to_find(reference_days: int, carried: float, seed: int) -> float:
    """From a shift of one feature by one standard deviation to an alarm behind it; infinite where there is none."""
    rng = np.random.default_rng([seed, reference_days, round(100 * carried), 1])
    replay = replay_world(rng, World(DEVIATION, carried), reference_days, SHIFT_DAY + WATCHED_DAYS, SHIFT)
    later = np.flatnonzero(replay.alarms[SHIFT_DAY:])
    return float(later[0] + 1) if len(later) and not replay.alarms[SHIFT_DAY - 1] else float("inf")


def measure(quarters: int, processes: int) -> list[list[str]]:
    lines = []
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for days, carried in CASES:
            quiet = list(pool.map(partial(alarms, days, carried), range(quarters)))
            found = list(pool.map(partial(days_to_find, days, carried), range(quarters)))
            mean, error = float(np.mean(quiet)), float(np.std(quiet, ddof=1)) / quarters**0.5
            middle = float(np.median(found))
            told = f"{middle:.0f}" if np.isfinite(middle) else f"not in {WATCHED_DAYS}"
            within = "yes" if mean <= BUDGET else "**no**"
            lines.append([f"{days} days", f"{carried:.2f}", f"{mean:.2f} ± {error:.2f}", told, within])
            print(" | ".join(lines[-1]), flush=True)
    return lines


def main(
    quarters: Annotated[int, typer.Option(help="simulated for each case")] = 12,
    processes: Annotated[int, typer.Option(help="that simulate")] = 1,
    write: Annotated[bool, typer.Option(help="put the table into benchmarks/RESULTS.md")] = False,
) -> None:
    lines = measure(quarters, processes)
    if write:
        said = (
            "## Drift alarms on short references\n\n"
            f"`nice python -m benchmarks.references --quarters {quarters} --write`, simulated: it does not depend on "
            f"the machine ({datetime.now(UTC).date()}). Twelve features, 200 requests a day, days that differ by "
            f"{DEVIATION} standard deviations of the rows and carry the share φ of the day before; {quarters} quarters "
            "of each case. Budget: one alarm a quarter. Days until a shift of one standard deviation in one feature "
            "is found, in the middle run.\n\n"
        )
        heads = ["reference", "φ", "alarms a quarter where nothing drifts", "days to a shift of 1 sd", "within budget"]
        replace_section(HERE / "RESULTS.md", "references", said + table(heads, lines))


if __name__ == "__main__":
    sys.exit(typer.run(main))
