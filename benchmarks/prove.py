"""Measures every target of `ringside prove`, and writes the table and its picture.

python -m benchmarks.prove [--quick] [--data FOLDER] [--write]
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from benchmarks.results import replace_section, table
from monitoring.prove.report import STATES, bound_words, target_line, value_words
from monitoring.prove.run import Done, Proof, prove
from monitoring.prove.target import Target

RESULTS = Path(__file__).parent / "RESULTS.md"
PICTURE = Path(__file__).parent / "prove.png"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--data", type=Path, help="a folder of Parquet streams")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md and the picture")
    parser.add_argument("--processes", type=int)
    given = parser.parse_args()
    proof = prove("quick" if given.quick else "whole", given.data, _show, processes=given.processes)
    print(markdown(proof))
    if given.write:
        replace_section(RESULTS, "prove", markdown(proof))
        draw(proof.targets, PICTURE)
    return 0 if proof.holds else 1


def _show(done: Done, count: int, cases: int) -> None:
    print(f"[{count}/{cases}] {done.name}, {done.seconds:.0f} s", file=sys.stderr, flush=True)
    for target in done.targets:
        print(f"  {target_line(target)}", file=sys.stderr, flush=True)


def markdown(proof: Proof) -> str:
    """The section of RESULTS.md."""
    quick = " --quick" if proof.effort == "quick" else ""
    lines = [
        [f"{target.group}: {target.title}", value_words(target), _bound(target), str(target.runs), STATES[target.holds]]
        for target in proof.targets
    ]
    head = (
        f"## What decisions promise\n\n`ringside prove{quick}`, {datetime.now(UTC):%Y-%m-%d}, {proof.seconds:.0f} s; "
        "simulated, so that it does not depend on the machine. ![](prove.png)\n\n"
    )
    return head + table(["target", "measured", "bound", "runs", "holds"], lines)


def draw(targets: tuple[Target, ...], path: Path) -> None:
    """Each target's value as a share of its bound, or the bound as a share of it where more is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [target for target in targets if target.value is not None and target.bound > 0]
    names = [f"{group}: {target.title}"[:90] for group, held in groupby(shown, lambda t: t.group) for target in held]
    used = [min(2.0, _used(target)) for target in shown]
    figure, axes = pyplot.subplots(figsize=(11, 0.26 * len(shown) + 1), layout="constrained")
    colours = ["#2e7d32" if target.holds else "#c62828" for target in shown]
    axes.barh(range(len(shown)), used, color=colours)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("used of the bound (beyond 1 it is missed)")
    figure.savefig(path, dpi=110)


def _used(target: Target) -> float:
    assert target.value is not None
    if target.relation == "at most":
        return target.value / target.bound
    return target.bound / target.value if target.value else 2.0


def _bound(target: Target) -> str:
    return f"{'≤' if target.relation == 'at most' else '≥'} {bound_words(target)}"


if __name__ == "__main__":
    sys.exit(main())
