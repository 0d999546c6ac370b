"""Drift is an alarm only where chance does not explain it, and then it names the column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.drifting import evidently
from monitoring.drifting.calibration import Grid, effective_size, jensen_shannon, jensen_shannon_null, wasserstein_null
from monitoring.drifting.evidently import DriftMeter, DriftReport, alarm_level, evidently_html, evidently_score
from monitoring.windows import Window
from tests.browser import browser

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
LEVELS = [f"level {i}" for i in range(20)]


def window(rows: int, seed: int, **changed: np.ndarray) -> Window:
    """Four columns that drift only where `changed` replaces one."""
    rng = np.random.default_rng(seed)
    numbers = {
        "normal": rng.normal(size=rows),
        "skewed": rng.lognormal(sigma=1.0, size=rows),
        "few": rng.integers(0, 4, rows) * 1.0,
    }
    categories = {"level": rng.choice(np.array(LEVELS, dtype=object), rows, p=np.arange(1, 21) / 210)}
    for name, values in changed.items():
        (numbers if name in numbers else categories)[name] = values  # type: ignore[assignment]
    return Window(AS_OF - timedelta(days=7), AS_OF, rows, numbers, categories)


@pytest.fixture(scope="module")
def meter() -> DriftMeter:
    return DriftMeter(window(8000, seed=1), level=alarm_level(1, timedelta(days=1), 8))


def measured(meter: DriftMeter, current: Window) -> DriftReport:
    return meter.measure(current, AS_OF)


@pytest.mark.parametrize("rows", [100, 300, 1000, 5000])
def test_a_quiet_window_raises_no_alarm_at_any_size(meter: DriftMeter, rows: int) -> None:
    """Evidently's own thresholds alarm on 75 % of quiet columns at 100 rows."""
    alarms = [measured(meter, window(rows, seed)).drifted for seed in range(100, 140)]
    assert alarms.count(()) == len(alarms)


def test_a_shift_of_a_quarter_of_a_standard_deviation_is_found_in_a_thousand_rows(meter: DriftMeter) -> None:
    """The column is named, and no other."""
    shifted = window(1000, seed=2).numbers["normal"] + 0.25
    assert measured(meter, window(1000, seed=2, normal=shifted)).drifted == ("normal",)


def test_a_trifling_shift_is_no_alarm_however_many_rows_show_it(meter: DriftMeter) -> None:
    """A twentieth of a standard deviation in 20,000 rows is far beyond chance, and harmless."""
    shifted = window(20_000, seed=3).numbers["normal"] + 0.05
    assert measured(meter, window(20_000, seed=3, normal=shifted)).drifted == ()


def test_a_new_category_that_takes_over_is_found(meter: DriftMeter) -> None:
    texts = window(1000, seed=4).categories["level"].copy()
    texts[:200] = "never seen"
    assert measured(meter, window(1000, seed=4, level=texts)).drifted == ("level",)


def test_values_that_go_missing_are_drift_of_their_own_kind(meter: DriftMeter) -> None:
    """Evidently drops them before it looks: a feed that broke by half would look well."""
    numbers = window(1000, seed=5).numbers["normal"].copy()
    numbers[::2] = np.nan
    report = measured(meter, window(1000, seed=5, normal=numbers))
    assert [(column.feature, column.method) for column in report.columns if column.drifted] == [
        ("normal", "missing_share")
    ]


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_an_empty_or_constant_column_is_drift_and_takes_no_other_column_down(meter: DriftMeter, value: float) -> None:
    """One empty column ends Evidently's whole report with an error."""
    report = measured(meter, window(1000, seed=6, skewed=np.full(1000, value)))
    assert report.drifted == ("skewed",)
    assert {column.feature for column in report.columns} == {"normal", "skewed", "few", "level"}


def test_a_column_that_is_empty_in_the_reference_too_is_skipped_with_the_reason() -> None:
    empty = np.full(1000, np.nan)
    report = DriftMeter(window(1000, 1, normal=empty), level=0.999).measure(window(1000, 2, normal=empty), AS_OF)
    assert report.drifted == ()
    assert report.skipped == {"normal": "fewer than 30 values present in the reference"}


