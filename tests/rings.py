"""A small loop in one process but for the children: the service, a watcher that ticks, real shadows and real runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from monitoring.watcher import Watcher
from record.bouts.bout import Bout
from record.event_log import RecordedEvent
from record.record import Record
from record.settings import Settings
from tests.monitoring.arena import TOML, Arena, logistic
from tests.replaying import Replay
from tests.service.serving import Client, running
from tests.terminals import START
from tests.watching import ticking

# Bouts are looked at each hour; what a test does not ask for comes due in years.
RING = (
    TOML
    + """
every = "1h"
window = "1d"
[clock]
source = "requests"
[serve]
refresh = "20ms"
[drift]
every = "3650d"
decide_every = "3650d"
[retrain]
check_every = "3650d"
max_age = "3650d"
trials = 1
families = ["linear"]
"""
)


@dataclass
class Ring:
    """P(yes) of a request is 1 / (1 + exp(−x)): a model of slope 1 knows all there is to know."""

    arena: Arena
    watcher: Watcher
    client: Client
    replay: Replay

    @property
    def record(self) -> Record:
        return self.arena.record

    @property
    def settings(self) -> Settings:
        return self.arena.settings

    def register(self, slope: float) -> str:
        return self.arena.register(logistic(slope)).version

    def traffic(self, start: datetime, count: int, *, every: timedelta = timedelta(seconds=30)) -> datetime:
        """Requests with a label five minutes later, in batches of ten; the time of the last."""
        for first in range(0, count, 10):
            at = start + first * every
            values = self.arena.rng.normal(0, 2, min(10, count - first))
            truths = self.arena.rng.random(len(values)) < 1 / (1 + np.exp(-values))
            records = {f"t{self.arena.asked + place}": {"x": float(x), "who": "a"} for place, x in enumerate(values)}
            self.arena.asked += len(records)
            self.replay.predict(at, records)
            labels = [{"id": id, "label": "yes" if truth else "no"} for id, truth in zip(records, truths, strict=True)]
            self.replay.label(at + timedelta(minutes=5), labels)
        return at

    def open_bouts(self) -> dict[str, Bout]:
        """By challenger."""
        return {bout.challenger: bout for bout in self.record.bouts.opened()}

    def events(self, *kinds: str) -> Sequence[RecordedEvent]:
        return self.record.events.page(kind=kinds, limit=1000)[0]

    def challengers(self) -> Mapping[str, dict[str, Any]]:
        """As the status tells of them."""
        return {held["version"]: held for held in self.replay.status()["challengers"]}


@contextmanager
def ring(folder: Path, champion: float, *, database: str | None = None, **promotion: Any) -> Iterator[Ring]:
    """A ring with a champion of that slope, at START; on SQLite, where no other database is named."""
    store = "" if database is None else f'[store]\ndatabase = "{database}"\n'
    arena = Arena.build(folder, toml=RING + store, **({"every": "1h"} | promotion))
    arena.register(logistic(champion))
    with running(arena.settings) as (_, client), ticking(arena.settings, arena.record) as watcher:
        replay = Replay(client.request, meanwhile=watcher.tick)
        replay.begin(START)
        yield Ring(arena, watcher, client, replay)
    arena.record.close()
