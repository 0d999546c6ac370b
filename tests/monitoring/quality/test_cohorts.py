"""A champion's rows as a quality check reads them: each once, and of many a sample."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.quality.check import QualityCheck
from monitoring.quality.cohorts import QualityCohorts, read_cohorts
from monitoring.quality.subject import Subjects
from record.settings import Settings
from tests.monitoring.arena import START
from tests.monitoring.test_watcher import DAILY
from tests.monitoring.watch_house import WatchHouse

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    house.register(1.0)
    house.traffic(1.0)
    house.to(START + DAY)
    yield house
    house.record.close()


def read(house: WatchHouse, settings: Settings | None = None) -> QualityCohorts:
    settings = settings or house.settings
    subject = Subjects(settings, house.record).of(house.record.registry.version("v1"))
    as_of = START + DAY
    return read_cohorts(house.record, settings, subject, as_of - settings.quality.label_horizon, as_of)


def test_the_watermark_parts_mature_rows_from_waiting_ones(house: WatchHouse) -> None:
    """Every request is in one of them; the one that stands exactly at the watermark is mature."""
    cohorts = read(house)
    assert cohorts.share == 1.0
    assert len(cohorts.window) + len(cohorts.waiting) == 1000
    watermark = int((START + DAY - HOUR).timestamp() * 1e6)
    assert cohorts.window.times.max() <= watermark < cohorts.waiting.times.min()
    assert len(cohorts.fresh) == len(cohorts.window)
    assert len(cohorts.before) == 0
    assert len(cohorts.answers) == 1000


def test_a_large_window_is_an_even_sample_and_its_traffic_is_not_underestimated(
    house: WatchHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = read(house)
    monkeypatch.setattr("monitoring.quality.cohorts.SAMPLED_ROWS", 100)
    some = read(house)
    for whole, part in ((every.window, some.window), (every.fresh, some.fresh), (every.answers, some.answers)):
        assert 80 <= len(part) <= 120
        assert set(part.seqs.tolist()) < set(whole.seqs.tolist())
        assert part.times.mean() == pytest.approx(whole.times.mean(), abs=3600e6)
    assert some.window.seqs.tolist() == read(house).window.seqs.tolist()
    assert some.requests_per_day(DAY) == pytest.approx(every.requests_per_day(DAY), rel=0.1)


def test_a_sampled_check_says_so(house: WatchHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.quality.cohorts.SAMPLED_ROWS", 500)
    report = QualityCheck(house.settings, house.record).run(None, START + DAY)
    (checked,) = house.events("quality_checked")
    assert report is not None
    assert report.mature == pytest.approx(500, abs=30)
    assert checked.data["numbers"]["sampled_share"] == pytest.approx(500 / 958, abs=0.01)
    assert checked.data["numbers"]["requests_per_day"] == pytest.approx(958, abs=60)
    assert "even sample of 52" in house.record.reports.path(checked.data["report"]).read_text()


def test_a_watermark_that_moves_back_counts_no_label_twice(house: WatchHouse) -> None:
    """A longer label horizon: what was mature under the shorter one is in the evidence already, and stays so."""
    quality = house.settings.quality.model_copy(update={"label_horizon": 6 * HOUR})
    longer = house.settings.model_copy(update={"quality": quality})
    QualityCheck(house.settings, house.record).run(None, START + DAY)
    QualityCheck(longer, house.record).run(None, START + DAY)
    house.traffic(1.0, start=START + DAY)
    house.to(START + 2 * DAY)
    QualityCheck(longer, house.record).run(None, START + 2 * DAY)
    checks = house.events("quality_checked")
    rows = [sum(day[0] for day in one.data["state"]["observed"].values()) for one in checks]
    assert rows[1] == 0
    mature = house.record.log.window(START, START + 2 * DAY - 6 * HOUR)
    assert sum(rows) == len(mature)


def test_a_check_without_any_label_finds_nothing_and_raises_nothing(tmp_path: Path) -> None:
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    house.register(1.0)
    house.arena.ask(50, START + HOUR)
    house.to(START + DAY)
    report = QualityCheck(house.settings, house.record).run(None, START + DAY)
    assert report is not None
    assert (report.mature, report.labelled, report.metrics) == (50, 0, {})
    (checked,) = house.events("quality_checked")
    assert checked.data["numbers"]["coverage"] == 0.0
    house.record.close()
