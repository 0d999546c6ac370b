"""The search for a configuration: Optuna proposes, validation judges, what is known to be good comes first.

Each proposal follows from the seed, the trial's number and the trials before it, so that a search that goes on from
its record (`retrain.trial_record`) proposes what it would have proposed without the break.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from retrain.configuration import Configuration, Family
from retrain.dataset import Dataset
from retrain.memory import Memory
from retrain.search_space import defaults, suggest, values_of
from retrain.selection import Candidate, Selection, select
from retrain.trial_record import TrialRecord
from retrain.validation import Validation
from service.errors import DataError
from service.failpoint import fail_point
from service.schema import Task

Floats = npt.NDArray[np.float64]

# Proposals by chance before the sampler models what it has seen, the defaults among them.
RANDOM_TRIALS = 8
# The newest rows beyond these change a choice of hyperparameters rarely, and cost time always: 12 trials on 20,000
# rows take 6 s on one core.
ROWS_BY_TRIALS = 20_000
ROWS_BY_TIME = 60_000
# The trials that an ensemble is selected from: the members of a good one are among the best.
POOL = 24
# A search that has not improved for so many trials goes on in vain.
PATIENCE_TRIALS = 60


@dataclass(frozen=True, slots=True)
class TrialReport:
    """One trial: `loss` is None where it failed, and `error` says why."""

    number: int
    configuration: Configuration
    loss: float | None
    seconds: float
    error: str | None = None

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> TrialReport:
        """The report whose `to_json` this is."""
        chosen = Configuration.from_json(held)
        assert chosen is not None
        return cls(held["number"], chosen, held["loss"], held["seconds"], held.get("error"))

    def to_json(self) -> dict[str, Any]:
        held = {"number": self.number, **self.configuration.to_json(), "loss": self.loss}
        return held | {"seconds": round(self.seconds, 3)} | ({"error": self.error} if self.error else {})


@dataclass(frozen=True, slots=True)
class SearchReport:
    best: TrialReport  # one of the trials, or an ensemble of some
    trials: tuple[TrialReport, ...]
    rows: int  # that trials were fitted and judged on
    seconds: float
    selection: Selection | None = None

    def of(self, configuration: Configuration) -> SearchReport:
        """The same search, where what was best had to give way to this."""
        return replace(self, best=replace(self.best, configuration=configuration))


@dataclass(frozen=True, slots=True)
class Limits:
    """A number of trials, else a time. By trials, the same data and seed give the same result."""

    trials: int | None
    seconds: float
    fit_seconds: float = math.inf  # what one fit of the result may take, where there is no number of trials


Told = Callable[[int, int | None, float | None, float | None], None]  # done, of how many, best loss, seconds left


def search(
    data: Dataset,
    families: Sequence[Family],
    limits: Limits,
    seed: int,
    told: Told,
    *,
    warm: Sequence[Configuration] = (),
    record: TrialRecord | None = None,
    memory: Memory | None = None,
) -> SearchReport:
    """The best configuration found on these rows. The first trial is run however little time there is.

    `warm` is tried first, then the families' defaults. Trials that `record` has kept count as run, with the time
    that they took; it is told of every further one. Where `memory` runs short, fewer rows are judged on, and the search
    ends with what it has. Raises DataError where every trial failed, with the first reason.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    first = first_values(families, warm, data.schema.problem.task)
    judge = Validation(data, seed, _most_rows(data, limits, memory))
    pool = _Pool(len(data) / judge.fitted_rows)
    kept = record.kept if record else ()
    trials = []
    for held in kept:
        trials.append(_replay(study, held, families, data))
        pool.add(trials[-1], _kept_answers(record, held, trials[-1], judge))
    watch = _Stopwatch(limits, kept[-1]["elapsed"] if kept else 0.0)
    told(len(trials), limits.trials, _best_loss(trials), watch.left())
    while not watch.over(trials) and not (trials and _pressed(memory, judge)):
        study.sampler = _sampler(seed, len(trials))
        if len(trials) < len(first):
            study.enqueue_trial(first[len(trials)])
        report, answers = _run(study, judge, families, data, watch, first=not trials)
        trials.append(report)
        pool.add(report, answers)
        if record:
            record.append(_kept(report, study.trials[-1].params, watch.elapsed()), answers)
        fail_point("search.trial")
        told(len(trials), limits.trials, _best_loss(trials), watch.left())
    finished = [trial for trial in trials if trial.loss is not None]
    if not finished:
        raise DataError(f"no model could be fitted: {trials[0].error}")
    best = min(finished, key=lambda trial: (trial.loss or 0.0, trial.number))
    selection = select(pool.candidates, judge.judged, data.classes, math.inf if limits.trials else limits.fit_seconds)
    if selection.pays:
        best = TrialReport(len(trials), Configuration("ensemble", {}, selection.members), selection.loss, 0.0)
    return SearchReport(best, tuple(trials), judge.rows, watch.elapsed(), selection)


