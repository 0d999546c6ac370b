"""`ringside events --recompute` and `--what-if`: every decision again, and held against what was written."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from record.printable import print_json, print_line
from ringside.terminal.options import DONE, NO
from ringside.terminal.output import short, tell_table
from ringside.terminal.sentences import cut

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings

LONGEST_VALUE = 100
EVERY = 100  # decisions between two lines of progress


def recompute(record: Record, settings: Settings, since: datetime | None, until: datetime | None, as_json: bool) -> int:
    """Makes every decision again; the exit code: 1 where one differs."""
    from monitoring.audit.recompute import Auditor

    counts: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    first = None
    for place, verdict in enumerate(Auditor(record, settings).verdicts(since, until), start=1):
        counts.setdefault(verdict.kind, Counter())[verdict.state] += 1
        if verdict.why is not None:
            reasons[verdict.why] += 1
        if verdict.state == "differs" and first is None:
            first = verdict
        if place % EVERY == 0:
            print_line(f"{place} decisions", file=sys.stderr)
    total = sum(counts.values(), Counter[str]())
    if as_json:
        facts = {state: total[state] for state in ("same", "differs", "skipped")}
        told = {"decisions": sum(total.values()), **facts, "first": None if first is None else first.to_json()}
        print_json({**told, "kinds": counts, "skips": dict(reasons)})
        return DONE if first is None else NO
    rows = [
        [kind, *(str(held[state]) for state in ("same", "differs", "skipped"))] for kind, held in sorted(counts.items())
    ]
    tell_table(["decision", "same", "differs", "skipped"], rows)
    for why, count in reasons.most_common():
        print_line(f"skipped {count}: {why}")
    if first is None:
        print_line(f"{total['same']} decisions made again from the record: the same to the last byte")
        return DONE
    held = first.difference
    assert held is not None
    print_line(
        f"first that differs: event {first.seq}, {first.kind} {first.model_version or ''} at {first.at.isoformat()}"
    )
    print_line(f"  {held.path}: recorded   {cut(short(held.recorded), LONGEST_VALUE)}")
    print_line(f"  {'':<{len(held.path)}}  recomputed {cut(short(held.recomputed), LONGEST_VALUE)}")
    return NO


def what_if(
    record: Record, settings: Settings, file: Path, since: datetime | None, until: datetime | None, as_json: bool
) -> int:
    """Decides again under the file's settings, and says what would have been another decision."""
    from monitoring.audit.what_if import WhatIf, overlaid

    answers = list(WhatIf(record, settings, overlaid(settings, file)).answers(since, until))
    differ = [answer for answer in answers if answer.differs]
    unknown = [answer for answer in answers if answer.would is None]
    if as_json:
        told = {"decisions": len(answers), "differ": len(differ), "skipped": len(unknown)}
        print_json({**told, "answers": [answer.to_json() for answer in answers]})
        return DONE
    if differ:
        rows = [[str(a.seq), f"{a.at:%Y-%m-%d %H:%M}", a.about, a.was, a.would or ""] for a in differ]
        tell_table(["event", "at", "decision", "was", "would have been"], rows)
    print_line(f"{len(answers)} decisions under {file.name}: {len(differ)} differ, {len(unknown)} cannot be made again")
    print_line("each by itself: what would have followed from another decision is not followed up")
    return DONE
