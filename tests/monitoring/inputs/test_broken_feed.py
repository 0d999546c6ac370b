"""Errors of the data begin a fault once, and end it when they are found no longer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from monitoring.drifting.check import DriftCheck
from monitoring.inputs.broken_feed import RULES, feed_events
from monitoring.inputs.finding import Check, DataFinding, DataQualityReport
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn
from record.events import Event, FeedBroken, FeedMended
from record.feed_faults import FeedFault, FeedFaults, read_feed_faults
from tests.monitoring.arena import Arena

AT = datetime(2026, 5, 1, tzinfo=UTC)
MONTH, HOUR = timedelta(days=30), timedelta(hours=1)
SCHEMA = Schema(
    ProblemSchema("regression", "y", (Column("x", "feature", "number"),)), {"x": SeenColumn(low=0.0, high=10.0)}
)


def look(*findings: tuple[Check, str, float]) -> DataQualityReport:
    return DataQualityReport(
        1000,
        1000,
        tuple(
            DataFinding(check, "x", cast(Any, severity), "", {"share": share}) for check, severity, share in findings
        ),
    )


def said(report: DataQualityReport, *faults: FeedFault, checks: Sequence[str] = tuple(RULES)) -> list[Event]:
    return feed_events(report, FeedFaults(faults), SCHEMA, AT, checks, MONTH, AT + HOUR)


@pytest.mark.parametrize("check", [check for check in RULES if check != "unit_slip"])
def test_every_kind_of_error_begins_a_fault_by_its_own_rule(check: Check) -> None:
    (event,) = said(look((check, "error", 0.2)))
    assert isinstance(event, FeedBroken)
    assert (event.check, event.column, event.rule, event.since) == (check, "x", RULES[check], AT)


def test_a_slip_of_some_requests_is_that_of_those_beyond_what_training_saw() -> None:
    (part,) = said(look(("unit_slip", "error", 0.3)))
    (whole,) = said(look(("unit_slip", "error", 1.0)))
    assert isinstance(part, FeedBroken)
    assert isinstance(whole, FeedBroken)
    assert (part.rule, part.low, part.high) == ("outside", 0.0, 10.0)
    assert (whole.rule, whole.low) == ("every", None)


def test_a_warning_or_a_check_that_is_not_asked_for_sets_nothing_aside() -> None:
    assert said(look(("missing", "warning", 0.02))) == []
    assert said(look(("missing", "error", 0.2)), checks=("unit_slip",)) == []


def test_a_fault_begins_once_and_ends_when_it_is_found_no_longer() -> None:
    held = FeedFault("unit_slip", "x", "every", AT)
    assert said(look(("unit_slip", "error", 1.0)), held) == []
    (event,) = said(look(), held)
    assert event == FeedMended("unit_slip", "x", AT)


def test_the_last_values_of_a_slip_stay_set_aside_when_it_ends() -> None:
    """Too few of them are left in the window to be found again; all its other requests count."""
    part = FeedFault("unit_slip", "x", "outside", AT - HOUR, low=0.0, high=10.0)
    assert said(look(), part) == [FeedMended("unit_slip", "x", AT + HOUR)]
    whole = FeedFault("unit_slip", "x", "every", AT - HOUR)
    assert said(look(), part, whole) == [FeedMended("unit_slip", "x", AT)]


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_an_error_that_lasts_counts_again_until_it_was_mended(share: float, tmp_path: Path) -> None:
    """Looks of two months: one fault, whose rows count after a month; a later error is a new one."""
    record = Arena.build(tmp_path).record

    def told(day: int, *errors: tuple[Check, str, float]) -> list[Event]:
        as_of = AT + timedelta(days=day)
        faults = read_feed_faults(record.events, as_of)
        found = feed_events(look(*errors), faults, SCHEMA, as_of - timedelta(days=1), tuple(RULES), MONTH, as_of)
        for event in found:
            record.events.append(event, actor="watcher", at=as_of)
        return found

    slip: tuple[Check, str, float] = ("unit_slip", "error", share)
    said_on = {day: [event.kind for event in told(day, slip)] for day in range(1, 62)}
    assert {day: kinds for day, kinds in said_on.items() if kinds} == {1: ["feed_broken"]}
    faults = read_feed_faults(record.events, AT + timedelta(days=61))
    assert [
        any(one.holds(AT + timedelta(days=day), '{"x": 1e6}') for one in faults.faults) for day in (29, 31, 61)
    ] == [
        True,
        False,
        False,
    ]
    assert [event.kind for event in told(62)] == ["feed_mended"]
    assert told(63) == []
    assert [event.kind for event in told(64, slip)] == ["feed_broken"]
    record.close()


def test_a_rollback_within_a_broken_feed_is_no_bar() -> None:
    """The watcher's own, behind the fault's beginning; what a person did, or what was before, stays."""
    rolled = [
        SimpleNamespace(model_version="v2", actor="watcher", data={"bout": "b1"}),
        SimpleNamespace(model_version="v3", actor="ada", data={"bout": None}),
        SimpleNamespace(model_version="v4", actor="watcher", data={"bout": "b2"}),
    ]
    standing = {"v2": "rolled_back", "v3": "rolled_back", "v4": "eligible"}
    lifted: list[str] = []
    asked: list[Any] = []

    def page(**chosen: Any) -> tuple[list[Any], None]:
        asked.append(chosen)
        return rolled, None

    registry = SimpleNamespace(
        version=lambda name: SimpleNamespace(standing=standing[name]),
        unbar=lambda name, **_: lifted.append(name),
    )
    check = SimpleNamespace(_record=SimpleNamespace(events=SimpleNamespace(page=page), registry=registry))
    DriftCheck._lift_bars(cast(Any, check), [FeedBroken("unit_slip", "x", "every", AT, 1.0, 1.0)], AT + MONTH)
    assert lifted == ["v2"]
    assert asked[0]["since"] == AT
