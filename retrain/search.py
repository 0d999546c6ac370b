"""The search for a configuration: Optuna proposes, validation judges, what is known to be good comes first."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from record.configuration.loop_sections import FeatureStage
from record.contract.schema import Task
from record.errors import DataError
from record.log_lines import log_line
from retrain.data.dataset import Dataset
from retrain.models.calibration import Calibration, calibrate
from retrain.models.configuration import Configuration, Family
from retrain.models.light_boosting import not_here
from retrain.search_space import Target, defaults, suggest, targets, values_of
from retrain.search_trials import Trials
from retrain.timetable import Timetable
from retrain.trials.codings import RARE, STAGES, applicable, rare
from retrain.trials.memory import Memory
from retrain.trials.out_of_fold import OutOfFold
from retrain.trials.record import TrialRecord
from retrain.trials.selection import Selection, select
from retrain.trials.trial import Limits, Told, TrialReport
from retrain.trials.validation import Validation

# The newest rows beyond these change a choice of hyperparameters rarely, and cost time always: 12 trials on 20,000
# rows take 6 s on one core.
ROWS_BY_TRIALS = 20_000
ROWS_BY_TIME = 60_000


@dataclass(frozen=True, slots=True)
class SearchReport:
    best: TrialReport  # one of the trials, or an ensemble of some
    trials: tuple[TrialReport, ...]
    rows: int  # that trials were fitted and judged on
    seconds: float
    selection: Selection | None = None
    calibration: Calibration | None = None
    out_of_fold: OutOfFold | None = field(default=None, repr=False)  # None where no search was made

    def of(self, configuration: Configuration) -> SearchReport:
        """The same search, where what was best had to give way to this."""
        return replace(self, best=replace(self.best, configuration=configuration))


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
    processes: int = 1,
    stages: Sequence[FeatureStage] = STAGES,
    timetable: Timetable | None = None,
) -> SearchReport:
    """The best configuration found on these rows, or an ensemble of some. The first trial is run, however little time.

    `warm` is tried first, then the families' defaults; `stages` may be made of columns. Trials that `record` has kept
    count as run, with the time that they took; it is told of every further one. Where `memory` runs short, fewer rows
    are judged on, and the search ends with what it has. So many `processes` judge side by side, which changes nothing
    but the time. With a `timetable`, the search leaves time for what comes behind it. Raises DataError where every
    trial failed, with the first reason.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    families, stages = _usable(families), applicable(stages, data.arrays)
    timetable = timetable or Timetable(None)
    judge = Validation(data, seed, _most_rows(data, limits, memory, timetable), timetable.clocks.wall)
    first = first_values(families, warm, data.schema.problem.task, targets(data.target), stages)
    held = Trials(judge, first, families, stages, data, limits, seed, told, record, memory, timetable)
    held.run(_processes(processes, memory))
    finished = [trial for trial in held.reports if trial.loss is not None and trial.stopped is None]
    if not finished:
        raise DataError(f"no model could be fitted: {held.reports[0].error}")
    alone = timetable.longest_fit_seconds()
    quick = [trial for trial in finished if held.pool.fit_seconds(trial) <= alone]
    best = min(quick, key=lambda trial: (trial.loss or 0.0, trial.number), default=None)
    best = best or min(finished, key=held.pool.fit_seconds)
    selection = select(held.pool.candidates, judge.judged, data.classes, timetable.fit_seconds())
    if selection.pays:
        best = TrialReport(len(held.reports), Configuration("ensemble", {}, selection.members), selection.loss, 0.0)
    out_of_fold = OutOfFold(held.pool.candidates, judge.judged)
    answers = out_of_fold.answers(best.configuration) if data.classes else None
    calibration = None if answers is None else calibrate(answers, judge.judged)
    if calibration is not None and calibration.pays:
        chosen = best.configuration
        warmed = replace(chosen, params={**chosen.params, **calibration.params})
        best = replace(best, configuration=warmed)
    return SearchReport(
        best, tuple(held.reports), judge.rows, held.watch.elapsed(), selection, calibration, out_of_fold
    )


def _usable(families: Sequence[Family]) -> Sequence[Family]:
    """Without LightGBM where it cannot be loaded; the other families are worth a search, too."""
    reason = not_here() if "lightgbm" in families else None
    if reason is None:
        return families
    left = [family for family in families if family != "lightgbm"]
    if not left:
        raise DataError(f"retrain.families: lightgbm cannot be loaded: {reason}", field="retrain.families")
    log_line("family left out", family="lightgbm", reason=reason)
    return left


def _most_rows(data: Dataset, limits: Limits, memory: Memory | None, timetable: Timetable) -> int:
    """On a slow machine fewer, so that there is more than one trial."""
    by_time = max(ROWS_BY_TRIALS, round(ROWS_BY_TIME / timetable.slowdown))
    most = min(len(data), by_time if limits.trials is None else ROWS_BY_TRIALS)
    return most if memory is None else memory.rows(most, len(data.schema.problem.features), "search")


def _processes(asked: int, memory: Memory | None) -> int:
    """One where others would not fit: a fork may come to hold as much as the run does."""
    if memory is not None and memory.room() < asked * memory.used():
        return 1
    return asked


def first_values(
    families: Sequence[Family],
    warm: Sequence[Configuration],
    task: Task,
    targets: Sequence[Target] = ("plain",),
    stages: Sequence[FeatureStage] = STAGES,
) -> list[dict[str, Any]]:
    """What is tried before the sampler proposes: each set of values once, and none that the space does not hold."""
    held: list[dict[str, Any]] = []
    # What was found before there were such columns, or without the stage, saw them the plain way.
    plain = {name: RARE[name] for name in rare(stages)}
    warm = [replace(known, params={**plain, **known.params}) for known in warm]
    known = [values_of(configuration) for configuration in warm]
    for values in [*known, *defaults(families, targets, stages)]:
        if values["family"] in families and values not in held and _in_space(values, families, task, targets, stages):
            held.append(values)
    return held


def _in_space(
    values: dict[str, Any],
    families: Sequence[Family],
    task: Task,
    targets: Sequence[Target],
    stages: Sequence[FeatureStage],
) -> bool:
    """A card of another version of this product may know other values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna takes what is out of range, and warns
            suggest(optuna.trial.FixedTrial(values), families, task, targets, stages)
    except (ValueError, UserWarning):
        return False
    return True
