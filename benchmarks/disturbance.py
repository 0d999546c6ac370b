"""What the champion's callers notice of a challenger, however ill it is, and of a hundred swaps.

Each disturbance runs against the same `ringside up`, at the same pace, between two undisturbed measurements.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
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
from service.database import predictions, shadow_scores
from service.record import Record, open_record
from service.settings import load_settings

SHADOW = "monitoring.shadow"
ILLNESS = "illness"  # the file that says how the challenger's scorer is ill just now
Disturbance = Callable[[Running, Path], AbstractContextManager[None]]
SWAPS = 100


@dataclass(frozen=True, slots=True)
class Disturbed:
    name: str
    pace: Pace
    same_answers: bool
    accounts: str  # logged = scored + failed + sampled out + pending


def measure_disturbances(folder: Path, bodies: Sequence[str], rate: float, seconds: int, environments: Path) -> str:
    """The table: champion's latency at `rate` requests per second under each disturbance."""
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
        expected = answers(up, bodies)
        seen = [_at_pace("no challenger", up, bodies, rate, seconds, expected, record)]
        challenge(up, home / "ringside.toml")
        for name, disturb in DISTURBANCES:
            with disturb(up, home):
                seen.append(_at_pace(name, up, bodies, rate, seconds, expected, record))
        withdraw(up, record)
        seen.append(_at_pace("none, again", up, bodies, rate, seconds, expected, record))
        record.close()
    base = seen[0].pace
    lines = [
        [
            one.name,
            f"{one.pace.p50 * 1e3:.2f}",
            f"{one.pace.p99 * 1e3:.2f}",
            f"{one.pace.p50 / base.p50 - 1:+.0%}",
            f"{one.pace.p99 / base.p99 - 1:+.0%}",
            str(one.pace.failed),
            "yes" if one.same_answers else "NO",
            one.accounts,
        ]
        for one in seen
    ]
    heads = ["challenger", "p50 ms", "p99 ms", "p50 against none", "p99 against none", "failed", "same answers"]
    return table([*heads, "logged = scored + failed + sampled out + pending"], lines)


def measure_swaps(folder: Path, bodies: Sequence[str], environments: Path) -> str:
    """SWAPS moves of the champion's role under load: failures, versions that answered, and memory."""
    home = folder / "swapped"
    copy_home(folder, "swapped")
    server = ringside_server(folder, "swapped")
    with running(server, environments, {}, folder / "swapped.log") as up:
        record = open_record(load_settings(home / "ringside.toml"))
        versions = ("v1", register_copy(record))
        before = workers_mb(up)
        asked: list[str] = []
        failed: list[str] = []
        ended = threading.Event()

        def ask() -> None:
            place = 0
            while not ended.is_set():
                place = (place + 1) % len(bodies)
                try:
                    asked.append(json.loads(_post(up.url, bodies[place]))["model_version"])
                except (OSError, KeyError, ValueError) as error:
                    failed.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(SWAPS):
            version = versions[(n + 1) % 2]
            record.registry.promote(version, actor="benchmark", reason="swap")
            begun = len(asked)
            _wait(lambda begun=begun, version=version: version in asked[begun:], f"{version} answers")  # type: ignore[misc]
        ended.set()
        for thread in threads:
            thread.join()
        after = workers_mb(up)
        record.close()
    others = sorted(set(asked) - set(versions))
    return (
        f"{SWAPS} swaps under {len(asked):,} requests: {len(failed)} failed, answered by another version: "
        f"{others or 'none'}; workers' memory {before} → {after} MB.\n"
    )


def answers(up: Running, bodies: Sequence[str]) -> list[bytes]:
    """Predictions and probabilities as they go out, without the ids, which are new each time."""
    held = []
    for body in bodies[:50]:
        (answer,) = json.loads(_post(up.url, body))["predictions"]
        held.append(json.dumps({k: v for k, v in answer.items() if k != "id"}).encode())
    return held


def shadows(up: Running) -> list[psutil.Process]:
    return [process for process in _tree(up) if any(SHADOW in part for part in _command(process))]


def workers_mb(up: Running) -> list[int]:
    workers = [p for p in _tree(up) if any("_bentoml_impl.worker" in part for part in _command(p))]
    return [process.memory_info().rss >> 20 for process in workers]


def _tree(up: Running) -> list[psutil.Process]:
    return psutil.Process(up.process.pid).children(recursive=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one too: killed just now
        return []


def challenge(up: Running, toml: Path) -> None:
    """Puts a copy of the champion into the ring, and waits until its shadow has scored what is logged."""
    record = open_record(load_settings(toml))
    version = register_copy(record)
    opened = record.bouts.opened
    _wait(lambda: any(bout.challenger == version for bout in opened()), "the bout")
    _wait(lambda: all(bout.cursor.seq >= record.log.last_seq() for bout in opened()), "the shadow")
    record.close()


def withdraw(up: Running, record: Record) -> None:
    """Takes every challenger out of the ring, and waits until the last shadow is gone."""
    for bout in record.bouts.opened():
        record.registry.reject(bout.challenger, actor="benchmark", reason="the measurement is over")
    _wait(lambda: not shadows(up), "the shadow's end")


@contextmanager
def healthy(_up: Running, _home: Path) -> Iterator[None]:
    yield


@contextmanager
def stopped(up: Running, _home: Path) -> Iterator[None]:
    """SIGSTOP, again for each that the watcher puts in its place."""
    with _again_and_again(up, 0.2, lambda shadow: shadow.send_signal(signal.SIGSTOP)):
        yield


@contextmanager
def killed(up: Running, _home: Path) -> Iterator[None]:
    with _again_and_again(up, 0.5, lambda shadow: shadow.kill()):
        yield


@contextmanager
def slow(up: Running, _home: Path) -> Iterator[None]:
    """Runs a twentieth of the time: short stops, so that it is never taken for a stopped one."""

    def pause(shadow: psutil.Process) -> None:
        shadow.send_signal(signal.SIGSTOP)
        threading.Event().wait(0.19)
        shadow.send_signal(signal.SIGCONT)

    with _again_and_again(up, 0.01, pause):
        yield


def ill(illness: str) -> Disturbance:
    """A scorer at the challenger's port that raises, says NaN, or leaks (`benchmarks/ill`)."""

    @contextmanager
    def disturbed(_up: Running, home: Path) -> Iterator[None]:
        (home / ILLNESS).write_text(illness)
        try:
            yield
        finally:
            (home / ILLNESS).write_text("")

    return disturbed


@contextmanager
def _again_and_again(up: Running, pause_seconds: float, disturb: Callable[[psutil.Process], None]) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(pause_seconds):
            try:
                for shadow in shadows(up):
                    disturb(shadow)
            except psutil.NoSuchProcess:
                continue

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


def _at_pace(
    name: str, up: Running, bodies: Sequence[str], rate: float, seconds: int, expected: list[bytes], record: Record
) -> Disturbed:
    pace = hey(up.url, bodies[0], rate=rate, seconds=seconds)
    return Disturbed(name, pace, answers(up, bodies) == expected, _accounts(record))


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


def _post(url: str, body: str) -> bytes:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        held: bytes = answer.read()
    return held


def _wait(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise SystemExit(f"{what} did not come within {seconds:.0f} s")


DISTURBANCES: Sequence[tuple[str, Disturbance]] = (
    ("healthy", healthy),
    ("slow", slow),
    ("stopped", stopped),
    ("killed, again and again", killed),
    ("raises", ill("raise")),
    ("says NaN", ill("nan")),
    ("leaks", ill("leak")),
    ("healthy, working off what waits", healthy),
)
