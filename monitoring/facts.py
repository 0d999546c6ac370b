"""What a retrain decision rests on, read from the record as it stood at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from monitoring.change import changes
from monitoring.price import Stakes
from monitoring.trigger import Ask, Trigger, TriggerFacts
from record.clock import EPOCH, MICROSECOND
from record.event_log import RecordedEvent
from record.events import DriftChecked, QualityChecked, QualityDeclined, RetrainRequested
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings
from record.work.run import Run

NEW_ROWS = "ringside_new_labelled_rows"
DAY = timedelta(days=1)
# An older quality check says nothing about what staleness costs now.
CHECKS_THAT_COUNT = 3


def gather_facts(
    record: Record,
    settings: Settings,
    asks: Sequence[Ask],
    as_of: datetime,
    *,
    run_active: bool,
    origin: Mapping[str, str | None] | None = None,
) -> TriggerFacts:
    """The facts at `as_of`; the count of new labelled rows becomes a sample on the way."""
    facts = read_facts(record, settings, asks, as_of, run_active=run_active, origin=origin)
    record.samples.put([(NEW_ROWS, {}, float(facts.new_labelled_rows))], as_of)
    return facts


def read_facts(
    record: Record,
    settings: Settings,
    asks: Sequence[Ask],
    as_of: datetime,
    *,
    run_active: bool,
    origin: Mapping[str, str | None] | None = None,
) -> TriggerFacts:
    """The facts at `as_of`, from the record alone; writes nothing.

    `origin` has the digests of source and code as they are now.
    """
    last, worked = record.runs.latest(until=as_of), record.runs.latest("succeeded", until=as_of)
    champion = record.registry.roles().champion
    fresh = count_new_rows(record, settings, worked, as_of)
    return TriggerFacts(
        as_of=as_of,
        asks=tuple(asks),
        run_active=run_active,
        last_run_at=None if last is None else last.as_of,
        new_labelled_rows=fresh,
        champion_since=None if champion is None else _known_since(record.registry.version(champion)),
        drift_triggers=settings.drift.triggers_retrain,
        quality_triggers=settings.quality.triggers_retrain,
        estimated_triggers=settings.quality.estimated_triggers_retrain,
        runs_last_day=record.runs.begun_between(as_of - DAY, as_of),
        changed=() if origin is None else _changed(record, worked, origin),
        stakes=_stakes(record, settings, champion, as_of),
    )


def _changed(record: Record, worked: Run | None, origin: Mapping[str, str | None]) -> tuple[str, ...]:
    """Against the last run that worked, and the last that was asked for: one that failed is not asked for again."""
    made = {} if worked is None or worked.outcome is None else worked.outcome.get("origin") or {}
    asked = record.events.latest(RetrainRequested.kind)
    return changes(origin, made, {} if asked is None else asked.data["numbers"].get("origin") or {}) if made else ()


def _stakes(record: Record, settings: Settings, champion: str | None, as_of: datetime) -> Stakes | None:
    checked = None if champion is None else record.events.latest(QualityChecked.kind, model=champion)
    if checked is None or checked.at < as_of - CHECKS_THAT_COUNT * settings.quality.every:
        return None
    return Stakes.of_check(checked.data["numbers"])


def _known_since(version: ModelVersion) -> datetime | None:
    """How new what the version knows is: by its newest row where the record had no time yet when it was registered."""
    newest = max(version.registered_at, version.data_until or EPOCH)
    return newest if newest > EPOCH else None


def count_new_rows(record: Record, settings: Settings, worked: Run | None, as_of: datetime) -> int:
    """Labelled rows that matured since `worked`, the last run that succeeded: what a new one would know more."""
    horizon = settings.quality.label_horizon
    after = None if worked is None or worked.as_of is None else worked.as_of - horizon
    return record.log.labelled(as_of, horizon, after=after)


def asks_of_checks(record: Record, since: datetime | None, as_of: datetime) -> list[Ask]:
    """What the checks found after `since` and up to `as_of`: the latest decline, and the latest drift.

    An alarm asks again at each of its decisions: the first may have come when there was nothing to learn from yet.
    """
    after = None if since is None else since + MICROSECOND
    events, _ = record.events.page(
        kind=[QualityDeclined.kind, DriftChecked.kind], since=after, until=as_of + MICROSECOND, limit=1000
    )
    champion = record.registry.roles().champion
    # What was found about a former champion is no reason to replace its successor.
    found = [event for event in events if event.kind != DriftChecked.kind or event.data["drifted"]]
    asks = [_ask(event) for event in found if event.model_version == champion]
    return list({ask.trigger: ask for ask in asks}.values())


def _ask(event: RecordedEvent) -> Ask:
    data = event.data
    if event.kind == QualityDeclined.kind:
        numbers = {"observed_loss": data["observed"], "expected_loss": data["expected"], "labels": data["labels"]}
        if data.get("basis") == "estimated":
            reason = f"estimated loss {data['observed']:.4f} against {data['expected']:.4f}"
            return Ask("estimated", "watcher", reason, numbers)
        reason = f"loss {data['observed']:.4f} against {data['expected']:.4f} on {data['labels']} labels"
        return Ask("quality", "watcher", reason, numbers)
    named = ", ".join(data["drifted"][:5]) + (" and more" if len(data["drifted"]) > 5 else "")
    return Ask("drift", "watcher", f"{named} drifted", {"drifted": data["drifted"]})


def ask_of_run(run: Run) -> Ask:
    """Somebody asked by making the run itself, as `POST /retrain` does."""
    trigger: Trigger = "alert" if run.trigger == "alert" else "operator"
    return Ask(trigger, run.actor, run.reason)
