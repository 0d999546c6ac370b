"""The table's rows on bouts: which traffic, under which design, and what has to come of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.family import FamilyShare, family_share
from monitoring.bouts.opening import CYCLES
from monitoring.prove.course import Course, play, without_guards
from monitoring.prove.target import Target, median_or, with_errors
from monitoring.prove.traffic import (
    Traffic,
    at_rate,
    classes,
    repeated,
    scores,
    season,
    values,
    weather,
    without_labels,
)
from monitoring.prove.world import START
from record.configuration.loop_sections import PromotionSettings

ALPHA = 0.05
PAIRS = 10_000
PER_DAY = 200.0

Draw = Callable[[np.random.Generator], Traffic]
Judge = Callable[["BoutCase", Sequence[Course]], list[Target]]


@dataclass(frozen=True, slots=True)
class BoutCase:
    """One row's case. `design` changes single fields of the default design; `runs` are whole and quick ones."""

    name: str
    group: str
    title: str
    draw: Draw
    judge: Judge
    promotion: dict[str, Any] = field(default_factory=dict)  # settings other than the defaults
    alpha: float | None = None  # of the bout; None: what the first of a family gets
    guards_off: tuple[str, ...] = ()
    probation: bool = False
    look_every: timedelta = timedelta(hours=6)
    runs: int = 400
    quick_runs: int = 100

    def designed(self) -> Design:
        """The design that the product makes of the settings, as the case has it."""
        promotion = PromotionSettings.model_validate({"deadline": "3650d", **self.promotion})
        loss, scale, horizon = promotion.loss, 1.0, timedelta(days=1)
        if self.probation:
            return Design.of_probation(promotion, loss=loss, loss_scale=scale, horizon=horizon)
        share = family_share([], "v1", "v2", START, promotion.family_window, promotion.alpha)
        if self.alpha is not None:
            share = FamilyShare(1, self.alpha)
        cycle = CYCLES[promotion.cycle if promotion.cycle != "auto" else "none"]
        design = Design.of_challenge(promotion, share=share, loss=loss, loss_scale=scale, horizon=horizon, cycle=cycle)
        return without_guards(design, *self.guards_off)

    def courses(self, runs: int, seed: int) -> list[Course]:
        """So many bouts, each from a seed of its own."""
        design = self.designed()
        seeds = np.random.SeedSequence([seed, zlib.crc32(self.name.encode())]).spawn(runs)
        return [play(self.draw(np.random.default_rng(each)), design, self.look_every) for each in seeds]


def share_promoted(bound: float, errors: float = 3.0) -> Judge:
    """The share of runs in which the challenger was promoted is at most `bound`, and so many standard errors."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        promoted = sum(course.outcome == "promote" for course in courses) / len(courses)
        most = with_errors(bound, len(courses), errors)
        return [Target(case.name, case.group, case.title, promoted, most, runs=len(courses))]

    return judge


def found(share: float, median: float | None = None) -> Judge:
    """At least this share of runs ends in a promotion, after at most `median` labels in the middle run."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        ended = [course.pairs if course.outcome == "promote" else None for course in courses]
        promoted = sum(pairs is not None for pairs in ended) / len(ended)
        # As many errors as a whole run of this size may be wrong by: what holds is not called broken by chance.
        least = share - (with_errors(share, len(ended)) - share if share < 1 else 0.0)
        told = [Target(case.name, case.group, case.title, promoted, least, "at least", runs=len(ended))]
        if median is not None:
            middle = median_or(ended, float("inf"))
            name, title = f"{case.name}_median", f"{case.title}, median"
            told.append(Target(name, case.group, title, middle, median, unit="labels", runs=len(ended)))
        return told

    return judge


