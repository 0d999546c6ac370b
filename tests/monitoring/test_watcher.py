"""The watcher: what is due is done once, in order, by one leader, and what follows is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import machine_now
from record.db.tables import runs
from record.work.leases import Fence
from tests.monitoring.arena import START, TOML
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)

DAILY = """
[problem]
task = "classification"
target = "late"
[columns.x]
role = "feature"
type = "number"
[columns.who]
role = "carried"
type = "text"
[clock]
source = "requests"
[drift]
every = "1d"
min_rows = 500
window = "1d"
[quality]
label_horizon = "1h"
every = "1d"
window = "1d"
[retrain]
check_every = "1d"
cooldown = "3d"
max_age = "300d"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    yield house
    house.record.close()


def test_before_the_first_request_there_is_no_time_and_nothing_is_planned(house: WatchHouse) -> None:
    """Else a replay of 2013 would begin with 43 years of checks."""
    watcher = house.leader()
    house.look(watcher)
    assert house.record.jobs.all() == []
    house.to(START)
    house.look(watcher)
    assert {job.name: job.due_at for job in house.record.jobs.all()} == dict.fromkeys(
        ["bouts", "drift", "labels", "quality", "retrain"], START + DAY
    )
    assert house.settled() == START


def test_a_day_that_is_due_is_checked_as_of_that_day_and_settled(house: WatchHouse) -> None:
    """The record's clock may be further on: what came later is not read."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + 1.2 * DAY)
    watcher.tick()
    jobs = house.record.jobs.all()
    assert {job.last_as_of for job in jobs} == {START + DAY}
    assert {job.due_at for job in jobs} == {START + 2 * DAY}
    assert [job.last_error for job in jobs] == [None] * 5
    assert house.settled() == START + DAY
    assert [event.data["rows"] for event in house.events("drift_checked")] == [1000]


def test_days_that_were_missed_are_made_up_for_in_order(house: WatchHouse) -> None:
    """In the requests' time, every due time counts: a backtest would have had them all."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.to(START + 3.5 * DAY)
    watcher.tick()
    assert [event.at for event in house.events("drift_checked")] == [START + n * DAY for n in (1, 2, 3)]
    assert house.settled() == START + 3 * DAY


def test_a_fine_grid_of_bouts_costs_nothing_while_there_is_no_bout(tmp_path: Path) -> None:
    """Twenty days are 28,800 minutes; but where something else is due, bouts are due with it."""
    house = WatchHouse(tmp_path, toml=DAILY, every="1m")
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.to(START + 20 * DAY)
    watcher.tick()
    assert house.settled() == START + 20 * DAY
    due = {job.name: job.due_at for job in house.record.jobs.all()}
    assert due["bouts"] == START + 20 * DAY + timedelta(minutes=1)
    assert due["drift"] == START + 21 * DAY


def test_a_quiet_day_is_no_drift_and_a_shifted_one_is_with_a_page_to_read(house: WatchHouse) -> None:
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    assert house.events("drift_detected") == []
    assert house.samples()["ringside_drifted_features", ()] == 0.0
    house.traffic(1.0, start=START + DAY, shift=3.0)
    house.to(START + 2 * DAY)
    watcher.tick()
    (event,) = house.events("drift_detected")
    assert event.model_version == "v1"
    assert event.data["drifted"][0] == "x"  # the answers, which follow it, may join on a later day
    assert "Drift in column" in house.record.reports.path(event.data["report"]).read_text()
    samples = house.samples()
    assert samples["ringside_drifted_features", ()] == 1.0
    assert samples["ringside_feature_drifted", ("x",)] == 1.0
    assert samples["ringside_drift_alarm", ()] == 1.0
    assert samples["ringside_drift_evidence", ()] > 1.0
    assert samples["ringside_feature_drift_evidence", ("x",)] > 0.5
    assert samples["ringside_output_drift_evidence", ("prediction",)] > 0.1
    assert samples["ringside_feature_drift_score", ("x", "wasserstein")] == pytest.approx(1.5, abs=0.2)
    assert samples["ringside_drift_check_timestamp_seconds", ()] == (START + 2 * DAY).timestamp()


