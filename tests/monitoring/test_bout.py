"""Bouts over a real record: what forms a pair, what decides, and what ends a bout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring.bout import settle_bouts
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import EvidenceState
from monitoring.bouts.family import spent_alpha
from monitoring.bouts.look import examine, replay
from monitoring.evidence import e_values
from record.bouts.bout import Bout, EnteredPair, ShadowScore, design_hash
from record.clock import to_micros
from record.db.tables import bouts as bouts_table
from record.errors import RoleConflict, SettingsError, StaleLease
from record.events import FeedBroken, FeedMended
from record.work.leases import Fence
from tests.monitoring.arena import HORIZON, START, TOML, Arena, brier, logistic

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LATER = START + timedelta(hours=6)


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """A champion that knows nothing (slope 0); the truth has slope 1."""
    arena = Arena.build(tmp_path)
    arena.register(logistic(0.0))
    yield arena
    arena.record.close()


def built(folder: Path, **promotion: Any) -> Arena:
    arena = Arena.build(folder, **promotion)
    arena.register(logistic(0.0))
    return arena


def asked_x(arena: Arena) -> dict[str, float]:
    rows = arena.record.log.window(START - timedelta(days=1), START + timedelta(days=900))
    return {row.id: json.loads(row.record)["x"] for row in rows}


def current(arena: Arena, bout: Bout) -> Bout:
    return arena.record.bouts.get(bout.bout)


def test_a_pair_is_the_difference_of_the_two_losses_on_one_request_in_request_order(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    asked = arena.ask(30, START)
    arena.label(asked)
    arena.settle(LATER)
    x = asked_x(arena)
    expected = [brier(0.0, x[a.id], a.truth) - brier(1.0, x[a.id], a.truth) for a in asked]
    assert arena.differences(bout) == pytest.approx(expected, abs=1e-6)


def test_a_better_challenger_is_promoted_and_its_bout_decided_in_the_same_move(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    decisions = arena.settle(LATER)
    assert [decision.outcome for decision in decisions] == ["promote"]
    assert arena.record.registry.roles().champion == "v2"
    assert (current(arena, bout).state, current(arena, bout).outcome) == ("decided", "promoted")
    assert arena.kinds()[-2:] == ["bout_decided", "model_promoted"]
    event = arena.record.events.page(kind="bout_decided")[0][0]
    assert event.data["evidence"]["e_max"] >= event.data["evidence"]["needed"]
    assert arena.record.events.verify().valid


def test_a_worse_challenger_is_rejected_and_barred(arena: Arena) -> None:
    bout = arena.challenge(-1.0, START)
    arena.label(arena.ask(200, START))
    assert [decision.outcome for decision in arena.settle(LATER)] == ["reject"]
    assert current(arena, bout).outcome == "rejected"
    assert arena.record.registry.version("v2").standing == "rejected"
    assert arena.record.registry.roles().champion == "v1"
    assert arena.open(LATER) == []


def test_a_lifted_bar_lets_a_version_challenge_again_on_requests_that_did_not_judge_it(arena: Arena) -> None:
    arena.challenge(-1.0, START)
    judged = arena.ask(200, START)
    arena.label(judged)
    arena.settle(LATER)
    assert arena.open(LATER) == []
    arena.record.registry.unbar("v2", actor="ada", reason="the feed was broken")
    (again,) = arena.open(LATER)
    assert again.challenger == "v2"
    assert again.after_seq == arena.record.log.last_seq()
    arena.settle(LATER + HORIZON)
    assert len(arena.differences(again)) == 0
    assert arena.open(LATER + HORIZON) == []


def test_an_equal_challenger_is_not_crowned_and_is_inconclusive_at_the_deadline(arena: Arena) -> None:
    bout = arena.challenge(0.0, START)
    arena.label(arena.ask(300, START))
    for day in (1, 10, 29):
        assert [decision.outcome for decision in arena.settle(START + timedelta(days=day))] == ["wait"]
    due = START + HORIZON + timedelta(days=30)  # from the first label's maturity on
    assert [decision.outcome for decision in arena.settle(due - SECOND)] == ["wait"]
    assert [decision.outcome for decision in arena.settle(due)] == ["inconclusive"]
    assert current(arena, bout).outcome == "inconclusive"
    assert arena.record.registry.version("v2").standing == "eligible"
    assert arena.open(START + timedelta(days=31)) == []  # judged once is enough


def test_labels_sent_again_leave_the_evidence_as_it_is_to_the_last_bit(arena: Arena) -> None:
    bout = arena.challenge(0.3, START)
    asked = arena.ask(120, START)
    arena.label(asked)
    arena.settle(START + HORIZON + 10 * MINUTE)
    half, value = arena.differences(bout), arena.look(bout)["e_value"]
    for _ in range(3):
        arena.label(asked, after=6 * MINUTE)
        arena.label(asked, after=timedelta(hours=2))
    examined = examine(arena.record, current(arena, bout), START + HORIZON + 10 * MINUTE)
    assert (len(half), examined.entered, examined.look.e_value) == (61, [], value)
    arena.settle(LATER)
    whole = arena.differences(bout)
    assert len(whole) == 120
    assert whole[:61].tobytes() == half.tobytes()


def test_looking_often_and_looking_once_enter_the_same_pairs(tmp_path: Path) -> None:
    seen = []
    for name, looks in (("often", 20), ("once", 1)):
        folder = tmp_path / name
        folder.mkdir()
        arena = built(folder, min_duration="1d")
        bout = arena.challenge(0.3, START)
        arena.label(arena.ask(150, START))
        for look in range(looks):
            arena.settle(LATER - (looks - 1 - look) * 17 * MINUTE)
        seen.append((arena.differences(bout).tobytes(), arena.look(bout)["e_max"], arena.look(bout)["matured"]))
    assert seen[0] == seen[1]


def test_a_label_that_comes_after_maturity_does_not_count(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    asked = arena.ask(20, START)
    arena.label(asked[:10], after=HORIZON)
    arena.label(asked[10:], after=HORIZON + timedelta(microseconds=1))
    arena.settle(LATER)
    look = arena.look(bout)
    assert (look["pairs"], look["labelled"], look["matured"], look["coverage"]) == (10, 10, 20, 0.5)
    arena.settle(LATER + HORIZON)
    assert arena.look(bout)["pairs"] == 10


def test_a_label_corrected_in_time_counts_as_corrected(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    asked = arena.ask(2, START)
    arena.label(asked)
    flipped = [(a.at + 20 * MINUTE, a.id, "no" if a.truth else "yes") for a in asked]
    arena.tell(flipped[:1], correct=True)
    arena.tell([(asked[1].at + HORIZON + SECOND, *flipped[1][1:])], correct=True)
    arena.settle(LATER)
    x = asked_x(arena)
    truths = [not asked[0].truth, asked[1].truth]
    expected = [brier(0.0, x[a.id], t) - brier(1.0, x[a.id], t) for a, t in zip(asked, truths, strict=True)]
    assert arena.differences(bout) == pytest.approx(expected, abs=1e-6)


def test_nothing_enters_before_its_time_is_over_though_its_label_is_there(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(10, START))
    arena.settle(START + HORIZON - SECOND)
    assert len(arena.differences(bout)) == 0
    arena.settle(START + HORIZON + 45 * SECOND)
    assert len(arena.differences(bout)) == 5


def test_a_request_that_the_shadow_has_not_scored_holds_all_later_ones_back(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(10, START))
    arena.shadow(bout)
    arena.label(arena.ask(5, START + 10 * MINUTE))  # not scored yet
    examined = examine(arena.record, current(arena, bout), LATER)
    assert (examined.look.pairs, examined.look.pending) == (10, 5)
    assert examined.matured_until == START + 10 * MINUTE - timedelta(microseconds=1)
    assert examined.look.lag_seconds == (LATER - START - 10 * MINUTE).total_seconds()
    arena.settle(LATER)
    assert (arena.look(bout)["pairs"], arena.look(bout)["pending"], arena.look(bout)["lag_seconds"]) == (15, 0, 0)


def test_many_requests_of_one_moment_enter_together_whatever_the_page(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.bouts.look.PAGE_ROWS", 7)
    bout = arena.challenge(1.0, START)
    arena.label(
        arena.ask(5, START) + arena.ask(40, START + MINUTE, every=timedelta(0)) + arena.ask(9, START + 2 * MINUTE)
    )
    arena.settle(LATER)
    seqs, _ = arena.record.bouts.pairs(bout.bout)
    assert seqs.tolist() == list(range(1, 55))


def test_only_requests_behind_what_the_challenger_s_run_has_read_are_evidence(arena: Arena) -> None:
    arena.label(arena.ask(50, START))
    arena.register(logistic(1.0), read_until=30)
    (bout,) = arena.open(START + HORIZON)
    assert bout.after_seq == 30
    arena.settle(LATER)
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(31, 51))


def test_every_request_behind_the_start_is_scored_failed_sampled_out_or_pending(tmp_path: Path) -> None:
    arena = built(tmp_path, sampling=0.5)
    arena.ask(20, START)
    bout = arena.challenge(1.0, START, undefined_above=1.0)
    arena.label(arena.ask(300, START + HORIZON))
    arena.shadow(bout)
    arena.ask(17, START + 2 * HORIZON)
    look = examine(arena.record, current(arena, bout), LATER).look
    assert look.pending == 17
    assert look.scored + look.failed + look.sampled_out + look.pending == 317
    assert 0.4 < look.sampled_out / 300 < 0.6
    assert look.matured == look.scored + look.failed  # what was sampled out is in no denominator
    assert look.failed > 0


def test_a_challenger_s_failure_is_its_worst_loss_and_failing_often_ends_the_bout(arena: Arena) -> None:
    bout = arena.challenge(1.0, START, undefined_above=1.0)
    asked = arena.ask(100, START)
    arena.label(asked)
    x = asked_x(arena)
    assert [decision.outcome for decision in arena.settle(LATER)] == ["reject"]
    for difference, a in zip(arena.differences(bout), asked, strict=True):
        if x[a.id] > 1:
            assert difference == pytest.approx(brier(0.0, x[a.id], a.truth) - 1, abs=1e-6)
    reason = arena.record.registry.version("v2").standing_reason
    assert reason is not None
    assert "guardrail failure" in reason


def test_a_challenger_too_slow_for_the_service_is_rejected_without_a_single_label(tmp_path: Path) -> None:
    arena = built(tmp_path, latency_limit_ms=0.0001)
    arena.challenge(1.0, START)
    arena.ask(20, START)
    (decision,) = arena.settle(START + MINUTE)
    assert (decision.outcome, decision.reasons) == ("reject", ("guardrail latency: 20 of 20 requests went wrong",))


def test_low_coverage_holds_a_winner_back(arena: Arena) -> None:
    arena.challenge(1.0, START)
    arena.label(arena.ask(600, START)[::2])
    (decision,) = arena.settle(LATER)
    assert (decision.outcome, len(decision.reasons)) == ("wait", 1)
    assert "50.0% of mature requests are labelled" in decision.reasons[0]


def test_a_champion_that_moves_voids_the_bouts_against_it(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    arena.register(logistic(0.5))
    (other,) = arena.open(START)
    arena.label(arena.ask(400, START))
    arena.record.registry.promote("v3", actor="ada", reason="I know better")
    assert arena.settle(LATER) == []
    assert current(arena, bout).state == "voided"
    assert (current(arena, other).state, current(arena, other).outcome) == ("decided", "promoted")
    assert arena.record.registry.roles().champion == "v3"
    probation, *challenges = arena.open(LATER)
    assert (probation.kind, probation.champion, probation.challenger) == ("probation", "v3", "v1")
    assert challenges == []  # v2 is older than v3


def test_a_newer_challenger_meets_the_new_champion_anew_and_alpha_starts_afresh(arena: Arena) -> None:
    arena.register(logistic(0.5))
    arena.register(logistic(1.0))
    first = arena.open(START)
    assert [(bout.challenger, bout.design["family_rank"]) for bout in first] == [("v3", 1), ("v2", 2)]
    arena.record.registry.promote("v2", actor="ada", reason="first")
    arena.settle(LATER)
    probation, again = arena.open(LATER)
    assert (again.challenger, again.champion, again.design["family_rank"]) == ("v3", "v2", 1)
    assert probation.design["alpha"] == 0.05


def test_the_family_s_bouts_share_alpha_within_the_window(arena: Arena) -> None:
    opened = [arena.challenge(0.0, START + day * timedelta(days=40)) for day in range(3)]
    assert [bout.design["family_rank"] for bout in opened] == [1, 2, 3]
    spent: list[tuple[datetime, float]] = []
    for bout in opened:
        assert bout.design["alpha"] == spent_alpha(spent, bout.opened_at, timedelta(days=90), 0.05)
        spent.append((bout.opened_at, bout.design["alpha"]))
    assert sum(alpha for _, alpha in spent) <= 0.05
    arena.settle(START + timedelta(days=120))
    late = arena.challenge(0.0, START + timedelta(days=131))
    assert late.design["family_rank"] == 2  # of the window's: those of day 80, and itself


def test_a_move_and_back_neither_resets_the_family_nor_replays_pairs_at_a_better_rank(arena: Arena) -> None:
    for _ in range(3):
        arena.challenge(0.0, START)
    before = {bout.challenger: bout.design["alpha"] for bout in arena.record.bouts.opened()}
    newest = arena.register(logistic(0.5))
    arena.record.registry.promote(newest.version, actor="ada", reason="a hunch")
    arena.settle(START + HORIZON)
    arena.record.registry.rollback(actor="ada", reason="a mistake")
    again = {bout.challenger: bout.design["alpha"] for bout in arena.open(START + 2 * HORIZON)}
    assert again
    assert all(again[version] <= before[version] for version in again)
    assert sum(before.values()) <= 0.05


def test_no_more_bouts_are_open_than_there_may_be_and_the_newest_go_first(tmp_path: Path) -> None:
    arena = built(tmp_path, max_challengers=2)
    for _ in range(4):
        arena.register(logistic(0.0))
    assert [bout.challenger for bout in arena.open(START)] == ["v5", "v4"]
    assert arena.open(START) == []
    arena.record.registry.reject("v4", actor="ada", reason="no")
    assert [bout.challenger for bout in arena.open(START)] == ["v3"]


def test_a_new_champion_that_does_harm_is_rolled_back_and_barred(arena: Arena) -> None:
    arena.register(logistic(-1.0))
    arena.record.registry.promote("v2", actor="ada", reason="a hunch")
    (probation,) = arena.open(START)
    arena.label(arena.ask(200, START))
    assert [decision.outcome for decision in arena.settle(LATER)] == ["roll_back"]
    roles = arena.record.registry.roles()
    assert (roles.champion, roles.previous) == ("v1", None)
    assert current(arena, probation).outcome == "rolled_back"
    assert arena.record.registry.version("v2").standing == "rolled_back"
    assert arena.open(LATER) == []  # neither a bout for the barred, nor a probation for the restored
    with pytest.raises(RoleConflict):
        arena.record.registry.promote("v2", actor="ada", reason="again")


def test_nobody_is_promoted_while_a_probation_runs_and_somebody_is_when_it_has_passed(arena: Arena) -> None:
    arena.register(logistic(0.1))
    arena.record.registry.promote("v2", actor="ada", reason="a start")
    arena.register(logistic(1.0))
    probation, challenge = arena.open(START)
    arena.label(arena.ask(300, START))
    assert [decision.outcome for decision in arena.settle(LATER)] == ["wait", "wait"]
    assert arena.look(challenge)["e_max"] > arena.look(challenge)["needed"]
    assert arena.look(challenge)["reasons"][-1] == "the champion is still on probation"
    arena.label(arena.ask(220, LATER))
    assert [decision.outcome for decision in arena.settle(LATER + timedelta(hours=3))] == ["passed", "promote"]
    assert current(arena, probation).outcome == "passed"
    assert arena.record.registry.roles().champion == "v3"


def test_of_two_winners_the_stronger_is_promoted_and_the_other_is_void(arena: Arena) -> None:
    arena.register(logistic(0.1))
    arena.register(logistic(1.0))
    stronger, weaker = arena.open(START)
    arena.label(arena.ask(600, START, every=SECOND))
    arena.settle(LATER)
    assert arena.record.registry.roles().champion == "v3"
    assert current(arena, stronger).outcome == "promoted"
    assert current(arena, weaker).state == "voided"


def test_with_approval_a_person_has_the_last_word_and_is_asked_once(tmp_path: Path) -> None:
    arena = built(tmp_path, mode="approve")
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    for hour in (6, 7, 8):
        (decision,) = arena.settle(START + timedelta(hours=hour))
        assert decision.outcome == "awaiting_approval"
    assert current(arena, bout).state == "open"
    (asked,) = arena.record.events.page(kind="bout_decided")[0]
    assert asked.data["outcome"] == "awaiting_approval"
    arena.record.registry.promote("v2", actor="ada", reason="convinced")
    arena.settle(START + timedelta(hours=9))
    assert (current(arena, bout).state, current(arena, bout).outcome) == ("decided", "promoted")


def test_damaged_files_are_not_promoted(arena: Arena) -> None:
    arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    for bout in arena.record.bouts.opened():
        arena.shadow(bout)
    model = arena.record.registry.directory("v2") / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    arena.shadow = lambda bout: None  # type: ignore[method-assign]
    (decision,) = arena.settle(LATER)
    assert decision.reasons == ("the challenger's files are not what was registered",)
    assert arena.record.registry.roles().champion == "v1"


def test_a_design_that_was_changed_ends_the_bout(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    with arena.record.database.write() as connection:
        connection.execute(sa.update(bouts_table).values(design={**bout.design, "alpha": 0.9}))
    assert arena.settle(LATER) == []
    assert current(arena, bout).state == "voided"


def test_whoever_lost_the_lease_changes_nothing(arena: Arena) -> None:
    fence = arena.record.leases.acquire("watcher", "this", timedelta(seconds=30))
    assert fence is not None
    stale = Fence(fence.name, fence.token - 1)
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    arena.shadow(bout)
    with pytest.raises(StaleLease):
        settle_bouts(arena.record, arena.settings, stale, LATER)
    assert len(arena.differences(bout)) == 0
    assert arena.record.registry.roles().champion == "v1"
    assert [d.outcome for d in settle_bouts(arena.record, arena.settings, fence, LATER)] == ["promote"]


# One process that has imported everything, and forks one to be killed at step 1, 2, 3 … until one is not.
KILLED_AT_EACH_STEP = """
import os, sys
from datetime import datetime
from pathlib import Path
from monitoring.bout import settle_bouts
from record.record import open_record
from record.settings import load_settings
for step, folder in enumerate(sys.argv[2:], start=1):
    if (pid := os.fork()) == 0:
        os.environ["RINGSIDE_FAIL_AT"] = str(step)
        settings = load_settings(Path(folder) / "ringside.toml")
        settle_bouts(open_record(settings), settings, None, datetime.fromisoformat(sys.argv[1]))
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        print(step)
        break
