"""A board as a picture: the same queries and colours as in Grafana, drawn with matplotlib."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import matplotlib
import yaml
from PIL import Image

matplotlib.use("Agg")

from matplotlib import dates, pyplot, ticker

from dashboards.board import COLUMNS, MARKS, Board, Mark, positions
from dashboards.panel import Panel, Query, Step

RULES: Final = Path(__file__).parent / "prometheus" / "rules.yml"
# Scrapes of a replay are a day apart: windows of minutes and hours hold none of them.
WINDOW: Final = "7d"
STEP_SECONDS: Final = 43_200
MOST_SERIES: Final = 12  # of one panel; more would not be told apart
MOST_NAMES: Final = 6
COLOURS: Final = {"green": "#2e7d32", "orange": "#ef6c00", "red": "#c62828", "blue": "#1565c0", "purple": "#6a1b9a"}
PALETTE: Final = 128  # colours; a board stays below 200 KB
DAY: Final = 86_400
NICE_DAYS: Final = (1, 2, 5, 10, 20, 30, 60, 90, 180)
Line = tuple[str, list[datetime], list[float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A Prometheus, and the time that is looked at."""

    url: str
    start: float
    end: float

    def lines(self, query: Query) -> list[Line]:
        """Name, times and values of each series that the query has."""
        answer = httpx.post(
            f"{self.url}/api/v1/query_range",
            data={"query": filled(query.expression), "start": self.start, "end": self.end, "step": STEP_SECONDS},
            timeout=60,
        )
        if answer.is_error:
            raise ValueError(f"{query.expression}: {answer.text}")
        return [_line(query, series) for series in answer.json()["data"]["result"]]

    def times(self, mark: Mark) -> list[datetime]:
        """When such a thing happened."""
        count = f'ringside_audit_events_total{{kind="{mark.kind}"}}'
        found = self.lines(Query(f"max({count}) - max({count} offset {STEP_SECONDS}s) > 0"))
        return [at for _, times, _ in found for at in times]


def filled(expression: str) -> str:
    """For a history with a scrape a day: recorded queries by what they record, windows wide enough."""
    recorded = {
        rule["record"]: rule["expr"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    spelt = re.sub(r"\bringside:[\w:]+", lambda found: f"({recorded[found[0]]})", expression)
    return re.sub(r"\$(version|feature|metric)\b", ".*", re.sub(r"\[(\$__\w+|\d+[smhd])\]", f"[{WINDOW}]", spelt))


def draw(board: Board, asked: Asked, path: Path) -> None:
    """Writes the board as a PNG."""
    placed, lines, top = [], [], 0
    for row in board.rows:
        lines.append((row.title, top))
        spots = positions(row.panels, top + 1)
        placed += list(zip(row.panels, spots, strict=True))
        top = max(spot.y + spot.h for spot in spots)
    figure = pyplot.figure(figsize=(18, 0.34 * top))
    marks = [(mark, asked.times(mark)) for mark in MARKS]
    for title, y in lines:
        figure.text(0.01, 1 - (y + 0.75) / top, title, fontsize=13, fontweight="bold", color="#37474f")
    for panel, spot in placed:
        left, bottom = 0.01 + 0.98 * spot.x / COLUMNS, 1 - (spot.y + spot.h) / top
        width, height = 0.98 * spot.w / COLUMNS, spot.h / top
        found = [line for query in panel.queries for line in asked.lines(query)]
        if panel.kind == "stat":
            axes = figure.add_axes((left + 0.003, bottom + 0.15 / top, width - 0.006, height - 0.35 / top))
            _stat(axes, panel, found)
        else:
            axes = figure.add_axes((left + 0.03, bottom + 1.5 / top, width - 0.04, height - 2.9 / top))
            _plot(axes, panel, found, marks)
            axes.set_xlim(asked.start / DAY, asked.end / DAY)  # matplotlib's dates are days since 1970
    figure.savefig(path, dpi=75)
    pyplot.close(figure)
    Image.open(path).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE).save(path, optimize=True)


def _line(query: Query, series: Mapping[str, Any]) -> Line:
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: series["metric"].get(found[1], ""), query.legend)
    times: list[datetime] = []
    values: list[float] = []
    for at, value in series["values"]:
        when = datetime.fromtimestamp(at, UTC)
        if times and (when - times[-1]).total_seconds() > STEP_SECONDS:  # no line where nothing was
            times.append(when)
            values.append(math.nan)
        times.append(when)
        values.append(float(value))
    return name, times, values


