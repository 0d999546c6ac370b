"""A small real record for simulated bouts: SQLite, the product's log, labels, scores, join and decisions.

Models are not run: what two versions answer is drawn, written to the log and to the shadow's scores, and everything
from there on is the product's own code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from monitoring.bout import open_due_bouts, settle_bouts
from monitoring.bouts.decision import PromotionDecision
from monitoring.prove.traffic import Traffic
from record.bouts.bout import Bout, ShadowScore
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn
from record.log.labels import add_labels
from record.logged import Batch, LabelGiven, LogEntry
from record.record import Record, open_record
from record.settings import Settings, load_settings

START = datetime(2026, 3, 2, tzinfo=UTC)
HORIZON = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
TOML = """
[problem]
task = "classification"
target = "late"
[columns.x]
role = "feature"
type = "number"
[columns.who]
role = "carried"
type = "text"
[quality]
label_horizon = "1h"
[promotion]
deadline = "3650d"
min_pairs = 50
"""
_SCHEMA = Schema(
    ProblemSchema(
        task="classification",
        target="late",
        columns=(Column("x", "feature", "number"), Column("who", "carried", "text")),
    ),
    {"x": SeenColumn(-10.0, 10.0)},
    classes=("no", "yes"),
)


@dataclass
class World:
    """One record in a folder of its own."""

    settings: Settings
    record: Record
    logged: int = 0

    @classmethod
    def build(cls, folder: Path, extra: str = "") -> World:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ringside.toml").write_text(TOML + extra)
        return cls.reopen(folder)

    @classmethod
    def reopen(cls, folder: Path) -> World:
        settings = load_settings(folder / "ringside.toml")
        return cls(settings, open_record(settings))

    def register(self, *, read_until: int = 0, data_until: datetime | None = None) -> str:
        """The next version; champion where there is none."""
        stage = self.record.artifacts.stage()
        (stage / "schema.json").write_text(_SCHEMA.to_json())
        return self.record.registry.register(
            stage,
            run_id=None,
            parent=None,
            card={},
            read_until_seq=read_until,
            data_until=data_until,
            actor="prove",
            as_champion=True,
        ).version

    def open(self, at: datetime = START) -> list[Bout]:
        return open_due_bouts(self.record, self.settings, None, at)

    def ask(self, traffic: Traffic) -> list[str]:
        """Logs the champion's answers; the requests' ids."""
        champion = self.record.registry.roles().champion or "v1"
        ids, batches = [], []
        for place in range(len(traffic)):
            self.logged += 1
            id = f"r{self.logged}"
            who = "somebody" if traffic.entities is None else f"e{traffic.entities[place]}"
            record = json.dumps({"x": 0.0, "who": who})
            prediction, shares = _answer(float(traffic.answers[place, 0]))
            entry = LogEntry(id=id, digest=id.encode(), record=record, prediction=prediction, probabilities=shares)
            batches.append(Batch([entry], champion, moment(int(traffic.times[place])), client_ids=True))
            ids.append(id)
        self.record.log.append(batches)
        return ids

    def score(self, bout: Bout, traffic: Traffic, first_seq: int) -> None:
        """Writes what the challenger answered to the requests that were logged from `first_seq` on."""
        rows, cursor = self.record.log.tail(bout.cursor, len(traffic) + first_seq)
        scores = []
        for row in rows:
            place = row.seq - first_seq
            prediction, shares = _answer(float(traffic.answers[place, 1])) if place >= 0 else _answer(0.5)
            scores.append(ShadowScore(row.seq, "scored", prediction, shares, 100))
        self.record.bouts.record_scores(bout.bout, scores, cursor)

    def label(self, given: Sequence[tuple[datetime, str, bool]]) -> None:
        """Labels in the order of their times, each received at its own."""
        with self.record.database.write() as connection:
            for at, id, label in given:
                told = LabelGiven(id, json.dumps("yes" if label else "no"), False)
                add_labels(connection, [told], {"received_at": at, "machine_at": at})

    def settle(self, at: datetime) -> list[PromotionDecision]:
        return settle_bouts(self.record, self.settings, None, at)

    def look(self, bout: Bout) -> dict[str, Any]:
        return self.record.bouts.get(bout.bout).look or {}

    def close(self) -> None:
        self.record.close()


def moment(micros: int) -> datetime:
    """The time of a simulated request."""
    return START + timedelta(microseconds=micros)


def _answer(share: float) -> tuple[str, str]:
    share = float(share)
    return json.dumps("yes" if share >= 0.5 else "no"), json.dumps({"no": 1.0 - share, "yes": share})
