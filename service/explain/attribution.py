"""How much each feature moved one prediction: Shapley values of the model itself, whatever family it is of.

The game is the interventional one: features outside a coalition have the values of rows of a background sample, all
of one row at a time, and its payoff is the model's answer (Štrumbelj & Kononenko 2014; Lundberg & Lee 2017; for why
interventional, Janzing, Minorics & Blöbaum 2020). The values sum to prediction − base, where base is the mean answer
over the background, because every walk from a background row to the record telescopes (efficiency).

With few features all coalitions are asked: exact for this background. With more, features are changed one by one in
random orders, each order also backwards: antithetic pairs, which part with most of the sampling error (Mitchell et
al. 2022). A column that the model takes as several inputs (a time) is one feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Protocol

import numpy as np
import numpy.typing as npt

from record.contract.arrays import Arrays
from record.contract.feature_places import FeaturePlaces

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

# Rows that the model is asked for: .1 s of a boosted model, 5 s of the slowest that is served (1 ms for one record).
ASKED_ROWS = 40_000
# The base is the mean of so many answers: its standard error is a tenth of their spread.
BACKGROUND_ROWS = 100
# Fewer, where there are so many features that one walk costs a good part of all that may be asked.
FEWEST_BACKGROUND_ROWS = 20
CHUNK_ROWS = 512  # asked together: a deadline is looked at in between


@dataclass(frozen=True, slots=True)
class Attribution:
    """`contributions` sum to prediction − base. `errors` are standard errors of the whole: background and orders.

    `exact`: every coalition was asked. `complete`: no deadline cut it short.
    """

    base: float
    prediction: float
    contributions: dict[str, float]
    errors: dict[str, float]
    background: int
    exact: bool
    complete: bool


def background_rows(features: int, asked: int = ASKED_ROWS) -> int:
    """How many background rows are worth having with so many features."""
    return max(FEWEST_BACKGROUND_ROWS, min(BACKGROUND_ROWS, asked // (2 * max(1, features))))


def attribute(
    score: Callable[[Arrays], Floats],
    row: Arrays,
    background: Arrays,
    features: Sequence[FeaturePlaces],
    *,
    seed: int,
    asked: int = ASKED_ROWS,
    late: Callable[[], bool] = lambda: False,
) -> Attribution:
    """The Shapley values of one row. `score` gives [n] answers for n rows.

    The same seed gives the same values. Once `late` says so, what is finished counts: at least one background row.
    """
    width, count = len(features), len(background)
    exact = count << width <= asked
    game: _Game = _EveryCoalition(width) if exact else _Walks(width, count, seed, asked)
    rounds = 1 if exact else max(1, asked // (game.rows * count))
    mix = _Mixer(row, background, features)
    answers = np.empty(rounds * count * game.rows)
    filled = 0
    while filled < len(answers):
        chunk = np.arange(filled, min(filled + CHUNK_ROWS, len(answers)))
        answers[chunk] = score(mix(game.masks(chunk), chunk // game.rows % count))
        filled += len(chunk)
        if filled >= game.rows and late():
            break
    played = filled // game.rows
    played -= played % count if played >= count else 0  # whole rounds, so that each background row counts alike
    payoffs = answers[: played * game.rows].reshape(played, game.rows)
    values = game.values(payoffs).reshape(-1, min(played, count), width).mean(axis=0)
    spread = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.full(width, np.nan)
    names = [feature.name for feature in features]
    return Attribution(
        base=float(payoffs[:, 0].mean()),
        prediction=float(payoffs[0, game.full]),
        contributions=dict(zip(names, values.mean(axis=0).tolist(), strict=True)),
        errors=dict(zip(names, spread.tolist(), strict=True)),
        background=len(values),
        exact=exact,
        complete=filled == len(answers),
    )


class _Game(Protocol):
    """Which coalitions are asked for one background row: `rows` of them, the empty one first, everybody at `full`."""

    rows: int
    full: int

    def masks(self, places: Integers) -> Masks:
        """For each place, counted over all that is asked, which features have the record's value: [n, features]."""

    def values(self, payoffs: Floats) -> Floats:
        """[played, rows] payoffs → [played, features] contributions, each summing to full − empty."""


class _EveryCoalition:
    def __init__(self, width: int) -> None:
        self._bits = np.arange(width)
        self.rows = 1 << width
        self.full = self.rows - 1

    def masks(self, places: Integers) -> Masks:
        return np.asarray((places[:, None] % self.rows >> self._bits) & 1, dtype=np.bool_)

    def values(self, payoffs: Floats) -> Floats:
        """Shapley's own sum over coalitions, as one matrix."""
        width = len(self._bits)
        members = self.masks(np.arange(self.rows))
        others = members.sum(axis=1)[:, None] - members
        weights = np.array([1.0 / (width * comb(width - 1, size)) for size in range(width)])
        signs = np.where(members, 1.0, -1.0)
        return np.asarray(payoffs @ (signs * weights[others]), dtype=np.float64)


class _Walks:
    """From the background row to the record, one feature at a time: in a random order, and in the reverse of it."""

    def __init__(self, width: int, count: int, seed: int, asked: int) -> None:
        self._width = width
        self.rows = 2 * width
        self.full = width
        rounds = max(1, asked // (self.rows * count))
        straight = np.tile(np.arange(width), (rounds * count, 1))
        self._ranks = np.random.default_rng(seed).permuted(straight, axis=1)  # when each feature has its turn

    def masks(self, places: Integers) -> Masks:
        ranks, step = self._ranks[places // self.rows], (places % self.rows)[:, None]
        there = ranks < step
        back = self._width - 1 - ranks < step - self._width
        return np.where(step <= self._width, there, back)

    def values(self, payoffs: Floats) -> Floats:
        ranks, width = self._ranks[: len(payoffs)], self._width
        there = np.diff(payoffs[:, : width + 1], axis=1)
        ends = payoffs[:, :1], payoffs[:, width + 1 :], payoffs[:, width : width + 1]
        back = np.diff(np.hstack(ends), axis=1)
        found = np.take_along_axis(there, ranks, axis=1) + np.take_along_axis(back, width - 1 - ranks, axis=1)
        return np.asarray(found / 2.0, dtype=np.float64)


class _Mixer:
    """Rows that have the record's values in some features and a background row's in the others."""

    def __init__(self, row: Arrays, background: Arrays, features: Sequence[FeaturePlaces]) -> None:
        self._row, self._background = row, background
        self._numbers = _owners([feature.numbers for feature in features])
        self._categories = _owners([feature.categories for feature in features])

    def __call__(self, masks: Masks, which: Integers) -> Arrays:
        others = self._background.take(which)
        return Arrays(
            np.where(masks[:, self._numbers], self._row.numbers, others.numbers),
            np.where(masks[:, self._categories], self._row.categories, others.categories),
        )


def _owners(places: Sequence[tuple[int, ...]]) -> Integers:
    """For each of the model's inputs the feature that it belongs to."""
    held = {place: owner for owner, own in enumerate(places) for place in own}
    return np.array([held[place] for place in range(len(held))], dtype=np.int64)
