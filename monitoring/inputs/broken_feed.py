"""From what a look at the data found to the faults that set requests aside. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from monitoring.inputs.finding import Check, DataFinding, DataQualityReport
from record.contract.schema import Schema
from record.events import Event, FeedBroken, FeedMended
from record.feed_faults import FeedFaults, Rule

RULES: dict[Check, Rule] = {
    "unit_slip": "every",
    "column_swap": "every",
    "constant": "every",
    "missing": "missing",
    "out_of_range": "outside",
    "type_failure": "unusable",
}


def feed_events(
    report: DataQualityReport,
    faults: FeedFaults,
    schema: Schema,
    since: datetime,
    checks: Collection[str],
    longest: timedelta,
    as_of: datetime,
) -> list[Event]:
    """What has to be said of this look: faults that begin, and open ones that it finds no longer.

    `since` is the time of the window's first request, from which on all count again; of a fault that names single
    values (beyond a range, missing, unusable), the few that are left in the window stay set aside. Errors of other
    than these `checks` set nothing aside, and none does for longer than `longest`: one that still goes on then begins
    no new fault before a look has found it no longer.
    """
    errors = {(one.check, one.column): one for one in report.errors if one.check in checks}
    known = {(fault.check, fault.column, fault.rule) for fault in faults.open}
    lasting = {(fault.check, fault.column) for fault in faults.lasting}
    found: list[Event] = []
    for (check, column), finding in errors.items():
        begun = _broken(finding, schema, since, longest)
        if (check, column, begun.rule) not in known and (check, column) not in lasting:
            found.append(begun)
    going_on = (*faults.open, *faults.lasting)
    ended = {(fault.check, fault.column) for fault in going_on} - set(errors)
    whole = {(fault.check, fault.column) for fault in going_on if fault.rule == "every"}
    return [*found, *(FeedMended(*one, since if one in whole else as_of) for one in sorted(ended))]


def _broken(finding: DataFinding, schema: Schema, since: datetime, longest: timedelta) -> FeedBroken:
    """A slip of only some requests is that of those beyond what training saw."""
    rule, share = RULES[finding.check], float(finding.numbers.get("share", 1.0))
    if finding.check == "unit_slip" and share < 1:
        rule = "outside"
    seen = schema.seen.get(finding.column)
    low, high = (seen.low, seen.high) if rule == "outside" and seen is not None else (None, None)
    seconds = longest.total_seconds()
    return FeedBroken(finding.check, finding.column, rule, since, share, seconds, low, high)
