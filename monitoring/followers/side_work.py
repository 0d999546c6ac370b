"""Work beside the watch: one round at a time, on a thread of its own, so that nobody waits for a slow neighbour."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from record.errors import RingsideError
from record.log_lines import log_line
from record.work.leases import Fence

Work = Callable[[Fence], None]


class SideWork:
    """Begins `work` at most once in `every_seconds`, never beside itself. For one caller's thread.

    What the work raises is logged under its name, and the next round begins as if nothing had been.
    """

    def __init__(self, name: str, work: Work, every_seconds: float, stopwatch: Callable[[], float]) -> None:
        self._name = name
        self._work = work
        self._every_seconds = every_seconds
        self._stopwatch = stopwatch
        self._round: threading.Thread | None = None
        self._began = float("-inf")

    def keep(self, fence: Fence) -> None:
        """Begins a round where none is under way and the last began long enough ago; returns at once."""
        if self._under_way() or self._stopwatch() - self._began < self._every_seconds:
            return
        self._begin(fence)

    def finish(self, fence: Fence, seconds: float) -> bool:
        """One round more, after the one under way; whether both ended within these seconds."""
        if not self.wait(seconds):
            return False
        self._begin(fence)
        return self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Whether the round under way ended within these seconds."""
        if self._round is not None:
            self._round.join(seconds)
        return not self._under_way()

    def _under_way(self) -> bool:
        return self._round is not None and self._round.is_alive()

    def _begin(self, fence: Fence) -> None:
        self._began = self._stopwatch()
        self._round = threading.Thread(target=self._go, args=(fence,), name=self._name, daemon=True)
        self._round.start()

    def _go(self, fence: Fence) -> None:
        try:
            self._work(fence)
        except RingsideError as error:
            log_line("round not finished", round=self._name, reason=error.message)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here, the watch goes on; texts may hold secrets
            log_line("round not finished", level=logging.ERROR, round=self._name, error=type(error).__name__)
