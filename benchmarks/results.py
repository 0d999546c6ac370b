"""benchmarks/RESULTS.md: one section for each benchmark, replaced by its newest run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, readable as it is: columns padded, all but the first aligned right."""
    widths = [max(len(row[i]) for row in [heads, *lines]) for i in range(len(heads))]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([row(heads), "|" + "|".join(f" {cell} " for cell in rule) + "|", *map(row, lines)]) + "\n"


def replace_section(path: Path, name: str, text: str) -> None:
    """Puts `text` between the section's marks; a section that is not there is added at the end."""
    held = path.read_text() if path.exists() else "# Results\n\nMeasured, with the command that measures them again.\n"
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{start}\n{text.strip()}\n{end}"
    if start in held:
        held = re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: section, held, flags=re.S)
    else:
        held = f"{held.rstrip()}\n\n{section}\n"
    path.write_text(held)
