"""Guards on data that must trip them, and on data that must not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.configuration.loop_sections import GuardSettings
from record.contract.decoder import Decoder
from record.prediction_log import MaturedRow
from record.settings import Settings
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.guards.finding import Finding
from retrain.guards.inspection import DataRefused, GuardContext, inspect_data, refuse
from retrain.guards.representation import Population
from tests.retrain.problems import START, Kind, make_frame, write_settings

ROWS = 1_000
HELD = 200


def dataset(
    folder: Path, frame: pd.DataFrame, kind: Kind = "binary", logged: pd.DataFrame | None = None, **columns: str
) -> Dataset:
    """The frame's rows, and logged ones after them; further columns by their types."""
    frame.to_parquet(folder / "rows.parquet", index=False)
    more: dict[str, Mapping[str, Any]] = {f"columns.{name}": {"type": type_} for name, type_ in columns.items()}
    settings = write_settings(folder, kind, "rows.parquet", more)
    rows = [] if logged is None else log_frame(settings, logged, START + timedelta(days=200))
    return load(settings, problem_schema(settings, None), rows)


def log_frame(settings: Settings, frame: pd.DataFrame, since: datetime) -> list[MaturedRow]:
    """The frame's rows as answered and labelled requests, an hour apart."""
    problem = settings.problem_schema()
    assert problem is not None
    held = enumerate(zip(Decoder(problem).frame_records(frame), frame["outcome"].tolist(), strict=True), 1)
    return [
        MaturedRow(
            n, 0, str(n), since + timedelta(hours=n), "v1", json.dumps(record), '"late"', None, None,
            json.dumps(label), since + timedelta(hours=n + 1),
        )
        for n, (record, label) in held
    ]  # fmt: skip


def look(data: Dataset, populations: Mapping[str, Population] | None = None, **levels: Any) -> list[Finding]:
    context = GuardContext(GuardSettings(**levels), HELD, populations or {})
    return list(inspect_data(data, context))


def told(findings: list[Finding]) -> list[tuple[str, str | None, str]]:
    return [(finding.check, finding.column, finding.severity) for finding in findings]


def late(frame: pd.DataFrame) -> pd.Series[Any]:
    return (frame["outcome"] == "late").astype(float)


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_honest_data_say_nothing(tmp_path: Path, kind: Kind) -> None:
    """Strong features, gaps, rare values and a carried text are no faults."""
    frame = make_frame(kind, ROWS, noise=0.05)
    assert look(dataset(tmp_path, frame, kind)) == []


def test_a_copy_of_the_target_stops_the_run(tmp_path: Path) -> None:
    """However its two values are written."""
    frame = make_frame("binary", ROWS)
    found = look(dataset(tmp_path, frame.assign(refunded=late(frame) * 7 + 1), refunded="number"))
    assert told(found) == [("leakage", "refunded", "error")]
    assert "a copy of the target in other words" in found[0].message
    with pytest.raises(DataRefused, match="leakage: refunded: a copy of the target") as refused:
        refuse(found)
    assert refused.value.findings == tuple(found)
    words = frame["outcome"].map({"late": "ja", "on_time": "nein"})
    assert told(look(dataset(tmp_path, frame.assign(refunded=words), refunded="category"))) == told(found)


def test_an_amount_in_another_unit_is_a_copy(tmp_path: Path) -> None:
    """Rounded or curved, it keeps the target's order."""
    frame = make_frame("regression", ROWS)
    rounded = (np.sqrt(frame["outcome"]) * 3.7).round(1)
    found = look(dataset(tmp_path, frame.assign(in_dollars=rounded), "regression", in_dollars="number"))
    assert told(found) == [("leakage", "in_dollars", "error")]


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_an_honest_strong_feature_only_warns(tmp_path: Path, kind: Kind) -> None:
    """It nearly gives the target, and is no copy of it: a night's run goes on."""
    frame = make_frame(kind, ROWS)
    generator = np.random.default_rng(1)
    if kind == "binary":
        strong = late(frame) + generator.uniform(0, 0.9, ROWS)
    else:
        strong = frame["outcome"] + generator.normal(0, 500, ROWS)
    found = look(dataset(tmp_path, frame.assign(strong=strong), kind, strong="number"))
    assert told(found) == [("leakage", "strong", "warning")]
    assert found[0].numbers["explained"] > 0.97
    refuse(found)


def test_the_log_clears_a_strong_feature(tmp_path: Path) -> None:
    """Requests brought it before anybody knew the target."""
    frame, logged = make_frame("binary", ROWS), make_frame("binary", 300, seed=5)
    for held in (frame, logged):
        held["ticket"] = late(held)
    assert look(dataset(tmp_path, frame, logged=logged, ticket="number")) == []


