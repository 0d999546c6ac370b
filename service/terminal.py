"""What commands print: facts as aligned text for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Show = Callable[[Mapping[str, Any]], None]


def tell(facts: Mapping[str, Any], as_json: bool) -> None:
    """One line for each fact, further ones beneath it where it holds several; or the whole as one JSON object."""
    if as_json:
        print(json.dumps(facts))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        first, *further = lines(value) or ["-"]
        print(f"{name:<{width}}  {first}")
        for line in further:
            print(f"{'':<{width}}  {line}")


def tell_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, the last one free."""
    widths = [max([len(head), *(len(row[place]) for row in rows)]) for place, head in enumerate(heads)]
    for row in [heads, *rows]:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def lines(value: Any) -> list[str]:
    """A fact as short lines: one for each key of an object and each element of a list."""
    if isinstance(value, Mapping):
        return [f"{name}: {short(item)}" for name, item in value.items()]
    if isinstance(value, list):
        return [short(item) for item in value] or ["none"]
    return [short(value)]


def short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {short(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value)) or "none"
    return "-" if value is None else str(value)


@contextmanager
def progress_shown() -> Iterator[Show]:
    """Draws a run's progress on standard error for as long as the block lasts, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, facts="")

        def show(progress: Mapping[str, Any]) -> None:
            done, total = progress.get("trial"), progress.get("trials")
            others = {name: value for name, value in progress.items() if name not in ("step", "trial", "trials")}
            bar.update(
                task,
                description=str(progress.get("step", "running")),
                completed=done if isinstance(done, int | float) else None,
                total=total if isinstance(total, int | float) else None,
                facts=short(others) if others else "",
            )

        yield show
