from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, threading
from record.priority import yield_session, yield_thread
yield_session(10)
held = {}
def work():
    yield_thread()
    held.update(policy=os.sched_getscheduler(0), nice=os.nice(0))
thread = threading.Thread(target=work)
thread.start()
thread.join()
grouped = open("/proc/self/autogroup").read().split()[-1] if os.path.exists("/proc/self/autogroup") else "10"
print(held["policy"] == os.SCHED_IDLE, held["nice"], os.sched_getscheduler(0) == os.SCHED_OTHER, os.nice(0), grouped)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities of threads and sessions are Linux's")
def test_one_thread_and_its_session_step_back_and_the_others_keep_their_place() -> None:
    program = [sys.executable, "-c", PROGRAM]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, start_new_session=True, check=True)
    assert done.stdout.split() == ["True", "19", "True", str(os.nice(0)), "10"]
