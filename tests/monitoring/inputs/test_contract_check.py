"""Each check finds what it is for, with examples, and says nothing of data that are as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import pytest

from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.finding import CHECKS, SEVERITIES, DataFinding, DataQualityReport
from monitoring.windows import Window
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn
from record.log.columns import Failures
from record.unit_slip import DAY_MICROS, day_wander

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
COLOURS = np.array([f"colour {i}" for i in range(12)], dtype=object)
MAKERS = np.array([f"maker {i}" for i in range(6)], dtype=object)


def window(rows: int = 5000, seed: int = 1, **changed: Any) -> Window:
    """Distances, temperatures, a count with many zeros, a flag, a size, and two categories."""
    rng = np.random.default_rng(seed)
    numbers: dict[str, Any] = {
        "distance": rng.lognormal(1.0, 0.8, rows),
        "celsius": rng.normal(12.0, 8.0, rows),
        "visits": np.where(rng.random(rows) < 0.6, 0, rng.poisson(5, rows)) * 1.0,
        "flag": (rng.random(rows) < 0.3) * 1.0,
        "size": rng.normal(170.0, 9.0, rows),
    }
    categories: dict[str, Any] = {
        "colour": rng.choice(COLOURS, rows, p=np.arange(1, 13) / 78),
        "maker": rng.choice(MAKERS, rows),
    }
    for name, values in changed.items():
        (numbers if name in numbers else categories)[name] = values
    return Window(AS_OF, AS_OF, rows, numbers, categories, tuple(f"r{row}" for row in range(rows)))


REFERENCE = window(20_000, seed=0)


def schema_of(reference: Window) -> Schema:
    columns = [Column(name, "feature", "number") for name in reference.numbers]
    columns += [Column(name, "feature", "category") for name in reference.categories]
    seen = {n: SeenColumn(float(np.nanmin(v)), float(np.nanmax(v))) for n, v in reference.numbers.items()}
    seen |= {n: SeenColumn(categories=tuple(sorted(set(v.tolist()) - {None}))) for n, v in reference.categories.items()}
    return Schema(ProblemSchema("classification", "y", tuple(columns)), seen, classes=("no", "yes"))


def look(current: Window, reference: Window = REFERENCE, **given: Any) -> DataQualityReport:
    return inspect_window(reference, current, schema_of(reference), **given)


def of(report: DataQualityReport, check: str) -> dict[str, DataFinding]:
    return {finding.column: finding for finding in report.findings if finding.check == check}


@pytest.mark.parametrize("rows", [100, 300, 1000, 5000, 50_000])
def test_data_as_they_were_have_no_findings_at_any_size(rows: int) -> None:
    for seed in range(2 if rows > 5000 else 20):
        assert look(window(rows, seed=100 + seed)).findings == ()


def test_the_false_alarms_of_five_hundred_windows_are_none() -> None:
    """Nine columns, eight checks, heavy tails and small windows: not one window is wrong."""
    rng = np.random.default_rng(5)
    reference = window(3000, seed=3, size=rng.pareto(1.5, 3000))
    held = schema_of(reference)
    reports = [
        inspect_window(reference, window(200, seed=s, size=rng.pareto(1.5, 200)), held) for s in range(1000, 1500)
    ]
    assert sum(bool(report.findings) for report in reports) == 0


def test_values_that_go_missing_are_shown_with_their_requests() -> None:
    current = window()
    current.numbers["celsius"][10::10] = np.nan
    current.categories["maker"][: len(current) * 3 // 100] = None
    found = of(look(current), "missing")
    assert {name: finding.severity for name, finding in found.items()} == {"celsius": "error", "maker": "warning"}
    assert found["celsius"].numbers == {"count": 499, "share": 0.0998, "share_before": 0.0}
    assert [(e.id, e.value) for e in found["celsius"].examples[:2]] == [("r10", "null"), ("r20", "null")]


def test_a_column_that_was_always_missing_often_is_no_finding() -> None:
    values = np.where(np.random.default_rng(7).random(20_000) < 0.4, np.nan, REFERENCE.numbers["celsius"])
    reference = window(20_000, seed=0, celsius=values)
    current = window(3000, celsius=values[:3000].copy())
    assert look(current, reference).findings == ()


def test_values_beyond_the_versions_range_are_counted_and_shown() -> None:
    current = window()
    current.numbers["size"][5:105] = 999.0
    (finding,) = look(current).findings
    assert (finding.check, finding.column, finding.severity) == ("out_of_range", "size", "error")
    assert 100 <= finding.numbers["count"] <= 103  # a new record or two are beyond it by themselves
    assert ("r5", "999") in [(example.id, example.value) for example in finding.examples]


def test_a_new_record_or_two_beyond_the_range_is_no_finding() -> None:
    """In as many new rows as old ones, the highest of all is a new one every second time."""
    current = window()
    current.numbers["size"][:2] = 230.0
    assert look(current).findings == ()


def test_categories_that_training_never_saw_are_counted_and_shown() -> None:
    current = window()
    current.categories["colour"][::25] = "colour 1 "
    (finding,) = look(current).findings
    assert (finding.check, finding.column, finding.severity) == ("unseen_category", "colour", "error")
    assert finding.numbers == {"count": 200, "share": 0.04, "share_before": 0.0, "categories": 1}
    assert finding.examples[0].value == '"colour 1 "'


def test_where_new_categories_are_normal_they_are_no_finding() -> None:
    """A column of postcodes or products always has some: as many as the reference holds once."""
    rng = np.random.default_rng(3)

    def products(rows: int) -> Any:
        return np.array([f"p{n}" for n in rng.zipf(1.3, rows) % 10**7], dtype=object)

    reference = window(20_000, seed=0, maker=products(20_000))
    current = window(5000, maker=products(5000))
    assert len(set(current.categories["maker"]) - set(reference.categories["maker"])) > 100
    assert look(current, reference).findings == ()


def test_values_of_another_type_are_found_in_the_log_and_among_refused_requests() -> None:
    current = replace(window(), failures={"size": Failures(3, [(7, '"170"')])})
    found = of(look(current, refused={"colour": 900}), "type_failure")
    assert {name: finding.severity for name, finding in found.items()} == {"size": "warning", "colour": "error"}
    assert found["size"].examples[0].id == "r7"
    assert found["colour"].numbers["refused"] == 900


@pytest.mark.parametrize(
    ("rows", "refused", "severity"),
    [
        (18_710, 1, None),
        (18_710, 15, None),
        (300, 1, None),
        (300, 3, None),
        (18_710, 60, "warning"),
        (5000, 300, "error"),
    ],
)
def test_a_mistyped_request_is_no_finding_and_a_feed_of_them_is(rows: int, refused: int, severity: str | None) -> None:
    """A caller mistypes one now and then; what is more than chance, and a share that matters, is told."""
    report = look(window(rows), refused=dict.fromkeys(("size", "colour", "*"), refused))
    assert {finding.severity for finding in report.findings} == ({severity} if severity else set())
    assert len(report.findings) == (3 if severity else 0)


def test_a_column_that_stands_still_is_found() -> None:
    current = window(celsius=np.full(5000, 20.0), maker=np.full(5000, "maker 1", dtype=object))
    found = of(look(current), "constant")
    assert {name: finding.severity for name, finding in found.items()} == {"celsius": "error", "maker": "error"}


def test_a_rare_flag_may_be_unset_in_a_small_window() -> None:
    values = (np.random.default_rng(1).random(20_000) < 0.005) * 1.0
    reference = window(20_000, seed=0, flag=values)
    assert of(look(window(500, flag=np.zeros(500)), reference), "constant") == {}
    assert "flag" in of(look(window(20_000, flag=np.zeros(20_000)), reference), "constant")


def test_a_season_stands_still_by_its_nature_and_is_no_error() -> None:
    seasons = np.repeat([1.0, 2.0, 3.0, 4.0], 5000)
    found = of(look(window(3000, size=np.full(3000, 2.0)), window(20_000, seed=0, size=seasons)), "constant")
    assert found["size"].severity == "warning"


def test_requests_that_are_sent_again_and_again_are_found() -> None:
    current = window()
    places = np.where(np.arange(5000) % 2, 1, np.arange(5000))  # every second request is row 1
    current = Window(
        AS_OF,
        AS_OF,
        5000,
        {name: values[places] for name, values in current.numbers.items()},
        {name: texts[places] for name, texts in current.categories.items()},
        current.ids,
    )
    finding = of(look(current), "duplicates")["*"]
    assert finding.severity == "error"
    assert finding.numbers["share"] == pytest.approx(0.5, abs=0.01)
    assert [example.id for example in finding.examples] == ["r1", "r3", "r5", "r7", "r9"]


@pytest.mark.parametrize(
    ("column", "factor", "offset", "rows"),
    [
        ("distance", 1000.0, 0.0, 200),
        ("distance", 0.001, 0.0, 1000),
        ("distance", 1.609344, 0.0, 5000),  # of a skewed column it takes more rows to know a small factor
        ("visits", 60.0, 0.0, 500),
        ("flag", 100.0, 0.0, 1000),
        ("celsius", 1.8, 32.0, 1000),
        ("celsius", 1.0, 273.15, 500),
        ("size", 1 / 2.54, 0.0, 500),
        ("size", 0.01, 0.0, 500),
    ],
)
def test_a_unit_slip_is_named(column: str, factor: float, offset: float, rows: int) -> None:
    current = window(rows)
    values = current.numbers[column] * factor + offset
    finding = of(look(window(rows, **{column: values})), "unit_slip")[column]
    assert finding.severity == "error"
    assert finding.numbers["share"] == 1.0
    said = {1.8: "Fahrenheit", 1.0: "Kelvin"}.get(factor, f"{max(factor, 1 / factor):g} times")
    assert said in finding.message
    assert finding.examples


def test_a_slip_of_one_client_among_many_is_found_by_its_part() -> None:
    current = window()
    current.numbers["distance"][::20] *= 1000
    found = look(current)
    finding = of(found, "unit_slip")["distance"]
    assert finding.numbers["unit"] == "1000 times as large"
    assert finding.numbers["share"] == pytest.approx(0.05, abs=0.005)
    assert all(int(example.id[1:]) % 20 == 0 for example in finding.examples)
    assert set(of(found, "out_of_range")) == {"distance"}


def test_examples_of_a_slip_are_values_that_slipped() -> None:
    """Not those that lie a little beyond what training saw, of which there may be more, and earlier ones."""
    current = window()
    values = current.numbers["distance"]
    slipped = np.arange(len(values)) % 10 == 0
    slipped[:1000] = False
    values[slipped] *= 1000
    values[:3] = np.linspace(1.01, 1.3, 3) * float(REFERENCE.numbers["distance"].max())
    examples = of(look(current), "unit_slip")["distance"].examples
    assert len(examples) == 5
    assert all(slipped[int(example.id[1:])] for example in examples)


@pytest.mark.parametrize("shift", [0.5, 2.0, 5.0])
def test_a_shift_is_drift_and_no_unit_slip(shift: float) -> None:
    current = window(5000, celsius=window(5000).numbers["celsius"] + 8.0 * shift)
    assert of(look(current), "unit_slip") == {}


DAYS, ROWS = 60, 200


def uneven_days(first: int, days: int, seed: int) -> Window:
    """Amounts whose days differ as by a factor of 1.2, with the time of each."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.normal(0.0, 0.2, days), ROWS)
    amounts = rng.lognormal(levels, 1.0)
    times = np.repeat(np.arange(first, first + days), ROWS) * DAY_MICROS
    return Window(None, None, len(amounts), {"amount": amounts}, {}, times={"amount": times})


