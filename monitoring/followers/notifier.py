"""Messages by Apprise: the only file that knows it.

Sent by the leading watcher from the audit trail, on a thread of its own: a mail server that hangs costs nobody
anything. What was told to whom is an event (`notification_sent`), written after the message was taken: a watcher that
dies in between tells it again, and nothing is ever left out.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.followers.notifications import Message, compose
from monitoring.followers.side_work import SideWork
from record.errors import SettingsError
from record.event_log import RecordedEvent
from record.events import NotificationSent
from record.log_lines import log_line
from record.record import Record
from record.settings import NotifySettings, Settings
from record.work.leases import Fence

ACTOR = "watcher"
COUNTER = "ringside_notifications_total"

# In seconds of the machine's clock. What happens within five of them is one message.
ROUND_SECONDS = 5.0
# After a failure: 10, 20, 40 … seconds, at most a quarter of an hour.
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 900.0

Send = Callable[[str, str], bool]  # title, body → whether it was taken


@dataclass(slots=True)
class Target:
    """One Apprise URL. `name` stands for it where others read."""

    name: str
    send: Send
    through: int = 0  # the last event that was told or was no news
    told: dict[str, datetime] = field(default_factory=dict)
    failures: int = 0
    next_try: float = 0.0


class Notifier:
    """`keep` is called often, from one thread, by whoever leads; it returns at once and never raises."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        targets: Sequence[Target],
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings.notify
        self._problem = settings.problem.name
        self._record = record
        self._targets = targets
        self._stopwatch = stopwatch
        self._fence: Fence | None = None
        self._side_work = SideWork("notifier", self._go_round, ROUND_SECONDS, stopwatch)

    @classmethod
    def of(cls, settings: Settings, record: Record) -> Notifier:
        """Raises SettingsError for an URL that Apprise does not know, by its place: it may hold a secret."""
        return cls(settings, record, open_targets(settings.notify))

    def keep(self, fence: Fence) -> None:
        """Begins a round where there are targets, none is under way, and the last began some seconds ago."""
        if self._targets:
            self._side_work.keep(fence)

    def finish(self, fence: Fence, seconds: float) -> bool:
        """Tells what has not been told yet; whether that ended within these seconds."""
        return not self._targets or self._side_work.finish(fence, seconds)

    def wait(self, seconds: float) -> bool:
        """Whether the round under way ended within these seconds."""
        return self._side_work.wait(seconds)

    def _go_round(self, fence: Fence) -> None:
        led, self._fence = self._fence, None  # until the round has ended well, the trail is read anew each time
        if fence != led:  # somebody else may have led, and told, meanwhile
            self._remember()
        for target in self._targets:
            if self._stopwatch() >= target.next_try:
                self._tell(target, fence)
        self._fence = fence

    def _remember(self) -> None:
        """How far each target was told, from the trail."""
        by_name = {target.name: target for target in self._targets}
        for target in self._targets:
            target.through, target.told = 0, {}
        cursor = None
        while True:
            page, cursor = self._record.events.page(kind=NotificationSent.kind, limit=1000, cursor=cursor)
            for event in page:
                held = by_name.get(event.data["target"])
                if held is not None:
                    held.through = max(held.through, event.data["through"])
                    held.told |= {key: datetime.fromisoformat(at) for key, at in event.data["told"].items()}
            if cursor is None:
                return

    def _tell(self, target: Target, fence: Fence) -> None:
        waiting = self._waiting(target)
        if not waiting:
            return
        message, suppressed = compose(self._problem, waiting, target.told, self._settings.every)
        through = waiting[-1].seq
        if message is None:
            self._count("suppressed", suppressed)
            target.through = through
            return
        if not self._sent(target, message):
            self._count("failed", 1)
            target.failures += 1
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (target.failures - 1))
            target.next_try = self._stopwatch() + pause
            log_line("notification failed", target=target.name, failures=target.failures, again_in_seconds=pause)
            return
        event = NotificationSent(target=target.name, through=through, told=message.told, suppressed=suppressed)
        with self._record.events.writing() as connection:
            fence.check(connection)
            self._record.events.append(event, actor=ACTOR, connection=connection)
        self._count("sent", 1)
        self._count("suppressed", suppressed)
        target.through, target.failures = through, 0
        target.told |= message.told

    def _waiting(self, target: Target) -> list[RecordedEvent]:
        found: list[RecordedEvent] = []
        cursor: str | None = str(target.through)
        while cursor is not None:
            page, cursor = self._record.events.page(kind=self._settings.events, limit=1000, cursor=cursor)
            found += page
        return found

    def _sent(self, target: Target, message: Message) -> bool:
        try:
            return target.send(message.title, message.body)
        except Exception as error:  # noqa: BLE001 - a hundred services fail in a hundred ways; their texts hold secrets
            log_line("notification raised", target=target.name, error=type(error).__name__)
            return False

    def _count(self, outcome: str, more: int) -> None:
        samples, labels = self._record.samples, {"outcome": outcome}
        before = sum(s.value for s in samples.all() if (s.name, s.labels) == (COUNTER, labels))
        samples.put([(COUNTER, labels, before + more)], self._now())

    def _now(self) -> datetime:
        return self._record.clock.now()


def open_targets(settings: NotifySettings) -> list[Target]:
    """A target for each URL; SettingsError names the place of one that Apprise cannot use, never its text."""
    if not settings.urls:
        return []
    import apprise  # half a second, for those who want it

    logger = logging.getLogger("apprise")
    logger.setLevel(logging.CRITICAL + 1)  # its warnings name hosts, and its errors answer with bodies
    logger.propagate = False
    found = []
    for place, url in enumerate(settings.urls):
        plugin: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if not plugin:
            raise SettingsError(
                f"notify.urls[{place}]: no URL that Apprise can use; expected such as mailto://, slack:// or json://",
                field="notify.urls",
            )
        seconds = settings.timeout.total_seconds()
        plugin.socket_connect_timeout = plugin.socket_read_timeout = seconds
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        found.append(Target(f"{url.partition(':')[0][:20]}-{digest}", _sender(apprise, plugin)))
    return found


def _sender(apprise: Any, plugin: Any) -> Send:
    def send(title: str, body: str) -> bool:
        held = apprise.Apprise()
        held.add(plugin)
        return bool(held.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))

    return send
