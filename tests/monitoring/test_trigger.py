"""Whether to retrain is decided by facts alone, and every refusal says why."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring.price import Stakes, price
from monitoring.trigger import Ask, Trigger, TriggerFacts, decide, worth_saying
from record.configuration.loop_sections import RetrainSettings

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
SETTINGS = RetrainSettings(cooldown=timedelta(days=1), min_new_labels=100, max_age=timedelta(days=90), new_rows=0)
QUIET = TriggerFacts(
    as_of=AS_OF,
    asks=(),
    run_active=False,
    last_run_at=AS_OF - timedelta(days=10),
    new_labelled_rows=5000,
    champion_since=AS_OF - timedelta(days=20),
    drift_triggers=False,
    quality_triggers=True,
)


def asked(*triggers: Trigger, **facts: Any) -> TriggerFacts:
    asks = tuple(Ask(trigger, actor=f"the {trigger}", reason=f"{trigger} asks") for trigger in triggers)
    return replace(QUIET, asks=asks, **facts)


def test_nothing_is_done_when_nothing_asks() -> None:
    """And an hour in which nothing asked is no event."""
    decision = decide(QUIET, SETTINGS)
    assert (decision.retrain, decision.trigger, decision.asked) == (False, "none", False)


@pytest.mark.parametrize("trigger", ["operator", "alert", "schedule", "quality", "estimated"])
def test_whoever_asks_gets_a_retrain_when_nothing_stands_against_it(trigger: Trigger) -> None:
    decision = decide(asked(trigger), SETTINGS)
    assert decision.retrain
    assert (decision.trigger, decision.actor) == (trigger, f"the {trigger}")
    assert decision.reasons == (f"{trigger}: {trigger} asks",)


def test_drift_asks_only_where_the_settings_say_so() -> None:
    """Drift is often harmless: it starts an evaluation, not a search."""
    assert not decide(asked("drift"), SETTINGS).asked
    assert decide(asked("drift", drift_triggers=True), SETTINGS).retrain


def test_a_decline_asks_only_where_the_settings_say_so() -> None:
    assert not decide(asked("quality", quality_triggers=False), SETTINGS).asked


def test_several_that_ask_at_once_get_one_run_and_the_first_in_rank_is_named() -> None:
    decision = decide(asked("drift", "quality", "alert", drift_triggers=True), SETTINGS)
    assert decision.retrain
    assert decision.trigger == "alert"
    assert decision.numbers["asked"] == {"alert": 1, "quality": 1, "drift": 1}
    assert len(decision.reasons) == 3


@pytest.mark.parametrize("trigger", ["alert", "schedule", "quality"])
def test_the_cooldown_runs_from_the_last_runs_start(trigger: Trigger) -> None:
    """Not now, with the time from which on it may be asked again; to the moment."""
    started = AS_OF - timedelta(days=1) + timedelta(seconds=1)
    decision = decide(asked(trigger, last_run_at=started), SETTINGS)
    assert not decision.retrain
    assert decision.asked
    assert decision.reasons == ("cooldown until 2013-06-01T00:00:01+00:00",)
    assert decide(asked(trigger, last_run_at=AS_OF - timedelta(days=1)), SETTINGS).retrain


def test_an_operator_skips_the_cooldown_and_the_new_labels() -> None:
    facts = asked("operator", last_run_at=AS_OF, new_labelled_rows=0)
    assert decide(facts, SETTINGS).retrain


def test_nobody_gets_a_second_run_beside_an_active_one() -> None:
    for trigger in ("operator", "alert", "schedule"):
        decision = decide(asked(trigger, run_active=True), SETTINGS)
        assert not decision.retrain
        assert decision.reasons == ("a run is requested or running",)


def test_too_few_new_labels_are_named_with_both_numbers() -> None:
    decision = decide(asked("quality", new_labelled_rows=99), SETTINGS)
    assert decision.reasons == ("99 new labelled rows, at least 100 are needed",)
    assert decision.numbers["new_labelled_rows"] == 99


@pytest.mark.parametrize(("rows", "retrains"), [(99, False), (100, True), (101, True)])
def test_exactly_as_many_new_labels_as_are_wanted_are_enough(rows: int, retrains: bool) -> None:
    assert decide(asked("quality", new_labelled_rows=rows), SETTINGS).retrain is retrains


@pytest.mark.parametrize("different", [1, 2, 3, 4, 5])
def test_only_reasons_that_are_left_out_are_counted(different: int) -> None:
    """Three of a trigger's reasons are named, with no more behind them; each once, however often it was given."""
    asks = tuple(Ask("alert", "alertmanager", f"alert {place % different}") for place in range(3 * different))
    reasons = decide(replace(QUIET, asks=asks), SETTINGS).reasons
    assert reasons[:3] == tuple(f"alert: alert {place}" for place in range(min(3, different)))
    assert reasons[3:] == ((f"alert: {different - 3} more",) if different > 3 else ())


