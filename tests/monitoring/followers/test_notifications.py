"""People are told what happened: once, all of it, and in one message."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitoring.followers.notifications import compose
from monitoring.followers.notifier import Notifier, Target, open_targets
from record.configuration.loop_sections import NOTABLE, NotifySettings
from record.errors import SettingsError
from record.event_log import RecordedEvent
from record.events import (
    ApprovalExpired,
    ApprovalReminded,
    ApprovalRequested,
    BoutDecided,
    Event,
    LabelsStopped,
    ModelPromoted,
    QualityDeclined,
    RetrainFailed,
)
from record.work.leases import Fence
from tests.monitoring.arena import START, TOML
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)
ROOT = Path(__file__).parents[3]
SECRET = "s3cr3t-t0k3n"
KINDS: dict[str, type[Event]] = {
    kind.kind: kind for kind in (BoutDecided, LabelsStopped, ModelPromoted, QualityDeclined, RetrainFailed)
}


def declined(version: str = "v1") -> QualityDeclined:
    return QualityDeclined(as_of=START, metric="brier", observed=0.2, expected=0.1, labels=500, model_version=version)


def recorded(event: Event, at: timedelta = timedelta(0), seq: int = 1) -> RecordedEvent:
    return RecordedEvent(seq, START + at, START, event.kind, "watcher", event.model_version, event.data(), "", "")


def test_who_has_the_last_word_is_told_once_with_the_command_to_run() -> None:
    about = {"bout": "b1", "challenger": "v2", "champion": "v1", "model_version": "v2"}
    commands = {"approve": 'ringside promote v2 --reason "…"', "refuse": 'ringside reject v2 --reason "…"'}
    until = START + 3 * DAY
    reasons = ("evidence reached 50", "400 pairs", "lead +0.08")
    events = [
        recorded(BoutDecided(bout_kind="challenge", outcome="awaiting_approval", **about)),
        recorded(
            ApprovalRequested(
                **about, **commands, approvers=(), expires_at=until, on_expiry="inconclusive", reasons=reasons
            )
        ),
    ]
    message, suppressed = compose("flights", events, {}, DAY)
    assert message is not None
    assert message.title == "flights: approval requested (v2)"
    assert message.body == (
        "2013-03-01 00:00 UTC: v2 won bout b1 against v1 and awaits your approval: evidence reached 50; 400 pairs; "
        'lead +0.08. Approve: ringside promote v2 --reason "…"; refuse: ringside reject v2 --reason "…". '
        "It is waited for until 2013-03-04 00:00 UTC.\n"
        f"Audit trail at event {events[-1].seq}: {events[-1].digest}"
    )
    assert suppressed == 0
    reminded = ApprovalReminded(**about, **commands, approvers=(), requested_at=START, expires_at=None)
    gone = ApprovalExpired(**about, requested_at=START, outcome="inconclusive")
    message, _ = compose("flights", [recorded(reminded), recorded(gone)], {}, DAY)
    assert message is not None
    assert "v2 awaits your approval since 2013-03-01 00:00 UTC (bout b1)." in message.body
    assert "Nobody approved v2 in time (bout b1): the champion stays." in message.body


@dataclass
class Receiver:
    """A real HTTP server that keeps what it is sent, and answers with `status`."""

    server: ThreadingHTTPServer
    bodies: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    @property
    def url(self) -> str:
        return f"json://{SECRET}:{SECRET}@127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if held.status == 200:
                held.bodies.append(json.loads(body))
            self.send_response(held.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Office:
    house: WatchHouse
    fence: Fence
    targets: list[Target]
    seconds: float = 0.0

    def notifier(self) -> Notifier:
        return Notifier(self.house.settings, self.house.record, self.targets, stopwatch=lambda: self.seconds)

    def happen(self, *events: Event, at: timedelta = timedelta(0)) -> None:
        for event in events:
            self.house.record.events.append(event, actor="watcher", at=START + at)

    def go(self, notifier: Notifier, seconds: float = 10.0) -> None:
        self.seconds += seconds
        notifier.keep(self.fence)
        assert notifier.wait(20)

    def counts(self) -> dict[str, float]:
        samples = self.house.record.samples.all()
        return {s.labels["outcome"]: s.value for s in samples if s.name == "ringside_notifications_total"}


@pytest.fixture
def office(tmp_path: Path, receiver: Receiver) -> Iterator[Office]:
    toml = f'{TOML}[notify]\nurls = ["{receiver.url}"]\n'
    house = WatchHouse(tmp_path, toml=toml)
    house.leader()
    lease = house.record.leases.current("watcher")
    assert lease is not None
    yield Office(house, Fence("watcher", lease.token), open_targets(house.settings.notify))
    house.record.close()


def test_a_decline_arrives_with_its_numbers(office: Office, receiver: Receiver) -> None:
    """Over real HTTP, and not again in the next round."""
    notifier = office.notifier()
    office.happen(declined())
    for _ in range(3):
        office.go(notifier)
    (body,) = receiver.bodies
    assert body["title"] == "ringside: quality declined (v1)"
    assert "v1 declined: loss 0.2000, 0.1000 was promised." in body["message"]
    assert office.counts() == {"sent": 1.0, "suppressed": 0.0}


def test_what_is_found_every_day_is_told_once_in_a_while(office: Office, receiver: Receiver) -> None:
    """By the record's time; another version is news."""
    notifier = office.notifier()
    for hours in (0, 12, 23, 24, 30):
        office.happen(declined(), at=timedelta(hours=hours))
        office.go(notifier)
    office.happen(declined("v2"), at=timedelta(hours=31))
    office.go(notifier)
    assert len(receiver.bodies) == 3
    assert office.counts()["suppressed"] == 3.0


