"""Probabilities made right on matured rows: in all, by how sure they are, and by region of the features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from monitoring.quality.cross_fitting import CrossFitted, cross_fit, trees
from monitoring.quality.loss import LOG_FLOOR

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SMALLEST_SHARE = 1e-4
# Each class has a model of its own for its residuals; with more classes only what is said in all is put right.
MOST_CLASSES = 10
# As many rows as the prior that probabilities are right is worth, per unit of slope and of log odds.
PRIOR_ROWS = 10.0
ROUNDS, RATE = 60, 0.05


@dataclass(frozen=True, slots=True)
class RegionalResiduals:
    """What boosted models of outcome minus probability add to each class's probability (multi-accuracy: Kim,
    Ghorbani and Zou 2019)."""

    models: tuple[CrossFitted, ...]

    @classmethod
    def fit(cls, inputs: Floats, shares: Floats, codes: Integers) -> tuple[Self | None, Floats]:
        """The models, and each row's probabilities by models that did not see it; None where they explain nothing."""
        classes = shares.shape[1]
        if classes > MOST_CLASSES:
            return None, shares
        outcomes, residual = np.eye(classes)[codes], partial(trees, rounds=ROUNDS, rate=RATE)
        fitted = [cross_fit(inputs, outcomes[:, k] - shares[:, k], residual) for k in _modelled(classes)]
        held = cls(tuple(fitted))
        moved = held._add(shares, [one.foretold for one in fitted])
        gain = ((outcomes - shares) ** 2 - (outcomes - moved) ** 2).sum(axis=1)
        # By more than its own standard error: a gain that chance explains would only add noise.
        if gain.mean() <= gain.std() / math.sqrt(len(gain)):
            return None, shares
        return held, moved

    def __call__(self, inputs: Floats, shares: Floats) -> Floats:
        return self._add(shares, [model(inputs) for model in self.models])

    def _add(self, shares: Floats, residuals: list[Floats]) -> Floats:
        added = np.column_stack(residuals if len(residuals) > 1 else [-residuals[0], residuals[0]])
        moved = np.clip(shares + added, SMALLEST_SHARE, 1.0)
        return np.asarray(moved / moved.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Vector scaling (Guo et al. 2017): softmax(slopes · log p + biases); with two classes it is beta calibration."""

    slopes: Floats  # [K]
    biases: Floats  # [K]

    @classmethod
    def fit(cls, shares: Floats, codes: Integers, weights: Floats) -> Self:
        """The most likely one, with the prior that nothing has to be put right."""
        from scipy.optimize import minimize

        classes = shares.shape[1]
        logs, outcomes = _logs(shares), np.eye(classes)[codes]

        def cost(flat: Floats) -> tuple[float, Floats]:
            slopes, biases = flat[:classes], flat[classes:]
            chances = _softmax(logs * slopes + biases)
            likely = np.log(np.maximum(chances[np.arange(len(codes)), codes], 1e-300))
            off = np.concatenate([slopes - 1, biases])
            residual = weights[:, np.newaxis] * (chances - outcomes)
            slope = np.concatenate([(residual * logs).sum(axis=0), residual.sum(axis=0)])
            return float(-(weights * likely).sum() + PRIOR_ROWS / 2 * (off**2).sum()), slope + PRIOR_ROWS * off

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        found = minimize(cost, start, jac=True, method="L-BFGS-B").x
        return cls(found[:classes], found[classes:])

    def __call__(self, shares: Floats) -> Floats:
        return _softmax(_logs(shares) * self.slopes + self.biases)


def _modelled(classes: int) -> range:
    """Two classes have one residual between them."""
    return range(1, 2) if classes == 2 else range(classes)


def _softmax(scores: Floats) -> Floats:
    held = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(held / held.sum(axis=1, keepdims=True), dtype=np.float64)


def _logs(shares: Floats) -> Floats:
    return np.log(np.clip(shares, LOG_FLOOR / 10, 1.0))
