"""The watcher's process: `python -m monitoring [--once]`, with the settings that RINGSIDE_CONFIG names."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from monitoring.agenda import agenda
from monitoring.bouts.shadow_pool import ShadowPool
from monitoring.drifting.evidently import load_in_background
from monitoring.followers.notifier import Notifier
from monitoring.followers.tracker import Tracker
from monitoring.leadership import Leadership
from monitoring.retraining import Retraining
from monitoring.scheduler import Cron, Ticker
from monitoring.watcher import Watcher, tick_every
from record.errors import RingsideError
from record.log_lines import log_line, write_json_lines
from record.printable import guard_terminal, print_error
from record.process import begin_process, restart_without_telemetry
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.settings_in_force import hold_settings

STOP_SECONDS = 10.0  # a check under way may end; a hanging one may not hold the process
ONCE_SECONDS = 3600.0
TELL_SECONDS = 60.0  # with --once, for what happened to reach people, and MLflow


def compose(settings: Settings, record: Record) -> Watcher:
    """The one place that knows which processes are behind the watcher's runs and shadows."""
    from retrain.child import RetrainChild

    return Watcher(
        settings,
        record,
        Leadership(record, settings.watch),
        Retraining(settings, record, lambda run, fence: RetrainChild.start(settings, record, run, fence)),
        ShadowPool(settings, record),
        agenda(settings, Cron),
        followers=(Notifier.of(settings, record), Tracker.of(settings, record)),
    )


def watch(watcher: Watcher, settings: Settings, stopped: threading.Event) -> None:
    """Watches until `stopped`; returns within STOP_SECONDS and the time that children take to be killed."""
    ticker = Ticker(watcher.tick, tick_every(settings), watcher.beat, settings.watch.heartbeat)
    ticker.start()
    log_line("watching", clock=settings.clock.source)
    stopped.wait()
    ended = ticker.stop(STOP_SECONDS)
    log_line("stopping", tick_ended=ended)
    watcher.stop()


def watch_once(watcher: Watcher, stopped: threading.Event) -> bool:
    """Does what is due now, waits for what follows from it, and returns; False where another watcher leads."""
    watcher.beat()
    watcher.tick()
    deadline = time.monotonic() + ONCE_SECONDS
    while watcher.leads and not watcher.idle and time.monotonic() < deadline and not stopped.is_set():
        stopped.wait(0.05)
        watcher.beat()
        watcher.tick()
    led = watcher.leads
    watcher.finish(TELL_SECONDS)
    watcher.stop()
    return led


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring", description="Watch, decide, schedule.")
    parser.add_argument("--once", action="store_true", help="do what is due now, and end")
    given = parser.parse_args(arguments)
    write_json_lines()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = load_settings()
        hold_settings(settings)  # for runs and shadows
        record = open_record(settings)
        watcher = compose(settings, record)
    except RingsideError as error:
        print_error(error, "error")
        return 2
    if given.once:
        return 0 if watch_once(watcher, stopped) else 1
    load_in_background()
    watch(watcher, settings, stopped)
    record.close()
    return 0


if __name__ == "__main__":
    restart_without_telemetry()
    begin_process()
    guard_terminal()
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a tick that hangs, or Evidently's import under way, would be waited for
