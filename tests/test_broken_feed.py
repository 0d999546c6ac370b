"""An hour of a broken feed over real HTTP: a sender's unit slips by a thousand, and labels come all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from record.event_log import RecordedEvent
from record.record import Record
from record.settings import Settings
from retrain.data.problem import problem_schema
from retrain.data.rows import read_rows
from tests.monitoring.arena import START
from tests.monitoring.watch_house import WatchHouse
from tests.replaying import Replay
from tests.service.serving import live_service, wait_ready
from tests.watching import ticking

pytestmark = pytest.mark.timeout(900)  # hours of the record's time, and more of ours where it is busy

HOUR = timedelta(hours=1)
EVERY = timedelta(seconds=5)
BATCH = 60
MOST = 10.0  # of x, that training saw

# What a test does not ask for comes due in years. Requests are evidence when they are an hour old.
TOML = """
[problem]
task = "classification"
target = "late"
[columns.x]
type = "number"
[columns.who]
role = "carried"
type = "text"
[clock]
source = "requests"
[serve]
workers = 1
refresh = "20ms"
[quality]
label_horizon = "1h"
every = "1h"
[retrain]
check_every = "3650d"
max_age = "3650d"
[drift]
decide_every = "3650d"
min_rows = 120
"""
SOON = 'every = "30m"\nwindow = "1h"\n'
LATE = 'every = "4h"\nwindow = "5h"\n'


@dataclass
class Sender:
    """Sends x, of which P(yes) is 1 / (1 + exp(−x)), and later what came; for an hour x a thousandfold."""

    replay: Replay
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    slipped: list[str] = field(default_factory=list)
    asked: int = 0

    def send(self, start: datetime, length: timedelta, *, factor: float = 1.0) -> datetime:
        at = start
        while at < start + length:
            values = self.rng.normal(0, 2, BATCH)
            came = self.rng.random(BATCH) < 1 / (1 + np.exp(-values))
            ids = [f"r{self.asked + place}" for place in range(BATCH)]
            self.asked += BATCH
            records = {id: {"x": float(x * factor), "who": "a"} for id, x in zip(ids, values, strict=True)}
            self.slipped += ids if factor > 1 else []
            self.replay.predict(at, records)
            labels = [{"id": id, "label": "yes" if yes else "no"} for id, yes in zip(ids, came, strict=True)]
            self.replay.label(at, labels)
            at += BATCH * EVERY
        return at


@dataclass
class Feed:
    house: WatchHouse
    sender: Sender
    replay: Replay

    @property
    def record(self) -> Record:
        return self.house.record

    @property
    def settings(self) -> Settings:
        return self.house.settings

    def events(self, *kinds: str) -> Sequence[RecordedEvent]:
        return self.record.events.page(kind=kinds, limit=1000)[0]

    def tell(self) -> None:
        """A sound hour with a new champion on probation, one of the slip, and two sound ones."""
        end = self.sender.send(START, HOUR)
        end = self.sender.send(end, HOUR, factor=1000.0)
        end = self.sender.send(end, 2 * HOUR)
        self.replay.to(end + HOUR)

    def status(self) -> dict[str, Any]:
        return self.replay.status()


@contextmanager
def feed(folder: Path, drift: str) -> Iterator[Feed]:
    """A service process, a watcher with real shadows, and a champion that an operator has just promoted.

    The one before hardly minds x where it is sound; a thousandfold x it answers well, and the new champion badly.
    """
    house = WatchHouse(folder, toml=TOML + drift, every="30m", min_pairs=100, rollback_watch=5000)
    house.register(0.001)
    house.register(1.0)
    with live_service(house.settings, folder) as live, ticking(house.settings, house.record) as watcher:
        wait_ready(live, 1)
        with httpx.Client(base_url=live.url, timeout=60) as client:
            replay = Replay(client.request, meanwhile=watcher.tick)
            replay.begin(START)
            replay.post("/models/v2/promote", {"reason": "a test"}, START).raise_for_status()
            yield Feed(house, Sender(replay), replay)
    house.record.close()


def gauges(replay: Replay) -> dict[str, float]:
    lines = [line for line in replay.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_slip_of_an_hour_is_no_evidence_and_is_not_learned_from(tmp_path: Path) -> None:
    """Found within half an hour, before its requests are evidence: set aside, counted, shown; then it ends."""
    with feed(tmp_path, SOON) as held:
        held.tell()
        broken = held.events("feed_broken")
        assert {(one.data["check"], one.data["column"]) for one in broken} == {("unit_slip", "x")}
        assert [event.data["column"] for event in held.events("feed_mended")] == ["x"]
        assert held.events("model_rolled_back") == []
        assert held.status()["champion"]["version"] == "v2"

        (bout,) = held.record.bouts.opened()
        assert bout.kind == "probation"
        as_of = held.record.clock.now()
        rows = held.record.log.matured(as_of, HOUR)
        slipped = {row.seq for row in rows if row.id in set(held.sender.slipped)}
        pairs = set(held.record.bouts.pairs(bout.bout)[0].tolist())
        assert len(slipped) == HOUR / EVERY
        assert len(pairs) > 1.5 * len(slipped)
        assert not slipped & pairs

        checked = held.events("quality_checked")[-1]
        aside = checked.data["numbers"]["set_aside"]
        assert len(slipped) <= aside <= 1.2 * len(slipped)  # with those sent before it was seen to be mended
        shown = gauges(held.replay)
        assert shown["ringside_requests_set_aside"] == aside
        assert shown['ringside_feed_faults{check="unit_slip"}'] == 0
        page = held.replay.get(f"/reports/{checked.data['report']}").text
        assert f"{aside:,} requests of a broken feed are set aside" in page

        schema = problem_schema(held.settings, None)
        learned = read_rows(held.settings, held.record, schema, as_of)
        assert list(learned.set_aside) == [("unit_slip", "x")]
        assert learned.set_aside["unit_slip", "x"] >= aside
        assert not slipped & set(learned.seqs.tolist())
        assert np.abs(learned.arrays.numbers).max() <= MOST


@pytest.mark.faults
def test_without_the_check_the_same_hour_rolls_a_sound_champion_back(tmp_path: Path) -> None:
    """What the test above would say if nothing were set aside."""
    with feed(tmp_path, SOON + "set_aside = []\n") as held:
        held.tell()
        (rolled,) = held.events("model_rolled_back")
        assert (rolled.model_version, rolled.actor) == ("v2", "watcher")
        assert held.record.registry.version("v2").standing == "rolled_back"


@pytest.mark.faults
def test_a_rollback_within_a_broken_feed_is_no_bar(tmp_path: Path) -> None:
    """The check is due hours later: the rollback has happened, and is taken back as a bar, with its reason."""
    with feed(tmp_path, LATE) as held:
        held.tell()
        (rolled,) = held.events("model_rolled_back")
        broken, *_ = held.events("feed_broken")
        (lifted,) = held.events("model_unbarred")
        assert rolled.model_version == lifted.model_version == "v2"
        assert rolled.seq < broken.seq < lifted.seq
        assert "rolled back within a broken feed: unit_slip of x" in lifted.data["reason"]
        assert held.record.registry.version("v2").standing == "eligible"
