"""What the AutoML benchmark compares by: fair holdouts, ranks, ranges, and what it need not measure again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.automl_cells import Cell, Cells, missing
from benchmarks.automl_ranks import Standing, complete, critical_difference, mean_ranks, standing, targets
from benchmarks.automl_task import Task, split
from benchmarks.automl_warm import FEATURES, ROWS, Warm, made_rows

CELL = Cell("adult", "flaml", 0, 60, "d1", "2.7.0", score=0.9, seconds=61.0, row_ms=0.5)


def test_a_holdout_is_a_quarter_of_each_class_and_the_same_each_time() -> None:
    codes = np.repeat([0, 1, 2], [400, 40, 2])
    learn, held = split(codes, True, 1)
    assert np.bincount(codes[held], minlength=3).tolist() == [100, 10, 0]  # the class of two rows is learned from
    assert sorted([*learn, *held]) == list(range(442))
    again = split(codes, True, 1)
    assert (again[0] == learn).all()
    assert (again[1] == held).all()
    assert set(split(codes, True, 2)[1]) != set(held)


def test_a_task_is_read_from_its_file_and_scored_beside_a_dummy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    frame = pd.DataFrame({"x": x, "y": np.where(x + rng.normal(size=400) > 0, "yes", "no")})
    frame.loc[3, "y"] = None
    frame.to_parquet(tmp_path / "made.parquet")
    task = Task.read(tmp_path / "made.parquet")
    assert (task.name, task.target, task.kind, task.classes, task.better) == ("made", "y", "binary", ("no", "yes"), 1)
    assert len(task.frame) == 399
    held = task.split(0)[1]
    known = task.frame["x"].to_numpy()[held]
    assert task.score(task.codes()[held], np.column_stack([-known, known])) > 0.75
    assert task.dummy(0) == 0.5
    with pytest.raises(ValueError, match="not finite"):
        task.score(task.codes()[held], np.full((len(held), 2), np.nan))


def test_a_system_sees_no_target_of_the_holdout(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(100.0), "y": np.arange(100.0) / 3})
    frame.to_parquet(tmp_path / "made.parquet")
    task = Task.read(tmp_path / "made.parquet")
    task.write_job(tmp_path, 0, budget=60, threads=2, seed=0)
    learn, held = pd.read_parquet(tmp_path / "train.parquet"), pd.read_parquet(tmp_path / "test.parquet")
    assert list(held.columns) == ["x"]
    assert sorted([*learn["x"], *held["x"]]) == frame["x"].tolist()
    assert task.kind == "regression"
    assert task.score(np.array([0.0, 2.0]), np.array([0.0, 0.0])) == pytest.approx(np.sqrt(2))


def test_log_loss_forgives_a_certain_error() -> None:
    task = Task("made", pd.DataFrame({"y": ["a", "b", "c"]}), "multiclass", ("a", "b", "c"), "")
    sure = np.array([[1.0, 0, 0], [1.0, 0, 0]])
    assert 17 < task.score(np.array([0, 1]), sure) < 18  # half of −log 1e-15


def test_equals_share_a_rank_and_failures_are_last() -> None:
    held = Standing("t", {"a": 0.9, "b": 0.9, "c": None, "d": 0.7}, 0.5, 1, 1)
    assert held.ranks() == {"a": 1.5, "b": 1.5, "d": 3.0, "c": 4.0}
    assert Standing("t", {"a": 3.0, "b": 2.0}, 9.0, -1, 1).ranks() == {"a": 2.0, "b": 1.0}


def test_a_gap_is_a_share_of_what_the_best_gains_over_the_dummy() -> None:
    held = Standing("t", {"a": 0.9, "b": 0.8, "c": None}, 0.5, 1, 1)
    assert [held.gap(name) for name in "abc"] == pytest.approx([0.0, 0.25, 1.0])
    assert Standing("t", {"a": 12.0, "b": 10.0}, 20.0, -1, 1).gap("a") == pytest.approx(0.2)
    assert Standing("t", {"a": 0.4, "b": 0.45}, 0.5, 1, 1).gap("a") == 0.0


def test_scores_are_averaged_over_the_holdouts_that_all_were_asked_about() -> None:
    cells = [replace(CELL, system=name, holdout=n, score=s) for name, n, s in [
        ("a", 0, 0.8), ("a", 1, 0.6), ("a", 2, 0.1), ("b", 0, 0.9), ("b", 1, None),
    ]]  # fmt: skip
    held = standing("adult", cells, ["a", "b"], [0.5, 0.4, 0.0], 1)
    assert held.holdouts == 2
    assert held.scores == {"a": pytest.approx(0.7), "b": None}
    assert held.dummy == pytest.approx(0.45)


def test_who_was_not_asked_about_every_task_is_not_ranked() -> None:
    cells = [CELL, replace(CELL, task="other"), replace(CELL, system="h2o")]
    assert complete(cells, ["flaml", "h2o"], ["adult", "other"]) == ["flaml"]


def test_mean_ranks_have_an_interval_over_tasks() -> None:
    clear = [Standing(str(n), {"a": 0.9, "b": 0.8}, 0.5, 1, 1) for n in range(10)]
    assert [(r.system, r.mean, r.low, r.high) for r in mean_ranks(clear)] == [("a", 1, 1, 1), ("b", 2, 2, 2)]
    mixed = [*clear[:5], *(Standing(str(n), {"a": 0.8, "b": 0.9}, 0.5, 1, 1) for n in range(5))]
    first = mean_ranks(mixed)[0]
    assert first.low < 1.5 < first.high


def test_the_critical_difference_is_the_published_one() -> None:
    """Demšar 2006, section 3.2.3: four classifiers on 14 data sets, α = .05."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_targets_name_the_worst_task() -> None:
    held = [
        Standing("easy", {"ringside": 0.90, "hgb": 0.85, "flaml": 0.89}, 0.5, 1, 1),
        Standing("hard", {"ringside": 0.80, "hgb": 0.84, "flaml": 0.86}, 0.5, 1, 1),
    ]
    cells = [replace(CELL, system="ringside", row_ms=0.2), replace(CELL, task="hard", system="ringside", seconds=90.0)]
    found = targets(held, cells, 60)
    assert [target.met for target in found] == [False, False, False, True, False, True]
    assert "11.1% worse (hard" in found[1].found
    assert "1 of 2" in found[2].found
    assert "90 s at most (hard)" in found[4].found


