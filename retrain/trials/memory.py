"""A run that stays within its memory: it does with less before `retrain.memory_limit` ends it.

What a step will take is estimated before it begins, since nothing can stop a fit halfway; what the process tree has
really taken is looked at between steps.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass, field

# From this share of the limit on, a run does with less. The rest is for what estimates miss.
SHARE = 0.7
# One value of one row while a model is fitted on it, by counting copies. A linear model of ramps
# (`retrain.features.ramps`) has the most: sixteen columns of 8 bytes, twice while they are joined, and filled, masked
# and decoded ones; about 290.
BYTES_PER_VALUE = 300
# Fewer rows than this would make another model, not a smaller run.
FEWEST_ROWS = 2_000


@dataclass(slots=True)
class Memory:
    """The memory of a run. `used` is what its process tree holds now, in bytes; `economies` says what was given up."""

    limit: int
    used: Callable[[], int]
    economies: list[str] = field(default_factory=list)

    def room(self) -> int:
        return int(SHARE * self.limit) - self.used()

    def pressed(self) -> bool:
        """Whether there is no room left, what could be given back having been given back."""
        if self.room() > 0:
            return False
        give_back()
        return self.room() <= 0

    def rows(self, rows: int, columns: int, step: str) -> int:
        """How many of the rows the step may take: all, or the largest of a half, a quarter … that should fit."""
        room, fitting = self.room(), rows
        while fitting // 2 >= FEWEST_ROWS and fitting * columns * BYTES_PER_VALUE > room:
            fitting //= 2
        if fitting < rows:
            self.economies.append(f"{step}: the newest {fitting} of {rows} rows")
        return fitting


def give_back() -> None:
    """Returns what was freed to the system: the limit counts what the process holds, used or not."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library keeps its own ways
        return
