"""Real tables, at random halves and with faults put in: quiet where they are as they were. Run with --data DIR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.domain_classifier import tell_apart
from monitoring.inputs.finding import DataQualityReport
from monitoring.windows import Window
from tests.monitoring.datasets import Table, parametrize_tables

pytestmark = pytest.mark.data
pytest_generate_tests = parametrize_tables


@pytest.fixture
def held(table: Path | None, data_folder: Path, tmp_path: Path) -> Table:
    assert table is not None
    return Table.read(table, tmp_path)


@pytest.mark.parametrize("rows", [300, 1000, 50_000])
def test_rows_of_one_table_drawn_at_random_have_no_findings(held: Table, rows: int) -> None:
    for seed in range(4):
        before, now = held.split(seed, min(rows, len(held) // 2))
        assert inspect_window(held.window(before), held.window(now), held.schema(before)).findings == ()


@pytest.mark.parametrize("factor", [1000.0, 0.001, 60.0])
def test_a_unit_slip_is_named_in_nine_columns_of_ten(held: Table, factor: float) -> None:
    """Of those that are not nearly always zero: what is never there has no unit."""
    look, current = looking(held)
    columns = [name for name, values in current.numbers.items() if np.mean(values[np.isfinite(values)] != 0) > 0.3]
    found = {}
    for name in columns:
        numbers = {**current.numbers, name: current.numbers[name] * factor}
        report = look(replace(current, numbers=numbers))
        slips = {f.column: f.numbers["unit"] for f in report.findings if f.check == "unit_slip"}
        assert set(slips) <= {name}
        found[name] = slips.get(name, "").startswith(f"{max(factor, 1 / factor):g} times")
    overlooked = [name for name in found if not found[name]]
    assert len(overlooked) <= max(1, len(found) / 10), overlooked


@pytest.mark.parametrize("kind", ["numbers", "categories"])
def test_exchanged_columns_are_named_rightly_or_not_at_all(held: Table, kind: str) -> None:
    """Two columns with one distribution cannot be told apart, but a third is never accused."""
    look, current = looking(held)
    columns: Mapping[str, Any] = getattr(current, kind)
    pairs = [(one, other) for one in columns for other in columns if one < other]
    for place in np.random.default_rng(0).permutation(len(pairs))[:10]:
        one, other = pairs[place]
        report = look(replace(current, **{kind: {**columns, one: columns[other], other: columns[one]}}))
        named = {finding.column for finding in report.findings if finding.check == "column_swap"}
        assert named in ({one, other}, set())


@pytest.mark.parametrize("rows", [1000, 10_000])
def test_rows_of_one_table_drawn_at_random_cannot_be_told_apart(held: Table, rows: int) -> None:
    """By the domain classifier. Of a full grid each half lacks what the other has: an area below .5, and no alarm."""
    before, now = held.split(1, min(rows, len(held) // 2))
    reference = held.window(before)
    report = tell_apart(reference, held.window(now), [*reference.numbers, *reference.categories])
    assert report is not None
    assert not report.drifted


def looking(held: Table) -> tuple[Any, Window]:
    """The look at a window against the rows before it, and the window."""
    before, now = held.split(0, min(1000, len(held) // 2))
    reference, schema = held.window(before), held.schema(before)

    def look(current: Window) -> DataQualityReport:
        return inspect_window(reference, current, schema)

    return look, held.window(now)
