"""The watcher's pages as people see them, and the page that alerts lead to: on a phone and by night, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from dashboards.runbook import SOURCE, render_runbook
from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.domain_classifier import tell_apart
from monitoring.inputs.page import render_page
from monitoring.quality.cohort import cohort_of
from monitoring.quality.delays import report_delays
from monitoring.quality.estimated import fit_estimator
from monitoring.quality.groups import protected_groups
from monitoring.quality.loss import Loss
from monitoring.quality.observed import observed_quality
from monitoring.quality.page import QualityFindings, render_quality
from monitoring.quality.slices import Slice
from record.contract.schema import Schema
from record.logged import MaturedRow
from record.pages.numbers import amount, count, figure, powers, probability
from record.settings import load_settings
from tests.browser import browser, faults, pictures
from tests.monitoring.answers import AS_OF, NUMBER, TWO, flights, row
from tests.monitoring.inputs.test_contract_check import REFERENCE, schema_of, window


def quality_page(rows: list[MaturedRow], schema: Schema, loss: Loss, title: str = "v12") -> str:
    known = cohort_of(rows, schema, ("sex",))
    report = observed_quality(known, loss, version=title, as_of=AS_OF, threshold=None)
    estimator = fit_estimator(known, loss, {"metrics": {}}, None)
    slices = [Slice("sex is a rather long name of a value that is worse", False, 51_900, 0.0123, 0.0, report.metrics)]
    found = QualityFindings(
        reports={"champion": report, "challenger": replace(report, version="v13")},
        estimated=report.metrics,
        decisions=(),
        gap=5e9,
        slices=slices,
        groups=protected_groups(known, loss, 10),
        delays=report_delays(known),
        depends=True,
    )
    return render_quality(found, known, estimator, loss, "EUR" if schema is NUMBER else None)


def prices(count: int, every: timedelta) -> list[MaturedRow]:
    """Answers of tens of thousands, as money is."""
    rng = np.random.default_rng(1)
    truth = rng.lognormal(10.8, 0.6, count)
    answers = truth * rng.lognormal(0.0, 0.2, count)
    records: list[dict[str, object]] = [{"x": 1.0, "sex": "ab"[place % 2]} for place in range(count)]
    return [
        row(round(float(said), 2), round(float(was), 2), place=place, record=records[place], every=every)
        for place, (said, was) in enumerate(zip(answers, truth, strict=True))
    ]


def classes(count: int, every: timedelta) -> list[MaturedRow]:
    rng = np.random.default_rng(2)
    chances = np.round(rng.beta(2, 4, count), 2)
    records: list[dict[str, object]] = [{"x": 1.0, "sex": "ab"[place % 2]} for place in range(count)]
    return flights(chances, rng.random(count) < chances, None, records, every)


ABSOLUTE = Loss("absolute", scale=30_000.0)
BRIER = Loss("brier")
QUALITY = {
    "prices": lambda: quality_page(prices(600, timedelta(hours=2)), NUMBER, ABSOLUTE),
    "prices of one day": lambda: quality_page(prices(300, timedelta(minutes=1)), NUMBER, ABSOLUTE),
    "classes": lambda: quality_page(classes(600, timedelta(hours=2)), TWO, BRIER),
    "classes of one day": lambda: quality_page(classes(300, timedelta(minutes=1)), TWO, BRIER),
}


def data_page() -> str:
    current = window(5000)
    current.numbers["distance"][:] *= 1e6
    current.numbers["size"][::4] = np.nan
    current.categories["colour"][::10] = "a colour with a name that is longer than any column of a page"
    schema = schema_of(REFERENCE)
    report = inspect_window(REFERENCE, current, schema)
    domain = tell_apart(REFERENCE, current, [*schema.number_names, *schema.category_names])
    return render_page(
        report,
        domain,
        REFERENCE,
        current,
        target="price",
        version="v7",
        as_of=AS_OF,
        smallest_shift=0.041,
        units={"distance": "km"},
    )


PAGES = {**QUALITY, "data": data_page, "alerts": lambda: render_runbook(SOURCE.read_text()).replace('{{"{{"}}', "{{")}


def test_pages_are_read_on_a_screen_and_on_a_phone_by_day_and_by_night() -> None:
    """Nothing is cut or wider than its window, numbers are as people write them, and the night is dark."""
    with browser() as running:
        found = [fault for name, make in PAGES.items() for fault in faults(running, make(), pictures(), name)]
    assert found == []


def test_a_page_of_one_day_has_no_empty_picture_of_days() -> None:
    page = QUALITY["prices of one day"]()
    assert "One day so far: loss " in page
    assert "observed loss" not in page
    assert "observed loss" in QUALITY["prices"]()


@pytest.mark.parametrize("name", QUALITY)
def test_a_page_says_whose_quality_it_is(name: str) -> None:
    assert "<title>arrival: quality of v12</title>" in QUALITY[name]()


def test_numbers_are_written_as_people_write_them() -> None:
    shown = {51_900.0: "51,900", 1503.2315: "1,503", 0.0: "0.0000", 1e9: "1,000,000,000", 0.00012345: "0.000123"}
    shown |= {4.4e-16: "4.4×10⁻¹⁶", -1e-9: "-1×10⁻⁹", 1.25e18: "1.25×10¹⁸"}
    shown |= {-51_900.0: "-51,900", 12.345: "12.35", 0.5: "0.5000", float("nan"): "–", float("inf"): "∞"}
    assert {value: figure(value) for value in shown} == pytest.approx(shown, nan_ok=True) or all(
        figure(value) == text for value, text in shown.items()
    )
    assert [amount(value) for value in (10.0, 0.25, 51_900.4, 5e9)] == ["10", "0.25", "51,900", "5,000,000,000"]
    assert powers("by 2.1e-14 over 3 rows, not 1e+20; v1e5") == "by 2.1×10⁻¹⁴ over 3 rows, not 1×10²⁰; v1e5"
    assert count(549.0) == "549"
    assert [probability(value) for value in (0.0, 0.03, 1e-9)] == ["< 0.0001", "0.03", "< 0.0001"]


def test_units_stand_where_numbers_do(tmp_path: Path) -> None:
    """As the settings give them: the target's at its errors and axes, a column's at its findings."""
    page = QUALITY["prices"]()
    for text in ("mae, EUR ↓", ">label, EUR<", ">answer, EUR<", ">error, EUR<"):
        assert text in page
    assert "distance, km: Another unit" in data_page()
    (tmp_path / "ringside.toml").write_text(
        '[problem]\ntask = "regression"\ntarget = "price"\nunit = "EUR"\n[columns.way]\ntype = "number"\nunit = "km"\n'
        '[columns.colour]\ntype = "category"\n'
    )
    assert load_settings(tmp_path / "ringside.toml").units() == {"price": "EUR", "way": "km"}
