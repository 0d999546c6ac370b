"""Alertmanager's webhook, version 4: which of its alerts ask for a retrain, which are only recorded.

Alertmanager retries what answers 5xx at once, and sends again at every group interval: what arrives twice is taken
once, by fingerprint and start, and a storm of thousands is one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from record.canonical import canonical_json
from record.contract.preview import preview
from record.errors import Faults, InvalidRecord
from record.events import AlertReceived, Event
from record.work.requests import Asked, Requests
from service.bodies.long_body import ListLimit
from service.request_time import TimeLimit

ACTION: Final = "action"  # the label by which an alert asks for something
RETRAIN: Final = "retrain"
# Alertmanager cuts each call with the receiver's `max_alerts`; a group that is larger loses the rest.
MOST_ALERTS: Final = ListLimit(1000, "set max_alerts: 1000 in Alertmanager's receiver")
MOST_EVENTS: Final = 20  # of one call: alerts of further names share one
LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Alert:
    name: str
    status: str
    fingerprint: str
    starts_at: str
    action: str | None
    summary: str

    @property
    def key(self) -> str:
        return f"alert:{self.fingerprint}:{self.starts_at}"

    @property
    def asks(self) -> bool:
        return self.action == RETRAIN


@dataclass(frozen=True, slots=True)
class AlertsTaken:
    """Of the alerts in one call: newly taken, known before, and resolved ones, which ask nothing."""

    accepted: int
    duplicates: int
    ignored: int


def read_alerts(body: Any, times: TimeLimit) -> list[Alert]:
    """The alerts in a webhook's body; InvalidRecord says what is not as Alertmanager sends it."""
    if not isinstance(body, dict) or not isinstance(body.get("alerts"), list):
        raise InvalidRecord("alerts: expected Alertmanager's webhook, version 4, with a list of alerts", field="alerts")
    MOST_ALERTS.expect("alerts", len(body["alerts"]))
    alerts, faults = list[Alert](), Faults[InvalidRecord]()
    if body.get("version", "4") not in ("4", 4):
        message = f'version: {preview(body["version"])}; expected Alertmanager\'s "4"'
        faults.add(InvalidRecord(message, field="version"))
    for place, held in enumerate(body["alerts"]):
        with faults.collect(InvalidRecord):
            alerts.append(_alert(f"alerts[{place}]", held, times))
        if faults.left <= 0:
            break
    faults.expect_none()
    return alerts


def take_alerts(requests: Requests, alerts: Sequence[Alert], actor: str) -> AlertsTaken:
    """Writes down what is new, in one transaction; the watcher decides about those that ask for a retrain."""
    firing = [alert for alert in alerts if alert.status == "firing"]
    by_key = {alert.key: alert for alert in firing}

    def tell(new: Sequence[Asked]) -> list[Event]:
        return _events([by_key[one.key] for one in new])

    asked = [
        Asked(
            alert.key,
            f"alert {alert.name}: {alert.summary}" if alert.summary else f"alert {alert.name}",
            _data(alert),
            alert.asks,
        )
        for alert in by_key.values()
    ]
    new = requests.add_all("alert", asked, actor, tell) if asked else []
    return AlertsTaken(len(new), len(firing) - len(new), len(alerts) - len(firing))


def _alert(where: str, held: Any, times: TimeLimit) -> Alert:
    labels = held.get("labels") if isinstance(held, dict) else None
    if not isinstance(labels, dict):
        raise InvalidRecord(f"{where}: expected an object with labels", field=where)
    _check_alert(where, held, times)
    action, summary = labels.get(ACTION), (held.get("annotations") or {}).get("summary")
    return Alert(
        name=_short(labels.get("alertname", "unnamed")),
        status=held.get("status", "firing"),
        fingerprint=_fingerprint(held.get("fingerprint"), labels),
        starts_at=_short(held["startsAt"]),
        action=None if action is None else _short(action),
        summary="" if summary is None else _short(summary),
    )


def _check_alert(where: str, held: Mapping[str, Any], times: TimeLimit) -> None:
    """Raises InvalidRecord for what of an alert is not as Alertmanager sends it."""
    faults = Faults[InvalidRecord]()

    def refuse(name: str, expected: str) -> None:
        message = (
            f"{where}.{name}: {preview(held[name])}; expected {expected}"
            if name in held
            else (f"{where}.{name}: missing; expected {expected}")
        )
        faults.add(InvalidRecord(message, field=f"{where}.{name}"))

    if held.get("status", "firing") not in ("firing", "resolved"):
        refuse("status", '"firing" or "resolved"')
    starts_at = held.get("startsAt")
    if not isinstance(starts_at, str) or not starts_at.strip():
        refuse("startsAt", "a time")
    else:
        with faults.collect(InvalidRecord):
            times.read(starts_at, f"{where}.startsAt")
    if not isinstance(held.get("annotations"), dict | None):
        refuse("annotations", "an object")
    if not isinstance(held.get("fingerprint"), str | None):
        refuse("fingerprint", "a text")
    faults.expect_none()


def _fingerprint(given: str | None, labels: Mapping[str, Any]) -> str:
    """What Alertmanager gives; senders that imitate it without one are told apart by their labels."""
    if given:
        return _short(given)
    return hashlib.sha256(canonical_json(labels).encode("utf-8", "replace")).hexdigest()[:16]


def _data(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "action": alert.action,
        "summary": alert.summary,
    }


def _events(alerts: Sequence[Alert]) -> list[Event]:
    groups: dict[tuple[str, str | None], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.name, alert.action), []).append(alert)
    kept = list(groups.items())[:MOST_EVENTS]
    told: list[Event] = [_event(name, action, held) for (name, action), held in kept]
    rest = [alert for key, held in groups.items() if key not in dict(kept) for alert in held]
    return [*told, _event("others", None, rest)] if rest else told


def _event(name: str, action: str | None, alerts: Sequence[Alert]) -> AlertReceived:
    first = alerts[0]
    return AlertReceived(
        alert=name,
        status=first.status,
        fingerprint=first.fingerprint,
        starts_at=first.starts_at,
        action=action,
        outcome="queued" if any(alert.asks for alert in alerts) else "recorded",
        count=len(alerts),
    )


def _short(value: Any) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else preview(value)
