"""How far back a run learns from: all rows, the recent ones, or all with the older ones counting less.

With `retrain.window = "auto"` the rows say it themselves. Each window is tried as it would have been used: fitted
before a block of the newest rows that are learned from, judged on that block, three blocks one after the other. The
holdout is not touched. A window is taken only where it beats "all rows" by more than chance does among so many of
them; then the search, the fit before the holdout and the packaged model all learn from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from record.configuration.loop_sections import RetrainSettings
from record.configuration.units import format_duration, parse_duration
from record.contract.losses import log_losses
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.data.entity_split import InseparableEntities, keep_apart
from retrain.data.loading import FEWEST_ROWS
from retrain.models.configuration import Configuration
from retrain.models.pipeline import build, fit, predict

Floats = npt.NDArray[np.float64]
Kind = Literal["expanding", "recent", "weighted"]

# The newest rows, in blocks: each is judged by what came before it. 30 % is about what the next run will add, three
# blocks show whether a window does well twice by chance.
JUDGED_SHARE = 0.3
BLOCKS = 3
# Of the judged rows: neighbours in time err together, so that not the rows count but stretches of them.
STRETCHES = 8
# Fewer rows than this do not tell windows apart.
FEWEST_TO_TELL = 1_000
# An even sample of so many values: six windows three times over take 3 s on one core.
MOST_ROWS = 10_000
MOST_VALUES = 200_000
# A wrong choice costs a little, a chance one as much: each window has to win at this level, shared among them.
LEVEL = 0.05
# Quick, and as sensitive to age as any model with interactions; the search's own choice comes after.
PROBE = Configuration("gradient_boosting", {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 15})


@dataclass(frozen=True, slots=True)
class Window:
    """`span` is the length of a recent window, the half-life of a weighted one."""

    kind: Kind
    span: timedelta | None = None

    def of(self, rows: Dataset) -> Dataset:
        """The rows that count, as much as they count."""
        if self.kind == "weighted":
            return replace(rows, half_life=self.span)
        if self.kind == "expanding":
            return rows
        return rows.take(self.places(rows.times))

    def places(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.kind != "recent" or self.span is None:
            return np.arange(len(times))
        length = self.span // timedelta(microseconds=1)
        return np.flatnonzero((times != UNKNOWN) & (times >= times.max() - length))

    def to_settings(self) -> dict[str, str]:
        """As retrain's keys would say it."""
        if self.span is None:
            return {"window": self.kind}
        key = "window_length" if self.kind == "recent" else "half_life"
        return {"window": self.kind, key: format_duration(self.span)}

    def __str__(self) -> str:
        if self.span is None:
            return "all rows"
        days = f"{self.span / timedelta(days=1):.3g} days"
        return f"the last {days}" if self.kind == "recent" else f"a half-life of {days}"


ALL_ROWS = Window("expanding")


@dataclass(frozen=True, slots=True)
class WindowDecision:
    """`losses` are those of the windows that were tried, on the newest rows that are learned from."""

    window: Window
    reasons: tuple[str, ...]
    losses: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {**self.window.to_settings(), "reasons": list(self.reasons), "losses": dict(self.losses)}


def choose_window(settings: RetrainSettings, learn: Dataset, holdout: Dataset, seed: int) -> WindowDecision:
    """The window by which these rows learn best. The same rows and seed give the same choice."""
    known = learn.times != UNKNOWN
    if not known.all():
        return WindowDecision(ALL_ROWS, ("not all rows have a time",), {})
    if len(learn) < FEWEST_TO_TELL:
        return WindowDecision(ALL_ROWS, (f"{len(learn)} rows do not tell windows apart",), {})
    blocks = _blocks(_even(learn))
    if sum(len(block) for _, block in blocks) < BLOCKS * STRETCHES:
        return WindowDecision(ALL_ROWS, ("too few entities to tell windows apart",), {})
    tried = [window for window in windows(settings, learn) if keeps(window, learn, holdout) and _tells(window, blocks)]
    plain = _judged(ALL_ROWS, blocks, seed)
    losses = {window: _judged(window, blocks, seed) for window in tried}
    means = {str(ALL_ROWS): float(plain.mean()), **{str(window): float(own.mean()) for window, own in losses.items()}}
    best = min(losses, key=lambda window: float(losses[window].mean()), default=None)
    if best is None:
        return WindowDecision(ALL_ROWS, ("no window is both long enough and shorter than all rows",), means)
    lead = plain - losses[best]
    needed = NormalDist().inv_cdf(1 - LEVEL / len(losses)) * _error(lead)
    told = f"{best}: loss {losses[best].mean():.5g} on the newest rows, {plain.mean():.5g} with all rows"
    if not lead.mean() > needed:
        return WindowDecision(ALL_ROWS, (f"{told}; a lead above {needed:.2g} would tell",), means)
    return WindowDecision(best, (f"{told}; a lead above {needed:.2g} tells",), means)


