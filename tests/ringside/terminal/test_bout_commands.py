"""`ringside bouts` on a real record: the list, and one bout's story from opening to end."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringside.commands import app
from tests.monitoring.arena import START, Arena, logistic


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    arena = Arena.build(tmp_path, mode="approve")
    arena.register(logistic(0.0))
    return arena


def run(tmp_path: Path, *arguments: str) -> str:
    outcome = CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "ringside.toml")])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_one_bout_is_told_in_words_from_its_opening_to_its_end(arena: Arena, tmp_path: Path) -> None:
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    arena.settle(START + timedelta(hours=6))
    waiting = run(tmp_path, "bouts", bout.bout)
    assert "v2 challenges v1 in b1, opened 2013-03-01 00:00 UTC" in waiting
    assert "approval requested by watcher" in waiting
    assert 'Next: ringside promote v2 --reason "…"' in waiting
    arena.record.registry.promote("v2", actor="ada", reason="convinced by the lead")
    arena.settle(START + timedelta(hours=7))
    told = run(tmp_path, "bouts", bout.bout)
    assert "model promoted by ada: convinced by the lead" in told
    assert "promoted: " in told.splitlines()[-1]
    held = json.loads(run(tmp_path, "bouts", bout.bout, "--json"))
    assert (held["outcome"], held["state"], held["design_intact"]) == ("promoted", "decided", True)
    assert "\n".join(held["story"]) == told.rstrip("\n")


def test_all_bouts_are_listed_with_evidence_now_and_at_most(arena: Arena, tmp_path: Path) -> None:
    bout = arena.challenge(0.3, START)
    arena.label(arena.ask(60, START))
    arena.settle(START + timedelta(hours=2))
    (facts,) = json.loads(run(tmp_path, "bouts", "--json"))
    look = arena.look(bout)
    assert (facts["bout"], facts["e_value"], facts["e_max"]) == ("b1", look["e_value"], look["e_max"])
    assert facts["missing"] == look["reasons"]
    assert "testing" in run(tmp_path, "bouts")


def test_a_bout_that_is_not_there_is_named(arena: Arena, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["bouts", "b9", "--config", str(tmp_path / "ringside.toml")])
    assert "no bout 'b9'" in str(outcome.exception)