@pytest.mark.parametrize(("age", "asks"), [(timedelta(days=90) - timedelta(microseconds=1), False), (90, True)])
def test_an_age_asks_from_its_limit_on(age: timedelta | int, asks: bool) -> None:
    since = AS_OF - (age if isinstance(age, timedelta) else timedelta(days=age))
    assert decide(replace(QUIET, champion_since=since, last_run_at=None), SETTINGS).asked is asks


def test_a_run_from_a_clock_that_was_ahead_says_nothing_of_the_age() -> None:
    """The champion's own time counts; where that too has not come yet, the age is not known and a run is due."""
    ahead = AS_OF + timedelta(days=400)
    old, young = AS_OF - timedelta(days=91), AS_OF - timedelta(days=1)
    assert decide(replace(QUIET, champion_since=old, last_run_at=ahead), SETTINGS).trigger == "max_age"
    assert not decide(replace(QUIET, champion_since=young, last_run_at=ahead), SETTINGS).asked
    assert decide(replace(QUIET, champion_since=ahead, last_run_at=None), SETTINGS).trigger == "max_age"


def test_the_facts_of_an_event_are_those_that_were_decided_on() -> None:
    """Through JSON and back, each ask as often as it came; those of a storm say that they are not all there."""
    facts = asked("alert", "alert", "drift", drift_triggers=True, changed=("code",), stakes=Stakes(0.01, 200.0))
    again = TriggerFacts.from_json(json.loads(json.dumps(facts.to_json())))
    assert again == facts
    assert decide(again, PRICED) == decide(facts, PRICED)
    for different, readable in ((50, True), (51, False)):
        storm = replace(QUIET, asks=tuple(Ask("alert", "alertmanager", str(place)) for place in range(different)))
        written = json.loads(json.dumps(storm.to_json()))
        assert (len(written["asks"]), written["asks_left_out"]) == (50, different - 50)
        if readable:
            assert TriggerFacts.from_json(written) == storm
        else:
            with pytest.raises(ValueError, match="1 of those who asked"):
                TriggerFacts.from_json(written)


def test_every_obstacle_is_named() -> None:
    assert len(decide(asked("alert", last_run_at=AS_OF, new_labelled_rows=0), SETTINGS).reasons) == 2


def test_an_old_champion_is_noticed() -> None:
    facts = replace(QUIET, champion_since=AS_OF - timedelta(days=90), last_run_at=None)
    decision = decide(facts, SETTINGS)
    assert (decision.retrain, decision.trigger) == (True, "max_age")


def test_a_run_that_found_nothing_better_counts_for_the_age() -> None:
    """Else an old champion that nobody beats would be challenged anew every day."""
    facts = replace(QUIET, champion_since=AS_OF - timedelta(days=400), last_run_at=AS_OF - timedelta(days=10))
    assert not decide(facts, SETTINGS).retrain


def test_times_from_a_clock_that_was_ahead_say_nothing_of_an_age() -> None:
    """Else nothing would be old before that time has come."""
    future = AS_OF + timedelta(days=3650)
    assert decide(replace(QUIET, champion_since=future, last_run_at=None), SETTINGS).trigger == "max_age"
    assert not decide(replace(QUIET, champion_since=future), SETTINGS).asked, "the last run is ten days old"
    old = replace(QUIET, champion_since=AS_OF - timedelta(days=91), last_run_at=future)
    assert decide(old, SETTINGS).trigger == "max_age"


def test_new_rows_are_noticed_where_the_settings_want_them() -> None:
    settings = SETTINGS.model_copy(update={"new_rows": 5000})
    assert decide(QUIET, settings).trigger == "new_rows"
    assert not decide(replace(QUIET, new_labelled_rows=4999), settings).retrain


def test_without_any_run_or_champion_there_is_no_cooldown_and_no_age() -> None:
    facts = asked("alert", last_run_at=None, champion_since=None)
    decision = decide(facts, SETTINGS)
    assert decision.retrain
    assert decision.numbers["seconds_since_last_run"] is None


def test_the_same_facts_give_the_same_decision() -> None:
    facts = asked("alert", "schedule", last_run_at=AS_OF)
    assert decide(facts, SETTINGS) == decide(facts, SETTINGS)


def test_an_estimated_decline_asks_by_itself_where_the_settings_say_so() -> None:
    assert decide(asked("estimated"), SETTINGS).trigger == "estimated"
    assert not decide(asked("estimated", estimated_triggers=False), SETTINGS).asked


def test_no_more_runs_than_a_day_may_have() -> None:
    settings = SETTINGS.model_copy(update={"max_per_day": 2, "cooldown": timedelta(0)})
    decision = decide(asked("alert", runs_last_day=2), settings)
    assert decision.obstacles == ("max_per_day",)
    assert decision.reasons == ("2 runs in 24 hours, at most 2 are allowed",)
    assert decide(asked("alert", runs_last_day=1), settings).retrain
    assert decide(asked("operator", runs_last_day=2), settings).retrain


def test_another_source_or_other_code_asks_and_needs_no_new_labels() -> None:
    facts = replace(QUIET, changed=("source",), new_labelled_rows=0)
    decision = decide(facts, SETTINGS)
    assert (decision.retrain, decision.trigger) == (True, "change")
    assert decision.reasons == ("change: source changed since the last run",)
    assert not decide(facts, SETTINGS.model_copy(update={"on_change": False})).asked


