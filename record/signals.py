"""Signal handlers that leave alone what was ignored before this program began."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any


def handle_signals(numbers: Iterable[int], handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Set the handler of each signal that is not ignored; return the handlers that it replaces.

    `nohup` and service managers start programs with SIGHUP ignored, so that they outlive the log-out: a handler that
    is set all the same ends them then.
    """
    replaced = {}
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            replaced[number] = signal.signal(number, handler)
    return replaced
