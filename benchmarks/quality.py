"""Estimated quality against the labels that come later: how far off it is, and whether the gap finds concept drift.

    python -m benchmarks.quality [--data FOLDER] [--worlds N] [--processes N] [--part NAME] [--quick] [--write]

Synthetic worlds: a gradient boosting model, 3,000 matured rows for the estimator, then windows of 1,000 rows without
labels, which are drawn thirty times for each. The sampling noise is how far, in the mean, a window's labels scatter
about what an oracle expects of them that knows every row's law: no estimate can be closer. A half-blind oracle knows
every row's law but for one factor that they share, and has that of the same matured rows: it is what could be reached
if what an error depends on need not be learned. Real streams (FOLDER/streams) are read in their order; there the noise
is that of the observed mean.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from benchmarks.results import replace_section, table
from monitoring.quality.cohort import DAY_MICROS, Cohort
from monitoring.quality.estimated import Estimator, fit_estimator
from monitoring.quality.loss import Loss
from monitoring.quality.measures import measure, standard_error
from monitoring.quality.rise import DaySums, accumulate, merge, sum_days
from monitoring.quality.track_record import Stretch, TrackRecord, newest, track, tracked
from record.contract.columns import Column
from record.contract.losses import bout_losses, expected_loss
from record.contract.schema import ProblemSchema, Schema
from record.dependence import INDEPENDENT
from record.entity import ALONE

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
KEPT = HERE / "results" / "quality.json"  # each part as it was measured last: all of them take an hour
PARTS = ("classification", "regression", "streams")
HOLDS = "yes"
TRAINED, MATURED, WINDOW, WINDOWS = 4_000, 3_000, 1_000, 10
FIRST_WORLD = 1_000  # worlds below were looked at while the estimators were made
JUDGED = 3  # windows of each world
RESAMPLED = 1_000  # times, the worlds, for a ratio's interval
REDRAWN = 30  # times, the labels of each judged window
TOLERANCE, ALPHA = 0.05, 0.05  # as quality.tolerance and quality.alpha are by default
WITHIN = 1.5
MEAN_ABS = math.sqrt(2 / math.pi)  # of a normal law, in its standard deviations
STREAM_HEADS = ["stream", "rows", "mean abs. error", "sampling noise", "ratio"]
STREAM_HEADS += ["95 % of chance alone hold", "95 % hold", "by the last labels", "gap's alarm"]
CLASSIFIED = ("loss", "accuracy", "auc")
NUMERIC = ("loss", "mae", "rmse")


@dataclass(frozen=True)
class World:
    """Draws features, and what follows from them."""

    regression: bool
    shift: float = 0.0
    broken: bool = False

    def features(self, rng: np.random.Generator, rows: int) -> Floats:
        held = rng.normal(size=(rows, 5))
        held[:, :2] += self.shift
        return held

    def truth(self, rng: np.random.Generator, x: Floats) -> NDArray[Any]:
        score = x[:, 0] + np.sin(2 * x[:, 1]) + 0.5 * x[:, 2] * (x[:, 3] > 0)
        if self.regression:
            spread = 0.4 + 0.4 * np.abs(x[:, 1])
            return np.asarray(score + rng.normal(size=len(x)) * spread * (1.5 if self.broken else 1.0))
        chance = 1 / (1 + np.exp(-1.5 * score))
        if self.broken:
            chance = 0.85 * chance + 0.15 * (1 - chance)
        return np.asarray(rng.random(len(x)) < chance, dtype=np.int64)


@dataclass
class Found:
    """How far estimates and the oracles' are from what is observed, by metric; and the gap's evidence."""

    errors: dict[str, list[float]] = field(default_factory=dict)
    half_blind: dict[str, list[float]] = field(default_factory=dict)
    noises: dict[str, list[float]] = field(default_factory=dict)
    alarms: list[bool] = field(default_factory=list)
    labels_to_alarm: list[int] = field(default_factory=list)
    chance_bands: list[bool] = field(default_factory=list)  # that held what came
    bands: list[bool] = field(default_factory=list)
    by_last_labels: list[bool] = field(default_factory=list)

    def add(self, other: Found) -> None:
        for mine, theirs in (
            (self.errors, other.errors),
            (self.half_blind, other.half_blind),
            (self.noises, other.noises),
        ):
            for name, values in theirs.items():
                mine.setdefault(name, []).extend(values)
        self.alarms.extend(other.alarms)
        self.labels_to_alarm.extend(other.labels_to_alarm)


def build(x: Floats, said: Floats, truth: NDArray[Any], classes: tuple[str, ...], days: NDArray[np.int64]) -> Cohort:
    """A cohort as the log would give it; `said` is probabilities [n, K] or values [n]."""
    names = [f"x{place}" for place in range(x.shape[1])]
    columns = tuple(Column(name, "feature", "number") for name in names)
    schema = Schema(ProblemSchema("classification" if classes else "regression", "y", columns), {}, classes)
    rows = len(x)
    labels: Any = truth.astype(np.float64)
    if classes:
        labels = np.array(classes, dtype=object)[truth]
    return Cohort(
        schema=schema,
        seqs=np.arange(1, rows + 1),
        times=days * DAY_MICROS,
        labelled=np.ones(rows, dtype=np.bool_),
        labels=labels,
        delays=np.zeros(rows),
        answers=said.argmax(axis=1) if classes else said,
        shares=said if classes else np.empty((rows, 0)),
        entities=np.full(rows, ALONE),
        said=np.ones(rows, dtype=np.bool_),
        features={name: x[:, place].astype(np.float32) for place, name in enumerate(names)},
        carried={},
    )


def boosting(x: Floats, y: NDArray[Any], regression: bool) -> Callable[[Floats], Floats]:
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    model = kind(max_iter=60, max_leaf_nodes=15, random_state=0).fit(x, y)
    return model.predict if regression else model.predict_proba  # type: ignore[no-any-return]


def candour(loss: Loss, said: Floats, y: NDArray[Any], regression: bool) -> Mapping[str, Any]:
    """What a card says of the holdout."""
    held: dict[str, Any] = {"reference_loss": float(bout_losses(loss.name, said, y, loss.scale).mean())}
    if not regression:
        held["reference_estimate"] = expected_loss(loss.name, said)
    return held


def drawn_anew(again: Sequence[Cohort], loss: Loss, names: tuple[str, ...]) -> dict[str, Floats]:
    """Each metric's values on the same rows with other labels: their mean is what an oracle expects."""
    redrawn = [measure(other, loss) for other in again]
    return {name: np.array([one[name].value for one in redrawn]) for name in names}


