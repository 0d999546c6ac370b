"""Persistent weather is no decline; a rise of a fifth through it is found within the year."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.decline_replay import card_of, replay_decline
from monitoring.quality.promise import Promise
from monitoring.quality.rise import sum_days
from monitoring.quality.sustained import SHORTEST_DAYS, sustained_excess

ROWS, MEAN = 200, 0.15
LOOKS = [*range(1, 31), *range(35, 366, 15)]


def year(
    seed: int, *, rise: float = 0.0, weather: float = 0.2, carry: float = 0.7, days: int = 365
) -> list[np.ndarray]:
    """Losses whose daily mean goes up and down by `weather` of itself, and of which `carry` is there the next day."""
    rng = np.random.default_rng([seed, 29])
    level, found = rng.normal(), []
    for _ in range(days):
        mean = min(MEAN * (1 + rise) * max(0.1, 1 + weather * level), 0.9)
        found.append(rng.beta(6 * mean, 6 * (1 - mean), ROWS))
        level = carry * level + np.sqrt(1 - carry**2) * rng.normal()
    return found


KNOWN = {"reference_loss": MEAN, "reference_loss_error": 0.0}


def test_sound_years_of_persistent_weather_are_seldom_declared() -> None:
    """At most a share alpha: none or one of twelve; before, a third to three quarters of them were."""
    assert sum(replay_decline(year(seed), KNOWN, looks=LOOKS).first is not None for seed in range(12)) <= 1


def test_a_rise_of_a_fifth_is_found_within_the_year() -> None:
    found = [replay_decline(year(seed, rise=0.2), KNOWN, looks=LOOKS).first for seed in range(6)]
    assert sum(day is not None for day in found) >= 5


def test_a_rise_of_a_fifth_is_found_in_most_years_though_the_holdout_knew_only_sixty_days() -> None:
    found = [
        replay_decline(year(seed, rise=0.2), card_of(year(seed + 50, days=60)), looks=[180, 270, 365]).first
        for seed in range(12)
    ]
    assert sum(day is not None for day in found) >= 7  # the e-process alone: 4


def test_the_scan_looks_at_eight_weeks_and_more_and_never_goes_down() -> None:
    promise = Promise.of(KNOWN, 0.05, 0.05)
    assert promise is not None
    sums = {}
    for day, losses in enumerate(year(3, rise=0.4, days=200)):
        sums |= sum_days(losses - promise.allowed, np.full(len(losses), day))
    shorter = {day: held for day, held in sums.items() if day < SHORTEST_DAYS - 1}
    assert sustained_excess(shorter, promise, None) == (1.0, 1.0)
    value, peak = sustained_excess(sums, promise, None)
    assert promise.needed < value <= peak


def test_the_error_of_a_promise_is_that_of_its_card() -> None:
    promise = Promise.of({"reference_loss": 0.2, "reference_loss_error": 0.01}, tolerance=0.05, alpha=0.05)
    assert promise is not None
    assert promise.error == pytest.approx(0.0105)
    assert promise.tolerated == pytest.approx(0.21)


def test_a_loss_that_doubles_is_found_within_two_weeks() -> None:
    assert (replay_decline(year(1, rise=1.0), KNOWN).first or 99) <= 14


def test_the_promise_of_a_holdout_knows_that_its_days_resemble_each_other() -> None:
    """The error that a card promises, over what fresh holdouts of ninety days really scatter by.

    By days alone it would be two fifths of it; thirty days cannot know their weather, and get to a half.
    """
    cards = [card_of(year(seed, days=90)) for seed in range(60)]
    really = np.std([card["reference_loss"] for card in cards])
    assert 0.6 < np.median([card["reference_loss_error"] for card in cards]) / really < 1.5
