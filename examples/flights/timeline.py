"""The demo as it happens: a line for every event of the record, and a few lines below that are always current."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.flights.replay import Tally
from record.bouts.bout import Bout
from record.event_log import RecordedEvent
from record.pages.numbers import amount
from record.record import Record
from ringside.terminal.output import short

POLL_SECONDS = 0.25
SEEDLING = 1e-3  # the bar's left end, where evidence is a thousandth; its right end is what promotion needs


def sentence(event: RecordedEvent) -> tuple[str, str] | None:
    """A style and what the event says, in one line; None for what would only fill the screen."""
    data, version = event.data, event.model_version
    match event.kind:
        case "drift_detected":
            return "yellow", f"drift      {len(data['drifted'])} columns moved: {short(data['drifted'])}"
        case "quality_declined":
            return "yellow", f"quality    {data['metric']} {data['observed']:.4f}, expected {data['expected']:.4f}"
        case "retrain_requested":
            return "cyan", f"trigger    {data['reason']}"
        case "retrain_succeeded" if version is None:
            return "cyan", "retrain    done; the gate refused the candidate"
        case "retrain_failed":
            return "red", f"retrain    failed: {data['error']}"
        case "model_registered":
            return "cyan", f"challenger {version} is registered" if data[
                "parent"
            ] else f"champion   {version} is the first"
        case "bout_opened" if data["bout_kind"] == "challenge":
            needed = 1 / data["design"]["alpha"]
            return "blue", f"bout       {version} against {data['champion']}; evidence of {needed:,.0f} wins"
        case "bout_opened":
            return "blue", f"probation  {data['champion']}, watched by {version}"
        case "bout_decided":
            return _decided(event)
        case "bout_voided":
            return "dim", f"bout       {version} against {data['champion']} is void: {data['reason']}"
        case "model_promoted" if data["previous"]:
            return "bold green", f"PROMOTED   {version} takes the ring from {data['previous']}"
        case "model_rejected":
            return "red", f"REJECTED   {version}: {data['reason']}"
        case "model_rolled_back":
            return "bold red", f"ROLLED BACK {version}; {data['restored']} is champion again"
    return None


def _decided(event: RecordedEvent) -> tuple[str, str]:
    data = event.data
    styles = {"promoted": "green", "rejected": "red", "inconclusive": "yellow", "passed": "green", "rolled_back": "red"}
    style, outcome = styles.get(data["outcome"], "blue"), data["outcome"].replace("_", " ")
    if data["bout_kind"] == "probation":
        return style, f"probation  {data['champion']}, watched by {event.model_version}: {outcome}"
    return style, f"bout       {event.model_version} against {data['champion']}: {outcome}"


def evidence_share(e_value: float, needed: float) -> float:
    """Where evidence stands between a thousandth (0) and what is needed (1), on a logarithmic scale."""
    if e_value <= SEEDLING:
        return 0.0
    return min(1.0, (math.log(e_value) - math.log(SEEDLING)) / (math.log(needed) - math.log(SEEDLING)))


class Timeline:
    """Draws on `console` while the block is open; `update` may be called as often as one likes."""

    def __init__(self, console: Console, record: Record, total: int) -> None:
        self._console = console
        self._record = record
        self._total = total
        self._cursor: str | None = None
        self._told_drift: set[str] = set()
        self._at: datetime | None = None
        self._tally = Tally()
        self._began = time.monotonic()
        self._looked = 0.0
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Timeline:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.update(self._at, self._tally, force=True)
        self._live.__exit__(*exception)

    def say(self, style: str, text: str, at: datetime | None = None) -> None:
        """A line that stays."""
        at = at or self._at
        when = Text(f"{at:%d %b %H:%M}  " if at else " " * 14, style="dim", end="")
        self._console.print(when, Text(text, style=style), sep="", soft_wrap=True)

    def update(self, at: datetime | None, tally: Tally, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._looked < POLL_SECONDS:
            return
        self._looked, self._at, self._tally = now, at, tally
        self._tell_events()
        self._live.update(self._current())

    def _tell_events(self) -> None:
        following: str | None = self._cursor
        while True:
            events, following = self._record.events.page(limit=500, cursor=following)
            for event in events:
                self._cursor = str(event.seq)
                if self._is_old_news(event):
                    continue
                if (told := sentence(event)) is not None:
                    self.say(*told, at=event.at)
            if following is None:
                return

    def _is_old_news(self, event: RecordedEvent) -> bool:
        """Whether it is drift of columns that were all told of since the champion came: every week has some."""
        if event.kind in ("model_promoted", "model_rolled_back"):
            self._told_drift.clear()
        if event.kind != "drift_detected":
            return False
        new = set(event.data["drifted"]) - self._told_drift
        self._told_drift |= new
        return not new

    def _current(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        tally, seconds = self._tally, time.monotonic() - self._began
        day = f"{self._at:%d %B}" if self._at else ""
        asked = f"{tally.requests:,} of {self._total:,} requests, {tally.requests / max(seconds, 1e-9):,.0f}/s"
        failed = Text(f"{tally.failed} failed", style="red" if tally.failed else "green")
        grid.add_row(day, ProgressBar(total=self._total, completed=tally.requests, width=40), asked, failed)
        roles = self._record.registry.roles()
        grid.add_row(
            "champion",
            Text(roles.champion or "none", style="bold"),
            f"since {roles.since:%d %B}" if roles.since else "",
        )
        run = self._record.runs.active()
        if run is not None:
            grid.add_row("retrain", run.state, _progress(run.progress or {}))
        for bout in self._record.bouts.opened():
            grid.add_row(*_bout_row(bout))
        return Group(Text(), grid)


def _progress(progress: dict[str, Any]) -> str:
    trials = f" {progress['done']} of {progress['total']} trials" if progress.get("total") else ""
    best = f", best loss {progress['best']:.4f}" if progress.get("best") else ""
    return f"{progress.get('stage', 'starting')}{trials}{best}"


def _bout_row(bout: Bout) -> tuple[RenderableType, ...]:
    look = bout.look or {}
    e_value, needed = _number(look.get("e_value"), 1.0), _number(look.get("needed"), 1 / bout.design["alpha"])
    name = bout.challenger if bout.kind == "challenge" else f"{bout.challenger} (probation)"
    bar = ProgressBar(total=1.0, completed=evidence_share(e_value, needed), width=40)
    lead = look.get("lead") or {}
    text = f"evidence {amount(e_value)} of {needed:,.0f}, {look.get('pairs', 0):,} pairs"
    return name, bar, text, f"lead {_number(lead.get('mean'), 0.0):+.4f}" if lead else ""


def _number(value: Any, otherwise: float) -> float:
    """JSON has no infinity, and the record spells it."""
    if value is None:
        return otherwise
    return float(value)
