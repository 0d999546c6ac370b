"""The search: strong defaults first, later rows judge, the same seed finds the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.errors import DataError
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.models.configuration import FAMILIES, Configuration
from retrain.search import SearchReport, search
from retrain.search_space import ORDER, defaults, values_of
from retrain.study import study_of, warm_start
from retrain.trials.codings import STAGES, applicable
from retrain.trials.record import TrialRecord
from retrain.trials.trial import Limits
from retrain.trials.validation import Judged, Validation, folds
from tests.retrain.problems import Kind, make_frame, write_settings

ALL = FAMILIES


def learnable(folder: Path, kind: Kind, rows: int = 400) -> Dataset:
    make_frame(kind, rows).to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, kind, "rows.parquet", {})
    return load(settings, problem_schema(settings, None), [])


def told(*_: object) -> None:
    return None


def choices(report: SearchReport) -> list[object]:
    return [(trial.configuration.to_json(), trial.loss) for trial in report.trials]


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_the_same_seed_and_trials_find_the_same(tmp_path: Path, kind: Kind) -> None:
    """To the last bit of every trial's loss."""
    data = learnable(tmp_path, kind, 300)
    first, second = (search(data, ALL, Limits(7, 0.0), 3, told) for _ in range(2))
    assert choices(first) == choices(second)
    assert len(first.trials) == 7
    least = min(trial.loss for trial in first.trials if trial.loss is not None)
    assert first.best.loss is not None
    assert first.best.loss <= least
    assert first.best.configuration.members or first.best.loss == least


def test_every_family_is_tried_first_by_its_default(tmp_path: Path) -> None:
    """A search cut short has seen the best bets."""
    report = search(learnable(tmp_path, "binary", 200), ALL, Limits(len(ALL), 0.0), 0, told)
    assert [trial.configuration.family for trial in report.trials] == list(ORDER)


def test_only_the_families_named_are_tried(tmp_path: Path) -> None:
    """retrain.families."""
    report = search(learnable(tmp_path, "binary", 200), ("linear",), Limits(5, 0.0), 0, told)
    assert {trial.configuration.family for trial in report.trials} == {"linear"}


def test_a_family_that_cannot_be_loaded_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without OpenMP's library; where nothing else is asked for, the reason is said."""
    monkeypatch.setattr("retrain.search.not_here", lambda: "libgomp.so.1: cannot open shared object file")
    data = learnable(tmp_path, "binary", 200)
    report = search(data, ("lightgbm", "linear"), Limits(3, 0.0), 0, told)
    assert {trial.configuration.family for trial in report.trials} == {"linear"}
    with pytest.raises(DataError, match="lightgbm cannot be loaded: libgomp"):
        search(data, ("lightgbm",), Limits(3, 0.0), 0, told)


def test_a_budget_ends_the_search(tmp_path: Path) -> None:
    """One trial is run in any case, and the next only where it should end in time."""
    data = learnable(tmp_path, "binary", 200)
    assert len(search(data, ("linear",), Limits(None, 0.0), 0, told).trials) == 1
    assert len(search(data, ("linear",), Limits(None, 2.0), 0, told).trials) > 1  # and nothing else ended it


def test_progress_is_told_after_every_trial(tmp_path: Path) -> None:
    """How many, of how many, and the best loss so far."""
    heard: list[tuple[int, int | None, float | None]] = []
    search(
        learnable(tmp_path, "binary", 200),
        ("linear",),
        Limits(3, 0.0),
        0,
        lambda done, total, best, left: heard.append((done, total, best)),
    )
    assert [done for done, _, _ in heard] == [0, 1, 2, 3]
    bests = [best for _, _, best in heard if best is not None]
    assert bests == sorted(bests, reverse=True)


def test_where_every_trial_fails_the_reason_is_given(tmp_path: Path) -> None:
    """One class only among the older rows: nothing can be fitted on them."""
    data = learnable(tmp_path, "binary", 200)
    data.target[:150] = 0
    with pytest.raises(DataError, match="no model could be fitted"):
        search(data, ("linear",), Limits(2, 0.0), 0, told)


def test_rows_in_order_are_judged_on_later_ones() -> None:
    """Whether they are few or many."""
    for rows in (60, 500, 20_000):
        for fold in folds(rows, ordered=True):
            assert fold.fit.max() < fold.judge.min()
            assert len(fold.judge) > 0


def test_few_mixed_rows_are_all_judged_once() -> None:
    """Cross-validation: nothing is wasted."""
    judged = np.concatenate([fold.judge for fold in folds(500, ordered=False)])
    assert sorted(judged.tolist()) == list(range(500))
    for fold in folds(500, ordered=False):
        assert not set(fold.fit) & set(fold.judge)


def test_a_class_that_comes_late_is_no_obstacle(tmp_path: Path) -> None:
    """Models that never saw it give it nothing, and are judged by that."""
    data = learnable(tmp_path, "several", 300)
    data.target[data.target == 2] = 1
    data.target[-10:] = 2
    report = search(data, ALL, Limits(len(ALL), 0.0), 0, told)
    assert all(trial.loss is not None for trial in report.trials)


