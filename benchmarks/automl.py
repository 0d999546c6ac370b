"""Ringside's retrain job beside other AutoML systems: the same rows, the same time, two cores.

    python -m benchmarks.automl --data FOLDER [--budget 60] [--systems ringside,flaml] [--tasks adult] [--repeats 3]
    python -m benchmarks.automl --data FOLDER --again flaml      measures that peer anew, and keeps what it finds
    python -m benchmarks.automl --data FOLDER --warm             warm retrains and memory instead

FOLDER holds Parquet files whose last column is the target. Each system has an environment of its own, made on first
use (H2O needs Java on the machine), and each fit a process of its own. What peers score is kept in
benchmarks/automl_peers.json, ours under the user's home until the product's code changes; a run that was broken off
goes on from there. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import automl_report
from benchmarks.automl_cells import Cell, Cells, missing
from benchmarks.automl_ranks import OURS, Standing, complete, standing, targets
from benchmarks.automl_systems import HERE, System, measure, systems
from benchmarks.automl_task import METRICS, Task
from benchmarks.automl_warm import report_warm
from benchmarks.environments import ENVIRONMENTS
from benchmarks.results import replace_section

PEERS = HERE / "automl_peers.json"
OWN = "automl_ringside.json"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.environments.mkdir(parents=True, exist_ok=True)
    only = set(filter(None, options.tasks.split(",")))
    tasks = [Task.read(path) for path in sorted(options.data.glob("*.parquet")) if not only or path.stem in only]
    if not tasks:
        raise SystemExit(f"--data {options.data}: no such Parquet file; expected one for each task")
    if options.warm:
        report = report_warm(tasks, options.budget, options.environments)
        print(report)
        if options.write:
            replace_section(HERE / "RESULTS.md", "automl-warm", f"## AutoML: warm retrains and memory\n\n{report}")
        return
    cells = list(_answers(tasks, [systems()[name] for name in options.systems.split(",")], options))
    standings = stand(tasks, cells, complete(cells, options.systems.split(","), [task.name for task in tasks]))
    if not standings:
        raise SystemExit("no system was asked about every task")
    found = targets(standings, [cell for cell in cells if cell.system == OURS], options.budget)
    metrics = {task.name: METRICS[task.kind] for task in tasks}
    said = automl_report.text(standings, cells, found, metrics, options.budget)
    print(said)
    if options.write:
        automl_report.draw(standings, HERE / "automl.png")
        head = "## AutoML\n\n`make bench-automl DATA=folder`: "
        picture = "\n![mean ranks, and how far behind the best on each task](automl.png)\n"
        replace_section(HERE / "RESULTS.md", "automl", head + said + picture)


def stand(tasks: Sequence[Task], cells: Sequence[Cell], ranked: Sequence[str]) -> list[Standing]:
    """Each task's standing among the ranked systems; none where no system is ranked."""
    if not ranked:
        return []
    last = max(cell.holdout for cell in cells)
    return [
        standing(
            task.name,
            [cell for cell in cells if cell.task == task.name],
            ranked,
            [task.dummy(holdout) for holdout in range(last + 1)],
            task.better,
        )
        for task in tasks
    ]


def _answers(tasks: Sequence[Task], chosen: Sequence[System], options: argparse.Namespace) -> Iterator[Cell]:
    """What is kept, and what is measured now; each cell is kept as soon as it is known."""
    peers, own = Cells(PEERS), Cells(options.environments / OWN)
    wanted = [
        Cell(task.name, system.name, holdout, options.budget, task.digest, system.version)
        for holdout in range(options.repeats)
        for task in tasks
        for system in chosen
    ]
    named = {task.name: task for task in tasks}
    asked = [] if options.kept else missing(wanted, [peers, own], options.again.split(","))
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, disable=not sys.stderr.isatty()) as progress:
        shown = progress.add_task("", total=len(asked))
        for place, question in enumerate(asked):
            what = f"{question.task}, holdout {question.holdout}, {question.system}"
            progress.update(shown, description=what)
            cell = measure(question, named[question.task], systems()[question.system], options.environments)
            (own if cell.system == OURS else peers).add(cell)
            progress.advance(shown)
            score = cell.error if cell.score is None else f"{cell.score:.5g}"
            progress.console.print(f"{place + 1} of {len(asked)}: {what}: {score}, {cell.seconds} s", markup=False)
    for question in wanted:
        held = own.get(question) or peers.get(question)
        if held is not None:
            yield held


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of Parquet files, the target last in each")
    parser.add_argument("--budget", type=int, default=60, help="seconds for each fit")
    parser.add_argument("--systems", default=",".join(systems()), help="comma-separated")
    parser.add_argument("--tasks", default="", help="names of files, comma-separated; all if not given")
    parser.add_argument("--repeats", type=int, default=3, help="holdouts of each task")
    parser.add_argument("--again", default="", help="systems that are measured though their results are kept")
    parser.add_argument("--kept", action="store_true", help="measure nothing: show what is kept")
    parser.add_argument("--warm", action="store_true", help="warm retrains beside cold ones, and memory")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    parser.add_argument("--write", action="store_true", help="put tables and plot into benchmarks/RESULTS.md")
    return parser


if __name__ == "__main__":
    main()
