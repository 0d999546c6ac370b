"""Ends what a supervisor started, once its end of the pipe closes: when it stops, and when it is killed.

python -m monitoring.supervision.guard MARK PATIENCE_SECONDS < pipe
"""

from __future__ import annotations

import signal
import sys

from monitoring.supervision.processes import end_processes, marked_processes
from record.process import begin_process


def main() -> None:
    begin_process()
    mark, patience_seconds = sys.argv[1], float(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the pipe says when; a guard that goes first guards nothing
    sys.stdin.buffer.read()
    while left := marked_processes(mark):  # again, for what was being started meanwhile
        end_processes(left, patience_seconds)


if __name__ == "__main__":
    main()
