"""`ringside bouts`: every bout there was, or one bout's story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from record.printable import print_json, print_line
from ringside.terminal.options import ConfigOption, JsonOption, opened
from ringside.terminal.output import tell_table

if TYPE_CHECKING:
    from record.bouts.bout import Bout
    from record.event_log import RecordedEvent
    from record.record import Record


MOVES = ("model_promoted", "model_rejected")


def bouts(
    bout: Annotated[str | None, typer.Argument(help="One bout, such as b2; all if not given.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the bouts, or tell one bout's story: its design, its evidence, what is missing, and how it ended.

    Example: ringside bouts b2
    """
    from ringside.terminal.sentences import bout_story

    _, record = opened(config)
    if bout is None:
        _tell_all(record, as_json)
        return
    held = record.bouts.get(bout)
    facts, said = _facts(record, held), events_of(record, held)
    story = bout_story(held, facts, said)
    if as_json:
        told = [{"seq": e.seq, "at": e.at.isoformat(), "kind": e.kind, "actor": e.actor, "data": e.data} for e in said]
        print_json({**facts, "design": held.design, "look": held.look, "story": story, "events": told})
        return
    for sentence in story:
        print_line(sentence)


def events_of(record: Record, bout: Bout) -> list[RecordedEvent]:
    """What the audit trail says about the bout, oldest first, with the moves of its challenger while it was open."""
    found: list[RecordedEvent] = []
    cursor: str | None = None
    while True:
        page, cursor = record.events.page(model=bout.challenger, since=bout.opened_at, limit=1000, cursor=cursor)
        found += [event for event in page if event.data.get("bout") == bout.bout or event.kind in MOVES]
        if cursor is None:
            break
    about = [event.seq for event in found if event.data.get("bout") == bout.bout]
    first, last = min(about, default=0), max(about, default=0)
    return [event for event in found if first <= event.seq <= (last if bout.state != "open" else event.seq)]


def _facts(record: Record, bout: Bout) -> dict[str, Any]:
    from record.bouts.summary import bout_summary
    from record.canonical import plain

    summary = bout_summary(record.database, record.events, bout)
    facts: dict[str, Any] = plain(
        {
            **summary,
            "kind": bout.kind,
            "challenger": bout.challenger,
            "champion": bout.champion,
            "outcome": bout.outcome,
            "opened_at": bout.opened_at,
            "decided_at": bout.decided_at,
            "design_intact": bout.design_intact,
        }
    )
    return facts


def _tell_all(record: Record, as_json: bool) -> None:
    from ringside.terminal.sentences import moment

    listed = [_facts(record, bout) for bout in record.bouts.all()]
    if as_json:
        print_json(listed)
        return
    rows = [
        [
            facts["bout"],
            facts["kind"],
            facts["challenger"],
            facts["champion"],
            (facts["outcome"] or facts["state"]).replace("_", " "),
            moment(facts["opened_at"]),
            str(facts["pairs"]),
            f"{facts['e_value']:.4g}",
            f"{facts['e_max']:.4g}",
            "-" if facts["needed"] is None else f"{facts['needed']:.4g}",
            moment(facts["expected_at"]),
        ]
        for facts in listed
    ]
    heads = ["bout", "kind", "challenger", "champion", "state", "opened", "pairs", "evidence", "at most", "needed"]
    tell_table([*heads, "expected"], rows)
