"""A look at a bout: which requests form pairs, in which order, and what the evidence of them is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring.bouts import look
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import EvidenceState, MaturedPairs, Reading
from monitoring.bouts.family import FamilyShare
from monitoring.bouts.look import examine
from record.configuration.loop_sections import PromotionSettings
from record.logged import Batch, LogEntry
from tests.monitoring.arena import HORIZON, START, Arena, Asked, logistic

LATER = START + timedelta(hours=6)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """A champion that knows nothing (slope 0); the truth has slope 1."""
    arena = Arena.build(tmp_path)
    arena.register(logistic(0.0))
    yield arena
    arena.record.close()


def change(arena: Arena, statement: str, **values: object) -> None:
    with arena.record.database.write() as connection:
        connection.execute(sa.text(statement), values)


@pytest.mark.parametrize("place", [1, 5, 10])
@pytest.mark.parametrize("page", [3, 5000])
def test_a_request_that_is_not_scored_holds_back_those_behind_it_wherever_it_stands(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, place: int, page: int
) -> None:
    """First, in the middle of a page or last: pairs enter in the requests' order, each once."""
    monkeypatch.setattr(look, "PAGE_ROWS", page)
    bout = arena.challenge(1.0, START)
    asked = arena.ask(10, START)
    arena.label(asked)
    arena.shadow(bout)
    change(arena, "UPDATE shadow_scores SET seq = -seq WHERE seq = :seq", seq=place)
    found = examine(arena.record, arena.record.bouts.get(bout.bout), LATER)
    assert [pair.seq for pair in found.entered] == list(range(1, place))
    assert found.matured_until == asked[place - 1].at - timedelta(microseconds=1)
    arena.settle(LATER)
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(1, place))
    change(arena, "UPDATE shadow_scores SET seq = -seq WHERE seq < 0")
    arena.settle(LATER + MINUTE)
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(1, 11))


@pytest.mark.parametrize("version", ["v2", "v0"])
def test_requests_that_another_version_answered_are_no_evidence(arena: Arena, version: str) -> None:
    """A worker that lags behind a promotion answers with another model: its losses are not the champion's."""
    bout = arena.challenge(1.0, START)
    entries = [
        LogEntry(f"other-{n}", b"d", json.dumps({"x": 3.0}), '"no"', json.dumps({"no": 0.99, "yes": 0.01}))
        for n in range(20)
    ]
    batches = [Batch([entry], version, START + n * MINUTE, client_ids=True) for n, entry in enumerate(entries)]
    arena.record.log.append(batches)
    own = arena.ask(10, START + 5 * MINUTE)
    arena.label(own)
    arena.label([Asked(entry.id, START + n * MINUTE, True) for n, entry in enumerate(entries)])
    arena.settle(LATER)
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(21, 31))
    assert arena.look(bout)["matured"] == 10


