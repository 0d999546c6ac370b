"""What a quality check leaves for a scrape."""

from __future__ import annotations

from monitoring.quality.delays import DelayReport
from monitoring.quality.observed import QualityReport
from monitoring.quality.page import QualityFindings
from monitoring.quality.samples import show_quality
from monitoring.quality.track_record import Stretch, TrackRecord
from record.db.database import Database
from record.samples import Samples
from tests.monitoring.answers import AS_OF


def shown(database: Database, mature: int, labelled: int) -> dict[str, float]:
    report = QualityReport(AS_OF, "v1", mature, labelled, {})
    samples = Samples(database)
    delays = DelayReport(rows=labelled, quantiles={}, by_outcome={}, distance=0.0, log_e=0.0)
    found = QualityFindings({"champion": report}, {}, [], 0.0, [], [], delays, depends=False)
    show_quality(samples, found, AS_OF)
    return {sample.name: sample.value for sample in samples.all()}


def test_coverage_is_the_share_of_mature_requests_that_are_labelled(sqlite_database: Database) -> None:
    assert shown(sqlite_database, 10, 4)["ringside_label_coverage"] == 0.4


def test_where_nothing_is_mature_there_is_no_coverage(sqlite_database: Database) -> None:
    """Behind a promotion nothing is due yet: a coverage of 0 would be an alert."""
    assert shown(sqlite_database, 10, 0)["ringside_label_coverage"] == 0.0
    assert not {"ringside_label_coverage", "ringside_quality"} & shown(sqlite_database, 0, 0).keys()


def test_a_scrape_says_what_estimates_are_worth(sqlite_database: Database) -> None:
    """Errors from five stretches on; and whether the last labels stand in the estimates' place."""
    report = QualityReport(AS_OF, "v1", 10, 4, {})
    delays = DelayReport(rows=4, quantiles={}, by_outcome={}, distance=0.0, log_e=0.0)
    samples = Samples(sqlite_database)
    for count, errors in ((4, {}), (5, {"answers": 0.02, "last_labels": 0.01})):
        record = TrackRecord({day: Stretch({"loss": 0.02}, {"loss": 0.01}) for day in range(count)})
        found = QualityFindings({"champion": report}, {}, [], 0.0, [], [], delays, depends=False, track_record=record)
        show_quality(samples, found, AS_OF)
        held = {(sample.name, sample.labels.get("of")): sample.value for sample in samples.all()}
        assert {of: v for (name, of), v in held.items() if name == "ringside_quality_estimate_error"} == errors
        assert held["ringside_quality_estimated_by_last_labels", None] == float(count == 5)
