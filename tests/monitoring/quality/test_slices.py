"""Slices and groups: what is bad is found, what is bad by chance is not, and protected groups stand side by side."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.groups import protected_groups
from monitoring.quality.loss import Loss
from monitoring.quality.slices import quality_slices
from record.logged import MaturedRow
from tests.monitoring.answers import flights, two

BRIER = Loss("brier")


def world(
    seed: int, bad_port: str | None = None, count: int = 4000
) -> tuple[list[MaturedRow], np.ndarray, list[dict[str, object]]]:
    rng = np.random.default_rng(seed)
    records: list[dict[str, object]] = [
        {"x": float(x), "port": port, "sex": sex}
        for x, port, sex in zip(
            rng.normal(size=count), rng.choice(list("ABCDEFGH"), count), rng.choice(["f", "m"], count), strict=True
        )
    ]
    chances = rng.beta(2, 4, count)
    late = rng.random(count) < chances
    if bad_port is not None:
        there = np.array([record["port"] == bad_port for record in records])
        late[there] = rng.random(int(there.sum())) < 0.5
    return flights(chances, late, records=records), late, records


def test_the_worst_slice_is_found_with_its_numbers() -> None:
    rows, _, _ = world(1, bad_port="C")
    found = quality_slices(two(rows), BRIER, (), min_rows=100)
    assert found[0].name == "port = C"
    assert not found[0].configured
    assert found[0].excess > 0.05
    assert found[0].metrics["brier"].low > 0.2


def test_where_nothing_is_bad_few_worlds_have_a_slice() -> None:
    """Thirteen slices are tried in each of 20 worlds; at .05 each by itself, half of the worlds would have one."""
    alarms = sum(bool(quality_slices(two(world(seed)[0]), BRIER, (), min_rows=100)) for seed in range(20))
    assert alarms <= 4


def test_configured_slices_are_shown_whether_they_are_bad_or_not() -> None:
    """A carried column too: it was asked for."""
    rows, _, _ = world(2)
    found = quality_slices(two(rows, ("sex",)), BRIER, ("sex", "x"), min_rows=100)
    names = [one.name for one in found if one.configured]
    assert set(names[:2]) == {"sex = f", "sex = m"}
    assert len(names) == 7
    assert sum(one.rows for one in found if one.configured and one.name.startswith("x ")) == 4000


def test_too_few_rows_have_no_slices() -> None:
    rows, _, _ = world(3, count=150)
    assert quality_slices(two(rows), BRIER, ("port",), min_rows=100) == []


def test_protected_groups_stand_side_by_side() -> None:
    """Selection rate, true and false positive rate and loss of each, with intervals."""
    rows, late, records = world(4)
    groups = protected_groups(two(rows, ("sex",)), BRIER, min_rows=100)
    assert {group.name for group in groups} == {"sex = f", "sex = m"}
    women = next(group for group in groups if group.name == "sex = f")
    own = np.array([record["sex"] == "f" for record in records])
    said = np.array([row.prediction == '"late"' for row in rows])
    assert women.rows == own.sum()
    assert women.metrics["selection_rate"].value == pytest.approx(said[own].mean())
    assert women.metrics["true_positive_rate"].value == pytest.approx(said[own & late].mean())
    assert women.metrics["false_positive_rate"].value == pytest.approx(said[own & ~late].mean())
    assert women.metrics["loss"].low < women.metrics["loss"].value < women.metrics["loss"].high


def test_a_redacted_column_is_one_group_and_no_error() -> None:
    rows, _, _ = world(5, count=300)
    cohort = two(rows)
    assert protected_groups(cohort, BRIER, min_rows=100) == []
