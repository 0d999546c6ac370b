"""Does the evidence keep its promise? Simulated bouts, looked at after every label.

    python -m benchmarks.evidence [--quick] [--output benchmarks/results/evidence.md]

Each line has a bound that must hold; the naive t-test is the negative control, which shows that this harness can see
the fault. Delay that depends on the outcome goes through the real record and the real join. Exit code 1 where a
bound is broken. About five minutes of one core, half a minute with --quick.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitoring.bouts.family import spent_alpha
from monitoring.bouts.look import examine
from monitoring.evidence import e_values, rate_e_values
from record.bouts.bout import Bout, ShadowScore
from record.logged import LabelGiven
from tests.monitoring.arena import HORIZON, START, Arena, logistic

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

ALPHA = 0.05
LABELS = 10_000
MINUTE = timedelta(minutes=1)
WEEK, WINDOW = timedelta(weeks=1), timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Line:
    scenario: str
    measured: str
    bound: str
    holds: bool


def accuracy(better: float) -> Draw:
    """Differences of 0-1 losses: the models disagree on a tenth of requests."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        return rng.choice([1.0, 0.0, -1.0], count, p=[0.05 + better / 2, 0.9, 0.05 - better / 2])

    return draw


def brier(champion_noise: float, challenger_noise: float) -> Draw:
    """Differences of Brier losses of two logistic scorers with independent errors of those sizes."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        truth = rng.normal(0, 1, count)
        label = rng.random(count) < 1 / (1 + np.exp(-truth))
        said = [1 / (1 + np.exp(-truth - rng.normal(0, noise, count))) for noise in (champion_noise, challenger_noise)]
        losses = [(share - label) ** 2 for share in said]
        difference: Floats = losses[0] - losses[1]
        return difference

    return draw


def regression(challenger_scale: float) -> Draw:
    """Differences of absolute errors with heavy tails, clipped at three times the champion's median."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        common, *own = (rng.standard_t(3, count) for _ in range(3))
        errors = [np.abs(common + own[0]), challenger_scale * np.abs(common + own[1])]
        clip = 3 * 1.19  # of the champion's median error, known from before the bout
        difference: Floats = np.minimum(errors[0] / clip, 1) - np.minimum(errors[1] / clip, 1)
        return difference

    return draw


def first_crossing(running: Floats, needed: float) -> int | None:
    crossed = running >= needed
    return int(np.argmax(crossed)) + 1 if crossed.any() else None


def naive_t(differences: Floats) -> Floats:
    """The t statistic after every label; compared with 1.645 from the thirtieth on."""
    count = np.arange(1, len(differences) + 1)
    mean = np.cumsum(differences) / count
    spread = np.sqrt(np.maximum(np.cumsum(differences**2) / count - mean**2, 1e-12) / count)
    statistic: Floats = mean / spread
    statistic[:29] = -np.inf
    return statistic


def promoted(draw: Draw, runs: int, seed: int, *, naive: bool = False) -> list[int | None]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        differences = draw(rng, LABELS)
        running, needed = (naive_t(differences), 1.645) if naive else (e_values(differences), 1 / ALPHA)
        found.append(first_crossing(running, needed))
    return found


def share(found: list[int | None]) -> float:
    return sum(at is not None for at in found) / len(found)


def allowed(runs: int) -> float:
    """Alpha, and three of its standard errors."""
    return float(ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5)


def equal_models(runs: int) -> Iterator[Line]:
    cases = (("0-1", accuracy(0.0)), ("Brier", brier(0.6, 0.6)), ("clipped regression", regression(1.0)))
    for seed, (name, draw) in enumerate(cases):
        rate = share(promoted(draw, runs, seed))
        yield Line(f"equal models, {name}", f"{rate:.1%} crowned", f"≤ {allowed(runs):.1%}", rate <= allowed(runs))
        rate = share(promoted(draw, runs, seed, naive=True))
        yield Line(f"equal models, {name}, naive t-test", f"{rate:.1%} crowned", "> 35 %", rate > 0.35)


