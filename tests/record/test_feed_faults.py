"""Requests of a broken feed are known by their time and their record, and count again once the feed is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from record.events import FeedBroken, FeedMended
from record.feed_faults import FeedFault, FeedFaults, read_feed_faults
from record.record import Record
from tests.monitoring.arena import Arena

AT = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    house = Arena.build(tmp_path)
    yield house.record
    house.record.close()


def holds(fault: FeedFault, value: Any, after: timedelta = HOUR) -> bool:
    return fault.holds(fault.since + after, json.dumps({"x": value}))


@pytest.mark.parametrize(
    ("rule", "wrong", "sound"),
    [
        ("every", [1.0, None, "a"], []),
        ("missing", [None], [0.0, "", False]),
        ("outside", [1e6, -1.0], [0.0, 5.0, 10.0, None]),
        ("unusable", ["5", True, []], [5, 5.0, None]),
    ],
)
def test_a_rule_says_which_records_are_wrong(rule: Any, wrong: list[Any], sound: list[Any]) -> None:
    fault = FeedFault("check", "x", rule, AT, None, 0.0, 10.0)
    assert all(holds(fault, value) for value in wrong)
    assert not any(holds(fault, value) for value in sound)
    assert not any(holds(fault, value, -HOUR) for value in wrong)


def broken(rule: str = "every", longest: timedelta = 30 * 24 * HOUR) -> FeedBroken:
    return FeedBroken("unit_slip", "x", rule, AT, 1.0, longest.total_seconds(), 0.0, 10.0)


def test_faults_are_folded_from_the_trail_as_of_a_time(record: Record) -> None:
    """A decision made again as of then knows what was known then."""
    record.events.append(broken("outside"), actor="watcher", at=AT + 2 * HOUR)
    record.events.append(broken(), actor="watcher", at=AT + 4 * HOUR)
    record.events.append(FeedMended("unit_slip", "x", AT + 5 * HOUR), actor="watcher", at=AT + 6 * HOUR)
    assert read_feed_faults(record.events, AT + HOUR) == FeedFaults()
    assert [one.rule for one in read_feed_faults(record.events, AT + 4 * HOUR).open] == ["outside", "every"]
    mended = read_feed_faults(record.events, AT + 7 * HOUR)
    assert mended.open == ()
    assert [holds(fault, 1e6, 6 * HOUR) for fault in mended.faults] == [False, False]
    assert [holds(fault, 1e6, HOUR) for fault in mended.faults] == [True, True]


def test_an_error_that_lasts_is_how_the_data_are_now(record: Record) -> None:
    record.events.append(broken(longest=24 * HOUR), actor="watcher", at=AT)
    (fault,) = read_feed_faults(record.events, AT + 25 * HOUR).faults
    assert holds(fault, 1.0, 24 * HOUR)
    assert not holds(fault, 1.0, 24 * HOUR + timedelta(seconds=1))


def test_a_fault_that_is_mended_late_has_set_aside_no_more_than_its_longest_time(record: Record) -> None:
    record.events.append(broken(longest=24 * HOUR), actor="watcher", at=AT)
    assert [one.lasts for one in read_feed_faults(record.events, AT + 23 * HOUR).faults] == [False]
    assert [one.lasts for one in read_feed_faults(record.events, AT + 25 * HOUR).faults] == [True]
    record.events.append(FeedMended("unit_slip", "x", AT + 30 * HOUR), actor="watcher", at=AT + 30 * HOUR)
    (fault,) = read_feed_faults(record.events, AT + 31 * HOUR).faults
    assert (fault.lasts, fault.until) == (False, AT + 24 * HOUR)
