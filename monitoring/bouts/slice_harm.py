"""Whether a challenger harms a slice of the requests, however well it does on the whole.

Slices are the values of `quality.slices` and of `problem.protected`. For each, evidence is gathered that the
challenger's loss there is above the champion's by more than `promotion.slice_tolerance`, by the bets of a bout. A slice
is shown to be harmed where its evidence reaches K/alpha, with K slices so far: the chance that any slice is called
harmed which is not stays below alpha (Bonferroni).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.bouts.bets import BetSums, log_weights
from record.block_sums import UNIT, fixed

Floats = npt.NDArray[np.float64]

# Of one column, the values that are met first; the others are one slice together. An id is no slice.
MOST_VALUES = 20
OTHERS = "other values"
MISSING = "missing"
LONGEST_VALUE = 40
FIFTHS = 5
_WEIGHTS: Floats = log_weights(1.0)


@dataclass(frozen=True, slots=True)
class SliceColumn:
    """A column, fixed in a bout's design: a number's slices lie between `cuts`, every other value is its own."""

    name: str
    cuts: tuple[float, ...] = ()

    def slice_of(self, record: Mapping[str, Any]) -> str | None:
        """The slice that a record belongs to; None where the column has no value, or is not logged."""
        value = record.get(self.name)
        if value is None:
            return None
        if not self.cuts or isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)[:LONGEST_VALUE]
        place = int(np.searchsorted(np.array(self.cuts), value, side="right"))
        low = f"from {self.cuts[place - 1]:.6g}" if place else ""
        high = f"below {self.cuts[place]:.6g}" if place < len(self.cuts) else ""
        return " ".join(filter(None, (low, high)))

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> SliceColumn:
        return cls(str(held["name"]), tuple(float(cut) for cut in held["cuts"]))


def slice_columns(names: Sequence[str], records: Sequence[str]) -> tuple[SliceColumn, ...]:
    """The columns with their cuts, from logged records: a number of more than five values is cut into fifths."""
    held = [json.loads(record) for record in records]
    found = []
    for name in dict.fromkeys(names):
        values = [record.get(name) for record in held]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        cuts: tuple[float, ...] = ()
        if len(set(numbers)) > FIFTHS:
            cuts = tuple(float(cut) for cut in np.unique(np.quantile(numbers, [0.2, 0.4, 0.6, 0.8])))
        found.append(SliceColumn(name, cuts))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class SliceReading:
    """One slice's evidence of harm now. `lead` is the champion's mean loss minus the challenger's in it."""

    column: str
    value: str
    pairs: int
    lead: float
    e_harm: float
    needed: float

    @property
    def harmed(self) -> bool:
        return self.e_harm >= self.needed

    @property
    def words(self) -> str:
        """What stands in the way of a promotion."""
        return (
            f"{self.column} = {self.value} is harmed: lead {self.lead:+.4f} in {self.pairs} pairs, evidence "
            f"{self.e_harm:.4g}; {self.needed:.4g} is enough"
        )


@dataclass(slots=True)
class _Slice:
    bets: BetSums = field(default_factory=BetSums)
    total: int = 0  # of the differences, in fixed point


@dataclass(slots=True)
class SliceHarm:
    """The sums of every slice of these columns; mutable, `add` reads on."""

    columns: tuple[SliceColumn, ...]
    tolerance: float
    slices: dict[str, dict[str, _Slice]]

    @classmethod
    def start(cls, columns: Sequence[SliceColumn], tolerance: float) -> SliceHarm:
        return cls(tuple(columns), tolerance, {column.name: {} for column in columns})

    def add(self, records: Sequence[str], differences: Floats) -> None:
        """Labelled pairs in request order, with the request's record as the log has it."""
        if not self.columns or not len(records):
            return
        held = [json.loads(record) for record in records]
        for column in self.columns:
            slices = self.slices[column.name]
            values = [column.slice_of(record) for record in held]
            names = np.array([_slice_name(slices, value) for value in values], dtype=object)
            for name in dict.fromkeys(names.tolist()):
                _add(slices[name], differences[names == name], self.tolerance)

    def read(self, alpha: float) -> list[SliceReading]:
        """Every slice, the most harmed first."""
        count = sum(len(slices) for slices in self.slices.values())
        needed = max(count, 1) / alpha
        found = [
            SliceReading(column, value, held.bets.count, held.total / UNIT / held.bets.count, _evidence(held), needed)
            for column, slices in self.slices.items()
            for value, held in slices.items()
            if held.bets.count
        ]
        return sorted(found, key=lambda each: (-each.e_harm, each.column, each.value))

    def to_json(self) -> dict[str, Any]:
        held = {
            column: {value: {"total": each.total, "bets": each.bets.to_json()} for value, each in slices.items()}
            for column, slices in self.slices.items()
        }
        return {"slices": held}

    @classmethod
    def from_json(cls, held: Mapping[str, Any], columns: Sequence[SliceColumn], tolerance: float) -> SliceHarm:
        slices = {
            column: {
                value: _Slice(BetSums.from_json(each["bets"]), int(each["total"])) for value, each in values.items()
            }
            for column, values in held["slices"].items()
        }
        return cls(tuple(columns), tolerance, {column.name: slices.get(column.name, {}) for column in columns})


def _slice_name(slices: dict[str, _Slice], value: str | None) -> str:
    """The slice that a value belongs to; a new one is made while there is room."""
    name = MISSING if value is None else value
    if name not in slices and len(slices.keys() - {OTHERS}) >= MOST_VALUES:
        name = OTHERS
    slices.setdefault(name, _Slice())
    return name


def _add(held: _Slice, differences: Floats, tolerance: float) -> None:
    gains = (-differences - tolerance) / (1 + tolerance)
    held.bets.add(gains, _WEIGHTS)
    held.total += int(fixed(differences).sum())


def _evidence(held: _Slice) -> float:
    return float(np.exp(min(held.bets.log_evidence(_WEIGHTS), 700.0)))