def judge(
    found: Found, estimator: Estimator, window: Cohort, redrawn: Mapping[str, Floats], levels: Mapping[str, float]
) -> None:
    """`levels`: what matured rows say over what an oracle expects of them."""
    estimated = estimator.metrics(window)
    for name, values in redrawn.items():
        oracle = float(values.mean())
        # Its own draws are about 1/n of a variance too close to their mean.
        noise = float(np.abs(values - oracle).mean()) * math.sqrt(len(values) / (len(values) - 1))
        found.errors.setdefault(name, []).append(float(np.abs(estimated[name].value - values).mean()))
        found.half_blind.setdefault(name, []).append(float(np.abs(levels[name] * oracle - values).mean()))
        found.noises.setdefault(name, []).append(noise)


def interval(errors: Sequence[float], noises: Sequence[float]) -> tuple[float, float]:
    """In which their ratio lies, to 95 %: of worlds drawn again, since the windows of one share its estimator."""
    each = np.array([errors, noises]).reshape(2, -1, JUDGED).sum(axis=2)
    drawn = np.random.default_rng(0).integers(each.shape[1], size=(RESAMPLED, each.shape[1]))
    sums = each[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], (0.025, 0.975))
    return float(low), float(high)


def gap(estimator: Estimator, window: Cohort, loss: Loss, promised: float) -> dict[int, DaySums]:
    excess = window.losses(loss) - estimator.losses(window) - TOLERANCE * promised
    return sum_days(np.clip(excess, -1, 1), window.days)


