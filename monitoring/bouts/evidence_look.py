"""A bout's evidence at one moment: what a decision goes by, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from monitoring.bouts.slice_harm import SliceReading
from monitoring.evidence import Interval

MOMENTS = ("as_of", "opened_at", "matured_until", "first_matured_at")


@dataclass(frozen=True, slots=True)
class Guardrail:
    """How often something that needs no label goes wrong: "cleared" and "failed" are for good, "open" is not known."""

    state: Literal["open", "cleared", "failed"]
    requests: int
    wrong: int
    cleared_e_value: float
    failed_e_value: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a bout's evidence says at one moment."""

    as_of: datetime
    opened_at: datetime
    matured_until: datetime | None
    pairs: int
    matured: int  # requests that the champion answered, the shadow scored, and whose time for labels is over
    labelled: int
    e_value: float  # now, or at the end of the last whole cycle: what decides
    e_max: float  # the most it ever was, before it was divided by the design effect: to show, never to decide
    e_harm_max: float  # the same in the other direction, beyond what the margin allows
    needed: float
    lead: Interval
    guardrails: Mapping[Literal["failure", "latency"], Guardrail]
    labels_to_go: int | None
    lag_seconds: float
    scored: int
    failed: int
    sampled_out: int
    pending: int
    e_harm: float = 1.0  # now
    whole_lead: float | None = None  # the mean difference at the end of the last whole cycle; None: that of the lead
    whole_cycles: int = 0
    design_effect: float = 1.0  # how many pairs say what one independent pair would
    scale: float = 1.0  # the bound of differences that bets go by
    variance: float = 0.0  # of one difference
    first_matured_at: datetime | None = None  # when the first labelled request had its whole label horizon
    behind: bool = False  # more requests have matured than one look reads
    label_rate_e: float = 1.0  # evidence that the rate of labels depends on the answers
    label_rate_slope: float = 0.0  # how much higher it is, one standard deviation up the champion's answers
    label_rate_testable: bool = True
    missing_bias: float = 0.0  # the largest bias of the lead that missing labels may still have made
    delay_depends: bool = False  # on the outcome, as the quality check says
    unlabelled: int = 0
    unlabelled_lead: float | None = None  # the mean difference of unlabelled requests from which the lead is gone
    unlabelled_worst: float | None = None  # the smallest mean difference that their answers allow
    days_to_go: float | None = None  # at the rate of labels so far
    in_time: bool | None = None  # whether that is before the deadline
    warnings: tuple[str, ...] = ()
    slices: tuple[SliceReading, ...] = ()  # the most harmed ones

    @property
    def coverage(self) -> float:
        """The share of mature requests that have a label; 0 while none is mature."""
        return self.labelled / self.matured if self.matured else 0.0

    def to_json(self) -> dict[str, Any]:
        held = asdict(self)
        for moment in MOMENTS:
            held[moment] = None if held[moment] is None else held[moment].isoformat()
        return {**held, "warnings": list(self.warnings), "coverage": self.coverage, "sensitivity": self.sensitivity}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Look:
        """The look that `to_json` wrote; what an older one did not know yet has its default."""
        values = {field.name: held[field.name] for field in fields(cls) if field.name in held}
        for moment in MOMENTS:
            if values.get(moment) is not None:
                values[moment] = datetime.fromisoformat(values[moment])
        values["lead"] = Interval(**values["lead"])
        values["guardrails"] = {name: Guardrail(**guardrail) for name, guardrail in values["guardrails"].items()}
        values["warnings"] = tuple(values.get("warnings", ()))
        values["slices"] = tuple(SliceReading(**each) for each in values.get("slices", ()))
        return cls(**values)

    @property
    def sensitivity(self) -> str | None:
        """What the missing labels would have to say for the lead to be gone, in words; None where none is missing."""
        if not self.unlabelled or self.unlabelled_lead is None:
            return None
        if self.missing_harmless:
            return f"the lead stands whatever the {self.unlabelled} missing labels say"
        if self.unlabelled_lead >= 0:
            return f"the lead does not stand by itself; {self.unlabelled} labels are missing"
        return (
            f"the lead stands unless the challenger is worse by {-self.unlabelled_lead:.4f} on average "
            f"on the {self.unlabelled} requests without a label"
        )

    @property
    def missing_harmless(self) -> bool:
        """Whether the lead stands whatever the missing labels say."""
        if not self.unlabelled:
            return True
        if self.unlabelled_lead is None or self.unlabelled_worst is None:
            return False
        return self.unlabelled_worst > self.unlabelled_lead