def only_median(most: float) -> Judge:
    """The middle run is promoted after at most so many labels."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        ended = [course.pairs if course.outcome == "promote" else None for course in courses]
        middle = median_or(ended, float("inf"))
        return [Target(case.name, case.group, case.title, middle, most, unit="labels", runs=len(ended))]

    return judge


def held_by_guard(most: float) -> Judge:
    """The label-rate guard held at most this share of the bouts, at any look."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        held = sum(course.label_guard for course in courses) / len(courses)
        return [Target(case.name, case.group, case.title, held, with_errors(most, len(courses)), runs=len(courses))]

    return judge


def rolled_back_at_most(most: float) -> Judge:
    """A sound champion is sent back in at most this share of runs, and three standard errors."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        share = sum(course.outcome == "roll_back" for course in courses) / len(courses)
        return [Target(case.name, case.group, case.title, share, with_errors(most, len(courses)), runs=len(courses))]

    return judge


def rolled_back(least: float, median: float | None = None) -> Judge:
    """A harmful champion is sent back in at least this share of runs, after at most `median` labels."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        ended = [course.pairs if course.outcome == "roll_back" else None for course in courses]
        share = sum(pairs is not None for pairs in ended) / len(ended)
        told = [Target(case.name, case.group, case.title, share, least, "at least", runs=len(ended))]
        if median is not None:
            middle = median_or(ended, float("inf"))
            name, title = f"{case.name}_median", f"{case.title}, median"
            told.append(Target(name, case.group, title, middle, median, unit="labels", runs=len(ended)))
        return told

    return judge


def fails(least: float) -> Judge:
    """A negative control: it has to go wrong at least so often, or the harness cannot see the fault."""

    def judge(case: BoutCase, courses: Sequence[Course]) -> list[Target]:
        promoted = sum(course.outcome == "promote" for course in courses) / len(courses)
        return [Target(case.name, case.group, case.title, promoted, least, "at least", runs=len(courses))]

    return judge


def _pairs(better: float = 0.0, count: int = PAIRS, per_day: float = PER_DAY) -> Draw:
    return lambda rng: classes(rng, at_rate(count, per_day), better)


def _scores(count: int = PAIRS, per_day: float = PER_DAY, **options: Any) -> Draw:
    return lambda rng: scores(rng, at_rate(count, per_day), **options)


def _season(amplitude: float, cycle_days: float, count: int, per_day: float, better: float = 0.0) -> Draw:
    """The phase is another one in every run: a bout begins on any day, at any hour."""

    def draw(rng: np.random.Generator) -> Traffic:
        times = at_rate(count, per_day)
        return classes(rng, times, better + season(times, amplitude, cycle_days, rng.random()))

    return draw


def _days(deviation: float, count: int, per_day: float) -> Draw:
    def draw(rng: np.random.Generator) -> Traffic:
        times = at_rate(count, per_day)
        return classes(rng, times, np.clip(weather(rng, times, deviation), -0.1, 0.1))

    return draw


def _entities(repeats: int, *, better: float = 0.0, in_a_row: bool, count: int = PAIRS) -> Draw:
    return lambda rng: repeated(rng, at_rate(count, PER_DAY), repeats, better=better, in_a_row=in_a_row)


def _missing(share: float, better: float) -> Draw:
    return lambda rng: without_labels(rng, classes(rng, at_rate(PAIRS, PER_DAY), better), share)


def _by_outcome(negatives_labelled: float) -> Draw:
    """The champion leans to no, the challenger to yes; of negatives, only that share has a label at the horizon."""
    return _scores(noise=(0.3, 0.3), lean=0.5, missing=(1 - negatives_labelled, 0.0))


EQUAL = "equal models promoted"
SEASONS = "equal models promoted: seasons"
WEATHER = "equal models promoted: day effects"
POWER = "two points better at 10 % discordance, all guards on"
OTHERS = "log loss 0.3→0.15 noise; 1.6 % positives"
CONTROLS = "negative controls"

FINE = timedelta(hours=2)

# A week's season and its phase; six whole cycles.
WEEKS = 6 * 7 * 1_000


