"""A drift decision from the real record: fresh rows only, outputs beside features, and the same when made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drifting.alarm import AlarmState, Line, decide, display_names, line_name
from monitoring.drifting.check import DriftCheck
from monitoring.watcher import Watcher
from record.clock import to_micros
from record.log.label_window import matured_labels
from record.versions.artifact import REFERENCE_TIME
from tests.monitoring.arena import SCHEMA, START, logistic
from tests.monitoring.test_watcher import DAILY
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
REFERENCE_DAYS = 40
# Every name that our own code gives to a column, and how it is written in events.
OWN_NAMES = (
    "prediction", "target", "time", "number", "share.0", "probability.yes", "probability", "prediction.yes",
    "ringside.time", "output:prediction", "output:output:prediction", "output:target", "feature:x", "feature", "output",
    "label", "id", "index", "__index_level_0__", "x.hour",
)  # fmt: skip


class Lived(WatchHouse):
    """A house with one leader from its first day to its last."""

    @cached_property
    def led(self) -> Watcher:
        return self.leader()

    def until(self, at: datetime) -> None:
        self.to(at)
        self.led.tick()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Lived]:
    house = Lived(tmp_path, toml=DAILY, every="1d")
    yield house
    house.record.close()


def register(house: Lived) -> str:
    """A version whose reference knows its rows' times and targets: forty quiet days of x, normal(0, 2)."""
    stage = house.record.artifacts.stage()
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, 200 * REFERENCE_DAYS).astype(np.float32)
    truths = rng.random(len(values)) < 1 / (1 + np.exp(-values))
    days = np.repeat(np.arange(REFERENCE_DAYS), 200)
    frame = {
        "x": values,
        SCHEMA.problem.target: np.where(truths, "yes", "no"),
        REFERENCE_TIME: to_micros(START) - (REFERENCE_DAYS - days) * (DAY // timedelta(microseconds=1)),
        "probability.yes": 1 / (1 + np.exp(-values)),
    }
    (stage / "model.onnx").write_bytes(logistic(1.0))
    (stage / "schema.json").write_text(SCHEMA.to_json())
    pd.DataFrame(frame).to_parquet(stage / "reference.parquet")
    golden = pd.DataFrame({"record": [json.dumps({"x": 0.0, "who": None})], "expected": ["[0.5, 0.5]"]})
    golden.to_parquet(stage / "golden.parquet", index=False)
    version = house.record.registry.register(
        stage, run_id=None, parent=None, card={"reference_loss": 0.16, "importances": {"x": 1.0}},
        read_until_seq=0, data_until=None, actor="test", as_champion=True,
    )  # fmt: skip
    return version.version


def live(house: Lived, days: int, *, first: int = 0, shift: float = 0.0, rows: int = 600) -> None:
    """Days of traffic, each decided on at its end."""
    house.until(START + first * DAY)
    for day in range(first, first + days):
        house.traffic(1.0, start=START + day * DAY, count=rows, shift=shift)
        house.until(START + (day + 1) * DAY)


def test_a_fortnight_of_quiet_days_raises_no_alarm(house: Lived) -> None:
    """Features, answers and labels are all weighed, by weights that add up to one."""
    register(house)
    live(house, 9)
    assert house.events("drift_detected") == []
    numbers = house.events("drift_checked")[-1].data["numbers"]
    assert set(numbers["evidence"]) == {"feature:x", "output:prediction", "output:target"}
    assert sum(numbers["weights"].values()) == pytest.approx(1.0, abs=1e-5)
    assert house.samples()["ringside_drift_alarm", ()] == 0.0
    assert house.samples()["ringside_drift_evidence", ()] < 1.0


def test_each_row_is_evidence_once_for_every_span(house: Lived) -> None:
    """A day's window begins where the last one ended; a week's where the first day's did."""
    register(house)
    live(house, 9)
    told = [event.data["numbers"]["readings"] for event in house.events("drift_checked")]
    ends = [reading["requests:1"]["until"] for reading in told]
    begins = [reading["requests:1"]["since"] for reading in told]
    assert begins[1:] == ends[:-1]
    assert [("requests:7" in reading) for reading in told] == [False] * 6 + [True] * 3
    week = told[-1]["requests:7"]
    assert week["since"] == begins[0]
    assert week["rows"] == 4200


def test_too_few_new_rows_are_waited_for(house: Lived) -> None:
    """300 rows a day with min_rows 500: every second day decides, the first one on the last 500."""
    register(house)
    live(house, 5, rows=300)
    decided = [event.data["numbers"]["decided"] for event in house.events("drift_checked")]
    assert decided == [False, True, False, True, False]
    assert [event.data["rows"] for event in house.events("drift_checked")][1::2] == [500, 600]


def test_labels_that_turn_are_target_drift_once_they_are_mature(house: Lived) -> None:
    """x stays what it was, and so do the answers: only what turns out to be true has moved."""
    register(house)
    live(house, 2)
    arena = house.arena
    for day in (2, 3):
        asked = arena.ask(600, START + day * DAY + timedelta(minutes=2), every=timedelta(minutes=2))
        arena.tell([(one.at + timedelta(minutes=5), one.id, "yes") for one in asked])
        house.until(START + (day + 1) * DAY)
    (event, *_) = house.events("drift_detected")
    assert event.data["drifted"] == ["target"]
    assert house.samples()["ringside_output_drifted", ("target",)] == 1.0
    assert house.samples()["ringside_drifted_features", ()] == 0.0


def test_a_decision_made_again_from_the_log_is_the_same(house: Lived) -> None:
    """By a check that knows nothing but the record, long after."""
    version = register(house)
    live(house, 8)
    live(house, 2, first=8, shift=1.0)
    later = DriftCheck(house.settings, house.record)
    for event in house.events("drift_checked"):
        again = later.evidence(house.record.registry.version(version), event.at)
        assert json.loads(json.dumps(again.numbers)) == {k: event.data["numbers"][k] for k in again.numbers}


def test_a_decision_made_again_from_events_alone_is_the_same(house: Lived) -> None:
    """The state before, the p-values and the weights that the event tells give its evidence, to the last digit."""
    register(house)
    live(house, 4)
    live(house, 2, first=4, shift=1.5)
    before = AlarmState()
    for event in house.events("drift_checked"):
        numbers = event.data["numbers"]
        p_values = {
            int(span): {_line(name): [one["p"] for one in methods.values()] for name, methods in lines.items()}
            for span, lines in numbers["judged"].items()
        }
        weights = {_line(name): weight for name, weight in numbers["weights"].items()}
        decision = decide(before, p_values, weights, numbers["needed"])
        assert decision.state.to_numbers() == numbers["state"]
        assert [name for _, name in decision.drifted] == event.data["drifted"]
        before = decision.state
    assert before.alarm


def test_a_new_champion_begins_without_evidence(house: Lived) -> None:
    register(house)
    live(house, 1)
    live(house, 2, first=1, shift=3.0)
    assert house.samples()["ringside_drift_alarm", ()] == 1.0
    second = house.register(1.0)
    house.record.registry.promote(second, actor="test", reason="the second")
    live(house, 1, first=3)
    last = house.events("drift_checked")[-1]
    assert last.model_version == second
    assert not last.data["numbers"]["state"]["alarm"]


def test_matured_labels_are_those_that_came_in_time(house: Lived) -> None:
    """Later ones and corrections behind the horizon change nothing, or a decision made again would be another."""
    register(house)
    asked = house.arena.ask(3, START, every=HOUR)
    first, second, third = asked
    house.arena.tell([(first.at + HOUR / 2, first.id, "yes"), (second.at + 2 * HOUR, second.id, "no")])
    house.arena.tell([(first.at + 3 * HOUR, first.id, "no")], correct=True)
    house.arena.tell([(third.at + HOUR / 2, third.id, "no")])
    database = house.record.database
    assert matured_labels(database, START - HOUR, START + DAY, HOUR)[1] == ['"yes"', '"no"']
    assert matured_labels(database, START, START + DAY, HOUR)[1] == ['"no"']


@given(st.sets(st.sampled_from(OWN_NAMES) | st.text(max_size=20), max_size=8))
def test_no_name_of_a_feature_meets_one_of_an_output(names: set[str]) -> None:
    """Whatever features are called: every line has a name of its own, in events and on pages."""
    lines: list[Line] = [("feature", name) for name in sorted(names)]
    lines += [("output", "prediction"), ("output", "target"), ("output", "prediction.yes")]
    shown = display_names(lines)
    assert len(set(shown.values())) == len(lines)
    assert all(shown["feature", name] == name for name in names)
    assert len({line_name(line) for line in lines}) == len(lines)
    assert all(_line(line_name(line)) == line for line in lines)


def _line(name: str) -> tuple[str, str]:
    kind, _, rest = name.partition(":")
    return kind, rest
