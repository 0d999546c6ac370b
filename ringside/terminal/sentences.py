"""Events and bouts in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ringside.terminal.output import short

if TYPE_CHECKING:
    from record.bouts.bout import Bout
    from record.event_log import RecordedEvent

# A value of an event on its line; the whole stands in `ringside events --json`.
LONGEST_VALUE = 90

OUTCOMES = {
    "promoted": "promoted",
    "rejected": "rejected",
    "inconclusive": "inconclusive, the champion stays",
    "rolled_back": "rolled back to",
    "passed": "passed",
    "unjudged": "ended without enough labels to judge",
    "awaiting_approval": "won, and awaits approval",
}


def event_words(data: Mapping[str, Any]) -> str:
    """An event's facts on one line: plain ones first, then what is nested, each cut in its middle where it is long.

    A value's end is never lost: the last words of a reason are often what matters.
    """
    plain = [(name, value) for name, value in data.items() if not isinstance(value, Mapping | list | tuple)]
    lists = [(name, value) for name, value in data.items() if isinstance(value, list | tuple) and value]
    objects = [(name, value) for name, value in data.items() if isinstance(value, Mapping) and value]
    told = [f"{name} {cut(short(value), LONGEST_VALUE)}" for name, value in plain if value is not None]
    told += [f"{name} [{cut(short(value), LONGEST_VALUE)}]" for name, value in lists]
    told += [f"{name} {{{cut(short(value), LONGEST_VALUE)}}}" for name, value in objects]
    return ", ".join(told)


def judged_words(facts: Mapping[str, Any]) -> str:
    """The rows that a version's metrics are of."""
    if facts["holdout_rows"] is None:
        return ""
    until = "" if facts["data_until"] is None else f" until {str(facts['data_until'])[:10]}"
    return f"{facts['holdout_rows']:,} rows{until}"


def comparison_words(facts: Mapping[str, Any] | None) -> str:
    """A version's loss less that of the champion that it was made beside, on the same rows; below 0 is better."""
    if facts is None:
        return ""
    if facts["difference"] is None:
        return f"{facts['other']}: too few new rows"
    low, mean, high = (facts["difference"][name] for name in ("low", "value", "high"))
    return f"{facts['other']}: loss {mean:+.4f} ({low:+.4f} to {high:+.4f}) on {facts['rows']:,} rows"


def cut(text: str, longest: int) -> str:
    """The text, or its beginning and its end with what was left out between them."""
    if len(text) <= longest:
        return text
    side = (longest - 5) // 2
    return f"{text[:side].rstrip()} … {text[-side:].lstrip()}"


def challenger_lines(facts: Mapping[str, Any]) -> list[str]:
    """One challenger of the status: where its evidence stands, what is missing, and what to do next."""
    state = str(facts["state"]).replace("_", " ")
    lines = [f"{facts['version']} in {facts['bout']}: {state}; {evidence_words(facts)}"]
    approval = facts.get("approval")
    if approval:
        until = "" if approval["expires_at"] is None else f", until {moment(approval['expires_at'])}"
        named = f" by {', '.join(approval['approvers'])}" if approval["approvers"] else ""
        lines.append(f"  awaits approval{named} since {moment(approval['requested_at'])}{until}")
        lines.append(f"  next: {approval['approve']}  or  {approval['refuse']}")
    elif facts["missing"]:
        lines += [f"  missing: {reason}" for reason in facts["missing"]]
    if facts["labels_to_go"] and facts["state"] == "testing":
        lines.append(f"  {expectation(facts)}")
    return lines


def disk_lines(facts: Mapping[str, Any]) -> list[str]:
    """What is free, and for how long the log may go on growing."""
    free = ", ".join(f"{name} {size(held)}" for name, held in sorted(facts["free_bytes"].items()))
    growth = f"the log has {size(facts['log_bytes'])} and grows {size(facts['log_growth_bytes_per_day'])} a day"
    left = facts["days_left"]
    return [f"free: {free}", growth if left is None else f"{growth}: room for {left:,.0f} days"]


