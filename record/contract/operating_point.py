"""From which probability on the watched one of two classes is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.schema import Schema

Codes = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Class `watched` is answered where its probability is at least `threshold`, class `other` elsewhere."""

    watched: int  # place among the classes of the probabilities, as is `other`
    other: int
    threshold: float

    @classmethod
    def read(cls, schema: Schema, card: Mapping[str, Any]) -> OperatingPoint | None:
        """A version's, from its card's `operating_threshold`; None where the most probable class is answered.

        Raises ValueError for one that is no probability, or that stands beside other than two classes.
        """
        named = card.get("operating_threshold")
        if named is None:
            return None
        if isinstance(named, bool) or not isinstance(named, int | float) or not 0 <= named <= 1:
            raise ValueError(f"operating_threshold: {named!r}; expected a probability")
        if schema.watched is None:
            raise ValueError(f"operating_threshold: {named!r} with {len(schema.classes)} classes; expected two")
        return cls(schema.watched, 1 - schema.watched, float(named))

    def moved(self, before: Schema, after: Schema) -> OperatingPoint | None:
        """The same decision over another schema's classes; None where one of the two is not among them."""
        names = before.classes[self.watched], before.classes[self.other]
        if not set(names) <= set(after.classes):
            return None
        return OperatingPoint(after.classes.index(names[0]), after.classes.index(names[1]), self.threshold)


def said_classes(probabilities: npt.NDArray[np.float64], point: OperatingPoint | None) -> Codes:
    """For each row the class that is answered; without an operating point the most probable, the first of equals."""
    if point is None:
        return np.asarray(probabilities.argmax(axis=1), dtype=np.intp)
    yes = probabilities[:, point.watched] >= point.threshold
    return np.where(yes, np.intp(point.watched), np.intp(point.other))