"""


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_killed_at_any_step_a_settlement_is_finished_by_the_next(tmp_path: Path, slope: float) -> None:
    """Each time the record is whole afterwards, and the decision the same."""
    folder = tmp_path / "start"
    folder.mkdir()
    arena = built(folder)
    bout = arena.challenge(slope, START)
    arena.label(arena.ask(400, START))
    arena.shadow(bout)
    arena.record.close()
    folders = [shutil.copytree(folder, tmp_path / f"step{step}") for step in range(1, 20)]
    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, LATER.isoformat(), *map(str, folders)]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    clean = int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert clean > 4
    outcomes = set()
    for crashed in folders[:clean]:
        again = Arena.reopen(crashed)
        settle_bouts(again.record, again.settings, None, LATER)
        roles, ended = again.record.registry.roles(), current(again, bout)
        kinds = tuple(kind for kind in again.kinds() if kind in ("bout_decided", "model_promoted", "model_rejected"))
        outcomes.add((roles.champion, roles.generation, ended.outcome, kinds, again.differences(bout).tobytes()))
        assert again.record.events.verify().valid
        again.record.close()
    assert len(outcomes) == 1


def test_the_gauges_show_the_leading_challenge_and_nothing_once_there_is_none(arena: Arena) -> None:
    arena.register(logistic(0.0))
    arena.register(logistic(0.5))
    arena.open(START)
    arena.label(arena.ask(60, START))
    arena.settle(LATER)
    shown = {(s.name, s.labels.get("bound")): s.value for s in arena.record.samples.all()}
    leading = arena.look(arena.record.bouts.opened()[0])
    assert shown["ringside_shadow_evidence", None] == leading["e_value"]
    assert shown["ringside_shadow_pairs", None] == 60
    assert shown["ringside_shadow_lead", "high"] == leading["lead"]["high"]
    assert shown["ringside_shadow_lag_seconds", None] == 0
    for version in ("v2", "v3"):
        arena.record.registry.reject(version, actor="ada", reason="over")
    arena.settle(LATER)
    assert [s.name for s in arena.record.samples.all()] == ["ringside_shadow_failures_total"]


def test_delay_that_depends_on_the_outcome_crowns_nobody_through_the_real_join(arena: Arena) -> None:
    """The challenger leans to no and loses as much by it as it gains; yeses are labelled an hour later than noes."""
    arena.register(logistic(0.0))
    (bout,) = arena.open(START)
    truths = np.random.default_rng(11).random(400) < 0.45
    asked = [replace(a, truth=bool(truth)) for a, truth in zip(arena.ask(400, START), truths, strict=True)]
    lean_to_no(arena, bout, len(asked))
    arena.label([a for a in asked if not a.truth], after=MINUTE)
    arena.label([a for a in asked if a.truth], after=HORIZON)
    for minute in range(0, 180, 5):
        settle_bouts(arena.record, arena.settings, None, START + minute * MINUTE)
    seqs, differences = arena.record.bouts.pairs(bout.bout)
    assert seqs.tolist() == list(range(1, 401))
    assert arena.look(bout)["e_max"] < arena.look(bout)["needed"]
    as_they_came = sorted(range(400), key=lambda place: asked[place].at + (HORIZON if truths[place] else MINUTE))
    assert e_values(differences[as_they_came]).max() > 1000  # what arrival order makes of the very same pairs


def lean_to_no(arena: Arena, bout: Bout, count: int) -> None:
    """Writes what a shadow would have. (.5 − y)² − (.4 − y)² is .09 for a no, −.11 for a yes: even at 45 % yeses."""
    _, cursor = arena.record.log.tail(bout.cursor, count)
    said = json.dumps({"no": 0.6, "yes": 0.4})
    scores = [ShadowScore(seq, "scored", '"no"', said, 100) for seq in range(1, count + 1)]
    arena.record.bouts.record_scores(bout.bout, scores, cursor)


def test_the_record_takes_no_pair_that_a_model_may_have_learned_from(arena: Arena) -> None:
    arena.label(arena.ask(50, START))
    arena.register(logistic(1.0), read_until=30)
    (bout,) = arena.open(START + HORIZON)
    for seq in (1, 30):
        with pytest.raises(ValueError, match="may have read it"):
            arena.record.bouts.enter_pairs(bout.bout, [(seq, 0.5)], LATER, {})
    arena.record.bouts.enter_pairs(bout.bout, [(31, 0.5)], LATER, {})


def test_evidence_is_later_than_every_row_that_a_model_knew_by_time_too(arena: Arena) -> None:
    """A source that was refreshed knows requests that the log had not matured."""
    arena.label(arena.ask(50, START))
    known_until = START + 25 * 10 * SECOND
    arena.register(logistic(1.0), read_until=5, data_until=known_until)
    (bout,) = arena.open(START + HORIZON)
    assert bout.after_seq == 26  # the request of that very moment included
    arena.settle(LATER)
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(27, 51))
    early = EnteredPair(40, 0.1, to_micros(known_until))
    with pytest.raises(ValueError, match="may have read it"):
        arena.record.bouts.enter_pairs(bout.bout, [early], LATER, {})


def outcome_dependent(arena: Arena, kept: float) -> str:
    """What becomes of an equal challenger (it leans to yes as far as the champion to no) if noes are labelled less."""
    bout = arena.challenge(1.0, START, shift=0.4)
    asked = arena.ask(1500, START, every=8 * MINUTE)
    rng = np.random.default_rng(3)
    arena.label([a for a in asked if a.truth or rng.random() < kept])
    for day in range(1, 10):
        for decision in arena.settle(START + timedelta(days=day)):
            if decision.outcome != "wait":
                return decision.outcome
    return "; ".join(arena.look(bout)["reasons"])


def test_labels_missing_by_outcome_hold_the_promotion_and_the_reason_says_why(tmp_path: Path) -> None:
    arena = Arena.build(tmp_path, deadline="300d")
    arena.register(logistic(1.0, shift=-0.4), middle=0.4)
    outcome = outcome_dependent(arena, 0.7)
    assert "labels are missing more often beside some answers than beside others" in outcome
    assert "the lead" in outcome
    look = arena.look(arena.record.bouts.opened()[0])
    assert look["e_value"] > look["needed"]
    assert look["sensitivity"]


def test_an_entity_counts_once_and_without_its_column_a_warning_names_what_to_set(tmp_path: Path) -> None:
    looks = {}
    for name, toml in (("with", 'entity_column = "who"'), ("without", "")):
        (tmp_path / name).mkdir()
        arena = Arena.build(tmp_path / name, toml=TOML.replace('target = "late"', f'target = "late"\n{toml}'))
        arena.register(logistic(0.0))
        bout = arena.challenge(0.02, START)
        asked = arena.ask(400, START, whos=[f"customer {n % 40}" for n in range(400)])
        arena.label(asked)
        arena.settle(START + HORIZON + 30 * MINUTE)
        arena.settle(LATER)
        assert len(arena.differences(bout)) == 400  # all of them are kept
        looks[name] = arena.look(bout)
    assert (looks["with"]["pairs"], looks["without"]["pairs"]) == (40, 400)
    assert looks["with"]["warnings"] == []
    assert looks["with"]["matured"] == 400


def test_requests_that_come_again_without_an_entity_column_warn(arena: Arena) -> None:
    bout = arena.challenge(0.3, START)
    values = np.repeat(np.random.default_rng(2).normal(0, 2, 60), 5)
    arena.label(arena.ask(300, START, values=values))
    arena.settle(LATER)
    (warning,) = arena.look(bout)["warnings"]
    assert warning.startswith("the same record comes 5.0 times on average")
    assert "problem.entity_column" in warning


def test_an_open_bout_of_an_older_record_goes_on(arena: Arena) -> None:
    """Its pairs have no time, its design none of the newer fields, and its evidence no sums."""
    bout = arena.challenge(0.02, START)
    asked = arena.ask(400, START)
    arena.label(asked)
    arena.settle(START + HORIZON + 30 * MINUTE)
    newer = {f.name for f in fields(Design) if f.default is not MISSING}
    older = {name: value for name, value in bout.design.items() if name not in newer}
    sealed = design_hash(older, bout.bout, bout.challenger, bout.champion)
    with arena.record.database.write() as connection:
        connection.execute(sa.update(bouts_table).values(design=older, design_hash=sealed, evidence=None))
        connection.execute(sa.text("UPDATE pairs SET requested_at = NULL, bound = NULL, counts = NULL"))
    before = len(arena.differences(bout))
    arena.settle(LATER)
    look = arena.look(bout)
    assert (before, look["pairs"]) == (181, 400)
    assert look["design_effect"] == 1.0
    assert current(arena, bout).state in ("open", "decided")


def test_the_evidence_goes_on_from_its_sums_as_if_all_pairs_were_read_anew(arena: Arena) -> None:
    bout = arena.challenge(0.02, START)
    arena.label(arena.ask(400, START))
    for minutes in (70, 80, 95):
        arena.settle(START + minutes * MINUTE)
    held = current(arena, bout)
    design = Design.from_json(held.design)
    again = replay(arena.record, held, design)
    assert held.evidence is not None
    kept = EvidenceState.from_json(held.evidence["pairs"])
    for name in ("gain", "harm", "days", "runs", "total", "squares", "peak", "harm_peak"):
        one, other = getattr(again, name), getattr(kept, name)
        assert (one.to_json() if hasattr(one, "to_json") else one) == (
            other.to_json() if hasattr(other, "to_json") else other
        )


def test_harm_is_judged_against_what_the_margin_allows(tmp_path: Path) -> None:
    """A little worse than the champion, and allowed to be."""
    outcomes = []
    for margin in (0.0, 0.2):
        folder = tmp_path / str(margin)
        folder.mkdir()
        arena = built(folder, margin=margin)
        arena.challenge(-0.5, START)
        arena.label(arena.ask(600, START))
        outcomes += [decision.outcome for decision in arena.settle(LATER)]
    assert outcomes[0] == "reject"
    assert outcomes[1] != "reject"


def test_settings_by_which_no_bout_could_ever_be_judged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"promotion\.deadline: not longer than quality\.label_horizon"):
        Arena.build(tmp_path, deadline="30m")


def test_before_a_bout_opens_it_is_said_what_a_gain_will_take(arena: Arena) -> None:
    arena.label(arena.ask(300, START, every=4 * MINUTE))
    bout = arena.challenge(1.0, START + timedelta(days=2))
    (event,) = arena.record.events.page(kind="bout_opened")[0]
    told = event.data["design"]["forecasts"]
    assert [forecast["relative"] for forecast in told] == [0.02, 0.05, 0.1, 0.2]
    assert told == bout.design["forecasts"]
    assert all(forecast["days"] * 360 == pytest.approx(forecast["labels"], rel=0.1) for forecast in told)


def test_requests_of_a_broken_feed_are_no_evidence(arena: Arena) -> None:
    """Between two faults' ends only: the requests before and after them stay pairs."""
    bout = arena.challenge(1.0, START)
    asked = arena.ask(30, START)
    arena.label(asked)
    since, until = asked[10].at, asked[19].at
    arena.record.events.append(FeedBroken("unit_slip", "x", "every", since, 1.0, 86_400.0), actor="watcher", at=until)
    arena.record.events.append(FeedMended("unit_slip", "x", until), actor="watcher", at=until)
    arena.settle(LATER)
    assert len(arena.differences(bout)) == 20
