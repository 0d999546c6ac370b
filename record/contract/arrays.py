"""The arrays that models take: decoded records, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Arrays:
    """What a model takes, one row for each record."""

    numbers: npt.NDArray[np.float32]  # [n, k]; missing is NaN
    categories: npt.NDArray[np.object_]  # [n, m] of str; missing is MISSING
    times: tuple[int, ...] = ()  # where each time's parts begin in `numbers`, for what learns from them

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, start: int, stop: int | None = None) -> Arrays:
        """A run of rows, without copying."""
        return Arrays(self.numbers[start:stop], self.categories[start:stop], self.times)

    def take(self, places: npt.NDArray[Any]) -> Arrays:
        """The rows at `places` (row numbers, or one boolean per row), copied."""
        return Arrays(self.numbers[places], self.categories[places], self.times)
