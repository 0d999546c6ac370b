"""Label-free guardrails: what is counted, and what the counts say."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

from monitoring.bouts import guardrails
from monitoring.bouts.guardrails import GuardrailRun
from monitoring.evidence import rate_e_values

RATE, NEEDED = 0.05, 20.0
Bools = NDArray[np.bool_]


def run_of(*parts: Bools) -> GuardrailRun:
    run = GuardrailRun()
    for part in parts:
        run.add(part, RATE)
    return run


def test_what_was_cleared_first_and_fails_afterwards_has_failed() -> None:
    """A challenger that goes bad is not promoted on what it was before; and what has failed once is never cleared."""
    good, bad = np.zeros(600, bool), np.ones(60, bool)
    assert run_of(good).guardrail(NEEDED).state == "cleared"
    turned = run_of(good, bad).guardrail(NEEDED)
    assert turned.state == "failed"
    assert turned.cleared_e_value >= NEEDED
    assert run_of(good, bad, np.zeros(100_000, bool)).guardrail(NEEDED).state == "failed"
    assert run_of(bad, np.zeros(100_000, bool)).guardrail(NEEDED).state == "failed"


def test_nothing_is_said_of_few_requests() -> None:
    assert run_of().guardrail(NEEDED).state == "open"
    assert run_of(np.zeros(20, bool)).guardrail(NEEDED).state == "open"
    assert run_of(np.arange(1000) % 20 == 0).guardrail(NEEDED).state == "open", "it fails just as often as it may"


@pytest.mark.parametrize("direction", ["cleared", "failed"])
def test_evidence_that_is_exactly_enough_is_enough(direction: Literal["cleared", "failed"]) -> None:
    wrong = np.full(100, direction == "failed")
    run = run_of(wrong)
    evidence = getattr(run.guardrail(NEEDED), "cleared_e_value" if direction == "cleared" else "failed_e_value")
    assert run.guardrail(evidence).state == direction
    assert run.guardrail(np.nextafter(evidence, np.inf)).state == "open"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 1.0])
def test_the_evidence_is_the_highest_that_the_bets_ever_had(share: float) -> None:
    """As `rate_e_values` gives it, request by request; and in whatever parts they came."""
    wrong = np.random.default_rng(7).random(3000) < share
    whole = run_of(wrong)
    told = whole.guardrail(NEEDED)
    assert told.cleared_e_value == pytest.approx(max(1.0, rate_e_values(wrong, RATE, "cleared").max()), rel=1e-9)
    assert told.failed_e_value == pytest.approx(max(1.0, rate_e_values(wrong, RATE, "failed").max()), rel=1e-9)
    assert (told.requests, told.wrong) == (3000, int(wrong.sum()))
    parts = run_of(wrong[:1], wrong[1:700], wrong[700:700], wrong[700:])
    assert parts.guardrail(NEEDED) == told
    again = GuardrailRun.from_json(run_of(wrong[:700]).to_json())
    again.add(wrong[700:], RATE)
    assert again == whole


def test_more_requests_than_are_counted_at_once_are_counted_all(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = np.random.default_rng(8).random(1000) < 0.1
    whole = run_of(wrong)
    for size in (1, 7, 999, 1000, 1001):
        monkeypatch.setattr(guardrails, "CHUNK_ROWS", size)
        assert run_of(wrong) == whole


def test_the_evidence_is_a_mixture_of_likelihood_ratios() -> None:
    """Against an independent reckoning: of n requests, k wrong, under each rate that the bets stand for."""
    n, k = 50, 9
    wrong = np.zeros(n, bool)
    wrong[:k] = True
    bets = np.geomspace(0.005, 0.9, 20)
    rates = RATE * (1 + bets * (1 - RATE) / RATE)
    ratios = [
        m * np.log(rates / RATE) + (t - m) * np.log((1 - rates) / (1 - RATE))
        for t, m in ((t, int(wrong[:t].sum())) for t in range(1, n + 1))
    ]
    highest = max(logsumexp(each) - np.log(20) for each in ratios)
    assert np.log(run_of(wrong).guardrail(NEEDED).failed_e_value) == pytest.approx(highest, rel=1e-9)
