"""The facts of a retrain decision, as the record has them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitoring.facts import gather_facts
from monitoring.trigger import TriggerFacts
from tests.monitoring.arena import START
from tests.monitoring.test_watcher import DAILY
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)
ORIGIN = {"source": "as it was", "code": "as it was"}


@pytest.fixture
def house(tmp_path: Path) -> WatchHouse:
    house = WatchHouse(tmp_path, toml=DAILY)
    house.register(1.0)
    return house


def facts(house: WatchHouse, as_of: datetime, origin: dict[str, str | None] | None = None) -> TriggerFacts:
    return gather_facts(house.record, house.settings, [], as_of, run_active=False, origin=origin)


def run(house: WatchHouse, as_of: datetime, *, works: bool) -> None:
    runs = house.record.runs
    run_id = runs.start(runs.request("schedule", "watcher", "nightly").run_id, as_of).run_id
    if works:
        runs.succeed(run_id, None, {"origin": ORIGIN})
    else:
        runs.fail(run_id, "the source cannot be read")


def test_what_worked_last_is_not_forgotten_however_many_fail_since(house: WatchHouse) -> None:
    """A source that was broken for a month: what is new is counted from the run before, and its mending is noticed."""
    house.traffic(days=2.0, count=200)
    run(house, START + 4 * DAY, works=True)
    for day in range(5, 35):
        run(house, START + day * DAY, works=False)
    found = facts(house, START + 40 * DAY, {"source": "mended", "code": "as it was"})
    assert found.new_labelled_rows == 0
    assert found.changed == ("source",)
    assert found.last_run_at == START + 34 * DAY


def test_as_many_runs_count_as_a_day_has(house: WatchHouse) -> None:
    """One every half hour, which retrain.max_per_day may allow."""
    for half_hour in range(48):
        run(house, START + half_hour * timedelta(minutes=30), works=True)
    assert facts(house, START + DAY - timedelta(seconds=1)).runs_last_day == 48
