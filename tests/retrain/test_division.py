"""What is held out of a run: the newest rows, and no more of them than the champion has not learned from."""

from __future__ import annotations

from pathlib import Path

import pytest

from record.db.database import Database
from record.migrations.run import upgrade
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.division import ENOUGH_FRESH_ROWS, split
from tests.retrain.problems import make_project

ROWS = 5000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("split")
    database = Database(f"sqlite:///{folder / 'record.db'}")
    upgrade(database)
    project = make_project(folder, database, rows=ROWS)
    problem = project.settings.problem_schema()
    assert problem is not None
    held = load(project.settings, problem, [])
    database.close()
    return held


@pytest.mark.parametrize(
    ("fresh", "held_out"),
    [
        (0, 1000),  # no champion, or nothing new: the share
        (ENOUGH_FRESH_ROWS - 1, 1000),  # too few to judge by
        (ENOUGH_FRESH_ROWS, ENOUGH_FRESH_ROWS),
        (3000, 1000),  # never more than the share
    ],
)
def test_the_holdout_is_the_newest_rows(data: Dataset, fresh: int, held_out: int) -> None:
    division = split(data, 0.2, fresh)
    learn, holdout = division.learn, division.holdout
    assert (len(learn), len(holdout)) == (ROWS - held_out, held_out)
    assert learn.times.max() < holdout.times.min()