def test_an_alarm_that_goes_on_is_no_second_alarm_and_needs_no_second_page(house: WatchHouse) -> None:
    """Its decisions still say what drifted, so that it can ask for a run again. A page is 4 MB."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    for day in range(2):
        house.traffic(1.0, start=START + day * DAY, shift=3.0)
        house.to(START + (day + 1) * DAY)
        watcher.tick()
    (alarm,) = house.events("drift_detected")
    first, second = house.events("drift_checked")
    assert first.data["drifted"] == second.data["drifted"] == alarm.data["drifted"] == ["x", "prediction"]
    assert first.data["report"] == second.data["report"] == alarm.data["report"]
    assert len(house.record.reports.recent("drift")) == 1


def test_too_few_rows_are_said_and_reached_back_for(house: WatchHouse) -> None:
    """On low traffic the window reaches back until it has enough rows, and its beginning is told."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0, count=300)
    house.to(START + DAY)
    watcher.tick()
    (first,) = house.events("drift_checked")
    assert first.data["numbers"]["reason"] == "too few rows"
    assert first.data["rows"] == 300
    house.traffic(1.0, start=START + DAY, count=300)
    house.to(START + 2 * DAY)
    watcher.tick()
    second = house.events("drift_checked")[1]
    assert second.data["rows"] == 500
    assert second.data["numbers"]["since"] < (START + DAY).isoformat()


def test_quality_becomes_samples_and_a_decline_asks_for_a_retrain(house: WatchHouse) -> None:
    """The champion's probabilities are far too sure: its Brier score is not what its card promised."""
    house.register(5.0, reference_loss=0.1)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    samples = house.samples()
    assert samples["ringside_quality", ("observed", "coverage", "champion")] == 1.0
    assert 0.1 < samples["ringside_quality", ("observed", "brier", "champion")] < 0.3
    estimated = samples["ringside_quality", ("estimated", "brier", "champion")]
    assert estimated == pytest.approx(samples["ringside_quality", ("observed", "brier", "champion")], abs=0.05)
    assert samples["ringside_quality_declined", ("observed",)] == 1.0
    assert samples["ringside_quality_gap_evidence", ()] > 1.0
    decline = house.events("quality_declined")[0]
    assert decline.data["basis"] == "observed"
    assert decline.data["observed"] > decline.data["numbers"]["lower"] > 0.105
    assert "Has it declined?" in house.record.reports.path(decline.data["report"]).read_text()
    (drifted,) = house.events("concept_drift_detected")
    assert drifted.data["observed"] > 0.1 > drifted.data["estimated"]
    (requested,) = house.events("retrain_requested")
    assert requested.data["trigger"] == "quality"
    assert requested.data["numbers"]["new_labelled_rows"] > 900
    assert len(house.runs) == 1
    assert house.runs[0].run.as_of == START + DAY


def test_time_does_not_go_on_while_a_run_it_started_is_under_way(house: WatchHouse) -> None:
    """And then not before its challenger's shadow has scored what was logged by then."""
    house.register(5.0, reference_loss=0.1)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    assert house.settled() == START
    house.shadows.at_work = False
    house.runs[0].finish(house.register(1.0))
    house.traffic(0.01, start=START + DAY - 0.01 * DAY, count=5)
    watcher.tick()
    (bout,) = house.record.bouts.opened()
    assert (bout.challenger, bout.opened_at) == ("v2", START + DAY)
    assert house.settled() == START
    house.shadows.at_work = True
    house.look(watcher)
    assert house.settled() == START + DAY
    assert watcher.idle


def test_a_decline_that_lasts_asks_again_and_the_refusal_is_an_event_with_its_numbers(house: WatchHouse) -> None:
    house.register(5.0, reference_loss=0.1)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    for day in range(2):
        house.traffic(1.0, start=START + day * DAY)
        house.to(START + (day + 1) * DAY)
        watcher.tick()
        if day == 0:
            house.runs[0].finish()
            watcher.tick()
    (declined,) = house.events("retrain_declined")
    assert declined.data["trigger"] == "quality"
    assert declined.data["reason"] == "cooldown until 2013-03-05T00:00:00+00:00"
    assert declined.data["numbers"]["seconds_since_last_run"] == 86400.0
    assert len(house.runs) == 1