def test_what_is_filled_in_afterwards_is_known_by_the_log(tmp_path: Path) -> None:
    """The source has the truth; requests brought what was known then."""
    frame, logged = make_frame("binary", ROWS), make_frame("binary", 300, seed=5)
    frame["status"] = late(frame) + np.random.default_rng(1).uniform(0, 0.9, ROWS)
    logged["status"] = np.random.default_rng(2).uniform(0, 1.9, 300)
    found = look(dataset(tmp_path, frame, logged=logged, status="number"))
    assert told(found) == [("leakage", "status", "error")]
    assert found[0].numbers["explained_later"] < 0.2


def test_a_column_that_the_log_never_carries(tmp_path: Path) -> None:
    """An error where a model would rely on it, a warning where it would not."""
    frame, logged = make_frame("binary", ROWS), make_frame("binary", 300, seed=5)
    frame["duration"] = late(frame) + np.random.default_rng(1).normal(0, 0.6, ROWS)
    frame["operator"] = np.random.default_rng(2).normal(0, 1, ROWS)
    logged["duration"] = logged["operator"] = np.nan
    found = look(dataset(tmp_path, frame, logged=logged, duration="number", operator="number"))
    assert told(found) == [("leakage", "duration", "error"), ("leakage", "operator", "warning")]
    assert "missing in 100% of 300 logged requests" in found[0].message
    sent = look(dataset(tmp_path, frame, logged=logged.assign(duration=1.0, operator=2.0), duration="number"))
    assert all(finding.check != "leakage" for finding in sent)


def test_a_column_that_gave_the_target_only_formerly(tmp_path: Path) -> None:
    """The newest rows do not have the truth yet."""
    frame = make_frame("binary", ROWS)
    noise = np.random.default_rng(1).uniform(0, 0.9, ROWS)
    frame["status"] = np.where(np.arange(ROWS) < ROWS - HELD, late(frame), noise > 0.45) + noise
    found = look(dataset(tmp_path, frame, status="number"))
    assert told(found) == [("leakage", "status", "error")]
    assert "in the newest rows" in found[0].message


def test_dates_after_the_row_and_values_that_have_not_come(tmp_path: Path) -> None:
    """Both may be innocent, plans or a broken feed: they warn."""
    frame = make_frame("binary", ROWS)
    frame["closed_at"] = frame["at"] + pd.to_timedelta(np.random.default_rng(1).uniform(1, 9, ROWS), "D")
    frame["paid"] = np.where(np.arange(ROWS) < ROWS - HELD, np.random.default_rng(2).normal(0, 1, ROWS), np.nan)
    found = look(dataset(tmp_path, frame, closed_at="time", paid="number"))
    assert told(found) == [("leakage", "closed_at", "warning"), ("leakage", "paid", "warning")]
    assert "later than the row's own time in 100% of the rows" in found[0].message
    frame["closed_at"] -= timedelta(days=30)
    frame["paid"] = np.random.default_rng(2).normal(0, 1, ROWS)
    assert look(dataset(tmp_path, frame, closed_at="time", paid="number")) == []


def copied(frame: pd.DataFrame, rows: int, *further: str) -> pd.DataFrame:
    """The frame, its newest rows the same as older ones."""
    columns = ["distance", "seats", "carrier", "gate", "outcome", *further]
    held = frame.copy()
    held.loc[ROWS - rows : ROWS - 1, columns] = frame.loc[100 : 100 + rows - 1, columns].to_numpy()
    return held


def test_rows_on_both_sides_of_the_split(tmp_path: Path) -> None:
    """A score on rows that were learned from is memory; without ids they may be cases alike, and it only warns."""
    frame = make_frame("binary", ROWS)
    for rows in (20, 120):
        found = look(dataset(tmp_path, copied(frame, rows)))
        assert told(found) == [("duplicates", None, "warning")]
        assert found[0].numbers == {"rows": rows, "held_out": HELD, "share": rows / HELD, "same_id": 0}


def test_ids_say_that_rows_are_the_same(tmp_path: Path) -> None:
    """A table that holds its rows twice stops the run; other ids say that they are other rows."""
    frame = make_frame("binary", ROWS).assign(order=[f"o-{number}" for number in range(ROWS)])
    problem: Mapping[str, Any] = {
        "problem": {"id_column": "order"},
        "columns.order": {"type": "text", "role": "carried"},
    }

    def of(held: pd.DataFrame) -> Dataset:
        held.to_parquet(tmp_path / "rows.parquet", index=False)
        settings = write_settings(tmp_path, "binary", "rows.parquet", problem)
        return load(settings, problem_schema(settings, None), [])

    assert told(look(of(copied(frame, 120, "order")))) == [("duplicates", None, "error")]
    assert told(look(of(copied(frame, 120)))) == [("duplicates", None, "warning")]
    assert look(of(frame)) == []


