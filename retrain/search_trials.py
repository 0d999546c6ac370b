"""The trials of a search: proposed by Optuna, judged side by side, told of in order.

Each proposal follows from the seed, the trial's number and the trials some way before it, so that neither the number
of processes nor a break (`retrain.trials.record`) changes what is proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from record.configuration.loop_sections import FeatureStage
from record.failpoint import fail_point
from retrain.data.dataset import Dataset
from retrain.models.bounds import FOREST_TREES
from retrain.models.configuration import Configuration, Family
from retrain.models.families import FORESTS
from retrain.search_space import ORDER, suggest, targets
from retrain.timetable import Clocks, Timetable
from retrain.trials.allotment import drawn, shares
from retrain.trials.memory import Memory
from retrain.trials.record import TrialRecord
from retrain.trials.selection import Candidate
from retrain.trials.trial import Limits, Stopwatch, Told, TrialReport, best_loss
from retrain.trials.validation import TRIAL_TREES, Validation
from retrain.trials.workers import Alone, Crew, Order, Outcome, crew

Floats = npt.NDArray[np.float64]

# Proposals by chance before the sampler models what it has seen, the defaults among them.
RANDOM_TRIALS = 8
# The trials that an ensemble is selected from: the members of a good one are among the best.
POOL = 24
# How far proposals run ahead of what is known, so that a slow trial does not hold up the others. The same for any
# number of processes: proposals follow from it.
AHEAD = 3
# What is under way when the time is over may still end within this.
GRACE_SECONDS = 1.0


class Trials:
    """The trials of one search. They are told of in the order of their numbers, whichever ends first."""

    def __init__(
        self,
        judge: Validation,
        first: Sequence[Mapping[str, Any]],
        families: Sequence[Family],
        stages: Sequence[FeatureStage],
        data: Dataset,
        limits: Limits,
        seed: int,
        told: Told,
        record: TrialRecord | None,
        memory: Memory | None,
        timetable: Timetable,
    ) -> None:
        self._judge, self._families = judge, families
        self._task, self._seed, self._told = data.schema.problem.task, seed, told
        self._targets, self._stages = targets(data.target), stages
        self._limits, self._record, self._memory = limits, record, memory
        self._kept = {held["trial"]["number"]: held for held in (record.kept if record else ())}
        self._study = optuna.create_study(direction="minimize")
        self._taught = 0
        self._asked: list[optuna.trial.Trial] = []
        self._configurations: list[Configuration] = []
        self._ended: dict[int, tuple[TrialReport, Floats | None]] = {}  # before an earlier one
        self.reports: list[TrialReport] = []
        self.pool = Pool(len(data) / judge.fitted_rows)
        already = max((held["elapsed"] for held in self._kept.values()), default=0.0)
        self.watch = Stopwatch(limits, already, timetable)
        self._timetable = timetable
        self._workload = judge.workload
        self._first = self._cheapest_first(first)

    def run(self, processes: int) -> None:
        held = crew(self._judge, processes, self._timetable.clocks)
        self._say()
        try:
            while True:
                if self._wanted() and held.free():
                    if self._pressed():
                        held = _alone(held, self._judge, self._timetable.clocks)
                        if self._given_up():
                            return
                    self._ask(held)
                elif len(self.reports) < len(self._asked):
                    self._hear(held.outcomes(self._patience()))
                    if self._overdue():
                        return
                else:
                    return
        finally:
            held.dismiss()

    def _wanted(self) -> bool:
        """Whether to begin another trial now: not too far ahead of what is known."""
        asked = len(self._asked)
        if asked == 0 or asked in self._kept:
            return True
        if asked > len(self.reports) + AHEAD:
            return False
        return asked < self._limits.trials if self._limits.trials is not None else not self.watch.over(self.reports)

    def _ask(self, held: Crew) -> None:
        number = len(self._asked)
        known = self._kept.get(number)
        self._teach(max(0, number - AHEAD))
        self._study.sampler = _sampler(self._seed, number)
        if known is not None:
            self._study.enqueue_trial(known["values"])
        elif number < len(self._first):
            self._study.enqueue_trial(dict(self._first[number]))
        else:
            self._study.sampler = self._of_family(number)
        trial = self._study.ask()
        self._asked.append(trial)
        self._configurations.append(suggest(trial, self._families, self._task, self._targets, self._stages))
        if known is None and number and not self._affords(self._configurations[number]):
            self._end(self._too_dear(number), None)
            return
        if known is None:
            until = self.watch.until() if number else None
            best = self.pool.best_answers(number - AHEAD) if self._judge.in_turn else None
            held.give(Order(number, self._configurations[number], until, best))
            return
        report = TrialReport.from_json(known["trial"])
        self._end(report, _kept_answers(self._record, known, report, self._judge))

    def _cheapest_first(self, first: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The sets of values in their order; those for which the time is too short behind the others, cheapest first.

        The first one is tried in any case, and nothing ends it.
        """
        if self._limits.trials is not None:
            return first
        seconds = [self._workload.seconds(self._configuration(values)) for values in first]
        room = (self.watch.left() or 0.0) / self._timetable.slowdown
        order = sorted(range(len(first)), key=lambda place: seconds[place] if seconds[place] > room else 0.0)
        return [first[place] for place in order]

    def _configuration(self, values: Mapping[str, Any]) -> Configuration:
        fixed = optuna.trial.FixedTrial(dict(values))
        return suggest(fixed, self._families, self._task, self._targets, self._stages)

    def _affords(self, configuration: Configuration) -> bool:
        """Whether a trial may be begun: by its cost it ends in the time that is left, on the machine as it is."""
        left = self.watch.left()
        return left is None or self._workload.seconds(configuration) * self._timetable.slowdown <= left

    def _too_dear(self, number: int) -> TrialReport:
        configuration = self._configurations[number]
        seconds = self._workload.seconds(configuration) * self._timetable.slowdown
        reason = f"not begun: it would take about {seconds:.0f} s, and {self.watch.left() or 0.0:.0f} s are left"
        return TrialReport(number, configuration, None, 0.0, reason)

    def _of_family(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler with the family settled by what families have earned: see `retrain.trials.allotment`."""
        known = self.reports[: max(0, number - AHEAD)]
        families = [family for family in ORDER if family in self._families]
        cheap = {
            self._configuration(values).family for values in self._first if self._affords(self._configuration(values))
        }
        families = [family for family in families if family in cheap] or families
        held = shares(known, families, by_seconds=self._limits.trials is None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(
                {"family": drawn(held, (self._seed, number))}, self._study.sampler
            )

    def _teach(self, known: int) -> None:
        """The study learns of the first so many trials, and of no others that may have ended: see `AHEAD`."""
        for report in self.reports[self._taught : known]:
            if report.loss is None:
                self._study.tell(self._asked[report.number], state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(self._asked[report.number], report.loss)
        self._taught = max(self._taught, known)

    def _hear(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            judged, number = outcome.judged, outcome.number
            self._timetable.note(outcome.seconds, outcome.processor_seconds)
            if judged is None:
                report = TrialReport(number, self._configurations[number], None, outcome.seconds, outcome.error)
            else:
                report = TrialReport(
                    number, judged.configuration, judged.loss, outcome.seconds,
                    spared_seconds=judged.spared_seconds, stopped=judged.stopped,
                )  # fmt: skip
            answers = judged.answers if judged else None
            if self._record:
                values = self._asked[number].params
                self._record.append(_kept(report, values, self.watch.elapsed()), answers)
            self._end(report, answers)

    def _end(self, report: TrialReport, answers: Floats | None) -> None:
        self._ended[report.number] = (report, answers)
        while len(self.reports) in self._ended:
            report, answers = self._ended.pop(len(self.reports))
            self.reports.append(report)
            self.pool.add(report, answers)
            self._timetable.expected_fit = self.pool.best_fit_seconds
            if report.number not in self._kept:
                fail_point("search.trial")
                self._say()
            elif report.number == max(self._kept):
                self._say()

    def _say(self) -> None:
        if not self.reports and self._kept:
            return
        self._told(len(self.reports), self._limits.trials, best_loss(self.reports), self.watch.left())

    def _patience(self) -> float | None:
        """How long to wait for a trial: to the end of the time, where there is something to show by then."""
        if self._limits.trials is not None or best_loss(self.reports) is None:
            return None
        return max(0.0, (self.watch.left() or 0.0) + GRACE_SECONDS)

    def _overdue(self) -> bool:
        return self.watch.overdue(GRACE_SECONDS) and best_loss(self.reports) is not None

    def _pressed(self) -> bool:
        return self._memory is not None and bool(self.reports) and self._memory.room() <= 0

    def _given_up(self) -> bool:
        """Whether memory is short all the same."""
        assert self._memory is not None
        if not self._memory.pressed():
            return False
        self._memory.economies.append("search: ended early")
        return True


def _alone(held: Crew, judge: Validation, clocks: Clocks) -> Crew:
    """Without workers, and without what is kept for later trials; what was under way is begun anew."""
    alone = Alone(judge, clocks)
    for order in sorted(held.dismiss(), key=lambda order: order.number):
        alone.give(order)
    return alone


class Pool:
    """The best trials so far, with their answers on the judged rows: what an ensemble is selected from."""

    def __init__(self, more_rows: float) -> None:
        """A final fit is of so many times the rows that a trial's models were fitted on."""
        self._more_rows = more_rows
        self._held: list[tuple[float, Candidate]] = []

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for _, candidate in self._held]

    def fit_seconds(self, trial: TrialReport) -> float:
        """What a final fit may take, encoding included."""
        trees = FOREST_TREES / TRIAL_TREES if trial.configuration.family in FORESTS else 1.0
        return (trial.seconds * trees + trial.spared_seconds) * self._more_rows

    @property
    def best_fit_seconds(self) -> float:
        """What fitting the best of them on all rows may take."""
        return self._held[0][1].seconds if self._held else 0.0

    def best_answers(self, before: int) -> Floats | None:
        """Those of the best trial whose number is lower."""
        return next((candidate.answers for _, candidate in self._held if candidate.number < before), None)

    def add(self, trial: TrialReport, answers: Floats | None) -> None:
        if trial.loss is None or answers is None:
            return
        candidate = Candidate(trial.number, trial.configuration, answers, self.fit_seconds(trial))
        self._held.append((trial.loss, candidate))
        self._held.sort(key=lambda held: (held[0], held[1].number))
        del self._held[POOL:]


def _kept_answers(
    record: TrialRecord | None, held: Mapping[str, Any], trial: TrialReport, judge: Validation
) -> Floats | None:
    """As the trial gave them; given again where they cannot be read."""
    if record is None or trial.loss is None or trial.stopped:
        return None
    answers = record.answers(held)
    return judge.judge(trial.configuration).answers if answers is None else answers


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=RANDOM_TRIALS)


def _kept(trial: TrialReport, values: Mapping[str, Any], elapsed: float) -> dict[str, Any]:
    return {"values": dict(values), "elapsed": elapsed, "trial": trial.to_json()}