@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_evidentlys_report(meter: DriftMeter) -> None:
    """Its statistics are called without its drawing, and say the same."""
    from evidently import DataDefinition, Dataset, Report  # the comparison itself
    from evidently.metrics import ValueDrift

    reference, current = meter.reference, window(1000, seed=8)
    definition = DataDefinition(numerical_columns=["normal"], categorical_columns=["level"])
    frames = [
        Dataset.from_pandas(
            pd.DataFrame({"normal": w.numbers["normal"], "level": w.categories["level"]}), data_definition=definition
        )
        for w in (current, reference)
    ]
    snapshot = Report([ValueDrift(column="normal"), ValueDrift(column="level")]).run(*frames)
    theirs = [metric["value"] for metric in snapshot.dict()["metrics"]]
    ours = {(c.feature, c.method): c.score for c in measured(meter, current).columns}
    assert [ours["normal", "wasserstein"], ours["level", "jensenshannon"]] == pytest.approx(theirs)


def test_the_nulls_measure_what_evidently_measures() -> None:
    """Thresholds for one statistic and scores of another would mean nothing."""
    rng = np.random.default_rng(0)
    numbers = np.round(rng.normal(size=3000), 2)
    scores = [evidently_score("wasserstein", numbers, rng.choice(numbers, 400)) for _ in range(60)]
    assert wasserstein_null(Grid.of(numbers), 400, rng).mean == pytest.approx(np.mean(scores), rel=0.1)
    counts = np.arange(1, 21) * 10
    shares = counts / counts.sum()
    drawn = rng.multinomial(400, shares) / 400
    texts = np.repeat(np.array(LEVELS, dtype=object), counts)
    current = np.repeat(np.array(LEVELS, dtype=object), np.rint(drawn * 400).astype(int))
    assert jensen_shannon(shares, drawn) == pytest.approx(evidently_score("jensenshannon", texts, current))
    assert 0 < jensen_shannon_null(counts, 400, rng).quantile(0.999) < 1


def test_a_threshold_is_exceeded_by_chance_as_often_as_it_says() -> None:
    """A level of 99 % in 2,000 quiet windows of a skewed column: about 20 exceed it."""
    rng = np.random.default_rng(1)
    reference, size = rng.lognormal(size=2000), 300
    threshold = wasserstein_null(Grid.of(reference), size, rng).quantile(0.99)
    values = np.sort(reference)
    gaps, whole = np.diff(values), np.arange(1, 2000) / 2000
    law = (
        np.array([np.searchsorted(np.sort(rng.choice(values, size)), values[:-1], side="right") for _ in range(2000)])
        / size
    )
    exceeded = (np.abs(law - whole) @ gaps / reference.std() > threshold).mean()
    assert 0.003 < exceeded < 0.025


def test_the_budget_of_a_quarter_is_shared_by_its_decisions_and_their_statistics() -> None:
    assert 1 - alarm_level(1, timedelta(days=1), 1) == pytest.approx(1 / 91)
    assert 1 - alarm_level(1, timedelta(days=1), 10) == pytest.approx(1 / 910)
    assert 1 - alarm_level(1, timedelta(days=91), 1) == pytest.approx(0.05)


def test_two_samples_are_as_noisy_as_one_of_the_effective_size() -> None:
    assert 838 <= effective_size(10_000, 1_000) <= 909
    assert effective_size(10_000, 950) == effective_size(10_000, 960)


def test_the_html_report_is_evidentlys_and_names_the_columns(meter: DriftMeter) -> None:
    current = window(1000, seed=9, normal=window(1000, seed=9).numbers["normal"] + 1)
    page = evidently_html(meter.reference, current, measured(meter, current))
    assert "<html" in page
    assert "Drift in column 'normal'" in page
    assert len(page) < 2_000_000, "its library is not compressed"
    with browser() as running:
        opened = running.new_page()
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.set_content(page)
        opened.wait_for_selector("svg.main-svg", timeout=0)
        assert "Drift in column 'normal'" in opened.inner_text("body")
    assert said == []


def test_evidently_is_imported_only_when_it_is_needed() -> None:
    """A watcher is there at once, and not seven seconds later."""
    import subprocess
    import sys

    code = "import sys, monitoring.drifting.evidently; sys.exit('evidently' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert evidently.load_in_background().daemon
