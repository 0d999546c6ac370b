"""Whether there is enough of each class, and whether the newest targets are still those that are learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from retrain.data.dataset import Dataset
from retrain.guards.finding import Finding

LEARNABLE = 5  # rows of a class: one for each fold
ENOUGH = 10  # rows below which nothing reliable is said of a class

# Distance of two distributions, from 0 to 1: total variation of classes, Kolmogorov and Smirnov's of numbers. A tenth
# of the rows stand elsewhere.
SHIFT = 0.1
# Against the furthest that an earlier stretch of the same length was from the others: seasons come and go.
UNUSUAL = 1.25
_STRETCHES = 8
FEWEST = 100
_ERROR_SHIFT = 0.99  # hardly a target in common


def find_small_classes(data: Dataset, held: int) -> Iterator[Finding]:
    """Classes too rare to be learned or judged; an error where no two can be learned."""
    if not data.classes:
        return
    names = data.schema.classes
    learned = np.bincount(data.target[: len(data) - held], minlength=data.classes)
    newest = np.bincount(data.target[len(data) - held :], minlength=data.classes)
    numbers = {"learned": dict(zip(names, learned.tolist(), strict=True)), "rows": len(data) - held}
    if int((learned >= LEARNABLE).sum()) < 2:
        message = (
            f"{_listed(names, learned)} of {len(data) - held} rows to learn from. "
            f"Expected two classes of {LEARNABLE} rows at least"
        )
        yield Finding("class_size", None, "error", message, numbers)
        return
    rare = np.flatnonzero(learned < ENOUGH)
    if len(rare):
        listed = _listed([names[code] for code in rare], learned[rare])
        message = f"{listed} of {len(data) - held} rows to learn from: too few to learn by. Expected {ENOUGH} of each"
        yield Finding("class_size", None, "warning", message, numbers)
    unjudged = [name for name, count, many in zip(names, newest, learned, strict=True) if not count and many >= ENOUGH]
    if unjudged:
        message = f"no row of {', '.join(map(repr, unjudged[:5]))} among the {held} held out: not judged by any"
        yield Finding("class_size", None, "warning", message, {"unjudged": unjudged, "held_out": held})


def find_target_drift(data: Dataset, held: int) -> Iterator[Finding]:
    """The newest rows' targets against all before them, where that is further than stretches of time usually are."""
    older = len(data) - held
    if not data.ordered or held < FEWEST or older < 2 * held:
        return
    target = data.target
    shift = _distance(data, target[older:], target[:older])
    stretches = np.array_split(np.arange(older), min(_STRETCHES, older // held))
    usual = max(_distance(data, target[s], np.delete(target[:older], s)) for s in stretches)
    if shift >= _ERROR_SHIFT and data.classes:
        message = (
            f"the newest {held} rows and the {older} before them have hardly a class in common: are the classes "
            f"written in another way now? Expected the same classes throughout"
        )
        yield Finding("target_drift", None, "error", message, {"shift": shift, "usual": usual})
        return
    if shift < max(SHIFT, UNUSUAL * usual):
        return
    then, now = _summary(data, target[:older]), _summary(data, target[older:])
    message = (
        f"{now} in the newest {held} rows, {then} before: {shift:.0%} of them stand elsewhere, where {usual:.0%} was "
        f"the most so far. Expected the target to stay, or retrain.window to forget what is over"
    )
    yield Finding("target_drift", None, "warning", message, {"shift": shift, "usual": usual})


def _distance(data: Dataset, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    if not data.classes:
        return float(ks_2samp(one, other, method="asymp").statistic)
    shares = [np.bincount(part, minlength=data.classes) / len(part) for part in (one, other)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _summary(data: Dataset, target: npt.NDArray[Any]) -> str:
    if not data.classes:
        return f"a median of {np.median(target):.6g}"
    shares = np.bincount(target, minlength=data.classes) / len(target)
    first = np.argsort(-shares)[:3]
    return ", ".join(f"{shares[code]:.0%} {data.schema.classes[code]!r}" for code in first)


def _listed(names: Sequence[str], counts: npt.NDArray[np.int64]) -> str:
    shown = [f"{count} of {name!r}" for name, count in zip(names, counts, strict=True)][:8]
    return ", ".join(shown) + (f" and {len(names) - 8} more classes" if len(names) > 8 else "")
