"""The loop closed: real traffic in, and what the watcher makes of it out, with nothing between that is pretended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.bouts.design import Design
from monitoring.bouts.look import replay
from record.canonical import plain
from record.clock import to_micros
from record.event_log import RecordedEvent
from record.record import Record, open_record
from record.settings import Settings
from record.versions.artifact import verify
from retrain.data.loading import load
from tests.monitoring.arena import SCHEMA, brier
from tests.postgres import PostgresServer
from tests.replaying import Replay
from tests.rings import ring
from tests.service.serving import LiveService, live_service
from tests.terminals import DAY, HORIZON, HOUR, SELDOM, START, USUAL, Airport, fly, make_project, register_contrary
from tests.waiting import wait_until
from tests.watching import descendants, wait_gone, watcher_process

MINUTE = timedelta(minutes=1)
# Checks that say something of their own beside the walk from drift to promotion.
BESIDE = {"quality_checked", "concept_drift_detected", "quality_declined"}

# The first test waits for the whole story: two trainings, and a service and a watcher that start.
pytestmark = pytest.mark.timeout(900)


@dataclass
class Scene:
    """What the front door said at one moment."""

    at: datetime
    status: dict[str, Any]
    metrics: dict[str, dict[tuple[str, ...], float]]


@dataclass
class Story:
    """Some days at an airport, told through the front door of a real service and kept by a real watcher process."""

    record: Record
    settings: Settings
    replay: Replay
    airport: Airport = field(default_factory=Airport)
    scenes: dict[str, Scene] = field(default_factory=dict)
    contrary: str = ""

    def play(self, live: LiveService) -> None:
        """A first champion is trained; a new terminal opens, and what was learned of it holds for a season only."""
        self.replay.begin(START)
        self.replay.post("/retrain", {"reason": "there is no model yet"}).raise_for_status()
        wait_until(live.ready, 240, "a first champion is trained and loaded", every=0.2)
        for _ in fly(self.replay, self.airport, START, START + DAY):
            pass
        self.show("quiet")
        self.airport.terminal, self.airport.offset = "B", SELDOM
        for at in fly(self.replay, self.airport, START + DAY, START + 4 * DAY):
            if "promoted" not in self.scenes and self.champion() == "v2":
                self.show("promoted", at)
                self.airport.offset = USUAL
            elif "promoted" in self.scenes and "rolled back" not in self.scenes and self.champion() == "v1":
                self.show("rolled back", at)
                self.contrary = register_contrary(self.record)
            elif self.contrary and self.record.registry.version(self.contrary).standing != "eligible":
                self.show("rejected", at)
                return

    def champion(self) -> str | None:
        return self.record.registry.roles().champion

    def show(self, scene: str, at: datetime = START + DAY) -> None:
        held: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.replay.get("/metrics").text):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                held.setdefault(sample.name, {})[labels] = sample.value
        self.scenes[scene] = Scene(at, self.replay.status(), held)

    def events(self, kind: str) -> list[RecordedEvent]:
        return self.record.events.page(kind=kind, limit=1000)[0]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    settings = make_project(tmp_path_factory.mktemp("airport"))
    record = open_record(settings)
    with live_service(settings, settings.folder) as live, watcher_process(settings):
        wait_until(lambda: alive(live), 240, "the service lives", every=0.2)
        with httpx.Client(base_url=live.url, timeout=60) as http:
            story = Story(record, settings, Replay(http.request))
            story.play(live)
            yield story
    record.close()


def alive(live: LiveService) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{live.url}/livez", timeout=5).status_code == 200
    return False


def test_drifted_traffic_in_and_a_better_champion_out(story: Story) -> None:
    """A new terminal: drift is found and asks for a run, whose version wins on requests that the run had not seen."""
    bout = story.record.bouts.get("b1")
    assert (bout.champion, bout.challenger, bout.state, bout.outcome) == ("v1", "v2", "decided", "promoted")
    run = story.record.runs.get(str(story.record.registry.version("v2").run_id))
    assert (run.trigger, run.state, run.version, run.as_of) == ("drift", "succeeded", "v2", START + 2 * DAY)
    every = [event.kind for event in story.record.events.page(limit=1000)[0] if event.at >= START + 2 * DAY]
    told = [kind for kind in dict.fromkeys(every) if kind not in BESIDE]
    assert told[: told.index("model_promoted") + 1] == [
        "drift_checked",
        "drift_detected",
        "retrain_requested",
        "retrain_started",
        "retrain_progressed",
        "model_registered",
        "retrain_succeeded",
        "bout_opened",
        "bout_decided",
        "model_promoted",
    ]
    # Flights of the new terminal are seldom late: what turned out to be true moved, too.
    assert story.events("drift_detected")[0].data["drifted"] == ["terminal", "target"]


def test_the_evidence_is_of_fresh_matured_requests_that_the_champion_answered(story: Story) -> None:
    bout = story.record.bouts.get("b1")
    read_until = story.record.registry.version("v2").read_until_seq
    seqs, differences = story.record.bouts.pairs("b1")
    rows = {row.seq: row for row in story.record.log.window(START, START + 4 * DAY)}
    (decided,) = [event for event in story.events("bout_decided") if event.data["bout"] == "b1"]
    assert bout.after_seq == read_until > 0
    assert all(seq > read_until for seq in seqs)
    assert {rows[int(seq)].model_version for seq in seqs} == {"v1"}
    assert max(rows[int(seq)].requested_at for seq in seqs) <= decided.at - HORIZON
    assert decided.data["evidence"]["pairs"] == len(seqs) >= story.settings.promotion.min_pairs
    assert len(differences) == len(seqs)
    design = Design.from_json(bout.design)
    assert replay(story.record, bout, design).read(design.alpha, design.needed).e_max == pytest.approx(
        decided.data["evidence"]["e_max"]
    )
    assert decided.data["evidence"]["e_value"] >= bout.design["alpha"] ** -1
    assert decided.data["evidence"]["lead"]["low"] > 0


def report_of(story: Story, version: str) -> str:
    """The version's report, by the card and by the event of its registration alike."""
    (made,) = [event for event in story.events("model_registered") if event.model_version == version]
    name = story.record.registry.version(version).card["report"]
    assert made.data["report"] == name == story.record.reports.of_model(version)
    return str(name)