def test_trials_side_by_side_find_the_same(tmp_path: Path) -> None:
    """To the last bit, ensemble included, whichever ends first; and nobody is left behind."""
    data = learnable(tmp_path, "binary", 300)
    alone = search(data, ALL, Limits(14, 0.0), 3, told)
    together = search(data, ALL, Limits(14, 0.0), 3, told, processes=2)
    assert choices(together) == choices(alone)
    assert together.best.configuration == alone.best.configuration
    assert [trial.number for trial in together.trials] == list(range(14))
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_costs_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does for want of memory: the trial has failed, the other worker goes on."""
    data = learnable(tmp_path, "binary", 200)
    judge = Validation.judge

    def fatal(self: Validation, configuration: Configuration, *more: Any) -> Judged:
        if configuration.params.get("regularisation") == 1.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(self, configuration, *more)

    monkeypatch.setattr(Validation, "judge", fatal)
    report = search(data, ("linear",), Limits(6, 0.0), 3, told, processes=2)
    assert [trial.error for trial in report.trials] == ["its process was ended"] + [None] * 5


def test_where_every_worker_is_killed_the_search_goes_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is always somebody to judge."""
    data, here = learnable(tmp_path, "binary", 200), os.getpid()
    judge = Validation.judge

    def fatal(self: Validation, configuration: Configuration, *more: Any) -> Judged:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(self, configuration, *more)

    monkeypatch.setattr(Validation, "judge", fatal)
    report = search(data, ("linear",), Limits(6, 0.0), 3, told, processes=2)
    assert [trial.loss is None for trial in report.trials] == [True, True, False, False, False, False]


def test_a_trial_that_outlasts_the_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would have gone on: its process is ended, and the search returns."""
    data = learnable(tmp_path, "binary", 200)
    judge = Validation.judge

    def endless(self: Validation, configuration: Configuration, *more: Any) -> Judged:
        if configuration.params.get("regularisation") == 30.0:
            threading.Event().wait()  # for what never comes
        return judge(self, configuration, *more)

    monkeypatch.setattr(Validation, "judge", endless)
    report = search(data, ("linear",), Limits(None, 2.0), 0, told, processes=2)
    assert report.best.loss is not None
    assert multiprocessing.active_children() == []


class Killed(Exception):
    """In place of SIGKILL."""


def test_a_search_goes_on_from_its_record_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Past the trials by chance too: the same proposals, the same losses, and what was kept is not fitted again."""
    data = learnable(tmp_path, "binary", 200)
    whole = search(data, ("linear", "gradient_boosting"), Limits(11, 0.0), 3, told)

    def stop(done: int, *_: object) -> None:
        if done == 9:
            raise Killed

    record = TrialRecord(tmp_path / "run", {"seed": 3})
    with pytest.raises(Killed):
        search(data, ("linear", "gradient_boosting"), Limits(11, 0.0), 3, stop, record=record)
    with (tmp_path / "run/trials.jsonl").open("a") as file:
        file.write('{"values": {"fam')  # torn by the kill
    again = TrialRecord(tmp_path / "run", {"seed": 3})
    assert len(again.kept) >= 9
    heard: list[int] = []
    resumed = search(
        data, ("linear", "gradient_boosting"), Limits(11, 0.0), 3, lambda done, *_: heard.append(done), record=again
    )
    assert choices(resumed) == choices(whole)
    assert heard == [9, 10, 11]


def test_trials_of_another_search_are_not_gone_on_from(tmp_path: Path) -> None:
    """Another seed, other data."""
    TrialRecord(tmp_path, {"seed": 3}).append({"trial": {}})
    assert len(TrialRecord(tmp_path, {"seed": 3}).kept) == 1
    assert TrialRecord(tmp_path, {"seed": 4}).kept == ()
    assert TrialRecord(tmp_path, {"seed": 3}).kept == ()


def test_time_that_was_spent_stays_spent(tmp_path: Path) -> None:
    """The budget of a search that goes on is what its record has left of it."""
    data = learnable(tmp_path, "binary", 200)
    record = TrialRecord(tmp_path / "run", {})
    first = search(data, ("linear",), Limits(None, 1.0), 0, told, record=record)
    over = search(data, ("linear",), Limits(None, 1.0), 0, told, record=TrialRecord(tmp_path / "run", {}))
    assert choices(over) == choices(first)
    assert over.seconds == pytest.approx(first.seconds, abs=0.5)


def test_a_warm_search_begins_with_what_is_known(tmp_path: Path) -> None:
    """The champion's own configuration, the best of its study, then the defaults that are not among them."""
    data = learnable(tmp_path, "binary", 300)
    cold = search(data, ALL, Limits(12, 0.0), 5, told)
    card = {**cold.best.configuration.to_json(), "study": study_of(cold)}
    known = warm_start(json.loads(json.dumps(card)))
    assert known[0] == cold.best.configuration.parts[0]
    warm = search(data, ALL, Limits(11, 0.0), 5, told, warm=known)
    assert [trial.configuration for trial in warm.trials[: len(known)]] == list(known)
    assert warm.trials[0].loss == next(t.loss for t in cold.trials if t.configuration == known[0])
    assert {trial.configuration.family for trial in warm.trials} == set(ALL)


def test_a_card_of_another_time_is_no_obstacle(tmp_path: Path) -> None:
    """Values that the space does not hold, and families that are left out, are not tried."""
    foreign = [
        Configuration("linear", {"regularisation": 1e9, "min_count": 10}),
        Configuration("linear", {"strength": 1.0}),
        Configuration("random_forest", {"max_features": 0.4, "min_samples_leaf": 2, "min_count": 10}),
    ]
    data = learnable(tmp_path, "binary", 200)
    report = search(data, ("linear",), Limits(1, 0.0), 0, told, warm=foreign)
    first = defaults(("linear",), stages=applicable(STAGES, data.arrays))[0]
    assert values_of(report.best.configuration) == first
