"""A watcher with real parts but for its processes: runs and shadows happen in this one, when they are told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from monitoring.agenda import agenda
from monitoring.bouts.shadow_report import caught_up
from monitoring.leadership import Leadership
from monitoring.retraining import Retraining
from monitoring.scheduler import Cron
from monitoring.shadow import Shadow
from monitoring.watcher import Watcher
from record.bouts.bout import Bout
from record.event_log import RecordedEvent
from record.record import Record
from record.work.leases import Fence
from record.work.run import Run
from tests.monitoring.arena import SCHEMA, START, Arena, logistic


@dataclass
class PretendRun:
    """A run's child: it ends when `finish` or `fail` is called on it."""

    record: Record
    run: Run
    fence: Fence
    code: int | None = None
    killed: bool = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True
        self.fail("killed")

    def finish(self, version: str | None = None) -> None:
        self.record.runs.succeed(self.run.run_id, version, {"gate": {"passed": version is not None}})
        self.code = 0

    def fail(self, error: str = "went wrong") -> None:
        self.record.runs.fail(self.run.run_id, error)
        self.code = 1


@dataclass
class PretendShadows:
    """Scores in this process, where it is allowed to."""

    record: Record
    at_work: bool = True
    kept: list[str] = field(default_factory=list)
    stopped: int = 0

    def keep(self, bouts: Sequence[Bout], fence: Fence | None) -> None:
        self.kept = [bout.bout for bout in bouts]
        if not self.at_work:
            return
        with ThreadPoolExecutor(1) as idle:
            for bout in bouts:
                shadow = Shadow(self.record, self.record.bouts.get(bout.bout), fence, 512, idle)
                while shadow.step():
                    pass

    def caught_up(self, bout: Bout, until: datetime) -> bool:
        return caught_up(self.record.database, bout, until)

    def stop(self) -> None:
        self.stopped += 1
        self.kept = []


class WatchHouse:
    """One record, and as many watchers on it as are asked for. The stopwatch stands still but for `look`."""

    def __init__(self, folder: Path, *, toml: str, **promotion: Any) -> None:
        self.arena = Arena.build(folder, toml=toml, **promotion)
        self.record, self.settings = self.arena.record, self.arena.settings
        self.runs: list[PretendRun] = []
        self.shadows = PretendShadows(self.record)
        self.seconds = 0.0

    def watcher(self, **leadership: Any) -> Watcher:
        return Watcher(
            self.settings,
            self.record,
            Leadership(self.record, self.settings.watch, **leadership),
            Retraining(self.settings, self.record, self._start),
            self.shadows,
            agenda(self.settings, Cron),
            stopwatch=lambda: self.seconds,
        )

    def leader(self) -> Watcher:
        """A watcher that leads already."""
        watcher = self.watcher()
        watcher.beat()
        return watcher

    def look(self, watcher: Watcher) -> None:
        """A tick at which the watcher looks for what comes at no time of its own, too."""
        self.seconds += 1
        watcher.tick()

    def to(self, at: datetime) -> None:
        """Time goes on, as when a client says so."""
        self.record.log.add_labels([], at)

    def register(self, slope: float, *, reference_loss: float = 0.16, reference: bytes | None = None) -> str:
        """A version with all that the watcher reads of it: what training saw of x was normal(0, 2)."""
        artifacts = self.record.artifacts
        stage = artifacts.stage()
        values = np.random.default_rng(0).normal(0, 2, 5000).astype(np.float32)
        (stage / "model.onnx").write_bytes(logistic(slope))
        (stage / "schema.json").write_text(SCHEMA.to_json())
        pd.DataFrame({"x": values, "probability.yes": 1 / (1 + np.exp(-slope * values))}).to_parquet(
            stage / "reference.parquet"
        )
        if reference is not None:
            (stage / "reference.parquet").write_bytes(reference)
        golden = {"record": [json.dumps({"x": 0.0, "who": None})], "expected": ["[0.5, 0.5]"]}
        parquet.write_table(pa.table(golden), stage / "golden.parquet")
        version = self.record.registry.register(
            stage,
            run_id=None,
            parent=None,
            card={"reference_loss": reference_loss},
            read_until_seq=self.record.log.last_seq(),
            data_until=None,
            actor="test",
            as_champion=True,
        )
        return version.version

    def traffic(self, days: float, *, start: datetime = START, count: int = 1000, shift: float = 0.0) -> None:
        """Labelled requests to the champion, spread over the days; x is moved by `shift`."""
        every = timedelta(days=days) / count
        rng, held = self.arena.rng, self.arena.rng
        if shift:
            self.arena.rng = _Shifted(rng, shift)  # type: ignore[assignment]
        asked = self.arena.ask(count, start + every, every=every)
        self.arena.rng = held
        self.arena.label(asked)

    def events(self, kind: str) -> list[RecordedEvent]:
        return self.record.events.page(kind=kind, limit=1000)[0]

    def settled(self) -> datetime | None:
        lease = self.record.leases.current("watcher")
        return None if lease is None else lease.settled_until

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        return {(s.name, tuple(s.labels[key] for key in sorted(s.labels))): s.value for s in self.record.samples.all()}

    def _start(self, run: Run, fence: Fence) -> PretendRun:
        self.runs.append(PretendRun(self.record, run, fence))
        return self.runs[-1]


@dataclass
class _Shifted:
    """The generator, with normal numbers moved."""

    rng: np.random.Generator
    shift: float

    def normal(self, mean: float, spread: float, count: int) -> Any:
        return self.rng.normal(mean + self.shift, spread, count)

    def random(self, count: int) -> Any:
        return self.rng.random(count)