def test_a_champion_that_was_trained_before_the_first_request_is_not_of_1970(house: WatchHouse) -> None:
    """The record had no time then; its age counts from its newest row, and else not at all."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    assert house.events("retrain_requested") == []
    assert watcher.idle


def test_nothing_asked_is_no_event(house: WatchHouse) -> None:
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.to(START + 5 * DAY)
    watcher.tick()
    assert house.events("retrain_declined") == []


def test_what_is_only_noticed_is_refused_once_a_day_and_the_rest_is_counted(tmp_path: Path) -> None:
    """An old champion asks every hour; without new labels there is nothing to learn."""
    toml = DAILY.replace('check_every = "1d"', 'check_every = "1h"').replace('max_age = "300d"', 'max_age = "1h"')
    house = WatchHouse(tmp_path, toml=toml, every="1d")
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.register(1.0)
    house.to(START + 2 * DAY)
    watcher.tick()
    refused = house.events("retrain_declined")
    assert [event.data["trigger"] for event in refused] == ["max_age"] * 2
    assert refused[1].at - refused[0].at == DAY
    assert refused[1].data["numbers"]["obstacles"] == ["min_new_labels"]
    assert refused[1].data["numbers"]["held_back"] == 23


def test_drift_starts_an_evaluation_at_once_and_no_run(tmp_path: Path) -> None:
    house = WatchHouse(
        tmp_path, toml=DAILY.replace('every = "1d"\nwindow = "1d"\n[retrain]', 'every = "60d"\n[retrain]')
    )
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0, shift=3.0)
    house.to(START + DAY)
    watcher.tick()
    assert len(house.events("drift_detected")) == 1
    (checked,) = house.events("quality_checked")
    assert checked.data["numbers"]["because"] == "drift"
    assert checked.data["labels"] > 900
    assert house.events("retrain_requested") == []


def test_evidence_goes_on_over_a_restart_and_is_in_the_trail(house: WatchHouse) -> None:
    """A second watcher finds the same evidence, from the events alone: the log is not read again."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    for day in range(2):
        house.traffic(1.0, start=START + day * DAY)
        house.to(START + (day + 1) * DAY)
        watcher.tick()
        watcher.stop()
        watcher = house.leader()
    first, second = (event.data for event in house.events("quality_checked"))
    rows = [sum(day[0] for day in held["state"]["observed"].values()) for held in (first, second)]
    evidence = second["numbers"]["declines"]["observed"]["evidence"]
    assert sum(rows) == evidence["rows"] == 1958
    assert second["state"]["matured_until"] == (START + 2 * DAY - timedelta(hours=1)).isoformat()
    assert house.events("quality_declined") == house.events("concept_drift_detected") == []


def test_an_operators_run_is_begun_at_the_next_look_even_in_the_cooldown(house: WatchHouse) -> None:
    """Not at the next due time; and it reads the record as it stands then."""
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    house.look(watcher)
    for day in (0.1, 0.2):
        run = house.record.runs.request("operator", "ann", "because")
        house.to(START + day * DAY)
        house.look(watcher)
        assert house.runs[-1].run.run_id == run.run_id
        assert house.runs[-1].run.as_of == START + day * DAY
        house.runs[-1].finish()
        house.look(watcher)


def test_alerts_that_come_together_start_one_run(house: WatchHouse) -> None:
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    house.look(watcher)
    house.traffic(1.0)
    house.to(START + 0.9 * DAY)
    for key in ("a", "b"):
        house.record.requests.add("alert", "alertmanager", "alert Decline", {}, key)
    house.look(watcher)
    assert house.record.requests.pending() == []
    assert [run.run.trigger for run in house.runs] == ["alert"]
    assert house.events("retrain_requested")[0].actor == "alertmanager"


def test_an_alert_in_the_cooldown_is_refused_with_the_reason(house: WatchHouse) -> None:
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    house.look(watcher)
    house.record.requests.add("alert", "alertmanager", "alert Decline", {}, "a")
    house.look(watcher)
    (declined,) = house.events("retrain_declined")
    assert declined.data["reason"] == "0 new labelled rows, at least 100 are needed"
    assert declined.data["trigger"] == "alert"
    assert house.record.requests.pending() == []


def test_a_schedule_and_a_check_that_come_together_are_one_question(tmp_path: Path) -> None:
    """One run; the other is not refused beside it."""
    house = WatchHouse(tmp_path, toml=DAILY.replace("[retrain]", '[retrain]\nschedule = "0 0 2 * *"'), every="1d")
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    assert [event.data["trigger"] for event in house.events("retrain_requested")] == ["schedule"]
    assert house.events("retrain_declined") == []
    assert {job.due_at for job in house.record.jobs.all() if job.name == "schedule"} == {
        datetime(2013, 4, 2, tzinfo=UTC)
    }


def test_a_job_that_raises_is_written_down_and_the_others_go_on(house: WatchHouse) -> None:
    house.register(1.0, reference=b"no Parquet file")
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()
    errors = {job.name: job.last_error for job in house.record.jobs.all()}
    assert errors["drift"] is not None
    assert "Parquet" in errors["drift"]
    assert errors["quality"] is None
    assert house.settled() == START + DAY


