"""A log that cannot be written ends nothing: standard error full, closed, a broken pipe, a pipe that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from record.settings import Settings
from tests.faults.installation import ROOT, make_installation, up
from tests.waiting import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_installation(tmp_path_factory.mktemp("log-output"))


def full(_: ExitStack) -> int:
    return os.open("/dev/full", os.O_WRONLY)


def broken_pipe(_: ExitStack) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def unread_pipe(stack: ExitStack) -> int:
    """Full already: the next byte would be waited for until somebody reads, which nobody does."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            continue
    os.set_blocking(writing, True)
    return writing


@pytest.mark.parametrize("make", [full, broken_pipe, unread_pipe])
def test_service_and_watcher_outlive_a_log_that_cannot_be_written(
    settings: Settings, make: Callable[[ExitStack], int]
) -> None:
    with ExitStack() as stack:
        output = make(stack)
        stack.callback(os.close, output)
        running = stack.enter_context(up(settings, stdout=output, stderr=output))
        running.wait_ready()
        wait_until(running.watcher, 60)
        (watcher,) = running.watcher()[:1]
        watcher.send_signal(signal.SIGKILL)  # a death is a line of the supervisor's
        wait_until(lambda: any(found.pid != watcher.pid for found in running.watcher()), 60)
        assert running.predict().status_code == 200
        assert running.get("/no-such-route").status_code == 404
        assert running.stop() == 0


def test_closed_standard_streams_become_the_null_device(settings: Settings) -> None:
    with up(settings, before=["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"]) as running:
        running.wait_ready()
        assert running.predict().status_code == 200
        for number in (0, 1, 2):
            assert os.readlink(f"/proc/{running.process.pid}/fd/{number}") == "/dev/null"
        for process in (*running.workers(), *running.watcher()):
            for number in (0, 1, 2):
                assert os.readlink(f"/proc/{process.pid}/fd/{number}").startswith(("/dev/null", "pipe:"))
        assert running.stop() == 0


def test_streams_that_are_open_stay_what_they_are(tmp_path: Path) -> None:
    code = (
        "from record.standard_streams import open_standard_streams as o; import sys; "
        "before = sys.stdin, sys.stdout, sys.stderr; o(); assert before == (sys.stdin, sys.stdout, sys.stderr); "
        "print('out'); print('err', file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")
