"""Whether to retrain, from facts alone: the same facts give the same decision, today and in a backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from service.sections import RetrainSettings

Trigger = Literal["operator", "alert", "schedule", "quality", "estimated", "drift", "max_age", "new_rows"]

# Who is heard first when several ask at once. The last two are nobody's asking: the watcher notices them.
PRECEDENCE: tuple[Trigger, ...] = get_args(Trigger)
NOTICED: tuple[Trigger, ...] = ("max_age", "new_rows")


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody or something wants a retrain, for a reason and with the numbers behind it."""

    trigger: Trigger
    actor: str
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """What a decision rests on, as the record stood at `as_of`."""

    as_of: datetime
    asks: Sequence[Ask]
    run_active: bool
    last_run_at: datetime | None  # the record's time at which the last run was started, however it ended
    new_labelled_rows: int  # mature, labelled, and read by no run yet
    champion_since: datetime | None  # when the champion was registered; None without one
    drift_triggers: bool
    quality_triggers: bool


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """`retrain`, or not now. `trigger` and `actor` are the first of those that asked; "none" where nobody did."""

    retrain: bool
    trigger: Trigger | Literal["none"]
    actor: str
    reasons: tuple[str, ...]
    numbers: Mapping[str, Any]

    @property
    def asked(self) -> bool:
        """Whether a refusal is worth an event: an hour in which nothing happened is not."""
        return self.trigger != "none" and self.trigger not in NOTICED


def decide(facts: TriggerFacts, settings: RetrainSettings) -> RetrainDecision:
    """One run for everything that asked, or the reasons for waiting.

    An operator is refused only while a run is active. Everybody else waits for the cooldown to pass since the last
    run began, and for `min_new_labels` rows that no run has read: a search over the same rows finds the same model.
    That is the re-arm rule, too: a decline that a retrain did not mend asks again when there is more to learn from.
    """
    asks = sorted([*_heard(facts), *_noticed(facts, settings)], key=lambda ask: PRECEDENCE.index(ask.trigger))
    numbers = _numbers(facts, settings)
    if not asks:
        return RetrainDecision(False, "none", "watcher", ("nothing asks for a retrain",), numbers)
    first = asks[0]
    numbers |= {"asked": [ask.trigger for ask in asks], **first.numbers}
    obstacles = _obstacles(first, facts, settings)
    reasons = tuple(obstacles) if obstacles else tuple(f"{ask.trigger}: {ask.reason}" for ask in asks)
    return RetrainDecision(not obstacles, first.trigger, first.actor, reasons, numbers)


def _heard(facts: TriggerFacts) -> list[Ask]:
    deaf = set() if facts.drift_triggers else {"drift"}
    if not facts.quality_triggers:
        deaf.add("quality")
    return [ask for ask in facts.asks if ask.trigger not in deaf]


def _noticed(facts: TriggerFacts, settings: RetrainSettings) -> list[Ask]:
    asks = []
    if facts.champion_since is not None and settings.max_age is not None:
        # A run that found nothing better counts too, or an old champion that nobody beats would ask every day.
        age = facts.as_of - max(facts.champion_since, facts.last_run_at or facts.champion_since)
        if age >= settings.max_age:
            asks.append(
                Ask("max_age", "watcher", f"nothing was trained for {_days(age)}, {_days(settings.max_age)} set")
            )
    if settings.new_rows and facts.new_labelled_rows >= settings.new_rows:
        reason = f"{facts.new_labelled_rows} new labelled rows, {settings.new_rows} set"
        asks.append(Ask("new_rows", "watcher", reason))
    return asks


def _obstacles(first: Ask, facts: TriggerFacts, settings: RetrainSettings) -> list[str]:
    if facts.run_active:
        return ["a run is requested or running"]
    if first.trigger == "operator":
        return []
    obstacles = []
    if facts.last_run_at is not None and facts.as_of < facts.last_run_at + settings.cooldown:
        until = facts.last_run_at + settings.cooldown
        obstacles.append(f"cooldown until {until.isoformat()}")
    if facts.new_labelled_rows < settings.min_new_labels:
        obstacles.append(f"{facts.new_labelled_rows} new labelled rows, at least {settings.min_new_labels} are needed")
    return obstacles


def _numbers(facts: TriggerFacts, settings: RetrainSettings) -> dict[str, Any]:
    since_run = None if facts.last_run_at is None else (facts.as_of - facts.last_run_at).total_seconds()
    age = None if facts.champion_since is None else (facts.as_of - facts.champion_since).total_seconds()
    return {
        "as_of": facts.as_of.isoformat(),
        "new_labelled_rows": facts.new_labelled_rows,
        "min_new_labels": settings.min_new_labels,
        "seconds_since_last_run": since_run,
        "cooldown_seconds": settings.cooldown.total_seconds(),
        "champion_age_seconds": age,
    }


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):.1f} days"