def test_one_of_two_watchers_leads_and_the_other_takes_over_when_it_stops(house: WatchHouse) -> None:
    house.register(1.0)
    first, second = house.leader(), house.watcher()
    second.beat()
    house.to(START)
    for watcher in (first, second):
        house.look(watcher)
    assert (first.leads, second.leads) == (True, False)
    first.stop()
    second.beat()
    second.tick()
    assert second.leads
    assert house.shadows.stopped == 1


def test_a_leader_that_slept_through_its_lease_writes_nothing_more(house: WatchHouse) -> None:
    """It finds out at its first write, ends its children, and follows."""
    house.register(5.0, reference_loss=0.1)
    sleeper = house.leader()
    house.to(START)
    sleeper.tick()
    house.traffic(1.0)
    house.record.leases.release(Fence("watcher", 1))  # as if the lease had run out
    successor = house.leader()
    house.to(START + DAY)
    sleeper.tick()
    assert not sleeper.leads
    assert house.events("drift_checked") == []
    assert house.settled() == START
    successor.tick()
    assert len(house.events("drift_checked")) == 1
    assert house.runs[0].fence.token == 3


def test_a_leader_that_lost_its_lease_ends_its_run(house: WatchHouse) -> None:
    watcher = house.leader()
    house.to(START)
    house.record.runs.request("operator", "ann", "because")
    house.look(watcher)
    house.record.leases.release(Fence("watcher", 1))
    house.watcher().beat()
    watcher.beat()
    watcher.tick()
    assert house.runs[0].killed
    assert not watcher.leads


def fall_silent(house: WatchHouse) -> None:
    """As after a kill -9 of the watcher: the run's process ended with its parent's pipe."""
    with house.record.events.writing() as connection:
        connection.execute(sa.update(runs).values(heartbeat_at=machine_now() - timedelta(minutes=1)))


def test_a_run_that_lost_its_watcher_is_taken_up_once_it_is_silent(house: WatchHouse) -> None:
    """The same run goes on, and not before its silence shows that nobody else has it."""
    house.to(START)
    run = house.record.runs.request("quality", "watcher", "declined")
    house.record.runs.start(run.run_id, START)
    watcher = house.leader()
    house.look(watcher)
    assert house.runs == []
    fall_silent(house)
    house.look(watcher)
    assert [one.run.run_id for one in house.runs] == [run.run_id]
    (resumed,) = house.events("retrain_resumed")
    assert resumed.data["resumes"] == 1
    assert house.record.runs.get(run.run_id).as_of == START


def test_a_run_past_its_deadline_is_not_taken_up(house: WatchHouse) -> None:
    """It is failed, and the way is free for another."""
    house.to(START)
    run = house.record.runs.request("quality", "watcher", "declined")
    house.record.runs.start(run.run_id, START)
    with house.record.events.writing() as connection:
        connection.execute(sa.update(runs).values(machine_started_at=machine_now() - timedelta(days=1)))
    fall_silent(house)
    watcher = house.leader()
    house.look(watcher)
    assert house.runs == []
    failed = house.record.runs.get(run.run_id)
    assert failed.outcome == {"error": "no sign of life for 30 s; its process is gone"}
    assert watcher.idle


def test_a_run_that_its_watcher_requested_and_died_is_begun_by_the_next(house: WatchHouse) -> None:
    house.to(START)
    run = house.record.runs.request("quality", "watcher", "declined")
    watcher = house.leader()
    house.look(watcher)
    assert [one.run.run_id for one in house.runs] == [run.run_id]


def test_a_run_that_a_command_requested_is_left_to_the_command(house: WatchHouse) -> None:
    house.to(START)
    house.record.runs.request("command", "ann", "ringside train")
    watcher = house.leader()
    house.look(watcher)
    assert house.runs == []


def test_a_run_that_ends_without_a_word_is_failed(house: WatchHouse) -> None:
    house.to(START)
    watcher = house.leader()
    run = house.record.runs.request("operator", "ann", "because")
    house.look(watcher)
    house.runs[0].code = -9
    watcher.tick()
    ended = house.record.runs.get(run.run_id)
    assert (ended.state, ended.outcome) == ("failed", {"error": "its process ended without a word"})


def test_changed_settings_are_an_event_once(tmp_path: Path, house: WatchHouse) -> None:
    house.to(START)
    for _ in range(2):
        watcher = house.leader()
        house.look(watcher)
        watcher.stop()
    (event,) = house.events("settings_changed")
    assert event.data["digest"] == house.settings.digest()
    assert event.data["changed"]["problem.target"] == [None, "late"]


