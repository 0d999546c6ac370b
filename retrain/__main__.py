"""`python -m retrain`: one retrain run, by hand or as the watcher's child."""

from __future__ import annotations

import argparse
import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from record.clock import machine_now
from record.errors import Conflict, NotFound, RingsideError, SettingsError, StaleLease
from record.log_lines import log_line, write_json_lines
from record.printable import guard_terminal, print_error, print_json
from record.priority import lower_thread, yield_session
from record.process import begin_process, restart_without_telemetry
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.work.leases import Fence
from record.work.run import Run
from retrain.child import end_with_parent, run_supervised
from retrain.guards.finding import Finding
from retrain.progress import progress_shown

DONE, NO, USAGE = 0, 1, 2

# A run that shows no sign of life for the watcher's lease is taken for dead; this is well within it.
BEAT_SECONDS = 2.0
# Of the session, and of the thread that works in it: a tenth of a processor that answers want, all of one that they
# leave. Not the most: a run has to end by its deadline, whatever else the machine does.
NICE = 10

EPILOG = """\
example:
  python -m retrain --config ringside.toml --reason "new prices since Monday"
  python -m retrain --config ringside.toml --run run-20261121-5f1c2d3e     # goes on with a run that was killed

exit code 0: a version was registered; 1: a guard refused the data, the gate the candidate, or the run failed (the
reason is printed and recorded); 2: bad usage or settings.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.parent_pipe is not None:
        end_with_parent(given.parent_pipe)
    write_json_lines()
    try:
        settings = load_settings(given.config)
        record = open_record(settings, migrate=given.run is None)
    except SettingsError as error:
        print_error(error, "error")
        return USAGE
    try:
        if given.run is None:
            return _by_hand(settings, record, given.reason)
        if given.parent_pipe is None and _orphaned(record, given.run):
            return _supervised(settings, record, given.run)
        fence = Fence(given.lease_name, given.lease_token) if given.lease_token is not None else None
        return _as_child(settings, record, given.run, fence)
    finally:
        record.close()


def _by_hand(settings: Settings, record: Record, reason: str) -> int:
    """Requests a run, supervises it, and prints how it ended as one JSON object."""
    try:
        run_id = record.runs.request("command", _actor(), reason).run_id
    except Conflict as active:
        print_error(active, "error")
        return NO
    return _supervised(settings, record, run_id)


def _orphaned(record: Record, run_id: str) -> bool:
    """Whether the run is running, and has shown no sign of life for some beats: its process was killed."""
    silent = record.runs.silent(machine_now(), timedelta(seconds=3 * BEAT_SECONDS))
    return run_id in {run.run_id for run in silent}


def _supervised(settings: Settings, record: Record, run_id: str) -> int:
    """Shows the run's progress, and prints how it ended as one JSON object; the exit code."""
    with progress_shown() as show:
        ended = run_supervised(settings, record, run_id, show)
    print_json({"run_id": ended.run_id, "state": ended.state, "version": ended.version, "outcome": ended.outcome})
    return DONE if ended.version is not None else NO


def _as_child(settings: Settings, record: Record, run_id: str, fence: Fence | None) -> int:
    """Runs what is running in the record already, and sees to it that it ends there.

    The work is done on a thread that gives way to answers. What is written to the record is written on one that does
    not: it holds a lock that answers wait for.
    """
    yield_session(NICE)
    try:
        run = record.runs.get(run_id)
        if run.state == "requested":
            run = record.runs.start(run_id, record.clock.now(), os.getpid(), actor="retrain", lease=fence)
    except (NotFound, Conflict, StaleLease) as error:
        print_error(error, "error")
        return USAGE
    _keep_beating(record, run)
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
        writer.submit(int).result()  # its thread is begun here: one that the job began would be as nice as the job

        def show(progress: Mapping[str, Any]) -> None:
            writer.submit(_show, record, run_id, progress)

        with ThreadPoolExecutor(1, thread_name_prefix="job", initializer=lower_thread, initargs=(NICE,)) as worker:
            return worker.submit(_work, settings, record, run_id, fence, show, writer).result()


def _work(
    settings: Settings,
    record: Record,
    run_id: str,
    fence: Fence | None,
    show: Callable[[Mapping[str, Any]], None],
    writer: ThreadPoolExecutor,
) -> int:
    try:
        from retrain.job import run as run_job  # after the first sign of life: its libraries take seconds to import

        result = run_job(settings, record, run_id, fence=fence, progress=show, writer=writer)
    except RingsideError as error:
        return _fail(record, run_id, error.message, getattr(error, "findings", ()))
    except Exception as error:  # noqa: BLE001 - whatever it was, the run must not stay running
        log_line("run failed", run_id=run_id, exc_info=True)
        return _fail(record, run_id, f"{type(error).__name__}: {error}")
    return DONE if result.version is not None else NO


def _fail(record: Record, run_id: str, reason: str, findings: Sequence[Finding] = ()) -> int:
    record.runs.fail(run_id, reason, findings=[finding.to_json() for finding in findings])
    log_line("run failed", run_id=run_id, reason=reason)
    return NO


def _show(record: Record, run_id: str, progress: Mapping[str, Any]) -> None:
    try:
        if not record.runs.progress(run_id, progress) and record.runs.get(run_id).state == "failed":
            _stop(run_id)
    except Exception as error:  # noqa: BLE001 - a busy database is no reason to give up
        log_line("no progress told", run_id=run_id, error=str(error))


def _keep_beating(record: Record, run: Run) -> None:
    """A sign of life every two seconds, however long one model takes to fit."""

    def beat() -> None:
        while not threading.Event().wait(BEAT_SECONDS):
            try:
                if not record.runs.beat(run.run_id) and record.runs.get(run.run_id).state == "failed":
                    _stop(run.run_id)
            except Exception as error:  # noqa: BLE001 - a busy database is no reason to give up
                log_line("no beat", run_id=run.run_id, error=str(error))

    threading.Thread(target=beat, name="beat", daemon=True).start()


def _stop(run_id: str) -> None:
    """The run was ended by somebody else: nothing that this process would write can count."""
    log_line("run ended elsewhere", run_id=run_id)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain",
        description="Train, judge and register a model. The first becomes champion, each later one a challenger.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, help="ringside.toml; else $RINGSIDE_CONFIG, else ./ringside.toml")
    parser.add_argument("--reason", default="asked for", help="why, for the audit trail")
    child = parser.add_argument_group("as a child of the watcher or of a command")
    child.add_argument("--run", metavar="RUN_ID", help="the run to carry out, in this process; or to go on with")
    child.add_argument("--lease-name", default="watcher", help="the lease that the run's writes depend on")
    child.add_argument("--lease-token", type=int, help="and its fencing token")
    child.add_argument("--parent-pipe", type=int, metavar="FD", help="when it closes, this process group ends")
    return parser


if __name__ == "__main__":
    restart_without_telemetry()
    begin_process()
    guard_terminal()
    sys.exit(main())
