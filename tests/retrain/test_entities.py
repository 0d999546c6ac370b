"""One who asks again and again counts once: in splits, in the gate, and in a model's intervals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from record.configuration.loop_sections import RetrainSettings
from record.db.database import Database
from record.dependence import DAY_MICROS
from record.entity import ALONE, entities_in
from record.errors import DataError
from record.migrations.run import upgrade
from retrain.data.dataset import Dataset
from retrain.data.entity_split import keep_apart
from retrain.data.loading import load
from retrain.division import Division, split
from retrain.evaluation.metrics import compare, evaluate
from retrain.gate import decide
from retrain.trials.validation import folds
from retrain.window import ALL_ROWS, _blocks, _judged, choose_window
from tests.retrain.problems import START, Project, make_frame, make_project
from tests.retrain.test_job import ONE_TRIAL, carry_out

ROWS, REPEATS, RUNS = 2000, 20, 300


def shares_nobody(one: np.ndarray, other: np.ndarray) -> bool:
    return not set(one[one != ALONE]) & set(other[other != ALONE])


def customers(rng: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Whose row each is: a tenth nobody's."""
    return np.where(rng.random(rows) < 0.1, ALONE, rng.integers(0, count, rows))


@pytest.mark.parametrize("count", [2, 3, 40, 5000])
@pytest.mark.parametrize(("rows", "ordered"), [(900, True), (900, False), (5000, False), (9000, True)])
def test_no_entity_stands_on_both_sides_of_a_fold(count: int, rows: int, ordered: bool) -> None:
    entities = customers(np.random.default_rng(count), rows, count)
    made = folds(rows, ordered, entities)
    assert len(made) == len(folds(rows, ordered))
    for fold, whole in zip(made, folds(rows, ordered), strict=True):
        assert len(fold.fit)
        assert len(fold.judge)
        assert shares_nobody(entities[fold.fit], entities[fold.judge])
        assert set(fold.fit) <= set(whole.fit)
        assert set(fold.judge) <= set(whole.judge)


def test_few_in_question_leave_the_learned_rows_alone() -> None:
    """A judged row is worth more than one of many to learn from."""
    learn, judge = np.arange(1000), np.arange(950, 1150)
    kept = keep_apart(learn, judge)
    assert kept is not None
    assert (kept[0].sum(), kept[1].sum()) == (950, 200)
    assert keep_apart(np.arange(100), np.arange(100, 200)) is None
    assert keep_apart(None, judge) is None


@pytest.mark.parametrize(
    ("learn", "judge", "counted"),
    [
        ([5] * 20, [5] * 10, "1 entity in 30 rows, 30 of one"),
        ([5] * 500 + [7], [5] * 100, "2 entities in 601 rows, 600 of one"),
        ([5] * 100 + [ALONE] * 3, [5] * 100, "4 entities in 203 rows, 200 of one"),
    ],
)
def test_one_entity_alone_cannot_be_judged_on_others(learn: list[int], judge: list[int], counted: str) -> None:
    """All entities are counted, and a handful of rows is not learned from instead of all."""
    with pytest.raises(DataError, match=rf"problem\.entity_column: {counted} entity; expected several"):
        keep_apart(np.array(learn), np.array(judge))


@pytest.mark.parametrize(
    ("learn", "judge", "kept"),
    [
        ([5] * 50, [5] * 10 + [6], (50, 1)),  # the others are judged
        ([5] * 50 + [6] * 30, [5] * 10, (30, 10)),  # the others are learned from
        ([5] * 40 + [6] * 10, [5] * 40 + [6] * 40, (40, 40)),
        ([5] * 10 + [6] * 40, [5] * 40 + [6] * 40, (40, 40)),  # whatever their digests
        ([5] * 15, [5] * 2 + [ALONE], (15, 1)),
    ],
)
def test_an_entity_of_most_rows_stands_where_that_leaves_more(
    learn: list[int], judge: list[int], kept: tuple[int, int]
) -> None:
    masks = keep_apart(np.array(learn), np.array(judge))
    assert masks is not None
    assert (masks[0].sum(), masks[1].sum()) == kept


def test_no_class_is_lost_where_another_division_keeps_it() -> None:
    """Entity 6 has the only rows of class 1 to learn from."""
    learn, classes = np.array([5] * 60 + [6] * 30), np.array([0] * 60 + [1] * 30)
    judge = np.array([5] * 10 + [6] * 10 + [7] * 5)
    masks = keep_apart(learn, judge, classes)
    assert masks is not None
    assert set(classes[masks[0]]) == {0, 1}
    assert masks[1].sum() == 5
    with pytest.raises(DataError, match=r"problem\.entity_column: 2 entities in 110 rows"):
        keep_apart(learn, judge[:20], classes)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("lead", [0, 300, 600, 900])
