"""Which watcher leads: one at a time, by a lease on the machine's clock."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from datetime import datetime

from record.clock import machine_now
from record.configuration.loop_sections import WatchSettings
from record.log_lines import log_line
from record.record import Record
from record.work.leases import Fence

LEASE = "watcher"
HEARTBEAT = "ringside_watcher_heartbeat_timestamp_seconds"


class Leadership:
    """Holds the lease for as long as `beat` is called. `fence` is the right to write, None for a follower.

    `beat` and the readers of `fence` may be different threads. A leader that slept learns at its next write that its
    fence is stale: every write carries it.
    """

    def __init__(
        self, record: Record, settings: WatchSettings, *, machine_clock: Callable[[], datetime] = machine_now
    ) -> None:
        self.fence: Fence | None = None
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._record = record
        self._settings = settings
        self._machine_now = machine_clock

    def beat(self) -> None:
        """Renews the lease, or takes it once nobody else holds it; the leader's heartbeat becomes a sample."""
        fence = self.fence
        if fence is not None and not self._record.leases.renew(fence, self._settings.lease):
            log_line("lease lost", holder=self.holder, token=fence.token)
            self.fence = fence = None
        if fence is None:
            fence = self._record.leases.acquire(LEASE, self.holder, self._settings.lease)
            if fence is None:
                return
            log_line("lease taken", holder=self.holder, token=fence.token)
        now = self._machine_now()
        self._record.samples.put([(HEARTBEAT, {}, now.timestamp())], now)
        self.fence = fence

    def step_down(self) -> None:
        """Forgets a lease that has passed on."""
        self.fence = None

    def release(self) -> None:
        """Gives the lease back, so that the next watcher need not wait until it runs out."""
        fence, self.fence = self.fence, None
        if fence is not None:
            self._record.leases.release(fence)