def test_a_look_goes_on_where_the_last_one_read_as_much_as_it_may(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that it is behind, until it is not."""
    monkeypatch.setattr(look, "PAGE_ROWS", 10)
    monkeypatch.setattr(look, "MOST_ROWS", 20)
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(45, START))
    arena.shadow(bout)
    first = examine(arena.record, arena.record.bouts.get(bout.bout), LATER)
    assert first.look.behind
    assert 20 <= first.look.pairs < 45
    for _ in range(3):
        arena.settle(LATER)
    assert not examine(arena.record, arena.record.bouts.get(bout.bout), LATER).look.behind
    assert arena.record.bouts.pairs(bout.bout)[0].tolist() == list(range(1, 46))


PROMOTION = PromotionSettings(margin=0.1, min_duration=timedelta(days=7), deadline=timedelta(days=30))


def design(kind: str, margin: float) -> Design:
    if kind == "probation":
        held = Design.of_probation(PROMOTION, loss="brier", loss_scale=1.0, horizon=HORIZON)
    else:
        held = Design.of_challenge(
            PROMOTION, share=FamilyShare(1, 0.0275), loss="brier", loss_scale=1.0, horizon=HORIZON
        )
    return replace(held, margin=margin)


def reading(held: Design, *lead: float, pairs: int = 2000) -> Reading:
    """Of so many pairs of each mean difference, one after the other; independent, and spread over many days."""
    rng = np.random.default_rng(5)
    differences = np.concatenate([mean + rng.choice([-0.1, 0.1], pairs) for mean in lead])
    micros = np.arange(len(differences)) * 3_600_000_000
    state, rows = EvidenceState.start(held), MaturedPairs.independent(micros, differences)
    for place in range(0, len(rows), pairs):  # as one look after the other reads them
        state.add(rows.rows(place, place + pairs))
    state.close_cycles(int(micros[-1]))
    return state.read(held.alpha, held.needed)


@pytest.mark.parametrize(
    ("margin", "worse", "sent_back"), [(0.0, 0.05, True), (0.1, 0.05, False), (0.1, 0.2, True), (0.1, 0.1, False)]
)
def test_a_probation_allows_what_the_margin_allowed(margin: float, worse: float, sent_back: bool) -> None:
    """A new champion is not sent back for what it was promoted with."""
    held = design("probation", margin)
    assert (reading(held, worse).e_value >= held.needed) is sent_back


@pytest.mark.parametrize(
    ("margin", "worse", "harmful"), [(0.0, 0.05, True), (0.1, 0.05, False), (0.1, 0.2, True), (0.1, 0.1, False)]
)
def test_a_challenger_does_harm_beyond_the_margin_only(margin: float, worse: float, harmful: bool) -> None:
    held = design("challenge", margin)
    assert (reading(held, -worse).e_harm >= held.needed_for_harm) is harmful


@pytest.mark.parametrize(("margin", "worse", "wins"), [(0.0, 0.05, False), (0.1, 0.05, True), (0.1, 0.1, False)])
def test_a_challenger_wins_within_the_margin(margin: float, worse: float, wins: bool) -> None:
    held = design("challenge", margin)
    assert (reading(held, -worse).e_value >= held.needed) is wins


def test_the_highest_evidence_stays_shown_and_that_of_now_decides() -> None:
    """What has crossed is not taken back by later rows where it is shown; but the evidence of now is what it is."""
    held = design("challenge", 0.0)
    crossed, fallen = reading(held, 0.1), reading(held, 0.1, -0.2)
    assert crossed.e_value >= held.needed
    assert fallen.e_max >= crossed.e_value
    assert fallen.e_value < held.needed
    harmed, mended = reading(held, -0.1), reading(held, -0.1, 0.2)
    assert harmed.e_harm >= held.needed_for_harm
    assert mended.e_harm_max >= harmed.e_harm
    assert mended.e_harm < held.needed_for_harm
    # Nor by looks that read nothing of the highest any more.
    assert reading(held, 0.1, -0.2, -0.2).e_max >= crossed.e_value
    assert reading(held, -0.1, 0.2, 0.2).e_harm_max >= harmed.e_harm


def test_a_look_says_what_the_evidence_says_under_the_same_name(arena: Arena) -> None:
    """Worse at first and then better, so that no value is the highest that it has had."""
    bout = arena.challenge(1.0, START)
    asked = arena.ask(200, START)
    arena.label([replace(one, truth=one.truth is (n >= 100)) for n, one in enumerate(asked)])
    arena.shadow(bout)
    bout = arena.record.bouts.get(bout.bout)
    found = examine(arena.record, bout, LATER)
    held = Design.from_json(bout.design)
    said = EvidenceState.from_json(found.state["pairs"]).read(held.alpha, held.needed)
    assert said.e_harm != said.e_harm_max
    both = {f.name for f in fields(Reading)} & {f.name for f in fields(found.look)}
    assert {"pairs", "e_value", "e_max", "e_harm", "e_harm_max", "lead", "whole_lead"} <= both
    assert {name: getattr(found.look, name) for name in both} == {name: getattr(said, name) for name in both}


def test_a_challenger_that_answers_as_the_champion_comes_to_no_end() -> None:
    """All differences 0, without a margin: no growth to go by, and no division by it."""
    held = design("challenge", 0.0)
    state = EvidenceState.start(held).add(MaturedPairs.independent(np.arange(50) * 10**9, np.zeros(50)))
    found = state.read(held.alpha, held.needed)
    assert (found.e_value, found.e_harm, found.lead.mean) == (1.0, 1.0, 0.0)
    assert found.growth <= 0
