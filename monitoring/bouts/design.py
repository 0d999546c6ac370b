"""A bout's design: everything that its evidence will be judged by, fixed before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from monitoring.bouts.answer_scores import NO_SCORES, AnswerScores
from monitoring.bouts.family import FamilyShare
from monitoring.bouts.forecast import Forecast
from monitoring.bouts.slice_harm import SliceColumn
from monitoring.quality.loss import Costs, Loss, LossName
from record.configuration.loop_sections import PromotionSettings

Kind = Literal["challenge", "probation"]

# Of bouts whose labels are missing at random, the guard of the label rate may hold so many.
LABEL_RATE_ALPHA = 0.03
FEWEST_PROBATION_PAIRS = 200


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
    # Designs of before these were thought of lack them, and are judged as they were.
    harm_alpha: float | None = None  # for rejection and guardrails; None: `alpha`
    known_until: str | None = None  # ISO 8601: the newest row that either model has learned from; pairs are later
    entity: str | None = None  # the column whose every value counts once
    cycle_seconds: float = 0.0  # evidence is read at whole cycles of this length; 0: at every look
    design_effect: bool = False  # whether evidence is divided by what neighbours share
    scaled_bets: bool = False  # whether bets go by the bound that the answers allow
    relative_bets: bool = (
        False  # whether bets go by the spread of differences, and evidence by all effects days may have
    )
    label_rate_alpha: float | None = None  # the share of bouts with labels missing at random that the guard may hold
    delay_guard: bool = False  # whether a delay that depends on the outcome holds an automatic promotion
    answers: AnswerScores = NO_SCORES
    slices: tuple[SliceColumn, ...] = ()  # in whose slices the challenger must not do harm
    slice_tolerance: float = 0.0
    costs: Costs | None = None  # of the loss "cost"
    forecasts: tuple[Forecast, ...] = ()  # what gains will take to show, as it looked at opening

    @classmethod
    def of_challenge(
        cls,
        promotion: PromotionSettings,
        *,
        share: FamilyShare,
        loss: LossName,
        loss_scale: float,
        horizon: timedelta,
        known_until: datetime | None = None,
        entity: str | None = None,
        cycle: timedelta = timedelta(0),
        answers: AnswerScores = NO_SCORES,
        slices: tuple[SliceColumn, ...] = (),
        costs: Costs | None = None,
    ) -> Design:
        return cls(
            kind="challenge",
            alpha=share.alpha,
            alpha_nominal=promotion.alpha,
            family_rank=share.rank,
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
            harm_alpha=promotion.alpha,
            known_until=None if known_until is None else known_until.isoformat(),
            entity=entity,
            cycle_seconds=cycle.total_seconds(),
            design_effect=True,
            scaled_bets=True,
            relative_bets=True,
            label_rate_alpha=LABEL_RATE_ALPHA,
            delay_guard=True,
            answers=answers,
            slices=slices,
            slice_tolerance=promotion.slice_tolerance,
            costs=costs,
        )

    @classmethod
    def of_probation(
        cls,
        promotion: PromotionSettings,
        *,
        loss: LossName,
        loss_scale: float,
        horizon: timedelta,
        known_until: datetime | None = None,
        entity: str | None = None,
        answers: AnswerScores = NO_SCORES,
        costs: Costs | None = None,
    ) -> Design:
        """The same, with the whole alpha: a harm overlooked is worse than one good champion in twenty sent back."""
        whole = FamilyShare(1, promotion.alpha)
        challenge = cls.of_challenge(
            promotion,
            share=whole,
            loss=loss,
            loss_scale=loss_scale,
            horizon=horizon,
            known_until=known_until,
            entity=entity,
            answers=answers,
            costs=costs,
        )
        return replace(challenge, kind="probation")

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Design:
        values = {field.name: held[field.name] for field in fields(cls) if field.name in held}
        if "answers" in values:
            values["answers"] = AnswerScores.from_json(values["answers"])
        values["costs"] = None if values.get("costs") is None else Costs(**values["costs"])
        values["slices"] = tuple(SliceColumn.from_json(column) for column in values.get("slices", ()))
        values["forecasts"] = tuple(Forecast.from_json(forecast) for forecast in values.get("forecasts", ()))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def needed(self) -> float:
        """The evidence that decides."""
        return 1 / self.alpha

    @property
    def needed_for_harm(self) -> float:
        """The evidence that rejects. Not spent: a challenger that is refused too easily harms nobody."""
        return 1 / (self.alpha if self.harm_alpha is None else self.harm_alpha)

    @property
    def fewest_probation_pairs(self) -> int:
        """A probation passes on fewer pairs at no time: so many find a harm of five points in two of five cases."""
        return min(self.rollback_watch, FEWEST_PROBATION_PAIRS)

    @property
    def horizon(self) -> timedelta:
        return timedelta(seconds=self.horizon_seconds)

    @property
    def judge(self) -> Loss:
        return Loss(self.loss, self.loss_scale, self.costs)
