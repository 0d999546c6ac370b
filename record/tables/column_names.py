"""The names of a text file's columns: nameless ones, and ones that stand twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from record.errors import DataError

NAMELESS = "Unnamed: "  # as pandas calls them


def column_names(header: Sequence[str], path: Path, wanted: Collection[str] | None) -> list[str]:
    """One name for each field of the header; a nameless one is "Unnamed: 3", by its place from 0.

    A name that stands twice is refused where it is wanted (None: all are), but settings may name the second of two
    as "age.1".
    """
    counts = Counter(name for name in header if name.strip())
    seen: Counter[str] = Counter()
    names: list[str] = []
    for place, name in enumerate(header):
        if not name.strip():
            names.append(f"{NAMELESS}{place}")
            continue
        names.append(name if not seen[name] else f"{name}.{seen[name]}")
        seen[name] += 1
        known = wanted is not None and (name not in wanted or f"{name}.1" in wanted)
        if counts[name] > 1 and not known:
            raise DataError(
                f"{path}: column {name!r} stands {counts[name]} times in the header; expected different names"
            )
    return names


def is_nameless(name: str) -> bool:
    """Whether a column was given its name for want of one: a table's index, or what is behind a trailing delimiter."""
    return name.startswith(NAMELESS) and name.removeprefix(NAMELESS).isdecimal()