def simulate(regression: bool, scenario: str, worlds: int, processes: int) -> Found:
    """Worlds are numbered by their seed: the number of processes changes nothing."""
    one = partial(simulate_one, regression, scenario)
    found = Found()
    if processes == 1:
        parts = [one(seed) for seed in range(FIRST_WORLD, FIRST_WORLD + worlds)]
    else:
        with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
            parts = list(pool.map(one, range(FIRST_WORLD, FIRST_WORLD + worlds)))
    for part in parts:
        found.add(part)
    return found


def simulate_one(regression: bool, scenario: str, seed: int) -> Found:
    found = Found()
    names = NUMERIC if regression else CLASSIFIED
    quiet = World(regression)
    later = World(regression, shift=0.7 if scenario == "covariate shift" else 0.0, broken=scenario == "concept drift")
    classes = () if regression else ("0", "1")
    rng = np.random.default_rng(seed)
    x = quiet.features(rng, TRAINED + 2 * MATURED)
    y = quiet.truth(rng, x)
    answer = boosting(x[:TRAINED], y[:TRAINED], regression)
    holdout = slice(TRAINED, TRAINED + MATURED)
    scale = 3 * float(np.median(np.abs(answer(x[holdout]) - y[holdout]))) if regression else 1.0
    loss = Loss("absolute" if regression else "brier", scale)
    card = candour(loss, answer(x[holdout]), y[holdout], regression)
    matured, zeros = x[TRAINED + MATURED :], np.zeros(MATURED, dtype=np.int64)
    before = build(matured, answer(matured), y[TRAINED + MATURED :], classes, zeros)
    estimator = fit_estimator(before, loss, card, None)
    known = [build(matured, answer(matured), quiet.truth(rng, matured), classes, zeros) for _ in range(REDRAWN)]
    observed = measure(before, loss)
    expected = drawn_anew(known, loss, names)
    levels = {name: observed[name].value / float(values.mean()) for name, values in expected.items()}
    evidence: dict[int, DaySums] = {}
    peak_at = None
    for day in range(WINDOWS):
        new = later.features(rng, WINDOW)
        said, days = answer(new), np.full(WINDOW, day)
        window = build(new, said, later.truth(rng, new), classes, days)
        if day < JUDGED:
            again = [build(new, said, later.truth(rng, new), classes, days) for _ in range(REDRAWN)]
            judge(found, estimator, window, drawn_anew(again, loss, names), levels)
        evidence = merge([evidence, gap(estimator, window, loss, float(card["reference_loss"]))])
        if peak_at is None and accumulate(evidence).peak >= 1 / ALPHA:
            peak_at = (day + 1) * WINDOW
    found.alarms.append(peak_at is not None)
    if peak_at is not None:
        found.labels_to_alarm.append(peak_at)
    return found


