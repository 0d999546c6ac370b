"""The state of a bout's evidence: exact however it is read, valid where pairs depend on each other, never unbounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.bouts.answer_scores import AnswerScores
from monitoring.bouts.bets import BETS, RELATIVE_BETS, BeginningSums, BetSums, RelativeBetSums, log_weights, scale
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import EvidenceState, MaturedPairs, Reading
from monitoring.bouts.family import FamilyShare
from record.configuration.loop_sections import PromotionSettings
from record.dependence import DAY_MICROS, Floats

ALPHA, NEEDED = 0.05, 20.0
HORIZON = timedelta(hours=1)
SETTINGS = PromotionSettings()
CHALLENGE = Design.of_challenge(
    SETTINGS, share=FamilyShare(1, ALPHA), loss="brier", loss_scale=1.0, horizon=HORIZON,
    answers=AnswerScores(("yes",)),
)  # fmt: skip
PROBATION = Design.of_probation(SETTINGS, loss="brier", loss_scale=1.0, horizon=HORIZON)
DAY = replace(CHALLENGE, cycle_seconds=86_400.0)
WEEK = replace(CHALLENGE, cycle_seconds=7 * 86_400.0)


def test_what_a_later_release_kept_beside_is_passed_over() -> None:
    held = EvidenceState.start(CHALLENGE).to_json()
    assert EvidenceState.from_json({**held, "later": 1}).to_json() == held


def accuracy(rng: np.random.Generator, lead: Floats | float, count: int) -> Floats:
    """Differences of 0-1 losses: the models disagree on a tenth of requests."""
    drawn = rng.random(count)
    return np.where(drawn < 0.05 + np.asarray(lead) / 2, 1.0, np.where(drawn < 0.1, -1.0, 0.0))


def a_day(count: int, a_day: int) -> np.ndarray:
    return np.asarray(np.arange(count) * (DAY_MICROS // a_day), np.int64)


def run(
    differences: Floats, rate: int, design: Design = CHALLENGE, step: int = 200, pairs: MaturedPairs | None = None
) -> tuple[int | None, Reading]:
    """When the evidence stood first, looked at after every `step` requests, and the last reading."""
    given_pairs = pairs or MaturedPairs.independent(a_day(len(differences), rate), differences)
    state = EvidenceState.start(design)
    for place in range(0, len(given_pairs), step):
        state.add(given_pairs.rows(place, place + step))
        state.close_cycles(int(given_pairs.micros[min(place + step, len(given_pairs)) - 1]) + DAY_MICROS // rate)
        reading = state.read(ALPHA, NEEDED)
        if reading.pairs >= 200 and reading.e_value >= NEEDED and min(reading.lead.mean, reading.whole_lead) > 0:
            return place + step, reading
    return None, reading


def crowned(draw: Callable[[], Floats], runs: int, rate: int, design: Design = CHALLENGE) -> int:
    return sum(run(draw(), rate, design, max(200, rate))[0] is not None for _ in range(runs))


@st.composite
def streams(draw: st.DrawFn) -> MaturedPairs:
    count = draw(st.integers(1, 1500))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return MaturedPairs(
        micros=np.sort(rng.integers(0, 40 * DAY_MICROS, count)),
        labelled=rng.random(count) < 0.8,
        difference=rng.uniform(-0.3, 0.3, count),
        bound=rng.uniform(0.3, 0.4, count),
        worst=-rng.uniform(0.3, 0.4, count),
        counts=rng.random(count) < 0.7,
        scores=rng.uniform(-1, 1, (count, 3)),
    )


@settings(max_examples=40, deadline=None)
@given(streams(), st.lists(st.integers(0, 1500), max_size=6), st.sampled_from([CHALLENGE, DAY, WEEK, PROBATION]))
def test_the_state_is_the_same_to_the_last_bit_in_whatever_parts_it_was_read(
    matured: MaturedPairs, cuts: list[int], design: Design
) -> None:
    whole = EvidenceState.start(design).add(matured)
    parts = EvidenceState.start(design)
    bounds = sorted({0, len(matured), *(cut for cut in cuts if cut < len(matured))})
    for start, stop in pairwise(bounds):
        parts = EvidenceState.from_json(json.loads(json.dumps(parts.add(matured.rows(start, stop)).to_json())))
    assert json.dumps(parts.to_json()) == json.dumps(whole.to_json())
    assert parts.read(ALPHA, NEEDED) == whole.read(ALPHA, NEEDED)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_the_evidence_of_a_look_does_not_depend_on_the_order_of_what_lies_behind_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.uniform(-0.5, 0.5, 500)
    one, other = BetSums(), BetSums()
    one.add(gains, log_weights(1.0))
    other.add(rng.permutation(gains), log_weights(1.0))
    assert one.log_evidence(log_weights(1.0)) == other.log_evidence(log_weights(1.0))


def test_the_state_of_a_hundred_thousand_pairs_is_as_large_as_that_of_ten_thousand() -> None:
    rng = np.random.default_rng(1)
    sizes = []
    for count in (10_000, 100_000):
        differences = accuracy(rng, 0.0, count)
        state = EvidenceState.start(CHALLENGE).add(MaturedPairs.independent(a_day(count, 100), differences))
        sizes.append(len(json.dumps(state.to_json())))
    assert sizes[1] < 1.3 * sizes[0] < 20_000


@pytest.mark.parametrize("bound", [1.0, 0.5, 0.1, 1 / 32])
def test_the_bets_are_a_martingale_at_every_scale(bound: float) -> None:
    """The mean of the capital over fair coins of that size is one, and no bet can lose more than there is."""
    weights = log_weights(bound)
    assert np.exp(weights).sum() == pytest.approx(1.0)
    factors = [np.exp(BetSums.from_json({"count": 0, "logs": [0] * len(BETS), "ruined": []}).log_evidence(weights))]
    for sign in (bound, -bound):
        bets = BetSums()
        bets.add(np.array([sign]), weights)
        factors.append(np.exp(bets.log_evidence(weights)))
    assert factors[0] == pytest.approx(1.0)
    assert (factors[1] + factors[2]) / 2 == pytest.approx(1.0, abs=1e-6)
    assert min(factors) > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300), st.sampled_from([1.0, 0.3, 1 / 32]))
def test_relative_bets_are_a_martingale_after_whatever_came_before(seed: int, count: int, bound: float) -> None:
    """The next bet is fixed by what came before it: over a fair coin the capital keeps its mean, and stays above 0."""
    rng = np.random.default_rng(seed)
    past = rng.uniform(-bound, bound, count)
    before = RelativeBetSums()
    before.add(past, bound)
    after = []
    for sign in (bound, -bound):
        bets = RelativeBetSums.from_json(json.loads(json.dumps(before.to_json())))
        bets.add(np.array([sign]), bound)
        after.append(np.exp(bets.log_evidence()))
    assert min(after) > 0
    assert np.mean(after) == pytest.approx(np.exp(before.log_evidence()), rel=1e-6)


def test_a_loss_beyond_the_bound_counts_in_full_and_a_gain_beyond_it_as_the_bound() -> None:
    within, beyond = RelativeBetSums(), RelativeBetSums()
    within.add(np.full(500, 0.04), 0.04)
    beyond.add(np.full(500, 0.5), 0.04)
    assert beyond.log_evidence() <= within.log_evidence()
    within.add(np.array([-1.0]), 0.04)
    ruined = within.ruined.copy()
    assert 0 < ruined.sum() < len(RELATIVE_BETS)
    within.add(np.full(100, 0.04), 0.04)
    assert (within.ruined == ruined).all()  # for good


@pytest.mark.parametrize(("spread", "most"), [(0.316, 0.15), (0.02, 0.15)])
def test_relative_bets_cross_for_equal_models_in_few_streams_whatever_the_spread(spread: float, most: float) -> None:
    rng = np.random.default_rng(4)
    crossed = 0
    for _ in range(100):
        bets = RelativeBetSums()
        gains = np.clip(spread * rng.standard_t(4, 5000), -1, 1)
        crossed += bets.add(gains, 1.0) >= np.log(NEEDED)
    assert crossed / 100 <= most


def test_a_lead_is_found_as_soon_whatever_the_loss_is_measured_in() -> None:
    """Differences a tenth as large need no more labels once the answers have shown that they are."""
    rng = np.random.default_rng(5)
    gains = rng.choice([0.1, -0.1], 6000, p=[0.53, 0.47])
    large, small = RelativeBetSums(), RelativeBetSums()
    large.add(5 * gains, 0.5)
    small.add(gains, 0.1)
    assert small.log_evidence() > 0.7 * large.log_evidence() > 3


def test_a_design_of_before_relative_bets_is_judged_as_it_was() -> None:
    rng = np.random.default_rng(6)
    matured = MaturedPairs.independent(a_day(3000, 200), accuracy(rng, 0.03, 3000))
    held = {**CHALLENGE.to_json()}
    del held["relative_bets"]
    before = EvidenceState.start(Design.from_json(held)).add(matured)
    kept = before.to_json()
    del kept["relative"]
    assert isinstance(EvidenceState.from_json(json.loads(json.dumps(kept))).gain, BetSums)
    assert isinstance(EvidenceState.start(CHALLENGE).gain, RelativeBetSums)


@given(st.floats(1e-4, 1))
def test_a_scale_is_never_below_the_bound(bound: float) -> None:
    assert bound <= scale(bound) * (1 + 1e-9) or bound < 1 / 32
    assert scale(bound) <= 1


@pytest.mark.parametrize("planned", [0, 50])
def test_bets_mixed_over_their_beginnings_are_a_martingale(planned: int) -> None:
    """Of equal models in at most a share alpha of streams, and their capital has the mean one."""
    rng = np.random.default_rng(2)
    crossed, last = 0, []
    for _ in range(300):
        sums = BeginningSums(planned)
        highest = sums.add(accuracy(rng, 0.0, 600), log_weights(1.0))
        crossed += highest >= np.log(NEEDED)
        last.append(np.exp(sums.log_evidence(log_weights(1.0))))
    assert crossed / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert 0.4 < np.mean(last) < 1.6


def test_a_change_for_the_worse_in_the_middle_is_found() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(20):
        stream = np.concatenate([accuracy(rng, -0.02, 2500), accuracy(rng, 0.05, 2500)])
        found.append(run(stream, 200, PROBATION)[0])
    assert sum(at is not None for at in found) >= 18


def test_independent_pairs_cost_little_and_two_points_are_found() -> None:
    rng = np.random.default_rng(4)
    found = [run(accuracy(rng, 0.02, 10_000), 200, step=100)[0] for _ in range(30)]
    assert all(at is not None for at in found)
    assert np.median([at for at in found if at is not None]) <= 3000


def test_days_that_differ_crown_few_equal_models() -> None:
    rng = np.random.default_rng(5)

    def draw() -> Floats:
        return accuracy(rng, np.clip(np.repeat(rng.normal(0, 0.02, 10), 1000), -0.1, 0.1), 10_000)

    assert crowned(draw, 40, 1000) <= 8  # a tenth, and three standard errors
    assert crowned(draw, 20, 1000, replace(CHALLENGE, design_effect=False)) >= 4  # without the guard


@pytest.mark.parametrize(("design", "days", "rate"), [(DAY, 1, 5000), (WEEK, 7, 1000)])
def test_a_season_crowns_no_equal_model_where_whole_cycles_are_read(design: Design, days: int, rate: int) -> None:
    rng = np.random.default_rng(6)
    count = rate * (days if days > 1 else 2) * (6 if days > 1 else 1)
    phase = np.arange(count) / (rate * days)

    def draw() -> Floats:
        return accuracy(rng, 0.04 * np.sin(2 * np.pi * phase), count)

    assert crowned(draw, 15, rate, design) <= 2
    plain = replace(design, cycle_seconds=0.0, design_effect=False)
    assert sum(run(draw(), rate, plain, 200)[0] is not None for _ in range(15)) >= 4


def test_two_points_are_found_under_a_weekly_season() -> None:
    rng = np.random.default_rng(7)
    lead = 0.02 + 0.04 * np.sin(2 * np.pi * np.arange(42_000) / 7000)
    assert crowned(lambda: accuracy(rng, lead, 42_000), 10, 1000, WEEK) >= 9


def test_what_follows_a_whole_cycle_waits_for_the_next_one() -> None:
    rng = np.random.default_rng(8)
    state = EvidenceState.start(DAY)
    state.add(MaturedPairs.independent(a_day(900, 1000), accuracy(rng, 0.08, 900)))
    assert state.read(ALPHA, NEEDED).e_value == 1.0
    state.close_cycles(DAY_MICROS - 1)
    assert state.read(ALPHA, NEEDED).whole_cycles == 0
    state.close_cycles(DAY_MICROS)
    assert state.read(ALPHA, NEEDED).whole_cycles == 1
    assert state.read(ALPHA, NEEDED).e_value > 1


def test_an_entity_that_asks_often_counts_once() -> None:
    rng = np.random.default_rng(9)
    once = accuracy(rng, 0.0, 500)
    counts = np.arange(10_000) % 20 == 0
    matured = MaturedPairs.independent(a_day(10_000, 200), np.repeat(once, 20))
    state = EvidenceState.start(CHALLENGE).add(replace(matured, counts=counts))
    assert state.read(ALPHA, NEEDED).pairs == 500
    assert state.read(ALPHA, NEEDED).lead.mean == pytest.approx(once.mean())


def test_bets_scaled_by_what_answers_allow_find_a_rare_class_sooner() -> None:
    """Differences of at most 0.05: plain bets end at 0.95 of a range of one."""
    rng = np.random.default_rng(10)
    differences = np.where(rng.random(4000) < 0.5, 0.02, -0.018)
    bound = np.full(4000, 0.05)
    matured = replace(MaturedPairs.independent(a_day(4000, 200), differences), bound=bound, worst=-bound)
    scaled = run(differences, 200, pairs=matured)[1]
    plain = run(differences, 200, replace(CHALLENGE, scaled_bets=False, relative_bets=False), pairs=matured)[1]
    assert scaled.scale < 0.1 < plain.scale
    assert scaled.e_value > 3 * plain.e_value


def answered(rng: np.random.Generator, count: int, lean: float) -> tuple[MaturedPairs, np.ndarray]:
    """Two models of one number that lean as far to no as to yes, equal in Brier loss; and the truth."""
    x = rng.normal(0, 2, count)
    truth = rng.random(count) < 1 / (1 + np.exp(-x))
    no, yes = 1 / (1 + np.exp(-x + lean)), 1 / (1 + np.exp(-x - lean))
    bound = np.maximum(np.abs(no**2 - yes**2), np.abs((1 - no) ** 2 - (1 - yes) ** 2))
    scores = np.stack([2 * no - 1, 2 * yes - 1, yes - no], axis=1)
    return (
        MaturedPairs(
            micros=a_day(count, 200),
            labelled=np.ones(count, bool),
            difference=(no - truth) ** 2 - (yes - truth) ** 2,
            bound=bound,
            worst=-bound,
            counts=np.ones(count, bool),
            scores=scores,
        ),
        truth,
    )


@pytest.mark.parametrize("kept", [0.7, 0.9, 0.95])
def test_labels_that_are_missing_by_outcome_show_in_their_rate_before_they_crown(kept: float) -> None:
    rng = np.random.default_rng(11)
    promoted = 0
    for _ in range(12):
        matured, truth = answered(rng, 5000, 0.3)
        matured = replace(matured, labelled=truth | (rng.random(5000) < kept))
        at, reading = run(matured.difference, 200, pairs=matured, step=100)
        promoted += at is not None and reading.label_rate_e < 1 / 0.03
    assert promoted <= 1


@pytest.mark.parametrize("kept", [0.99, 0.95, 0.8])
def test_labels_that_are_missing_at_random_hold_hardly_a_bout(kept: float) -> None:
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(60):
        matured, _ = answered(rng, 4000, 0.3)
        matured = replace(matured, labelled=rng.random(4000) < kept)
        state = EvidenceState.start(CHALLENGE).add(matured)
        held += state.read(ALPHA, NEEDED).label_rate_e >= 1 / 0.03
    assert held <= 5  # three in a hundred, and three standard errors


def test_what_the_missing_labels_would_have_to_say_is_said() -> None:
    rng = np.random.default_rng(13)
    matured = MaturedPairs.independent(a_day(4000, 200), accuracy(rng, 0.05, 4000))
    matured = replace(matured, labelled=np.arange(4000) % 10 > 0, worst=np.full(4000, -0.1))
    reading = EvidenceState.start(CHALLENGE).add(matured).read(ALPHA, NEEDED)
    assert reading.unlabelled == 400
    assert reading.unlabelled_worst == pytest.approx(-0.1)
    assert reading.unlabelled_lead == pytest.approx(-(3600 * reading.lead.low) / 400, rel=1e-6)