def equal_cases() -> list[BoutCase]:
    """Nobody is better: whoever is promoted is promoted by chance."""
    equal = share_promoted(ALPHA)
    cases = [
        BoutCase("equal_zero_one", EQUAL, "independent pairs, 0-1", _pairs(), equal, {"loss": "zero_one"}, ALPHA),
        BoutCase("equal_brier", EQUAL, "independent pairs, Brier", _scores(noise=(0.6, 0.6)), equal, {}, ALPHA),
        BoutCase(
            "equal_log",
            EQUAL,
            "independent pairs, log",
            _scores(noise=(0.6, 0.6), loss="log"),
            equal,
            {"loss": "log"},
            ALPHA,
        ),
        BoutCase(
            "equal_regression",
            EQUAL,
            "independent pairs, clipped regression",
            lambda rng: values(rng, at_rate(PAIRS, PER_DAY)),
            equal,
            {"loss": "absolute"},
            ALPHA,
        ),
        BoutCase(
            "equal_entities_in_a_row",
            EQUAL,
            "entities repeating 20 times in a row",
            _entities(20, in_a_row=True),
            equal,
            {"loss": "zero_one"},
            ALPHA,
        ),
        BoutCase(
            "equal_entities_interleaved",
            EQUAL,
            "entities repeating 20 times, interleaved",
            _entities(20, in_a_row=False),
            equal,
            {"loss": "zero_one"},
            ALPHA,
        ),
    ]
    for percent in (60, 70, 80, 90):
        title = f"labels missing by outcome: {percent} % of negatives labelled"
        cases.append(
            BoutCase(f"equal_missing_by_outcome_{percent}", EQUAL, title, _by_outcome(percent / 100), equal, {}, ALPHA)
        )
    for percent in (95, 97, 99):
        title = f"labels missing by outcome: {percent} % of negatives labelled"
        name = f"equal_missing_by_outcome_{percent}"
        cases.append(BoutCase(name, EQUAL, title, _by_outcome(percent / 100), share_promoted(0.1, 0.0), {}, ALPHA))
    return cases


def season_cases() -> list[BoutCase]:
    """The lead comes and goes, and is nothing on average."""
    return [
        BoutCase(
            "equal_season_daily",
            SEASONS,
            "daily season of amplitude 0.04 at 5,000 a day",
            _season(0.04, 1, PAIRS, 5_000),
            share_promoted(ALPHA),
            {"loss": "zero_one", "cycle": "day"},
            ALPHA,
            look_every=timedelta(hours=1),
        ),
        BoutCase(
            "equal_season_weekly",
            SEASONS,
            "weekly season of amplitude 0.04 at 1,000 a day, six cycles",
            _season(0.04, 7, WEEKS, 1_000),
            share_promoted(ALPHA),
            {"loss": "zero_one", "cycle": "week"},
            ALPHA,
            look_every=timedelta(days=1),
        ),
        BoutCase(
            "equal_day_effects",
            WEATHER,
            "day effects of sd 0.02 at 1,000 a day",
            _days(0.02, PAIRS, 1_000),
            share_promoted(0.1, 0.0),
            {"loss": "zero_one"},
            ALPHA,
            look_every=timedelta(hours=3),
        ),
    ]


def power_cases() -> list[BoutCase]:
    """The challenger is better, and has to be found."""
    cases = [
        BoutCase(
            "power_independent",
            POWER,
            "independent pairs",
            _pairs(0.02),
            found(0.95, 2_300),
            {"loss": "zero_one"},
            look_every=FINE,
        ),
        BoutCase(
            "power_entities",
            POWER,
            "entities repeating 5 times, within 20,000 requests",
            _entities(5, better=0.02, in_a_row=False, count=20_000),
            found(0.9),
            {"loss": "zero_one"},
        ),
    ]
    for percent in (1, 5, 20):
        title = f"{percent} % of labels missing at random"
        cases.append(
            BoutCase(
                f"power_missing_{percent}",
                POWER,
                title,
                _missing(percent / 100, 0.02),
                found(0.9),
                {"loss": "zero_one"},
            )
        )
    cases += [
        BoutCase(
            "power_season_weekly",
            POWER,
            "under the weekly season, within six cycles",
            _season(0.04, 7, WEEKS, 1_000, better=0.02),
            found(0.8),
            {"loss": "zero_one", "cycle": "week"},
            look_every=timedelta(days=1),
        ),
        BoutCase(
            "power_log",
            OTHERS,
            "log loss, noise 0.3 against 0.15",
            _scores(noise=(0.3, 0.15), loss="log"),
            only_median(4_500),
            {"loss": "log"},
            look_every=FINE,
        ),
        BoutCase(
            "power_rare_positives",
            OTHERS,
            "1.6 % positives, noise 0.6 against 0.15",
            _scores(24_000, 1_000, noise=(0.6, 0.15), centre=-4.6),
            only_median(12_000),
        ),
    ]
    return cases


