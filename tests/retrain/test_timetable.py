"""A run's time, reckoned from what it has measured: on a busy machine it searches less, and leaves out what it can."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from record.db.database import Database
from retrain.job import run
from retrain.timetable import Clocks, Timetable
from tests.retrain.problems import make_project

BUDGET = 60.0
PROMISED = 1.1 * BUDGET + 10


@dataclass
class Hands:
    """Clocks that a test sets."""

    at: float = 100.0
    used: float = 5.0

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.at, lambda: self.used)


def timetable(hands: Hands, slow: float, reading: float = 1.0) -> Timetable:
    """After reading, which took so much processor time, so many times slower by the wall."""
    held = Timetable(BUDGET, hands.clocks)
    hands.at += slow * reading
    hands.used += reading
    held.have_read(slow * reading, reading)
    return held


def test_on_an_idle_machine_the_search_has_four_fifths() -> None:
    """Reading included."""
    held = timetable(Hands(), 1.0)
    assert held.slowdown == 1.0
    assert held.search_left() == pytest.approx(0.8 * BUDGET - 1.0)


def test_on_a_busy_machine_it_leaves_as_much_as_the_rest_will_take() -> None:
    """The rest takes as many times longer as reading did; a slow winner's fits come to it."""
    held = timetable(Hands(), 8.0)
    busy = held.search_left()
    assert busy < 0.8 * BUDGET - 8.0
    held.expected_fit = 4.0
    assert held.search_left() == pytest.approx(busy - 10.0)  # and half of one to write it down
    held.expected_fit = 1e9  # it would not be taken: two of the longest fits are
    assert held.search_left() == pytest.approx(busy - 2.5 * (0.1 * BUDGET + 1))


def test_trials_tell_when_the_machine_gets_busy_and_free_again() -> None:
    """At once when it gets busy; free again it is trusted by and by."""
    held = timetable(Hands(), 1.0)
    before = held.search_left()
    for _ in range(5):
        held.note(9.0, 1.0)
    assert held.slowdown == pytest.approx(9.0)
    assert held.search_left() < before
    for _ in range(50):
        held.note(1.0, 1.0)
    assert 1.0 < held.slowdown < 2.0
    assert held.search_left() > before - 4.0


def test_what_a_fit_may_take_shrinks_with_what_is_left() -> None:
    """Never below a second, since something has to be fitted; a better model may take all that is promised."""
    hands = Hands()
    held = timetable(hands, 1.0)
    hands.at += 40.0
    assert held.fit_seconds() == pytest.approx(7.0)
    assert held.longest_fit_seconds() > held.fit_seconds()
    hands.at += 20.0
    assert held.fit_seconds() < 7.0
    assert 2 * held.longest_fit_seconds() + held.elapsed() < PROMISED
    hands.at += 500.0
    assert held.fit_seconds() == held.longest_fit_seconds() == 1.0


def test_what_there_is_no_time_for_is_left_out_and_named() -> None:
    """What is needed comes first: the last fit, and packaging."""
    hands = Hands()
    held = timetable(hands, 10.0)
    hands.at += 10.0
    assert held.affords("a picture", 0.5)
    held.final_fit = 40.0
    assert not held.affords("a picture", 0.5)
    assert held.spare() == 0.0
    assert held.left_out == ["a picture"]


def test_a_number_of_trials_has_all_the_time() -> None:
    """The result must not depend on the machine."""
    hands = Hands()
    held = Timetable(None, hands.clocks)
    held.have_read(1e6, 1.0)
    hands.at += 1e9
    assert held.search_left() == held.fit_seconds() == held.longest_fit_seconds() == held.spare() == math.inf
    assert held.affords("a picture", 1e9)


@pytest.mark.parametrize("slow", [2.0, 12.0])
def test_a_run_ends_in_time_on_a_machine_that_is_slow(tmp_path: Path, sqlite_database: Database, slow: float) -> None:
    """By clocks on which this process's work takes so many times its own time; the report says what is left out."""
    more = {"retrain": {"budget": "20s", "trials": None, "processes": 1}}
    project = make_project(tmp_path, sqlite_database, rows=1_500, more=more)
    clocks = Clocks(lambda: slow * time.process_time(), time.process_time)
    run_id = project.request()
    result = run(project.settings, project.record, run_id, fence=None, progress=lambda _: None, clocks=clocks)
    assert result.version is not None
    assert result.seconds < 1.1 * 20 + 10
    card = project.record.registry.version(result.version).card
    assert len(card["trials"]) > (1 if slow < 3 else 0)
    page = (project.record.registry.directory(result.version) / "report.html").read_text()
    assert ("Left out for want of time" in page) == bool(card["left_out"])
