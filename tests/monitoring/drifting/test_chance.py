"""A p-value is small only where neither few rows nor a day like others explain the distance."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from monitoring.drifting.alarm import NOTHING
from monitoring.drifting.calibration import jensen_shannon
from monitoring.drifting.chance import Chance, Quiet
from monitoring.drifting.day_effect import MOST_DAYS, MOST_DAYS_SKEWED, most_days
from monitoring.windows import Window

DAY = timedelta(days=1)
MICROS = 86_400_000_000
ROWS = 300  # a day


def days(count: int, seed: int, *, effect: float = 0.0, carry: float = 0.0, start: int = 20_000) -> Window:
    """So many days: `x`, a number whose days differ by `effect` standard deviations, and a category cut from it."""
    rng = np.random.default_rng(seed)
    level = np.zeros(count)
    for day in range(count):
        fresh = rng.normal() * np.sqrt(1 - carry**2) if day else rng.normal()
        level[day] = fresh + (carry * level[day - 1] if day else 0.0)
    values = np.repeat(effect * level, ROWS) + rng.normal(size=count * ROWS)
    levels = np.array(["low", "middle", "high"], dtype=object)[np.digitize(values, [-1.0, 1.0])]
    times = np.repeat(np.arange(start, start + count) * MICROS, ROWS) + rng.integers(0, MICROS, count * ROWS)
    return Window(None, None, len(values), {"x": values}, {"c": levels}, times={"x": times, "c": times})


def score(reference: Window, values: np.ndarray) -> float:
    return float(wasserstein_distance(reference.numbers["x"], values) / reference.numbers["x"].std())


def p_values(reference: Window, current: Window, chance: Chance, *, rows: int = ROWS) -> np.ndarray:
    """Of x, day after day, each given the day before."""
    found, carried = [], None
    for values in current.numbers["x"].reshape(-1, ROWS):
        judged = chance.judge(("x", "wasserstein"), score(reference, values), rows, Quiet(carried=carried))
        found.append(judged.p)
        carried = max(judged.square, 0.0) ** 0.5
    return np.array(found)


@pytest.mark.parametrize(("effect", "carry"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.7)])
def test_quiet_days_are_seldom_improbable(effect: float, carry: float) -> None:
    """Days that differ, also days that are like the day before: ten streams of 60 days after 40 days of reference."""
    found = []
    for seed in range(10):
        stream = days(100, seed, effect=effect, carry=carry)
        cut = 40 * ROWS
        reference = Window(None, None, cut, {"x": stream.numbers["x"][:cut]}, {}, times={"x": stream.times["x"][:cut]})
        current = Window(None, None, 60 * ROWS, {"x": stream.numbers["x"][cut:]}, {})
        found.append(p_values(reference, current, Chance(reference, DAY)))
    every = np.concatenate(found)
    assert (every < 0.05).mean() < 0.1
    assert (every < 0.001).mean() < 0.01


def far_out(streams: int) -> float:
    """How often a quiet day of a lognormal column has a p-value below .003."""
    found = []
    for seed in range(streams):
        stream = days(100, seed, effect=0.2)
        amounts, cut = np.exp(stream.numbers["x"]), 40 * ROWS
        reference = Window(None, None, cut, {"x": amounts[:cut]}, {}, times={"x": stream.times["x"][:cut]})
        current = Window(None, None, 60 * ROWS, {"x": amounts[cut:]}, {})
        found.append(p_values(reference, current, Chance(reference, DAY)))
    return float((np.concatenate(found) < 0.003).mean())


def test_quiet_days_of_a_skewed_column_go_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its days go up further than down. With the law of a normal column's days they would be improbable too often."""
    assert far_out(20) < 0.005
    monkeypatch.setattr("monitoring.drifting.reference_column.most_days", lambda _: MOST_DAYS)
    assert far_out(20) > 0.01


def test_a_column_is_skewed_from_an_exponential_law_on() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    assert most_days(values) == most_days(np.ones(5)) == most_days(np.exp(values / 2)) == MOST_DAYS
    assert most_days(np.exp(values)) == most_days(-np.exp(values)) == MOST_DAYS_SKEWED


