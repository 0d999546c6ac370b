"""What the demo showed: its facts, its table by month, and each challenger's story."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.flights.replay import Tally
from examples.flights.scoring import POLICIES, Judged, Policy
from record.bouts.bout import Bout
from record.event_log import RecordedEvent
from record.pages.numbers import amount, figure
from record.record import Record
from record.versions.model_version import ModelVersion

NAMES: Mapping[Policy, str] = {"live": "Ringside", "frozen": "frozen", "promote_all": "at once"}


@dataclass(frozen=True, slots=True)
class Story:
    """One version: what it was, and what became of it."""

    version: str
    what: str
    fate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    facts: dict[str, Any]  # the demo's JSON object
    months: list[list[str]]  # the table's rows, the year's last
    stories: list[Story]
    price: str


HEADS = ["", "flights", "late", *(f"loss\n{NAMES[p]}" for p in POLICIES), *(f"AUC\n{NAMES[p]}" for p in POLICIES)]


def summarise(record: Record, judged: Judged, tally: Tally, *, saboteur: str | None, seconds: float) -> Summary:
    events = _every_event(record)
    bouts, versions = record.bouts.all(), record.registry.versions()
    facts = {
        "requests": tally.requests,
        "failed_requests": tally.failed,
        "logged": record.log.last_seq(),
        "labels": tally.labels,
        "drift_checks": _count(events, "drift_checked"),
        "retrains": _count(events, "retrain_succeeded") - 1,  # the first training made the first champion
        "challengers": sum(1 for version in versions if version.version != saboteur) - 1,
        "promotions": sum(1 for event in events if event.kind == "model_promoted" and event.data["previous"]),
        "rejections": _count(events, "model_rejected"),
        "saboteur_rejected": saboteur is not None and beaten(saboteur, versions, tally),
        **{f"{policy}_log_loss": round(judged.log_loss(policy), 5) for policy in POLICIES},
        **{f"{policy}_auc": round(judged.auc(policy), 5) for policy in ("live", "frozen")},
        "bouts": [told(bout) for bout in bouts if bout.kind == "challenge"],
        "seconds": round(seconds, 1),
    }
    return Summary(facts, month_rows(judged), stories(versions, bouts, events, saboteur), price(judged))


def promises(facts: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """What the demo is there to show, and whether this run showed it."""
    return [
        (f"no failed request: {facts['failed_requests']} of {facts['requests']:,}", facts["failed_requests"] == 0),
        (f"every answer is in the log: {facts['logged']:,}", facts["logged"] == facts["requests"]),
        (f"at least two retrains: {facts['retrains']}", facts["retrains"] >= 2),
        (f"at least one promotion by evidence: {facts['promotions']}", facts["promotions"] >= 1),
        ("the saboteur was beaten, and answered nothing", facts["saboteur_rejected"]),
        (
            f"live log loss below the frozen champion's: {facts['live_log_loss']} against {facts['frozen_log_loss']}",
            facts["live_log_loss"] < facts["frozen_log_loss"],
        ),
    ]


def beaten(saboteur: str, versions: Sequence[ModelVersion], tally: Tally) -> bool:
    """Whether it was rejected on the evidence, and not one answer came from it."""
    standing = next(version.standing for version in versions if version.version == saboteur)
    return standing == "rejected" and tally.answered_by[saboteur] == 0


def told(bout: Bout) -> dict[str, Any]:
    look = bout.look or {}
    outcome = {"open": "open", "voided": "void"}.get(bout.state, bout.outcome)
    return {
        "version": bout.challenger,
        "pairs": look.get("pairs", 0),
        "e_value": look.get("e_value", 1.0),
        "outcome": outcome,
    }


def month_rows(judged: Judged) -> list[list[str]]:
    months = sorted({int(month) for month in judged.month})
    rows = [_row(calendar.month_abbr[month], judged.of_month(month)) for month in months]
    return [*rows, _row("all", judged)]


def _row(name: str, judged: Judged) -> list[str]:
    losses = [figure(judged.log_loss(policy)) for policy in POLICIES]
    ranks = [figure(judged.auc(policy)) for policy in POLICIES]
    return [name, f"{len(judged):,}", f"{judged.late.mean():.1%}", *losses, *ranks]


def price(judged: Judged) -> str:
    """What caution cost, and what it brought, in one sentence."""
    live, frozen, at_once = (judged.log_loss(policy) for policy in POLICIES)
    gained, possible = frozen - live, frozen - at_once
    cost = live - at_once
    if cost <= 0:
        return (
            f"Caution cost nothing this year: waiting for evidence gave a log loss {-cost:.4f} below that of promoting "
            f"every challenger at once, and {gained:.4f} below that of never promoting."
        )
    return (
        f"The price of caution: waiting for evidence gave a log loss {cost:.4f} above that of promoting every "
        f"challenger (but the saboteur) at once, and {gained:.4f} below that of never promoting: "
        f"{gained / possible:.0%} of what there was to gain, and a bad challenger never answered."
        if possible > 0
        else f"Waiting for evidence gave a log loss {gained:.4f} below that of never promoting."
    )


def stories(
    versions: Sequence[ModelVersion], bouts: Sequence[Bout], events: Sequence[RecordedEvent], saboteur: str | None
) -> list[Story]:
    return [
        Story(version.version, _what(version, version.version == saboteur), _fate(version, bouts, events))
        for version in versions
    ]


def _what(version: ModelVersion, is_saboteur: bool) -> str:
    card = version.card
    seen = f", until {version.data_until:%d %b}" if version.data_until else ""
    what = f"{str(card.get('family', 'model')).replace('_', ' ')} on {card.get('rows', 0):,} rows{seen}"
    return f"the saboteur: {what}, labels partly shuffled" if is_saboteur else what


def _fate(version: ModelVersion, bouts: Sequence[Bout], events: Sequence[RecordedEvent]) -> tuple[str, ...]:
    own = [bout for bout in bouts if bout.challenger == version.version and bout.kind == "challenge"]
    said = [_bout_story(bout, events) for bout in own]
    held = [event for event in events if event.kind == "model_rolled_back" and event.model_version == version.version]
    said += [f"rolled back on {event.at:%d %b}: {event.data['reason']}" for event in held]
    if not own:
        said.append("the first champion" if version.parent is None else "never met the champion")
    return tuple(said)


def _bout_story(bout: Bout, events: Sequence[RecordedEvent]) -> str:
    look = bout.look or {}
    against = f"against {bout.champion}"
    rejected = bout.outcome == "rejected"
    of, value, alpha = ("evidence of harm", "e_harm", "alpha_nominal") if rejected else ("evidence", "e_value", "alpha")
    reached, needed = _number(look.get(value, 1.0)), 1 / bout.design[alpha]
    numbers = f"{of} {amount(reached)} of {needed:,.0f} after {look.get('pairs', 0):,} pairs"
    if bout.state == "open":
        return f"{against}: still open, {numbers}"
    if bout.state == "voided":
        return f"{against}: void, {_reason(bout, events)}; {numbers}"
    lead = look.get("lead") or {}
    interval = f"lead {lead['mean']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f})" if lead else ""
    ended = f" on {bout.decided_at:%d %b}" if bout.decided_at else ""
    return f"{against}: {str(bout.outcome).replace('_', ' ')}{ended}; {numbers}, {interval}"


def _reason(bout: Bout, events: Sequence[RecordedEvent]) -> str:
    return next(
        (e.data["reason"] for e in events if e.kind == "bout_voided" and e.data["bout"] == bout.bout), "no reason"
    )


def _number(value: Any) -> float:
    return float(value)  # the record spells infinity as text


def _count(events: Sequence[RecordedEvent], kind: str) -> int:
    return sum(1 for event in events if event.kind == kind)


def _every_event(record: Record) -> list[RecordedEvent]:
    found: list[RecordedEvent] = []
    cursor: str | None = None
    while True:
        page, cursor = record.events.page(limit=1000, cursor=cursor)
        found += page
        if cursor is None:
            return found
