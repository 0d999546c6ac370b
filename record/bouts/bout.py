"""One challenger's test against one champion, as it is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from record.canonical import canonical_json, plain
from record.logged import Cursor

BoutKind = Literal["challenge", "probation"]
ScoreOutcome = Literal["scored", "failed", "sampled_out"]


@dataclass(frozen=True, slots=True)
class Bout:
    bout: str
    number: int
    kind: BoutKind
    challenger: str
    champion: str
    generation: int
    design: dict[str, Any]
    design_hash: str
    opened_at: datetime
    after_seq: int
    state: Literal["open", "decided", "voided"]
    outcome: str | None
    decided_at: datetime | None
    cursor_xid: int
    cursor_seq: int
    matured_until: datetime | None
    look: dict[str, Any] | None
    heartbeat_at: datetime | None
    evidence: dict[str, Any] | None = None  # the sums that the next look goes on from; None: made from the pairs

    @property
    def cursor(self) -> Cursor:
        """How far the shadow has scored the log."""
        return Cursor(self.cursor_xid, self.cursor_seq)

    @property
    def design_intact(self) -> bool:
        """Whether the design is the one that was hashed when the bout opened."""
        return self.design_hash == design_hash(self.design, self.bout, self.challenger, self.champion)


@dataclass(frozen=True, slots=True)
class ShadowScore:
    """What the challenger said to one logged request; the texts are JSON, as in the prediction log."""

    seq: int
    outcome: ScoreOutcome
    prediction: str | None = None
    probabilities: str | None = None
    latency_micros: int | None = None


@dataclass(frozen=True, slots=True)
class EnteredPair:
    """One labelled request as evidence: what a look needs of it, and no feature."""

    seq: int
    difference: float  # loss(champion) − loss(challenger), in [−1, 1]
    micros: int  # request time, since 1970
    bound: float = 1.0  # the largest difference that the two answers allowed
    counts: bool = True  # whether it is the first request of its entity in this bout


@dataclass(frozen=True, slots=True)
class PairColumns:
    """A bout's pairs in the order of entering, as columns."""

    seqs: NDArray[np.int64]
    differences: NDArray[np.float64]
    micros: NDArray[np.int64]
    bounds: NDArray[np.float64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    scored: int
    failed: int
    sampled_out: int


def design_hash(design: Mapping[str, Any], bout: str, challenger: str, champion: str) -> str:
    sealed = {"bout": bout, "challenger": challenger, "champion": champion, "design": plain(design)}
    return hashlib.sha256(canonical_json(sealed).encode()).hexdigest()
