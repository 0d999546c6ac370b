"""Sums of a stream over blocks of time or of rows, kept in bounded memory.

All sums are whole numbers (fixed point), so that they are the same to the last bit in whatever parts the rows arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from record.dependence import Blocks, Floats, Integers

# About one part in a thousand million; a sum of eight thousand million differences still fits 64 bits.
UNIT = float(2**30)
MOST_BLOCKS = 64


def fixed(values: Floats) -> Integers:
    """The values in whole units of 2^-30."""
    return np.rint(values * UNIT).astype(np.int64)


@dataclass(slots=True)
class BlockSums:
    """Running sums by block. Beyond 64 blocks neighbours are joined, and every block is twice as long from then on."""

    length: int  # of a block, in units of the keys
    sums: dict[int, list[int]] = field(default_factory=dict)  # block number → rows, total, squares (fixed point)

    def add(self, keys: Integers, values: Integers, squares: Integers) -> None:
        """Rows with their keys (microseconds, or places); values and squares as `fixed` gives them."""
        if not len(keys):
            return
        numbers, place = np.unique(keys // self.length, return_inverse=True)
        for n, number in enumerate(numbers.tolist()):
            chosen = place == n
            held = self.sums.setdefault(number, [0, 0, 0])
            held[0] += int(chosen.sum())
            held[1] += int(values[chosen].sum())
            held[2] += int(squares[chosen].sum())
        while len(self.sums) > MOST_BLOCKS:
            self._double()

    def _double(self) -> None:
        joined: dict[int, list[int]] = {}
        for number, held in self.sums.items():
            into = joined.setdefault(number // 2, [0, 0, 0])
            for n, value in enumerate(held):
                into[n] += value
        self.length, self.sums = 2 * self.length, joined

    def blocks(self) -> Blocks:
        held = [self.sums[number] for number in sorted(self.sums)]
        rows, totals, squares = (np.array([h[n] for h in held], dtype=np.float64) for n in range(3))
        return Blocks(rows, totals / UNIT, squares / UNIT)

    def numbers(self) -> Integers:
        return np.array(sorted(self.sums), dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        return {"length": self.length, "sums": [[number, *self.sums[number]] for number in sorted(self.sums)]}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> BlockSums:
        sums: Sequence[Sequence[int]] = held["sums"]
        return cls(int(held["length"]), {int(s[0]): [int(v) for v in s[1:]] for s in sums})