def windows(settings: RetrainSettings, learn: Dataset) -> list[Window]:
    """What is tried besides all rows: a half and a quarter of the time there is, and what the settings name."""
    span = timedelta(microseconds=int(learn.times.max() - learn.times.min()))
    whole = timedelta(seconds=1)
    lengths = {span / 2 // whole * whole, span / 4 // whole * whole, settings.window_length}
    lives = {span / 4 // whole * whole, span / 8 // whole * whole, settings.half_life}
    recent = [Window("recent", length) for length in sorted(lengths) if whole <= length < span]
    return recent + [Window("weighted", life) for life in sorted(lives) if whole <= life < span]


def keeps(window: Window, learn: Dataset, holdout: Dataset) -> bool:
    """Whether enough is left to learn from, also once the holdout is among it, and none of the holdout is left out."""
    together = np.concatenate([learn.times, holdout.times])
    left = window.places(together)
    held = np.arange(len(learn), len(together))
    enough = len(window.places(learn.times)) >= max(FEWEST_ROWS, FEWEST_TO_TELL // 4)
    return enough and len(left) > len(held) and bool((left[-len(held) :] == held).all())


def _even(learn: Dataset) -> Dataset:
    """Every k-th row: a sample over the whole time."""
    columns = max(1, len(learn.schema.problem.features))
    most = min(MOST_ROWS, max(FEWEST_TO_TELL, MOST_VALUES // columns))
    return learn if len(learn) <= most else learn.take(np.linspace(0, len(learn) - 1, most).round().astype(np.int64))


def _blocks(rows: Dataset) -> list[tuple[Dataset, Dataset]]:
    """The rows before each of the newest blocks, and the block; without those whose entities cannot be kept apart."""
    edges = np.linspace(len(rows) * (1 - JUDGED_SHARE), len(rows), BLOCKS + 1).round().astype(np.int64)
    blocks = []
    for start, stop in pairwise(edges):
        before, block = rows.rows(0, int(start)), rows.rows(int(start), int(stop))
        try:
            kept = keep_apart(before.entities, block.entities, before.target if rows.classes else None)
        except InseparableEntities:
            continue
        if kept is not None:
            before, block = before.take(np.flatnonzero(kept[0])), block.take(np.flatnonzero(kept[1]))
        blocks.append((before, block))
    return blocks


def _tells(window: Window, blocks: Sequence[tuple[Dataset, Dataset]]) -> bool:
    """Whether the window leaves enough to learn from before each block."""
    return all(len(window.places(before.times)) >= FEWEST_ROWS for before, _ in blocks)


def _judged(window: Window, blocks: Sequence[tuple[Dataset, Dataset]], seed: int) -> Floats:
    """The losses of the newest rows, each by a model of what came before its block."""
    losses = []
    for before, block in blocks:
        learned = window.of(before)
        pipeline = fit(build(PROBE, block.schema.problem.task, seed), learned.arrays, learned.target, learned.weights)
        scores = predict(pipeline, block.arrays, block.classes)
        losses.append(log_losses(scores, block.target) if block.classes else (scores - block.target) ** 2)
    return np.concatenate(losses)


def _error(lead: Floats) -> float:
    """The standard error of the mean lead, by stretches of time."""
    means = np.array([part.mean() for part in np.array_split(lead, BLOCKS * STRETCHES)])
    return float(means.std(ddof=1) / math.sqrt(len(means)))


def champions_window(card: Mapping[str, Any]) -> WindowDecision:
    """That of the champion's card, for a run that makes no search; all rows, where the card says none."""
    held = card.get("window") or {}
    key = {"recent": "window_length", "weighted": "half_life"}.get(held.get("window", ""))
    if key is None or key not in held:
        return WindowDecision(ALL_ROWS, ("as the champion's",), {})
    return WindowDecision(Window(held["window"], parse_duration(held[key])), ("as the champion's",), {})