def test_the_front_door_says_who_won_and_why(story: Story) -> None:
    quiet, promoted = story.scenes["quiet"], story.scenes["promoted"]
    assert quiet.status["champion"]["version"] == "v1"
    assert (quiet.status["challengers"], quiet.status["drift"]["drifted"]) == ([], [])
    (move,) = [event for event in story.events("model_promoted") if event.model_version == "v2"]
    assert promoted.status["champion"] == {"version": "v2", "since": plain(move.at), "report": report_of(story, "v2")}
    assert move.data["bout"] == "b1"
    assert "evidence is" in move.data["reason"]
    (watched,) = promoted.status["challengers"]
    assert (watched["version"], watched["bout"], watched["state"]) == ("v1", "b2", "probation")
    assert promoted.status["drift"]["drifted"] == ["terminal"]
    assert promoted.status["run"]["version"] == "v2"
    metrics = promoted.metrics
    assert metrics["ringside_promotions_total"]["promoted",] == 2  # the first version's crowning is one, too
    assert metrics["ringside_runs_total"]["registered", "drift"] == 1
    assert metrics["ringside_runs_total"]["registered", "operator"] == 1
    assert metrics["ringside_audit_events_total"]["bout_decided",] == 1
    assert metrics["ringside_audit_chain_valid"][()] == 1
    assert metrics["ringside_drifted_features"][()] == 1
    assert metrics["ringside_model_last_promotion_timestamp_seconds"][()] == move.at.timestamp()


