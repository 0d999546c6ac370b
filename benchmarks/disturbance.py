"""What the champion's callers notice of a challenger, however ill it is."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa

from benchmarks.load import Pace, hey
from benchmarks.results import table
from benchmarks.ringside_server import copy_home, register_copy, ringside_server
from benchmarks.servers import Running, running
from benchmarks.serving_processes import post, shadows, wait
from record.db.tables import predictions, shadow_scores
from record.record import Record, open_record
from record.settings import load_settings

ILLNESS = "illness"  # the file that says how the challenger's scorer is ill just now


@dataclass(frozen=True, slots=True)
class Ring:
    """A running Ringside, its home, and the load that it is under."""

    up: Running
    home: Path
    record: Record
    bodies: Sequence[str]
    rate: float  # requests per second
    seconds: int

    def load(self) -> Pace:
        return hey(self.up.url, self.bodies[0], rate=self.rate, seconds=self.seconds)


Disturbance = Callable[[Ring], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Disturbed:
    name: str
    alone: Pace  # just before, with no challenger
    pace: Pace
    same_answers: bool
    accounts: str  # logged = scored + failed + sampled out + pending


def measure_disturbances(folder: Path, bodies: Sequence[str], rate: float, seconds: int, environments: Path) -> str:
    """The table: the champion's latency at `rate` requests per second with a challenger in each state.

    Each is compared with what the same server did just before without one: on a machine that others share, minutes
    apart tells more of the machine.
    """
    home = folder / "disturbed"
    copy_home(folder, "disturbed")
    server = ringside_server(folder, "disturbed")
    (home / ILLNESS).write_text("")
    ill = {
        "RINGSIDE_BENCH_ILLNESS": str(home / ILLNESS),
        "PYTHONPATH": str(Path(__file__).parent / "ill"),
        "RINGSIDE_RETRAIN__MEMORY_LIMIT": "1GB",  # so that a leak gets there within a measurement
        "RINGSIDE_PROMOTION__MAX_FAILURE_RATE": "0.999999",  # or an ill challenger would be out before it is measured
    }
    with running(server, environments, ill, folder / "disturbed.log") as up:
        record = open_record(load_settings(home / "ringside.toml"))
        ring = Ring(up, home, record, bodies, rate, seconds)
        expected = answers(up, bodies)
        ring.load()  # warm
        seen = [_measured(name, disturb, ring, expected) for name, disturb in DISTURBANCES]
        record.close()
    lines = [
        [
            one.name,
            f"{one.alone.p50 * 1e3:.2f} / {one.alone.p99 * 1e3:.2f}",
            f"{one.pace.p50 * 1e3:.2f} / {one.pace.p99 * 1e3:.2f}",
            f"{one.pace.p50 / one.alone.p50 - 1:+.0%} / {one.pace.p99 / one.alone.p99 - 1:+.0%}",
            str(one.pace.failed),
            "yes" if one.same_answers else "NO",
            one.accounts,
        ]
        for one in seen
    ]
    heads = ["challenger", "alone, p50 / p99 ms", "with it", "difference", "failed", "same answers"]
    return table([*heads, "logged = scored + failed + sampled out + pending"], lines)


def _measured(name: str, disturb: Disturbance, ring: Ring, expected: list[bytes]) -> Disturbed:
    alone = ring.load()
    if disturb is not nobody:
        challenge(ring.up, ring.home / "ringside.toml")
    with disturb(ring):
        pace = ring.load()
        same, accounts = answers(ring.up, ring.bodies) == expected, _accounts(ring.record)
    withdraw(ring.up, ring.record)
    return Disturbed(name, alone, pace, same, accounts)


def answers(up: Running, bodies: Sequence[str]) -> list[bytes]:
    """Predictions and probabilities as they go out, without the ids, which are new each time."""
    held = []
    for body in bodies[:50]:
        (answer,) = json.loads(post(up.url, body))["predictions"]
        held.append(json.dumps({k: v for k, v in answer.items() if k != "id"}).encode())
    return held


def challenge(up: Running, toml: Path) -> None:
    """Puts a copy of the champion into the ring, and waits until its shadow has scored what is logged."""
    record = open_record(load_settings(toml))
    version = register_copy(record)
    opened = record.bouts.opened
    wait(lambda: any(bout.challenger == version for bout in opened()), "the bout")
    wait(lambda: all(bout.cursor.seq >= record.log.last_seq() for bout in opened()), "the shadow")
    record.close()


def withdraw(up: Running, record: Record) -> None:
    """Takes every challenger out of the ring, and waits until the last shadow is gone."""
    for bout in record.bouts.opened():
        record.registry.reject(bout.challenger, actor="benchmark", reason="the measurement is over")
    wait(lambda: not shadows(up), "the shadow's end")


@contextmanager
def nobody(_ring: Ring) -> Iterator[None]:
    """No challenger at all: what two measurements of the same thing differ by."""
    yield


@contextmanager
def healthy(_ring: Ring) -> Iterator[None]:
    yield


@contextmanager
def behind(ring: Ring) -> Iterator[None]:
    """Works off what was logged while it was stopped, as long as a measurement."""
    with stopped(ring):
        ring.load()
    yield


@contextmanager
def stopped(ring: Ring) -> Iterator[None]:
    """SIGSTOP, again for each that the watcher puts in its place."""
    with _again_and_again(ring.up, 0.2, lambda shadow: shadow.send_signal(signal.SIGSTOP)):
        yield


@contextmanager
def killed(ring: Ring) -> Iterator[None]:
    with _again_and_again(ring.up, 0.5, lambda shadow: shadow.kill()):
        yield


@contextmanager
def slow(ring: Ring) -> Iterator[None]:
    """Runs a twentieth of the time: short stops, so that it is never taken for a stopped one."""

    def pause(shadow: psutil.Process) -> None:
        shadow.send_signal(signal.SIGSTOP)
        threading.Event().wait(0.19)
        shadow.send_signal(signal.SIGCONT)

    with _again_and_again(ring.up, 0.01, pause):
        yield


def ill(illness: str) -> Disturbance:
    """A scorer at the challenger's port that raises, says NaN, or leaks (`benchmarks/ill`)."""

    @contextmanager
    def disturbed(ring: Ring) -> Iterator[None]:
        (ring.home / ILLNESS).write_text(illness)
        try:
            yield
        finally:
            (ring.home / ILLNESS).write_text("")

    return disturbed