def test_a_run_goes_on_where_it_broke_and_new_versions_are_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    Cells(path).add(CELL)
    kept = Cells(path)
    asked = replace(CELL, score=None)
    others = [
        replace(asked, holdout=1),
        replace(asked, data="d2"),
        replace(asked, version="3"),
        replace(asked, budget=9),
    ]
    assert missing([asked, *others], [kept], []) == others
    assert missing([asked], [kept], ["flaml"]) == [asked]
    assert kept.get(asked) == CELL


def test_a_new_answer_takes_the_place_of_an_earlier_versions(tmp_path: Path) -> None:
    kept = Cells(tmp_path / "cells.json")
    kept.add(CELL)
    kept.add(replace(CELL, holdout=1))
    kept.add(replace(CELL, version="2.8.0", score=0.95))
    assert len(kept) == 2
    assert kept.get(CELL) is None
    assert len(Cells(tmp_path / "cells.json")) == 2


def test_a_warm_retrain_is_as_good_when_it_lacks_next_to_nothing_in_less_than_a_third_of_the_time() -> None:
    warm = Warm("t", dummy=0.5, cold=0.9, warm=0.899, cold_seconds=60.0, warm_seconds=17.0, refused=False)
    assert warm.behind == pytest.approx(0.0025)
    assert warm.met
    assert not replace(warm, warm_seconds=19.0).met
    assert not replace(warm, warm=0.89).met
    lower = Warm("t", dummy=10.0, cold=5.0, warm=4.5, cold_seconds=60.0, warm_seconds=17.0, refused=False)
    assert lower.behind == pytest.approx(-0.1)  # better than the cold one
    assert lower.met


def test_the_rows_for_the_memory_are_as_many_after_the_holdout() -> None:
    frame = made_rows()
    assert frame.shape[1] == FEATURES + 1
    codes = (frame["y"] == "yes").to_numpy()
    assert abs(len(split(codes, True, 0)[0]) - ROWS) <= 1
    assert 0.3 < codes.mean() < 0.7