def _plot(axes: Any, panel: Panel, found: Sequence[Line], marks: Sequence[tuple[Mark, list[datetime]]]) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left")
    shown = sorted(found, key=lambda line: -max(filter(math.isfinite, line[2]), default=-math.inf))[:MOST_SERIES]
    for name, times, values in shown:
        axes.plot(times, values, linewidth=1.2, label=name, marker="." if len(times) < 40 else None, markersize=3)
    for mark, when in marks:
        for at in when:
            axes.axvline(at, color=COLOURS[mark.color], linewidth=0.7, alpha=0.5)
    if panel.logarithmic:
        axes.set_yscale("log")
    low, high = axes.get_ylim()
    for value, colour in panel.steps[1:]:
        if value is not None and low <= value <= high + 0.5 * (high - low):
            axes.axhline(value, color=COLOURS[colour], linestyle="--", linewidth=0.9)
    days = (high - low) / DAY
    if panel.unit == "s" and days > 3:
        nice = next((each for each in NICE_DAYS if days / each <= 6), 365)
        axes.yaxis.set_major_locator(ticker.MultipleLocator(nice * DAY))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: told(value, panel.unit)))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%b"))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.2)
    if shown:
        columns = min(3, len(shown), MOST_NAMES)
        handles, names = axes.get_legend_handles_labels()
        axes.legend(
            handles[:MOST_NAMES], names[:MOST_NAMES], fontsize=7, ncols=columns, frameon=False, loc="upper left",
            bbox_to_anchor=(-0.02, -0.12), borderaxespad=0,
        )  # fmt: skip
    else:
        _nothing(axes)


def _stat(axes: Any, panel: Panel, found: Sequence[Line]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cfd8dc")
    axes.text(0.5, 0.86, panel.title, ha="center", va="center", fontsize=9, transform=axes.transAxes)
    ends = [(name, values[-1]) for name, times, values in found if times[-1] == max(line[1][-1] for line in found)]
    if not ends:
        _nothing(axes)
        return
    name, value = ends[0]
    text = name if "{{" in panel.queries[0].legend else told(value, panel.unit)
    axes.text(
        0.5, 0.42, text, ha="center", va="center", fontsize=17, color=colour_of(value, panel.steps),
        transform=axes.transAxes,
    )  # fmt: skip


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.45, "nothing in this run", ha="center", va="center", color="#90a4ae", transform=axes.transAxes)


def colour_of(value: float, steps: Sequence[Step]) -> str:
    """That of the last step which the value reaches."""
    reached = [colour for limit, colour in steps if limit is None or value >= limit]
    return COLOURS[reached[-1]]


def told(value: float, unit: str) -> str:
    """A number as Grafana would write it in that unit."""
    if unit == "percentunit":
        return f"{value:.4g}".rstrip() if abs(value) > 100 else f"{100 * value:.4g}%"
    if unit == "bool_yes_no":
        return "yes" if value >= 1 else "no" if value == 0 else ""
    if unit == "s":
        return _duration(value)
    if unit == "reqps":
        return f"{value:.3g}/s"
    return f"{value / 1000:.4g}k" if 10_000 <= abs(value) < 1e7 else f"{value:.4g}"


def _duration(value: float) -> str:
    for length, name in ((DAY, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"), (1e-6, "µs")):
        if abs(value) >= length:
            return f"{value / length:.3g} {name}"
    return "0"
