"""How long labels take, and whether that depends on what they say."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from monitoring.quality.cohort import Cohort
from monitoring.quality.delays import depends_on_outcome, report_delays
from tests.monitoring.answers import row, two

ALPHA = 0.05


def labelled(rng: np.random.Generator, count: int, late_extra_hours: float = 0.0) -> Cohort:
    rows = []
    for place, late in enumerate((rng.random(count) < 0.3).tolist()):
        hours = rng.exponential(2.0) + (late_extra_hours if late else 0.0)
        answer = {"late": 0.3, "punctual": 0.7}
        rows.append(row("punctual", "late" if late else "punctual", answer, place=place, delay=timedelta(hours=hours)))
    return two(rows)


def looks(rng: np.random.Generator, count: int, extra: float) -> tuple[float, bool]:
    """The highest evidence over so many looks, each at new labels, and whether the last one warns."""
    log_e = highest = 0.0
    report = report_delays(labelled(rng, 200, extra))
    for _ in range(count):
        report = report_delays(labelled(rng, 200, extra))
        log_e += report.log_e
        highest = max(highest, log_e)
    return highest, depends_on_outcome(report, highest, ALPHA)


def test_delays_that_do_not_depend_warn_in_at_most_a_share_alpha_of_lives() -> None:
    """Ten looks in each of 60 lives."""
    rng = np.random.default_rng(1)
    crossed = sum(looks(rng, 10, 0.0)[0] >= -np.log(ALPHA) for _ in range(60))
    assert crossed <= 0.05 * 60 + 3 * (60 * 0.05 * 0.95) ** 0.5


def test_an_outcome_that_is_labelled_later_is_warned_of() -> None:
    _, warned = looks(np.random.default_rng(2), 5, extra=1.0)
    assert warned


def test_a_difference_that_is_certain_but_trifling_is_not() -> None:
    report = report_delays(labelled(np.random.default_rng(3), 3000))
    assert not depends_on_outcome(report, 100.0, ALPHA)


def test_quantiles_are_told_for_all_and_for_each_outcome() -> None:
    report = report_delays(labelled(np.random.default_rng(4), 2000, 1.0))
    assert set(report.quantiles) == {"0.5", "0.9", "0.99"}
    assert report.quantiles["0.5"] < report.quantiles["0.9"] < report.quantiles["0.99"]
    assert report.by_outcome["late"]["0.5"] - report.by_outcome["punctual"]["0.5"] > 2000


def test_too_few_of_one_outcome_are_not_compared() -> None:
    report = report_delays(labelled(np.random.default_rng(5), 30))
    assert (report.log_e, report.distance) == (0.0, 0.0)
    assert report_delays(two([])).quantiles == {}