def test_a_restart_tells_nothing_twice_and_nothing_is_lost_meanwhile(office: Office, receiver: Receiver) -> None:
    office.happen(declined())
    office.go(office.notifier())
    office.happen(RetrainFailed(run_id="run-1", trigger="quality", error="no disk"), at=timedelta(hours=1))
    office.happen(declined(), at=timedelta(hours=1))
    office.go(office.notifier())  # another process
    office.go(office.notifier())
    assert [body["title"] for body in receiver.bodies] == [
        "ringside: quality declined (v1)",
        "ringside: retrain failed",
    ]
    assert "no disk" in receiver.bodies[1]["message"]


def test_a_receiver_that_is_away_gets_one_digest_when_it_is_back(office: Office, receiver: Receiver) -> None:
    """And no storm: fifty failed runs are one message, the newest twenty in full."""
    notifier = office.notifier()
    receiver.status = 503
    office.happen(declined())
    office.go(notifier)
    office.go(notifier, 2.0)  # too soon
    assert office.counts()["failed"] == 1.0
    for run in range(50):
        office.happen(RetrainFailed(run_id=f"run-{run}", trigger="alert", error="no disk"))
    receiver.status = 200
    office.go(notifier)
    (body,) = receiver.bodies
    assert body["title"] == "ringside: 51 events"
    assert body["message"].startswith("The last 20 of 51")
    assert "run-49" in body["message"]


def test_a_receiver_that_is_gone_fails_and_is_tried_less_and_less(office: Office, receiver: Receiver) -> None:
    notifier = office.notifier()
    receiver.server.server_close()
    receiver.server.shutdown()
    office.happen(declined())
    for _ in range(20):
        office.go(notifier, 10.0)
    assert 3 <= office.counts()["failed"] <= 5
    assert office.house.record.events.latest("notification_sent") is None


def test_one_target_that_hangs_holds_up_neither_watcher_nor_round(office: Office) -> None:
    """`keep` returns at once while a message is under way, and begins no second round."""
    release, calls = threading.Event(), []

    def hang(title: str, body: str) -> bool:
        calls.append(title)
        return release.wait(20)

    office.targets = [Target("slow", hang)]
    notifier = office.notifier()
    office.happen(declined())
    for _ in range(3):
        office.seconds += 10
        notifier.keep(office.fence)
    assert not notifier.wait(0.05)
    release.set()
    assert notifier.wait(20)
    assert len(calls) == 1


