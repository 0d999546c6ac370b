"""Who a quality check judges, and by what."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from monitoring.quality.loss import Loss
from monitoring.quality.observed import loss_of, operating_threshold
from monitoring.quality.promise import Promise
from monitoring.quality.state import QualityMemory, QualityState
from record.canonical import canonical_json
from record.contract.schema import Schema
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings


@dataclass(frozen=True, slots=True)
class Subject:
    """The champion, and how it is judged."""

    version: ModelVersion
    schema: Schema
    loss: Loss
    threshold: float | None
    promise: Promise | None
    gap_allowed: float  # by how much labels may disappoint estimates
    state: QualityState
    design: str  # digest of the bounds: evidence against others does not count

    @property
    def allowed(self) -> float:
        """The mean loss above which it has declined; without a promise the worst there is."""
        return self.promise.allowed if self.promise else 1.0


class Subjects:
    """Makes subjects of versions; remembers schemas, and how far the trail was read. For one thread."""

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._schemas: dict[str, Schema] = {}
        self._memory = QualityMemory(record.events)

    def of(self, version: ModelVersion) -> Subject:
        quality = self._settings.quality
        loss = loss_of(version, self._settings)
        promise = Promise.of(version.card, quality.tolerance, quality.alpha)
        allowed = promise.allowed if promise else 1.0
        gap = quality.tolerance * (promise.expected if promise else 0.0)
        design = hashlib.sha256(canonical_json([loss.name, loss.scale, allowed, gap]).encode()).hexdigest()[:16]
        state = self._memory.state(version.version, design)
        threshold = operating_threshold(version.card)
        return Subject(version, self.schema(version), loss, threshold, promise, gap, state, design)

    def schema(self, version: ModelVersion) -> Schema:
        if version.version not in self._schemas:
            files = self._record.registry.open(version.version)
            self._schemas[version.version] = Schema.from_json(files.read("schema.json"))
        return self._schemas[version.version]