def stream(path: Path) -> tuple[Found, int]:
    """The model of the first third, an estimator renewed on the last 3,000 matured rows, windows of 500."""
    frame = pd.read_parquet(path)
    target = frame.columns[-1]
    regression = target in ("cnt", "traffic_volume")
    y: NDArray[Any] = frame[target].to_numpy()
    y = y.astype(np.float64) if regression else pd.factorize(y, sort=True)[0]
    inputs = frame.drop(columns=[target]).select_dtypes("number")
    x = inputs.to_numpy(dtype=np.float64)
    classes = () if regression else tuple(str(code) for code in range(int(y.max()) + 1))
    cut = len(x) // 3
    holdout = slice(cut - cut // 5, cut)
    answer = boosting(x[: holdout.start], y[: holdout.start], regression)
    scale = 3 * float(np.median(np.abs(answer(x[holdout]) - y[holdout]))) if regression else 1.0
    loss = Loss("absolute" if regression else "brier", scale)
    card = candour(loss, answer(x[holdout]), y[holdout], regression)
    size = 500 if len(x) > 5_000 else 200
    every = build(x, answer(x), y, classes, np.arange(len(x)) // size)
    found, evidence = Found(), {}
    stretches: dict[int, Stretch] = {}
    for start in range(cut, len(x) - size + 1, size):
        window = every.take(np.arange(start, start + size))
        matured = every.take(np.arange(max(holdout.start, start - 3_000), start))
        estimator = fit_estimator(matured, loss, card, None)
        losses = window.losses(loss)
        end = int(window.times[0])
        stretches = newest(stretches, track(matured, loss, card, None, length=DAY_MICROS, end=end, known=stretches))
        own = tracked(estimator, matured, loss, None, TrackRecord(stretches), DAY_MICROS, end)
        came, estimated = float(losses.mean()), own.metrics(window)["loss"]
        if own.record.judged:
            chance = estimator.metrics(window)["loss"]
            found.chance_bands.append(chance.low <= came <= chance.high)
            found.bands.append(estimated.low <= came <= estimated.high)
            found.by_last_labels.append(own.by_last_labels)
        found.errors.setdefault("loss", []).append(abs(estimated.value - came))
        found.noises.setdefault("loss", []).append(MEAN_ABS * standard_error(losses, INDEPENDENT)[0])
        evidence = merge([evidence, gap(estimator, window, loss, float(card["reference_loss"]))])
        if not found.labels_to_alarm and accumulate(evidence).peak >= 1 / ALPHA:
            found.labels_to_alarm.append(start + size - cut)
    return found, len(x) - cut


def synthetic(kind: str, worlds: int, processes: int) -> Iterator[list[str]]:
    for scenario in ("nothing changes", "covariate shift", "concept drift"):
        found = simulate(kind == "regression", scenario, worlds, processes)
        drifts = scenario == "concept drift"
        alarms = f"{np.mean(found.alarms):.0%}"
        if found.labels_to_alarm:
            alarms += f" after {int(np.median(found.labels_to_alarm)):,}"
        for name in found.errors:
            error, noise = float(np.mean(found.errors[name])), float(np.mean(found.noises[name]))
            caught = np.mean(found.alarms) >= 0.95 if drifts else np.mean(found.alarms) <= ALPHA + 0.06
            holds = caught and (drifts or error <= WITHIN * noise)
            half_blind = float(np.mean(found.half_blind[name]))
            low, high = interval(found.errors[name], found.noises[name])
            ratios = [f"{error / noise:.2f}", f"{low:.2f}–{high:.2f}", f"{half_blind / noise:.2f}"]
            row = [f"{kind}, {scenario}", name, f"{error:.4f}", f"{noise:.4f}", *ratios, alarms]
            yield [*row, HOLDS if holds else "**no**"]


def streams(folder: Path, processes: int) -> Iterator[list[str]]:
    paths = sorted((folder / "streams").glob("*.parquet"))
    with ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        parts = list(pool.map(stream, paths))
    for path, (found, rows) in zip(paths, parts, strict=True):
        error, noise = float(np.mean(found.errors["loss"])), float(np.mean(found.noises["loss"]))
        alarm = f"after {found.labels_to_alarm[0]:,}" if found.labels_to_alarm else "never"
        yield [
            path.stem,
            f"{rows:,}",
            f"{error:.4f}",
            f"{noise:.4f}",
            f"{error / noise:.2f}" if noise > 1e-4 else "",
            *(f"{np.mean(each):.0%}" for each in (found.chance_bands, found.bands, found.by_last_labels)),
            alarm,
        ]


def draw(lines: list[list[str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.32 * len(lines) + 1.4))
    names = [f"{line[0]}: {line[1]}" for line in lines]
    colours = ["#b23b3b" if "concept" in line[0] else "#2f6fdb" for line in lines]
    axes.barh(names, [float(line[4]) for line in lines], color=colours)
    axes.axvline(1.0, color="#697386", linestyle=":", label="sampling noise")
    axes.axvline(WITHIN, color="#697386", linestyle="--", label="1.5 times it")
    axes.invert_yaxis()
    axes.set_xlabel("mean absolute error of the estimate, in sampling noises (red: the labels then contradict it)")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with streams/*.parquet, each with its target last")
    parser.add_argument("--quick", action="store_true", help="fewer worlds")
    parser.add_argument("--write", action="store_true", help="put table and plot into benchmarks/RESULTS.md")
    parser.add_argument("--worlds", type=int, default=60, help="that are simulated of each kind")
    parser.add_argument("--processes", type=int, default=1, help="that simulate worlds, and read streams")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure these alone; others stay as measured")
    given = parser.parse_args()
    worlds = 12 if given.quick else given.worlds
    held = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    lines: list[list[str]] = []
    for part in given.part or PARTS[: 3 if given.data else 2]:
        with threadpool_limits(limits=1):
            made = (
                streams(given.data, given.processes) if part == "streams" else synthetic(part, worlds, given.processes)
            )
            measured = []
            for line in made:
                print(" | ".join(line), flush=True)
                measured.append(line)
        held[part] = {"on": str(datetime.now(UTC).date()), "worlds": worlds, "lines": measured}
        lines += measured if part != "streams" else []
        if given.write:
            KEPT.write_text(json.dumps(held, indent=1) + "\n")
            draw([line for kind in PARTS[:2] for line in held.get(kind, {}).get("lines", [])], HERE / "quality.png")
            replace_section(HERE / "RESULTS.md", "quality", text(held))
    return 0 if all(line[-1] == HOLDS for line in lines) else 1


def text(held: Mapping[str, Any]) -> str:
    heads = ["", "metric", "mean abs. error", "sampling noise", "ratio", "95 %", "half-blind oracle", "gap's alarm"]
    heads.append("holds")
    kinds = [part for part in PARTS[:2] if part in held]
    measured = "; ".join(f"{part} in {held[part]['worlds']} worlds, {_when(held[part])}" for part in kinds)
    said = (
        f'## Estimated quality\n\n`make bench-quality ARGS="--data FOLDER"`, simulated: it does not depend on the '
        f"machine ({measured}). In each world {JUDGED} estimates for {WINDOW:,} rows without labels, the estimator "
        f"fitted on {MATURED:,} matured ones. Each window's labels are drawn {REDRAWN} times. The noise is their mean "
        "distance from what an oracle expects that knows every row's law, whose own ratio is 1 (in standard errors all "
        "ratios would be .8 of these). The half-blind oracle knows every row's law but for one factor that they share, "
        "and has that of the same matured rows: its ratio could be reached if what an error depends on need not be "
        f"learned. The gap is looked at after each of {WINDOWS} windows: the share of worlds in which it alarms, "
        "and after how many labels (median). Wanted: a ratio of at most 1.5 where what follows from the features stays "
        "the same, and an alarm where it does not.\n\n"
        + table(heads, [line for part in kinds for line in held[part]["lines"]])
    )
    if "streams" in held:
        real = held["streams"]
        said += (
            f"\nReal streams ({_when(real)}), windows of 500 rows (200 of the short one), the bout's loss:\n\n"
            + table(STREAM_HEADS, real["lines"])
        )
    return said + "\n![error of the estimate in sampling noises](quality.png)\n"


def _when(part: Mapping[str, Any]) -> str:
    """The day; and what has changed since, where somebody wrote it beside a part that was not yet measured anew."""
    return ", ".join([part["on"], *([part["note"]] if part.get("note") else [])])


if __name__ == "__main__":
    sys.exit(main())