def size(count: float) -> str:
    """Bytes in powers of 1000, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def evidence_words(facts: Mapping[str, Any]) -> str:
    """Evidence now, at most, and what is needed; then the lead."""
    needed = "?" if facts["needed"] is None else f"{facts['needed']:.4g}"
    words = (
        f"{facts['pairs']} pairs, evidence {facts['e_value']:.4g} now, at most {facts['e_max']:.4g}, {needed} needed"
    )
    lead = facts["lead"]
    if lead["mean"] is None:
        return words
    return f"{words}; lead {lead['mean']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f})"


def expectation(facts: Mapping[str, Any]) -> str:
    """When the evidence would be reached, and whether the deadline can be met."""
    to_go = f"about {facts['labels_to_go']:,} labels to go if it goes on as it did"
    if facts["expected_at"] is None:
        return to_go
    late = facts["deadline_at"] is not None and str(facts["expected_at"]) > str(facts["deadline_at"])
    end = f"; its deadline is {moment(facts['deadline_at'])}" + (", which it would miss" if late else "")
    return f"{to_go}: {moment(facts['expected_at'])}{end}"


def bout_story(bout: Bout, facts: Mapping[str, Any], events: Sequence[RecordedEvent]) -> list[str]:
    """One bout from its opening to its end, in sentences."""
    design = bout.design
    kind = "challenges" if bout.kind == "challenge" else "watches over"
    story = [
        f"{bout.challenger} {kind} {bout.champion} in {bout.bout}, opened {moment(bout.opened_at)}; "
        f"it is judged on requests behind number {bout.after_seq}.",
        _design_words(design),
    ]
    if not bout.design_intact:
        story.append("The design is not the one that was hashed when the bout opened.")
    story.append(_traffic_words(bout))
    story += _forecast_words(design)
    story.append(f"It stands at {evidence_words(facts)}.")
    if _look(bout).get("sensitivity"):
        story.append(f"Of missing labels: {_look(bout)['sensitivity']}.")
    story += [f"Warning: {warning}." for warning in _look(bout).get("warnings") or ()]
    story += [_guardrail_words(name, held) for name, held in (_look(bout).get("guardrails") or {}).items()]
    story += [f"Missing: {reason}." for reason in facts["missing"]]
    if bout.state == "open" and facts["labels_to_go"]:
        story.append(f"{expectation(facts)[0].upper()}{expectation(facts)[1:]}.")
    story += [_event_words(event) for event in events]
    if facts["approval"]:
        story.append(f"Next: {facts['approval']['approve']}  or  {facts['approval']['refuse']}")
    return story


def moment(at: datetime | str | None) -> str:
    """A time to the minute, UTC."""
    if at is None:
        return "-"
    text = at.isoformat() if isinstance(at, datetime) else str(at)
    return f"{text[:16].replace('T', ' ')} UTC"


def _look(bout: Bout) -> Mapping[str, Any]:
    return bout.look or {}


def _design_words(design: Mapping[str, Any]) -> str:
    alpha, rank = float(design["alpha"]), design.get("family_rank")
    share = f"alpha {alpha:.3g} of {float(design['alpha_nominal']):.3g}" + (
        f" (bout {rank} of its family)" if rank else ""
    )
    return (
        f"By design: loss {design['loss']}, margin {float(design['margin']):g}, {share}, so evidence {1 / alpha:.4g} "
        f"is needed, with {design['min_pairs']} pairs and {float(design['min_coverage']):.0%} of labels at least."
    )


def _forecast_words(design: Mapping[str, Any]) -> list[str]:
    """What gains of some sizes take to show, as it looked when the bout opened."""
    found = []
    for forecast in design.get("forecasts") or ():
        days = float(forecast["days"])
        late = "" if forecast["in_time"] else ", which is later than the deadline"
        found.append(
            f"A loss lower by {forecast['relative']:.0%} ({forecast['gain']:.4g}) was expected to take about "
            f"{forecast['labels']:,} labels, {days:,.1f} days{late}."
        )
    return found


def _traffic_words(bout: Bout) -> str:
    look = _look(bout)
    if not look:
        return "Nobody has looked at it yet."
    labelled, matured = look.get("labelled", 0), look.get("matured", 0)
    share = f" ({labelled / matured:.1%})" if matured else ""
    return (
        f"The shadow scored {look.get('scored', 0)} requests and failed on {look.get('failed', 0)}; "
        f"{matured} have matured, up to {moment(look.get('matured_until'))}, "
        f"and {labelled}{share} of them are labelled."
    )


def _guardrail_words(name: str, held: Mapping[str, Any]) -> str:
    return f"Guardrail {name}: {held['state']}, {held['wrong']} of {held['requests']} requests went wrong."


def _event_words(event: RecordedEvent) -> str:
    data = event.data
    when = f"{moment(event.at)}, event {event.seq}"
    if event.kind == "bout_opened":
        return f"{when}: opened by {event.actor}."
    if event.kind == "bout_voided":
        return f"{when}: voided, since {data['reason']}."
    if event.kind == "bout_decided":
        outcome = str(data["outcome"])
        reasons = "; ".join((data.get("evidence") or {}).get("reasons") or ())
        return f"{when}: {OUTCOMES.get(outcome, outcome)}" + (f": {reasons}." if reasons else ".")
    words = event.kind.replace("_", " ")
    said = data.get("reason") or "; ".join(data.get("reasons") or ())
    return f"{when}: {words} by {event.actor}" + (f": {said}." if said else ".")


def event_line(event: RecordedEvent, as_json: bool) -> str:
    """One event on one line."""
    if as_json:
        return json.dumps({**asdict(event), "at": event.at.isoformat(), "recorded_at": event.recorded_at.isoformat()})
    about = f"{event.kind:<18} {event.model_version or '':<5} {event.actor:<10}"
    return f"{event.seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {about} {event_words(event.data)}"