def test_a_test_that_knows_no_days_cries_wolf_on_the_same_stream() -> None:
    """The negative control: without the rows' times, a day's own level passes for drift."""
    stream = days(100, 0, effect=0.3)
    cut = 40 * ROWS
    timeless = Window(None, None, cut, {"x": stream.numbers["x"][:cut]}, {})
    current = Window(None, None, 60 * ROWS, {"x": stream.numbers["x"][cut:]}, {})
    assert (p_values(timeless, current, Chance(timeless, DAY)) < 0.001).mean() > 0.1


def test_the_day_effect_of_the_reference_is_found() -> None:
    """Its size and what of it carries over to the next day, through the noise of 300 rows a day."""
    found = [Chance(days(80, seed, effect=0.2, carry=0.6), DAY).day_effect(("x", "wasserstein")) for seed in range(8)]
    assert np.median([effect.scale for effect in found]) == pytest.approx(0.2, rel=0.2)
    assert np.median([effect.carry for effect in found]) == pytest.approx(0.6, abs=0.15)


def test_days_that_do_not_differ_have_hardly_an_effect() -> None:
    """Noise of drawing is taken out."""
    chance = Chance(days(80, 3), DAY)
    assert chance.day_effect(("x", "wasserstein")).scale < 0.03
    assert chance.day_effect(("c", "jensenshannon")).scale < 0.03


def test_a_week_is_quieter_than_its_days_unless_they_carry_over() -> None:
    free = Chance(days(40, 4, effect=0.2), DAY)
    tied = Chance(days(200, 4, effect=0.2, carry=0.9), DAY)
    for chance, least, most in ((free, 0.3, 0.6), (tied, 0.7, 1.2)):
        day = chance.day_effect(("x", "wasserstein"))
        week = day.of_mean(7)
        assert least < week.scale / day.scale < most


def test_the_services_own_quiet_days_count_too() -> None:
    """A reference without times knows nothing of days; what quiet days showed is no longer improbable."""
    reference = days(40, 5)
    timeless = Window(None, None, len(reference), {"x": reference.numbers["x"]}, {})
    chance = Chance(timeless, DAY)
    before = chance.judge(("x", "wasserstein"), 0.4, ROWS, Quiet()).p
    after = chance.judge(("x", "wasserstein"), 0.4, ROWS, Quiet(squares=(0.09,) * 30)).p
    assert before < 0.001 < 0.1 < after


def test_drift_does_not_soon_pass_for_a_quiet_day() -> None:
    """The last fortnight waits, and a day widens the law of chance by little: where the reference knows its days."""
    chance = Chance(days(60, 6, effect=0.1), DAY)
    fresh = chance.judge(("x", "wasserstein"), 0.5, ROWS, Quiet()).p
    fortnight = chance.judge(("x", "wasserstein"), 0.5, ROWS, Quiet(squares=(0.25,) * 14)).p
    month = chance.judge(("x", "wasserstein"), 0.5, ROWS, Quiet(squares=(0.25,) * 28)).p
    assert fortnight == fresh
    assert month < 0.02


def test_a_shift_too_small_to_hear_of_is_never_improbable() -> None:
    """.08 standard deviations in a million rows, where days do not differ."""
    reference = days(60, 7)
    assert Chance(reference, DAY).judge(("x", "wasserstein"), 0.08, 10**6, Quiet()).p >= NOTHING


def test_missing_values_and_categories_are_judged_too() -> None:
    reference = days(30, 8)
    chance = Chance(reference, DAY)
    assert chance.judge(("x", "missing_share"), 0.0, ROWS, Quiet()).p == 1.0
    assert chance.judge(("x", "missing_share"), 0.3, ROWS, Quiet()).p < 1e-4
    shares = np.unique(reference.categories["c"].astype(str), return_counts=True)[1] / len(reference)
    same = float(jensen_shannon(shares, np.random.default_rng(0).multinomial(ROWS, shares) / ROWS))
    other = float(jensen_shannon(shares, np.array([0.6, 0.2, 0.2])))
    assert chance.judge(("c", "jensenshannon"), same, ROWS, Quiet()).p > 0.05
    assert chance.judge(("c", "jensenshannon"), other, ROWS, Quiet()).p < 1e-4


def test_a_thousandfold_slip_is_beyond_any_chance() -> None:
    reference = days(30, 9, effect=0.2)
    slipped = score(reference, reference.numbers["x"][:ROWS] * 1000)
    assert Chance(reference, DAY).judge(("x", "wasserstein"), slipped, ROWS, Quiet()).p < 1e-12