def test_without_a_champion_nothing_is_checked_and_nothing_fails(house: WatchHouse) -> None:
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.to(START + DAY)
    watcher.tick()
    assert [job.last_error for job in house.record.jobs.all()] == [None] * 5
    assert house.events("drift_checked") == []


def test_on_the_machines_clock_missed_times_are_made_up_for_once_and_nothing_waits(tmp_path: Path) -> None:
    """After a night without a watcher there is one check, as of now."""
    house = WatchHouse(tmp_path, toml=TOML)
    watcher = house.leader()
    house.look(watcher)
    with house.record.database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET due_at = due_at - 86400000000")
    before = machine_now()
    watcher.stop()
    successor = house.leader()
    house.look(successor)
    for job in house.record.jobs.all():
        assert job.last_as_of is not None
        assert before <= job.last_as_of <= machine_now()
        assert job.due_at > machine_now()
    house.record.runs.request("operator", "ann", "because")
    house.look(successor)
    assert house.runs[0].code is None
    settled = house.settled()
    house.seconds += 10
    assert settled is not None
    assert settled >= before


def test_the_audit_trail_is_verified_and_retention_kept(tmp_path: Path) -> None:
    house = WatchHouse(tmp_path, toml=DAILY + '[log]\nretention = "10d"\n')
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    house.look(watcher)
    assert house.samples()["ringside_audit_chain_valid", ()] == 1.0
    house.traffic(1.0, count=10)
    with house.record.database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET data = '{}' WHERE seq = 1")
    house.to(START + 20 * DAY)
    house.seconds += 3600
    house.look(watcher)
    assert house.samples()["ringside_audit_chain_valid", ()] == 0.0
    assert house.record.log.counts(START + 20 * DAY, DAY).predictions == 0


def test_retention_archives_labelled_requests_where_wanted(tmp_path: Path) -> None:
    house = WatchHouse(tmp_path, toml=DAILY + '[log]\nretention = "10d"\narchive = true\n')
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    house.traffic(1.0, count=10)
    known = house.record.log.matured(START + 20 * DAY, DAY, late_labels=True)
    house.to(START + 20 * DAY)
    house.seconds += 3600
    house.look(watcher)
    assert house.record.log.counts(START + 20 * DAY, DAY).predictions == 0
    kept = house.record.archive.read(START + 20 * DAY)
    assert [(row.seq, row.label) for row in kept] == [(row.seq, row.label) for row in known]
    assert len(kept) == 10


def test_the_heartbeat_is_a_sample_on_the_machines_clock(house: WatchHouse) -> None:
    before = machine_now().timestamp()
    house.leader()
    assert before <= house.samples()["ringside_watcher_heartbeat_timestamp_seconds", ()] <= machine_now().timestamp()


def test_bouts_are_not_looked_at_before_the_shadow_has_scored_what_matured(house: WatchHouse) -> None:
    """Else what a replay decides would depend on how fast the shadow was."""
    house.register(-1.0, reference_loss=0.9)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.shadows.at_work = False
    house.register(1.0)
    house.traffic(1.0)
    house.to(START + DAY)
    watcher.tick()  # the bout is opened; its shadow has to score the day
    (bout,) = house.record.bouts.opened()
    house.traffic(1.0, start=START + DAY)
    house.to(START + 2 * DAY)
    house.look(watcher)
    assert house.settled() == START
    house.shadows.at_work = True
    house.look(watcher)
    assert house.settled() == START + 2 * DAY
    assert house.record.bouts.get(bout.bout).matured_until == START + 2 * DAY - timedelta(hours=1)


def test_a_better_challenger_is_promoted_and_the_former_champion_shadows_on(house: WatchHouse) -> None:
    house.register(-1.0, reference_loss=0.9)
    house.register(1.0)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    house.look(watcher)
    assert house.record.registry.roles().champion == "v2"
    (probation,) = house.record.bouts.opened()
    assert (probation.kind, probation.challenger) == ("probation", "v1")
    assert house.shadows.kept == [probation.bout]
    assert watcher.idle


def test_quality_of_the_shadow_stands_beside_the_champions(house: WatchHouse) -> None:
    house.register(1.0)
    house.register(1.1)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    house.traffic(1.0)
    house.to(START + DAY)
    house.look(watcher)
    samples = house.samples()
    champion = samples["ringside_quality", ("observed", "brier", "champion")]
    assert samples["ringside_quality", ("observed", "brier", "challenger")] == pytest.approx(champion, abs=0.02)