def test_days_that_differ_are_no_unit_slip() -> None:
    """A day of half as much again looks like miles for kilometres, unless the reference's days do so, too."""
    reference, later = uneven_days(0, DAYS, seed=1), uneven_days(DAYS, 200, seed=2).numbers["amount"].reshape(-1, ROWS)
    windows = [Window(None, None, ROWS, {"amount": day}, {}) for day in later]
    assert not any(of(look(day, reference), "unit_slip") for day in windows)
    thin = reference.numbers["amount"][::4], reference.times["amount"][::4]  # as a sample of a long reference is
    sampled = replace(reference, rows=len(thin[0]), numbers={"amount": thin[0]}, times={"amount": thin[1]})
    assert not any(of(look(day, sampled), "unit_slip") for day in windows)
    timeless = replace(reference, times={})
    assert sum(bool(of(look(day, timeless), "unit_slip")) for day in windows) >= 3


@pytest.mark.parametrize("factor", [1000.0, 60.0, 10.0, 0.1, 0.001])
def test_a_unit_slip_goes_further_than_days_do(factor: float) -> None:
    """It is named on as many days as where nothing was known of days."""
    reference = uneven_days(0, DAYS, seed=1)
    days = uneven_days(DAYS, 40, seed=3).numbers["amount"].reshape(-1, ROWS) * factor
    windows = [Window(None, None, ROWS, {"amount": day}, {}) for day in days]
    slips, timeless = (
        [
            of(look(day, known), "unit_slip")["amount"].numbers["unit"]
            for day in windows
            if of(look(day, known), "unit_slip")
        ]
        for known in (reference, replace(reference, times={}))
    )
    assert slips == timeless
    assert sum(unit.startswith(f"{max(factor, 1 / factor):g} times") for unit in slips) >= 15


