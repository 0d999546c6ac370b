"""Labels that stop are noticed, and a silence that is usual is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from monitoring.quality.label_watch import LabelFacts, LabelWatch, labels_stopped, longest_silence
from record.events import QualityChecked
from tests.monitoring.arena import START, Arena

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
USUAL = LabelFacts(AS_OF, AS_OF - HOUR, longest=HOUR, silences=100, expected=500.0, horizon=timedelta(days=1))


@pytest.mark.parametrize(
    ("changed", "stopped"),
    [
        ({}, False),
        ({"last_label_at": AS_OF - 1.6 * HOUR}, True),
        ({"last_label_at": AS_OF - 1.6 * HOUR, "expected": 19.0}, False),  # nobody asked much: none is missed
        ({"last_label_at": AS_OF - 30 * HOUR, "longest": 24 * HOUR}, False),  # a nightly export
        ({"last_label_at": AS_OF - 37 * HOUR, "longest": 24 * HOUR}, True),
        ({"last_label_at": AS_OF - 30 * HOUR, "silences": 4}, False),  # too few silences: the horizon stands beside
        ({"last_label_at": AS_OF - 37 * HOUR, "silences": 4}, True),
    ],
)
def test_the_table(changed: dict[str, object], stopped: bool) -> None:
    assert labels_stopped(replace(USUAL, **changed)) is stopped  # type: ignore[arg-type]


def test_streams_that_never_stop_raise_no_alarm() -> None:
    """A hundred months of labels one by one, by Poisson's law, looked at every hour from the tenth day on."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(100):
        arrivals = np.cumsum(rng.exponential(0.5, 1800))  # hours; two an hour, for longer than is looked
        minutes = [AS_OF + timedelta(hours=float(at)) for at in arrivals]
        for look in range(240, 700, 1):
            place = int(np.searchsorted(arrivals, look))
            longest, silences = longest_silence(minutes[max(0, place - 480) : place])
            silence = timedelta(hours=float(look - arrivals[place - 1]))
            expected = 2 * silence / HOUR
            facts = LabelFacts(AS_OF, AS_OF - silence, longest, silences, expected, HOUR)
            if labels_stopped(facts):
                alarms += 1
                break
    assert alarms <= 1


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    arena = Arena.build(tmp_path)
    yield arena
    arena.record.close()


def test_a_stop_and_a_new_beginning_are_an_event_each(arena: Arena) -> None:
    """However often is looked."""
    from tests.monitoring.arena import logistic

    arena.register(logistic(1.0))
    watch = LabelWatch(arena.settings, arena.record)
    assert watch.run(None, START) is None
    asked = arena.ask(600, START, every=timedelta(minutes=5))
    arena.label(asked[:300])
    numbers = {"coverage": 1.0, "delays": {"quantiles": {"0.9": 60.0}}}
    arena.record.events.append(QualityChecked(as_of=START, labels=1, numbers=numbers), actor="watcher", at=START)
    at = START + 600 * timedelta(minutes=5)
    for hours in (0, 1):
        facts = watch.run(None, at + hours * HOUR)
        assert facts is not None
        assert facts.expected >= 250
    (stopped,) = arena.record.events.page(kind="labels_stopped")[0]
    assert stopped.data["numbers"]["silence_seconds"] > stopped.data["numbers"]["allowed_seconds"]
    samples = {sample.name: sample.value for sample in arena.record.samples.all()}
    assert samples["ringside_labels_stopped"] == 1.0
    arena.label(asked[300:])
    watch.run(None, at + 2 * HOUR)
    assert len(arena.record.events.page(kind="labels_resumed")[0]) == 1
    samples = {sample.name: sample.value for sample in arena.record.samples.all()}
    assert samples["ringside_labels_stopped"] == 0.0
    assert samples["ringside_last_label_timestamp_seconds"] > START.timestamp()
