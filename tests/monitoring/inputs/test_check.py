"""What the data's checks leave behind: samples at every look, numbers in the decision's event, a page with examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.inputs.check import DataCheck, smallest_shift
from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.domain_classifier import tell_apart
from monitoring.inputs.finding import CHECKS, SEVERITIES
from monitoring.inputs.page import link_pages, render_page
from record.events import RecordsRefused
from tests.monitoring.arena import START
from tests.monitoring.inputs.test_contract_check import AS_OF, REFERENCE, schema_of, window
from tests.monitoring.test_watcher import DAILY
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    house.register(1.0)
    yield house
    house.record.close()


def run_days(house: WatchHouse, *shifts: float) -> None:
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    for day, shift in enumerate(shifts):
        house.traffic(1.0, start=START + day * DAY, shift=shift)
        house.to(START + (day + 1) * DAY)
        watcher.tick()


def numbers(house: WatchHouse) -> list[dict[str, Any]]:
    return [event.data["numbers"] for event in house.events("drift_checked")]


def test_a_quiet_day_says_so_in_samples_and_event_and_draws_nothing(house: WatchHouse) -> None:
    run_days(house, 0.0)
    samples = house.samples()
    found = {key: samples["ringside_data_quality_findings", key] for key in product(CHECKS, SEVERITIES)}
    assert found == dict.fromkeys(product(CHECKS, SEVERITIES), 0)
    assert samples["ringside_domain_classifier_auc", ()] == pytest.approx(0.5, abs=0.06)
    assert samples["ringside_drift_window_rows", ()] == 1000
    assert samples["ringside_drift_window_age_seconds", ()] == pytest.approx(86_400, abs=100)
    (facts,) = numbers(house)
    assert facts["data_quality"] == {"findings": [], "errors": 0, "report": None}
    assert facts["domain_classifier"]["drifted"] is False
    assert (facts["window_rows"], facts["sampled"]) == (1000, 1000)
    assert facts["smallest_shift"] == pytest.approx(smallest_shift(5000, 1000), abs=1e-4)


def test_a_broken_day_has_a_page_that_its_event_and_the_drift_page_lead_to(house: WatchHouse) -> None:
    run_days(house, 0.0, 30.0)
    facts = numbers(house)[-1]
    page = facts["data_quality"]["report"]
    assert facts["data_quality"]["errors"] >= 1
    assert {one["check"] for one in facts["data_quality"]["findings"]} == {"out_of_range"}
    assert facts["domain_classifier"]["drifted"]
    html = house.record.reports.path(page).read_text()
    assert "Out of range" in html
    assert house.samples()["ringside_data_quality_findings", ("out_of_range", "error")] == 1.0
    (detected,) = house.events("drift_detected")
    drift_page = house.record.reports.path(detected.data["report"]).read_text()
    assert f"href='{page}'" in drift_page
    assert "1,000 requests, the oldest 24.0 hours old" in drift_page
    row = house.record.log.window(START + DAY, START + 2 * DAY)[0]
    assert row.id in html
    assert row.id not in json.dumps(facts)


def test_the_same_findings_on_the_next_day_need_no_second_page(house: WatchHouse) -> None:
    run_days(house, 30.0, 30.0)
    first, second = (facts["data_quality"]["report"] for facts in numbers(house))
    assert first == second
    assert len(house.record.reports.recent("data")) == 1


def test_between_decisions_there_are_samples_only(house: WatchHouse) -> None:
    """A feed that breaks is on the boards a quarter of an hour later, whatever the day's decision will say."""
    run_days(house, 0.0)
    check = DataCheck(house.record)
    current = window(5000, celsius=np.full(5000, np.nan))
    report = check.look(REFERENCE, current, schema_of(REFERENCE), START + DAY)
    assert [finding.check for finding in report.findings] == ["missing"]
    assert house.samples()["ringside_data_quality_findings", ("missing", "error")] == 1.0
    assert house.record.reports.recent("data") == []


def test_what_the_service_refused_within_the_window_is_a_finding_of_its_column(house: WatchHouse) -> None:
    """A feed that sends a number as text is in no log, and broken all the same."""
    house.to(START)
    for count in (5, 7):
        refused = RecordsRefused(counts={"x:type": count, "*:unknown_column": 1})
        house.record.events.append(refused, actor="service", at=START + DAY / 2)
    house.record.events.append(RecordsRefused(counts={"x:type": 1000}), actor="service", at=START - 2 * DAY)
    run_days(house, 0.0)
    findings = {one["column"]: one for one in numbers(house)[0]["data_quality"]["findings"]}
    assert (findings["x"]["check"], findings["x"]["severity"], findings["x"]["refused"]) == (
        "type_failure",
        "error",
        12,
    )
    assert "*" not in findings  # two requests that somebody mistyped


def test_the_page_shows_findings_with_examples_and_nothing_that_a_value_could_run(house: WatchHouse) -> None:
    current = window(5000)
    current.numbers["celsius"][:] = current.numbers["celsius"] * 1.8 + 32
    current.categories["colour"][::10] = "<script>alert(1)</script>"
    schema = schema_of(REFERENCE)
    report = inspect_window(REFERENCE, current, schema)
    domain = tell_apart(REFERENCE, current, [*schema.number_names, *schema.category_names])
    html = render_page(report, domain, REFERENCE, current, target="y", version="v7", as_of=AS_OF, smallest_shift=0.041)
    assert "Fahrenheit where Celsius was" in html
    assert "5,000 requests" in html
    assert "0.041 standard deviations" in html
    assert "celsius" in html[html.index("How the columns go together") :]
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_smallest_shift_is_seen_nine_times_of_ten_and_half_of_it_is_not() -> None:
    rng = np.random.default_rng(0)
    shift = smallest_shift(2000, 1000)
    z = (rng.normal(shift, 1, (2000, 1000)).mean(axis=1) - rng.normal(0, 1, (2000, 2000)).mean(axis=1)) / np.sqrt(
        1 / 2000 + 1 / 1000
    )
    assert (np.abs(z) > 3.2905).mean() == pytest.approx(0.9, abs=0.03)
    assert smallest_shift(20_000, 50_000) == pytest.approx(0.0383, abs=1e-3)
    assert smallest_shift(0, 100) == float("inf")


def test_a_page_without_a_body_is_left_as_it_is() -> None:
    assert link_pages("<p>", "data-1", ["told"]) == "<p>"
    assert link_pages("<body><p>", None, ["<b>"]).count("&lt;b&gt;") == 1