def test_days_that_are_not_known_say_nothing_of_how_far_they_go() -> None:
    amounts = np.ones(500)
    assert day_wander(amounts, None) == 0.0
    assert day_wander(amounts, np.full(500, -1)) == 0.0
    assert day_wander(amounts, np.arange(500) // 100 * DAY_MICROS) == 0.0  # five days
    uneven = np.repeat([1.0, 2.0], [900, 100])
    assert day_wander(uneven, np.arange(1000) // 100 * DAY_MICROS) == pytest.approx(np.log(2))


@pytest.mark.parametrize("rise", [1.1, 1.3, 2.0, 4.0])
def test_a_rise_is_no_unit_slip(rise: float) -> None:
    current = window(5000, distance=window(5000).numbers["distance"] * rise)
    assert of(look(current), "unit_slip") == {}


def test_exchanged_columns_are_named_both() -> None:
    current = window()
    numbers, categories = dict(current.numbers), dict(current.categories)
    numbers["celsius"], numbers["size"] = numbers["size"], numbers["celsius"]
    categories["colour"], categories["maker"] = categories["maker"], categories["colour"]
    found = of(look(replace(current, numbers=numbers, categories=categories)), "column_swap")
    assert {name: finding.numbers["other"] for name, finding in found.items()} == {
        "celsius": "size", "size": "celsius", "colour": "maker", "maker": "colour",
    }  # fmt: skip
    assert all(finding.severity == "error" and finding.examples for finding in found.values())


def test_columns_moved_on_by_one_are_named_with_where_they_came_from() -> None:
    current = window()
    numbers = dict(current.numbers)
    numbers["celsius"], numbers["size"], numbers["distance"] = (
        numbers["size"], numbers["distance"], numbers["celsius"],
    )  # fmt: skip
    found = of(look(replace(current, numbers=numbers)), "column_swap")
    assert {name: finding.numbers["other"] for name, finding in found.items()} == {
        "celsius": "size", "size": "distance", "distance": "celsius",
    }  # fmt: skip


def test_of_hidden_columns_there_are_no_examples() -> None:
    current = window()
    current.numbers["size"][5:105] = 999.0
    (finding,) = look(current, hidden=("size",)).findings
    assert finding.numbers["count"] >= 100
    assert finding.examples == ()


def test_an_event_gets_numbers_and_no_values_and_every_check_counts_its_columns() -> None:
    """What a value says of a person belongs on a page that is read by role, and not in the audit trail."""
    current = window()
    current.categories["maker"][::5] = "Ann Smith"
    report = look(current)
    assert "Ann Smith" in str(report.findings)
    assert "Ann Smith" not in json.dumps(report.facts())
    nothing = dict.fromkeys(product(CHECKS, SEVERITIES), 0)
    assert report.columns_by_check() == nothing | {("unseen_category", "error"): 1}


def test_of_a_handful_of_rows_nothing_is_said() -> None:
    assert look(window(50, celsius=np.full(50, np.nan))) == DataQualityReport(50, 50)