def power(runs: int) -> Iterator[Line]:
    cases = (
        ("two points more accurate", accuracy(0.02), 2_400),
        ("Brier, less noise", brier(0.6, 0.3), 4_000),
        ("errors a tenth smaller", regression(0.9), 4_000),
    )
    for seed, (name, draw, most) in enumerate(cases, start=10):
        found = promoted(draw, runs, seed)
        median = int(np.median([LABELS if at is None else at for at in found]))
        measured = f"{share(found):.1%} crowned, after {median:,} labels (median)"
        yield Line(f"better: {name}", measured, f"≥ 95 %, ≤ {most:,}", share(found) >= 0.95 and median <= most)


def family(runs: int) -> Iterator[Line]:
    """Twenty equal challengers, one after the other, 2,000 labels each."""
    rng = np.random.default_rng(20)
    whole = spent = 0
    for _ in range(runs):
        highest = [e_values(accuracy(0.0)(rng, 2_000)).max() for _ in range(20)]
        whole += any(value >= 1 / ALPHA for value in highest)
        opened: list[tuple[datetime, float]] = []
        for value in highest:
            at = START + len(opened) * WEEK
            opened.append((at, spent_alpha(opened, at, WINDOW, ALPHA)))
            if value >= 1 / opened[-1][1]:
                spent += 1
                break
    yield Line("20 equal challengers, alpha each", f"{whole / runs:.1%} with one crowned", "for comparison", True)
    holds = spent / runs <= allowed(runs)
    yield Line(
        "20 equal challengers, alpha spent", f"{spent / runs:.1%} with one crowned", f"≤ {allowed(runs):.1%}", holds
    )


def guardrails(runs: int) -> Iterator[Line]:
    rng = np.random.default_rng(30)

    def crossings(truth: float, direction: str, count: int) -> list[int | None]:
        drawn = (rng.random(count) < truth for _ in range(runs))
        return [first_crossing(rate_e_values(wrong, 0.05, direction), 1 / ALPHA) for wrong in drawn]  # type: ignore[arg-type]

    at_limit = share(crossings(0.05, "cleared", 5_000))
    yield Line(
        "failure rate at its limit", f"{at_limit:.1%} cleared", f"≤ {allowed(runs):.1%}", at_limit <= allowed(runs)
    )
    at_limit = share(crossings(0.05, "failed", 5_000))
    yield Line(
        "failure rate at its limit", f"{at_limit:.1%} failed", f"≤ {allowed(runs):.1%}", at_limit <= allowed(runs)
    )
    healthy = share(crossings(0.01, "cleared", 1_000))
    yield Line("failure rate 1 %", f"{healthy:.1%} cleared within 1,000", "≥ 99 %", healthy >= 0.99)
    sick = share(crossings(0.10, "failed", 1_000))
    yield Line("failure rate 10 %", f"{sick:.1%} failed within 1,000", "≥ 95 %", sick >= 0.95)


def probation(runs: int) -> Iterator[Line]:
    def rolled_back(harm: float, seed: int) -> list[int | None]:
        rng = np.random.default_rng(seed)
        return [first_crossing(e_values(accuracy(harm)(rng, 5_000)), 1 / ALPHA) for _ in range(runs)]

    healthy = share(rolled_back(0.0, 40))
    yield Line(
        "probation, equal champion", f"{healthy:.1%} rolled back", f"≤ {allowed(runs):.1%}", healthy <= allowed(runs)
    )
    harmed = rolled_back(0.05, 41)
    median = int(np.median([at or 5_000 for at in harmed]))
    measured = f"{share(harmed):.1%} rolled back, after {median:,} labels (median)"
    yield Line("probation, five points worse", measured, "≥ 99 %, ≤ 500", share(harmed) >= 0.99 and median <= 500)