class _Pool:
    """The best trials so far, with their answers on the judged rows: what an ensemble is selected from."""

    def __init__(self, more_rows: float) -> None:
        """A final fit is of so many times the rows that a trial's models were fitted on."""
        self._more_rows = more_rows
        self._held: list[tuple[float, Candidate]] = []

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for _, candidate in self._held]

    def add(self, trial: TrialReport, answers: Floats | None) -> None:
        if trial.loss is None or answers is None:
            return
        candidate = Candidate(trial.number, trial.configuration, answers, trial.seconds * self._more_rows)
        self._held.append((trial.loss, candidate))
        self._held.sort(key=lambda held: (held[0], held[1].number))
        del self._held[POOL:]


def _kept_answers(
    record: TrialRecord | None, held: Mapping[str, Any], trial: TrialReport, judge: Validation
) -> Floats | None:
    """As the trial gave them; given again where they cannot be read."""
    if record is None or trial.loss is None:
        return None
    answers = record.answers(held)
    return judge.judge(trial.configuration).answers if answers is None else answers


def _most_rows(data: Dataset, limits: Limits, memory: Memory | None) -> int:
    most = min(len(data), ROWS_BY_TIME if limits.trials is None else ROWS_BY_TRIALS)
    return most if memory is None else memory.rows(most, len(data.schema.problem.features), "search")


def _pressed(memory: Memory | None, judge: Validation) -> bool:
    if memory is None or memory.room() > 0:
        return False
    judge.forget()
    if not memory.pressed():
        return False
    memory.economies.append("search: ended early")
    return True


def first_values(families: Sequence[Family], warm: Sequence[Configuration], task: Task) -> list[dict[str, Any]]:
    """What is tried before the sampler proposes: each set of values once, and none that the space does not hold."""
    held: list[dict[str, Any]] = []
    for values in [*(values_of(configuration) for configuration in warm), *defaults(families)]:
        if values["family"] in families and values not in held and _in_space(values, families, task):
            held.append(values)
    return held


def _in_space(values: dict[str, Any], families: Sequence[Family], task: Task) -> bool:
    """A card of another version of this product may know other values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna takes what is out of range, and warns
            suggest(optuna.trial.FixedTrial(values), families, task)
    except (ValueError, UserWarning):
        return False
    return True


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=RANDOM_TRIALS)


def _kept(trial: TrialReport, values: Mapping[str, Any], elapsed: float) -> dict[str, Any]:
    return {"values": dict(values), "elapsed": elapsed, "trial": trial.to_json()}


def _replay(study: optuna.Study, held: Mapping[str, Any], families: Sequence[Family], data: Dataset) -> TrialReport:
    """A kept trial as the study and the report would have it, had it been run in this process."""
    report = TrialReport.from_json(held["trial"])
    study.enqueue_trial(held["values"])
    trial = study.ask()
    suggest(trial, families, data.schema.problem.task)
    if report.loss is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, report.loss)
    return report


def _run(
    study: optuna.Study, judge: Validation, families: Sequence[Family], data: Dataset, watch: _Stopwatch, first: bool
) -> tuple[TrialReport, Floats | None]:
    started = time.monotonic()
    trial = study.ask()
    configuration = suggest(trial, families, data.schema.problem.task)
    try:
        judged = judge.judge(configuration, watch.cancels if not first else lambda: False)
    except (ValueError, ArithmeticError, MemoryError, TimeoutError) as error:  # numpy's LinAlgError is a ValueError
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        reason = str(error) or type(error).__name__
        return TrialReport(trial.number, configuration, None, time.monotonic() - started, reason), None
    study.tell(trial, judged.loss)
    report = TrialReport(trial.number, judged.configuration, judged.loss, time.monotonic() - started)
    return report, judged.answers


def _best_loss(trials: Sequence[TrialReport]) -> float | None:
    return min((trial.loss for trial in trials if trial.loss is not None), default=None)


class _Stopwatch:
    """When the search is over."""

    def __init__(self, limits: Limits, already: float) -> None:
        self._limits = limits
        self._started = time.monotonic() - already

    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def left(self) -> float | None:
        return None if self._limits.trials is not None else max(0.0, self._limits.seconds - self.elapsed())

    def cancels(self) -> bool:
        return self._limits.trials is None and self.elapsed() > self._limits.seconds

    def over(self, trials: Sequence[TrialReport]) -> bool:
        if not trials:
            return False
        if self._limits.trials is not None:
            return len(trials) >= self._limits.trials
        if _in_vain(trials):
            return True
        # The next trial takes about as long as the mean so far; it should end in time.
        return self.elapsed() + sum(trial.seconds for trial in trials) / len(trials) > self._limits.seconds


def _in_vain(trials: Sequence[TrialReport]) -> bool:
    losses = [math.inf if trial.loss is None else trial.loss for trial in trials]
    return len(losses) > PATIENCE_TRIALS and min(losses[-PATIENCE_TRIALS:]) > min(losses[:-PATIENCE_TRIALS])
