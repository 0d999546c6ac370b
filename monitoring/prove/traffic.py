"""Simulated requests of one bout, as the join gives them: arrays in request order.

Every function draws one run from its generator. What a challenger gains on average, season and weather are in the
differences of the losses; entities, missing labels and answers stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from record.contract.losses import LossName, bout_losses

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DAY_MICROS = 86_400_000_000
# A regression's errors are clipped at three times the champion's median error. Of |T + T'|, both t(3), it is 1.19.
MEDIAN_ERROR = 1.19


@dataclass(frozen=True, slots=True)
class Traffic:
    """`differences` are loss(champion) − loss(challenger) of every request, also of those without a label.

    `answers` has both versions' answers (champion, challenger): the positive class' probability, or the value.
    `bounds` is the largest |difference| that the two answers allow, `worst` the smallest, whatever the label says.
    """

    times: Integers  # microseconds since 1970
    differences: Floats
    labelled: Flags
    answers: Floats  # [n, 2]
    bounds: Floats
    worst: Floats
    entities: Integers | None = None
    labels: Flags | None = None  # of two classes

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, start: int, stop: int) -> Traffic:
        """A stretch of it."""
        return Traffic(
            times=self.times[start:stop],
            differences=self.differences[start:stop],
            labelled=self.labelled[start:stop],
            answers=self.answers[start:stop],
            bounds=self.bounds[start:stop],
            worst=self.worst[start:stop],
            entities=None if self.entities is None else self.entities[start:stop],
            labels=None if self.labels is None else self.labels[start:stop],
        )


def at_rate(count: int, per_day: float) -> Integers:
    """Request times of a steady flow."""
    return np.asarray(np.arange(count) * (DAY_MICROS / per_day), dtype=np.int64)


def classes(
    rng: np.random.Generator, times: Integers, better: Floats | float = 0.0, discordant: float = 0.1
) -> Traffic:
    """0-1 losses of two versions that disagree on a share `discordant` of the requests.

    `better` is the challenger's lead in accuracy, one number or one for each request.
    """
    count = len(times)
    lead = np.broadcast_to(np.asarray(better, dtype=np.float64), count)
    drawn = rng.random(count)
    differences = np.where(drawn < (discordant + lead) / 2, 1.0, np.where(drawn < discordant, -1.0, 0.0))
    champion = rng.random(count) < 0.5
    challenger = np.where(differences != 0, ~champion, champion)
    answers = np.column_stack([champion, challenger]).astype(np.float64)
    labels = np.where(differences > 0, challenger, champion)
    return replace(_whole(times, differences, answers, np.abs(answers[:, 0] - answers[:, 1])), labels=labels)


def scores(
    rng: np.random.Generator,
    times: Integers,
    *,
    noise: tuple[float, float],
    loss: LossName = "brier",
    centre: float = 0.0,
    spread: float = 1.0,
    lean: float = 0.0,
    missing: tuple[float, float] = (0.0, 0.0),
) -> Traffic:
    """Probabilities of two logistic scorers, whose errors are independent and of those sizes, in `loss`.

    `centre` moves the truth's log odds: −5 makes positives rare. `lean` moves the champion's log odds down and the
    challenger's up: two models that err to opposite sides, equal where `centre` is 0. `missing` has the share of
    negatives and of positives that have no label at the horizon.
    """
    count = len(times)
    truth = centre + rng.normal(0, spread, count)
    label = rng.random(count) < _sigmoid(truth)
    odds = [truth + side * lean + rng.normal(0, size, count) for side, size in zip((-1, 1), noise, strict=True)]
    answers = np.column_stack([_sigmoid(each) for each in odds])
    costs = _costs(loss, answers)  # [n, version, class]
    gains = costs[:, 0, :] - costs[:, 1, :]
    differences = gains[np.arange(count), label.astype(np.int64)]
    labelled = rng.random(count) >= np.where(label, missing[1], missing[0])
    return Traffic(times, differences, labelled, answers, np.abs(gains).max(axis=1), gains.min(axis=1), labels=label)


def values(rng: np.random.Generator, times: Integers, *, challenger_scale: float = 1.0) -> Traffic:
    """Absolute errors with heavy tails, clipped at three times the champion's median error."""
    common, *own = (rng.standard_t(3, len(times)) for _ in range(3))
    clip = 3 * MEDIAN_ERROR
    errors = np.column_stack([common + own[0], challenger_scale * (common + own[1])])
    costs = np.minimum(np.abs(errors) / clip, 1.0)
    return _whole(times, costs[:, 0] - costs[:, 1], errors, np.minimum(np.abs(errors[:, 0] - errors[:, 1]) / clip, 1.0))


def repeated(
    rng: np.random.Generator, times: Integers, repeats: int, *, better: float = 0.0, in_a_row: bool = False
) -> Traffic:
    """Entities that ask `repeats` times each, with the same record and the same truth: 0-1 losses."""
    count = -(-len(times) // repeats)
    entity = classes(rng, times[:count], better)
    codes = np.repeat(np.arange(count), repeats)[: len(times)]
    codes = codes if in_a_row else rng.permutation(codes)
    held = replace(entity, times=times, labelled=np.ones(len(times), dtype=np.bool_))
    return replace(
        held,
        differences=entity.differences[codes],
        answers=entity.answers[codes],
        bounds=entity.bounds[codes],
        worst=entity.worst[codes],
        labels=None if entity.labels is None else entity.labels[codes],
        entities=codes.astype(np.int64),
    )


def season(times: Integers, amplitude: float, cycle_days: float, phase: float = 0.0) -> Floats:
    """A lead that comes and goes with a cycle, 0 on average over whole ones."""
    turns = times / (DAY_MICROS * cycle_days) + phase
    return np.asarray(amplitude * np.sin(2 * np.pi * turns), dtype=np.float64)


def weather(rng: np.random.Generator, times: Integers, deviation: float, carried: float = 0.0) -> Floats:
    """A lead of each day's own, normal with that deviation; `carried` is how much of a day stays in the next."""
    days = times // DAY_MICROS
    days = days - days[0]
    own = rng.normal(0, deviation, int(days[-1]) + 1)
    for day in range(1, len(own)):
        own[day] = carried * own[day - 1] + np.sqrt(1 - carried**2) * own[day]
    return np.asarray(own[days], dtype=np.float64)


def without_labels(rng: np.random.Generator, traffic: Traffic, share: float) -> Traffic:
    """The same, with a share of the labels missing at random."""
    return replace(traffic, labelled=traffic.labelled & (rng.random(len(traffic)) >= share))


def _costs(loss: LossName, answers: Floats) -> Floats:
    """What each version's answer costs for either class."""
    count = len(answers)
    found = np.empty((count, 2, 2))
    for side in (0, 1):
        shares = np.column_stack([1 - answers[:, side], answers[:, side]])
        for label in (0, 1):
            found[:, side, label] = bout_losses(loss, shares, np.full(count, label), 1.0)
    return found


def _whole(times: Integers, differences: Floats, answers: Floats, bounds: Floats) -> Traffic:
    return Traffic(times, differences, np.ones(len(times), dtype=np.bool_), answers, bounds, -bounds)


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)
