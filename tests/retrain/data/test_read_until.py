"""No request that a run may have learned from is ever later than what the run says it knew."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.contract.decoder import Decoder
from record.db.database import Database
from record.logged import Batch, LabelGiven, LogEntry
from retrain.data.read_until import read_until_seq
from retrain.data.rows import read_rows
from retrain.data.shared_rows import feature_hashes
from tests.retrain.problems import START, Project, make_frame, make_project

SINCE = START + timedelta(days=100)
RETRAIN = {"retrain": {"trials": 1, "families": ["linear"]}, "quality": {"label_horizon": "2d"}}


def log_requests(project: Project, frame: pd.DataFrame, *, labelled: bool = True) -> None:
    """The frame's rows as requests at their own times, labelled ten minutes later."""
    problem = project.settings.problem_schema()
    assert problem is not None
    moments = [at.to_pydatetime() for at in frame["at"]]
    records = Decoder(problem).frame_records(frame)
    for number, (record, at, label) in enumerate(zip(records, moments, frame["outcome"], strict=True)):
        entry = LogEntry(f"r{number}", bytes(16), json.dumps(record), '"late"')
        project.record.log.append([Batch([entry], "v1", at)])
        if labelled:
            project.record.log.add_labels([LabelGiven(entry.id, json.dumps(label))], at + timedelta(minutes=10))


def known(project: Project, as_of: datetime) -> tuple[int, datetime | None, Any]:
    problem = project.settings.problem_schema()
    assert problem is not None
    data = read_rows(project.settings, project.record, problem, as_of)
    return read_until_seq(project.settings, project.record, data, as_of), data.known_until, data


REFRESHED = {
    "by the hour": lambda frame: frame,
    "by the day": lambda frame: frame.assign(at=frame["at"].dt.floor("D")),
    "an hour early": lambda frame: frame.assign(at=frame["at"] - timedelta(hours=1)),
    "two days early": lambda frame: frame.assign(at=frame["at"] - timedelta(days=2)),
    "some undated": lambda frame: frame.assign(at=frame["at"].where(np.arange(len(frame)) % 7 > 0)),
    "shuffled": lambda frame: frame.sample(frac=1, random_state=1),
}


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("how", REFRESHED)
def test_every_request_that_the_source_holds_is_known(
    tmp_path: Path, sqlite_database: Database, how: str, logged: bool, labelled: bool
) -> None:
    """Whatever its time says, and whether the log is read or not: behind what is known none of its rows stands."""
    old, new = make_frame("binary", 60), make_frame("binary", 90, seed=3, since=SINCE)
    frame = pd.concat([old, REFRESHED[how](new.iloc[:70])], ignore_index=True)
    more = {**RETRAIN, "data": {"include_labelled_log": logged}}
    project = make_project(tmp_path, sqlite_database, frame=frame, more=more)
    log_requests(project, new, labelled=labelled)
    seq, until, data = known(project, SINCE + timedelta(hours=89, minutes=30))
    rows = project.record.log.window(START, SINCE + timedelta(days=9))
    fresh = [row for row in rows if row.seq > seq and (until is None or row.requested_at > until)]
    problem = project.settings.problem_schema()
    assert problem is not None
    learned = set(feature_hashes(data.frame, problem).tolist())
    later = feature_hashes(pd.DataFrame([json.loads(row.record) for row in fresh]), problem) if fresh else []
    assert not learned & {int(row) for row in later}
    if how in ("by the hour", "shuffled", "an hour early") and logged:
        assert seq == 70  # and the twenty requests that nobody has told it of are evidence


@pytest.mark.parametrize("how", ["by the hour", "by the day", "shuffled"])
def test_a_row_that_stands_in_both_is_one_row(tmp_path: Path, sqlite_database: Database, how: str) -> None:
    old, new = make_frame("binary", 60), make_frame("binary", 90, seed=3, since=SINCE)
    frame = pd.concat([old, REFRESHED[how](new)], ignore_index=True)
    project = make_project(tmp_path, sqlite_database, frame=frame, more=RETRAIN)
    log_requests(project, new)
    seq, _, data = known(project, SINCE + timedelta(days=30))
    assert (len(data), seq) == (150, 90)
    assert sorted(data.seqs[data.seqs > 0].tolist()) == list(range(1, 91))


def test_rows_of_few_categories_are_not_taken_for_each_other(tmp_path: Path, sqlite_database: Database) -> None:
    """The same features and another time, where many rows look alike: another row."""
    old = make_frame("binary", 200).assign(distance=500.0, seats=100.0, gate="g1")
    new = make_frame("binary", 90, seed=3, since=SINCE).assign(distance=500.0, seats=100.0, gate="g1")
    project = make_project(tmp_path, sqlite_database, frame=old, more=RETRAIN)
    log_requests(project, new)
    _, _, data = known(project, SINCE + timedelta(days=30))
    assert len(data) == 290


def test_what_another_run_knew_is_not_fresh_by_order_nor_by_time(tmp_path: Path, sqlite_database: Database) -> None:
    project = make_project(tmp_path, sqlite_database, frame=make_frame("binary", 60), more=RETRAIN)
    new = make_frame("binary", 90, seed=3, since=SINCE)
    log_requests(project, new)
    _, _, data = known(project, SINCE + timedelta(days=30))
    by_order, by_time = data.fresh(30, SINCE), data.fresh(0, SINCE + timedelta(hours=49))
    assert data.seqs[by_order].tolist() == list(range(31, 91))
    assert data.seqs[by_time].tolist() == list(range(51, 91))
