"""`ringside prove`: the promises about decisions, measured on this machine through the product's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from record.printable import print_json, print_line
from ringside.terminal.options import DONE, NO, JsonOption


def prove(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs: within ten minutes on two cores.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Fewest runs: a smoke test of two or three minutes.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of Parquet streams; rows on real streams are skipped without it.", exists=True),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Only the cases whose name holds this text.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A target that may be missed: shown all the same, and no exit code 1. May be repeated."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Cases side by side; as many as there are cores if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what decisions promise: false and missed promotions, rollbacks, drift. Exit code 1: one is missed.

    Example: ringside prove --quick --json
    """
    from monitoring.prove.report import target_line
    from monitoring.prove.run import Done, Effort
    from monitoring.prove.run import prove as run_cases

    effort: Effort = "short" if short else "quick" if quick else "whole"

    def show(done: Done, count: int, cases: int) -> None:
        print_line(f"[{count}/{cases}] {done.name}, {done.seconds:.0f} s", file=sys.stderr)
        for target in done.targets:
            print_line(f"  {target_line(target)}", file=sys.stderr)

    proof = run_cases(effort, data, show, processes=processes, only=only)
    if as_json:
        print_json(proof.to_json())
    else:
        for target in proof.targets:
            print_line(target_line(target))
        missed = sum(target.holds is False for target in proof.targets)
        print_line(f"{len(proof.targets)} targets, {missed} missed, {proof.seconds:.0f} s ({proof.effort})")
    broken = [target.name for target in proof.targets if target.holds is False and target.name not in (allow or ())]
    raise typer.Exit(NO if broken else DONE)