PRICED = SETTINGS.model_copy(update={"cost": 5.0, "value_of_loss": 0.1})  # payback: 30 days


@pytest.mark.parametrize(
    ("trigger", "stakes", "settings", "retrains"),
    [
        ("quality", Stakes(0.01, 200.0), PRICED, True),  # .01 × 6,000 × .1 = 6 > 5
        ("quality", Stakes(0.01, 160.0), PRICED, False),  # 4.80
        ("estimated", Stakes(0.0, 1e6), PRICED, False),  # what is not certain is not spent on
        ("drift", None, PRICED, False),
        ("quality", None, SETTINGS, True),  # no prices, no reckoning
        ("schedule", None, PRICED, True),
        ("alert", None, PRICED, True),
        ("operator", None, PRICED, True),
    ],
)
def test_where_prices_are_set_a_run_has_to_pay(
    trigger: Trigger, stakes: Stakes | None, settings: Any, retrains: bool
) -> None:
    decision = decide(asked(trigger, stakes=stakes, drift_triggers=True), settings)
    assert decision.retrain is retrains
    if not retrains:
        assert decision.obstacles == ("price",)
        assert decision.numbers["run_cost"] == 5.0


def test_staleness_that_costs_more_than_a_run_asks_by_itself() -> None:
    decision = decide(replace(QUIET, stakes=Stakes(0.02, 1000.0)), PRICED)
    assert (decision.retrain, decision.trigger) == (True, "price")
    assert decision.numbers["staleness_cost"] == pytest.approx(60.0)


def test_an_age_that_does_not_reckon_is_heard_behind_a_decline_that_does_not_pay() -> None:
    facts = asked("quality", champion_since=AS_OF - timedelta(days=100), last_run_at=None, stakes=Stakes(0.0, 10.0))
    decision = decide(facts, PRICED)
    assert (decision.retrain, decision.trigger) == (True, "max_age")


def test_stakes_are_the_lower_bound_beyond_what_was_promised() -> None:
    numbers = {
        "requests_per_day": 500.0,
        "declines": {"observed": {"lower": 0.18, "highest": 0.16}, "estimated": {"lower": 0.15, "highest": 0.16}},
    }
    assert Stakes.of_check(numbers) == Stakes(pytest.approx(0.02), 500.0)
    assert Stakes.of_check({}) == Stakes(0.0, 0.0)
    assert price(Stakes(1.0, 1.0), SETTINGS) is None


def test_the_same_refusal_is_said_once_a_day_and_another_at_once() -> None:
    """What is only noticed asks every hour: the trail would be full of it."""
    waiting = replace(QUIET, champion_since=AS_OF - timedelta(days=90), last_run_at=None, new_labelled_rows=0)
    decision = decide(waiting, SETTINGS)
    said = {"trigger": decision.trigger, "numbers": {"obstacles": list(decision.obstacles)}}
    assert worth_saying(decision, None, None)
    assert not worth_saying(decision, said, AS_OF - timedelta(hours=1))
    assert worth_saying(decision, said, AS_OF - timedelta(days=1))
    assert worth_saying(decision, {**said, "trigger": "quality"}, AS_OF - timedelta(hours=1))
    assert worth_saying(decision, {**said, "numbers": {"obstacles": ["price"]}}, AS_OF - timedelta(hours=1))
    assert not worth_saying(decide(QUIET, SETTINGS), None, None)


def test_an_alert_storm_is_one_run_whose_event_stays_short() -> None:
    """Ten thousand alerts: the first three are named, the rest counted; whoever else asked is still named."""
    alerts = tuple(Ask("alert", "alertmanager", f"alert {place} fires") for place in range(10_000))
    decline = Ask("quality", "watcher", "loss 0.3 against 0.2")
    decision = decide(replace(QUIET, asks=(*alerts[:5_000], decline, *alerts[5_000:])), SETTINGS)
    assert decision.retrain
    assert decision.reasons == (
        "alert: alert 0 fires",
        "alert: alert 1 fires",
        "alert: alert 2 fires",
        "alert: 9,997 more",
        "quality: loss 0.3 against 0.2",
    )
    assert decision.numbers["asked"] == {"alert": 10_000, "quality": 1}
    assert len(json.dumps([decision.reasons, decision.numbers])) < 2_000


def test_a_storm_that_is_refused_is_as_short() -> None:
    alerts = tuple(Ask("alert", "alertmanager", f"alert {place} fires") for place in range(10_000))
    decision = decide(replace(QUIET, asks=alerts, last_run_at=AS_OF), SETTINGS)
    assert not decision.retrain
    assert decision.numbers["asked"] == {"alert": 10_000}
    assert len(json.dumps([decision.reasons, decision.numbers])) < 2_000


def test_one_alert_that_is_sent_ten_thousand_times_is_one_reason() -> None:
    decision = decide(replace(QUIET, asks=(Ask("alert", "alertmanager", "disk"),) * 10_000), SETTINGS)
    assert decision.reasons == ("alert: disk",)
