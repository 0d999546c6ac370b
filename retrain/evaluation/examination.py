"""A candidate on the holdout, beside a dummy, a linear model and the champion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from record.contract.arrays import Arrays
from record.contract.decoder import Decoder
from record.contract.losses import LossName, bout_losses, expected_loss
from record.contract.operating_point import OperatingPoint
from record.dependence import long_run_variance, standard_error
from record.errors import RingsideError
from record.log_lines import log_line
from record.record import Record
from record.versions.model import ServedModel
from record.versions.model_version import ModelVersion
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.evaluation.metrics import (
    Comparison,
    Interval,
    Scored,
    compare,
    evaluate,
    loss_scale,
    permutation_importance,
)
from retrain.models.pipeline import build, dummy, fit, predict
from retrain.models.threshold import MOST_PROBABLE, Rule
from retrain.search_space import linear_default
from retrain.timetable import Timetable

Floats = npt.NDArray[np.float64]

DAY_MICROS = 86_400_000_000
FEWEST_DAYS = 8  # fewer say nothing about how days differ

# A rise in loss shows on so many rows; more only take longer.
IMPORTANCE_ROWS = 2_000
FEWEST_IMPORTANCE_ROWS = 200  # fewer rank features by chance
IMPORTANCE_SHARE = 0.5  # of the time that a run has to spare
LINEAR_SHARE = 1.0  # of what reading took: a linear model on all rows, .9 s for 39,000 rows of 14 columns


@dataclass(frozen=True, slots=True)
class Champion:
    """The champion as the run found it: what it answers, and what it knew."""

    model: ServedModel
    version: ModelVersion


def read_champion(record: Record) -> Champion | None:
    """The champion, loaded as it serves; ArtifactError where its files are not what was registered."""
    name = record.registry.roles().champion
    if name is None:
        return None
    version = record.registry.version(name)
    return Champion(ServedModel.read(record.registry.open(name), name), version)


@dataclass(frozen=True, slots=True)
class ReferenceLoss:
    """The holdout's mean loss, in the bout's scale of 0 to 1."""

    value: float
    error: float  # its standard error, by days where the rows are dated over several
    day_variance: float | None  # of days' means, beyond what their rows explain; None where too few are known
    estimate: float | None  # the loss that the probabilities expect of themselves there


@dataclass(frozen=True, slots=True)
class Examination:
    """What the gate and the card are made from. `fresh` says which holdout rows the champion had not seen."""

    candidate: Scored
    baselines: dict[str, Scored]
    dummy: Comparison
    fresh: npt.NDArray[np.bool_]
    champion: Comparison | None
    champion_scored: Scored | None
    candidate_on_fresh: Scored | None
    loss: LossName
    loss_scale: float
    reference: ReferenceLoss
    target_sd: float | None
    importances: dict[str, Interval]
    rule: Rule = MOST_PROBABLE


def examine(
    pipeline: Pipeline,
    learn: Dataset,
    holdout: Dataset,
    champion: Champion | None,
    loss: LossName,
    seed: int,
    rule: Rule = MOST_PROBABLE,
    timetable: Timetable | None = None,
    known_entities: npt.NDArray[np.int64] | None = None,
) -> Examination:
    """Scores the candidate, fitted on `learn`, on `holdout`, beside baselines made from `learn` and the champion.

    Baselines answer by the candidate's `rule`, the champion by its own. What the gate does not need is left out
    where the `timetable` has no time for it. The champion is compared on rows that it could not know: later ones, of
    none of its `known_entities`.
    """
    timetable = timetable or Timetable(None)
    y, classes, task = holdout.target, holdout.classes, learn.schema.problem.task
    scores = predict(pipeline, holdout.arrays, classes)
    baselines = {"dummy": fit(dummy(task), learn.arrays, learn.target)}
    if timetable.affords("the linear baseline", LINEAR_SHARE):
        baselines["linear"] = fit(build(linear_default(), task, seed), learn.arrays, learn.target)
    others = {name: predict(model, holdout.arrays, classes) for name, model in baselines.items()}
    target_sd = None if classes else float(np.std(np.concatenate([learn.target, y])))
    scale = _scale(scores, y, target_sd, champion)
    candidate = evaluate(scores, y, classes, seed, rule, holdout.entities)
    fresh = _unknown(champion, holdout, known_entities)
    compared, champion_scored, on_fresh = _against(champion, candidate, holdout, fresh, loss, scale, seed, rule)
    return Examination(
        candidate=candidate,
        baselines={name: evaluate(held, y, classes, seed, rule, holdout.entities) for name, held in others.items()},
        dummy=compare(
            "dummy", scores, others["dummy"], y, loss, scale, points=(rule.point, rule.point), entities=holdout.entities
        ),
        fresh=fresh,
        champion=compared,
        champion_scored=champion_scored,
        candidate_on_fresh=on_fresh,
        loss=loss,
        loss_scale=1.0 if target_sd is None else loss_scale(scores, y, target_sd),
        reference=reference_loss(loss, scores, holdout, scale, rule.point),
        target_sd=target_sd,
        importances=_importances(pipeline, holdout, seed, timetable) if candidate.finite else {},
        rule=rule,
    )


def reference_loss(
    loss: LossName, scores: Floats, holdout: Dataset, scale: float, point: OperatingPoint | None = None
) -> ReferenceLoss:
    """What the candidate's card promises, and how well the holdout knows it."""
    losses = bout_losses(loss, scores, holdout.target, scale, point)
    expected = None if holdout.classes == 0 else expected_loss(loss, scores, point)
    count = len(losses)
    error = standard_error(losses, None, holdout.entities)[0] if count > 1 else 0.0
    dated = holdout.times != UNKNOWN
    days, place = np.unique(holdout.times[dated] // DAY_MICROS, return_inverse=True)
    if len(days) < FEWEST_DAYS:
        return ReferenceLoss(float(losses.mean()), error, None, expected)
    rows = np.bincount(place).astype(np.float64)
    centred = losses[dated] - losses.mean()
    sums = np.bincount(place, weights=centred)
    entities = None if holdout.entities is None else holdout.entities[dated]
    error = max(error, standard_error(losses[dated], place, entities)[0])
    inner = np.bincount(place, weights=centred**2) / rows - (sums / rows) ** 2
    # By differences of neighbours, so that a slow change is not taken for weather; with what neighbours share.
    between = max(0.0, long_run_variance(sums / rows).variance - float((inner / rows).mean()))
    return ReferenceLoss(float(losses.mean()), error, between, expected)


def champion_scores(champion: Champion, rows: Dataset) -> Floats:
    """The champion's scores on these rows, in the order of the rows' own classes; 0 for a class it does not know."""
    arrays = Decoder(champion.model.schema).decode_frame(rows.frame)
    raw = champion.model.score(arrays).raw
    if rows.classes == 0:
        return raw
    held = np.zeros((len(rows), rows.classes))
    for place, name in enumerate(champion.model.schema.classes):
        if name in rows.schema.classes:
            held[:, rows.schema.classes.index(name)] = raw[:, place]
    return held


def champions_point(champion: Champion, rows: Dataset) -> OperatingPoint | None:
    """The champion's operating point among the rows' own classes."""
    model = champion.model
    return None if model.point is None else model.point.moved(model.schema, rows.schema)


def _scale(scores: Floats, y: npt.NDArray[Any], target_sd: float | None, champion: Champion | None) -> float:
    """Where a regression's loss is clipped: as in the bout to come, by the champion's errors if there is one."""
    if target_sd is None:
        return 1.0
    known = champion.version.card.get("loss_scale") if champion else None
    return float(known) if known else loss_scale(scores, y, target_sd)


def _unknown(
    champion: Champion | None, holdout: Dataset, known_entities: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.bool_]:
    """The holdout's rows that the champion could not know."""
    if champion is None:
        return np.zeros(len(holdout), dtype=bool)
    fresh = holdout.fresh(champion.version.read_until_seq, champion.version.data_until)
    if holdout.entities is None or known_entities is None:
        return fresh
    return fresh & ~np.isin(holdout.entities, known_entities)


def _against(
    champion: Champion | None,
    candidate: Scored,
    holdout: Dataset,
    fresh: npt.NDArray[np.bool_],
    loss: LossName,
    scale: float,
    seed: int,
    rule: Rule,
) -> tuple[Comparison | None, Scored | None, Scored | None]:
    if champion is None:
        return None, None, None
    name = champion.version.version
    nothing = Comparison(name, 0, float("nan"), float("nan"), None)
    if not fresh.any() or not candidate.finite:
        return nothing, None, None
    rows = holdout.take(np.flatnonzero(fresh))
    try:
        theirs = champion_scores(champion, rows)
    except RingsideError as error:  # another schema, or an answer that is not finite: it cannot be harmed
        log_line("champion not compared", version=name, reason=error.message)
        return nothing, None, None
    ours = candidate.scores[fresh]
    own = replace(rule, point=champions_point(champion, rows))
    return (
        compare(
            name, ours, theirs, rows.target, loss, scale,
            points=(rule.point, own.point), times=rows.times, entities=rows.entities,
        ),
        evaluate(theirs, rows.target, rows.classes, seed, own, rows.entities),
        evaluate(ours, rows.target, rows.classes, seed, rule, rows.entities),
    )  # fmt: skip


def _importances(pipeline: Any, holdout: Dataset, seed: int, timetable: Timetable) -> dict[str, Interval]:
    """On fewer rows where there is little time, and none at all where there is less."""
    order, wall = np.random.default_rng(seed).permutation(len(holdout)), timetable.clocks.wall
    rows = holdout.take(np.sort(order[:IMPORTANCE_ROWS]))
    problem = rows.schema.problem
    names = [column.name for column in problem.features]
    began = wall()
    base = predict(pipeline, rows.arrays, rows.classes)
    asked = (wall() - began) * len(names)
    most = IMPORTANCE_SHARE * timetable.spare()
    if asked > most:
        fewer = int(len(rows) * most / asked)
        if fewer < FEWEST_IMPORTANCE_ROWS:
            timetable.left_out.append("the features' importances")
            return {}
        rows = holdout.take(np.sort(order[:fewer]))
        base = predict(pipeline, rows.arrays, rows.classes)
    mixed = np.random.default_rng(seed).permutation(len(rows))

    def score(name: str) -> Floats:
        numbers, categories = rows.arrays.numbers.copy(), rows.arrays.categories.copy()
        for place, (_, column, _) in enumerate(problem.number_inputs):
            if column == name:
                numbers[:, place] = numbers[mixed, place]
        for place, own in enumerate(problem.category_names):
            if own == name:
                categories[:, place] = categories[mixed, place]
        return predict(pipeline, Arrays(numbers, categories), rows.classes)

    return permutation_importance(score, names, base, rows.target, rows.classes)