def test_one_target_that_raises_costs_the_other_nothing(office: Office, receiver: Receiver) -> None:
    def fail(title: str, body: str) -> bool:
        raise RuntimeError(SECRET)

    office.targets = [Target("broken", fail), *office.targets]
    office.happen(declined())
    office.go(office.notifier())
    assert len(receiver.bodies) == 1
    assert office.counts() == {"sent": 1.0, "failed": 1.0, "suppressed": 0.0}


def test_a_watcher_that_lost_its_lease_writes_no_word_of_it(office: Office, receiver: Receiver) -> None:
    office.happen(declined())
    office.house.record.leases.release(office.fence)
    office.go(office.notifier())
    assert office.house.record.events.latest("notification_sent") is None


def test_secrets_are_nowhere(
    office: Office, receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in the trail nor in the log, whether it works or fails; nor in the complaint about an URL."""
    caplog.set_level(logging.DEBUG)
    notifier = office.notifier()
    office.happen(declined())
    receiver.status = 401
    office.go(notifier)
    receiver.status = 200
    office.go(notifier, 100.0)
    assert len(receiver.bodies) == 1
    events = json.dumps([event.data for event in office.house.record.events.page(limit=1000)[0]])
    with pytest.raises(SettingsError) as wrong:
        open_targets(NotifySettings(urls=(f"nonsense://{SECRET}",)))
    said = caplog.text + "".join(capfd.readouterr()) + events + wrong.value.message
    assert SECRET not in said
    assert wrong.value.message.startswith("notify.urls[0]")


def test_only_the_kinds_that_are_asked_for_are_told(tmp_path: Path, receiver: Receiver) -> None:
    toml = f'{TOML}[notify]\nurls = ["{receiver.url}"]\nevents = ["model_promoted"]\n'
    house = WatchHouse(tmp_path, toml=toml)
    house.leader()
    lease = house.record.leases.current("watcher")
    assert lease is not None
    office = Office(house, Fence("watcher", lease.token), open_targets(house.settings.notify))
    office.happen(declined())
    office.happen(ModelPromoted(reason="evidence", previous="v1", generation=2, model_version="v2"))
    office.go(office.notifier())
    assert [body["title"] for body in receiver.bodies] == ["ringside: model promoted (v2)"]
    house.record.close()


def test_a_watch_that_looks_once_ends_when_people_were_told(tmp_path: Path, receiver: Receiver) -> None:
    """Of what had happened, and of what it did itself: the message under way is waited for."""
    house = WatchHouse(tmp_path, toml=f'{TOML}[notify]\nurls = ["{receiver.url}"]\n')
    house.record.events.append(RetrainFailed(run_id="run-1", trigger="alert", error="no disk"), actor="retrain")
    house.record.close()
    environment = os.environ | {"RINGSIDE_CONFIG": str(house.settings.path)}
    command = [sys.executable, "-m", "monitoring", "--once"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [body["title"] for body in receiver.bodies] == ["ringside: retrain failed"]


def test_two_bouts_of_one_day_are_two_pieces_of_news() -> None:
    facts = {"bout_kind": "challenge", "challenger": "v2", "champion": "v1", "outcome": "rejected"}
    events = [
        recorded(BoutDecided(bout=bout, model_version="v2", **facts), seq=seq)  # type: ignore[arg-type]
        for seq, bout in enumerate(("b1", "b2", "b2"))
    ]
    message, suppressed = compose("flights", events, {}, DAY)
    assert message is not None
    assert suppressed == 1
    assert message.title == "flights: 2 events"
    assert "Bout b1 of v2 against v1: rejected." in message.body


def test_every_kind_that_can_be_told_has_words() -> None:
    from monitoring.followers.notifications import SENTENCES

    assert set(SENTENCES) == set(NOTABLE)
    stopped = recorded(LabelsStopped(as_of=START, last_label_at=START))
    message, _ = compose("flights", [stopped], {}, DAY)
    assert message is not None
    assert "Labels have stopped: the last one came at 2013-03-01T00:00:00Z." in message.body