def guard_cases() -> list[BoutCase]:
    """What is sound is not held."""
    return [
        BoutCase(
            f"guard_missing_at_random_{percent}",
            "guards do not hold what is sound",
            f"label-rate guard, {percent} % of labels missing at random",
            lambda rng, share=percent / 100: without_labels(  # type: ignore[misc]
                rng, scores(rng, at_rate(PAIRS, PER_DAY), noise=(0.3, 0.3), lean=0.5), share
            ),
            held_by_guard(0.03),
        )
        for percent in (5, 20)
    ]


PROBATION = "after promotion"


def probation_cases() -> list[BoutCase]:
    """The former champion watches over the new one: what does harm is sent back, what does not stays."""

    def turned(rng: np.random.Generator) -> Traffic:
        """Better by five points first, worse by five points from the middle of the watch on."""
        times = at_rate(5_000, PER_DAY)
        return classes(rng, times, np.where(np.arange(len(times)) < 2_500, -0.05, 0.05))

    settings = {"loss": "zero_one", "rollback_watch": 5_000}
    return [
        BoutCase(
            "probation_healthy",
            PROBATION,
            "as good as the former one: rolled back",
            _pairs(0.0, 5_000),
            rolled_back_at_most(ALPHA),
            settings,
            probation=True,
        ),
        BoutCase(
            "probation_worse",
            PROBATION,
            "five points worse: rolled back",
            _pairs(0.05, 5_000),
            rolled_back(0.99, 450),
            settings,
            probation=True,
            look_every=FINE,
        ),
        BoutCase(
            "probation_worse_from_the_middle",
            PROBATION,
            "better first, worse from the middle on: rolled back",
            turned,
            rolled_back(0.95),
            settings,
            probation=True,
        ),
    ]


def control_cases() -> list[BoutCase]:
    """Each guard switched off: the fault that it is there for must show."""

    def forgotten(rng: np.random.Generator) -> Traffic:
        return replace(repeated(rng, at_rate(PAIRS, PER_DAY), 20, in_a_row=True), entities=None)

    return [
        BoutCase(
            "control_no_entity",
            CONTROLS,
            "entities repeating 20 times, without the entity column and the design effect",
            forgotten,
            fails(0.2),
            {"loss": "zero_one"},
            ALPHA,
            ("cycle",),
        ),
        BoutCase(
            "control_no_cycle",
            CONTROLS,
            "weekly season, without whole cycles and the design effect",
            _season(0.04, 7, WEEKS, 1_000),
            fails(0.15),
            {"loss": "zero_one"},
            ALPHA,
            ("cycle",),
            look_every=timedelta(hours=6),
        ),
        BoutCase(
            "control_no_label_guard",
            CONTROLS,
            "70 % of negatives labelled, without the guard of the label rate",
            _by_outcome(0.7),
            fails(0.5),
            {},
            ALPHA,
            ("label_rate",),
        ),
    ]


def bout_cases() -> list[BoutCase]:
    """Every case, in the order of the table."""
    return [
        *equal_cases(),
        *season_cases(),
        *power_cases(),
        *guard_cases(),
        *probation_cases(),
        *control_cases(),
    ]
