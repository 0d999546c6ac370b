"""A run's progress on standard error: a live bar in a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from record.printable import print_line, printable, raw_stream

Show = Callable[[Mapping[str, Any]], None]

LINE_SECONDS = 30.0  # into a file: often enough to see that it lives, rarely enough to read


@contextmanager
def progress_shown() -> Iterator[Show]:
    """Shows a run's progress on standard error for as long as the block lasts: a live bar, or lines into a file."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(file=raw_stream(sys.stderr))  # it draws with control characters of its own
    if not console.is_terminal:
        yield _lines_of_progress()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, facts="")

        def show(progress: Mapping[str, Any]) -> None:
            done, total = progress.get("done"), progress.get("total")
            bar.update(
                task,
                description=escape(printable(str(progress.get("stage", "running")))),
                completed=done if isinstance(done, int | float) else None,
                total=total if isinstance(total, int | float) else None,
                facts=progress_facts(progress),
            )

        yield show


def _lines_of_progress() -> Show:
    """A line at each new stage, and at most one in LINE_SECONDS besides."""
    told: dict[str, Any] = {"stage": None, "at": 0.0}

    def show(progress: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if progress.get("stage") == told["stage"] and now - told["at"] < LINE_SECONDS:
            return
        told.update(stage=progress.get("stage"), at=now)
        print_line(f"{progress.get('stage', 'running')}: {progress_facts(progress)}".rstrip(": "), file=sys.stderr)

    return show


def progress_facts(progress: Mapping[str, Any]) -> str:
    """How far a run is in words, such as "12 of 40 trials, best log_loss 0.31415, 25 s left"."""
    done, total, best, left = (progress.get(name) for name in ("done", "total", "best", "seconds_left"))
    unit = progress.get("unit", "trials")
    facts = []
    if done:
        facts.append(f"{done} of {total} {unit}" if total and total != done else f"{done} {unit}")
    if best is not None:
        facts.append(f"best {progress.get('metric', 'loss')} {best:.5g}")
    if left is not None:
        facts.append(f"{_in_words(left)} left")
    return ", ".join(facts)


def _in_words(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"