@pytest.mark.parametrize("others", [1, 3, 50])
def test_a_fold_of_one_entity_is_left_out(ordered: bool, lead: int, others: int) -> None:
    """Entities that come after a long time of one alone are enough for the later folds."""
    rng = np.random.default_rng(lead + others)
    entities = np.array([1] * lead + rng.integers(1, others + 2, 1000 - lead).tolist())
    made = folds(1000, ordered, entities)
    assert made
    for fold in made:
        assert len(fold.fit) >= 20
        assert len(fold.judge)
        assert shares_nobody(entities[fold.fit], entities[fold.judge])
    with pytest.raises(DataError, match="1 entity in 1000 rows"):
        folds(1000, ordered, np.ones(1000, np.int64))


def loaded(folder: Path, frame: pd.DataFrame, time_column: str | None = "at") -> Dataset:
    """The rows as a run reads them, `note` being the entity."""
    database = Database(f"sqlite:///{folder / 'record.db'}")
    upgrade(database)
    more = {"problem": {"entity_column": "note", "time_column": time_column}}
    settings = make_project(folder, database, frame=frame, more=more).settings
    schema = settings.problem_schema()
    assert schema is not None
    data = load(settings, schema, [])
    database.close()
    return data


@pytest.mark.parametrize("time_column", ["at", None])
def test_no_entity_is_held_out_and_learned_from(tmp_path: Path, time_column: str | None) -> None:
    """Neither of rows in order of time, where nearly all come again, nor of mixed ones, where none is lost."""
    frame = make_frame("binary", ROWS)
    rng = np.random.default_rng(3)
    frame["note"] = [f"c{code}" for code in rng.integers(0, ROWS // REPEATS, ROWS)]
    data = loaded(tmp_path, frame, time_column)
    assert data.entities is not None
    assert len(np.unique(data.entities)) == frame["note"].nunique()
    division = split(data, 0.2)
    assert division.learn.entities is not None
    assert division.holdout.entities is not None
    assert shares_nobody(division.learn.entities, division.holdout.entities)
    lost = 1 - (len(division.learn) + len(division.holdout)) / len(data)
    if time_column is None:
        assert lost <= REPEATS / ROWS * 3  # the one entity that the cut goes through
        assert division.newest == 0.2 * ROWS
    else:
        assert 0.35 < len(division.learn) / (0.8 * ROWS) < 0.65
        assert 0.35 < len(division.holdout) / (0.2 * ROWS) < 0.65
        assert division.learn.times.max() < division.holdout.times.min()
    np.testing.assert_array_equal(data.target[len(data) - division.ages], division.holdout.target)


def test_windows_of_time_are_tried_on_others_than_those_learned_from(tmp_path: Path) -> None:
    """Each customer's target is its own, and its number a feature: by heart it is known, of others nothing is."""
    frame = make_frame("binary", ROWS)
    rng = np.random.default_rng(4)
    who = rng.integers(0, 100, ROWS)
    frame["note"], frame["distance"], frame["seats"] = [f"c{code}" for code in who], who.astype(float), 1.0
    frame["carrier"], frame["gate"] = "AA", "g1"
    frame["outcome"] = np.where(rng.permutation(100)[who] < 50, "late", "on_time")
    data = loaded(tmp_path, frame)
    by_heart = _judged(ALL_ROWS, _blocks(replace(data, entities=None)), 0).mean()
    of_others = _judged(ALL_ROWS, _blocks(data), 0).mean()
    assert by_heart < 0.3 < 0.6 < of_others


@pytest.mark.parametrize("alone", [0.6, 0.85, 1.0])
def test_windows_are_tried_where_blocks_of_one_entity_are_left_out(tmp_path: Path, alone: float) -> None:
    """One customer has the first rows alone; where it has all, nothing is tried."""
    frame = make_frame("binary", ROWS)
    own = int(ROWS * alone)
    frame["note"] = ["big"] * own + [f"c{n % 7}" if n % 2 else "big" for n in range(ROWS - own)]
    data = loaded(tmp_path, frame)
    learn, holdout = data.rows(0, ROWS - 200), data.rows(ROWS - 200)
    decision = choose_window(RetrainSettings(), learn, holdout, 0)
    assert (decision.reasons == ("too few entities to tell windows apart",)) == (alone == 1.0)


def equal_models(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Who asks, when, two models' scores of equal worth, and the target: each customer is one case, 20 times."""
    count = ROWS // REPEATS
    who = rng.permutation(np.repeat(np.arange(count), REPEATS))
    times = np.sort(rng.integers(0, 30 * DAY_MICROS, ROWS))
    chance = rng.random(count)
    target = (rng.random(count) < chance).astype(np.int64)
    scores = [np.clip(chance + rng.normal(0, 0.15, count), 0.01, 0.99) for _ in range(2)]
    ours, theirs = (np.column_stack([1 - score, score])[who] for score in scores)
    return who, times, ours, theirs, target[who]


def test_the_gate_refuses_no_more_equal_candidates_where_customers_come_again() -> None:
    """2.5 % and three standard errors of 300 runs; taken for independent, a third are refused."""
    rng = np.random.default_rng(5)
    dummy = compare("dummy", np.full((100, 2), 0.5), np.full((100, 2), [0.1, 0.9]), np.zeros(100, int), "brier", 1.0)
    refused, naive = 0, 0
    for _ in range(RUNS):
        who, times, ours, theirs, target = equal_models(rng)
        by_entity = compare("v1", ours, theirs, target, "brier", 1.0, times=times, entities=who)
        by_row = compare("v1", ours, theirs, target, "brier", 1.0, times=times)
        refused += not decide(finite=True, dummy=dummy, champion=by_entity).passed
        naive += not decide(finite=True, dummy=dummy, champion=by_row).passed
    assert refused <= RUNS * 0.025 + 3 * np.sqrt(RUNS * 0.025 * 0.975), refused
    assert naive > 0.2 * RUNS


def test_a_cards_intervals_cover_the_truth_where_customers_come_again() -> None:
    rng = np.random.default_rng(6)
    truth = evaluate(*_many(rng), 2, 0).metrics["brier"].value
    covered = naive = 0
    for _ in range(100):
        who, _, ours, _, target = equal_models(rng)
        interval = evaluate(ours, target, 2, 0, entities=who).metrics["brier"]
        covered += interval.low <= truth <= interval.high
        plain = evaluate(ours, target, 2, 0).metrics["brier"]
        naive += plain.low <= truth <= plain.high
    assert covered >= 90
    assert naive < 60


def _many(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    parts = [equal_models(rng) for _ in range(100)]
    return np.concatenate([part[2] for part in parts]), np.concatenate([part[4] for part in parts])


def test_too_few_customers_are_compared_with_nobody() -> None:
    """However many rows they have."""
    who, _, ours, theirs, target = equal_models(np.random.default_rng(7))
    few = who < 20
    assert compare("v1", ours[few], theirs[few], target[few], "brier", 1.0, entities=who[few]).difference is None
    assert compare("v1", ours, theirs, target, "brier", 1.0, entities=who).difference is not None


def test_a_run_is_judged_on_customers_that_neither_model_has_met(tmp_path: Path, sqlite_database: Database) -> None:
    """A champion that was refitted on all of them would know by heart what its candidate was kept from."""
    frame = make_frame("binary", 1200)
    frame["note"] = [f"c{code}" for code in np.random.default_rng(8).integers(0, 60, 1200)]
    more = {**ONE_TRIAL, "problem": {"entity_column": "note"}}
    project = make_project(tmp_path, sqlite_database, frame=frame, more=more)
    assert carry_out(project).version == "v1"
    card = project.record.registry.version("v1").card
    assert 0 < card["holdout_rows"] < 0.2 * 1200
    later = make_frame("binary", 800, seed=1, since=START + timedelta(hours=1200))
    later["note"] = [f"{'c' if code % 2 else 'new'}{code}" for code in np.random.default_rng(9).integers(0, 60, 800)]
    pd.concat([frame, later]).to_parquet(tmp_path / "flights.parquet", index=False)
    result = carry_out(project)
    assert result.version == "v2"
    compared = result.gate.inputs["champion"]
    division = read_division(project)
    assert division.holdout.entities is not None
    fresh = np.isin(division.holdout.entities, entities_in(later["note"][later["note"].str.startswith("new")]))
    assert 0 < compared["rows"] == int(fresh.sum()) < len(division.holdout)


def test_a_run_learns_where_one_customer_has_the_first_rows_alone(tmp_path: Path, sqlite_database: Database) -> None:
    """The split, the windows and the folds of one run; at last the packaged model learns from all rows."""
    frame = make_frame("binary", 1200)
    frame["note"] = ["big"] * 720 + [f"c{n % 4}" if n % 5 else "big" for n in range(480)]
    more = {**ONE_TRIAL, "problem": {"entity_column": "note"}}
    project = make_project(tmp_path, sqlite_database, frame=frame, more=more)
    assert carry_out(project).version == "v1"
    assert 20 < project.record.registry.version("v1").card["holdout_rows"] < 0.2 * 1200


def read_division(project: Project) -> Division:
    schema = project.settings.problem_schema()
    assert schema is not None
    data = load(project.settings, schema, [])
    return split(data, project.settings.retrain.holdout, 800)


def test_an_entity_is_the_same_however_files_and_requests_spell_it() -> None:
    numbers = entities_in([7, 7.0, "7", np.int64(7), None, float("nan"), "8"])
    assert len(set(numbers[:4])) == 1
    assert (numbers[4], numbers[5]) == (ALONE, ALONE)
    assert numbers[6] not in (numbers[0], ALONE)
