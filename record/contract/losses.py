"""What each answer costs, row by row. Scores are probabilities [n, K] with class codes, or values [n] with targets."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from record.contract.operating_point import OperatingPoint, said_classes

Floats = npt.NDArray[np.float64]
LossName = Literal["brier", "zero_one", "log", "absolute"]

# As in a bout (monitoring.quality.loss): a certain and wrong answer has no finite log loss.
LOG_FLOOR = 1e-3
SMALLEST = 1e-15


def log_losses(probabilities: Floats, y: npt.NDArray[Any]) -> Floats:
    """Unscaled: −log of what the true class was given."""
    hit = probabilities[np.arange(len(y)), y]
    return np.asarray(-np.log(np.clip(hit, SMALLEST, 1.0)), dtype=np.float64)


def brier_losses(probabilities: Floats, y: npt.NDArray[Any]) -> Floats:
    """Σ (p − y)² / 2 over the classes; with two classes that is (p − y)²."""
    hit = probabilities[np.arange(len(y)), y]
    total = (probabilities**2).sum(axis=1) - hit**2 + (1.0 - hit) ** 2
    return np.asarray(total / 2.0, dtype=np.float64)


def bout_losses(
    name: LossName, scores: Floats, y: npt.NDArray[Any], scale: float, point: OperatingPoint | None = None
) -> Floats:
    """The loss that bouts are fought with, in [0, 1]; `scale` is the error at which the absolute one is clipped.

    What is answered, and so the 0-1 loss, goes by the operating `point`.
    """
    if name == "absolute":
        return np.asarray(np.minimum(np.abs(scores - y) / scale, 1.0), dtype=np.float64)
    if name == "zero_one":
        return np.asarray(said_classes(scores, point) != y, dtype=np.float64)
    if name == "brier":
        return np.asarray(np.clip(brier_losses(scores, y), 0.0, 1.0), dtype=np.float64)
    hit = np.clip(scores[np.arange(len(y)), y], LOG_FLOOR, 1.0)
    return np.asarray(np.log(hit) / np.log(LOG_FLOOR), dtype=np.float64)


def expected_loss(name: LossName, probabilities: Floats, point: OperatingPoint | None = None) -> float:
    """The mean loss in the bout's scale, were every probability right."""
    classes = probabilities.shape[1]
    costs = [bout_losses(name, probabilities, np.full(len(probabilities), k), 1.0, point) for k in range(classes)]
    return float((probabilities * np.column_stack(costs)).sum(axis=1).mean())
