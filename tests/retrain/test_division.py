"""What is held out of a run: the newest rows, and no more of them than the champion has not learned from."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pytest

from record.versions.model_version import ModelVersion
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.division import Division, divide, fresh_rows, split
from retrain.evaluation.examination import Champion
from tests.retrain.rows import START, make_rows

ROWS = 5000


def rows(count: int, logged: int = 0) -> Dataset:
    return make_rows(np.arange(count), logged=logged)


def champion(*, read_until_seq: int = 0, known_rows: int | None = None) -> Champion:
    """One that learned from the requests up to that number, and from so many of the oldest rows."""
    data_until = None if known_rows is None else START + timedelta(hours=known_rows - 1)
    version = ModelVersion("v1", 1, START, None, None, "", {}, read_until_seq, data_until, "eligible", None)
    return Champion(cast(Any, None), version)


def sizes(division: Division) -> tuple[int, int]:
    """Of both parts, once it is sure that they are all rows, the newest ones held out."""
    learn, holdout = division.learn, division.holdout
    assert division.newest == len(holdout)
    assert division.ages.tolist() == list(range(len(holdout), 0, -1))
    assert [*learn.target, *holdout.target] == list(range(len(learn) + len(holdout)))
    return len(learn), len(holdout)


@pytest.mark.parametrize(
    ("fresh", "held_out"),
    [
        (0, 1000),  # no champion, or nothing new: the share
        (499, 1000),  # too few to judge by: a difference in loss that matters does not show
        (500, 500),
        (501, 501),
        (1000, 1000),
        (3000, 1000),  # never more than the share
    ],
)
def test_the_holdout_is_the_newest_rows(fresh: int, held_out: int) -> None:
    assert sizes(split(rows(ROWS), 0.2, fresh)) == (ROWS - held_out, held_out)


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(2, 0.2, (1, 1)), (3, 0.1, (2, 1)), (3, 0.9, (1, 2)), (4, 0.5, (2, 2))]
)
def test_of_few_rows_some_are_learned_from_and_some_are_held_out(
    count: int, share: float, expected: tuple[int, int]
) -> None:
    """An empty holdout would have no loss, and nothing is learned from no rows."""
    assert sizes(split(rows(count), share)) == expected


@pytest.mark.parametrize(
    ("fresh", "held_out"),
    [
        (0, 1),
        (1, 1),
        (2, 1),  # half of them at most: the other half is what it goes on with
        (3, 1),
        (100, 50),
        (1999, 999),
        (2000, 1000),
        (4000, 1000),  # never more than the share
    ],
)
def test_an_incremental_run_is_judged_on_half_of_the_new_rows_at_most(fresh: int, held_out: int) -> None:
    known = champion(known_rows=ROWS - fresh)
    assert sizes(divide(rows(ROWS), known, "incremental", 0.2)) == (ROWS - held_out, held_out)


@pytest.mark.parametrize("mode", ["full", "refit"])
def test_any_other_run_is_judged_on_new_rows_alone_where_they_are_enough(mode: Any) -> None:
    assert sizes(divide(rows(ROWS), champion(known_rows=ROWS - 600), mode, 0.2)) == (ROWS - 600, 600)
    assert sizes(divide(rows(ROWS), champion(known_rows=ROWS - 400), mode, 0.2)) == (ROWS - 1000, 1000)
    assert sizes(divide(rows(ROWS), None, mode, 0.2)) == (ROWS - 1000, 1000)


def test_a_row_is_fresh_where_it_is_later_than_all_that_the_champion_read() -> None:
    """A request by its number and its time, a row of the source by its time; without a champion none is."""
    data = rows(100, logged=40)  # requests 1 to 40 are the rows 60 to 99
    assert fresh_rows(data, None) == 0
    assert fresh_rows(data, champion(read_until_seq=0, known_rows=50)) == 50
    assert fresh_rows(data, champion(read_until_seq=0, known_rows=100)) == 0, "the newest time it knew is not later"
    assert fresh_rows(data, champion(read_until_seq=39, known_rows=60)) == 1
    assert fresh_rows(data, champion(read_until_seq=40, known_rows=60)) == 0
    assert fresh_rows(data, champion(read_until_seq=10, known_rows=80)) == 20, "later in both, not in one"
    assert fresh_rows(data, champion(read_until_seq=30)) == 10, "without any time the numbers decide"


def test_a_row_without_a_time_is_not_fresh() -> None:
    """It may be as old as any."""
    data = rows(10)
    undated = replace(data, times=np.where(data.target >= 8, UNKNOWN, data.times))
    assert fresh_rows(undated, champion(known_rows=5)) == 3