def test_a_champion_that_degrades_is_rolled_back_by_its_probation_and_barred(story: Story) -> None:
    """It was better when it was promoted. Then the new terminal became like the old one."""
    bout = story.record.bouts.get("b2")
    assert (bout.kind, bout.champion, bout.challenger, bout.outcome) == ("probation", "v2", "v1", "rolled_back")
    (back,) = story.events("model_rolled_back")
    assert (back.model_version, back.data["restored"], back.data["bout"], back.actor) == ("v2", "v1", "b2", "watcher")
    assert "evidence of harm" in back.data["reason"]
    assert story.record.registry.version("v2").standing == "rolled_back"
    scene = story.scenes["rolled back"]
    assert scene.status["champion"] == {"version": "v1", "since": plain(back.at), "report": report_of(story, "v1")}
    assert scene.metrics["ringside_rollbacks_total"]["probation",] == 1
    refused = story.replay.post("/models/v2/promote", {"reason": "it was so good"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "role_conflict")
    assert story.replay.get("/models/v2").json()["role"] == "rolled_back"
    assert not [bout for bout in story.record.bouts.all() if bout.challenger == "v2" and bout.bout != "b1"]


def test_a_worse_challenger_is_rejected_and_never_answers(story: Story) -> None:
    """Put in past the gate, it contradicts all that is known; its evidence of harm ends the bout at the first look."""
    assert story.contrary == "v3"
    (rejected,) = story.events("model_rejected")
    assert (rejected.model_version, rejected.data["bout"]) == ("v3", "b3")
    assert story.record.bouts.get("b3").outcome == "rejected"
    assert story.record.registry.version("v3").standing == "rejected"
    assert story.scenes["rejected"].status["champion"]["version"] == "v1"
    assert story.scenes["rejected"].metrics["ringside_promotions_total"]["rejected",] == 1
    counted = story.scenes["rejected"].metrics["ringside_predictions_total"]
    assert {version for version, _ in counted} == {"v1", "v2"}
    assert {answer["model_version"] for answer in story.replay.answers.values()} == {"v1", "v2"}


def test_a_check_in_the_cooldown_says_not_now_and_why(story: Story) -> None:
    (declined,) = story.events("retrain_declined")
    assert declined.at == START + 3 * DAY
    assert declined.data["trigger"] == "drift"
    assert "cooldown until 2024-03-05" in declined.data["reason"]
    assert declined.data["numbers"]["seconds_since_last_run"] == DAY.total_seconds()


def test_every_answer_is_logged_with_the_version_that_gave_it_and_the_trail_is_whole(story: Story) -> None:
    rows = story.record.log.window(START, START + 4 * DAY)
    assert {row.id: row.model_version for row in rows} == {
        id: answer["model_version"] for id, answer in story.replay.answers.items()
    }
    assert len(rows) == story.replay.status()["log"]["predictions"] == len(story.airport.truths)
    chain = story.record.events.verify()
    assert chain.valid
    assert story.replay.status()["chain_head"] == chain.head
    for version in story.record.registry.versions():
        verify(story.record.registry.directory(version.version), version.digest)


def test_a_champion_that_a_person_moves_voids_the_open_bout(tmp_path: Path) -> None:
    """The bout's pairs stay as they were; its challenger, being newer, meets the new champion from the beginning."""
    with ring(tmp_path, 0.0) as held:
        held.register(1.0)
        held.register(0.8)
        last = held.traffic(START + 61 * MINUTE, 30)
        held.replay.to(last + HORIZON + HOUR)
        first = held.open_bouts()
        assert {name: bout.champion for name, bout in first.items()} == {"v2": "v1", "v3": "v1"}
        shadows = descendants(os.getpid(), "monitoring.shadow")
        assert len(shadows) == 2
        pairs = held.record.bouts.pairs(first["v3"].bout)[0]
        assert len(pairs) == 30
        held.replay.post("/models/v2/promote", {"reason": "I know better"}).raise_for_status()
        held.replay.to(last + HORIZON + 2 * HOUR)
        (voided,) = held.events("bout_voided")
        assert (voided.data["bout"], voided.model_version) == (first["v3"].bout, "v3")
        assert voided.data["reason"] == "v1 is no longer the champion; v2 is"
        assert held.record.bouts.get(first["v3"].bout).state == "voided"
        assert held.record.bouts.pairs(first["v3"].bout)[0].tolist() == pairs.tolist()
        assert held.record.bouts.get(first["v2"].bout).outcome == "promoted"
        second = held.open_bouts()
        assert {name: (bout.kind, bout.champion) for name, bout in second.items()} == {
            "v1": ("probation", "v2"),
            "v3": ("challenge", "v2"),
        }
        assert held.challengers()["v3"]["pairs"] == 0  # what v1 answered is no evidence against v2
        assert second["v3"].design["family_rank"] == 1
        wait_gone(shadows)
        assert held.record.events.verify().valid


def test_what_becomes_of_labels_in_time_late_twice_corrected_and_missing(tmp_path: Path) -> None:
    """Evidence takes the latest label that came within the horizon, once; training the latest of all."""
    asked = START + 5 * MINUTE
    with ring(tmp_path, 0.5) as held:
        held.register(1.0)
        held.replay.to(START + MINUTE)
        cases = ("in time", "late", "twice", "corrected in time", "corrected late", "never")
        plain_ones = [f"plain {n}" for n in range(20)]
        values = {id: 0.25 * place - 3 for place, id in enumerate([*cases, *plain_ones])}
        held.replay.predict(asked, {id: {"x": x, "who": "a"} for id, x in values.items()})

        def tell(minutes: float, id: str, label: str, **options: Any) -> dict[str, Any]:
            return held.replay.label(asked + minutes * MINUTE, [{"id": id, "label": label, **options}])

        accepted = {"accepted": 1, "duplicates": 0, "conflicts": [], "unknown": []}
        for id in [*plain_ones, "in time", "twice", "corrected in time", "corrected late"]:
            assert tell(5, id, "no") == accepted
        assert tell(6, "twice", "no") == {**accepted, "accepted": 0, "duplicates": 1}
        assert tell(7, "twice", "yes") == {**accepted, "accepted": 0, "conflicts": ["twice"]}
        assert tell(8, "nobody asked", "yes") == {**accepted, "accepted": 0, "unknown": ["nobody asked"]}
        assert tell(30, "corrected in time", "yes", correct=True) == accepted
        held.replay.to(START + 3 * HOUR)
        (bout,) = held.record.bouts.opened()
        seqs, before = held.record.bouts.pairs(bout.bout)
        assert tell(200, "late", "yes") == accepted
        assert tell(200, "corrected late", "yes", correct=True) == accepted
        held.replay.to(START + 5 * HOUR)

        # The evidence: one pair each where a label came in time, with the latest that did; late ones change nothing.
        paired = {
            **dict.fromkeys([*plain_ones, "in time", "twice", "corrected late"], "no"),
            "corrected in time": "yes",
        }
        ids = {row.seq: row.id for row in held.record.log.window(START, START + DAY)}
        entered, differences = held.record.bouts.pairs(bout.bout)
        assert entered.tolist() == seqs.tolist()
        assert differences.tolist() == before.tolist()
        assert {ids[int(seq)] for seq in entered} == set(paired)
        for seq, difference in zip(entered, differences, strict=True):
            x, late = values[ids[int(seq)]], paired[ids[int(seq)]] == "yes"
            assert difference == pytest.approx(brier(0.5, x, late) - brier(1.0, x, late), abs=1e-6)
        look = held.arena.look(bout)
        design = Design.from_json(bout.design)
        again = replay(held.record, bout, design)
        again.close_cycles(to_micros(datetime.fromisoformat(look["matured_until"])))
        assert look["e_value"] == pytest.approx(again.read(design.alpha, design.needed).e_value)

        # Coverage: the late and the missing one count as matured without a label.
        assert (look["matured"], look["labelled"], look["pairs"]) == (26, 24, 24)
        assert look["coverage"] == pytest.approx(24 / 26)
        samples = {(s.name, s.labels.get("metric")): s.value for s in held.record.samples.all()}
        assert samples["ringside_quality", "coverage"] == pytest.approx(24 / 26)
        log = held.replay.status()["log"]
        assert (log["predictions"], log["labels"], log["pending"]) == (26, 25, 0)

        # Training: whatever is known by then.
        learned = load(
            held.settings,
            SCHEMA.problem,
            held.record.log.matured(START + 6 * HOUR, HORIZON, late_labels=True),
        )
        known = {
            ids[int(seq)]: learned.schema.classes[code] for seq, code in zip(learned.seqs, learned.target, strict=True)
        }
        assert known == {**paired, "late": "yes", "corrected late": "yes"}


def test_the_same_loop_on_postgresql(postgres: PostgresServer, tmp_path: Path) -> None:
    """A better challenger wins and a worse one loses, with shadows in processes of their own, on the other database."""
    name = postgres.create()
    with ring(tmp_path, 0.0, database=postgres.url(name)) as held:
        held.register(1.0)
        last = held.traffic(START + 61 * MINUTE, 150)
        held.replay.to(last + 3 * HOUR)
        assert held.record.registry.roles().champion == "v2"
        worse = held.register(-1.0)
        last = held.traffic(last + 4 * HOUR, 150)
        held.replay.to(last + 3 * HOUR)
        assert held.record.registry.version(worse).standing == "rejected"
        assert held.replay.status()["champion"]["version"] == "v2"
        assert [(event.model_version, event.data["outcome"]) for event in held.events("bout_decided")] == [
            ("v2", "promoted"),
            (worse, "rejected"),
        ]
        assert held.record.events.verify().valid
    postgres.drop(name)