def informative_delay(runs: int) -> Iterator[Line]:
    """A challenger that leans to no, and loses by it what it gains; yeses are labelled an hour (400 requests) late."""
    request_order = arrival_order = 0
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena.build(Path(folder), max_challengers=1)
        arena.register(logistic(0.0))
        for run in range(runs):
            start = START + run * timedelta(days=1)
            bout, arrived = lean_to_no(arena, start, np.random.default_rng(1000 + run))
            for minute in range(60, 60 * 4, 4):
                look = examine(arena.record, arena.record.bouts.get(bout.bout), start + minute * MINUTE)
                arena.record.bouts.enter_pairs(bout.bout, look.entered, look.matured_until, look.look.to_json())
            _, differences = arena.record.bouts.pairs(bout.bout)
            request_order += bool(e_values(differences).max() >= 1 / ALPHA)
            arrival_order += bool(e_values(differences[arrived]).max() >= 1 / ALPHA)
            arena.record.bouts.void(bout.bout, "the next run")
            arena.record.registry.reject(bout.challenger, actor="benchmark", reason="the next run")
    limit = 0.065
    rate = request_order / runs
    yield Line("late labels of yeses, the real join", f"{rate:.1%} crowned", f"≤ {limit:.1%}", rate <= limit)
    rate = arrival_order / runs
    yield Line("late labels of yeses, as they arrive", f"{rate:.1%} crowned", "> 90 %", rate > 0.9)


def lean_to_no(arena: Arena, start: datetime, rng: np.random.Generator) -> tuple[Bout, NDArray[np.int64]]:
    """A bout with its requests, scores and labels, and the order in which the labels came."""
    version = arena.register(logistic(0.0))
    (bout,) = arena.open(start)
    assert bout.challenger == version.version
    asked = arena.ask(1_000, start, every=timedelta(seconds=9))
    truths = rng.random(len(asked)) < 0.45
    asked = [replace(item, truth=bool(truth)) for item, truth in zip(asked, truths, strict=True)]
    rows, cursor = arena.record.log.tail(bout.cursor, len(asked))
    # (.5 − y)² − (.4 − y)² is .09 for a no, −.11 for a yes: even at 45 % yeses.
    said = '{"no": 0.6, "yes": 0.4}'
    arena.record.bouts.record_scores(bout.bout, [ShadowScore(r.seq, "scored", '"no"', said, 100) for r in rows], cursor)
    came = [(item.at + (HORIZON if item.truth else MINUTE)).replace(second=0) for item in asked]
    for at in sorted(set(came)):
        told = [item for item, when in zip(asked, came, strict=True) if when == at]
        given = [LabelGiven(item.id, '"yes"' if item.truth else '"no"') for item in told]
        arena.record.log.add_labels(given, at)
    return bout, np.array(sorted(range(len(asked)), key=lambda place: came[place]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs, wider bounds")
    parser.add_argument("--output", type=Path, help="where to write the table, as Markdown")
    given = parser.parse_args()
    runs = 200 if given.quick else 2_000
    started = time.perf_counter()
    lines: list[Line] = []
    for scenario in (equal_models, power, family, guardrails, probation, informative_delay):
        count = {family: runs // 4, power: runs // 4, informative_delay: max(20, runs // 20)}.get(scenario, runs)
        for line in scenario(count):
            print(f"{'ok ' if line.holds else 'NO '} {line.scenario:45} {line.measured:55} {line.bound}", flush=True)
            lines.append(line)
    print(f"{time.perf_counter() - started:.0f} s")
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(table(lines, runs))
    return 0 if all(line.holds for line in lines) else 1


def table(lines: list[Line], runs: int) -> str:
    head = f"Alpha .05, a look after every label, up to {LABELS:,} labels, {runs:,} runs of equal models.\n\n"
    rows = "".join(
        f"| {line.scenario} | {line.measured} | {line.bound} | {'yes' if line.holds else '**no**'} |\n"
        for line in lines
    )
    return head + "| scenario | measured | bound | holds |\n|---|---|---|---|\n" + rows


if __name__ == "__main__":
    sys.exit(main())
