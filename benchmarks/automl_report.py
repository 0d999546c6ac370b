"""The AutoML benchmark in Markdown and as a picture: ranks, targets, every task, and what each system cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.automl_cells import Cell
from benchmarks.automl_ranks import OURS, Rank, Standing, Target, critical_difference, mean_ranks
from benchmarks.results import table

FAR = 0.5  # of the range: the picture ends there


def text(
    standings: Sequence[Standing],
    cells: Sequence[Cell],
    found: Sequence[Target],
    metrics: Mapping[str, str],
    budget: int,
) -> str:
    """The section of RESULTS.md; `cells` are all that were asked, `standings` those of the ranked systems."""
    ranks = mean_ranks(standings)
    parts = [_said(ranks, standings, cells, budget), costs(ranks, cells)]
    if found:
        parts.append(of_targets(found))
    parts += ["Scores on the holdout, means over the holdouts that all were asked about; the best is bold:\n"]
    parts.append(of_tasks(standings, [rank.system for rank in ranks], metrics))
    parts.append("How far behind the best, in per cent of its lead over the dummy:\n")
    parts.append(gaps(standings, [rank.system for rank in ranks]))
    extra = partial(cells, [rank.system for rank in ranks], metrics)
    if extra:
        parts += ["Asked about some of the tasks only, and not ranked; first holdout:\n", extra]
    return "\n".join(parts)


def _said(ranks: Sequence[Rank], standings: Sequence[Standing], cells: Sequence[Cell], budget: int) -> str:
    machines = sorted({cell.machine for cell in cells if cell.machine})
    days = sorted({cell.at[:10] for cell in cells if cell.at})
    holdouts = sorted({each.holdouts for each in standings})
    counted = (
        "one holdout" if holdouts == [1] else f"{' to '.join(map(str, holdouts[:1] + holdouts[1:][-1:]))} holdouts"
    )
    difference = critical_difference(len(ranks), len(standings))
    return (
        f"{len(standings)} tasks, {counted} of a shuffled quarter, {budget} s for each fit, two cores "
        f"({'; '.join(machines)}), {' to '.join(sorted({days[0], days[-1]}))}. Peers' figures are kept in "
        "`benchmarks/automl_peers.json`. The interval is a bootstrap over tasks; mean ranks closer than "
        f"{difference:.2f} cannot be told apart (Nemenyi's critical difference, α = .05). Memory is that of the whole "
        "tree of processes. A single row is timed in the finished process: for Ringside from a record through the "
        "decode step and the packaged model, without HTTP; for the others from a frame of one row.\n"
    )


def costs(ranks: Sequence[Rank], cells: Sequence[Cell]) -> str:
    lines = []
    for rank in ranks:
        own = [cell for cell in cells if cell.system == rank.system]
        seconds = [cell.seconds for cell in own if cell.seconds is not None]
        rows = [cell.row_ms for cell in own if cell.row_ms is not None]
        memory = [cell.memory_mb for cell in own if cell.memory_mb is not None]
        lines.append(
            [
                rank.system,
                f"{rank.mean:.2f}",
                f"{rank.low:.2f} to {rank.high:.2f}",
                f"{statistics.median(seconds):.0f} / {max(seconds):.0f}" if seconds else "",
                f"{max(memory):,}" if memory else "",
                f"{statistics.median(rows):.3g} / {max(rows):.3g}" if rows else "",
                str(sum(cell.error is not None for cell in own)),
            ]
        )
    heads = ["system", "mean rank", "95 % interval", "fit s, median / max", "MB, max", "single row ms, median / max"]
    return table([*heads, "failed"], lines)


def of_targets(found: Sequence[Target]) -> str:
    says = {True: "yes", False: "**no**", None: "–"}
    return table(
        ["target", "wanted", "found", "met"], [[each.what, each.wanted, each.found, says[each.met]] for each in found]
    )


def of_tasks(standings: Sequence[Standing], systems: Sequence[str], metrics: Mapping[str, str]) -> str:
    lines = []
    for each in standings:
        best = each.best(tuple(each.scores))
        shown = [_bold(_number(each.scores[name]), name == best) for name in systems]
        lines.append([each.task, metrics[each.task], _number(each.dummy), *shown])
    return table(["task", "metric", "dummy", *systems], lines)


def gaps(standings: Sequence[Standing], systems: Sequence[str]) -> str:
    lines = [[each.task, *(f"{each.gap(name):.1%}" for name in systems)] for each in standings]
    return table(["task", *systems], lines)


def partial(cells: Sequence[Cell], ranked: Sequence[str], metrics: Mapping[str, str]) -> str:
    """The first holdouts' scores of the systems that are not ranked; empty where all are."""
    others = sorted({cell.system for cell in cells} - set(ranked))
    held = {(cell.task, cell.system): cell for cell in cells if cell.holdout == 0}
    lines = []
    for task in sorted({cell.task for cell in cells if cell.system in others}):
        own, row = held.get((task, OURS)), [held.get((task, name)) for name in others]
        lines.append([task, metrics[task], *(_number(cell.score) if cell else "" for cell in [own, *row])])
    return table(["task", "metric", OURS, *others], lines) if lines else ""


def draw(standings: Sequence[Standing], path: Path) -> None:
    """Mean ranks with their intervals, and how far behind the best each system is on each task."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    ranks = mean_ranks(standings)
    colours = ("#7f8c8d", "#2f6fdb", "#27834b", "#c98a1b", "#7d4bb0")
    others = [rank.system for rank in ranks if rank.system != OURS]
    shown = {OURS: "#c0392b"} | {name: colours[i % len(colours)] for i, name in enumerate(sorted(others))}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 0.34 * len(standings) + 1.8), layout="constrained", width_ratios=[1, 1.6]
    )
    for place, rank in enumerate(ranks):
        left.plot([rank.low, rank.high], [place, place], color=shown[rank.system], linewidth=2)
        left.plot(rank.mean, place, "o", color=shown[rank.system], markersize=8)
    left.set_yticks(range(len(ranks)), [f"{rank.system}  {rank.mean:.2f}" for rank in ranks])
    left.set_ylim(len(ranks) - 0.5, -0.5)
    left.set_xlabel(
        f"mean rank of {len(ranks)} on {len(standings)} tasks, 95 % interval over tasks\n"
        f"(critical difference {critical_difference(len(ranks), len(standings)):.2f})"
    )
    for rank in reversed(ranks):
        name = rank.system
        behind = [min(FAR, each.gap(name)) for each in standings]
        right.plot(
            [share * 100 for share in behind], range(len(standings)), "o", color=shown[name], label=name,
            markersize=8 if name == OURS else 6, alpha=0.85,
        )  # fmt: skip
    right.set_yticks(range(len(standings)), [each.task for each in standings])
    right.set_ylim(len(standings) - 0.5, -0.5)
    right.set_xscale("symlog", linthresh=2)
    right.set_xlim(-0.2, FAR * 115)
    right.set_xticks([0, 1, 2, 5, 10, 20, 50], ["best", "1", "2", "5", "10", "20", "≥ 50"])
    right.set_xlabel("per cent of the best system's lead over the dummy, behind it")
    right.grid(axis="x", color="#dddddd")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(ranks), frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _number(value: float | None) -> str:
    if value is None:
        return "failed"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}"


def _bold(shown: str, bold: bool) -> str:
    return f"**{shown}**" if bold else shown
