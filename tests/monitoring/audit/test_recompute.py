"""Every decision made again from the record: the same bytes, or the first that differs is named."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from monitoring.audit.recompute import Auditor
from monitoring.audit.verdict import Verdict, first_difference
from monitoring.facts import read_facts
from monitoring.trigger import Ask, TriggerFacts
from monitoring.trigger import decide as decide_retrain
from record.db.tables import labels, predictions
from record.events import RetrainDeclined, RetrainSucceeded
from retrain.evaluation.metrics import Comparison, Interval
from retrain.gate import Parity, decide, decide_again, with_latency, with_parity
from ringside.commands import app
from tests.monitoring.arena import HORIZON, START, Arena, logistic

LATER = START + timedelta(hours=6)


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    arena = Arena.build(tmp_path)
    arena.register(logistic(0.0))
    return arena


def verdicts(arena: Arena) -> list[Verdict]:
    return list(Auditor(arena.record, arena.settings).verdicts())


def states(arena: Arena) -> dict[str, str]:
    return {verdict.kind: verdict.state for verdict in verdicts(arena)}


def promoted(arena: Arena) -> None:
    arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    for minutes in (5, 11, 25, 40):
        arena.settle(START + HORIZON + timedelta(minutes=minutes))
    arena.settle(LATER)
    assert arena.record.registry.roles().champion == "v2"


def test_a_promotion_is_made_again_to_the_same_bytes_from_requests_scores_and_labels(arena: Arena) -> None:
    promoted(arena)
    found = states(arena)
    assert found["bout_opened"] == found["bout_decided"] == "same", verdicts(arena)
    assert "differs" not in found.values()


def test_a_rejection_a_rollback_and_an_open_look_are_made_again(arena: Arena) -> None:
    arena.challenge(-1.0, START)
    arena.label(arena.ask(200, START))
    arena.settle(LATER)
    arena.challenge(0.2, LATER)
    arena.label(arena.ask(40, LATER))
    arena.settle(LATER + timedelta(hours=3))
    found = states(arena)
    assert found["bout_decided"] == found["model_rejected"] == found["bout_look"] == "same", verdicts(arena)


@pytest.mark.parametrize("what", ["label", "score", "answer"])
def test_whatever_is_changed_behind_a_decision_is_named(arena: Arena, what: str) -> None:
    """The events stay as they were, and so does their chain: only making the decision again shows it."""
    promoted(arena)
    changes = {
        "label": sa.update(labels).where(labels.c.label_seq == 7).values(label='"yes"' if _label(arena) else '"no"'),
        "score": sa.text('UPDATE shadow_scores SET probabilities = \'{"no": 0.5, "yes": 0.5}\' WHERE seq = 9'),
        "answer": sa.update(predictions).where(predictions.c.seq == 5).values(probabilities='{"no": 0.1, "yes": 0.9}'),
    }
    with arena.record.database.write() as connection:
        connection.execute(changes[what])
    assert arena.record.events.verify().valid
    first = next(verdict for verdict in verdicts(arena) if verdict.state == "differs")
    assert first.kind == "bout_decided"
    assert first.difference is not None
    assert first.difference.path.startswith("look.")


def _label(arena: Arena) -> bool:
    with arena.record.database.read() as connection:
        held: str = connection.execute(sa.select(labels.c.label).where(labels.c.label_seq == 7)).scalar_one()
    return held == '"no"'


def test_what_retention_has_taken_is_skipped_and_says_so(arena: Arena) -> None:
    promoted(arena)
    with arena.record.database.write() as connection:
        connection.execute(sa.delete(predictions).where(predictions.c.seq < 50))
    skipped = next(verdict for verdict in verdicts(arena) if verdict.kind == "bout_decided")
    assert skipped.state == "skipped"
    assert "no longer in the log" in (skipped.why or "")


def test_a_refused_trigger_is_made_again_and_a_changed_reason_is_named(arena: Arena) -> None:
    asks = (Ask("quality", "watcher", "loss 0.3 against 0.2", {"labels": 40}), *[Ask("alert", "am", "slow")] * 3)
    facts = read_facts(arena.record, arena.settings, asks, START, run_active=False)
    decision = decide_retrain(facts, arena.settings.retrain)
    assert not decision.retrain
    numbers = {**decision.numbers, "obstacles": decision.obstacles, "facts": facts.to_json()}
    for reason in ("; ".join(decision.reasons), "no particular reason"):
        event = RetrainDeclined(trigger=decision.trigger, reason=reason, numbers=numbers)
        arena.record.events.append(event, actor="watcher", at=START)
    same, differs = [verdict for verdict in verdicts(arena) if verdict.kind == "retrain_declined"]
    assert (same.state, differs.state) == ("same", "differs")
    assert differs.difference is not None
    assert differs.difference.path == "decision.reason"


def test_facts_come_back_from_their_event_as_they_were(arena: Arena) -> None:
    asks = (
        Ask("operator", "ada", "why not"),
        Ask("alert", "am", "slow", {"n": 1}),
        Ask("alert", "am", "slow", {"n": 1}),
    )
    facts = read_facts(arena.record, arena.settings, asks, START, run_active=True)
    again = TriggerFacts.from_json(json.loads(json.dumps(facts.to_json())))
    assert again == facts


def test_a_storm_of_different_asks_is_too_much_for_an_event_and_says_so(arena: Arena) -> None:
    asks = [Ask("alert", "am", f"reason {n}") for n in range(60)]
    facts = read_facts(arena.record, arena.settings, asks, START, run_active=True)
    with pytest.raises(ValueError, match="10 of those who asked do not stand in the event"):
        TriggerFacts.from_json(facts.to_json())


def gate_event(limit: float | None) -> dict[str, Any]:
    dummy = Comparison("dummy", 400, 0.2, 0.25, Interval(-0.05, -0.06, -0.04))
    champion = Comparison("v1", 400, 0.2, 0.21, Interval(-0.01, -0.02, 0.0))
    decision = with_parity(decide(finite=True, dummy=dummy, champion=champion), Parity(1e-7, 400))
    return with_latency(decision, 0.8, limit).to_json()


@pytest.mark.parametrize("limit", [None, 0.5, 2.0])
def test_a_gate_is_made_again_from_its_inputs(limit: float | None) -> None:
    held = json.loads(json.dumps(gate_event(limit)))
    assert decide_again(held["inputs"], limit).to_json() == held


def test_a_gate_that_says_something_else_than_its_inputs_is_named(arena: Arena) -> None:
    for passed in (True, False):
        gate = {**gate_event(None), "passed": passed}
        event = RetrainSucceeded(run_id="r1", trigger="operator", seconds=1.0, outcome={"gate": gate})
        arena.record.events.append(event, actor="retrain", at=START)
    same, differs = [verdict for verdict in verdicts(arena) if verdict.kind == "retrain_succeeded"]
    assert (same.state, differs.state) == ("same", "differs")
    assert differs.difference is not None
    assert (differs.difference.path, differs.difference.recorded) == ("passed", False)


def test_the_first_difference_is_the_innermost_one() -> None:
    one = {"a": 1, "b": {"c": [1, 2, {"d": 0.1}]}}
    other = {"a": 1, "b": {"c": [1, 2, {"d": 0.2}]}}
    found = first_difference(one, other)
    assert (found.path, found.recorded, found.recomputed) == ("b.c[2].d", 0.1, 0.2)


def test_the_command_counts_decisions_and_exits_with_1_where_one_differs(arena: Arena, tmp_path: Path) -> None:
    promoted(arena)
    runner, config = CliRunner(), ["--config", str(tmp_path / "ringside.toml")]
    done = runner.invoke(app, ["events", "--recompute", "--json", *config])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["differs"], told["first"]) == (0, None)
    assert told["kinds"]["bout_decided"] == {"same": 1}
    with arena.record.database.write() as connection:
        connection.execute(sa.update(labels).where(labels.c.label_seq < 40).values(label='"no"'))
    no = runner.invoke(app, ["events", "--recompute", *config])
    assert no.exit_code == 1
    assert "first that differs: event" in no.stdout


def test_other_settings_say_what_would_have_been_decided(arena: Arena, tmp_path: Path) -> None:
    promoted(arena)
    stricter = tmp_path / "stricter.toml"
    stricter.write_text("[promotion]\nmin_pairs = 390\n")
    config = ["--config", str(tmp_path / "ringside.toml")]
    done = CliRunner().invoke(app, ["events", "--what-if", str(stricter), "--json", *config])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    (bout,) = [answer for answer in told["answers"] if answer["kind"] == "bout_decided"]
    assert bout["differs"]
    assert bout["was"].startswith("promoted after ")
    assert bout["would"].startswith(("promoted after 39", "promoted after 40"))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[promotion]\nalpa = 0.1\n")
    refused = CliRunner().invoke(app, ["events", "--what-if", str(wrong), *config])
    assert "promotion.alpa is not a key" in str(refused.exception)
