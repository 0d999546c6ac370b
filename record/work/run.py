"""One retrain run, as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from record.canonical import plain

RunState = Literal["requested", "running", "succeeded", "failed", "declined"]


@dataclass(frozen=True, slots=True)
class Run:
    """`as_of` is how the record stood that it reads; times named `machine` and the heartbeat are the machine's."""

    run_id: str
    state: RunState
    active: int | None
    trigger: str
    actor: str
    reason: str
    requested_at: datetime
    as_of: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    machine_started_at: datetime | None
    machine_finished_at: datetime | None
    heartbeat_at: datetime | None
    host: str | None
    pid: int | None
    progress: dict[str, Any] | None
    version: str | None
    outcome: dict[str, Any] | None

    @property
    def seconds(self) -> float | None:
        """How long it ran, by the machine's clock; None while it runs, or when it never did."""
        if self.machine_started_at is None or self.machine_finished_at is None:
            return None
        return (self.machine_finished_at - self.machine_started_at).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return what people and programs are told of the run: neither host, process nor heartbeat."""
        names = ("run_id", "state", "trigger", "actor", "reason", "requested_at", "as_of", "started_at", "finished_at")
        more = ("seconds", "progress", "version", "outcome")
        shown: dict[str, Any] = plain({name: getattr(self, name) for name in (*names, *more)})
        return shown
