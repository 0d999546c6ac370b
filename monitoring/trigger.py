"""Whether to retrain, from facts alone: the same facts give the same decision, today and in a backtest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal, get_args

from monitoring.price import Price, Stakes, price
from record.canonical import canonical_json, plain
from record.configuration.loop_sections import RetrainSettings

Trigger = Literal[
    "operator", "alert", "schedule", "quality", "estimated", "drift", "max_age", "new_rows", "change", "price"
]
Obstacle = Literal["run_active", "cooldown", "max_per_day", "min_new_labels", "price"]

# Who is heard first when several ask at once. The last four are nobody's asking: the watcher notices them.
PRECEDENCE: tuple[Trigger, ...] = get_args(Trigger)
NOTICED: tuple[Trigger, ...] = ("max_age", "new_rows", "change", "price")

# A person, a calendar and an age do not reckon; whoever speaks of the model's worth has to.
HAS_TO_PAY: frozenset[Trigger] = frozenset({"quality", "estimated", "drift", "new_rows", "change"})

# Of one trigger's reasons: an alert storm asks ten thousand times, and one event has to hold it.
NAMED_REASONS = 3

# Of those who asked for other reasons than everybody before, an event keeps so many.
MOST_ASKS = 50

# A refusal that says the same as the last one is held back for so long.
REPEATED_AFTER = timedelta(days=1)


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
    estimated_triggers: bool = True
    runs_last_day: int = 0  # runs started in the last 24 hours
    changed: tuple[str, ...] = ()  # "source", "code": others than any run was made or asked for from
    stakes: Stakes | None = None  # of the last quality check; None without one

    def to_json(self) -> dict[str, Any]:
        """What the decision's event keeps, so that it can be made again; alike asks stand once, with their number."""
        told: dict[str, dict[str, Any]] = {}
        for ask in self.asks:
            each = plain(asdict(ask))
            key = canonical_json(each)
            told.setdefault(key, {**each, "count": 0})["count"] += 1
        kept = list(told.values())[:MOST_ASKS]
        return plain(  # type: ignore[no-any-return]
            {
                **{f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("asks", "stakes")},
                "asks": kept,
                "asks_left_out": len(told) - len(kept),
                "stakes": None if self.stakes is None else asdict(self.stakes),
            }
        )

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> TriggerFacts:
        """Raises ValueError where some of the asks were left out: the decision cannot be made again from these."""
        if held["asks_left_out"]:
            raise ValueError(f"{held['asks_left_out']} of those who asked do not stand in the event")
        values = {f.name: held[f.name] for f in fields(cls) if f.name in held}
        for moment in ("as_of", "last_run_at", "champion_since"):
            values[moment] = None if held[moment] is None else datetime.fromisoformat(held[moment])
        values["asks"] = tuple(
            Ask(each["trigger"], each["actor"], each["reason"], each["numbers"])
            for each in held["asks"]
            for _ in range(each["count"])
        )
        values["changed"] = tuple(held["changed"])
        values["stakes"] = None if held["stakes"] is None else Stakes(**held["stakes"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class RetrainDecision:
    """`retrain`, or not now. `trigger` and `actor` are the first of those that asked; "none" where nobody did."""

    retrain: bool
    trigger: Trigger | Literal["none"]
    actor: str
    reasons: tuple[str, ...]
    numbers: Mapping[str, Any]
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether there was a question at all."""
        return self.trigger != "none"


def decide(facts: TriggerFacts, settings: RetrainSettings) -> RetrainDecision:
    """One run for everything that asked, or the reasons for waiting.

    An operator is refused only while a run is active. Everybody else waits for the cooldown to pass since the last
    run began, for room in the day, and for `min_new_labels` rows that no run has read: a search over the same rows
    finds the same model. That is the re-arm rule, too: a decline that a retrain did not mend asks again at every
    check that finds it, and is heard when there is more to learn from. Where prices are set, a run has to pay.
    """
    asks = sorted([*_heard(facts), *_noticed(facts, settings)], key=lambda ask: PRECEDENCE.index(ask.trigger))
    weighed = price(facts.stakes, settings)
    numbers = _numbers(facts, settings, weighed)
    if not asks:
        return RetrainDecision(False, "none", "watcher", ("nothing asks for a retrain",), numbers)
    numbers["asked"] = dict(Counter(ask.trigger for ask in asks))
    refused = [_obstacles(ask, facts, settings, weighed) for ask in asks]
    heard = next((ask for ask, against in zip(asks, refused, strict=True) if not against), None)
    if heard is None:
        first = asks[0]
        obstacles = {"numbers": numbers | dict(first.numbers), "obstacles": tuple(refused[0])}
        return RetrainDecision(False, first.trigger, first.actor, tuple(refused[0].values()), **obstacles)  # type: ignore[arg-type]
    return RetrainDecision(True, heard.trigger, heard.actor, _reasons(asks), numbers | dict(heard.numbers))


def worth_saying(decision: RetrainDecision, last: Mapping[str, Any] | None, last_at: datetime | None) -> bool:
    """Whether a refusal is an event: where it says something else than the last one, or that is a day old.

    `last` is the data of the last refusal. What asks every hour would otherwise fill the trail; how many were held
    back stands in the next one's numbers.
    """
    if not decision.asked:
        return False
    if last is None or last_at is None:
        return True
    same = last["trigger"] == decision.trigger and tuple(last["numbers"].get("obstacles", ())) == decision.obstacles
    return not same or datetime.fromisoformat(decision.numbers["as_of"]) - last_at >= REPEATED_AFTER


def _reasons(asks: Sequence[Ask]) -> tuple[str, ...]:
    """The first of each trigger's reasons, and how many more there are; `asks` stand by trigger."""
    found: list[str] = []
    for trigger, group in groupby(asks, key=lambda ask: ask.trigger):
        reasons = list(dict.fromkeys(ask.reason for ask in group))
        found += [f"{trigger}: {reason}" for reason in reasons[:NAMED_REASONS]]
        if len(reasons) > NAMED_REASONS:
            found.append(f"{trigger}: {len(reasons) - NAMED_REASONS:,} more")
    return tuple(found)


def _heard(facts: TriggerFacts) -> list[Ask]:
    wanted = {"drift": facts.drift_triggers, "quality": facts.quality_triggers, "estimated": facts.estimated_triggers}
    return [ask for ask in facts.asks if wanted.get(ask.trigger, True)]


def _noticed(facts: TriggerFacts, settings: RetrainSettings) -> list[Ask]:
    asks = []
    if facts.champion_since is not None and settings.max_age is not None:
        # A run that found nothing better counts too, or an old champion that nobody beats would ask every day. A time
        # that has not come yet, from a clock that was ahead, says nothing of anybody's age.
        known = [at for at in (facts.champion_since, facts.last_run_at) if at is not None and at <= facts.as_of]
        age = facts.as_of - max(known) if known else settings.max_age
        if age >= settings.max_age:
            reason = f"nothing was trained for {_days(age)}, {_days(settings.max_age)} set"
            asks.append(Ask("max_age", "watcher", reason))
    if settings.new_rows and facts.new_labelled_rows >= settings.new_rows:
        reason = f"{facts.new_labelled_rows} new labelled rows, {settings.new_rows} set"
        asks.append(Ask("new_rows", "watcher", reason))
    if settings.on_change and facts.changed:
        reason = f"{' and '.join(facts.changed)} changed since the last run"
        asks.append(Ask("change", "watcher", reason, {"changed": list(facts.changed)}))
    weighed = price(facts.stakes, settings)
    if weighed is not None and weighed.pays:
        reason = f"staleness costs at least {weighed.staleness:.4g}, a run {weighed.cost:.4g}"
        asks.append(Ask("price", "watcher", reason))
    return asks


def _obstacles(ask: Ask, facts: TriggerFacts, settings: RetrainSettings, weighed: Price | None) -> dict[Obstacle, str]:
    if facts.run_active:
        return {"run_active": "a run is requested or running"}
    if ask.trigger == "operator":
        return {}
    found: dict[Obstacle, str] = {}
    if facts.last_run_at is not None and facts.as_of < facts.last_run_at + settings.cooldown:
        until = facts.last_run_at + settings.cooldown
        found["cooldown"] = f"cooldown until {until.isoformat()}"
    if facts.runs_last_day >= settings.max_per_day:
        found["max_per_day"] = f"{facts.runs_last_day} runs in 24 hours, at most {settings.max_per_day} are allowed"
    # Another source is more to learn from by itself.
    if facts.new_labelled_rows < settings.min_new_labels and ask.trigger != "change":
        fresh = f"{facts.new_labelled_rows} new labelled rows, at least {settings.min_new_labels} are needed"
        found["min_new_labels"] = fresh
    if weighed is not None and not weighed.pays and ask.trigger in HAS_TO_PAY:
        found["price"] = f"staleness costs at least {weighed.staleness:.4g}, a run costs {weighed.cost:.4g}"
    return found


def _numbers(facts: TriggerFacts, settings: RetrainSettings, weighed: Price | None) -> dict[str, Any]:
    since_run = None if facts.last_run_at is None else (facts.as_of - facts.last_run_at).total_seconds()
    age = None if facts.champion_since is None else (facts.as_of - facts.champion_since).total_seconds()
    numbers: dict[str, Any] = {
        "as_of": facts.as_of.isoformat(),
        "new_labelled_rows": facts.new_labelled_rows,
        "min_new_labels": settings.min_new_labels,
        "seconds_since_last_run": since_run,
        "cooldown_seconds": settings.cooldown.total_seconds(),
        "runs_last_day": facts.runs_last_day,
        "max_per_day": settings.max_per_day,
        "champion_age_seconds": age,
    }
    if weighed is not None and facts.stakes is not None:
        numbers |= {"loss_rise": facts.stakes.rise, "requests_per_day": facts.stakes.requests_per_day}
    if weighed is not None:
        numbers |= {"staleness_cost": weighed.staleness, "run_cost": weighed.cost}
    return numbers


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):.1f} days"
