"""A bout's design: everything that its evidence will be judged by, fixed before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any, Literal

from monitoring.quality.loss import Loss, LossName
from record.configuration.loop_sections import PromotionSettings

Kind = Literal["challenge", "probation"]


@dataclass(frozen=True, slots=True)
class Design:
    """Written with the bout and hashed; a bout's settings never change, whatever ringside.toml says later."""

    kind: Kind
    alpha: float  # after spending
    alpha_nominal: float
    family_rank: int  # the j-th bout that shares alpha_nominal
    margin: float
    loss: LossName
    loss_scale: float  # absolute loss: the error that counts as the worst, in units of the target; else 1
    horizon_seconds: float
    sampling: float
    min_pairs: int
    min_coverage: float
    min_duration_seconds: float
    deadline_seconds: float
    max_failure_rate: float
    latency_limit_ms: float
    rollback_watch: int
    mode: Literal["auto", "approve"]  # as set when the bout was opened; the setting of the day is what counts

    @classmethod
    def of_challenge(
        cls, promotion: PromotionSettings, *, rank: int, loss: LossName, loss_scale: float, horizon: timedelta
    ) -> Design:
        return cls(
            kind="challenge",
            alpha=spent_alpha(promotion.alpha, rank),
            alpha_nominal=promotion.alpha,
            family_rank=rank,
            margin=promotion.margin,
            loss=loss,
            loss_scale=loss_scale,
            horizon_seconds=horizon.total_seconds(),
            sampling=promotion.sampling,
            min_pairs=promotion.min_pairs,
            min_coverage=promotion.min_coverage,
            min_duration_seconds=promotion.min_duration.total_seconds(),
            deadline_seconds=promotion.deadline.total_seconds(),
            max_failure_rate=promotion.max_failure_rate,
            latency_limit_ms=promotion.latency_limit_ms,
            rollback_watch=promotion.rollback_watch,
            mode=promotion.mode,
        )

    @classmethod
    def of_probation(
        cls, promotion: PromotionSettings, *, loss: LossName, loss_scale: float, horizon: timedelta
    ) -> Design:
        """The same, with the whole alpha: a harm overlooked is worse than one good champion in twenty sent back."""
        challenge = cls.of_challenge(promotion, rank=1, loss=loss, loss_scale=loss_scale, horizon=horizon)
        held = asdict(challenge)
        return cls(**{**held, "kind": "probation", "alpha": promotion.alpha})

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Design:
        return cls(**{field.name: held[field.name] for field in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def needed(self) -> float:
        """The evidence that decides."""
        return 1 / self.alpha

    @property
    def horizon(self) -> timedelta:
        return timedelta(seconds=self.horizon_seconds)

    @property
    def judge(self) -> Loss:
        return Loss(self.loss, self.loss_scale)


def spent_alpha(alpha: float, rank: int) -> float:
    """What the bout of that rank in its family may spend: the shares 6/(π² j²) sum to 1 however many there will be."""
    if rank < 1:
        raise ValueError(f"rank must be at least 1, not {rank!r}")
    return alpha * 6 / (math.pi**2 * rank**2)
