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
    taken = set(header)
    for place, name in enumerate(header):
        if not name.strip():
            names.append(_free_place(place, header))
            continue
        names.append(name if not seen[name] else _free(name, seen[name], taken))
        seen[name] += 1
        known = wanted is not None and (name not in wanted or (f"{name}.1" in wanted and f"{name}.1" not in header))
        if counts[name] > 1 and not known:
            raise DataError(
                f"{path}: column {name!r} stands {counts[name]} times in the header; expected different names"
            )
    return names


def _free_place(place: int, header: Sequence[str]) -> str:
    while f"{NAMELESS}{place}" in header:
        place += len(header)
    return f"{NAMELESS}{place}"


def _free(name: str, number: int, taken: set[str]) -> str:
    """ "age.1", or "age.2" where a column of the file is called "age.1"."""
    while f"{name}.{number}" in taken:
        number += 1
    taken.add(f"{name}.{number}")
    return f"{name}.{number}"


def is_nameless(name: str) -> bool:
    """Whether a column was given its name for want of one: a table's index, or what is behind a trailing delimiter."""
    return name.startswith(NAMELESS) and name.removeprefix(NAMELESS).isdecimal()