def test_rows_that_come_again_by_nature(tmp_path: Path) -> None:
    """Fifty articles, each sold twenty times: nothing is a copy."""
    articles = make_frame("binary", 50)
    frame = pd.concat([articles] * 20, ignore_index=True)
    frame["at"] = make_frame("binary", ROWS)["at"]
    assert [found for found in look(dataset(tmp_path, frame)) if found.check in ("duplicates", "label_noise")] == []


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_a_table_pasted_together_from_copies(tmp_path: Path, copies: int) -> None:
    """Every row held out was learned from, and each row stands equally often: that is no article sold again."""
    table = make_frame("binary", ROWS // copies)
    pd.concat([table] * copies, ignore_index=True).to_parquet(tmp_path / "rows.parquet", index=False)
    settings = write_settings(tmp_path, "binary", "rows.parquet", {"problem": {"time_column": None}})
    found = look(load(settings, problem_schema(settings, None), []))
    assert ("duplicates", None, "warning") in told(found)


def test_rows_of_a_few_values_meet_by_chance(tmp_path: Path) -> None:
    """Where five values make up a row, that two are alike says nothing."""
    frame = make_frame("binary", ROWS)
    frame = frame.assign(distance=frame["distance"].round(-3), seats=1.0 * (frame["seats"] > 170), gate="g1")
    assert [
        finding for finding in look(dataset(tmp_path, frame)) if finding.check in ("duplicates", "label_noise")
    ] == []


def test_columns_that_stand_still(tmp_path: Path) -> None:
    """With one value, or none; a value beside missing ones says something."""
    frame = make_frame("binary", ROWS).assign(still=3.0, empty=np.nan, marked=None)
    frame.loc[::3, "marked"] = "x"
    found = look(dataset(tmp_path, frame, still="number", empty="number", marked="category"))
    assert told(found) == [("constant", "still", "warning"), ("constant", "empty", "warning")]
    assert "the same value in all 1000 rows" in found[0].message
    assert "no value in all 1000 rows" in found[1].message


def test_columns_that_name_the_row(tmp_path: Path) -> None:
    """Texts and numbers; amounts that happen to differ are none."""
    generator = np.random.default_rng(1)
    frame = make_frame("binary", ROWS).assign(
        booking=[f"b-{number:06d}" for number in generator.permutation(ROWS)],
        booking_id=generator.permutation(10**9 + np.arange(ROWS) * 7),
        metres=generator.permutation(10**6 + np.arange(ROWS) * 7),
    )
    found = look(dataset(tmp_path, frame, booking="category", booking_id="number", metres="number"))
    assert told(found) == [("identifier", "booking", "warning"), ("identifier", "booking_id", "warning")]


def test_classes_spelt_twice(tmp_path: Path) -> None:
    """They are one class for people, and two for a model."""
    frame = make_frame("binary", ROWS)
    frame.loc[::9, "outcome"] = frame.loc[::9, "outcome"].str.upper() + " "
    found = look(dataset(tmp_path, frame))
    assert told(found) == [("label_noise", None, "warning")]
    assert "'LATE ' and 'late'" in found[0].message


def test_rows_that_disagree_about_the_target(tmp_path: Path) -> None:
    """The same features in every column, and another class."""
    frame = make_frame("binary", ROWS)
    again = frame[:60].assign(outcome=frame["outcome"][:60].map({"late": "on_time", "on_time": "late"}))
    again["at"] = frame["at"][100:160].to_numpy()
    found = look(dataset(tmp_path, pd.concat([frame, again])))
    assert told(found) == [("label_noise", None, "warning")]
    assert found[0].numbers["with_twins"] == 120
    assert look(dataset(tmp_path, frame)) == []


def test_targets_cut_off(tmp_path: Path) -> None:
    """A heap at the end of what else is smooth."""
    frame = make_frame("regression", ROWS)
    cut = frame.assign(outcome=frame["outcome"].clip(upper=frame["outcome"].quantile(0.95)))
    found = look(dataset(tmp_path, cut, "regression"))
    assert told(found) == [("label_noise", None, "warning")]
    assert "50 rows (5.0%)" in found[0].message
    assert "the greatest target" in found[0].message
    grades = frame.assign(outcome=(frame["outcome"].rank(pct=True) * 7).round())
    assert look(dataset(tmp_path, grades, "regression")) == []


@pytest.mark.parametrize(("flipped", "trips"), [(0.0, False), (0.15, True)])
def test_labels_flipped_by_chance(tmp_path: Path, flipped: float, trips: bool) -> None:
    """Errors as frequent where a model is sure as where it is not."""
    frame = make_frame("binary", 4_000, noise=0.0)
    frame["gate"] = "g1"
    frame.loc[0, "gate"] = "g2"
    frame["outcome"] = np.where(frame["distance"] > 500, "late", "on_time")
    flips = np.random.default_rng(3).random(4_000) < flipped
    other = frame["outcome"].map({"late": "on_time", "on_time": "late"})
    frame["distance"] += np.random.default_rng(4).normal(0, 20, 4_000)
    found = look(dataset(tmp_path, frame.assign(outcome=other.where(flips, frame["outcome"]))))
    assert [finding.check for finding in found] == (["label_noise"] if trips else [])


def test_classes_with_too_few_rows(tmp_path: Path) -> None:
    """An error where no two can be learned, else a warning; one that is not held out is not judged."""
    frame = make_frame("several", ROWS)
    frame["outcome"] = frame["outcome"].where(frame["outcome"] != "early", "late")
    rare = frame.assign(outcome=frame["outcome"].where(frame.index % 300 != 7, "lost"))
    found = look(dataset(tmp_path, rare))
    assert told(found) == [("class_size", None, "warning")]
    assert "3 of 'lost' of 800 rows" in found[0].message
    gone = frame.assign(outcome=frame["outcome"].where((frame.index % 20 != 7) | (frame.index >= 800), "lost"))
    assert "no row of 'lost' among the 200 held out" in look(dataset(tmp_path, gone))[0].message
    alone = frame.assign(outcome=np.where(frame.index < 3, "late", "on_time"))
    found = look(dataset(tmp_path, alone))
    assert told(found)[0] == ("class_size", None, "error")
    assert "Expected two classes of 5 rows at least" in found[0].message


def test_newest_targets_unlike_those_before(tmp_path: Path) -> None:
    """A warning for another level; an error for classes that have nothing in common."""
    frame = make_frame("regression", ROWS)
    newest = frame.index >= ROWS - HELD
    moved = frame.assign(outcome=frame["outcome"] + newest * 3e4)
    found = look(dataset(tmp_path, moved, "regression"))
    assert told(found) == [("target_drift", None, "warning")]
    seasons = frame.assign(outcome=frame["outcome"] + (frame.index // 100 % 2) * 6e4)
    assert look(dataset(tmp_path, seasons, "regression")) == []
    classes = make_frame("several", ROWS)
    respelt = classes.assign(outcome=classes["outcome"].where(~newest, "w:" + classes["outcome"]))
    found = [finding for finding in look(dataset(tmp_path, respelt)) if finding.check == "target_drift"]
    assert told(found) == [("target_drift", None, "error")]


def test_groups_that_are_rarer_than_in_the_population(tmp_path: Path) -> None:
    """A warning for too few, an error for none; by chance, or by less than a fifth, is nothing."""
    frame = make_frame("binary", ROWS)  # half of it AA, .3 B6, .15 UA
    data = dataset(tmp_path, frame)
    same = Population({"AA": 0.5, "B6": 0.3, "UA": 0.15, "ü√": 0.05}, "the requests")
    assert look(data, {"carrier": same}) == []
    other = Population({"AA": 0.3, "B6": 0.3, "UA": 0.3, "DL": 0.1}, "the requests")
    found = look(data, {"carrier": other})
    assert told(found) == [("representation", "carrier", "error"), ("representation", "carrier", "warning")]
    assert "'DL' is 0.0% of 1000 rows and 10.0% of the requests" in found[0].message
    assert "'UA' is 14." in found[1].message or "'UA' is 15." in found[1].message


def test_settings_say_how_grave_a_finding_may_be(tmp_path: Path) -> None:
    """Refused, warned of, or not looked for."""
    frame = make_frame("binary", ROWS).assign(still=1.0)
    data = dataset(tmp_path, frame.assign(refunded=late(frame)), refunded="number", still="number")
    assert told(look(data)) == [("leakage", "refunded", "error"), ("constant", "still", "warning")]
    warned = look(data, leakage="warning", constant="off")
    assert told(warned) == [("leakage", "refunded", "warning")]
    refuse(warned)
    assert told(look(data, leakage="off", constant="error")) == [("constant", "still", "error")]


def test_findings_are_the_same_every_time(tmp_path: Path) -> None:
    """A decision must be replayable from the record."""
    data = dataset(tmp_path, make_frame("regression", ROWS).assign(still=1.0), "regression", still="number")
    assert look(data) == look(data)
