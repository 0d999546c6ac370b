"""Categories counted: as Python's own texts, however long one of them is.

NumPy's arrays of texts (`astype(str)`) have the width of the longest in every row: one value of 16 MB among a thousand
rows is 64 GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SHORT_CATEGORY: Final = 256  # characters: fifty thousand of these are held while a window is looked at


def abbreviate(text: str) -> str:
    """A category as monitoring holds it: a long one by its beginning and a digest, so that none is like another."""
    if len(text) <= SHORT_CATEGORY:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[:60]}… ({len(text):,} characters, {digest})"


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """The distinct texts in ascending order, as `numpy.unique` gives them."""

    names: Sequence[str]
    codes: npt.NDArray[np.intp]  # [values]: the place of each value's text among the names
    counts: npt.NDArray[np.intp]  # [names]

    def most_frequent(self, most: int) -> list[str]:
        """So many names, the most frequent first, equal ones in ascending order."""
        return [self.names[place] for place in np.argsort(-self.counts, kind="stable")[:most].tolist()]


def count_categories(values: Iterable[Any]) -> CategoryCounts:
    """Counts values by their text."""
    places: dict[str, int] = {}
    arrived = np.array([places.setdefault(str(value), len(places)) for value in values], dtype=np.intp)
    names = sorted(places)
    place_of = np.empty(len(names), dtype=np.intp)
    for place, name in enumerate(names):
        place_of[places[name]] = place
    codes = place_of[arrived]
    return CategoryCounts(names, codes, np.bincount(codes, minlength=len(names)))
