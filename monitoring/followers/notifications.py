"""What people are told: events as one message. Pure.

An event of one kind about one version (or one run, or one bout) is told once in `notify.every`. Everything that waits
is one message: after a day without a watcher, or without the mail server, there is one digest and no storm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from record.event_log import RecordedEvent

SHOWN_EVENTS = 20  # of a digest, the newest; how many there are more is said


@dataclass(frozen=True, slots=True)
class Message:
    """`told` is what is told, and when it happened: it is not told again within `notify.every`."""

    title: str
    body: str
    told: Mapping[str, datetime]


def subject(event: RecordedEvent) -> str:
    """What an event is about: two with the same subject are news once."""
    data = event.data
    about = data.get("run_id") or data.get("bout") or event.model_version or ""
    return f"{event.kind} {data.get('basis', '')} {about}".strip()


def compose(
    problem: str, events: Sequence[RecordedEvent], told: Mapping[str, datetime], every: timedelta
) -> tuple[Message | None, int]:
    """One message for all of `events` that are news, and how many are none; None where there is no news."""
    asked = {event.data["bout"] for event in events if event.kind == "approval_requested"}
    events = [event for event in events if not _said_by_the_request(event, asked)]
    seen = dict(told)
    news: list[RecordedEvent] = []
    for event in events:
        key = subject(event)
        if key in seen and event.at - seen[key] < every:
            continue
        seen[key] = event.at
        news.append(event)
    if not news:
        return None, len(events)
    lines = [f"{event.at:%Y-%m-%d %H:%M} UTC: {sentence(event)}" for event in news[-SHOWN_EVENTS:]]
    if len(news) > SHOWN_EVENTS:
        lines.insert(0, f"The last {SHOWN_EVENTS} of {len(news)}; all of them are in the audit trail.")
    # Mail and chats outlive the database: whoever keeps them can show that nothing behind this was written anew.
    lines.append(f"Audit trail at event {events[-1].seq}: {events[-1].digest}")
    title = headline(news[0]) if len(news) == 1 else f"{len(news)} events"
    fresh = {key: at for key, at in seen.items() if told.get(key) != at}
    return Message(f"{problem}: {title}", "\n".join(lines), fresh), len(events) - len(news)


def _said_by_the_request(event: RecordedEvent, asked: Collection[str]) -> bool:
    """Whether the request for an approval, told in the same message, says the same."""
    return event.kind == "bout_decided" and event.data["outcome"] == "awaiting_approval" and event.data["bout"] in asked


def headline(event: RecordedEvent) -> str:
    words = event.kind.replace("_", " ")
    return f"{words} ({event.model_version})" if event.model_version else words


def sentence(event: RecordedEvent) -> str:
    """What happened, with its numbers, and where the page about it is."""
    say = SENTENCES.get(event.kind)
    text = say(event.data, event.model_version or "?") if say else headline(event)
    page = event.data.get("report")
    return f"{text} Page: /reports/{page}" if page else text


def _declined(data: Mapping[str, Any], version: str) -> str:
    what = "estimated loss" if data.get("basis") == "estimated" else "loss"
    return f"{version} declined: {what} {data['observed']:.4f}, {data['expected']:.4f} was promised."


def _wanted(data: Mapping[str, Any]) -> str:
    until = data.get("expires_at")
    wait = "" if until is None else f" It is waited for until {until[:16].replace('T', ' ')} UTC."
    return f"Approve: {data['approve']}; refuse: {data['refuse']}.{wait}"


def _requested(data: Mapping[str, Any], version: str) -> str:
    return f"{version} won bout {data['bout']} against {data['champion']} and awaits your approval: " + (
        f"{'; '.join(data['reasons'][:3])}. {_wanted(data)}"
    )


def _reminded(data: Mapping[str, Any], version: str) -> str:
    since = data["requested_at"][:16].replace("T", " ")
    return f"{version} awaits your approval since {since} UTC (bout {data['bout']}). {_wanted(data)}"


def _decided(data: Mapping[str, Any], version: str) -> str:
    outcome = data["outcome"].replace("_", " ")
    return f"Bout {data['bout']} of {data['challenger']} against {data['champion']}: {outcome}."


EXPIRED = {
    "inconclusive": "the champion stays",
    "reject": "it was rejected",
    "promote": "it was promoted all the same, as promotion.on_expiry says",
}

SENTENCES: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "drift_detected": lambda data, version: (
        f"Drift against {version}: {', '.join(data['drifted'][:5]) or 'the system'}."
    ),
    "quality_declined": _declined,
    "concept_drift_detected": lambda data, version: (
        f"Labels contradict what {version} expects of itself: loss {data['observed']:.4f}, "
        f"{data['estimated']:.4f} was estimated."
    ),
    "labels_stopped": lambda data, _: f"Labels have stopped: the last one came at {data['last_label_at']}.",
    "labels_resumed": lambda data, _: f"Labels come again, since {data['last_label_at']}.",
    "retrain_started": lambda data, _: f"Run {data['run_id']} started ({data['trigger']}).",
    "retrain_succeeded": lambda data, version: (
        f"Run {data['run_id']} made {version}." if version != "?" else f"Run {data['run_id']}: the gate refused it."
    ),
    "retrain_failed": lambda data, _: f"Run {data['run_id']} failed: {data['error'][:200]}",
    "bout_decided": _decided,
    "approval_requested": _requested,
    "approval_reminded": _reminded,
    "approval_expired": lambda data, version: (
        f"Nobody approved {version} in time (bout {data['bout']}): {EXPIRED.get(data['outcome'], data['outcome'])}."
    ),
    "model_promoted": lambda data, version: f"{version} is champion: {data['reason'][:200]}",
    "model_rolled_back": lambda data, version: (
        f"{version} was rolled back, {data['restored']} is champion again: {data['reason'][:200]}"
    ),
}