@contextmanager
def _again_and_again(up: Running, pause_seconds: float, disturb: Callable[[psutil.Process], None]) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        known: list[psutil.Process] = []
        while not ended.wait(pause_seconds):
            with suppress(psutil.NoSuchProcess):
                # Looking through all processes takes more of the machine than a shadow does: only where one is gone.
                if not known or not all(shadow.is_running() for shadow in known):
                    known = shadows(up)
                for shadow in known:
                    disturb(shadow)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for shadow in shadows(up):
            with suppress(ProcessLookupError):
                os.kill(shadow.pid, signal.SIGCONT)


def _accounts(record: Record) -> str:
    """logged = scored + failed + sampled out + pending, each counted for itself in one snapshot of the record."""
    held = []
    for bout in record.bouts.opened():
        with record.database.read() as connection:
            behind = sa.select(sa.func.count()).where(predictions.c.seq > bout.after_seq)
            logged = connection.execute(behind).scalar_one()
            scores = sa.select(shadow_scores.c.outcome, sa.func.count()).where(shadow_scores.c.bout == bout.bout)
            grouped = connection.execute(scores.group_by(shadow_scores.c.outcome))
            counts = {str(outcome): int(count) for outcome, count in grouped}
            scored_rows = sa.select(shadow_scores.c.seq).where(shadow_scores.c.bout == bout.bout)
            waiting = behind.where(predictions.c.seq.not_in(scored_rows))
            pending = connection.execute(waiting).scalar_one()
        parts = [counts.get(name, 0) for name in ("scored", "failed", "sampled_out")] + [pending]
        sign = "=" if logged == sum(parts) else "≠"
        held.append(f"{logged:,} {sign} " + " + ".join(f"{part:,}" for part in parts))
    return "; ".join(held)


DISTURBANCES: Sequence[tuple[str, Disturbance]] = (
    ("none", nobody),
    ("healthy", healthy),
    ("behind", behind),
    ("slow", slow),
    ("stopped", stopped),
    ("killed, again and again", killed),
    ("raises", ill("raise")),
    ("says NaN", ill("nan")),
    ("leaks", ill("leak")),
)
