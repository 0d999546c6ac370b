"""The program: `ringside`, and `python -m ringside`."""

from __future__ import annotations

from record.printable import guard_terminal
from record.process import begin_process, restart_without_telemetry


def run() -> None:
    """Run the command line as a process of its own."""
    restart_without_telemetry()
    begin_process()
    guard_terminal()
    from ringside.commands import main  # typer takes a tenth of a second: after the restart, not before it too

    main()


if __name__ == "__main__":
    run()
