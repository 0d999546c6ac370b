"""What no column shows by itself is seen by a model that is asked to tell the window from the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from monitoring.inputs.domain_classifier import DomainReport, clustered_auc, tell_apart
from monitoring.windows import Window

COLOURS = np.array(["red", "green", "blue"], dtype=object)


def window(rows: int, seed: int, correlation: float = 0.7, **changed: Any) -> Window:
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(rows, 6))
    numbers: dict[str, Any] = {f"n{place}": normal[:, place] for place in range(6)}
    numbers["n1"] = correlation * normal[:, 0] + np.sqrt(1 - correlation**2) * normal[:, 1]
    colours: Any = rng.choice(COLOURS, rows, p=[0.6, 0.3, 0.1])
    categories = {"colour": colours}
    for name, values in changed.items():
        (numbers if name in numbers else categories)[name] = values
    return Window(None, None, rows, numbers, categories)


REFERENCE = window(20_000, seed=0)


def told(current: Window, reference: Window = REFERENCE) -> DomainReport:
    report = tell_apart(reference, current, [*reference.numbers, *reference.categories])
    assert report is not None
    return report


@pytest.mark.parametrize("rows", [300, 1000, 5000])
def test_rows_like_the_references_cannot_be_told_apart(rows: int) -> None:
    reports = [told(window(rows, seed=100 + seed)) for seed in range(8)]
    assert not any(report.drifted for report in reports)
    assert np.mean([report.auc for report in reports]) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("rows", [1000, 5000])
def test_columns_that_no_longer_go_together_are_found_though_none_has_changed(rows: int) -> None:
    """Each column is what it was, by Kolmogorov and Smirnov's test; only the pair is not."""
    current = window(rows, seed=7, correlation=-0.7)
    for name, values in current.numbers.items():
        assert ks_2samp(REFERENCE.numbers[name], values).pvalue > 0.01
    report = told(current)
    assert report.drifted
    assert report.auc > 0.7
    assert set(list(report.drivers)[:2]) == {"n0", "n1"}


def test_a_shift_of_one_column_is_found_and_named() -> None:
    values = window(5000, seed=8).numbers["n4"] + 0.5
    report = told(window(5000, seed=8, n4=values))
    assert report.drifted
    assert next(iter(report.drivers)) == "n4"


def test_a_category_that_goes_with_another_column_is_found() -> None:
    """Red when it is high, where colours went by chance: shares are the same."""
    current = window(5000, seed=9)
    order = np.argsort(np.argsort(current.numbers["n3"]))
    colours = np.sort(current.categories["colour"])[order]
    report = told(window(5000, seed=9, colour=colours))
    assert report.drifted
    assert set(list(report.drivers)[:2]) == {"n3", "colour"}


def test_requests_that_resemble_their_neighbours_raise_no_alarm() -> None:
    """A slow column holds each level for ten requests: rows are many, observations few."""
    alarms = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        slow, before = (np.repeat(rng.normal(size=500), 10) for _ in range(2))
        reference = window(5000, seed=seed, n5=before)
        alarms.append(told(window(5000, seed=1000 + seed, n5=slow), reference).drifted)
    assert not any(alarms)


def test_a_column_that_passes_with_time_is_left_out_and_named() -> None:
    reference = window(5000, seed=1, n2=np.arange(5000.0))
    report = told(window(2000, seed=2, n2=np.arange(5000.0, 7000.0)), reference)
    assert report.excluded == ("n2",)
    assert not report.drifted


def test_of_too_few_rows_nothing_is_said() -> None:
    assert tell_apart(REFERENCE, window(100, seed=1), [*REFERENCE.numbers]) is None
    assert tell_apart(REFERENCE, REFERENCE, []) is None


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    """Of plain scores: what 400 repetitions scatter by, for rows that are independent and for rows in clusters."""
    rng = np.random.default_rng(2)
    is_current, blocks = np.repeat([0, 1], 1000), np.tile(np.arange(1000) * 25 // 1000, 2)
    for cluster in (1, 20):
        found = np.array(
            [
                clustered_auc(np.repeat(rng.normal(size=2000 // cluster), cluster), is_current, blocks, blocks % 5)
                for _ in range(400)
            ]
        )
        assert found[:, 0].mean() == pytest.approx(0.5, abs=0.01)
        assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.2)
